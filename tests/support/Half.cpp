#include "support/Half.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace lorac {
namespace {

/// The value of a binary16 from its definition, in double.
double valueOf(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31)
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Half, EveryHalfBecomesItsFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = halfToFloat(uint16_t(bits));
    const double expected = valueOf(uint16_t(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_EQ((std::bit_cast<uint32_t>(value) >> 13) & 0x3ff, bits & 0x3ff) << "the payload moves up";
    } else {
      ASSERT_EQ(double(value), expected) << bits;
    }
    ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
  }
}

TEST(Half, EveryHalfReturns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bool nan = (bits & 0x7fff) > 0x7c00;
    ASSERT_EQ(floatToHalf(halfToFloat(uint16_t(bits))), nan ? bits | 0x200 : bits)
        << bits; // NaN comes back quiet
  }
}

// Between any two neighbours: just below the middle, the middle (to the even one), just above it.
TEST(Half, RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double low = valueOf(uint16_t(bits));
    const double high = bits == 0x7bff ? 65536.0 : valueOf(uint16_t(bits + 1));
    const float middle = float((low + high) / 2); // exact: 12 bits
    const uint16_t even = uint16_t(bits & 1 ? bits + 1 : bits);
    ASSERT_EQ(floatToHalf(middle), even) << bits;
    ASSERT_EQ(floatToHalf(std::nextafter(middle, 0.0f)), bits) << bits;
    ASSERT_EQ(floatToHalf(std::nextafter(middle, HUGE_VALF)), bits + 1) << bits;
    ASSERT_EQ(floatToHalf(-middle), 0x8000 | even) << bits;
  }
}

TEST(Half, KnownValues) {
  EXPECT_EQ(floatToHalf(1.0f), 0x3c00);
  EXPECT_EQ(floatToHalf(-2.0f), 0xc000);
  EXPECT_EQ(floatToHalf(65504.0f), 0x7bff);
  EXPECT_EQ(floatToHalf(65519.996f), 0x7bff);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(floatToHalf(1e10f), 0x7c00);
  EXPECT_EQ(floatToHalf(-HUGE_VALF), 0xfc00);
  EXPECT_EQ(floatToHalf(0x1p-24f), 0x0001);
  EXPECT_EQ(floatToHalf(0x1p-25f), 0x0000);
  EXPECT_EQ(floatToHalf(-0.0f), 0x8000);
  EXPECT_EQ(floatToHalf(1e-40f), 0x0000);
  EXPECT_EQ(halfToFloat(0x3555), 0.333251953125f);
}

TEST(Bfloat, EveryValueReturns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bool nan = (bits & 0x7fff) > 0x7f80;
    ASSERT_EQ(floatToBfloat(bfloatToFloat(uint16_t(bits))), nan ? bits | 0x40 : bits) << bits;
  }
}

TEST(Bfloat, RoundsToNearestTiesToEven) {
  EXPECT_EQ(bfloatToFloat(0x3f80), 1.0f);
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f808000u)), 0x3f80); // a tie, 0x3f80 is even
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f807fffu)), 0x3f80);
  EXPECT_EQ(floatToBfloat(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(floatToBfloat(-HUGE_VALF), 0xff80);
}

} // namespace
} // namespace lorac
