//===- TextServer.cpp - tokenizers and chat templates over a pipe ---------===//
// One JSON request a line in, one answer a line out, for scripts that compare many texts with a reference:
//   {"tokenizer": FILE, "kind": "hf" | "gguf"}                        {}
//   {"text": TEXT, "special": BOOL}                                   {"ids": [...]}
//   {"ids": [...]}                       {"text", "without_special", "pieces": what streaming gives, last
//   flush()}
//   {"template": JINJA}                                               {}
//   {"messages": [...], "generation": BOOL, "bos": TEXT, "eos": TEXT} {"text": TEXT}
// An error is {"error": its message, "code": its name}.
#include "compiler/import/TokenizerReader.h"
#include "runtime/text/ChatTemplate.h"
#include "runtime/text/Tokenizer.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <optional>

using namespace lorac;
using nlohmann::json;

namespace {

struct Server {
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;

  Result<json> load(const json &request) {
    LORAC_ASSIGN(TokenizerData data, readTokenizer(request.at("kind"), request.at("tokenizer"), "", ""));
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(fbs::CreateTokenizer(builder, &data.tokenizer));
    LORAC_ASSIGN(tokenizer,
                 Tokenizer::create(*flatbuffers::GetRoot<fbs::Tokenizer>(builder.GetBufferPointer())));
    return json::object();
  }

  Result<json> encode(const json &request) {
    LORAC_ASSIGN(std::vector<uint32_t> ids,
                 tokenizer->encode(request.at("text").get<std::string>(), request.at("special").get<bool>()));
    return json{{"ids", ids}};
  }

  Result<json> decode(const json &request) {
    std::vector<uint32_t> ids = request.at("ids");
    std::vector<std::string> pieces;
    Detokenizer detokenizer(*tokenizer, false);
    for (uint32_t id : ids)
      pieces.push_back(detokenizer.push(id));
    pieces.push_back(detokenizer.flush());
    return json{{"text", tokenizer->decode(ids, false)},
                {"without_special", tokenizer->decode(ids, true)},
                {"pieces", pieces}};
  }

  Result<json> parse(const json &request) {
    LORAC_ASSIGN(chat, ChatTemplate::parse(request.at("template").get<std::string>()));
    return json::object();
  }

  Result<json> render(const json &request) {
    std::vector<ChatMessage> messages;
    for (const json &message : request.at("messages"))
      messages.push_back({message.at("role"), message.at("content")});
    LORAC_ASSIGN(std::string text,
                 chat->render(messages, request.at("generation").get<bool>(),
                              request.at("bos").get<std::string>(), request.at("eos").get<std::string>()));
    return json{{"text", text}};
  }

  Result<json> answer(const json &request) {
    if (request.contains("tokenizer"))
      return load(request);
    if (request.contains("template"))
      return parse(request);
    if (request.contains("messages"))
      return render(request);
    return request.contains("ids") ? decode(request) : encode(request);
  }
};

} // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  Server server;
  std::string line;
  while (std::getline(std::cin, line)) {
    Result<json> answer = server.answer(json::parse(line));
    json out = answer
                   ? *answer
                   : json{{"error", answer.status().message()}, {"code", codeName(answer.status().code())}};
    // Throws, and so fails the test, for a text that is no UTF-8.
    std::cout << out.dump() << '\n';
    if (std::cin.rdbuf()->in_avail() <= 0) // nobody waits for this answer yet where more requests are there
      std::cout.flush();
  }
  return 0;
}
