//===- ChatTemplate.cpp - messages to a prompt ----------------------------===//
#include "runtime/text/ChatTemplate.h"

#include "runtime/text/TemplateInterpreter.h"
#include "runtime/text/TemplateParser.h"
#include "runtime/text/Utf8.h"

namespace lorac {

struct ChatTemplate::Program {
  jinja::Block block;
  jinja::CharacterClasses classes;
};

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  LORAC_ASSIGN(jinja::Block block, jinja::parseTemplate(source));
  LORAC_ASSIGN(jinja::CharacterClasses classes, jinja::CharacterClasses::create());
  ChatTemplate result;
  result.program = std::make_shared<const Program>(Program{std::move(block), std::move(classes)});
  return result;
}

Result<std::string> ChatTemplate::render(std::span<const ChatMessage> messages, bool addGenerationPrompt,
                                         std::string_view bosToken, std::string_view eosToken) const {
  auto checkText = [](std::string_view text, std::string_view what, size_t index) -> Status {
    if (size_t bad = firstInvalidUtf8(text); bad != std::string_view::npos)
      return Status(Code::InvalidArgument) << "message " << index << ": its " << what
                                           << " is not UTF-8 at byte " << bad << "; convert it to UTF-8";
    if (text.size() > jinja::kMaxOutput)
      return Status(Code::InvalidArgument)
             << "message " << index << ": its " << what << " has " << text.size() << " bytes, at most "
             << jinja::kMaxOutput << " are rendered";
    return {};
  };
  auto list = std::make_shared<jinja::List>();
  list->depth = 2;
  for (size_t i = 0; i < messages.size(); ++i) {
    LORAC_TRY(checkText(messages[i].role, "role", i));
    LORAC_TRY(checkText(messages[i].content, "content", i));
    auto message = std::make_shared<jinja::Dict>();
    message->entries.emplace_back("role", jinja::Value::text(messages[i].role));
    message->entries.emplace_back("content", jinja::Value::text(messages[i].content));
    list->items.emplace_back(jinja::DictRef(std::move(message)));
  }
  std::vector<std::pair<std::string, jinja::Value>> variables;
  variables.emplace_back("messages", jinja::ListRef(std::move(list)));
  variables.emplace_back("add_generation_prompt", addGenerationPrompt);
  variables.emplace_back("tools", jinja::Value::none());
  variables.emplace_back("documents", jinja::Value::none());
  for (const auto &[name, token] : {std::pair{"bos_token", bosToken}, std::pair{"eos_token", eosToken}}) {
    if (firstInvalidUtf8(token) != std::string_view::npos)
      return Status(Code::InvalidArgument) << name << " is not UTF-8";
    if (!token.empty())
      variables.emplace_back(name, jinja::Value::text(std::string(token)));
  }
  return jinja::render(program->block, program->classes, std::move(variables));
}

} // namespace lorac
