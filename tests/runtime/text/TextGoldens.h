//===- TextGoldens.h - stored cases, and a vocabulary for them --*- C++ -*-===//
#ifndef LORAC_TESTS_RUNTIME_TEXT_TEXTGOLDENS_H
#define LORAC_TESTS_RUNTIME_TEXT_TEXTGOLDENS_H

#include "runtime/text/Tokenizer.h"
#include "schemas/model_generated.h"
#include "support/Vocabulary.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <unordered_map>
#include <vector>

namespace lorac::test {

inline std::string goldenText(const std::string &name) {
  std::ifstream file(std::string(LORAC_TEXT_GOLDENS) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline nlohmann::json goldenJson(const std::string &name) { return nlohmann::json::parse(goldenText(name)); }

/// A table of a model file before its tokens and merges are packed.
struct TokenizerSource : fbs::TokenizerT {
  std::vector<std::string> tokens;
  std::vector<uint32_t> merges; ///< pairs of ids
  /// Edits of the packed fields.
  std::function<void(fbs::TokenizerT &)> afterwards;
};

/// A table owns its buffer; `get` is what a loader would hand on.
class TokenizerTable {
public:
  explicit TokenizerTable(const TokenizerSource &source) {
    fbs::TokenizerT table = source;
    PackedVocabulary packed = *packVocabulary(source.tokens, source.merges);
    table.token_lengths = std::move(packed.lengths);
    table.token_texts = std::move(packed.texts);
    table.merge_planes = std::move(packed.merges);
    if (source.afterwards)
      source.afterwards(table);
    builder.Finish(fbs::CreateTokenizer(builder, &table));
  }
  const fbs::Tokenizer &get() const {
    return *flatbuffers::GetRoot<fbs::Tokenizer>(builder.GetBufferPointer());
  }

private:
  flatbuffers::FlatBufferBuilder builder;
};

inline Result<Tokenizer> makeTokenizer(const TokenizerSource &source) {
  return Tokenizer::create(TokenizerTable(source).get());
}

inline fbs::AddedTokenT addedToken(uint32_t id, std::string content, bool special = false) {
  fbs::AddedTokenT token;
  token.id = id;
  token.content = std::move(content);
  token.special = special;
  return token;
}

inline void add(fbs::TokenizerT &table, const fbs::AddedTokenT &token) {
  table.added.push_back(std::make_unique<fbs::AddedTokenT>(token));
}

/// tests/goldens/text/tokenizer.json as a model file has it, with GPT-2's words.
inline const TokenizerSource &goldenVocabulary() {
  static const TokenizerSource table = [] {
    nlohmann::json json = goldenJson("tokenizer.json");
    TokenizerSource result;
    std::unordered_map<std::string, uint32_t> ids;
    result.tokens.resize(json["model"]["vocab"].size());
    for (const auto &[token, id] : json["model"]["vocab"].items()) {
      result.tokens.at(id.get<size_t>()) = token;
      ids[token] = id.get<uint32_t>();
    }
    result.kinds.resize(result.tokens.size(), fbs::TokenKind::Normal);
    for (const auto &merge : json["model"]["merges"]) {
      result.merges.push_back(ids.at(merge[0].get<std::string>()));
      result.merges.push_back(ids.at(merge[1].get<std::string>()));
    }
    for (const auto &entry : json["added_tokens"]) {
      fbs::AddedTokenT token = addedToken(entry["id"], entry["content"], entry["special"]);
      result.kinds[token.id] = fbs::TokenKind::Control;
      add(result, token);
    }
    result.pre_tokenizer = fbs::PreTokenizer::Classic;
    return result;
  }();
  return table;
}

} // namespace lorac::test

#endif // LORAC_TESTS_RUNTIME_TEXT_TEXTGOLDENS_H
