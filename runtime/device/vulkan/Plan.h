//===- Plan.h - what a model needs, and how a device serves it --*- C++ -*-===//
// Decided in values before a driver is asked for anything: modelNeeds reads a model file, planDevice picks
// kernel variants and cuts the spaces into allocations. Both touch no driver.
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_PLAN_H
#define LORAC_RUNTIME_DEVICE_VULKAN_PLAN_H

#include "runtime/device/Device.h"
#include "runtime/device/vulkan/Capabilities.h"
#include "runtime/device/vulkan/Shader.h"
#include "schemas/model_generated.h"
#include "support/Status.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac::vulkan {

constexpr size_t SpaceCount = size_t(fbs::Space::MAX) + 1;

/// One binding of a kernel at its largest use in any program.
struct BindingNeeds {
  std::string role;
  bool read = true;
  uint32_t elementBytes = 16;
  uint64_t bytes = 0;
};
struct VariantNeeds {
  std::string name;
  uint64_t features = 0; ///< bits of schemas/Features.def
  bool texel = false;
  uint32_t lanes = 8;
  ShaderFacts shader;
};
struct KernelNeeds {
  std::string name;
  std::vector<BindingNeeds> bindings;
  uint32_t pushBytes = 0;
  std::array<uint64_t, 3> grid = {0, 0, 0}; ///< the largest at the programs' most rows, with one item
  std::vector<VariantNeeds> variants;
};
/// A buffer of some program; equal ones stand once. Never empty.
struct BufferNeeds {
  uint64_t offset = 0;
  uint64_t size = 0;
  std::string name;
};
struct ModelNeeds {
  std::string path; ///< for messages
  std::vector<KernelNeeds> kernels;
  std::vector<KernelNeeds> chains; ///< the bindings of the links, then the words; without grids
  std::array<std::vector<BufferNeeds>, SpaceCount> spaces;
};

/// What one model file needs with these load symbols: InvalidArgument for symbols above the file's maxima,
/// CorruptFile for views that leave their buffers with them or for code that is no shader.
Result<ModelNeeds> modelNeeds(const ModelFile &model, const LoadSymbols &symbols);

/// Limits of ours, not of a device; tests lower them to reach the big case with a small one.
struct PlanLimits {
  uint64_t allocationBytes = 1ull << 30; ///< an allocation holds more only where one buffer does
  uint64_t stagingBytes = 16ull << 20;   ///< a multiple of 16
};

/// One buffer in one allocation, that holds [offset, offset + size) of its space.
struct AllocationPlan {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t memoryType = 0;
  bool mapped = false;
  bool coherent = false;
  bool hostPages = false; ///< made of this process's pages
};
struct DevicePlan {
  std::vector<uint32_t> variants;              ///< by kernel: index of the variant taken
  std::vector<std::optional<uint32_t>> chains; ///< by chain: the same, or its links run as they stand
  std::array<std::vector<AllocationPlan>, SpaceCount> spaces;
  AllocationPlan words; ///< how chains' words are made, but for their size: as step buffers are
  uint32_t stagingMemoryType = 0;
  bool stagingCoherent = false;
  bool stagingNeeded = false; ///< weights and pool are not mapped
  uint64_t stagingBytes = 0;
  uint64_t totalBytes = 0; ///< of all allocations
};

/// Incompatible names the kernel and the feature that each variant lacks, or the buffer too large for one
/// allocation; OutOfMemory says what is needed and what the heap has.
Result<DevicePlan> planDevice(const DeviceCaps &caps, const ModelNeeds &needs, const PlanLimits &limits = {});

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_PLAN_H
