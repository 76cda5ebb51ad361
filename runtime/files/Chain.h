//===- Chain.h - the dispatches that a chain may run ------------*- C++ -*-===//
// A Run command stands before the dispatches that its chain may run as one (docs/decisions/0019).
#ifndef LORAC_RUNTIME_FILES_CHAIN_H
#define LORAC_RUNTIME_FILES_CHAIN_H

#include "schemas/model_generated.h"

#include <map>
#include <vector>

namespace lorac {

/// The dispatches that Run, command number `at` of a program, stands before, in order. As far as the program
/// has commands.
std::vector<const fbs::Command *> linksOfRun(const fbs::Program &program, uint32_t at);

/// What a chain binds: the bindings of its links, in order. Its words follow (schemas/Chain.h).
std::vector<const fbs::Binding *> bindingsOf(const fbs::Model &model, const fbs::Chain &chain);

/// By chain, the first command of a program that runs all of it: what it binds serves the links that have
/// nothing to do in a run of a part.
std::map<uint32_t, uint32_t> wholeRuns(const fbs::Model &model, const fbs::Program &program);

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_CHAIN_H
