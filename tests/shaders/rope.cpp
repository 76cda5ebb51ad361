// rope.cpp - rotated q, and k and v in their places of the cache; all else stays as it was.
#include "tests/shaders/RopeCase.h"

namespace lorac::shader {
namespace {

#define VARIANT half16
#define LANES 8
#define HEAD 16
#define ROTATE 1
#define CACHE_F32 0
#include "tests/shaders/RopeVariant.inc"
#define VARIANT half18
#define LANES 8
#define HEAD 18
#define ROTATE 1
#define CACHE_F32 0
#include "tests/shaders/RopeVariant.inc"
#define VARIANT float18
#define LANES 1
#define HEAD 18
#define ROTATE 1
#define CACHE_F32 1
#include "tests/shaders/RopeVariant.inc"
#define VARIANT half64
#define LANES 1
#define HEAD 64
#define ROTATE 1
#define CACHE_F32 0
#include "tests/shaders/RopeVariant.inc"
#define VARIANT still32
#define LANES 8
#define HEAD 32
#define ROTATE 0
#define CACHE_F32 1
#include "tests/shaders/RopeVariant.inc"

/// `joined`: q, k and v are columns of one buffer.
void check(uint32_t head, bool rotate, bool isF32, bool joined, void (*run)(RopeBuffers &)) {
  SCOPED_TRACE(testing::Message() << "head " << head);
  Random random(head + joined);
  const uint32_t qHeads = 4, kvHeads = 2, pageCount = 5, half = head / 2;
  const uint32_t positions[] = {0, 15, 16, 37}, firstPages[] = {0, 0, 0, 2}, pages[] = {3, 1, 4, 0, 2};
  uint32_t rowCount = 4, D = roundUp(head, 8), yHead = roundUp(head, 32);
  RopeBuffers b{};
  uint32_t widths[] = {qHeads * head, kvHeads * head, kvHeads * head};
  for (uint32_t i = 0; i < 3; ++i) {
    b.columns[i] = 0;
    b.strides[i] = widths[i] + 4;
  }
  if (joined) {
    for (uint32_t &stride : b.strides)
      stride = widths[0] + widths[1] + widths[2] + 8;
    b.columns[1] = widths[0] + 3;
    b.columns[2] = b.columns[1] + widths[1];
  }
  b.q = random.uniforms(rowCount * b.strides[0]);
  b.k = joined ? b.q : random.uniforms(rowCount * b.strides[1]);
  b.v = joined ? b.q : random.uniforms(rowCount * b.strides[2]);
  uint32_t angleStride = roundUp(2 * half, 4);
  b.angles = poisoned(rowCount * angleStride);
  for (uint32_t row = 0; row < rowCount; ++row) {
    b.rows.insert(b.rows.end(), {0, positions[row], firstPages[row], 0});
    for (uint32_t i = 0; i < half; ++i) {
      double angle = positions[row] * std::pow(10000.0, -2.0 * i / head);
      b.angles[row * angleStride + i] = float(std::cos(angle));
      b.angles[row * angleStride + half + i] = float(std::sin(angle));
    }
  }
  b.pages.assign(pages, pages + 5);
  b.yStride = qHeads * yHead;
  b.qHeads = qHeads;
  b.kvHeads = kvHeads;
  b.rowCount = rowCount;
  b.y = poisoned(rowCount * b.yStride);
  uint32_t cacheValues = pageCount * kvHeads * 2 * 16 * D;
  b.cache.assign(isF32 ? cacheValues : cacheValues / 2, isF32 ? Poison : 0x7e017e01u);
  run(b);
  expectNoFaults();

  auto rotated = [&](const float *values, uint32_t row, uint32_t d) -> double {
    if (!rotate)
      return values[d];
    uint32_t i = d < half ? d : d - half;
    double cosine = b.angles[row * angleStride + i], sine = b.angles[row * angleStride + half + i];
    return d < half ? values[d] * cosine - values[d + half] * sine
                    : values[d] * cosine + values[d - half] * sine;
  };
  std::vector<bool> written(cacheValues, false);
  auto cacheValue = [&](size_t index) {
    written[index] = true;
    if (isF32)
      return std::bit_cast<float>(b.cache[index]);
    return halfToFloat(uint16_t(b.cache[index / 2] >> (16 * (index % 2))));
  };
  const double bound = isF32 ? 2e-7 : 6e-4;
  for (uint32_t row = 0; row < rowCount; ++row) {
    for (uint32_t h = 0; h < qHeads; ++h)
      for (uint32_t d = 0; d < yHead; ++d) {
        float got = b.y[row * b.yStride + h * yHead + d];
        if (d < head)
          EXPECT_NEAR(got, rotated(&b.q[row * b.strides[0] + b.columns[0] + h * head], row, d), 3e-7);
        else
          EXPECT_EQ(got, 0.0f);
      }
    uint32_t page = pages[firstPages[row] + positions[row] / 16], token = positions[row] % 16,
             c = isF32 ? 4 : 8;
    for (uint32_t h = 0; h < kvHeads; ++h)
      for (uint32_t d = 0; d < D; ++d) {
        size_t base = size_t(page * kvHeads + h) * 2 * 16 * D;
        float gotK = cacheValue(base + (d / c * 16 + token) * c + d % c),
              gotV = cacheValue(base + 16 * D + token * D + d);
        if (d < head) {
          EXPECT_NEAR(gotK, rotated(&b.k[row * b.strides[1] + b.columns[1] + h * head], row, d), bound);
          EXPECT_EQ(gotV, stored(b.v[row * b.strides[2] + b.columns[2] + h * head + d], isF32));
        } else {
          EXPECT_EQ(gotK, 0.0f);
          EXPECT_EQ(gotV, 0.0f);
        }
      }
  }
  for (size_t i = 0; i < cacheValues; ++i)
    if (!written[i]) {
      ASSERT_TRUE(isF32 ? b.cache[i] == Poison : (b.cache[i / 2] >> (16 * (i % 2)) & 0xffffu) == 0x7e01u)
          << "cache value " << i << " was written";
    }
}

TEST(RopeKernel, RotatesAndFillsTheCache) {
  for (bool joined : {false, true}) {
    check(16, true, false, joined, half16::run);
    check(18, true, false, joined, half18::run);
    check(18, true, true, joined, float18::run);
    check(64, true, false, joined, half64::run);
    check(32, false, true, joined, still32::run);
  }
}

} // namespace
} // namespace lorac::shader
