#include "support/Threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace lorac {
namespace {

TEST(Threads, EachIndexOnce) {
  for (size_t count : {0u, 1u, 2u, 1000u})
    for (size_t threads : {0u, 1u, 3u}) {
      std::vector<std::atomic<int>> calls(count);
      forEachOnThreads(count, threads, [&](size_t i) { ++calls[i]; });
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(calls[i], 1) << "index " << i << " of " << count << " on " << threads;
    }
}

TEST(Threads, OneThreadIsTheCallersAndInOrder) {
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<size_t> order;
  forEachOnThreads(4, 1, [&](size_t i) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    order.push_back(i);
  });
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3}));
}

TEST(Threads, ThreadsWorkAtTheSameTime) {
  // Two indices that each wait for the other end only if both are worked on at once.
  std::atomic<int> here = 0;
  std::mutex mutex;
  std::set<std::thread::id> ids;
  forEachOnThreads(2, 2, [&](size_t) {
    {
      std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    }
    ++here;
    while (here < 2)
      std::this_thread::yield();
  });
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids.count(std::this_thread::get_id()), 1u);
}

} // namespace
} // namespace lorac
