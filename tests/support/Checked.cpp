#include "support/Checked.h"

#include <gtest/gtest.h>

namespace lorac {
namespace {

constexpr uint64_t Max = UINT64_MAX;

TEST(Checked, Add) {
  EXPECT_EQ(checkedAdd(2, 3), 5u);
  EXPECT_EQ(checkedAdd(Max, 0), Max);
  EXPECT_EQ(checkedAdd(Max - 1, 1), Max);
  EXPECT_FALSE(checkedAdd(Max, 1));
  EXPECT_FALSE(checkedAdd(Max, Max));
}

TEST(Checked, Mul) {
  EXPECT_EQ(checkedMul(6, 7), 42u);
  EXPECT_EQ(checkedMul(Max, 1), Max);
  EXPECT_EQ(checkedMul(Max, 0), 0u);
  EXPECT_EQ(checkedMul(0xffffffffu, 0x100000001u), Max);
  EXPECT_FALSE(checkedMul(uint64_t(1) << 32, uint64_t(1) << 32));
}

TEST(Checked, RangeInside) {
  EXPECT_TRUE(rangeInside(0, 10, 10));
  EXPECT_TRUE(rangeInside(10, 0, 10));
  EXPECT_FALSE(rangeInside(11, 0, 10));
  EXPECT_FALSE(rangeInside(1, 10, 10));
  EXPECT_FALSE(rangeInside(Max, 2, 10)); // the end would wrap to 1
  EXPECT_FALSE(rangeInside(2, Max, 10));
}

TEST(Checked, CeilDivAndRoundUp) {
  EXPECT_EQ(ceilDiv(0, 8), 0u);
  EXPECT_EQ(ceilDiv(1, 8), 1u);
  EXPECT_EQ(ceilDiv(8, 8), 1u);
  EXPECT_EQ(ceilDiv(9, 8), 2u);
  EXPECT_EQ(ceilDiv(Max, 1), Max);
  EXPECT_EQ(ceilDiv(Max, 2), uint64_t(1) << 63);
  EXPECT_EQ(roundUp(0, 256), 0u);
  EXPECT_EQ(roundUp(1, 256), 256u);
  EXPECT_EQ(roundUp(256, 256), 256u);
  EXPECT_EQ(roundUp(10, 3), 12u);
}

} // namespace
} // namespace lorac
