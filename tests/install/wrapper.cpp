// A program outside the tree in C++, over lorac.hpp:
//   wrapper                                   the library's own error for a file that does not exist
//   wrapper MODEL BUNDLE STRENGTH ID...       new ids of base and adapter: generated with callbacks, then by
//   hand, step by step
#include "lorac/lorac.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace api = lorac::api;

namespace {

constexpr unsigned NewTokens = 8;

void print(const char *how, const std::vector<uint32_t> &tokens) {
  std::printf("%s", how);
  for (uint32_t token : tokens)
    std::printf(" %u", unsigned(token));
  std::printf("\n");
}

/// Greedy decoding over Sequence and step alone.
std::vector<uint32_t> decode(api::Engine &engine, const api::Stack &stack,
                             const std::vector<uint32_t> &prompt) {
  api::Sequence sequence = engine.createSequence(stack);
  std::vector<uint32_t> made;
  std::vector<lorac_step_row> rows;
  for (uint32_t token : prompt)
    rows.push_back({sequence.get(), token, 0});
  while (made.size() < NewTokens) {
    rows.back().want_logits = 1;
    std::vector<float> logits = engine.step(rows);
    made.push_back(uint32_t(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    rows.assign(1, {sequence.get(), made.back(), 0});
  }
  return made;
}

int run(char **arguments, int count) {
  api::Model model(arguments[0]);
  lorac_engine_options options = LORAC_INIT(lorac_engine_options);
  options.sequences = 4;
  api::Engine engine(model, options);
  api::Adapter adapter = engine.loadAdapter(arguments[1]);
  std::vector<uint32_t> prompt;
  for (int i = 3; i < count; ++i)
    prompt.push_back(uint32_t(std::strtoul(arguments[i], nullptr, 10)));
  std::vector<api::Stack> stacks = {{}, {{adapter.get(), std::strtof(arguments[2], nullptr)}}};

  std::vector<std::vector<uint32_t>> heard(stacks.size());
  std::vector<api::Request> requests(stacks.size());
  for (size_t i = 0; i < stacks.size(); ++i) {
    requests[i].tokens = prompt;
    requests[i].stack = stacks[i];
    requests[i].maxTokens = NewTokens;
    requests[i].ignoreEos = true;
    requests[i].onToken = [&heard, i](uint32_t token, const std::string &) {
      heard[i].push_back(token);
      return true;
    };
  }
  std::vector<api::Outcome> outcomes = engine.generate(requests);
  for (size_t i = 0; i < stacks.size(); ++i) {
    if (outcomes[i].code != LORAC_OK || outcomes[i].finish != LORAC_FINISH_LENGTH ||
        heard[i] != outcomes[i].tokens)
      return 4;
    print("generated", outcomes[i].tokens);
    print("stepped", decode(engine, stacks[i], prompt));
  }
  std::printf("devices %zu\n", api::devices().size());
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (lorac_api_version() != LORAC_API_VERSION)
    return 3;
  try {
    if (argc > 4)
      return run(argv + 1, argc - 1);
    api::Model model("missing.lorac");
  } catch (const api::Error &error) {
    std::printf("%s %s: %s\n", lorac_version(), lorac_code_name(error.code()), error.what());
    return 0;
  }
  return 4;
}
