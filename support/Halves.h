//===- Halves.h - many 16-bit floats at once --------------------*- C++ -*-===//
// Half.h's conversions, bit for bit, by the processor's own instructions where it has them.
#ifndef LORAC_SUPPORT_HALVES_H
#define LORAC_SUPPORT_HALVES_H

#include <cstddef>
#include <cstdint>

namespace lorac {

/// The values of `count` little-endian binary16 or bfloat16 at `bytes`, which need no alignment.
void halvesToFloats(const uint8_t *bytes, size_t count, float *values);
void bfloatsToFloats(const uint8_t *bytes, size_t count, float *values);

/// The nearest binary16 of `count` values, ties to even, to `bytes`. False where one of them is none: NaN,
/// infinite or too large.
bool floatsToHalves(const float *values, size_t count, uint8_t *bytes);

} // namespace lorac

#endif // LORAC_SUPPORT_HALVES_H
