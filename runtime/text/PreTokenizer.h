//===- PreTokenizer.h - cuts a text into the words that BPE sees -*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_PRETOKENIZER_H
#define LORAC_RUNTIME_TEXT_PRETOKENIZER_H

#include "runtime/text/Regex.h"
#include "schemas/model_generated.h"
#include "support/Status.h"

#include <functional>
#include <optional>
#include <string_view>

namespace lorac {

/// One rule of the closed table fbs::PreTokenizer. First, where asked, each digit (any character of Unicode's
/// category N) stands alone; then, where asked, a space is put before a piece that does not start with one;
/// then the rule's own expression cuts. Immutable; share freely between threads.
class PreTokenizer {
public:
  /// CorruptFile for a rule outside the table; Unsupported for a prefix space with a rule that has no place
  /// for one.
  static Result<PreTokenizer> create(fbs::PreTokenizer rule, bool digitsAlone, bool addPrefixSpace);

  /// Visits the words of well-formed UTF-8 in order. A word's bytes are gone when `visit` returns.
  Status split(std::string_view text, const std::function<Status(std::string_view)> &visit) const;

private:
  std::optional<Regex> digits;
  std::optional<Regex> words;
  bool prefixSpace = false;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_PRETOKENIZER_H
