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
/// then the rule's own expression cuts. The Marked rules write each space as U+2581 and put such a mark, not
/// a space, in front. Immutable; share freely between threads.
class PreTokenizer {
public:
  /// CorruptFile for a rule outside the table; Unsupported for a prefix space with a rule that has no place
  /// for one. With `prefixFirstOnly` the space in front comes only where `split` is told of a beginning.
  static Result<PreTokenizer> create(fbs::PreTokenizer rule, bool digitsAlone, bool addPrefixSpace,
                                     bool prefixFirstOnly = false);

  /// Visits the words of well-formed UTF-8 in order. A word's bytes are gone when `visit` returns.
  /// `atBeginning`: nothing stood before `text`.
  Status split(std::string_view text, bool atBeginning,
               const std::function<Status(std::string_view)> &visit) const;

private:
  Status splitMarked(std::string_view text, bool withPrefix,
                     const std::function<Status(std::string_view)> &visit) const;

  std::optional<Regex> digits;
  std::optional<Regex> words;
  bool prefixSpace = false;
  bool prefixFirstOnly = false;
  bool marked = false;      ///< one of the Marked rules
  bool markedWords = false; ///< cut before each mark
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_PRETOKENIZER_H
