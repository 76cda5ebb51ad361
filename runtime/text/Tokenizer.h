//===- Tokenizer.h - BPE over bytes or characters ---------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_TOKENIZER_H
#define LORAC_RUNTIME_TEXT_TOKENIZER_H

#include "runtime/text/Normalizer.h"
#include "runtime/text/PreTokenizer.h"
#include "runtime/text/Utf8.h"
#include "schemas/model_generated.h"
#include "support/Status.h"
#include "support/Vocabulary.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

/// Text to token ids and back, as a model file's Tokenizer table says. Holds copies of all it needs, so the
/// table may go. Immutable; share freely between threads.
class Tokenizer {
public:
  /// Nothing in `table` is trusted but FlatBuffers' own structure. CorruptFile for what breaks the table's
  /// contract (ids out of range, a merge whose sides do not make its product, two symbols or two merges
  /// alike, rules that do not fit its alphabet), Unsupported for what is well formed but not here. Messages
  /// do not say that it is a tokenizer, nor whose: who has the table does.
  static Result<Tokenizer> create(const fbs::Tokenizer &table);

  Tokenizer(Tokenizer &&) noexcept;
  Tokenizer &operator=(Tokenizer &&) noexcept;
  ~Tokenizer();

  /// Ids of `utf8`. With `parseSpecial`, texts of special tokens become those tokens; without, they are text
  /// like any other (added tokens that are not special become tokens in both cases). With `addPrefixSuffix`,
  /// the table's prefix and suffix ids stand around. A byte or character that no token stands for becomes
  /// unk_id, or nothing where there is none. InvalidArgument for what is not well-formed UTF-8. Takes
  /// O(n log n).
  Result<std::vector<uint32_t>> encode(std::string_view utf8, bool parseSpecial = true,
                                       bool addPrefixSuffix = true) const;

  /// The text of `ids`, always well-formed UTF-8: broken characters become U+FFFD. Ids without a token give
  /// no text.
  std::string decode(std::span<const uint32_t> ids, bool skipSpecial) const;

  /// Ids are 0 to size() - 1.
  size_t size() const { return ends.size(); }
  /// The bytes that `id` stands for; not necessarily whole characters. Empty for an id without a token.
  std::string_view bytes(uint32_t id) const;
  bool isSpecial(uint32_t id) const { return id < special.size() && special[id]; }
  /// -1 where the table has none.
  int64_t bosId() const { return bos; }
  int64_t eosId() const { return eos; }

private:
  struct Tables; ///< merges, whole words and added tokens
  struct Part;   ///< text, or one added token in it

  friend class Detokenizer;

  Tokenizer();
  Status readRules(const fbs::Tokenizer &table);
  Status readTokens(const fbs::Tokenizer &table, Vocabulary &vocabulary);
  Status readMerges(const Vocabulary &vocabulary, std::span<const uint8_t> isWord);
  Status readWords(Vocabulary &vocabulary, std::span<const uint8_t> isWord);
  Status readAdded(const fbs::Tokenizer &table);
  Status readIds(const fbs::Tokenizer &table);
  void appendWord(std::string_view word, std::vector<uint32_t> &ids) const;

  std::vector<char> pool;     ///< the bytes of all tokens, one after the other
  std::vector<uint64_t> ends; ///< token i is pool[ends[i - 1], ends[i])
  std::vector<uint8_t> special;
  std::array<int64_t, 256> byteIds; ///< the token of a single byte, or -1
  std::vector<uint32_t> prefix;
  std::vector<uint32_t> suffix;
  int64_t bos = -1;
  int64_t eos = -1;
  int64_t unknown = -1;
  bool ofCharacters = false; ///< symbols are characters (alphabet Text), not bytes
  bool byteFallback = false;
  bool fuseUnknown = false;
  bool stripLeadingSpace = false;
  bool ignoreMerges = false;
  Normalizer normalizer;
  PreTokenizer preTokenizer;
  std::unique_ptr<Tables> tables;
};

/// Decodes ids as they come, never splitting a character: bytes of an unfinished one are held back. All that
/// push() and flush() return, joined, is what Tokenizer::decode gives for the same ids. The tokenizer must
/// outlive it.
class Detokenizer {
public:
  explicit Detokenizer(const Tokenizer &tokenizer, bool skipSpecial = true)
      : tokenizer(&tokenizer), skipSpecial(skipSpecial) {}
  std::string push(uint32_t id);
  /// Ends the text: an unfinished character becomes U+FFFD. Then it is as new.
  std::string flush();

private:
  friend class Tokenizer;
  void append(uint32_t id, std::string &out);
  void finish(std::string &out);

  const Tokenizer *tokenizer;
  bool skipSpecial;
  bool hasBegun = false; ///< some text has come, so that no leading space is to go any more
  Utf8Repair repair;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_TOKENIZER_H
