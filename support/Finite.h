//===- Finite.h - whether values are numbers --------------------*- C++ -*-===//
#ifndef LORAC_SUPPORT_FINITE_H
#define LORAC_SUPPORT_FINITE_H

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lorac {

/// False where a value is NaN or infinite: its exponent is all ones. One branch for all, not one a value.
inline bool allFinite(const float *values, size_t count) {
  size_t i = 0;
  uint32_t bad = 0;
#if defined(__SSE2__)
  // What compilers make of the loop below depends on how they are called; this many values deserve better.
  const __m128i exponent = _mm_set1_epi32(0x7f800000);
  __m128i special = _mm_setzero_si128();
  for (; i + 4 <= count; i += 4) {
    __m128i bits = _mm_castps_si128(_mm_loadu_ps(values + i));
    special = _mm_or_si128(special, _mm_cmpeq_epi32(_mm_and_si128(bits, exponent), exponent));
  }
  bad = uint32_t(_mm_movemask_epi8(special));
#endif
  for (; i < count; ++i)
    bad |= uint32_t((std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u);
  return bad == 0;
}

} // namespace lorac

#endif // LORAC_SUPPORT_FINITE_H
