//===- VulkanModel.h - a model open on a Vulkan device ----------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_VULKANMODEL_H
#define LORAC_RUNTIME_DEVICE_VULKAN_VULKANMODEL_H

#include "runtime/device/Device.h"
#include "runtime/device/vulkan/Context.h"
#include "runtime/device/vulkan/Plan.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lorac::vulkan {

struct Options {
  bool validation = false; ///< what LORAC_VULKAN_VALIDATION=1 asks for
  PlanLimits limits;
  std::string pipelineCache;           ///< DeviceOptions::pipelineCache
  std::map<size_t, uint64_t> programs; ///< DeviceOptions::programs
  /// When the driver began to be started: before the instance was made.
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  /// For tests; may be empty. Changes what the driver says of a device before planning, and which functions
  /// are called.
  std::function<void(DeviceCaps &)> adjustCaps;
  std::function<void(DeviceApi &)> adjustApi;
};

/// As openDevice, for kinds auto and vulkan. `instance` is shared with the caller: its validationStatus()
/// tells what the layer said while the model was closed.
Result<std::unique_ptr<DeviceModel>> openModel(std::shared_ptr<Instance> instance, const DeviceSpec &spec,
                                               const ModelFile &model, const LoadSymbols &symbols,
                                               const Options &options);

/// The devices in the order in which `spec` tries them, as indices into `devices`; DeviceUnavailable where
/// none is left.
Result<std::vector<size_t>> candidates(const DeviceSpec &spec, const std::vector<DeviceCaps> &devices);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_VULKANMODEL_H
