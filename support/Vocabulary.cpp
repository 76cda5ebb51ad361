//===- Vocabulary.cpp -----------------------------------------------------===//
#include "support/Vocabulary.h"

#include "schemas/model_generated.h"

#include <algorithm>
#include <functional>
#include <map>

namespace lorac {

namespace {

// A merge's three numbers, each in as many planes: left, right, and how far its product lies behind the one
// after the last merge's product. Most vocabularies number products in order: then that is 0.
constexpr size_t BytesANumber = 3;
constexpr size_t BytesAMerge = 3 * BytesANumber;
constexpr uint32_t NumberMask = MaxVocabularyTokens - 1;

} // namespace

Result<PackedVocabulary> packVocabulary(std::span<const std::string> tokens,
                                        std::span<const uint32_t> merges) {
  if (tokens.size() > MaxVocabularyTokens)
    return Status(Code::InvalidArgument)
           << "has " << tokens.size() << " tokens, at most " << MaxVocabularyTokens << " are supported";
  // A tree, not a hash table: a file can choose texts that meet in one bucket.
  std::map<std::string_view, uint32_t, std::less<>> ids;
  size_t bytes = 0;
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string &text = tokens[id];
    if (text.size() > MaxTokenBytes)
      return Status(Code::InvalidArgument) << "token " << id << " has " << text.size() << " bytes, at most "
                                           << MaxTokenBytes << " are supported";
    bytes += text.size();
    if (!text.empty())
      ids.emplace(text, id);
  }
  if (bytes > MaxVocabularyBytes)
    return Status(Code::InvalidArgument) << "its tokens have " << bytes << " bytes in all, at most "
                                         << MaxVocabularyBytes << " are supported";

  const size_t count = merges.size() / 2;
  std::vector<uint32_t> products;
  // A token is left to the first merge that makes it, unless it is a side of that one or of one before.
  enum class Text : uint8_t { Unseen, Written, Made };
  std::vector<Text> kept(tokens.size(), Text::Unseen);
  for (size_t rank = 0; rank < count; ++rank) {
    const uint32_t left = merges[2 * rank], right = merges[2 * rank + 1];
    auto found = ids.find(tokens[left] + tokens[right]);
    if (found == ids.end())
      return Status(Code::InvalidArgument)
             << "merge " << rank << " of tokens " << left << " and " << right << " gives no token";
    products.push_back(found->second);
    for (uint32_t side : {left, right})
      if (kept[side] == Text::Unseen)
        kept[side] = Text::Written;
    if (kept[found->second] == Text::Unseen)
      kept[found->second] = Text::Made;
  }

  PackedVocabulary packed;
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string_view text = kept[id] == Text::Made ? std::string_view() : std::string_view(tokens[id]);
    packed.lengths.push_back(uint16_t(text.size()));
    packed.texts.insert(packed.texts.end(), text.begin(), text.end());
  }
  packed.merges.resize(count * BytesAMerge);
  uint32_t expected = 0;
  for (size_t rank = 0; rank < count; ++rank) {
    const uint32_t numbers[] = {merges[2 * rank], merges[2 * rank + 1],
                                (products[rank] - expected) & NumberMask};
    for (size_t plane = 0; plane < BytesAMerge; ++plane)
      packed.merges[plane * count + rank] =
          uint8_t(numbers[plane / BytesANumber] >> (8 * (plane % BytesANumber)));
    expected = products[rank] + 1;
  }
  return packed;
}

Result<Vocabulary> Vocabulary::unpack(std::span<const uint16_t> lengths, std::span<const uint8_t> texts,
                                      std::span<const uint8_t> merges) {
  const auto corrupt = [] { return Status(Code::CorruptFile); };
  Vocabulary result;
  size_t begin = 0;
  for (size_t id = 0; id < lengths.size(); ++id) {
    const size_t length = lengths[id];
    if (length > MaxTokenBytes)
      return corrupt() << "token " << id << " has " << length << " bytes, at most " << MaxTokenBytes
                       << " are read";
    if (length > texts.size() - begin)
      return corrupt() << "token " << id << " ends after the " << texts.size() << " bytes of all texts";
    result.places.push_back({uint32_t(begin), uint32_t(length)});
    begin += length;
    if (begin > MaxVocabularyBytes)
      return corrupt() << "tokens have more than " << MaxVocabularyBytes << " bytes";
  }
  if (begin != texts.size())
    return corrupt() << "tokens have " << begin << " bytes of " << texts.size();
  result.pool.assign(texts.begin(), texts.end());

  if (merges.size() % BytesAMerge != 0)
    return corrupt() << "merges have " << merges.size() << " bytes, no multiple of " << BytesAMerge;
  const size_t count = merges.size() / BytesAMerge;
  const auto numberOf = [&](size_t field, size_t rank) {
    uint32_t number = 0;
    for (size_t byte = 0; byte < BytesANumber; ++byte)
      number |= uint32_t(merges[(field * BytesANumber + byte) * count + rank]) << (8 * byte);
    return number;
  };
  uint32_t expected = 0;
  result.pairs.reserve(count);
  for (size_t rank = 0; rank < count; ++rank) {
    const Merge merge = {numberOf(0, rank), numberOf(1, rank), (expected + numberOf(2, rank)) & NumberMask};
    expected = merge.product + 1;
    for (uint32_t id : {merge.left, merge.right, merge.product})
      if (id >= result.size())
        return corrupt() << "merge " << rank << " names token " << id << ", of " << result.size()
                         << " tokens";
    const Place left = result.places[merge.left], right = result.places[merge.right];
    Place &product = result.places[merge.product];
    if (left.length == 0 || right.length == 0)
      return corrupt() << "merge " << rank << " of tokens " << merge.left << " and " << merge.right
                       << " comes before both have a text";
    if (product.length == 0) {
      const size_t length = left.length + right.length, at = result.pool.size();
      if (length > MaxTokenBytes)
        return corrupt() << "merge " << rank << " makes a token of " << length << " bytes, at most "
                         << MaxTokenBytes << " are read";
      if (at + length > MaxVocabularyBytes)
        return corrupt() << "tokens have more than " << MaxVocabularyBytes << " bytes";
      result.pool.resize(at + length);
      std::copy_n(result.pool.data() + left.begin, left.length, result.pool.data() + at);
      std::copy_n(result.pool.data() + right.begin, right.length, result.pool.data() + at + left.length);
      product = {uint32_t(at), uint32_t(length)};
    } else {
      const std::string_view text = result.text(merge.product);
      if (!text.starts_with(result.text(merge.left)) || text.substr(left.length) != result.text(merge.right))
        return corrupt() << "merge " << rank << " of tokens " << merge.left << " and " << merge.right
                         << " does not give token " << merge.product;
    }
    result.pairs.push_back(merge);
  }
  return result;
}

Result<Vocabulary> Vocabulary::unpack(const fbs::Tokenizer &table) {
  const auto elements = [](const auto &vector) { return std::span(vector.data(), vector.size()); };
  return unpack(elements(*table.token_lengths()), elements(*table.token_texts()),
                elements(*table.merge_planes()));
}

} // namespace lorac
