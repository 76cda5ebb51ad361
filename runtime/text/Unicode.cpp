//===- Unicode.cpp - normal form C and letter case ------------------------===//
// Unicode Standard Annex 15, and chapter 3.12 for the syllables of Hangul, which are computed.
#include "runtime/text/Unicode.h"

#include "runtime/text/UnicodeTables.h"
#include "runtime/text/Utf8.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace lorac::unicode {
namespace {

constexpr char32_t kSyllables = 0xac00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11a7;
constexpr char32_t kVowelCount = 21, kTailCount = 28, kLeadCount = 19;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;
constexpr char32_t kFirstMark = 0x300; ///< no character before it has a class or composes with one before it
constexpr char32_t kFirstDecomposable = 0xc0; ///< no character before it is composed

uint8_t classOf(char32_t c) {
  if (c < kFirstMark)
    return 0;
  auto range = std::ranges::lower_bound(kClasses, c, {}, &ClassRange::last);
  return range != kClasses.end() && c >= range->first ? range->value : 0;
}

struct Character {
  char32_t code;
  uint8_t markClass;
};

/// Appends the full canonical decomposition.
void decompose(char32_t c, std::vector<Character> &out) {
  if (c - kSyllables < kSyllableCount) {
    char32_t index = c - kSyllables;
    out.push_back({kLeads + index / (kVowelCount * kTailCount), 0});
    out.push_back({kVowels + index / kTailCount % kVowelCount, 0});
    if (index % kTailCount != 0)
      out.push_back({kTails + index % kTailCount, 0});
    return;
  }
  // Only the first of a pair is itself composed, a few steps deep at most.
  std::vector<char32_t> seconds;
  while (c >= kFirstDecomposable) {
    auto step = std::ranges::lower_bound(kDecompositions, c, {}, &Decomposition::code);
    if (step == kDecompositions.end() || step->code != c)
      break;
    if (step->second != 0)
      seconds.push_back(step->second);
    c = step->first;
  }
  out.push_back({c, classOf(c)});
  for (auto second = seconds.rbegin(); second != seconds.rend(); ++second)
    out.push_back({*second, classOf(*second)});
}

/// The character that the two make, or 0.
char32_t compose(char32_t first, char32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount)
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTailCount;
  if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTailCount == 0 && second > kTails &&
      second < kTails + kTailCount)
    return first + (second - kTails);
  static const std::unordered_map<uint64_t, char32_t> pairs = [] {
    std::unordered_map<uint64_t, char32_t> map;
    for (const Decomposition &step : kDecompositions)
      if (step.composes)
        map.emplace(uint64_t(step.first) << 32 | step.second, step.code);
    return map;
  }();
  auto pair = pairs.find(uint64_t(first) << 32 | second);
  return pair == pairs.end() ? 0 : pair->second;
}

void appendCase(std::string &out, char32_t c, std::span<const CaseRange> ranges,
                std::span<const CaseSeveral> several) {
  if (auto one = std::ranges::lower_bound(several, c, {}, &CaseSeveral::code);
      one != several.end() && one->code == c) {
    for (char32_t part : one->to)
      if (part != 0)
        appendUtf8(out, part);
    return;
  }
  auto range = std::ranges::lower_bound(ranges, c, {}, &CaseRange::last);
  if (range != ranges.end() && c >= range->first && (c - range->first) % range->step == 0)
    c = char32_t(int32_t(c) + range->delta);
  appendUtf8(out, c);
}

} // namespace

std::string normalFormC(std::string_view utf8) {
  // Below the first mark nothing changes, and most texts stay there.
  bool plain = true;
  for (size_t position = 0; plain && position < utf8.size();)
    plain = nextCodePoint(utf8, position) < kFirstMark;
  if (plain)
    return std::string(utf8);

  std::vector<Character> text;
  text.reserve(utf8.size());
  for (size_t position = 0; position < utf8.size();)
    decompose(nextCodePoint(utf8, position), text);
  for (auto begin = text.begin(); begin != text.end();) { // marks in a row stand in order of their classes
    auto end = begin;
    while (end != text.end() && end->markClass != 0)
      ++end;
    std::ranges::stable_sort(begin, end, {}, &Character::markClass);
    begin = end == text.end() ? end : end + 1;
  }

  std::string out;
  out.reserve(utf8.size());
  size_t kept = 0;           // text[0, kept) is composed
  size_t starter = SIZE_MAX; // where in it the last character of class 0 stands
  uint8_t blocking = 0;      // the class of the last character kept after it
  for (const Character &c : text) {
    if (starter != SIZE_MAX && (kept == starter + 1 || blocking < c.markClass)) {
      if (char32_t whole = compose(text[starter].code, c.code)) {
        text[starter].code = whole;
        continue;
      }
    }
    if (c.markClass == 0)
      starter = kept;
    blocking = c.markClass;
    text[kept++] = c;
  }
  for (const Character &c : std::span(text).first(kept))
    appendUtf8(out, c.code);
  return out;
}

void appendUpper(std::string &out, char32_t codePoint) { appendCase(out, codePoint, kUpper, kUpperSeveral); }
void appendLower(std::string &out, char32_t codePoint) { appendCase(out, codePoint, kLower, kLowerSeveral); }
void appendTitle(std::string &out, char32_t codePoint) { appendCase(out, codePoint, kTitle, kTitleSeveral); }

} // namespace lorac::unicode
