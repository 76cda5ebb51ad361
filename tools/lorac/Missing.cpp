//===- Missing.cpp - commands of the design that this version does not have -===//
// Their names are fixed, so whoever types one learns what to do instead of "no such command".
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

namespace lorac::cli {

void addMissing(CLI::App &app, int &exitCode) {
  struct Command {
    const char *name;
    const char *instead;
  };
  static constexpr Command Commands[] = {
      {"merge", "adapters stay separate here: run them with lorac run --adapter"},
      {"serve", "lorac run --batch runs many requests together"},
  };
  for (const Command &command : Commands) {
    CLI::App *sub = app.add_subcommand(command.name, "Not in this version; " + std::string(command.instead));
    sub->group("Not in this version");
    sub->allow_extras();
    sub->callback([&exitCode, &command] {
      exitCode = fail(Status(Code::Unsupported)
                      << command.name << ": this version of lorac has no such command; " << command.instead);
    });
  }
}

} // namespace lorac::cli
