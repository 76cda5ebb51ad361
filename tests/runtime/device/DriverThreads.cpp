#include "runtime/device/vulkan/DriverThreads.h"

#include <gtest/gtest.h>

#include <latch>
#include <sched.h>
#include <set>
#include <thread>
#include <vector>

namespace lorac::vulkan {
namespace {

size_t coresOf(const cpu_set_t &set) { return size_t(CPU_COUNT(&set)); }

cpu_set_t affinity() {
  cpu_set_t set;
  EXPECT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  return set;
}

/// What so many threads of a name may run on after giveWorkersCores, in the order in which they were started.
std::vector<cpu_set_t> spread(size_t count, const std::string &name) {
  std::vector<cpu_set_t> sets(count);
  std::latch started(std::ptrdiff_t(count) + 1), spread(1);
  std::vector<std::jthread> threads;
  {
    ThreadNames names("lorac-test");
    for (size_t i = 0; i < count; ++i)
      threads.emplace_back([&, i] {
        started.count_down();
        spread.wait();
        sets[i] = affinity();
      });
  }
  started.arrive_and_wait();
  giveWorkersCores(name);
  spread.count_down();
  threads.clear();
  return sets;
}

/// On one core that is the one which they had.
TEST(DriverThreads, WorkersGetACoreEach) {
  const cpu_set_t all = affinity();
  const size_t cores = coresOf(all);
  const std::vector<cpu_set_t> sets = spread(cores + 1, "lorac-test");
  EXPECT_TRUE(CPU_EQUAL(&sets[0], &all)); // the queue's
  std::set<int> taken;
  for (size_t i = 1; i < sets.size(); ++i) {
    EXPECT_EQ(coresOf(sets[i]), 1u);
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &sets[i]))
        taken.insert(core);
  }
  EXPECT_EQ(taken.size(), cores);
  const cpu_set_t own = affinity();
  EXPECT_TRUE(CPU_EQUAL(&own, &all));
}

TEST(DriverThreads, OthersAreLeftAlone) {
  const cpu_set_t all = affinity();
  const size_t cores = coresOf(all);
  for (size_t count : {size_t(1), cores, cores + 2})
    for (const cpu_set_t &set : spread(count, "lorac-test"))
      EXPECT_TRUE(CPU_EQUAL(&set, &all)) << count;
  for (const cpu_set_t &set : spread(cores + 1, "another"))
    EXPECT_TRUE(CPU_EQUAL(&set, &all));
}

} // namespace
} // namespace lorac::vulkan
