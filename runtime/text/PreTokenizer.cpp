//===- PreTokenizer.cpp - cuts a text into the words that BPE sees --------===//
// The rules are written with [\p{Z}\t-\r\x{85}] for white space: PCRE2's \s under UCP has U+180E too, which
// Unicode's White_Space and the engines that these rules come from have not.
#include "runtime/text/PreTokenizer.h"

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

Result<PreTokenizer> PreTokenizer::create(fbs::PreTokenizer rule, bool digitsAlone, bool addPrefixSpace) {
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
  default:
    return Status(Code::CorruptFile) << "tokenizer: pre-tokenizer " << unsigned(rule)
                                     << " is not in the table; build the file again";
  }
  if (addPrefixSpace && !takesPrefixSpace)
    return Status(Code::Unsupported) << "tokenizer: add_prefix_space is not supported with pre-tokenizer "
                                     << fbs::EnumNamePreTokenizer(rule);
  PreTokenizer result;
  result.prefixSpace = addPrefixSpace;
  if (digitsAlone) {
    LORAC_ASSIGN(result.digits, Regex::compile("\\p{N}"));
  }
  if (!pattern.empty()) {
    LORAC_ASSIGN(result.words, Regex::compile(pattern));
  }
  return result;
}

Status PreTokenizer::split(std::string_view text,
                           const std::function<Status(std::string_view)> &visit) const {
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
