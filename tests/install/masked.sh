#!/usr/bin/env bash
# The runtime where the compiler's parts do not exist: masked.sh [JOBS]
# In a mount namespace of its own, with an overlay over /usr in which every file of every package of MLIR, LLVM, clang, shaderc,
# SPIRV-Tools, glslang and flatc is gone: shows that they are, then configures, builds and tests the preset runtime-only there. Nothing
# outside the namespace changes. What stays is the LLVM library that Mesa's driver itself loads.
set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=${1:-$(nproc)}

# Root needs no user namespace; anyone else gets one.
if [[ -z ${LORAC_MASKED:-} ]]; then
  namespace=(--mount --propagation private)
  [[ $EUID == 0 ]] || namespace+=(--map-root-user)
  LORAC_MASKED=$(mktemp -d)
  unshare "${namespace[@]}" true || {
    echo "masked.sh: this machine allows no mount namespace (a container without CAP_SYS_ADMIN?): the runtime is built and tested, but" \
      "where the compiler's parts exist" >&2
    rmdir "$LORAC_MASKED"
    cmake --preset runtime-only --fresh -DCMAKE_DISABLE_FIND_PACKAGE_MLIR=ON -DCMAKE_DISABLE_FIND_PACKAGE_LLVM=ON >/dev/null
    cmake --build --preset runtime-only -j "$jobs"
    exec ctest --preset runtime-only -j "$jobs"
  }
  export LORAC_MASKED
  trap 'rmdir "$LORAC_MASKED"' EXIT
  unshare "${namespace[@]}" "$0" "$jobs"
  exit
fi

# ---- the mask: an overlay's upper layer of nothing but whiteouts, made before it lies over anything
driver_needs=$(dpkg-query -W -f '${Depends}' mesa-vulkan-drivers 2>/dev/null | grep -oE '\blibllvm[0-9]+' || true)
packages=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 == "ii" { print $2 }' |
  grep -E '^(lib)?(mlir|llvm|clang|shaderc|spirv|glslang|lld)|^flatbuffers-compiler' | grep -vxF "${driver_needs:-none}" || true)
mount -t tmpfs masked "$LORAC_MASKED"
mkdir "$LORAC_MASKED"/{upper,work}
# shellcheck disable=SC2086 # a list of names
{ [[ -z $packages ]] || dpkg-query -L $packages; } | python3 -c '
import os, stat, sys
upper, masked = sys.argv[1], 0
for path in sorted(set(sys.stdin.read().splitlines())):
    path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if path.startswith("/usr/") and os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        target = upper + path[len("/usr"):]
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.mknod(target, stat.S_IFCHR, 0)
            masked += 1
print(f"{masked} files masked")' "$LORAC_MASKED/upper"
mount -t overlay masked -o "lowerdir=/usr,upperdir=$LORAC_MASKED/upper,workdir=$LORAC_MASKED/work" /usr
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# ---- the mask holds
# (Folders that this user may not read hold nothing that a compiler finds either.)
first() { find /usr /opt "$@" -print -quit 2>/dev/null || true; }
fail() { echo "masked.sh: $*" >&2; exit 1; }
for tool in flatc {mlir-opt,mlir-tblgen,llvm-config,llvm-tblgen,clang,clang++,clang-format,clang-tidy,FileCheck,lit}{,-14,-22} \
  spirv-as spirv-opt spirv-val glslc glslangValidator; do
  [[ -z $(type -P "$tool") ]] || fail "the mask has a hole: $(type -P "$tool")"
done
for header in mlir/IR/MLIRContext.h llvm/IR/Module.h clang/AST/AST.h shaderc/shaderc.hpp spirv-tools/libspirv.h glslang/Public/ShaderLang.h; do
  found=$(first -path "*/$header")
  [[ -z $found ]] || fail "the mask has a hole: $found"
done
for library in libMLIR libshaderc libSPIRV-Tools libglslang libclang MLIRConfig.cmake LLVMConfig.cmake; do
  found=$(first -name "$library*" -not -type d)
  [[ -z $found ]] || fail "the mask has a hole: $found"
done
[[ -f /usr/include/flatbuffers/flatbuffers.h ]] || fail "the runtime's own headers are gone too"
# With tests or without: what is not the runtime cannot even be configured here.
if cmake -S . -B "$LORAC_MASKED/whole" -DLORAC_TESTS=OFF >"$LORAC_MASKED/log" 2>&1; then
  fail "the whole build was configured under the mask"
fi
grep -q MLIRConfig.cmake "$LORAC_MASKED/log" || { cat "$LORAC_MASKED/log" >&2; fail "the whole build failed for another reason"; }
echo "masked: no tool, header or library of MLIR, LLVM, clang, shaderc, SPIRV-Tools, glslang and flatc is found"

# ---- the runtime builds and passes
cmake --preset runtime-only --fresh >/dev/null
cmake --build --preset runtime-only -j "$jobs"
ctest --preset runtime-only -j "$jobs"
