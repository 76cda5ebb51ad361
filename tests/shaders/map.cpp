// map.cpp - point-wise epilogues on columns of wider rows.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {
namespace two8 {
#define LANES 8
#define HAS_OPERAND1 1
#define EPILOGUE(s0, s1, o0, o1) ((o0) / (1.0f + exp(-(o0))) * (o1))
#include "shaders/map.kernel"
#undef LANES
#undef HAS_OPERAND1
#undef EPILOGUE
} // namespace two8
namespace one1 {
#define LANES 1
#define HAS_OPERAND1 0
#define EPILOGUE(s0, s1, o0, o1) ((void)(o1), (o0) * 0.5f * (1.0f + mathErf((o0) * 0.70710678f)))
#include "shaders/map.kernel"
#undef LANES
#undef HAS_OPERAND1
#undef EPILOGUE
} // namespace one1

TEST(MapKernel, AppliesTheExpression) {
  for (uint32_t width : {1u, 31u, 33u, 72u})
    for (bool two : {true, false}) {
      SCOPED_TRACE(width);
      const uint32_t rows = 3, stride0 = 160, stride1 = 96, yStride = 96, column0 = 72, column1 = 5;
      Random random(width + two);
      std::vector<float> operand0 = random.uniforms(rows * stride0),
                         operand1 = random.uniforms(rows * stride1);
      std::vector<float> y = poisoned(rows * yStride);
      if (two) {
        two8::operand0.bind(operand0);
        two8::operand1.bind(operand1);
        two8::y.bind(y);
        two8::push = {width, stride0, stride1, yStride, column0, column1};
        runGrid(two8::map, 8, ceilDiv(width, 32), rows);
      } else {
        one1::operand0.bind(operand0);
        one1::y.bind(y);
        one1::push = {width, stride0, stride1, yStride, column0, column1};
        runGrid(one1::map, 1, ceilDiv(width, 4), rows);
      }
      expectNoFaults();
      for (uint32_t s = 0; s < rows; ++s)
        for (uint32_t k = 0; k < yStride; ++k) {
          double a = operand0[s * stride0 + column0 + (k < width ? k : 0)];
          double b = operand1[s * stride1 + column1 + (k < width ? k : 0)];
          double want = two ? a / (1.0 + std::exp(-a)) * b : a * 0.5 * (1.0 + std::erf(a / std::sqrt(2.0)));
          if (k < width)
            EXPECT_NEAR(y[s * yStride + k], want, 4e-7);
          else
            EXPECT_TRUE(isPoison(y[s * yStride + k]));
        }
    }
}

} // namespace
} // namespace lorac::shader
