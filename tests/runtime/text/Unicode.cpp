//===- Unicode.cpp - normal form C and letter case ------------------------===//
// All characters are compared with Python's database by tests/tools/tokenizers.py; here stand the rules.
#include "runtime/text/Unicode.h"

#include "runtime/text/Utf8.h"

#include <gtest/gtest.h>

#include <vector>

namespace lorac {
namespace {

std::string utf8(const std::u32string &text) {
  std::string out;
  for (char32_t c : text)
    appendUtf8(out, c);
  return out;
}

TEST(Unicode, ComposesAndOrders) {
  struct Case {
    std::u32string text, normal;
  };
  for (const Case &c :
       std::vector<Case>{{U"", U""},
                         {U"plain \u00e9", U"plain \u00e9"},
                         {U"e\u0301", U"\u00e9"},
                         {U"\u0301e", U"\u0301e"},
                         {U"a\u0301\u0316", U"\u00e1\u0316"},  // over the mark below
                         {U"a\u0316\u0301", U"\u00e1\u0316"},  // in either order
                         {U"a\u0301\u0301", U"\u00e1\u0301"},  // the second is blocked
                         {U"a\u0308\u0301", U"\u00e4\u0301"},  // as is one of the same class
                         {U"q\u0307\u0323", U"q\u0323\u0307"}, // no letter for it: ordered only
                         {U"\u1e9b\u0323", U"\u1e9b\u0323"},
                         {U"\u0344", U"\u0308\u0301"},       // excluded, and decomposed
                         {U"\u0958", U"\u0915\u093c"},       // excluded from composition
                         {U"\u212b\u2126", U"\u00c5\u03a9"}, // one character for another
                         {U"\u1100\u1161\u11a8", U"\uac01"}, // Hangul
                         {U"\uac00\u11a8", U"\uac01"},
                         {U"\uac01\u11a8", U"\uac01\u11a8"},
                         {U"\u1100\u1176", U"\u1100\u1176"}, // past the vowels
                         {U"\uac00\u11a7", U"\uac00\u11a7"}, // no tail
                         {U"\U0001d15e", U"\U0001d157\U0001d165"}})
    EXPECT_EQ(unicode::normalFormC(utf8(c.text)), utf8(c.normal)) << utf8(c.text);
}

// Half a million marks that all change places: n log n.
TEST(Unicode, ManyMarksAreNotQuadratic) {
  std::string text = "a", below, above;
  for (int i = 0; i < 250000; ++i) {
    text += "\xcc\x81\xcc\x96"; // U+0301 above, U+0316 below
    below += "\xcc\x96";
    above += i == 0 ? "" : "\xcc\x81";
  }
  EXPECT_EQ(unicode::normalFormC(text), "\xc3\xa1" + below + above);
}

TEST(Unicode, CaseMayTakeSeveralCharacters) {
  auto all = [](char32_t c) {
    std::string upper, lower, title;
    unicode::appendUpper(upper, c);
    unicode::appendLower(lower, c);
    unicode::appendTitle(title, c);
    return upper + "|" + lower + "|" + title;
  };
  EXPECT_EQ(all(U'a'), "A|a|A");
  EXPECT_EQ(all(U'1'), "1|1|1");
  EXPECT_EQ(all(U'\u00df'), "SS|\u00df|Ss");
  EXPECT_EQ(all(U'\u01c6'), "\u01c4|\u01c6|\u01c5");
  EXPECT_EQ(all(U'\ufb03'), "FFI|\ufb03|Ffi");
  EXPECT_EQ(all(U'\u0130'), "\u0130|i\u0307|\u0130");
  EXPECT_EQ(all(U'\u0101'), "\u0100|\u0101|\u0100"); // a range of every second character
  EXPECT_EQ(all(U'\u0100'), "\u0100|\u0101|\u0100");
}

} // namespace
} // namespace lorac
