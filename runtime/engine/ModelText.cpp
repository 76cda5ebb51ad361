//===- ModelText.cpp - text in, text out ------------------------*- C++ -*-===//
#include "runtime/engine/ModelText.h"

#include "runtime/files/ModelFile.h"

namespace lorac {

Result<std::shared_ptr<const ModelText>> ModelText::create(const ModelFile &model) {
  const fbs::Model &metadata = model.metadata();
  if (!metadata.tokenizer())
    return Status(Code::Unsupported) << model.path() << ": has no tokenizer; give token ids instead of text";
  Result<Tokenizer> tokenizer = Tokenizer::create(*metadata.tokenizer());
  if (!tokenizer)
    return Status(tokenizer.status().code())
           << model.path() << ": tokenizer: " << tokenizer.status().message();
  std::shared_ptr<ModelText> text(new ModelText(*std::move(tokenizer)));
  text->path = model.path();
  if (metadata.bos_token())
    text->bosToken = metadata.bos_token()->str();
  if (metadata.eos_token())
    text->eosToken = metadata.eos_token()->str();
  if (metadata.chat_template() && metadata.chat_template()->size() > 0) {
    Result<ChatTemplate> parsed = ChatTemplate::parse(metadata.chat_template()->string_view());
    if (parsed)
      text->chatTemplate = *std::move(parsed);
    else
      text->chatStatus = Status(parsed.status().code()) << model.path() << ": " << parsed.status().message();
  } else {
    text->chatStatus = Status(Code::Unsupported)
                       << model.path() << ": has no chat template; give the whole prompt as text";
  }
  return std::shared_ptr<const ModelText>(std::move(text));
}

Result<std::vector<uint32_t>> ModelText::encode(std::string_view text, bool special) const {
  return textTokenizer.encode(text, special, special);
}

std::string ModelText::decode(std::span<const uint32_t> tokens, bool special) const {
  return textTokenizer.decode(tokens, !special);
}

Result<std::string> ModelText::renderChat(std::span<const ChatMessage> messages,
                                          bool generationPrompt) const {
  if (!chatTemplate)
    return chatStatus;
  Result<std::string> rendered = chatTemplate->render(messages, generationPrompt, bosToken, eosToken);
  if (!rendered)
    return Status(rendered.status().code()) << path << ": " << rendered.status().message();
  return rendered;
}

Result<std::vector<uint32_t>> ModelText::encodeRendered(std::string_view rendered) const {
  return textTokenizer.encode(rendered, true, false);
}

Result<std::vector<uint32_t>> ModelText::encodeChat(std::span<const ChatMessage> messages,
                                                    bool generationPrompt) const {
  LORAC_ASSIGN(std::string rendered, renderChat(messages, generationPrompt));
  return encodeRendered(rendered);
}

} // namespace lorac
