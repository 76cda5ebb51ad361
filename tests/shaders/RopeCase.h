//===- RopeCase.h - one dispatch of the rope kernel -------------*- C++ -*-===//
#ifndef LORAC_TESTS_SHADERS_ROPECASE_H
#define LORAC_TESTS_SHADERS_ROPECASE_H

#include "tests/shaders/KernelTest.h"

namespace lorac::shader {

/// What the kernel binds and is pushed, by the catalog's names; columns and strides of q, k and v.
struct RopeBuffers {
  std::vector<float> q, k, v, angles, y;
  std::vector<uint32_t> rows, pages, cache;
  uint32_t columns[3], strides[3], yStride, qHeads, kvHeads, rowCount;
};

} // namespace lorac::shader

#endif // LORAC_TESTS_SHADERS_ROPECASE_H
