//===- CoreKeeper.h - no core asleep while a CPU device works ---*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_COREKEEPER_H
#define LORAC_RUNTIME_DEVICE_VULKAN_COREKEEPER_H

#include <atomic>
#include <thread>

namespace lorac::vulkan {

/// A thread of the scheduling class idle that is busy from begin() to end(). A CPU device hands each dispatch
/// from thread to thread, hundreds of times a step, and a core that went to sleep in between is late; one
/// that this thread runs on is awake, and to the scheduler as free as an idle one (docs/decisions/0012).
/// Where the system has no such class or no more threads, nothing happens. Not thread-safe.
class CoreKeeper {
public:
  CoreKeeper() = default;
  ~CoreKeeper();
  CoreKeeper(const CoreKeeper &) = delete;
  CoreKeeper &operator=(const CoreKeeper &) = delete;

  void begin();
  void end();

private:
  enum class State { Asleep, Busy, Over };
  void run();

  std::atomic<State> state = State::Asleep;
  bool tried = false; ///< to start the thread
  std::thread thread;
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_COREKEEPER_H
