//===- ChatTemplate.h - messages to a prompt --------------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_CHATTEMPLATE_H
#define LORAC_RUNTIME_TEXT_CHATTEMPLATE_H

#include "support/Status.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lorac {

struct ChatMessage {
  std::string role;
  std::string content;
};

/// The part of Jinja2 that chat templates use (docs in TemplateParser.h), with trim_blocks and lstrip_blocks
/// on, as transformers renders them. A template is untrusted: steps, output, text sizes and nesting are
/// bounded, and it sees nothing but messages, add_generation_prompt, bos_token, eos_token, and tools and
/// documents, which are none. Immutable; share freely between threads.
class ChatTemplate {
public:
  /// InvalidArgument for broken syntax, Unsupported for what Jinja2 has and this has not; both name line and
  /// construct
  /// ("chat template line 3: filter 'foo' is not supported").
  static Result<ChatTemplate> parse(std::string_view source);

  /// The prompt. An empty `bosToken` or `eosToken` leaves that name undefined. InvalidArgument where the
  /// template raises an exception (its own text follows), computes with what does not fit together, or
  /// exceeds a bound.
  Result<std::string> render(std::span<const ChatMessage> messages, bool addGenerationPrompt,
                             std::string_view bosToken, std::string_view eosToken) const;

private:
  struct Program;
  std::shared_ptr<const Program> program;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_CHATTEMPLATE_H
