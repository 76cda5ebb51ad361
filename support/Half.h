//===- Half.h - IEEE binary16 and bfloat16 as bits --------------*- C++ -*-===//
// Conversions round to nearest, ties to even (IEEE 754-2019, 4.3.1); subnormals,
// infinities and NaN are kept.
#ifndef LORAC_SUPPORT_HALF_H
#define LORAC_SUPPORT_HALF_H

#include <bit>
#include <cstdint>

namespace lorac {

/// Exact.
inline float halfToFloat(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000u) << 16;
  uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) // infinity or NaN: the payload moves up
    return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  if (magnitude >= 0x0400u)
    return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  // Subnormal: magnitude * 2^-24, exact in float.
  float value = float(magnitude) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

/// Nearest, ties to even; above 65504 + half a step gives infinity.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t((bits >> 16) & 0x8000u);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) // NaN stays a (quiet) NaN
    return uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x47800000u) // 65536 and more, infinity
    return uint16_t(sign | 0x7c00u);
  if (magnitude < 0x38800000u) { // below 2^-14: subnormal or zero
    if (magnitude < 0x33000000u) // below 2^-25: rounds to zero
      return sign;
    uint32_t shift = 126u - (magnitude >> 23);
    uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t half = mantissa >> shift;
    uint32_t rest = mantissa & ((1u << shift) - 1u);
    uint32_t tie = 1u << (shift - 1u);
    half += uint32_t(rest > tie || (rest == tie && (half & 1u)));
    return uint16_t(sign | half);
  }
  uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
  return uint16_t(sign | (rounded >> 13));
}

/// Exact.
inline float bfloatToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

/// Nearest, ties to even.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return uint16_t((bits >> 16) | 0x40u);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

} // namespace lorac

#endif // LORAC_SUPPORT_HALF_H
