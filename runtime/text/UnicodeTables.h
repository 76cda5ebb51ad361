//===- UnicodeTables.h - what scripts/unicode.py writes ---------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_UNICODETABLES_H
#define LORAC_RUNTIME_TEXT_UNICODETABLES_H

#include <cstdint>
#include <span>

namespace lorac::unicode {

/// One step of a canonical decomposition; `second` is 0 where one character becomes one other. `composes`:
/// normal form C puts the pair together again. In order of `code`, without Hangul syllables.
struct Decomposition {
  char32_t code, first, second;
  bool composes;
};
/// Canonical combining classes that are not 0, in order.
struct ClassRange {
  char32_t first, last;
  uint8_t value;
};
/// Every `step`th character from `first` to `last` becomes the one `delta` further, in order.
struct CaseRange {
  char32_t first, last, step;
  int32_t delta;
};
/// Becomes two or three characters; the third may be 0. In order of `code`.
struct CaseSeveral {
  char32_t code;
  char32_t to[3];
};

extern const std::span<const Decomposition> kDecompositions;
extern const std::span<const ClassRange> kClasses;
extern const std::span<const CaseRange> kUpper, kLower, kTitle;
extern const std::span<const CaseSeveral> kUpperSeveral, kLowerSeveral, kTitleSeveral;

} // namespace lorac::unicode

#endif // LORAC_RUNTIME_TEXT_UNICODETABLES_H
