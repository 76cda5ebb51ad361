//===- Timestamps.h - the device's clock between commands -------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_TIMESTAMPS_H
#define LORAC_RUNTIME_DEVICE_VULKAN_TIMESTAMPS_H

#include "runtime/device/vulkan/Context.h"

#include <vector>

namespace lorac::vulkan {

/// Times of spans of one command buffer. Only for a context whose caps.timestampBits is not 0.
class Timestamps {
public:
  /// Begins a recording of at most `spans` spans.
  Status reset(Context &context, VkCommandBuffer commands, uint32_t spans);
  /// What is recorded between the two waits for all before it, and is waited for by all after it.
  void begin(const DeviceApi &api, VkCommandBuffer commands);
  void end(const DeviceApi &api, VkCommandBuffer commands);
  /// Seconds of each span, in order, once the recording has run.
  Result<std::vector<double>> read(Context &context) const;

private:
  void write(const DeviceApi &api, VkCommandBuffer commands);

  Handle<VkQueryPool> pool;
  uint32_t capacity = 0; // queries
  uint32_t written = 0;
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_TIMESTAMPS_H
