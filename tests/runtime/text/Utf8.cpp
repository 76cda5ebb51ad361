//===- Utf8.cpp - UTF-8 checked, walked and repaired ----------------------===//
#include "runtime/text/Utf8.h"

#include <gtest/gtest.h>

namespace lorac {
namespace {

constexpr size_t kWell = std::string_view::npos;

TEST(Utf8, FindsTheFirstBrokenByte) {
  struct Case {
    std::string_view text;
    size_t broken;
  };
  for (const Case &test : {Case{"", kWell}, Case{"plain", kWell}, Case{"\xc3\xa9", kWell}, Case{"a\x80", 1},
                           Case{"\xc0\x80", 0},             // overlong
                           Case{"\xe0\x9f\xbf", 0},         // overlong
                           Case{"\xed\x9f\xbf", kWell},     // U+D7FF
                           Case{"\xed\xa0\x80", 0},         // a surrogate
                           Case{"\xf0\x8f\xbf\xbf", 0},     // overlong
                           Case{"\xf4\x8f\xbf\xbf", kWell}, // U+10FFFF
                           Case{"\xf4\x90\x80\x80", 0},     // above it
                           Case{"ab\xe2\x82", 2}, Case{"\xff", 0}, Case{"\xf0\x9f\x99\x82z", kWell}})
    EXPECT_EQ(firstInvalidUtf8(test.text), test.broken) << test.text;
}

TEST(Utf8, WalksBothWays) {
  std::string text;
  const char32_t points[] = {0x24, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
  for (char32_t point : points)
    appendUtf8(text, point);
  EXPECT_EQ(firstInvalidUtf8(text), kWell);
  EXPECT_EQ(countCodePoints(text), std::size(points));
  size_t position = 0;
  for (char32_t point : points)
    EXPECT_EQ(nextCodePoint(text, position), point);
  EXPECT_EQ(position, text.size());
  for (size_t i = std::size(points); i-- > 0;)
    EXPECT_EQ(previousCodePoint(text, position), points[i]);
  EXPECT_EQ(position, 0u);
}

// Unicode 15, table 3-8 and 3-11: each maximal subpart is one U+FFFD.
TEST(Utf8, RepairsEachMaximalSubpartOnce) {
  const std::string r = "\xef\xbf\xbd";
  struct Case {
    std::string broken, repaired;
  };
  for (const Case &test :
       {Case{"\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", r + r + r + "b" + r + "c" + r + r + "d"},
        Case{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", r + r + r + r + r + r + r + r + "A"},
        Case{"\xed\xa0\x80\xf4\x91\x92\x93\xff\x41", r + r + r + r + r + r + r + r + "A"},
        Case{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", r + r + r + r + "A"}, Case{"a\xe2\x82", "a" + r},
        Case{"\xe2\x82\xac", "\xe2\x82\xac"}}) {
    for (size_t cut = 0; cut <= test.broken.size(); ++cut) {
      Utf8Repair repair;
      std::string out;
      repair.feed(test.broken.substr(0, cut), out);
      EXPECT_EQ(firstInvalidUtf8(out), kWell);
      repair.feed(test.broken.substr(cut), out);
      repair.finish(out);
      EXPECT_EQ(out, test.repaired) << "cut at " << cut;
    }
  }
}

} // namespace
} // namespace lorac
