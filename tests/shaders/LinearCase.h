//===- LinearCase.h - one dispatch of the linear kernel ---------*- C++ -*-===//
#ifndef LORAC_TESTS_SHADERS_LINEARCASE_H
#define LORAC_TESTS_SHADERS_LINEARCASE_H

#include "tests/shaders/KernelTest.h"

namespace lorac::shader {

/// What the kernel binds and is pushed, by the catalog's names; a variant binds what its constants ask for.
struct LinearBuffers {
  std::vector<uint32_t> weight;
  std::vector<float> x, bias, operand0, operand1, t;
  std::vector<uint32_t> stacks, itemTable, pool, outs;
  std::vector<uint32_t> scales, nested;
  std::vector<uint64_t> pairs;
  std::vector<float> map;
  std::vector<uint32_t> rowTable, pages, cache; ///< with HEAD
  std::vector<float> angles;
  std::vector<float> y;
  uint32_t rows = 0, inFeatures = 0, xStride = 0, yStride = 0, tiles = 0, items = 0, firstTile = 0;
  uint32_t segments[3] = {0xffffffffu, 0xffffffffu, 0xffffffffu}; ///< of segments 1 to 3
  uint32_t sites[4] = {0, 0, 0, 0};
};

/// A compiled-in variant: its constants and how to run it.
struct LinearVariant {
  const char *name;
  uint32_t lanes, subgroup, rows, tiles, isF32, tail, combine, bias, operand0, operand1, adapters, gathered;
  void (*run)(LinearBuffers &buffers);
};

} // namespace lorac::shader

#endif // LORAC_TESTS_SHADERS_LINEARCASE_H
