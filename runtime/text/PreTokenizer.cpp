//===- PreTokenizer.cpp - cuts a text into the words that BPE sees --------===//
// The rules are written with [\p{Z}\t-\r\x{85}] for white space: PCRE2's \s under UCP has U+180E too, which
// Unicode's White_Space and the engines that these rules come from have not.
#include "runtime/text/PreTokenizer.h"

#include "runtime/text/Normalizer.h"
#include "runtime/text/Utf8.h"

#include <string>

namespace lorac {
namespace {

#define SPACE "\\p{Z}\\t-\\r\\x{85}"

// Shared tail: white space up to the one before a word goes alone, so that a word keeps its one leading
// space.
#define SPACE_RUNS "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"

/// The split of GPT-2: English contractions, then runs of letters, numbers, or others, each with one leading
/// space.
constexpr std::string_view kClassic = "'s|'t|'re|'ve|'m|'ll|'d"
                                      "| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" SPACE_RUNS;

/// What the two modern rules share; they differ in how many digits stand together.
#define MODERN_WORDS(NUMBERS)                                                                                \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)"                                                                             \
  "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" NUMBERS "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE                  \
  "]*[\\r\\n]+|" SPACE_RUNS
constexpr std::string_view kModernTriples = MODERN_WORDS("\\p{N}{1,3}");
constexpr std::string_view kModernDigits = MODERN_WORDS("\\p{N}");

} // namespace

Result<PreTokenizer> PreTokenizer::create(fbs::PreTokenizer rule, bool digitsAlone, bool addPrefixSpace,
                                          bool prefixFirstOnly) {
  PreTokenizer result;
  std::string_view pattern;
  bool takesPrefixSpace = true;
  switch (rule) {
  case fbs::PreTokenizer::None:
    break;
  case fbs::PreTokenizer::Classic:
    pattern = kClassic;
    break;
  case fbs::PreTokenizer::ClassicDigits:
    pattern = kClassic;
    digitsAlone = true;
    break;
  case fbs::PreTokenizer::ModernTriples:
    pattern = kModernTriples;
    takesPrefixSpace = false;
    break;
  case fbs::PreTokenizer::ModernDigits:
    pattern = kModernDigits;
    takesPrefixSpace = false;
    break;
  case fbs::PreTokenizer::MarkedWords:
    result.markedWords = true;
    [[fallthrough]];
  case fbs::PreTokenizer::Marked:
    result.marked = true;
    break;
  default:
    return Status(Code::CorruptFile) << "pre-tokenizer " << unsigned(rule)
                                     << " is not in the table; build the file again";
  }
  if (addPrefixSpace && !takesPrefixSpace)
    return Status(Code::Unsupported) << "add_prefix_space is not supported with pre-tokenizer "
                                     << fbs::EnumNamePreTokenizer(rule);
  if ((prefixFirstOnly && !(result.marked && addPrefixSpace)) || (digitsAlone && result.marked))
    return Status(Code::CorruptFile) << (prefixFirstOnly ? "prefix_first_only" : "digits_alone")
                                     << " has no meaning with pre-tokenizer "
                                     << fbs::EnumNamePreTokenizer(rule)
                                     << (prefixFirstOnly && result.marked ? " without add_prefix_space" : "")
                                     << "; build the file again";
  result.prefixSpace = addPrefixSpace;
  result.prefixFirstOnly = prefixFirstOnly;
  if (digitsAlone) {
    LORAC_ASSIGN(result.digits, Regex::compile("\\p{N}"));
  }
  if (!pattern.empty()) {
    LORAC_ASSIGN(result.words, Regex::compile(pattern));
  }
  return result;
}

Status PreTokenizer::splitMarked(std::string_view text, bool withPrefix,
                                 const std::function<Status(std::string_view)> &visit) const {
  if (text.empty())
    return {};
  std::string marked;
  if (withPrefix && !text.starts_with(' ') && !text.starts_with(kSpaceMark))
    marked = kSpaceMark;
  appendMarked(marked, text);
  std::string_view rest = marked;
  while (markedWords) {
    size_t next = rest.find(kSpaceMark, 1);
    if (next == std::string_view::npos)
      break;
    LORAC_TRY(visit(rest.substr(0, next)));
    rest.remove_prefix(next);
  }
  return visit(rest);
}

Status PreTokenizer::split(std::string_view text, bool atBeginning,
                           const std::function<Status(std::string_view)> &visit) const {
  if (marked)
    return splitMarked(text, prefixSpace && (atBeginning || !prefixFirstOnly), visit);
  auto cut = [&](std::string_view piece) -> Status {
    std::string withSpace;
    if (prefixSpace && !piece.empty() && piece.front() != ' ') {
      withSpace.reserve(piece.size() + 1);
      withSpace += ' ';
      withSpace += piece;
      piece = withSpace;
    }
    return words ? words->split(piece, visit) : piece.empty() ? Status() : visit(piece);
  };
  return digits ? digits->split(text, cut) : cut(text);
}

} // namespace lorac
