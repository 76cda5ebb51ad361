//===- Tokenizer.cpp - BPE over bytes or characters -----------------------===//
#include "runtime/text/Tokenizer.h"

#include "tests/runtime/text/TextGoldens.h"
#include "tests/support/StatusTest.h"

#include <chrono>
#include <random>

namespace lorac {
namespace {

using test::add;
using test::addedToken;
using test::goldenJson;
using test::goldenVocabulary;
using test::makeTokenizer;
using test::TokenizerSource;
using Ids = std::vector<uint32_t>;

/// a b c, their merges ab, abc and bc (in this order of rank), space and two control tokens.
TokenizerSource tinyTable() {
  TokenizerSource table;
  table.tokens = {"a", "b", "c", "ab", "abc", "bc", "\xc4\xa0", "<s>", "</s>"}; // U+0120 is the space
  table.kinds.assign(7, fbs::TokenKind::Normal);
  table.kinds.resize(9, fbs::TokenKind::Control);
  table.merges = {0, 1, 3, 2, 1, 2};
  add(table, addedToken(7, "<s>", true));
  add(table, addedToken(8, "</s>", true));
  table.bos_id = 7;
  table.eos_id = 8;
  return table;
}

Ids encode(const Tokenizer &tokenizer, std::string_view text, bool parseSpecial = true,
           bool addPrefixSuffix = true) {
  auto ids = tokenizer.encode(text, parseSpecial, addPrefixSuffix);
  EXPECT_OK(ids);
  return ids ? *ids : Ids();
}

class GoldenTokenizer : public testing::Test {
protected:
  static const Tokenizer &golden() {
    static Result<Tokenizer> tokenizer = makeTokenizer(goldenVocabulary());
    EXPECT_OK(tokenizer);
    return *tokenizer;
  }
};

TEST_F(GoldenTokenizer, EncodesAndDecodesAsTheReference) {
  TokenizerSource digits = goldenVocabulary();
  digits.pre_tokenizer = fbs::PreTokenizer::ClassicDigits; // the rule as GGUF names it: the same ids here
  auto other = makeTokenizer(digits);
  ASSERT_OK(other);
  nlohmann::json cases = goldenJson("tokenizer_cases.json");
  ASSERT_EQ(cases.size(), 30u);
  for (const auto &entry : cases) {
    std::string text = entry["text"];
    Ids ids = entry["ids"];
    EXPECT_EQ(encode(golden(), text), ids) << text;
    EXPECT_EQ(encode(*other, text), ids) << text;
    EXPECT_EQ(golden().decode(ids, false), entry["decoded"].get<std::string>());
  }
}

TEST_F(GoldenTokenizer, StreamingGivesTheSameTextAtEverySplit) {
  for (const auto &entry : goldenJson("tokenizer_cases.json")) {
    Ids ids = entry["ids"];
    if (ids.size() > 60)
      ids.resize(60);
    for (size_t cut = 0; cut <= ids.size(); ++cut) {
      Detokenizer detokenizer(golden(), false);
      std::string joined;
      for (size_t i = 0; i < ids.size(); ++i) {
        std::string piece = detokenizer.push(ids[i]);
        EXPECT_EQ(firstInvalidUtf8(piece), std::string_view::npos);
        joined += piece;
        if (i + 1 == cut) {
          // A copy ends here; the stream itself goes on.
          Detokenizer ended = detokenizer;
          EXPECT_EQ(joined + ended.flush(), golden().decode(std::span(ids).first(cut), false));
        }
      }
      joined += detokenizer.flush();
      EXPECT_EQ(joined, golden().decode(ids, false));
    }
  }
}

TEST_F(GoldenTokenizer, SpecialTokensAreTextWhereAskedAndSkippedWhereAsked) {
  std::string text = "<|im_start|>hi<|im_end|>";
  Ids ids = encode(golden(), text);
  EXPECT_EQ(ids.front(), 1u);
  EXPECT_EQ(ids.back(), 2u);
  EXPECT_EQ(golden().decode(ids, true), "hi");
  EXPECT_EQ(golden().decode(ids, false), text);
  Ids plain = encode(golden(), text, false);
  for (uint32_t id : plain)
    EXPECT_FALSE(golden().isSpecial(id));
  EXPECT_EQ(golden().decode(plain, true), text);
  Detokenizer skipping(golden());
  EXPECT_EQ(skipping.push(1), "");
  EXPECT_EQ(skipping.push(ids[1]), "hi");
}

// lstrip, rstrip, single_word, both searches, longest match, and a special token in each place.
TEST_F(GoldenTokenizer, AddedTokensAreFoundAsTheReferenceFindsThem) {
  nlohmann::json golden = goldenJson("added_cases.json");
  TokenizerSource table = goldenVocabulary();
  for (const auto &entry : golden["added"]) {
    fbs::AddedTokenT token = addedToken(entry["id"], entry["content"], entry["special"]);
    token.single_word = entry["single_word"];
    token.lstrip = entry["lstrip"];
    token.rstrip = entry["rstrip"];
    token.normalized = entry["normalized"];
    if (token.id >= table.tokens.size()) {
      table.tokens.resize(token.id + 1);
      table.kinds.resize(token.id + 1, fbs::TokenKind::UserDefined);
    }
    table.tokens[token.id] = token.content;
    add(table, token);
  }
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  ASSERT_GE(golden["cases"].size(), 100u);
  for (const auto &entry : golden["cases"]) {
    std::string text = entry["text"];
    Ids ids = entry["ids"];
    EXPECT_EQ(encode(*tokenizer, text), ids) << text;
    EXPECT_EQ(encode(*tokenizer, text, false), entry["ids_without_special"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->decode(ids, false), entry["decoded"].get<std::string>()) << text;
    EXPECT_EQ(tokenizer->decode(ids, true), entry["decoded_without_special"].get<std::string>()) << text;
  }
}

TEST_F(GoldenTokenizer, PrefixSpaceAsTheReference) {
  nlohmann::json golden = goldenJson("added_cases.json");
  for (const auto &entry : golden["prefix_space"]) {
    TokenizerSource table = goldenVocabulary();
    table.add_prefix_space = true;
    table.digits_alone = entry["digits_alone"];
    auto tokenizer = makeTokenizer(table);
    ASSERT_OK(tokenizer);
    EXPECT_EQ(encode(*tokenizer, entry["text"].get<std::string>()), entry["ids"].get<Ids>()) << entry["text"];
  }
}

// Over letters, digits, white space and whole planes, minus the bytes that this vocabulary lacks (F1, F2, and
// six of C0).
TEST_F(GoldenTokenizer, DecodingGivesTheTextBack) {
  std::mt19937 random(11);
  const std::string missing("\x04\x06\x13\x14\x16\x1d", 6);
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = int(random() % 60); i > 0; --i) {
      char32_t point = 0;
      switch (random() % 6) {
      case 0:
        point = random() % 0x80;
        break;
      case 1:
        point = "0123456789 \t\n\r"[random() % 14];
        break;
      case 2:
        point = random() % 0x3000;
        break;
      case 3:
        point = random() % 0x10000;
        break;
      case 4:
        point = 0x1f300 + random() % 0x300;
        break;
      default:
        point = 'a' + random() % 26;
      }
      if ((point >= 0xd800 && point < 0xe000) ||
          (point < 0x80 && missing.find(char(point)) != std::string::npos))
        point = '.';
      appendUtf8(text, point);
    }
    Ids ids = encode(golden(), text, false);
    EXPECT_EQ(golden().decode(ids, false), text);
    Detokenizer detokenizer(golden(), false);
    std::string streamed;
    for (uint32_t id : ids)
      streamed += detokenizer.push(id);
    EXPECT_EQ(streamed + detokenizer.flush(), text);
  }
}

TEST_F(GoldenTokenizer,
       BytesWithoutATokenAreLeftOut) { // as the reference does where there is no unknown token
  EXPECT_EQ(golden().decode(encode(golden(), "a\x04z"), false), "az");
}

// Words of a megabyte: n log n takes well under a second, n² would take hours.
TEST_F(GoldenTokenizer, LongWordsAreNotQuadratic) {
  const size_t size = 1 << 20;
  for (const std::string &unit :
       {std::string("a"), std::string(" "), std::string("ab"), std::string("e\xcc\x81")}) {
    std::string text;
    while (text.size() < size)
      text += unit;
    auto begin = std::chrono::steady_clock::now();
    Ids ids = encode(golden(), text);
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(seconds.count(), 60.0);
    EXPECT_EQ(golden().decode(ids, false), text);
  }
}

TEST(Tokenizer, MergesGoByRankThenFromTheLeft) {
  auto tokenizer = makeTokenizer(tinyTable());
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc"), (Ids{4})); // ab before bc
  EXPECT_EQ(encode(*tokenizer, "bc"), (Ids{5}));
  EXPECT_EQ(encode(*tokenizer, "aabcab"), (Ids{0, 4, 3}));
  EXPECT_EQ(encode(*tokenizer, ""), (Ids{}));
  TokenizerSource table = tinyTable();
  table.merges = {1, 2, 0, 1, 3, 2}; // bc first: abc can no longer be reached from a + bc
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc"), (Ids{0, 5}));
}

TEST(Tokenizer, IgnoreMergesTakesAWholeWordFirst) {
  TokenizerSource table = tinyTable();
  table.merges = {1, 2};
  table.pre_tokenizer = fbs::PreTokenizer::Classic;
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc ab"), (Ids{0, 5, 6, 0, 1}));
  table.ignore_merges = true;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc"), (Ids{4}));
  EXPECT_EQ(encode(*tokenizer, "abcb"), (Ids{0, 5, 1}));
}

TEST(Tokenizer, IgnoreMergesNeverMakesSpecialTokensOfText) {
  TokenizerSource table = tinyTable();
  table.kinds[4] = fbs::TokenKind::Normal;
  table.ignore_merges = true;
  add(table, addedToken(4, "abc", true));
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc", true), (Ids{4}));
  table.merges = {0, 1};
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc", false), (Ids{3, 2}));
}

TEST(Tokenizer, PrefixAndSuffixStandAround) {
  TokenizerSource table = tinyTable();
  table.prefix_ids = {7, 6};
  table.suffix_ids = {8};
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "a"), (Ids{7, 6, 0, 8}));
  EXPECT_EQ(encode(*tokenizer, ""), (Ids{7, 6, 8}));
  EXPECT_EQ(encode(*tokenizer, "a", true, false), (Ids{0}));
  EXPECT_EQ(tokenizer->bosId(), 7);
  EXPECT_EQ(tokenizer->eosId(), 8);
}

TEST(Tokenizer, UnknownBytesBecomeTheUnknownToken) {
  TokenizerSource table = tinyTable();
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "axb"),
            (Ids{3})); // left out, and the merge goes over the gap, as in the reference
  table.unk_id = 8;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "axb"), (Ids{0, 8, 1}));
}

TEST(Tokenizer, IdsWithoutATokenGiveNoText) {
  TokenizerSource table = tinyTable();
  table.tokens.push_back("");
  table.kinds.push_back(fbs::TokenKind::Normal);
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(tokenizer->size(), 10u);
  EXPECT_EQ(tokenizer->decode(Ids{0, 9, 10, UINT32_MAX, 1}, false), "ab");
  EXPECT_FALSE(tokenizer->isSpecial(UINT32_MAX));
}

TEST(Tokenizer, ByteTokensDecodeToTheirByte) {
  TokenizerSource table = tinyTable();
  table.tokens.insert(table.tokens.end(), {"<0xC3>", "<0xa9>"});
  table.kinds.resize(table.tokens.size(), fbs::TokenKind::Byte);
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(tokenizer->decode(Ids{0, 9, 10}, false), "a\xc3\xa9");
  EXPECT_EQ(tokenizer->decode(Ids{9, 0, 10}, false), "\xef\xbf\xbd"
                                                     "a\xef\xbf\xbd");
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push(9), "");
  EXPECT_EQ(detokenizer.push(10), "\xc3\xa9");
  EXPECT_EQ(detokenizer.push(9), "");
  EXPECT_EQ(detokenizer.flush(), "\xef\xbf\xbd");
  EXPECT_EQ(detokenizer.push(0), "a");
}

// U+0065 U+0301 and U+00E9 are one text, U+212B another way to write U+00C5.
TEST(Tokenizer, NormalFormCGoesBeforeTheSearchForNormalizedTokens) {
  TokenizerSource table = tinyTable();
  table.normalizer = fbs::Normalizer::Nfc;
  table.tokens.insert(table.tokens.end(), {"\xc3\x83", "\xc2\xa9", "\xc3\x83\xc2\xa9", "A\xcc\x8a"});
  table.kinds.resize(table.tokens.size(), fbs::TokenKind::Normal);
  table.merges.insert(table.merges.end(), {9, 10});
  fbs::AddedTokenT ring = addedToken(12, "A\xcc\x8a"); // U+0041 U+030A
  ring.normalized = true;
  table.kinds[12] = fbs::TokenKind::UserDefined;
  add(table, ring);
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "ae\xcc\x81"), (Ids{0, 11}));
  EXPECT_EQ(encode(*tokenizer, "\xc3\xa9"), (Ids{11}));
  EXPECT_EQ(encode(*tokenizer, "a\xe2\x84\xab"), (Ids{0, 12}));
  EXPECT_EQ(tokenizer->decode(Ids{12}, false), "\xc3\x85"); // as it is looked for
}

// ---- the alphabet Text ------------------------------------------------------------------------------------

#define MARK "\xe2\x96\x81"

/// a b, the mark, their merges, U+00E9, the bytes of U+20AC, and an unknown token.
TokenizerSource textTable() {
  TokenizerSource table;
  table.alphabet = fbs::Alphabet::Text;
  table.normalizer = fbs::Normalizer::MarksInFront;
  table.byte_fallback = true;
  table.strip_leading_space = true;
  table.tokens = {"<unk>", "a",        "b",      MARK,     MARK "a", MARK "ab",
                  "ab",    "\xc3\xa9", "<0xE2>", "<0x82>", "<0xAC>"};
  table.kinds.assign(8, fbs::TokenKind::Normal);
  table.kinds.resize(11, fbs::TokenKind::Byte);
  table.kinds[0] = fbs::TokenKind::Control;
  table.merges = {3, 1, 4, 2, 1, 2};
  add(table, addedToken(0, "<unk>", true));
  table.unk_id = 0;
  return table;
}

TEST(TextTokenizer, MarksStandForSpaces) {
  auto tokenizer = makeTokenizer(textTable());
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "ab"), (Ids{5}));
  EXPECT_EQ(encode(*tokenizer, " ab a"), (Ids{3, 5, 4})); // one mark more than spaces
  EXPECT_EQ(encode(*tokenizer, MARK "ab"), (Ids{3, 5}));  // which a text may hold itself
  EXPECT_EQ(encode(*tokenizer, ""), (Ids{}));
  EXPECT_EQ(encode(*tokenizer, "a<unk>ab"), (Ids{4, 0, 5})); // each text between tokens has its own
  TokenizerSource table = textTable();
  table.normalizer = fbs::Normalizer::Marks;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "ab ab"), (Ids{6, 5}));
}

TEST(TextTokenizer, PreTokenizersPutTheMarkWhereTheyShould) {
  struct Case {
    fbs::PreTokenizer rule;
    bool prefix, firstOnly;
    std::string text;
    Ids ids;
  };
  for (const Case &c : {Case{fbs::PreTokenizer::Marked, true, false, "ab<unk>ab", {5, 0, 5}},
                        Case{fbs::PreTokenizer::Marked, true, true, "ab<unk>ab", {5, 0, 6}},
                        Case{fbs::PreTokenizer::Marked, true, true, "<unk>ab", {0, 6}},
                        Case{fbs::PreTokenizer::Marked, false, false, "ab ab", {6, 5}},
                        Case{fbs::PreTokenizer::Marked, true, false, " ab", {5}}, // no second one
                        Case{fbs::PreTokenizer::MarkedWords, true, false, "ab  a", {5, 3, 4}}}) {
    TokenizerSource table = textTable();
    table.normalizer = fbs::Normalizer::None;
    table.pre_tokenizer = c.rule;
    table.add_prefix_space = c.prefix;
    table.prefix_first_only = c.firstOnly;
    auto tokenizer = makeTokenizer(table);
    ASSERT_OK(tokenizer);
    EXPECT_EQ(encode(*tokenizer, c.text), c.ids) << c.text;
  }
}

TEST(TextTokenizer, CharactersFallBackToBytesThenToUnknown) {
  TokenizerSource table = textTable();
  table.normalizer = fbs::Normalizer::Marks;
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "a\xe2\x82\xac\xc3\xa9"), (Ids{1, 8, 9, 10, 7}));
  EXPECT_EQ(encode(*tokenizer, "axyb"), (Ids{1, 0, 0, 2}));
  table.fuse_unknown = true;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "axyb"), (Ids{1, 0, 2}));
  table.unk_id = -1;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "axyb"), (Ids{6})); // left out, and the merge goes over the gap
  table.byte_fallback = false;
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "a\xe2\x82\xac"), (Ids{1}));
}

TEST(TextTokenizer, StreamingStripsOneSpaceAndSplitsNoCharacter) {
  auto tokenizer = makeTokenizer(textTable());
  ASSERT_OK(tokenizer);
  EXPECT_EQ(tokenizer->decode(Ids{5, 4}, true), "ab a");
  EXPECT_EQ(tokenizer->decode(Ids{3, 5}, true), " ab"); // one, not all
  EXPECT_EQ(tokenizer->decode(Ids{0, 5}, false), "<unk> ab");
  EXPECT_EQ(tokenizer->decode(Ids{0, 5}, true), "ab"); // what is skipped is no start
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push(3), "");
  EXPECT_EQ(detokenizer.push(4), " a");
  EXPECT_EQ(detokenizer.push(8), "");
  EXPECT_EQ(detokenizer.push(9), "");
  EXPECT_EQ(detokenizer.push(10), "\xe2\x82\xac");
  EXPECT_EQ(detokenizer.push(8), "");
  EXPECT_EQ(detokenizer.push(4), "\xef\xbf\xbd a");
  EXPECT_EQ(detokenizer.flush(), "");
  EXPECT_EQ(detokenizer.push(5), "ab"); // as new
}

TEST(TextTokenizer, IgnoreMergesTakesAWholeWordFirst) {
  TokenizerSource table = textTable();
  table.merges = {3, 1};
  table.ignore_merges = true;
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "ab"), (Ids{5}));
  EXPECT_EQ(encode(*tokenizer, "abb"), (Ids{4, 2, 2}));
}

TEST(TextTokenizer, LongTextsAreNotQuadratic) {
  auto tokenizer = makeTokenizer(textTable());
  ASSERT_OK(tokenizer);
  std::string text;
  while (text.size() < (1 << 20))
    text += "ab  a\xe2\x82\xac";
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text), false), text);
}

/// textTable with one edit is refused as told.
void expectTextRefused(const std::function<void(TokenizerSource &)> &edit, const std::string &part) {
  TokenizerSource table = textTable();
  ASSERT_OK(makeTokenizer(table));
  edit(table);
  EXPECT_STATUS(makeTokenizer(table), Code::CorruptFile, part);
}

TEST(TextTokenizer, RejectsUnknownAlphabet) {
  expectTextRefused([](auto &table) { table.alphabet = fbs::Alphabet(7); }, "alphabet 7 is not in the table");
}
TEST(TextTokenizer, RejectsRulesOfTheOtherAlphabet) {
  const std::string no = "do not fit alphabet ";
  expectTextRefused([](auto &table) { table.normalizer = fbs::Normalizer::None; }, no + "Text");
  expectTextRefused([](auto &table) { table.normalizer = fbs::Normalizer::Nfc; }, no + "Text");
  expectTextRefused([](auto &table) { table.pre_tokenizer = fbs::PreTokenizer::Classic; }, no + "Text");
  expectTextRefused([](auto &table) { table.pre_tokenizer = fbs::PreTokenizer::Marked; }, no + "Text");
  expectTextRefused([](auto &table) { table.alphabet = fbs::Alphabet::Bytes; },
                    "normalizer MarksInFront and pre-tokenizer None do not fit alphabet Bytes");
}
TEST(TextTokenizer, RejectsTwoTokensAlike) {
  expectTextRefused([](auto &table) { table.tokens[7] = "a"; }, "tokens 1 and 7 are the same");
}
TEST(Tokenizer, OutlivesItsTableAndMoves) {
  auto made = makeTokenizer(tinyTable());
  ASSERT_OK(made);
  Tokenizer moved = *std::move(made);
  EXPECT_EQ(encode(moved, "<s>abc</s>"), (Ids{7, 4, 8}));
}

TEST(Tokenizer, RejectsTextThatIsNotUtf8) {
  auto tokenizer = makeTokenizer(tinyTable());
  ASSERT_OK(tokenizer);
  EXPECT_STATUS(tokenizer->encode("ab\xff"), Code::InvalidArgument, "text is not UTF-8 at byte 2");
}

/// tinyTable with one edit is refused as told.
void expectRefused(const std::function<void(TokenizerSource &)> &edit, Code code, const std::string &part) {
  TokenizerSource table = tinyTable();
  ASSERT_OK(makeTokenizer(table));
  edit(table);
  EXPECT_STATUS(makeTokenizer(table), code, part);
}

TEST(Tokenizer, RejectsUnknownNormalizer) {
  expectRefused([](auto &table) { table.normalizer = fbs::Normalizer(9); }, Code::CorruptFile,
                "normalizer 9");
}
TEST(Tokenizer, RejectsUnknownPreTokenizer) {
  expectRefused([](auto &table) { table.pre_tokenizer = fbs::PreTokenizer(99); }, Code::CorruptFile,
                "pre-tokenizer 99");
}
TEST(Tokenizer, RejectsFlagsOfTheOtherAlphabet) {
  expectRefused([](auto &table) { table.byte_fallback = true; }, Code::CorruptFile,
                "byte_fallback has no meaning with alphabet Bytes");
  expectRefused([](auto &table) { table.strip_leading_space = true; }, Code::CorruptFile,
                "strip_leading_space has no meaning with alphabet Bytes");
}
TEST(Tokenizer, RejectsNoTokens) {
  expectRefused([](auto &table) { table = {}; }, Code::CorruptFile, "has no tokens");
}
TEST(Tokenizer, RejectsKindsThatDoNotMatchTokens) {
  expectRefused([](auto &table) { table.kinds.pop_back(); }, Code::CorruptFile, "has 9 tokens but 8 kinds");
}
TEST(Tokenizer, RejectsUnknownKind) {
  expectRefused([](auto &table) { table.kinds[2] = fbs::TokenKind(200); }, Code::CorruptFile,
                "token 2 has kind 200");
}
TEST(Tokenizer, RejectsByteTokenOfAnotherForm) {
  expectRefused([](auto &table) { table.kinds[8] = fbs::TokenKind::Byte; }, Code::CorruptFile,
                "token 8 is of kind Byte, but '</s>'");
}
TEST(Tokenizer, RejectsTokenThatIsNotUtf8) {
  expectRefused([](auto &table) { table.tokens[6] = "c\xff"; }, Code::CorruptFile,
                "token 6 is not UTF-8 at byte 1");
}
TEST(Tokenizer, RejectsTokenPastTheLimit) {
  TokenizerSource table = tinyTable();
  table.tokens.push_back(std::string(4096, 'd'));
  table.kinds.push_back(fbs::TokenKind::Normal);
  EXPECT_OK(makeTokenizer(table));
  expectRefused([](auto &table) { table.afterwards = [](auto &packed) { packed.token_lengths[2] = 4097; }; },
                Code::CorruptFile, "token 2 has 4097 bytes, at most 4096");
}
TEST(Tokenizer, RejectsTwoTokensAlike) {
  expectRefused([](auto &table) { table.tokens[6] = "a"; }, Code::CorruptFile, "tokens 0 and 6 are the same");
  // Longer ones meet where whole words are looked up.
  const auto edit = [](TokenizerSource &table) {
    table.tokens[6] = "ab";
    table.merges = {1, 2};
  };
  TokenizerSource table = tinyTable();
  edit(table);
  EXPECT_OK(makeTokenizer(table));
  expectRefused([&](auto &table) { edit(table), table.ignore_merges = true; }, Code::CorruptFile,
                "tokens 3 and 6 are the same");
}
// support/Vocabulary.h's own tests have the rest.
TEST(Tokenizer, RejectsBrokenVocabulary) {
  expectRefused([](auto &table) { table.afterwards = [](auto &packed) { packed.merge_planes.pop_back(); }; },
                Code::CorruptFile, "merges have 26 bytes, no multiple of 9; build the file again");
}
TEST(Tokenizer, RejectsMergeThatMakesNoWord) {
  expectRefused([](auto &table) { table.kinds[3] = fbs::TokenKind::Control; }, Code::CorruptFile,
                "merge 0 makes token 3, which no text becomes");
}
TEST(Tokenizer, RejectsMergeTwice) {
  expectRefused([](auto &table) { table.merges.insert(table.merges.end(), {0, 1}); }, Code::CorruptFile,
                "merge 3 of tokens 0 and 1 is there twice");
}
TEST(Tokenizer, RejectsAddedTokenPastTheTable) {
  expectRefused([](auto &table) { table.added[1]->id = 9; }, Code::CorruptFile,
                "added token '</s>' has id 9, of 9");
}
TEST(Tokenizer, RejectsAddedTokenWithoutText) {
  expectRefused([](auto &table) { table.added[1]->content = ""; }, Code::CorruptFile,
                "the text of added token 8 has 0 bytes");
}
TEST(Tokenizer, RejectsAddedTokenPastTheLimit) {
  TokenizerSource table = tinyTable();
  table.added[1]->content.assign(1024, 'x');
  EXPECT_OK(makeTokenizer(table));
  expectRefused([](auto &table) { table.added[1]->content.assign(1025, 'x'); }, Code::CorruptFile,
                "the text of added token 8 has 1025 bytes");
}
TEST(Tokenizer, RejectsAddedTokenThatIsNotUtf8) {
  expectRefused([](auto &table) { table.added[1]->content = "\xc3"; }, Code::CorruptFile,
                "the text of added token 8 is not UTF-8");
}
TEST(Tokenizer, RejectsAddedTokenTwice) {
  expectRefused([](auto &table) { table.added[1]->content = "<s>"; }, Code::CorruptFile,
                "added token '<s>' is there twice");
}
TEST(Tokenizer, RejectsSpecialIdsPastTheTable) {
  expectRefused([](auto &table) { table.bos_id = 9; }, Code::CorruptFile, "bos_id is 9, of 9");
  expectRefused([](auto &table) { table.eos_id = INT64_MAX; }, Code::CorruptFile, "eos_id is");
  expectRefused([](auto &table) { table.unk_id = -2; }, Code::CorruptFile, "unk_id is -2");
}
TEST(Tokenizer, RejectsPrefixOrSuffixPastTheTable) {
  expectRefused([](auto &table) { table.prefix_ids = {9}; }, Code::CorruptFile, "prefix_ids hold 9, of 9");
  expectRefused([](auto &table) { table.suffix_ids = {0, 10}; }, Code::CorruptFile,
                "suffix_ids hold 10, of 9");
}

} // namespace
} // namespace lorac
