//===- Storage.h - what became of a model's matrices ------------*- C++ -*-===//
#ifndef LORAC_COMPILER_PACKED_STORAGE_H
#define LORAC_COMPILER_PACKED_STORAGE_H

#include "schemas/PackedType.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::packed {

/// A matrix as it was written.
struct StoredMatrix {
  std::string name;     ///< of the tensor
  std::string encoding; ///< in its file: f32, q4_1
  bool keepable = true; ///< whether a packed type holds every value of that encoding
  Type type;
  uint64_t rows = 0, cols = 0;
  double errorSquares = 0;     ///< sum of (W' - W)^2 over its values
  double referenceSquares = 0; ///< sum of W^2; 0 where every value is exact
};

/// Matrices of one role, encoding and type, of all layers.
struct StorageRow {
  /// `model.layers.*.mlp.up_proj`: the tensors' name without `.weight`, numbers as `*`; where a role has
  /// several rows, the numbers of each: `model.layers.0-3,7.mlp.up_proj`.
  std::string sites;
  std::string encoding;
  bool keepable = true;
  Type type;
  uint64_t matrices = 0;
  uint64_t values = 0;
  uint64_t bytes = 0;       ///< of all planes
  double bitsPerWeight = 0; ///< with padding
  double error = 0;         ///< ||W' - W|| / ||W|| over all of them
};

/// A tensor's name without `.weight`, with `*` for parts that are numbers: what it is in each layer.
std::string roleOf(std::string_view name);

/// In the order in which roles first stand in `matrices`.
std::vector<StorageRow> storageTable(std::span<const StoredMatrix> matrices);

} // namespace lorac::packed

#endif // LORAC_COMPILER_PACKED_STORAGE_H
