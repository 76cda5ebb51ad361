//===- Requests.cpp - what a user asks run to do, read and checked --------===//
#include "tools/lorac/Requests.h"

#include "tools/lorac/Console.h"

#include <charconv>
#include <cmath>
#include <filesystem>

namespace lorac::cli {
namespace {

/// A finite number that a float holds.
std::optional<float> parseStrength(std::string_view text) {
  if (!text.empty() && text.front() == '+')
    text.remove_prefix(1);
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(float(value)))
    return std::nullopt;
  return float(value);
}

Status misfit(std::string_view key, std::string_view expected) {
  return Status(Code::InvalidArgument) << "\"" << key << "\" is not " << expected;
}

Result<uint64_t> readCount(std::string_view key, const Json &value, uint64_t maximum) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > maximum)
    return misfit(key, "a whole number from 0 to " + std::to_string(maximum));
  return value.get<uint64_t>();
}

Result<double> readNumber(std::string_view key, const Json &value) {
  if (!value.is_number())
    return misfit(key, "a number");
  return value.get<double>();
}

Result<std::string> readText(std::string_view key, const Json &value) {
  if (!value.is_string())
    return misfit(key, "a string");
  return value.get<std::string>();
}

Result<std::vector<uint32_t>> readTokens(std::string_view key, const Json &value) {
  if (!value.is_array())
    return misfit(key, "an array of token ids");
  std::vector<uint32_t> tokens;
  for (const Json &item : value) {
    LORAC_ASSIGN(uint64_t id, readCount(key, item, UINT32_MAX));
    tokens.push_back(uint32_t(id));
  }
  return tokens;
}

Result<std::vector<AdapterArgument>> readAdapters(const Json &value) {
  if (!value.is_array())
    return misfit("adapters", "an array of {\"path\", \"strength\"}");
  std::vector<AdapterArgument> adapters;
  for (const Json &item : value) {
    if (!item.is_object() || !item.contains("path"))
      return misfit("adapters", "an array of {\"path\", \"strength\"}");
    AdapterArgument adapter;
    for (const auto &[key, member] : item.items()) {
      if (key == "path") {
        LORAC_ASSIGN(adapter.path, readText(key, member));
      } else if (key == "strength") {
        LORAC_ASSIGN(double strength, readNumber(key, member));
        if (!std::isfinite(float(strength)))
          return misfit(key, "a finite number");
        adapter.strength = float(strength);
      } else {
        return Status(Code::InvalidArgument)
               << "an adapter has no key \"" << key << "\"; it has path, strength";
      }
    }
    adapters.push_back(std::move(adapter));
  }
  return adapters;
}

/// One member of a request; false where the key is not known.
Result<bool> readMember(const std::string &key, const Json &value, PromptRequest &request) {
  if (key == "prompt" || key == "chat") {
    request.kind = key == "chat" ? PromptKind::Chat : PromptKind::Text;
    LORAC_ASSIGN(request.text, readText(key, value));
  } else if (key == "tokens") {
    request.kind = PromptKind::Tokens;
    LORAC_ASSIGN(request.tokens, readTokens(key, value));
  } else if (key == "system") {
    LORAC_ASSIGN(request.system, readText(key, value));
  } else if (key == "adapters") {
    LORAC_ASSIGN(request.adapters, readAdapters(value));
  } else if (key == "max_tokens") {
    LORAC_ASSIGN(uint64_t count, readCount(key, value, UINT32_MAX));
    request.maxTokens = uint32_t(count);
  } else if (key == "temperature") {
    LORAC_ASSIGN(request.sampling.temperature, readNumber(key, value));
  } else if (key == "top_p") {
    LORAC_ASSIGN(request.sampling.topP, readNumber(key, value));
  } else if (key == "top_k") {
    LORAC_ASSIGN(uint64_t count, readCount(key, value, INT64_MAX));
    request.sampling.topK = int64_t(count);
  } else if (key == "seed") {
    LORAC_ASSIGN(request.sampling.seed, readCount(key, value, UINT64_MAX));
  } else if (key == "ignore_eos") {
    if (!value.is_boolean())
      return misfit(key, "true or false");
    request.ignoreEos = value.get<bool>();
  } else {
    return false;
  }
  return true;
}

} // namespace

Result<AdapterArgument> parseAdapterArgument(const std::string &text) {
  size_t equals = text.rfind('=');
  std::error_code ignored;
  if (equals == std::string::npos || std::filesystem::exists(text, ignored))
    return AdapterArgument{text, 1.0f};
  std::string_view number = std::string_view(text).substr(equals + 1);
  std::optional<float> strength = parseStrength(number);
  if (!strength)
    return Status(Code::InvalidArgument)
           << "'" << text << "': strength '" << number << "' is not a finite number";
  return AdapterArgument{text.substr(0, equals), *strength};
}

Result<std::vector<uint32_t>> parseTokenList(std::string_view text) {
  std::vector<uint32_t> tokens;
  const char *at = text.data();
  const char *last = at + text.size();
  while (true) {
    while (at != last && *at == ' ')
      ++at;
    uint32_t id = 0;
    auto [end, error] = std::from_chars(at, last, id);
    if (error != std::errc())
      break;
    tokens.push_back(id);
    at = end;
    if (at == last)
      return tokens;
    if (*at != ',')
      break;
    ++at;
  }
  return Status(Code::InvalidArgument) << "'" << text << "' is not a list of token ids such as 1,2,3";
}

Result<PromptRequest> parseRequestLine(std::string_view line, const PromptRequest &defaults) {
  auto noObject = [] {
    return Status(Code::InvalidArgument) << "not a JSON object; write one request a line";
  };
  Json object;
  try {
    object = Json::parse(line);
  } catch (const Json::out_of_range &) {
    return Status(Code::InvalidArgument) << "holds a number beyond f64; write a smaller one";
  } catch (const Json::exception &) {
    return noObject();
  }
  if (!object.is_object())
    return noObject();
  PromptRequest request = defaults;
  size_t prompts = 0;
  for (const auto &[key, value] : object.items()) {
    LORAC_ASSIGN(bool known, readMember(key, value, request));
    if (!known)
      return Status(Code::InvalidArgument) << "no key \"" << key
                                           << "\" is known; a request has prompt, chat or tokens, and "
                                              "system, adapters, max_tokens, temperature, "
                                              "top_p, top_k, seed, ignore_eos";
    prompts += key == "prompt" || key == "chat" || key == "tokens";
  }
  if (prompts != 1)
    return Status(Code::InvalidArgument) << (prompts == 0 ? "none" : "more than one")
                                         << " of \"prompt\", \"chat\" and \"tokens\" is given; give one";
  if (object.contains("system") && request.kind != PromptKind::Chat)
    return Status(Code::InvalidArgument) << "\"system\" goes with \"chat\" alone";
  LORAC_TRY(request.sampling.validate());
  return request;
}

} // namespace lorac::cli
