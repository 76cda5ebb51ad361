//===- Stopwatch.h - time into a counter ------------------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_STOPWATCH_H
#define LORAC_RUNTIME_DEVICE_VULKAN_STOPWATCH_H

#include <chrono>
#include <cstdint>

namespace lorac::vulkan {

using Clock = std::chrono::steady_clock;

inline uint64_t nanoseconds(Clock::duration time) {
  return uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

/// Adds the time of its life to a counter.
class Stopwatch {
public:
  explicit Stopwatch(uint64_t &counter) : counter(counter) {}
  ~Stopwatch() { counter += nanoseconds(Clock::now() - began); }
  Stopwatch(const Stopwatch &) = delete;
  Stopwatch &operator=(const Stopwatch &) = delete;

private:
  uint64_t &counter;
  const Clock::time_point began = Clock::now();
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_STOPWATCH_H
