//===- Vocabulary.h - tokens and merges as a model file has them -*- C++ -*-===//
// Nearly every token of a BPE vocabulary is what a merge makes, so its text is not written down; and ids are
// written as planes of their bytes, which compress. docs/formats/model.md, table Tokenizer, has the layout.
#ifndef LORAC_SUPPORT_VOCABULARY_H
#define LORAC_SUPPORT_VOCABULARY_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

namespace fbs {
struct Tokenizer;
}

constexpr size_t MaxTokenBytes = 4096;             ///< the longest tokens in use have some hundred
constexpr size_t MaxVocabularyBytes = 32ull << 20; ///< of all texts: merges could double them without end
constexpr uint32_t MaxVocabularyTokens = uint32_t(1) << 24; ///< what three bytes hold

/// Fields of the table Tokenizer.
struct PackedVocabulary {
  std::vector<uint16_t> lengths; ///< token_lengths
  std::vector<uint8_t> texts;    ///< token_texts
  std::vector<uint8_t> merges;   ///< merge_planes
};

/// Packs `tokens`, by id (an empty text: no token of that id), and `merges`, pairs of ids in order of rank.
/// InvalidArgument for a merge whose joined text is no token, and for what is above the limits.
Result<PackedVocabulary> packVocabulary(std::span<const std::string> tokens,
                                        std::span<const uint32_t> merges);

/// A vocabulary whose every token has its text.
class Vocabulary {
public:
  struct Merge {
    uint32_t left, right, product;
  };

  /// Nothing is trusted: CorruptFile, with nothing of the file in the message's front, for texts that do not
  /// add up, ids past the tokens, and a merge whose sides do not make its product.
  static Result<Vocabulary> unpack(std::span<const uint16_t> lengths, std::span<const uint8_t> texts,
                                   std::span<const uint8_t> merges);
  static Result<Vocabulary> unpack(const fbs::Tokenizer &table);

  size_t size() const { return places.size(); }
  /// The text of token `id`, which is one; empty for an id without a token.
  std::string_view text(uint32_t id) const { return {pool.data() + places[id].begin, places[id].length}; }
  /// In order of rank.
  std::span<const Merge> merges() const { return pairs; }

private:
  struct Place {
    uint32_t begin, length;
  };
  std::vector<char> pool;
  std::vector<Place> places;
  std::vector<Merge> pairs;
};

} // namespace lorac

#endif // LORAC_SUPPORT_VOCABULARY_H
