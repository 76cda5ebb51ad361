//===- PreTokenizer.cpp - cuts a text into the words that BPE sees --------===//
#include "runtime/text/PreTokenizer.h"

#include "tests/runtime/text/TextGoldens.h"
#include "tests/support/StatusTest.h"

#include <random>

namespace lorac {
namespace {

using test::goldenJson;

std::vector<std::string> words(const PreTokenizer &rule, std::string_view text) {
  std::vector<std::string> result;
  EXPECT_OK(rule.split(text, true, [&](std::string_view word) {
    result.emplace_back(word);
    return Status();
  }));
  return result;
}

constexpr fbs::PreTokenizer kRules[] = {fbs::PreTokenizer::Classic, fbs::PreTokenizer::ClassicDigits,
                                        fbs::PreTokenizer::ModernTriples, fbs::PreTokenizer::ModernDigits};

TEST(PreTokenizer, CutsAsTheReferenceDoes) {
  nlohmann::json cases = goldenJson("word_splits.json");
  ASSERT_GE(cases.size(), 70u);
  for (fbs::PreTokenizer kind : kRules) {
    auto rule = PreTokenizer::create(kind, false, false);
    ASSERT_OK(rule);
    for (const auto &entry : cases)
      EXPECT_EQ(words(*rule, entry["text"].get<std::string>()),
                entry[fbs::EnumNamePreTokenizer(kind)].get<std::vector<std::string>>())
          << fbs::EnumNamePreTokenizer(kind) << ": " << entry["text"];
  }
}

TEST(PreTokenizer, NoneLeavesTheTextWhole) {
  auto rule = PreTokenizer::create(fbs::PreTokenizer::None, false, false);
  ASSERT_OK(rule);
  EXPECT_EQ(words(*rule, " a b\n1"), (std::vector<std::string>{" a b\n1"}));
  EXPECT_TRUE(words(*rule, "").empty());
}

TEST(PreTokenizer, DigitsStandAloneBeforeAnyRule) {
  auto rule = PreTokenizer::create(fbs::PreTokenizer::ModernTriples, true, false);
  ASSERT_OK(rule);
  EXPECT_EQ(words(*rule, "a12 3"), (std::vector<std::string>{"a", "1", "2", " ", "3"}));
}

TEST(PreTokenizer, PrefixSpaceGoesBeforeWhatHasNone) {
  auto rule = PreTokenizer::create(fbs::PreTokenizer::Classic, false, true);
  ASSERT_OK(rule);
  EXPECT_EQ(words(*rule, "a b"), (std::vector<std::string>{" a", " b"}));
  EXPECT_EQ(words(*rule, " a"), (std::vector<std::string>{" a"}));
  EXPECT_TRUE(words(*rule, "").empty());
}

// All of the text, in order, and no empty word: for every rule.
TEST(PreTokenizer, WordsJoinedAreTheText) {
  std::mt19937 random(7);
  for (fbs::PreTokenizer kind : kRules) {
    auto rule = PreTokenizer::create(kind, false, false);
    ASSERT_OK(rule);
    for (int round = 0; round < 200; ++round) {
      std::string text;
      for (int i = int(random() % 40); i > 0; --i) {
        char32_t point = random() % 3 == 0   ? random() % 0x80
                         : random() % 3 == 0 ? random() % 0x10000
                                             : random() % 0x500;
        appendUtf8(text, point >= 0xd800 && point < 0xe000 ? U'x' : point);
      }
      std::string joined;
      for (const std::string &word : words(*rule, text)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      EXPECT_EQ(joined, text);
    }
  }
}

TEST(PreTokenizer, LongRunsTakeLinearTime) {
  for (fbs::PreTokenizer kind : kRules) {
    auto rule = PreTokenizer::create(kind, false, false);
    ASSERT_OK(rule);
    std::string spaces(1 << 20, ' ');
    EXPECT_EQ(words(*rule, spaces).size(), 1u);
    EXPECT_EQ(words(*rule, spaces + "x").size(), 2u);
    EXPECT_EQ(words(*rule, std::string(1 << 20, 'a')).size(), 1u);
    EXPECT_EQ(words(*rule, std::string(1 << 20, '!') + "\n").back().back(), '\n');
  }
}

TEST(PreTokenizer, VisitorsErrorEndsTheWalk) {
  auto rule = PreTokenizer::create(fbs::PreTokenizer::ClassicDigits, false, false);
  ASSERT_OK(rule);
  int visits = 0;
  EXPECT_STATUS(rule->split("a b 1 c", true,
                            [&](std::string_view) {
                              ++visits;
                              return visits == 3 ? Status(Code::Exhausted, "enough") : Status();
                            }),
                Code::Exhausted, "enough");
  EXPECT_EQ(visits, 3);
}

TEST(PreTokenizer, MarkedWordsBeginWithAMark) {
  auto rule = PreTokenizer::create(fbs::PreTokenizer::MarkedWords, false, true);
  ASSERT_OK(rule);
  EXPECT_EQ(words(*rule, "a  b"), (std::vector<std::string>{"\u2581a", "\u2581", "\u2581b"}));
  EXPECT_EQ(words(*rule, " a "), (std::vector<std::string>{"\u2581a", "\u2581"}));
  EXPECT_TRUE(words(*rule, "").empty());
}

TEST(PreTokenizer, RejectsFlagsWithoutAMeaning) {
  EXPECT_STATUS(PreTokenizer::create(fbs::PreTokenizer::Classic, false, true, true), Code::CorruptFile,
                "prefix_first_only has no meaning with pre-tokenizer Classic");
  EXPECT_STATUS(PreTokenizer::create(fbs::PreTokenizer::Marked, false, false, true), Code::CorruptFile,
                "prefix_first_only has no meaning with pre-tokenizer Marked without add_prefix_space");
  EXPECT_STATUS(PreTokenizer::create(fbs::PreTokenizer::Marked, true, false), Code::CorruptFile,
                "digits_alone has no meaning with pre-tokenizer Marked");
}

TEST(PreTokenizer, RejectsRuleOutsideTheTable) {
  EXPECT_STATUS(PreTokenizer::create(fbs::PreTokenizer(77), false, false), Code::CorruptFile,
                "pre-tokenizer 77 is not in the table");
}

TEST(PreTokenizer, RejectsPrefixSpaceWhereTheRuleHasNoPlaceForIt) {
  EXPECT_STATUS(PreTokenizer::create(fbs::PreTokenizer::ModernDigits, false, true), Code::Unsupported,
                "add_prefix_space is not supported with pre-tokenizer ModernDigits");
}

} // namespace
} // namespace lorac
