//===- Commands.h - the subcommands of lorac --------------------*- C++ -*-===//
// Each adds its options and, when it is the one given, runs and sets `exitCode`. Wrong usage that shows only
// when options are read together is thrown as CLI::ValidationError, which main() reports like CLI11's own.
#ifndef LORAC_TOOLS_LORAC_COMMANDS_H
#define LORAC_TOOLS_LORAC_COMMANDS_H

#include <CLI/CLI.hpp>
#include <cstdint>

namespace lorac::cli {

/// Checks an option that is a whole number from `least` to `most`. CLI11's own ranges count in floating
/// point, and say so.
CLI::Validator wholeNumber(uint64_t least, uint64_t most);

void addCompile(CLI::App &app, int &exitCode);
void addAdapter(CLI::App &app, int &exitCode);
void addRun(CLI::App &app, int &exitCode);
void addBench(CLI::App &app, int &exitCode);
void addInspect(CLI::App &app, int &exitCode);
void addDevices(CLI::App &app, int &exitCode);
/// merge and serve: commands of the design that this version does not have; each says so.
void addMissing(CLI::App &app, int &exitCode);

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_COMMANDS_H
