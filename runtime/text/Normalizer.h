//===- Normalizer.h - what becomes of a text before it is cut ---*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_NORMALIZER_H
#define LORAC_RUNTIME_TEXT_NORMALIZER_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <string>
#include <string_view>

namespace lorac {

/// U+2581, which stands for a space in tokens of the alphabet Text.
inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";

/// `text` with kSpaceMark for each space, appended.
void appendMarked(std::string &out, std::string_view text);

/// One rule of the closed table fbs::Normalizer. Immutable; share freely between threads.
class Normalizer {
public:
  /// CorruptFile for a rule outside the table.
  static Result<Normalizer> create(fbs::Normalizer rule);

  /// Whether apply() may be left out.
  bool isIdentity() const { return rule == fbs::Normalizer::None; }
  /// Of well-formed UTF-8. An empty text stays empty.
  std::string apply(std::string_view text) const;

private:
  fbs::Normalizer rule = fbs::Normalizer::None;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_NORMALIZER_H
