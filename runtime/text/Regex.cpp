//===- Regex.cpp - PCRE2 with limits, over checked UTF-8 ------------------===//
#include "runtime/text/Regex.h"

#include <pcre2.h>

#include <string>

namespace lorac {
namespace {

// A run of white space costs one step a byte where the code is interpreted, so this is also a limit on such
// runs.
constexpr uint32_t kMatchSteps = 100u << 20;
constexpr uint32_t kMatchKibibytes = 64u << 10;

struct FreeMatchData {
  void operator()(pcre2_match_data *data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatchData>;

std::string errorText(int error) {
  PCRE2_UCHAR buffer[160];
  int length = pcre2_get_error_message(error, buffer, sizeof buffer);
  return length > 0 ? std::string(reinterpret_cast<char *>(buffer), size_t(length)) : std::to_string(error);
}

} // namespace

struct Regex::Program {
  pcre2_code *code = nullptr;
  pcre2_match_context *limits = nullptr;

  Program() = default;
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;
  ~Program() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }

  /// pcre2_match's answer: PCRE2_ERROR_NOMATCH, another error below 0, or a match in `data`.
  int match(std::string_view text, size_t start, uint32_t options, pcre2_match_data *data) const {
    // The caller checked the text: checking it again at every match would make a split quadratic.
    options |= PCRE2_NO_UTF_CHECK;
    PCRE2_SPTR subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int result = pcre2_match(code, subject, text.size(), start, options, data, limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) // the interpreter keeps its stack on the heap
      result = pcre2_match(code, subject, text.size(), start, options | PCRE2_NO_JIT, data, limits);
    return result;
  }
};

Result<Regex> Regex::compile(std::string_view pattern) {
  auto program = std::make_shared<Program>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  program->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!program->code)
    return Status(Code::Internal) << "regular expression '" << pattern << "', at " << offset << ": "
                                  << errorText(error);
  // Where the platform has no JIT, or forbids writable code, matching is interpreted.
  (void)pcre2_jit_compile(program->code, PCRE2_JIT_COMPLETE);
  program->limits = pcre2_match_context_create(nullptr);
  if (!program->limits)
    return Status(Code::OutOfMemory) << "no memory for a regular expression";
  pcre2_set_match_limit(program->limits, kMatchSteps);
  pcre2_set_heap_limit(program->limits, kMatchKibibytes);
  Regex regex;
  regex.program = std::move(program);
  return regex;
}

Result<bool> Regex::matchesStart(std::string_view text) const {
  MatchData data(pcre2_match_data_create_from_pattern(program->code, nullptr));
  if (!data)
    return Status(Code::OutOfMemory) << "no memory for a regular expression";
  int result = program->match(text, 0, PCRE2_ANCHORED, data.get());
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    return Status(Code::InvalidArgument) << "text cannot be searched: " << errorText(result);
  return result >= 0;
}

Status Regex::split(std::string_view text, const std::function<Status(std::string_view)> &visit) const {
  MatchData data(pcre2_match_data_create_from_pattern(program->code, nullptr));
  if (!data)
    return Status(Code::OutOfMemory) << "no memory for a regular expression";
  size_t done = 0; // everything before it was visited
  size_t start = 0;
  while (start < text.size()) {
    int result = program->match(text, start, PCRE2_NOTEMPTY, data.get());
    if (result == PCRE2_ERROR_NOMATCH)
      break;
    if (result < 0)
      return Status(Code::InvalidArgument) << "text cannot be split into words at byte " << start << ": "
                                           << errorText(result) << "; split the text into shorter parts";
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(data.get());
    if (range[0] > done)
      LORAC_TRY(visit(text.substr(done, range[0] - done)));
    LORAC_TRY(visit(text.substr(range[0], range[1] - range[0])));
    done = start = range[1];
  }
  return done < text.size() ? visit(text.substr(done)) : Status();
}

} // namespace lorac
