//===- ShrinkCase.h - one dispatch of the shrink kernel ---------*- C++ -*-===//
#ifndef LORAC_TESTS_SHADERS_SHRINKCASE_H
#define LORAC_TESTS_SHADERS_SHRINKCASE_H

#include "tests/shaders/KernelTest.h"

namespace lorac::shader {

/// What the kernel binds and is pushed, by the catalog's names.
struct ShrinkBuffers {
  std::vector<float> x;
  std::vector<uint32_t> pool, table, rows; ///< table: the items
  std::vector<float> t;
  uint32_t inFeatures = 0, xStride = 0, items = 0;
  uint32_t sites[4] = {0, 0, 0, 0};
};

} // namespace lorac::shader

#endif // LORAC_TESTS_SHADERS_SHRINKCASE_H
