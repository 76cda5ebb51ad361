#include "runtime/device/vulkan/CoreKeeper.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <thread>

namespace lorac::vulkan {
namespace {

/// Processor time of the whole process, seconds.
double processTime() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

constexpr auto Slice = std::chrono::milliseconds(20);

TEST(CoreKeeper, IsBusyBetweenBeginAndEndOnly) {
  CoreKeeper keeper;
  bool busy = false;
  // Others may hold every core for a while: the class idle waits for them.
  for (int attempt = 0; attempt < 200 && !busy; ++attempt) {
    keeper.begin();
    const double began = processTime();
    std::this_thread::sleep_for(Slice);
    busy = processTime() - began > 0.005;
    keeper.end();
  }
  EXPECT_TRUE(busy);

  std::this_thread::sleep_for(Slice); // it may be on its way to sleep
  const double began = processTime();
  std::this_thread::sleep_for(Slice);
  EXPECT_LT(processTime() - began, 0.005);
}

TEST(CoreKeeper, ManyTurnsAndAnEndAtAnyMoment) {
  for (bool busy : {false, true}) {
    CoreKeeper keeper;
    for (int turn = 0; turn < 1000; ++turn) {
      keeper.begin();
      keeper.end();
    }
    if (busy)
      keeper.begin();
  }
  CoreKeeper neverUsed;
}

} // namespace
} // namespace lorac::vulkan
