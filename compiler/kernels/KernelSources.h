//===- KernelSources.h - shaders/ as strings --------------------*- C++ -*-===//
// The definitions are generated at build time (EmbedSources.cmake).
#ifndef LORAC_COMPILER_KERNELS_KERNELSOURCES_H
#define LORAC_COMPILER_KERNELS_KERNELSOURCES_H

#include <cstddef>
#include <string_view>

namespace lorac {

/// One file of shaders/: "linear.kernel", "prelude/glsl.h".
struct KernelSource {
  std::string_view name;
  std::string_view text;
};
extern const KernelSource KernelSources[];
extern const size_t KernelSourceCount;

} // namespace lorac

#endif // LORAC_COMPILER_KERNELS_KERNELSOURCES_H
