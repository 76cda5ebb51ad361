//===- WeightPacker.h - tensors into the kernels' layouts -------*- C++ -*-===//
#ifndef LORAC_COMPILER_EMIT_WEIGHTPACKER_H
#define LORAC_COMPILER_EMIT_WEIGHTPACKER_H

#include "compiler/import/TensorSource.h"
#include "schemas/PackedType.h"
#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace lorac {

/// A static adapter held in memory: A [rank, in], B [out, rank], both f32.
struct FoldValues {
  std::vector<float> a, b;
  uint64_t rank = 0;
  double scale = 0;
};

/// How far the stored values W' are from the tensor's W (with its folds), over all values.
struct PackingError {
  double squares = 0;   ///< Σ (W' − W)²
  double reference = 0; ///< Σ W²; 0 where every value is exact
  /// ‖W' − W‖ / ‖W‖
  double relative() const;
};

/// What is known of a tensor once its codes are written.
struct PackedRest {
  std::vector<uint8_t> scales; ///< the plane
  std::vector<uint8_t> nested; ///< the tensor's part of the nested plane
  PackingError error;
};

/// A matrix as it is stored: the planes of docs/formats/packed.md.
class WeightPacker {
public:
  WeightPacker(const TensorSource &source, packed::Type type, std::span<const FoldValues> folds)
      : source(source), type(type), folds(folds) {}

  /// Streams the plane of codes in order to `sink`, on two threads, some megabytes at a time; the planes of
  /// scales, an eighth of its size at most, are kept. What the file holds as this type already is taken over
  /// bit for bit, unless there are folds. A value or a scale that the type cannot hold is InvalidArgument and
  /// names the tensor, the row and what to do.
  Result<PackedRest> pack(const std::function<Status(std::span<const uint8_t>)> &sink) const;

  /// Rows [begin, begin + count) with the folds added: W0 + Σ scale·B·A, in f32.
  Status readFolded(uint64_t begin, uint64_t count, float *out) const;

private:
  struct Batch;
  struct BlockSums;
  /// Packs rows [begin, begin + count), begin a multiple of 8.
  Batch packRows(uint64_t begin, uint64_t count) const;
  Status finishNested(const BlockSums &blocks, PackedRest &rest) const;
  /// The error that `problem` in `row` is.
  Status tooWide(uint64_t row, const std::string &problem) const;

  const TensorSource &source;
  packed::Type type;
  std::span<const FoldValues> folds;
};

} // namespace lorac

#endif // LORAC_COMPILER_EMIT_WEIGHTPACKER_H
