//===- RawRead.h - how fast a device reads at all ---------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_RAWREAD_H
#define LORAC_RUNTIME_DEVICE_VULKAN_RAWREAD_H

#include "runtime/device/Profile.h"
#include "runtime/device/vulkan/Context.h"
#include "runtime/device/vulkan/Plan.h"

namespace lorac::vulkan {

/// See DeviceProfiler::timeReads. The buffer is allocated as `like` was.
Result<ReadTimes> timeReads(Context &context, const ReadKernel &kernel, const AllocationPlan &like,
                            uint64_t bytes, uint32_t repetitions);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_RAWREAD_H
