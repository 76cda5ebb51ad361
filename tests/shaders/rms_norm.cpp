// rms_norm.cpp - against float64; padding of x is poison and that of y stays so.
#include "tests/shaders/ShrinkCase.h"

namespace lorac::shader {
namespace {

constexpr float Epsilon = 1e-5f;

struct NormBuffers {
  std::vector<float> x, weight, y;
  uint32_t features = 0, stride = 0, rows = 0;
  ShrinkBuffers rider; ///< what the variants with SEGMENTS take along
};

#define VARIANT lanes8
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 0
#include "tests/shaders/RmsNormVariant.inc"
#define VARIANT lanes1
#define LANES 1
#define SUBGROUP 0
#define GATHERED 0
#define SEGMENTS 0
#include "tests/shaders/RmsNormVariant.inc"

// The norm that takes the shrink of three sites along, and the shrink alone, over what the norm gives.
#define VARIANT ride8
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 3
#include "tests/shaders/RmsNormVariant.inc"
#define VARIANT ride1
#define LANES 1
#define SUBGROUP 0
#define GATHERED 1
#define SEGMENTS 3
#include "tests/shaders/RmsNormVariant.inc"
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

/// Buffers for random x and weights: padding of x is poison, and so is all of y.
NormBuffers randomNorm(Random &random, uint32_t features, uint32_t rows) {
  NormBuffers b;
  b.features = features;
  b.rows = rows;
  b.stride = roundUp(features, 32);
  b.x = strided(random.uniforms(size_t(rows) * features), rows, features, b.stride);
  b.weight = random.uniforms(features);
  b.weight.resize(roundUp(features, 4), poison());
  b.y = poisoned(size_t(rows) * b.stride);
  return b;
}

void check(uint32_t features, uint32_t rows, uint32_t lanes, bool rowsAlongX) {
  SCOPED_TRACE(testing::Message() << features << " features, " << lanes << " lanes");
  Random random(features * 10 + rows);
  NormBuffers b = randomNorm(random, features, rows);
  (lanes == 8 ? lanes8::run : lanes1::run)(b, rowsAlongX ? rows : 1, rowsAlongX ? 1 : rows);
  expectNoFaults();
  for (uint32_t s = 0; s < rows; ++s) {
    double squares = 0.0;
    for (uint32_t k = 0; k < features; ++k)
      squares += double(b.x[size_t(s) * b.stride + k]) * b.x[size_t(s) * b.stride + k];
    for (uint32_t k = 0; k < b.stride; ++k) {
      float got = b.y[size_t(s) * b.stride + k];
      if (k >= features) {
        EXPECT_TRUE(isPoison(got));
        continue;
      }
      double want =
          b.x[size_t(s) * b.stride + k] / std::sqrt(squares / features + double(Epsilon)) * b.weight[k];
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
  const uint32_t stepRows = 4, rows = gather ? 2 : stepRows;
  const std::vector<uint32_t> outRows = {1, step::NoOutRow, 0, step::NoOutRow};
  NormBuffers riding = randomNorm(random, features, rows);
  ShrinkBuffers &b = riding.rider;
  b.inFeatures = features;
  b.xStride = riding.stride;
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

  b.t = poisoned(size_t(3) * b.items * 8);

  NormBuffers alone = riding;
  (gather ? lanes1::run : lanes8::run)(alone, 1, rows);
  alone.rider.x = alone.y;
  (gather ? shrink1::run : shrink8::run)(alone.rider);
  (gather ? ride1::run : ride8::run)(riding, rows + b.items, 1);
  expectNoFaults();
  EXPECT_EQ(std::memcmp(riding.y.data(), alone.y.data(), riding.y.size() * sizeof(float)), 0) << "y";
  EXPECT_EQ(std::memcmp(b.t.data(), alone.rider.t.data(), b.t.size() * sizeof(float)), 0) << "t";
}

TEST(RmsNormKernel, ShrinkRidesBitForBit) {
  for (uint32_t features : {33u, 64u, 72u, 200u})
    for (bool gather : {false, true})
      checkRiding(features, gather);
}

} // namespace
} // namespace lorac::shader
