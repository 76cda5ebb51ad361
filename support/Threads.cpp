//===- Threads.cpp --------------------------------------------------------===//
#include "support/Threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace lorac {

void forEachOnThreads(size_t count, size_t threads, const std::function<void(size_t)> &work) {
  std::atomic<size_t> next = 0;
  const auto takeTurns = [&] {
    for (size_t i = next++; i < count; i = next++)
      work(i);
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(count, threads); ++i) {
    try {
      helpers.emplace_back(takeTurns);
    } catch (const std::exception &) {
      break; // no more threads, or no memory for one
    }
  }
  takeTurns();
  for (std::thread &helper : helpers)
    helper.join();
}

} // namespace lorac
