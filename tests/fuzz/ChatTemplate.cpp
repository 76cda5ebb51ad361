// A chat template: parse it, render three conversations. Fewer steps than a product's render may take, so
// that a template that loops costs milliseconds.
#include "runtime/text/ChatTemplate.h"
#include "runtime/text/TemplateInterpreter.h"
#include "runtime/text/Utf8.h"
#include "tests/fuzz/Fuzz.h"

#include <memory>
#include <vector>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

constexpr uint64_t MaxSteps = 50'000;
using Messages = std::vector<ChatMessage>;

std::vector<std::pair<std::string, jinja::Value>> variables(const Messages &messages) {
  auto list = std::make_shared<jinja::List>();
  list->depth = 2;
  for (const ChatMessage &message : messages) {
    auto dict = std::make_shared<jinja::Dict>();
    dict->entries.emplace_back("role", jinja::Value::text(message.role));
    dict->entries.emplace_back("content", jinja::Value::text(message.content));
    list->items.emplace_back(jinja::DictRef(std::move(dict)));
  }
  return {{"messages", jinja::ListRef(std::move(list))},
          {"add_generation_prompt", true},
          {"tools", jinja::Value::none()},
          {"documents", jinja::Value::none()},
          {"bos_token", jinja::Value::text("<s>")},
          {"eos_token", jinja::Value::text("</s>")}};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const jinja::CharacterClasses classes = *jinja::CharacterClasses::create();
  static const Messages conversations[] = {
      {},
      {{"user", "What is 2 + 2?"}},
      {{"system", " Be brief. "}, {"user", "H\xc3\xa9llo\n"}, {"assistant", "Hi <b>"}, {"user", ""}}};
  const std::string_view source = textOf(data, size);
  Result<jinja::Block> program = jinja::parseTemplate(source);
  requireTyped(program.status());
  if (!program)
    return 0;
  for (const Messages &messages : conversations) {
    Result<std::string> text = jinja::render(*program, classes, variables(messages), MaxSteps);
    requireTyped(text.status());
    if (!text)
      continue;
    require(text->size() <= jinja::kMaxOutput, "the output is bounded");
    require(firstInvalidUtf8(*text) == std::string_view::npos, "a prompt is UTF-8");
    Result<std::string> again = jinja::render(*program, classes, variables(messages), MaxSteps);
    require(again && *again == *text, "a template renders the same each time");
    require(messages.empty() || ChatTemplate::parse(source).isOk(), "what renders is a chat template");
  }
  return 0;
}
