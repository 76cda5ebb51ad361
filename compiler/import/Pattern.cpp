//===- Pattern.cpp - Python's re over PCRE2 --------------------------------===//
#include "compiler/import/Pattern.h"

#include "compiler/import/Shown.h"

#define PCRE2_STATIC
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace lorac {
namespace {
constexpr uint32_t kMatchLimit = 1 << 20; // backtracking inside one item, which the budget does not see
constexpr uint32_t kHeapLimitKib = 64 << 10;

/// Called before each item of a pattern.
int countStep(pcre2_callout_block *, void *data) {
  uint64_t &left = *static_cast<uint64_t *>(data);
  if (left == 0)
    return PCRE2_ERROR_CALLOUT;
  --left;
  return 0;
}
} // namespace

struct Pattern::Compiled {
  pcre2_code *code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

Result<Pattern> Pattern::compile(const std::string &text, std::string where, PatternBudget budget) {
  if (text.size() > kMaxPatternBytes)
    return Status(Code::Unsupported) << where << ": has a pattern of " << text.size() << " bytes, at most "
                                     << kMaxPatternBytes << " are supported";
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT, &error,
                                 &offset, nullptr);
  if (!compiled->code) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return Status(Code::Unsupported) << where << ": pattern \"" << shown(text) << "\" cannot be read at byte "
                                     << offset << " (" << reinterpret_cast<const char *>(message)
                                     << "); mend it";
  }
  Pattern pattern;
  pattern.compiled = std::move(compiled);
  pattern.text = text;
  pattern.where = std::move(where);
  pattern.budget = std::move(budget);
  return pattern;
}

Result<bool> Pattern::run(std::string_view subject, bool whole, std::string *group) const {
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> data(
      pcre2_match_data_create_from_pattern(compiled->code, nullptr), pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context *)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!data || !context)
    return Status(Code::OutOfMemory) << where << ": not enough memory to match a pattern";
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKib);
  pcre2_set_callout(context.get(), countStep, budget.get());
  const uint32_t options = PCRE2_ANCHORED | (whole ? PCRE2_ENDANCHORED : 0);
  int count = pcre2_match(compiled->code, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), 0,
                          options, data.get(), context.get());
  if (count == PCRE2_ERROR_NOMATCH)
    return false;
  if (count < 0)
    return Status(Code::Unsupported) << where << ": pattern \"" << shown(text) << "\" takes too long on "
                                     << shown(subject) << "; simplify it";
  if (group && count > 1) {
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data.get());
    *group = ends[2] == PCRE2_UNSET ? "" : std::string(subject.substr(ends[2], ends[3] - ends[2]));
  }
  return true;
}

Result<std::optional<std::string>> Pattern::firstGroup(std::string_view subject) const {
  std::string group;
  LORAC_ASSIGN(bool found, run(subject, false, &group));
  return found ? std::optional<std::string>(group) : std::nullopt;
}

} // namespace lorac
