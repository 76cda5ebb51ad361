//===- Chain.cpp ----------------------------------------------------------===//
#include "runtime/files/Chain.h"

namespace lorac {

std::vector<const fbs::Command *> linksOfRun(const fbs::Program &program, uint32_t at) {
  const auto &commands = *program.commands();
  std::vector<const fbs::Command *> links;
  for (uint32_t i = 0; i < commands[at]->commands() && at + 1 + i < commands.size(); ++i)
    if (const fbs::Command *command = commands[at + 1 + i]; command->kind() == fbs::CommandKind::Dispatch)
      links.push_back(command);
  return links;
}

std::vector<const fbs::Binding *> bindingsOf(const fbs::Model &model, const fbs::Chain &chain) {
  std::vector<const fbs::Binding *> bindings;
  for (uint32_t link : *chain.kernels()) {
    const auto &own = *model.kernels()->Get(link)->bindings();
    bindings.insert(bindings.end(), own.begin(), own.end());
  }
  return bindings;
}

std::map<uint32_t, uint32_t> wholeRuns(const fbs::Model &model, const fbs::Program &program) {
  std::map<uint32_t, uint32_t> runs;
  for (uint32_t at = 0; at < program.commands()->size(); ++at)
    if (const fbs::Command &command = *program.commands()->Get(at);
        command.kind() == fbs::CommandKind::Run &&
        linksOfRun(program, at).size() == model.chains()->Get(command.kernel())->kernels()->size())
      runs.emplace(command.kernel(), at);
  return runs;
}

} // namespace lorac
