// math.cpp - the functions of prelude/math.h against the C library's in double.
#include "tests/shaders/KernelTest.h"

using namespace lorac::shader;

namespace {

TEST(Math, ErfIsAccurateToF32) {
  for (int i = -60000; i <= 60000; ++i) {
    float x = float(i) * 1e-4f;
    double want = std::erf(double(x));
    ASSERT_NEAR(mathErf(x), want, 2.4e-7 * std::abs(want)) << x;
  }
  EXPECT_EQ(mathErf(100.0f), 1.0f);
  EXPECT_EQ(mathErf(-100.0f), -1.0f);
  EXPECT_EQ(mathErf(0.0f), 0.0f);
  EXPECT_TRUE(std::isnan(mathErf(NAN)));
}

TEST(Math, TanhStaysFinite) {
  for (float x : {-1e30f, -20.0f, -0.3f, 0.0f, 1e-4f, 2.0f, 9.5f, 1e30f})
    EXPECT_NEAR(mathTanh(x), std::tanh(double(x)), 2e-7) << x;
  EXPECT_TRUE(std::isnan(mathTanh(NAN)));
}

} // namespace
