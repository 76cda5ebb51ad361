//===- Timestamps.cpp - the device's clock between commands -----------------===//
#include "runtime/device/vulkan/Timestamps.h"

namespace lorac::vulkan {

Status Timestamps::reset(Context &context, VkCommandBuffer commands, uint32_t spans) {
  written = 0;
  if (spans == 0)
    return Status::ok();
  if (capacity < 2 * spans) {
    capacity = 0;
    pool.reset();
    VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = 2 * spans;
    LORAC_ASSIGN(pool, context.make(context.api.vkCreateQueryPool, context.api.vkDestroyQueryPool, info,
                                    "vkCreateQueryPool"));
    capacity = info.queryCount;
  }
  context.api.vkCmdResetQueryPool(commands, pool.get(), 0, capacity);
  return Status::ok();
}

void Timestamps::write(const DeviceApi &api, VkCommandBuffer commands) {
  api.vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool.get(), written++);
}

void Timestamps::begin(const DeviceApi &api, VkCommandBuffer commands) {
  // Without it a timestamp would wait for nothing, and commands may run side by side.
  constexpr VkAccessFlags access = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, access, access};
  api.vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                           0, 1, &barrier, 0, nullptr, 0, nullptr);
  write(api, commands);
}

void Timestamps::end(const DeviceApi &api, VkCommandBuffer commands) { write(api, commands); }

Result<std::vector<double>> Timestamps::read(Context &context) const {
  std::vector<double> seconds;
  if (written == 0)
    return seconds;
  std::vector<uint64_t> ticks(written);
  LORAC_TRY(context.check(
      context.api.vkGetQueryPoolResults(context.device, pool.get(), 0, written,
                                        ticks.size() * sizeof(uint64_t), ticks.data(), sizeof(uint64_t),
                                        VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
      "vkGetQueryPoolResults"));
  uint32_t bits = context.caps.timestampBits;
  uint64_t mask = bits >= 64 ? UINT64_MAX : (uint64_t(1) << bits) - 1; // the counter wraps around there
  for (uint32_t i = 0; i < written; i += 2)
    seconds.push_back(double((ticks[i + 1] - ticks[i]) & mask) * double(context.caps.timestampPeriod) * 1e-9);
  return seconds;
}

} // namespace lorac::vulkan
