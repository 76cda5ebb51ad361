//===- Shader.h - what a SPIR-V module asks of a device ---------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_SHADER_H
#define LORAC_RUNTIME_DEVICE_VULKAN_SHADER_H

#include "support/Status.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lorac::vulkan {

/// A resource of a module, as its layout must have it.
struct ShaderBinding {
  uint32_t binding;
  bool texel; ///< a texel buffer, else a storage buffer
};

struct ShaderFacts {
  uint32_t version = 0; ///< as in the module's header: 0x00010300 is 1.3
  std::vector<uint32_t> capabilities;
  std::string entryPoint;
  std::array<uint32_t, 3> localSize = {0, 0, 0};
  uint64_t sharedBytes = 0; ///< variables in Workgroup storage
  uint64_t pushBytes = 0;   ///< of push constants
  std::vector<ShaderBinding> bindings;
};

/// Reads the module's head, types and variables; CorruptFile for what is no compute shader of one entry point
/// with a literal local size, or ends inside a function. Not a validator: a driver still compiles what it is
/// given.
Result<ShaderFacts> readShader(std::span<const uint32_t> words);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_SHADER_H
