//===- Tokenizer.cpp - byte-level BPE -------------------------------------===//
#include "runtime/text/Tokenizer.h"

#include "tests/runtime/text/TextGoldens.h"
#include "tests/support/StatusTest.h"

#include <chrono>
#include <random>

namespace lorac {
namespace {

using test::add;
using test::addedToken;
using test::copyOf;
using test::goldenJson;
using test::goldenVocabulary;
using test::makeTokenizer;
using Ids = std::vector<uint32_t>;

/// a b c, their merges ab, abc and bc (in this order of rank), space and two control tokens.
fbs::TokenizerT tinyTable() {
  fbs::TokenizerT table;
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
  fbs::TokenizerT digits = copyOf(goldenVocabulary());
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
  fbs::TokenizerT table = copyOf(goldenVocabulary());
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
    fbs::TokenizerT table = copyOf(goldenVocabulary());
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
  fbs::TokenizerT table = tinyTable();
  table.merges = {1, 2, 0, 1, 3, 2}; // bc first: abc can no longer be reached from a + bc
  tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc"), (Ids{0, 5}));
}

TEST(Tokenizer, IgnoreMergesTakesAWholeWordFirst) {
  fbs::TokenizerT table = tinyTable();
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
  fbs::TokenizerT table = tinyTable();
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
  fbs::TokenizerT table = tinyTable();
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
  fbs::TokenizerT table = tinyTable();
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
  fbs::TokenizerT table = tinyTable();
  table.tokens.push_back("");
  table.kinds.push_back(fbs::TokenKind::Normal);
  auto tokenizer = makeTokenizer(table);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(tokenizer->size(), 10u);
  EXPECT_EQ(tokenizer->decode(Ids{0, 9, 10, UINT32_MAX, 1}, false), "ab");
  EXPECT_FALSE(tokenizer->isSpecial(UINT32_MAX));
}

TEST(Tokenizer, ByteTokensDecodeToTheirByte) {
  fbs::TokenizerT table = tinyTable();
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
void expectRefused(const std::function<void(fbs::TokenizerT &)> &edit, Code code, const std::string &part) {
  fbs::TokenizerT table = tinyTable();
  ASSERT_OK(makeTokenizer(table));
  edit(table);
  EXPECT_STATUS(makeTokenizer(table), code, part);
}

TEST(Tokenizer, RejectsNfc) {
  expectRefused([](auto &table) { table.normalizer = fbs::Normalizer::Nfc; }, Code::Unsupported,
                "normalizer NFC is not supported");
}
TEST(Tokenizer, RejectsUnknownNormalizer) {
  expectRefused([](auto &table) { table.normalizer = fbs::Normalizer(9); }, Code::CorruptFile,
                "normalizer 9");
}
TEST(Tokenizer, RejectsUnknownPreTokenizer) {
  expectRefused([](auto &table) { table.pre_tokenizer = fbs::PreTokenizer(99); }, Code::CorruptFile,
                "pre-tokenizer 99");
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
  expectRefused([](auto &table) { table.tokens[2] = "c\xff"; }, Code::CorruptFile,
                "token 2 is not UTF-8 at byte 1");
}
TEST(Tokenizer, RejectsEndlessToken) {
  expectRefused([](auto &table) { table.tokens[2].assign(5000, 'c'); }, Code::CorruptFile,
                "token 2 has 5000 bytes");
}
TEST(Tokenizer, RejectsTwoTokensAlike) {
  expectRefused([](auto &table) { table.tokens[2] = "a"; }, Code::CorruptFile, "tokens 0 and 2 are the same");
}
TEST(Tokenizer, RejectsHalfAMerge) {
  expectRefused([](auto &table) { table.merges.push_back(0); }, Code::CorruptFile,
                "merges hold 7 ids, not pairs");
}
TEST(Tokenizer, RejectsMergeOfNoToken) {
  expectRefused([](auto &table) { table.merges[3] = 9; }, Code::CorruptFile, "merge 1 names token 9, of 9");
}
TEST(Tokenizer, RejectsMergeWithoutAProduct) {
  expectRefused([](auto &table) { table.merges[2] = 2; }, Code::CorruptFile,
                "merge 1 of tokens 2 and 2 gives no token");
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
TEST(Tokenizer, RejectsEndlessAddedToken) {
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
