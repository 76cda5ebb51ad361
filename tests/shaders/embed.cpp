// embed.cpp - rows of a tiled table come back exactly.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {
namespace half8 {
#define LANES 8
#define SUBGROUP 1
#define WEIGHT 1
#define GROUP 0
#define HAS_SCALES 0
#define HAS_PAIRS 0
#define ZERO_POINT 0
#define NESTED 0
#include "shaders/prelude/packed.h"

#include "shaders/embed.kernel"
#undef LANES
#undef WEIGHT
} // namespace half8
namespace float1 {
#define LANES 1
#define WEIGHT 0
#include "shaders/prelude/packed.h"

#include "shaders/embed.kernel"
#undef LANES
#undef SUBGROUP
#undef WEIGHT
#undef GROUP
#undef HAS_SCALES
#undef HAS_PAIRS
#undef ZERO_POINT
#undef NESTED
} // namespace float1

template <typename Run> void check(bool isF32, uint32_t width, Run run) {
  SCOPED_TRACE(width);
  const uint32_t vocabulary = 21, tokens[] = {20, 0, 7, 8, 20};
  Random random(width);
  std::vector<float> values = random.uniforms(size_t(vocabulary) * width);
  std::vector<uint32_t> table = tiled(values, vocabulary, width, isF32), rows;
  for (uint32_t token : tokens)
    rows.insert(rows.end(), {token, 3, 0, 0});
  uint32_t perPiece = isF32 ? 4 : 8, pieces = ceilDiv(width, perPiece), stride = roundUp(width, 32);
  std::vector<float> y = poisoned(size_t(5) * stride);
  run(table, rows, y, pieces, stride / 4);
  expectNoFaults();
  for (uint32_t s = 0; s < 5; ++s)
    for (uint32_t k = 0; k < stride; ++k) {
      float got = y[size_t(s) * stride + k];
      if (k < width)
        EXPECT_EQ(got, stored(values[size_t(tokens[s]) * width + k], isF32));
      else if (k < pieces * perPiece)
        EXPECT_EQ(got, 0.0f);
      else
        EXPECT_TRUE(isPoison(got));
    }
}

TEST(EmbedKernel, CopiesRows) {
  for (uint32_t width : {8u, 33u, 64u, 72u, 200u}) {
    for (uint32_t groups : {1u, 3u})
      check(false, width, [&](auto &table, auto &rows, auto &y, uint32_t pieces, uint32_t stride) {
        half8::table.bind(table);
        half8::rows.bind(rows);
        half8::y.bind(y);
        half8::push = {pieces, stride, 0, 21};
        runGrid(half8::embed, 8, groups, 5);
      });
    check(true, width, [&](auto &table, auto &rows, auto &y, uint32_t pieces, uint32_t stride) {
      float1::table.bind(table);
      float1::rows.bind(rows);
      float1::y.bind(y);
      float1::push = {pieces, stride, 0, 21};
      runGrid(float1::embed, 1, 1, 5);
    });
  }
}

TEST(EmbedKernel, WindowsWriteTheRowsOfTheirTokens) {
  const uint32_t width = 40, stride = 64, tokens[] = {20, 0, 7, 8, 15, 16};
  Random random(1);
  std::vector<float> values = random.uniforms(size_t(24) * width), y = poisoned(size_t(6) * stride);
  std::vector<uint32_t> rows;
  for (uint32_t token : tokens)
    rows.insert(rows.end(), {token, 3, 0, 0});
  half8::rows.bind(rows);
  half8::y.bind(y);
  for (uint32_t first : {8u, 0u, 16u}) {
    std::vector<float> part(values.begin() + long(first * width), values.begin() + long((first + 8) * width));
    std::vector<uint32_t> table = tiled(part, 8, width, false);
    half8::table.bind(table);
    half8::push = {5, stride / 4, first, 8};
    runGrid(half8::embed, 8, 1, 6);
    expectNoFaults();
    for (uint32_t s = 0; s < 6; ++s) // those of windows to come are untouched
      EXPECT_EQ(isPoison(y[size_t(s) * stride]),
                tokens[s] / 8 != 1 && (first == 8 || tokens[s] / 8 > first / 8))
          << first << " " << s;
  }
  for (uint32_t s = 0; s < 6; ++s)
    for (uint32_t k = 0; k < width; ++k)
      EXPECT_EQ(y[size_t(s) * stride + k], stored(values[size_t(tokens[s]) * width + k], false));
}

} // namespace
} // namespace lorac::shader
