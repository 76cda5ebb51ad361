// rms_norm.cpp - against float64; padding of x is poison and that of y stays so.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {
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

void check(uint32_t features, uint32_t rows, uint32_t lanes, bool rowsAlongX) {
  SCOPED_TRACE(testing::Message() << features << " features, " << lanes << " lanes");
  Random random(features * 10 + rows);
  uint32_t stride = roundUp(features, 32);
  std::vector<float> values = random.uniforms(size_t(rows) * features);
  std::vector<float> x = strided(values, rows, features, stride), w = random.uniforms(features);
  std::vector<float> y = poisoned(size_t(rows) * stride);
  const float epsilon = 1e-5f;
  uint32_t gridX = rowsAlongX ? rows : 1, gridY = rowsAlongX ? 1 : rows;
  if (lanes == 8) {
    lanes8::x.bind(x);
    lanes8::weight.bind(w);
    lanes8::y.bind(y);
    lanes8::push = {features, stride / 4, stride, std::bit_cast<uint32_t>(epsilon)};
    runGrid(lanes8::rms_norm, 8, gridX, gridY);
  } else {
    lanes1::x.bind(x);
    lanes1::weight.bind(w);
    lanes1::y.bind(y);
    lanes1::push = {features, stride / 4, stride, std::bit_cast<uint32_t>(epsilon)};
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

} // namespace
} // namespace lorac::shader
