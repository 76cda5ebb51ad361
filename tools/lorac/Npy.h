//===- Npy.h - NumPy's array file -------------------------------*- C++ -*-===//
#ifndef LORAC_TOOLS_LORAC_NPY_H
#define LORAC_TOOLS_LORAC_NPY_H

#include "support/Files.h"
#include "support/Status.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace lorac::cli {

/// What every .npy file begins with.
constexpr std::string_view NpyMagic = "\x93NUMPY";

/// Writes `values` as little-endian float32 `[rows, columns]` in .npy format 1.0; the caller commits the
/// file.
Status writeNpy(AtomicFile &file, std::span<const float> values, uint64_t rows, uint64_t columns);

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_NPY_H
