// gather.cpp - the rows asked for, bit for bit, in order.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {
namespace lanes8 {
#define LANES 8
#include "shaders/gather.kernel"
#undef LANES
} // namespace lanes8
namespace lanes1 {
#define LANES 1
#include "shaders/gather.kernel"
#undef LANES
} // namespace lanes1

TEST(GatherKernel, CopiesRows) {
  for (uint32_t width : {4u, 40u, 72u})
    for (uint32_t lanes : {1u, 8u}) {
      Random random(width);
      uint32_t xStride = width + 8, yStride = width + 4;
      std::vector<float> x = strided(random.uniforms(size_t(6) * width), 6, width, xStride);
      std::vector<uint32_t> wanted = {5, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0};
      std::vector<float> y = poisoned(size_t(3) * yStride);
      if (lanes == 8) {
        lanes8::x.bind(x);
        lanes8::outs.bind(wanted);
        lanes8::y.bind(y);
        lanes8::push = {width / 4, xStride / 4, yStride / 4};
        runGrid(lanes8::gather, 8, 1, 3);
      } else {
        lanes1::x.bind(x);
        lanes1::outs.bind(wanted);
        lanes1::y.bind(y);
        lanes1::push = {width / 4, xStride / 4, yStride / 4};
        runGrid(lanes1::gather, 1, 2, 3);
      }
      expectNoFaults();
      for (uint32_t i = 0; i < 3; ++i)
        for (uint32_t k = 0; k < yStride; ++k) {
          float got = y[size_t(i) * yStride + k];
          if (k < width)
            EXPECT_EQ(got, x[size_t(wanted[i * 4]) * xStride + k]);
          else
            EXPECT_TRUE(isPoison(got));
        }
    }
}

} // namespace
} // namespace lorac::shader
