//===- Threads.h - one piece of work over several threads -------*- C++ -*-===//
#ifndef LORAC_SUPPORT_THREADS_H
#define LORAC_SUPPORT_THREADS_H

#include <cstddef>
#include <functional>

namespace lorac {

/// Calls work(0) to work(count - 1), each once, in this order as far as threads go, and returns when all have
/// returned. At most `threads` threads take part, this one among them; where no more can be had, those that
/// run do all of it. `work` is called by several threads at a time and must not throw.
void forEachOnThreads(size_t count, size_t threads, const std::function<void(size_t)> &work);

} // namespace lorac

#endif // LORAC_SUPPORT_THREADS_H
