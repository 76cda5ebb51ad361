// Lines of a requests file, and the two texts that a command line brings.
#include "tools/lorac/Requests.h"
#include "tests/fuzz/Fuzz.h"

#include <cmath>

using namespace lorac;
using namespace lorac::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view text = textOf(data, size);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    Result<cli::PromptRequest> request = cli::parseRequestLine(text.substr(begin, end - begin), {});
    requireTyped(request.status());
    if (request) {
      requireTyped(request->sampling.validate());
      require(request->sampling.validate().isOk(), "a request's sampling is one that can be done");
      require(request->kind == cli::PromptKind::Chat || !request->system, "system goes with chat alone");
      require(request->kind == cli::PromptKind::Tokens || request->tokens.empty(), "one prompt, not two");
      for (const cli::AdapterArgument &adapter : request->adapters)
        require(std::isfinite(adapter.strength), "a strength is finite");
    }
    begin = end + 1;
  }
  Result<std::vector<uint32_t>> tokens = cli::parseTokenList(text);
  requireTyped(tokens.status());
  require(!tokens || !tokens->empty(), "a list of tokens has one");
  Result<cli::AdapterArgument> adapter = cli::parseAdapterArgument(std::string(text));
  requireTyped(adapter.status());
  require(!adapter || std::isfinite(adapter->strength), "a strength is finite");
  return 0;
}
