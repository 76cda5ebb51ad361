//===- DriverThreads.h - a core for each worker of a CPU device -*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_DRIVERTHREADS_H
#define LORAC_RUNTIME_DEVICE_VULKAN_DRIVERTHREADS_H

#include <string>

namespace lorac::vulkan {

/// While one lives, threads that the calling thread starts, and those that these start, bear `name` (of at
/// most 15 characters; a thread's name is its starter's until it is given another).
class ThreadNames {
public:
  explicit ThreadNames(const char *name);
  ~ThreadNames();
  ThreadNames(const ThreadNames &) = delete;
  ThreadNames &operator=(const ThreadNames &) = delete;

private:
  std::string before;
};

/// Of the threads of this process that bear `name`, the first is a queue's and the others are workers. Where
/// there are as many workers as cores that the calling thread may use, and more than one, each gets a core of
/// its own: woken together, hundreds of times a step, two are else put on one core at times, for tens of
/// steps (docs/decisions/0019). Anywhere else, and on systems other than Linux, nothing happens.
void giveWorkersCores(const std::string &name);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_DRIVERTHREADS_H
