//===- Finite.h - whether values are numbers --------------------*- C++ -*-===//
#ifndef LORAC_SUPPORT_FINITE_H
#define LORAC_SUPPORT_FINITE_H

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lorac {

/// False where a value is NaN or infinite: its exponent is all ones. One branch for all, not one a value, so
/// that compilers make vectors of the loop.
inline bool allFinite(const float *values, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; ++i)
    bad |= uint32_t((std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u);
  return bad == 0;
}

} // namespace lorac

#endif // LORAC_SUPPORT_FINITE_H
