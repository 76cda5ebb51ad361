//===- Profile.h - what a device can say of its own time --------*- C++ -*-===//
// For measuring alone: DeviceModel::profiler(). Nothing here is done, made or paid for until it is asked for.
#ifndef LORAC_RUNTIME_DEVICE_PROFILE_H
#define LORAC_RUNTIME_DEVICE_PROFILE_H

#include "runtime/device/Device.h"
#include "support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac {

/// A dispatch by the device's own clock, alone on the device: it began after all before it had ended.
struct DispatchTime {
  uint32_t command = 0; ///< index into the program's commands
  double seconds = 0;
};
/// One run of a program. Dispatches that were skipped (a grid with a zero) are not listed.
struct RunProfile {
  size_t program = 0;
  StepSymbols symbols;
  std::vector<DispatchTime> dispatches;
};

/// A kernel that reads one buffer and does as little else as a compiler lets it. Binding 0: the buffer,
/// 16-byte elements, a uniform texel buffer or a storage buffer; binding 1: a storage buffer of one u32 a
/// lane; push constant 0: the elements that a group reads, side by side with its neighbours' along x.
struct ReadKernel {
  bool texel = false;
  uint32_t lanes = 8; ///< of its local size along x
  std::vector<uint32_t> spirv;
};
struct ReadTimes {
  uint64_t bytes = 0; ///< that one repetition read: as many as asked for, or as the device binds at once
  std::vector<double> seconds; ///< of each repetition
};

/// Of one open model; not thread-safe, like it.
class DeviceProfiler {
public:
  virtual ~DeviceProfiler() = default;

  /// From now on runs are timed dispatch by dispatch, which makes them slower. Unsupported where the device
  /// has no clock.
  virtual Status start() = 0;
  /// The runs since start(), in order; from now on runs are as they were before it.
  virtual std::vector<RunProfile> stop() = 0;

  /// Reads `bytes` of device memory of the kind that weights lie in, `repetitions` times after one that is
  /// not counted. The memory is given back.
  virtual Result<ReadTimes> timeReads(const ReadKernel &kernel, uint64_t bytes, uint32_t repetitions) = 0;
};

} // namespace lorac

#endif // LORAC_RUNTIME_DEVICE_PROFILE_H
