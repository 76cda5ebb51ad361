//===- ModelText.h - text in, text out --------------------------*- C++ -*-===//
// A model file's tokenizer and chat template behind the few functions that callers need.
#ifndef LORAC_RUNTIME_ENGINE_MODELTEXT_H
#define LORAC_RUNTIME_ENGINE_MODELTEXT_H

#include "runtime/text/ChatTemplate.h"
#include "runtime/text/Tokenizer.h"
#include "support/Status.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

class ModelFile;

/// Holds copies of all it needs. Immutable; share freely between threads.
class ModelText {
public:
  /// Unsupported where the file has no tokenizer. A chat template that does not parse is an error of
  /// renderChat() alone: text and tokens work without it.
  static Result<std::shared_ptr<const ModelText>> create(const ModelFile &model);

  const Tokenizer &tokenizer() const { return textTokenizer; }
  bool hasChatTemplate() const { return chatTemplate.has_value(); }

  /// A prompt as it stands. `special`: with the tokens that the tokenizer puts around it, special tokens in
  /// it recognised.
  Result<std::vector<uint32_t>> encode(std::string_view text, bool special = true) const;
  std::string decode(std::span<const uint32_t> tokens, bool special = false) const;
  /// Unsupported where there is no usable chat template.
  Result<std::string> renderChat(std::span<const ChatMessage> messages, bool generationPrompt = true) const;
  /// What renderChat() gave: special tokens in it are recognised, none are put around it (the template wrote
  /// them).
  Result<std::vector<uint32_t>> encodeRendered(std::string_view rendered) const;
  /// Both in one.
  Result<std::vector<uint32_t>> encodeChat(std::span<const ChatMessage> messages,
                                           bool generationPrompt = true) const;

private:
  explicit ModelText(Tokenizer tokenizer) : textTokenizer(std::move(tokenizer)) {}

  Tokenizer textTokenizer;
  std::optional<ChatTemplate> chatTemplate;
  Status chatStatus; // why there is none
  std::string bosToken, eosToken;
  std::string path;
};

/// The text of tokens as they come; characters come whole. Not for several threads at once.
class TextStream {
public:
  explicit TextStream(std::shared_ptr<const ModelText> text)
      : text(std::move(text)), detokenizer(this->text->tokenizer()) {}
  std::string add(uint32_t token) { return detokenizer.push(token); }
  /// What an unfinished character leaves.
  std::string finish() { return detokenizer.flush(); }

private:
  std::shared_ptr<const ModelText> text;
  Detokenizer detokenizer;
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_MODELTEXT_H
