#!/usr/bin/env bash
# Installs what is missing, builds everything and passes every test: test.sh [--no-lint]
# In order: formatting; the whole build with warnings as errors; the linter; the runtime alone, in a mount namespace without MLIR; unit
# tests of runtime and kernels, and the fuzz targets, under AddressSanitizer and UBSan; threads under ThreadSanitizer; then all tests of
# the whole build, the goldens through the command line and Vulkan's validation layers included; models of gigabytes (5 GB of disk for a
# while); what a driver decides, once more on a newer Mesa. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."

lint=yes
for argument in "$@"; do
  case "$argument" in
    --no-lint) lint=no ;;
    *) echo "test.sh: unknown option $argument; options: --no-lint" >&2; exit 2 ;;
  esac
done

jobs=$(nproc)
started=$SECONDS
step() { printf '\n== %s (after %d s)\n' "$*" $((SECONDS - started)); }

step "set up"
scripts/setup.sh

step "formatting"
git ls-files -z '*.h' '*.cpp' '*.c' | xargs -0 clang-format-22 --dry-run -Werror
echo "all files are formatted"

step "build everything"
cmake --preset dev >/dev/null
cmake --build --preset dev -j "$jobs"

if [[ $lint == yes ]]; then
  # What links MLIR takes the linter minutes a file; the compiler's own warnings cover it. The rest is linted whole.
  step "lint support, runtime and the driver"
  git ls-files -z 'support/*.cpp' 'runtime/*.cpp' 'tools/lorac/*.cpp' |
    xargs -0 -n 4 -P "$jobs" clang-tidy-22 -p build/dev --quiet --warnings-as-errors='*' 2> >(grep -v 'warnings generated' >&2 || true)
fi

step "the runtime alone, where no part of the compiler exists"
tests/install/masked.sh "$jobs"

# The unit tests share this build with the fuzz targets; preset asan-ubsan runs them with GCC.
step "under AddressSanitizer and UBSan: unit tests, then each fuzz target's corpus and 15 s from there"
cmake --preset fuzz -DLORAC_FUZZ_SECONDS=15 -DLORAC_FUZZ_SEED=1 >/dev/null # whatever somebody set by hand
cmake --build --preset fuzz -j "$jobs"
ctest --preset fuzz -j "$jobs"

step "threads under ThreadSanitizer, on a device that tests bring and on this machine's"
cmake --preset tsan >/dev/null
cmake --build --preset tsan -j "$jobs"
build/dev/bin/lorac compile tests/goldens/llama-odd -o build/tsan/threads.lorac
build/dev/bin/lorac adapter tests/goldens/llama-odd/adapters/qv-r4 --base build/tsan/threads.lorac -o build/tsan/threads.lora >/dev/null
LORAC_THREADS_MODEL=$PWD/build/tsan/threads.lorac LORAC_THREADS_BUNDLE=$PWD/build/tsan/threads.lora ctest --preset tsan

step "all tests"
ctest --preset dev -j "$jobs"

step "large models: 1.1 billion parameters, 128k words"
LORAC_KERNEL_CACHE=build/dev/kernel-cache python3 -B tests/scale/scale.py --lorac build/dev/bin/lorac --lorac-opt build/dev/bin/lorac-opt \
  --folder build/scale --cases llama-1.1b,head-128k,bits

step "a second Vulkan driver: the newer Mesa of Debian's backports"
scripts/mesa.sh build/dev/bin/lorac devices
scripts/mesa.sh ctest --preset dev -L driver -j "$jobs"
step "done"
