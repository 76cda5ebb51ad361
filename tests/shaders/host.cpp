// host.cpp - the host prelude itself: lanes exchange values, and mistakes are seen.
#include "tests/shaders/KernelTest.h"

using namespace lorac::shader;

namespace {

std::vector<float> results;

void exchangeBody() {
  u32 lane = position().lane;
  f32 fromThree = broadcast(f32(lane) * 10.0f, 3u);
  f32 fromFive = broadcast(f32(lane) + 0.5f, 5u);
  f32 sum = groupSum(f32(lane));
  f32 largest = groupMax(-f32(lane));
  results.insert(results.end(), {fromThree, fromFive, sum, largest});
}

TEST(HostPrelude, LanesExchangeValues) {
  results.clear();
  runGrid(exchangeBody, 8, 1, 1);
  expectNoFaults();
  ASSERT_EQ(results.size(), 32u);
  for (size_t lane = 0; lane < 8; ++lane) {
    EXPECT_EQ(results[lane * 4], 30.0f);
    EXPECT_EQ(results[lane * 4 + 1], 5.5f);
    EXPECT_EQ(results[lane * 4 + 2], 28.0f);
    EXPECT_EQ(results[lane * 4 + 3], 0.0f);
  }
}

void divergentBody() {
  if (position().lane < 4u)
    meet("barrier");
}
TEST(HostPrelude, DivergentLanesAreAFault) {
  runGrid(divergentBody, 8, 1, 1);
  std::vector<std::string> faults = takeFaults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].find("lanes diverge: 4 of 8"), std::string::npos) << faults[0];
}

void mixedBody() {
  if (position().lane == 0u)
    meet("barrier");
  else
    groupSum(1.0f);
}
TEST(HostPrelude, DifferentWordsAreAFault) {
  runGrid(mixedBody, 8, 1, 1);
  EXPECT_EQ(takeFaults().size(), 1u);
}

TEST(HostPrelude, AccessOutOfBoundsIsAFault) {
  std::vector<float> values(4, 1.0f);
  Binding<f32> binding("values");
  binding.bind(values);
  EXPECT_TRUE(std::isnan(binding.load(4)));
  binding.store(4, 2.0f);
  std::vector<std::string> faults = takeFaults();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0], "read of values[4] of 4");
  EXPECT_EQ(faults[1], "write of values[4] of 4");
}

} // namespace
