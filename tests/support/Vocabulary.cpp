#include "support/Vocabulary.h"

#include "tests/support/StatusTest.h"

namespace lorac {
namespace {

using Texts = std::vector<std::string>;
using Ids = std::vector<uint32_t>;

Result<Vocabulary> unpack(const PackedVocabulary &packed) {
  return Vocabulary::unpack(packed.lengths, packed.texts, packed.merges);
}

Texts textsOf(const Vocabulary &vocabulary) {
  Texts texts;
  for (uint32_t id = 0; id < vocabulary.size(); ++id)
    texts.emplace_back(vocabulary.text(id));
  return texts;
}

/// a b c, then products in another order than their merges', an id without a token, and one that no merge
/// makes.
const Texts Tokens = {"a", "b", "c", "abc", "ab", "", "<s>", "cab"};
const Ids Merges = {0, 1, 4, 2, 2, 4}; // ab, ab+c, c+ab

TEST(Vocabulary, HasNoTextOfWhatMergesMake) {
  // On purpose literal: a change of these bytes is a change of the format (docs/formats/model.md).
  PackedVocabulary packed = *packVocabulary(Tokens, Merges);
  EXPECT_EQ(packed.lengths, (std::vector<uint16_t>{1, 1, 1, 0, 0, 0, 3, 0}));
  EXPECT_EQ(std::string(packed.texts.begin(), packed.texts.end()), "abc<s>");
  EXPECT_EQ(packed.merges, (std::vector<uint8_t>{0, 4,    2, 0, 0,    0, 0, 0,    0,    // left
                                                 1, 2,    4, 0, 0,    0, 0, 0,    0,    // right
                                                 4, 0xfe, 3, 0, 0xff, 0, 0, 0xff, 0})); // 4, 3 - 5, 7 - 4
}

TEST(Vocabulary, ComesBackAsItWas) {
  Result<Vocabulary> vocabulary = unpack(*packVocabulary(Tokens, Merges));
  ASSERT_OK(vocabulary);
  EXPECT_EQ(textsOf(*vocabulary), Tokens);
  Ids ids, products;
  for (const Vocabulary::Merge &merge : vocabulary->merges()) {
    ids.insert(ids.end(), {merge.left, merge.right});
    products.push_back(merge.product);
  }
  EXPECT_EQ(ids, Merges);
  EXPECT_EQ(products, (Ids{4, 3, 7}));
  vocabulary = unpack(*packVocabulary({}, {}));
  ASSERT_OK(vocabulary);
  EXPECT_EQ(vocabulary->size(), 0u);
}

// Scores order merges as they like: here abc is made of ab before ab is made, and once more of a and bc.
TEST(Vocabulary, KeepsTheTextOfWhatIsMadeTooLate) {
  const Texts tokens = {"a", "b", "c", "abc", "ab", "bc"};
  const Ids merges = {4, 2, 0, 1, 1, 2, 0, 5};
  PackedVocabulary packed = *packVocabulary(tokens, merges);
  EXPECT_EQ(packed.lengths, (std::vector<uint16_t>{1, 1, 1, 0, 2, 0}));
  Result<Vocabulary> vocabulary = unpack(packed);
  ASSERT_OK(vocabulary);
  EXPECT_EQ(textsOf(*vocabulary), tokens);
}

TEST(Vocabulary, RefusesToPackWhatNoFileHolds) {
  const auto refuse = [](const Texts &tokens, const Ids &merges, const char *part) {
    EXPECT_STATUS(packVocabulary(tokens, merges), Code::InvalidArgument, part);
  };
  refuse({"a", "b"}, {0, 1}, "merge 0 of tokens 0 and 1 gives no token");
  refuse({std::string(4097, 'a')}, {}, "token 0 has 4097 bytes, at most 4096");
  refuse(Texts(8193, std::string(4096, 'a')), {}, "have 33558528 bytes in all, at most 33554432");
  refuse(Texts((1 << 24) + 1), {}, "has 16777217 tokens, at most 16777216");
}

TEST(Vocabulary, RefusesWhatIsBroken) {
  const auto refuse = [](const std::function<void(PackedVocabulary &)> &edit, const char *part) {
    PackedVocabulary packed = *packVocabulary(Tokens, Merges);
    edit(packed);
    EXPECT_STATUS(unpack(packed), Code::CorruptFile, part);
  };
  refuse([](auto &p) { p.lengths[0] = 4097; }, "token 0 has 4097 bytes, at most 4096 are read");
  refuse([](auto &p) { p.lengths[6] = 4; }, "token 6 ends after the 6 bytes of all texts");
  refuse([](auto &p) { p.lengths[6] = 2; }, "tokens have 5 bytes of 6");
  refuse([](auto &p) { p.merges.push_back(0); }, "merges have 28 bytes, no multiple of 9");
  refuse([](auto &p) { p.merges[2] = 8; }, "merge 2 names token 8, of 8 tokens");
  refuse([](auto &p) { p.merges[7] = 1; }, "merge 1 names token 65540, of 8 tokens");
  refuse([](auto &p) { p.merges[20] = 4; }, "merge 2 names token 8, of 8 tokens"); // its product
  refuse([](auto &p) { p.merges[0] = 5; }, "merge 0 of tokens 5 and 1 comes before both have a text");
  refuse([](auto &p) { p.merges[10] = 6, p.merges[19] = 1, p.merges[22] = p.merges[25] = 0; },
         "merge 1 of tokens 4 and 6 does not give token 6");
  refuse([](auto &p) { p.merges[18] = 0; }, "merge 0 of tokens 0 and 1 does not give token 0");
}

// Merges could double a text at each step.
TEST(Vocabulary, BoundsWhatMergesMake) {
  std::vector<uint16_t> lengths(20, 0);
  lengths[0] = 1;
  const std::vector<uint8_t> text = {'a'};
  std::vector<uint8_t> merges(19 * 9, 0);
  for (uint8_t rank = 0; rank < 19; ++rank)
    merges[rank] = merges[19 * 3 + rank] = rank; // token rank + 1 is twice token rank
  merges[19 * 6] = 1;
  EXPECT_STATUS(Vocabulary::unpack(lengths, text, merges), Code::CorruptFile,
                "merge 12 makes a token of 8192 bytes, at most 4096 are read");
  constexpr uint32_t Many = 10000; // all of 4096 bytes
  lengths.assign(13 + Many, 0);
  lengths[0] = 1;
  const size_t count = 12 + Many;
  merges.assign(count * 9, 0);
  for (size_t rank = 0; rank < count; ++rank)
    merges[rank] = merges[count * 3 + rank] = uint8_t(std::min<size_t>(rank, 11));
  merges[count * 6] = 1;
  EXPECT_STATUS(Vocabulary::unpack(lengths, text, merges), Code::CorruptFile,
                "tokens have more than 33554432 bytes");
}

} // namespace
} // namespace lorac
