// attend.cpp - softmax attention over a paged cache against float64. Everything past a row's position is
// poison, in the cache and in the page table.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {

struct AttendBuffers {
  std::vector<float> q, y;
  std::vector<uint32_t> rows, pages, cache;
  uint32_t qStride, yStride, kvHeads, group, rowCount;
  float scale;
};

#define ATTEND_VARIANT                                                                                       \
  static void run(AttendBuffers &b) {                                                                        \
    q.bind(b.q);                                                                                             \
    rows.bind(b.rows);                                                                                       \
    pages.bind(b.pages);                                                                                     \
    cache.bind(b.cache);                                                                                     \
    y.bind(b.y);                                                                                             \
    push = {b.qStride / 4, b.yStride, b.kvHeads, b.group, std::bit_cast<uint32_t>(b.scale)};                 \
    runGrid(attend, LANES, b.kvHeads * (b.group / HEADS), b.rowCount);                                       \
  }

namespace half18 {
#define LANES 8
#define SUBGROUP 1
#define HEAD 18
#define HEADS 3
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half18
namespace half64 {
#define LANES 8
#define SUBGROUP 1
#define HEAD 64
#define HEADS 1
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half64
namespace half64nosubgroup {
#define LANES 8
#define SUBGROUP 0
#define HEAD 64
#define HEADS 3
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half64nosubgroup
namespace half16lanes1 {
#define LANES 1
#define SUBGROUP 0
#define HEAD 16
#define HEADS 3
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half16lanes1
namespace half32lanes32 {
#define LANES 32
#define SUBGROUP 0
#define HEAD 32
#define HEADS 1
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half32lanes32
namespace float18 {
#define LANES 8
#define SUBGROUP 1
#define HEAD 18
#define HEADS 1
#define CACHE_F32 1
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace float18
namespace float64lanes16 {
#define LANES 16
#define SUBGROUP 1
#define HEAD 64
#define HEADS 3
#define CACHE_F32 1
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace float64lanes16
namespace half160 {
#define LANES 8
#define SUBGROUP 1
#define HEAD 160
#define HEADS 1
#define CACHE_F32 0
#include "shaders/prelude/heads.h"

#include "shaders/attend.kernel"
ATTEND_VARIANT
#undef LANES
#undef SUBGROUP
#undef HEAD
#undef HEADS
#undef CACHE_F32
} // namespace half160

void check(const char *name, uint32_t head, bool isF32, const std::vector<uint32_t> &positions,
           void (*run)(AttendBuffers &)) {
  SCOPED_TRACE(name);
  Random random(head);
  const uint32_t kvHeads = 2, group = 3, qHeads = kvHeads * group, qHead = roundUp(head, 32);
  uint32_t D = roundUp(head, 8), c = isF32 ? 4 : 8, rowCount = uint32_t(positions.size());
  AttendBuffers b{};
  b.qStride = qHeads * qHead + 32;
  b.yStride = roundUp(qHeads * head, 32);
  b.kvHeads = kvHeads;
  b.group = group;
  b.rowCount = rowCount;
  b.scale = 1.0f / std::sqrt(float(head));
  b.q = poisoned(rowCount * b.qStride);
  for (uint32_t row = 0; row < rowCount; ++row)
    for (uint32_t h = 0; h < qHeads; ++h)
      for (uint32_t d = 0; d < qHead; ++d)
        b.q[row * b.qStride + h * qHead + d] = d < head ? 4.0f * random.uniform() : 0.0f;
  // Every row is a sequence of its own with pages of its own, scattered.
  uint32_t pageTotal = 1;
  for (uint32_t position : positions)
    pageTotal += position / 16 + 1;
  uint32_t used = 0;
  for (uint32_t position : positions) {
    b.rows.insert(b.rows.end(), {0, position, uint32_t(b.pages.size()), 0});
    for (uint32_t page = 0; page <= position / 16; ++page)
      b.pages.push_back((used++ * 7 + 3) % pageTotal);
  }
  size_t cacheValues = size_t(pageTotal) * kvHeads * 2 * 16 * D;
  b.cache.assign(isF32 ? cacheValues : cacheValues / 2, isF32 ? Poison : 0x7e017c00u); // NaN, infinity
  auto put = [&](size_t index, float value) {
    if (isF32) {
      b.cache[index] = std::bit_cast<uint32_t>(value);
    } else {
      uint32_t shift = 16 * (index % 2);
      b.cache[index / 2] = (b.cache[index / 2] & ~(0xffffu << shift)) | uint32_t(floatToHalf(value)) << shift;
    }
  };
  std::vector<std::vector<float>> keys(rowCount), values(rowCount); // [token][kv head][head]
  for (uint32_t row = 0; row < rowCount; ++row)
    for (uint32_t token = 0; token <= positions[row]; ++token)
      for (uint32_t h = 0; h < kvHeads; ++h) {
        uint32_t page = b.pages[b.rows[row * 4 + 2] + token / 16];
        size_t base = size_t(page * kvHeads + h) * 2 * 16 * D;
        for (uint32_t d = 0; d < D; ++d) {
          float key = d < head ? stored(random.uniform(), isF32) : 0.0f,
                value = d < head ? stored(random.uniform(), isF32) : 0.0f;
          put(base + (d / c * 16 + token % 16) * c + d % c, key);
          put(base + 16 * D + token % 16 * D + d, value);
          if (d < head) {
            keys[row].push_back(key);
            values[row].push_back(value);
          }
        }
      }
  b.y = poisoned(rowCount * b.yStride);
  run(b);
  expectNoFaults();

  for (uint32_t row = 0; row < rowCount; ++row) {
    for (uint32_t h = 0; h < qHeads; ++h) {
      const float *q = &b.q[row * b.qStride + h * qHead];
      std::vector<double> weights;
      double largest = -1e300, total = 0.0;
      for (uint32_t token = 0; token <= positions[row]; ++token) {
        double score = 0.0;
        for (uint32_t d = 0; d < head; ++d)
          score += double(q[d]) * keys[row][(token * kvHeads + h / group) * head + d];
        weights.push_back(score * b.scale);
        largest = std::max(largest, weights.back());
      }
      for (double &weight : weights)
        total += weight = std::exp(weight - largest);
      for (uint32_t d = 0; d < head; ++d) {
        double want = 0.0;
        for (uint32_t token = 0; token <= positions[row]; ++token)
          want += weights[token] / total * values[row][(token * kvHeads + h / group) * head + d];
        float got = b.y[row * b.yStride + h * head + d];
        ASSERT_NEAR(got, want, 3e-6) << "row " << row << " head " << h << " dimension " << d;
      }
    }
    for (uint32_t i = qHeads * head; i < b.yStride; ++i)
      EXPECT_TRUE(isPoison(b.y[row * b.yStride + i]));
  }
}

TEST(AttendKernel, MatchesFloat64) {
  const std::vector<uint32_t> positions = {0, 7, 8, 15, 16, 17, 33, 50};
  check("half18", 18, false, positions, half18::run);
  check("half64", 64, false, positions, half64::run);
  check("half64nosubgroup", 64, false, positions, half64nosubgroup::run);
  check("half16lanes1", 16, false, positions, half16lanes1::run);
  check("half32lanes32", 32, false, positions, half32lanes32::run);
  check("float18", 18, true, positions, float18::run);
  check("float64lanes16", 64, true, positions, float64lanes16::run);
  check("half160", 160, false, {0, 21}, half160::run);
}

} // namespace
} // namespace lorac::shader
