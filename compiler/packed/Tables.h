//===- Tables.h - the tables of bitsandbytes' 4-bit types -------*- C++ -*-===//
// Source: Dettmers et al., QLoRA (2023), and bitsandbytes' definition of its types, value for value.
#ifndef LORAC_COMPILER_PACKED_TABLES_H
#define LORAC_COMPILER_PACKED_TABLES_H

#include "schemas/PackedType.h"

#include <array>

namespace lorac::packed {

/// The value of each 4-bit code of NF4 or FP4.
const std::array<float, 16> &tableOf(Code code);

/// The signed dynamic map of 8 bits that codes the scales of blocks: 256 values, ascending. Seven decades,
/// the i-th with 2^i means of neighbours of linspace(0.1, 1, 2^i + 1), each positive and negative, and 0
/// and 1. Source: Dettmers, 8-Bit Approximations for Parallelism in Deep Learning (2015). Computed in f32, as
/// bitsandbytes stores it.
const std::array<float, MapValues> &dynamicMap();

} // namespace lorac::packed

#endif // LORAC_COMPILER_PACKED_TABLES_H
