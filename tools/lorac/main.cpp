//===- main.cpp - lorac, the driver ----------------------------------------===//
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

#include <csignal>
#include <iostream>
#include <new>

using namespace lorac;

int main(int argc, char **argv) {
  // A reader that closes stdout is an error like any other (Console.h, print), not the end without a word.
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app("Lorac compiles decoder-only Transformers with frozen plus low-rank linears, and runs them.\n"
               "Exit codes: 0 done; 1 the input or the device failed; 2 wrong usage.",
               "lorac");
  app.set_version_flag("--version", "lorac " LORAC_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  lorac compile smollm2.gguf -o smollm2.lorac\n"
      "  lorac adapter examples/adapters/support --base smollm2.lorac -o support.lora\n"
      "  lorac run smollm2.lorac --adapter support.lora=0.5 --chat \"What is the capital of France?\"\n"
      "\nEach command has its own --help.");
  int exitCode = cli::ExitDone;
  cli::addCompile(app, exitCode);
  cli::addAdapter(app, exitCode);
  cli::addRun(app, exitCode);
  cli::addInspect(app, exitCode);
  cli::addDevices(app, exitCode);
  cli::addMissing(app, exitCode);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &asked) { // --help, --version
    app.exit(asked, std::cout, std::cerr);
    Status printed = cli::print("");
    return printed ? cli::ExitDone : cli::fail(printed);
  } catch (const CLI::Error &error) {
    std::string command = "lorac";
    for (const CLI::App *given : app.get_subcommands())
      command += " " + given->get_name();
    return cli::misuse(error.what(), command);
  } catch (const std::bad_alloc &) {
    return cli::fail(Status(Code::OutOfMemory)
                     << "host memory ran out; use a smaller context, fewer adapters or a machine with more");
  } catch (const std::exception &error) {
    return cli::fail(Status(Code::Internal)
                     << error.what() << "; report this with the command that you gave");
  }
  return exitCode;
}
