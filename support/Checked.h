//===- Checked.h - arithmetic that says when it overflows ------*- C++ -*-===//
#ifndef LORAC_SUPPORT_CHECKED_H
#define LORAC_SUPPORT_CHECKED_H

#include <cstdint>
#include <optional>

namespace lorac {

inline std::optional<uint64_t> checkedAdd(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional<uint64_t>(sum);
}

inline std::optional<uint64_t> checkedMul(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::nullopt : std::optional<uint64_t>(product);
}

/// True when [offset, offset + size) lies inside [0, limit).
inline bool rangeInside(uint64_t offset, uint64_t size, uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}

/// ceil(a / b); b > 0.
constexpr uint64_t ceilDiv(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/// The smallest multiple of `to` that is >= value; `to` > 0; the caller knows that it fits.
constexpr uint64_t roundUp(uint64_t value, uint64_t to) { return ceilDiv(value, to) * to; }

} // namespace lorac

#endif // LORAC_SUPPORT_CHECKED_H
