//===- Regex.h - PCRE2 with limits, over checked UTF-8 ----------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_REGEX_H
#define LORAC_RUNTIME_TEXT_REGEX_H

#include "support/Status.h"

#include <functional>
#include <memory>
#include <string_view>

namespace lorac {

/// A compiled expression in PCRE2's syntax with UTF and UCP on. Bounded in steps and memory: what takes more
/// is a Status. Immutable; share freely between threads. Subjects must be well-formed UTF-8.
class Regex {
public:
  static Result<Regex> compile(std::string_view pattern);

  /// Whether it matches at the start of `text`.
  Result<bool> matchesStart(std::string_view text) const;
  /// Cuts `text` into its matches and what lies between them, all of it, in order; no piece is empty.
  /// `visit` returns a Status; the first that is not Ok ends the walk.
  Status split(std::string_view text, const std::function<Status(std::string_view)> &visit) const;

private:
  struct Program;
  std::shared_ptr<const Program> program;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_REGEX_H
