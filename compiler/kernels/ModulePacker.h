//===- ModulePacker.h - SPIR-V to its packed form ---------------*- C++ -*-===//
#ifndef LORAC_COMPILER_KERNELS_MODULEPACKER_H
#define LORAC_COMPILER_KERNELS_MODULEPACKER_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac {

/// A module as a file holds it (support/PackedModule.h). Ids outside functions keep their numbers as names:
/// best those that the same types and constants have in other modules. Unpacked, the module has other ids.
/// Internal for what SPIRV-Tools cannot read.
Result<std::vector<uint32_t>> packModule(std::span<const uint32_t> words);

} // namespace lorac

#endif // LORAC_COMPILER_KERNELS_MODULEPACKER_H
