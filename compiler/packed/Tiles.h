//===- Tiles.h - codes and scales into the kernels' layout ------*- C++ -*-===//
#ifndef LORAC_COMPILER_PACKED_TILES_H
#define LORAC_COMPILER_PACKED_TILES_H

#include "compiler/packed/Quantizer.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::packed {

/// The planes of some rows of a matrix, whole tiles of them, as docs/formats/packed.md lays them out. Rows
/// that were never placed, and what pads a row, are zero.
class Tiles {
public:
  /// For `rows` rows (rounded up to whole tiles) of `cols` values.
  Tiles(const Type &type, uint64_t rows, uint64_t cols);

  /// Row `row` of these, of a type with scales.
  void place(uint64_t row, const Row &values);
  /// The same of a float type: `values` are rounded to the nearest code. The first column whose value f16
  /// cannot hold, or cols.
  uint64_t place(uint64_t row, std::span<const float> values);

  std::vector<uint8_t> codes, scales;

private:
  uint8_t *codesOf(uint64_t row);

  Type type;
  uint64_t cols;
};

} // namespace lorac::packed

#endif // LORAC_COMPILER_PACKED_TILES_H
