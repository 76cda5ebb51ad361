//===- WeightPacker.h - tensors into the kernels' layouts -------*- C++ -*-===//
#ifndef LORAC_COMPILER_EMIT_WEIGHTPACKER_H
#define LORAC_COMPILER_EMIT_WEIGHTPACKER_H

#include "compiler/import/TensorSource.h"
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

enum class PackedCode { F32, F16 };

/// A matrix as it is stored: tiles `[rows/8][K/c][8][16 bytes]`, c = 4 (F32) or 8 (F16), rows and K padded
/// with zeros.
class WeightPacker {
public:
  WeightPacker(const TensorSource &source, PackedCode code, std::span<const FoldValues> folds)
      : source(source), code(code), folds(folds) {}

  uint64_t packedBytes() const { return (source.rows() + 7) / 8 * 8 * rowBytes(); }
  /// Streams the packed bytes in order to `sink`, on two threads, some megabytes at a time. A value that f16
  /// cannot hold is InvalidArgument and names the tensor.
  Status pack(const std::function<Status(std::span<const uint8_t>)> &sink) const;

  /// Rows [begin, begin + count) with the folds added: W0 + Σ scale·B·A, in f32.
  Status readFolded(uint64_t begin, uint64_t count, float *out) const;

private:
  uint64_t rowBytes() const { return (source.cols() * valueBytes() + 15) / 16 * 16; }
  uint64_t valueBytes() const { return code == PackedCode::F32 ? 4 : 2; }
  /// Packs rows [begin, begin + count), begin a multiple of 8, into `out`.
  Status packRows(uint64_t begin, uint64_t count, std::vector<uint8_t> &out) const;

  const TensorSource &source;
  PackedCode code;
  std::span<const FoldValues> folds;
};

} // namespace lorac

#endif // LORAC_COMPILER_EMIT_WEIGHTPACKER_H
