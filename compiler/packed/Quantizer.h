//===- Quantizer.h - rows of values to codes and scales ---------*- C++ -*-===//
#ifndef LORAC_COMPILER_PACKED_QUANTIZER_H
#define LORAC_COMPILER_PACKED_QUANTIZER_H

#include "compiler/import/TensorSource.h"
#include "schemas/PackedType.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lorac::packed {

/// A row's codes, one a value (int8 as two's complement), and its groups' scales. What a type has not is
/// empty.
struct Row {
  std::vector<uint8_t> codes;
  std::vector<float> words;      ///< d (int8-row), a (nf4, fp4; with double quantization before it)
  std::vector<uint16_t> halves;  ///< d as f16
  std::vector<uint16_t> seconds; ///< m or z as f16
};

/// The type that holds every value of `encoding` exactly, for encodings that have one.
std::optional<Type> exactTypeOf(Encoding encoding);

/// Codes and scales of `values`, which are finite; `type` is no float type and its group divides their
/// number. int8 and int4 as ggml's reference quantizes Q8_0, Q4_0 and Q4_1, in groups of any size (scale from
/// the largest magnitude, or from least to greatest with an offset); a zero point's range includes 0; nf4 and
/// fp4 as bitsandbytes does (scale the largest magnitude, the nearest table value, the lower where both are
/// as near). Empty, or what a scale cannot be: beyond f16.
std::string quantizeRow(const Type &type, std::span<const float> values, Row &row);

/// The same codes and scales as in a row of blocks, for an encoding that exactTypeOf gives such a type.
void copyRow(Encoding encoding, const uint8_t *blocks, uint64_t cols, Row &row);

/// The values that `row` stands for as docs/formats/packed.md defines them, with `words` as the scales of nf4
/// and fp4.
void dequantizeRow(const Type &type, const Row &row, std::span<float> values);

/// Double quantization of all blocks' scales of a tensor: codes, the offset and the nested scales. The offset
/// is the mean, summed in double (bitsandbytes' own sum depends on the machine that makes it).
struct NestedScales {
  std::vector<uint8_t> codes;
  float offset = 0;
  std::vector<float> scales; ///< one for each 256 blocks

  /// The scale that kernels make of block `block`.
  float scaleOf(uint64_t block) const;
};
NestedScales nest(std::span<const float> scales);

} // namespace lorac::packed

#endif // LORAC_COMPILER_PACKED_QUANTIZER_H
