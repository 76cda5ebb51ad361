#include "support/Halves.h"

#include "support/Finite.h"
#include "support/Half.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

namespace lorac {
namespace {

/// Every 16-bit pattern, at an odd address; 7 more than a multiple of 8.
struct AllPatterns {
  static constexpr size_t Count = 65536 + 7;
  std::vector<uint8_t> storage = std::vector<uint8_t>(2 * Count + 1);
  uint8_t *bytes = storage.data() + 1;
  AllPatterns() {
    for (size_t i = 0; i < Count; ++i) {
      uint16_t bits = uint16_t(i);
      std::memcpy(bytes + 2 * i, &bits, 2);
    }
  }
};

TEST(Halves, EveryPatternAsOneByOne) {
  AllPatterns all;
  std::vector<float> halves(all.Count), bfloats(all.Count);
  halvesToFloats(all.bytes, all.Count, halves.data());
  bfloatsToFloats(all.bytes, all.Count, bfloats.data());
  for (size_t i = 0; i < all.Count; ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(halves[i]), std::bit_cast<uint32_t>(halfToFloat(uint16_t(i)))) << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(bfloats[i]), std::bit_cast<uint32_t>(bfloatToFloat(uint16_t(i)))) << i;
  }
}

/// Each half, its neighbours among the floats, the middles between halves, and floats of all exponents.
TEST(Halves, RoundedAsOneByOne) {
  std::vector<float> values;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint32_t exact = std::bit_cast<uint32_t>(halfToFloat(uint16_t(bits)));
    for (uint32_t offset : {0u, 1u, 0xffffffffu, 0xfffu, 0x1000u, 0x1001u})
      values.push_back(std::bit_cast<float>(exact + offset));
  }
  for (uint32_t bits = 0; bits < 0xffff0000u; bits += 0xfedcu)
    values.push_back(std::bit_cast<float>(bits));
  std::vector<uint8_t> bytes(2 * values.size() + 1);
  EXPECT_FALSE(floatsToHalves(values.data(), values.size(), bytes.data() + 1));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + 1 + 2 * i, 2);
    ASSERT_EQ(half, floatToHalf(values[i])) << std::bit_cast<uint32_t>(values[i]);
  }
}

TEST(Halves, OneBadValueIsSeenAnywhere) {
  const float bad[] = {65520.0f, -1e30f, std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
  for (size_t count : {1, 7, 8, 9, 16, 23})
    for (size_t at = 0; at < count; ++at) {
      std::vector<float> values(count, 65504.0f);
      std::vector<uint8_t> bytes(2 * count);
      EXPECT_TRUE(floatsToHalves(values.data(), count, bytes.data()));
      EXPECT_TRUE(allFinite(values.data(), count));
      for (float value : bad) {
        values[at] = value;
        EXPECT_FALSE(floatsToHalves(values.data(), count, bytes.data())) << value << " at " << at;
        EXPECT_EQ(allFinite(values.data(), count), std::abs(value) < 1e38f) << value << " at " << at;
      }
    }
}

} // namespace
} // namespace lorac
