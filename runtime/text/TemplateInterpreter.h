//===- TemplateInterpreter.h - renders a parsed chat template ---*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_TEMPLATEINTERPRETER_H
#define LORAC_RUNTIME_TEXT_TEMPLATEINTERPRETER_H

#include "runtime/text/Regex.h"
#include "runtime/text/TemplateParser.h"
#include "support/Status.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorac::jinja {

/// What a template may take. A step is one statement or expression, or the handling of a few elements or
/// bytes.
constexpr uint64_t kMaxSteps = 10'000'000;
constexpr size_t kMaxOutput = 16u << 20; ///< of the result, and of each text on the way
constexpr uint32_t kMaxValueDepth = 100; ///< of lists and dicts in each other

/// Kinds of characters that take Unicode's tables.
struct CharacterClasses {
  Regex cased;         ///< has a case, so that title() takes it for a letter
  Regex caseIgnorable; ///< passed over where a capital sigma asks whether its word ends
  Regex notPrintable;  ///< what Python's repr writes as an escape
  static Result<CharacterClasses> create();
};

/// `maxSteps`: fewer for those who cannot wait.
Result<std::string> render(const Block &program, const CharacterClasses &classes,
                           std::vector<std::pair<std::string, Value>> variables,
                           uint64_t maxSteps = kMaxSteps);

} // namespace lorac::jinja

#endif // LORAC_RUNTIME_TEXT_TEMPLATEINTERPRETER_H
