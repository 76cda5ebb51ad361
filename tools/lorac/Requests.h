//===- Requests.h - what a user asks run to do, read and checked -*- C++ -*-===//
// Text to values, without a model or a device. InvalidArgument says what is wrong with the text.
#ifndef LORAC_TOOLS_LORAC_REQUESTS_H
#define LORAC_TOOLS_LORAC_REQUESTS_H

#include "runtime/text/Sampler.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::cli {

struct AdapterArgument {
  std::string path;
  float strength = 1.0f;
};
/// `PATH` or `PATH=STRENGTH`. A text that names an existing file as it stands is a path.
Result<AdapterArgument> parseAdapterArgument(const std::string &text);

/// Ids separated by commas, at least one.
Result<std::vector<uint32_t>> parseTokenList(std::string_view text);

enum class PromptKind { Text, Chat, Tokens };

/// One generation. The same for the options of a single run and for a line of `--batch`.
struct PromptRequest {
  PromptKind kind = PromptKind::Text;
  std::string text; ///< of Text and Chat
  std::optional<std::string> system;
  std::vector<uint32_t> tokens;
  std::vector<AdapterArgument> adapters;
  std::optional<uint32_t> maxTokens;
  SamplerOptions sampling;
  bool ignoreEos = false;
};

/// A line of a requests file: one JSON object with one of "prompt", "chat", "tokens", and what else the
/// command line documents. What it does not say is as in `defaults`; a key that is not known is refused.
Result<PromptRequest> parseRequestLine(std::string_view line, const PromptRequest &defaults);

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_REQUESTS_H
