// rms_norm.cpp - against float64; padding of x is poison and that of y stays so.
#include "tests/shaders/ShrinkCase.h"

namespace lorac::shader {
namespace {
#define SEGMENTS 0
namespace lanes8 {
#define LANES 8
#include "shaders/rms_norm.kernel"
#undef LANES
} // namespace lanes8
namespace lanes1 {
#define LANES 1
#include "shaders/rms_norm.kernel"
#undef LANES
} // namespace lanes1
#undef SEGMENTS

#define VARIANT shrink8
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 3
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT shrink1
#define LANES 1
#define SUBGROUP 0
#define GATHERED 1
#define SEGMENTS 3
#include "tests/shaders/ShrinkVariant.inc"

/// The norm that takes the shrink of three sites along, and the shrink alone, over what the norm gives.
#define SEGMENTS 3
#define TAIL 1
namespace ride8 {
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#include "shaders/prelude/shrink.h"
#include "shaders/rms_norm.kernel"
#undef GATHERED
#undef SUBGROUP
#undef LANES
} // namespace ride8
namespace ride1 {
#define LANES 1
#define SUBGROUP 0
#define GATHERED 1
#include "shaders/prelude/shrink.h"
#include "shaders/rms_norm.kernel"
#undef GATHERED
#undef SUBGROUP
#undef LANES
} // namespace ride1
#undef TAIL
#undef SEGMENTS

void check(uint32_t features, uint32_t rows, uint32_t lanes, bool rowsAlongX) {
  SCOPED_TRACE(testing::Message() << features << " features, " << lanes << " lanes");
  Random random(features * 10 + rows);
  uint32_t stride = roundUp(features, 32);
  std::vector<float> values = random.uniforms(size_t(rows) * features);
  std::vector<float> x = strided(values, rows, features, stride), w = random.uniforms(features);
  w.resize(roundUp(features, 4), poison());
  std::vector<float> y = poisoned(size_t(rows) * stride);
  const float epsilon = 1e-5f;
  uint32_t gridX = rowsAlongX ? rows : 1, gridY = rowsAlongX ? 1 : rows;
  if (lanes == 8) {
    lanes8::x.bind(x);
    lanes8::weight.bind(w);
    lanes8::y.bind(y);
    lanes8::push = {features, stride / 4, stride, std::bit_cast<uint32_t>(epsilon), 0, 0, 0, 0, 0, 0};
    runGrid(lanes8::rms_norm, 8, gridX, gridY);
  } else {
    lanes1::x.bind(x);
    lanes1::weight.bind(w);
    lanes1::y.bind(y);
    lanes1::push = {features, stride / 4, stride, std::bit_cast<uint32_t>(epsilon), 0, 0, 0, 0, 0, 0};
    runGrid(lanes1::rms_norm, 1, gridX, gridY);
  }
  expectNoFaults();
  for (uint32_t s = 0; s < rows; ++s) {
    double squares = 0.0;
    for (uint32_t k = 0; k < features; ++k)
      squares += double(values[size_t(s) * features + k]) * values[size_t(s) * features + k];
    for (uint32_t k = 0; k < stride; ++k) {
      float got = y[size_t(s) * stride + k];
      if (k >= features) {
        EXPECT_TRUE(isPoison(got));
        continue;
      }
      double want = values[size_t(s) * features + k] / std::sqrt(squares / features + double(epsilon)) * w[k];
      EXPECT_NEAR(got, want, 1e-6 * std::abs(want) + 1e-12);
    }
  }
}

TEST(RmsNormKernel, MatchesFloat64) {
  for (uint32_t features : {8u, 33u, 64u, 72u, 200u, 201u, 202u, 203u})
    for (uint32_t lanes : {1u, 8u}) {
      check(features, 1, lanes, true);
      check(features, 3, lanes, true);
      check(features, 9, lanes, false);
    }
}

/// t is, bit for bit, what shrink makes of the norm's y, and y what the norm makes alone; nothing else is
/// written.
void checkRiding(uint32_t features, bool gather) {
  SCOPED_TRACE(testing::Message() << features << " features" << (gather ? ", gathered" : ""));
  Random random(features);
  const uint32_t stepRows = 4, rows = gather ? 2 : stepRows, stride = roundUp(features, 32);
  const std::vector<uint32_t> outRows = {1, step::NoOutRow, 0, step::NoOutRow};
  std::vector<float> x = strided(random.uniforms(size_t(rows) * features), rows, features, stride);
  std::vector<float> w = random.uniforms(features);
  w.resize(roundUp(features, 4), poison());
  const uint32_t epsilon = std::bit_cast<uint32_t>(1e-5f);

  ShrinkBuffers b;
  b.inFeatures = features;
  b.xStride = stride;
  for (uint32_t row = 0; row < stepRows; ++row)
    b.rows.insert(b.rows.end(), {9, 9, 9, outRows[row]});
  Pool pool;
  struct Kind {
    uint32_t ranks[3];
    bool isF32;
  };
  for (const Kind &kind : {Kind{{8, 3, 20}, false}, Kind{{0, 70, 5}, true}, Kind{{1, 0, 0}, false}}) {
    std::vector<SitePart> parts;
    for (uint32_t rank : kind.ranks)
      parts.push_back(randomPart(random, rank, rank == 3, kind.isF32, features, 16));
    const uint32_t base = pool.add(parts, {features, features, features}, {16, 16, 16});
    uint32_t tiles = 0;
    for (const SitePart &part : parts)
      tiles = std::max(tiles, part.tiles());
    for (uint32_t row = 0; row < stepRows; ++row)
      for (uint32_t tile = 0; tile < tiles; ++tile, ++b.items)
        b.table.insert(b.table.end(),
                       {row, base, tile | (tiles << step::EntryTilesShift), std::bit_cast<uint32_t>(0.75f)});
  }
  b.pool = pool.words;
  b.sites[0] = 2;
  b.sites[1] = 0;
  b.sites[2] = 1;

  std::vector<float> alone = poisoned(size_t(rows) * stride), y = alone,
                     t = poisoned(size_t(3) * b.items * 8);
  auto ride = [&](auto &kernelX, auto &kernelW, auto &kernelY, auto &kernelPool, auto &kernelItems,
                  auto &kernelT) {
    kernelX.bind(x);
    kernelW.bind(w);
    kernelY.bind(y);
    kernelPool.bind(b.pool);
    kernelItems.bind(b.table);
    kernelT.bind(t);
  };
  if (gather) {
    lanes1::x.bind(x);
    lanes1::weight.bind(w);
    lanes1::y.bind(alone);
    lanes1::push = {features, stride / 4, stride, epsilon, 0, 0, 0, 0, 0, 0};
    runGrid(lanes1::rms_norm, 1, 1, rows);
    ride(ride1::x, ride1::weight, ride1::y, ride1::pool, ride1::items, ride1::t);
    ride1::rows.bind(b.rows);
    ride1::push = {features, stride / 4, stride,     epsilon,    rows,
                   b.items,  b.sites[0], b.sites[1], b.sites[2], 0};
    runGrid(ride1::rms_norm, 1, rows + b.items, 1);
  } else {
    lanes8::x.bind(x);
    lanes8::weight.bind(w);
    lanes8::y.bind(alone);
    lanes8::push = {features, stride / 4, stride, epsilon, 0, 0, 0, 0, 0, 0};
    runGrid(lanes8::rms_norm, 8, 1, rows);
    ride(ride8::x, ride8::weight, ride8::y, ride8::pool, ride8::items, ride8::t);
    ride8::push = {features, stride / 4, stride,     epsilon,    rows,
                   b.items,  b.sites[0], b.sites[1], b.sites[2], 0};
    runGrid(ride8::rms_norm, 8, rows + b.items, 1);
  }
  b.x = alone;
  b.t = poisoned(t.size());
  (gather ? shrink1::run : shrink8::run)(b);
  expectNoFaults();
  EXPECT_EQ(std::memcmp(y.data(), alone.data(), y.size() * sizeof(float)), 0) << "y";
  EXPECT_EQ(std::memcmp(t.data(), b.t.data(), t.size() * sizeof(float)), 0) << "t";
}

TEST(RmsNormKernel, ShrinkRidesBitForBit) {
  for (uint32_t features : {33u, 64u, 72u, 200u})
    for (bool gather : {false, true})
      checkRiding(features, gather);
}

} // namespace
} // namespace lorac::shader
