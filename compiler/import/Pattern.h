//===- Pattern.h - Python's re over PCRE2 -----------------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_PATTERN_H
#define LORAC_COMPILER_IMPORT_PATTERN_H

#include "support/Status.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lorac {

constexpr size_t kMaxPatternBytes = 64 << 10;

/// Steps that the patterns which share it may still take.
using PatternBudget = std::shared_ptr<uint64_t>;

/// A regular expression of an adapter's configuration. Matching gives up, with an error, where its budget
/// ends: many patterns that each take long are as bad as one that takes for ever.
class Pattern {
public:
  /// `where` names the pattern in messages ("adapter_config.json: rank_pattern").
  static Result<Pattern> compile(const std::string &text, std::string where, PatternBudget budget);

  /// re.match: from the start of `subject`.
  Result<bool> matchesStart(std::string_view subject) const { return run(subject, false, nullptr); }
  /// re.fullmatch.
  Result<bool> matchesWhole(std::string_view subject) const { return run(subject, true, nullptr); }
  /// The text of group 1 of re.match; nothing where there is no match.
  Result<std::optional<std::string>> firstGroup(std::string_view subject) const;

private:
  struct Compiled;
  Result<bool> run(std::string_view subject, bool whole, std::string *group) const;

  std::shared_ptr<const Compiled> compiled;
  std::string text;
  std::string where;
  PatternBudget budget;
};

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_PATTERN_H
