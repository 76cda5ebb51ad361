//===- main.cpp - lorac, the driver ----------------------------------------===//
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <new>
#include <unistd.h>

using namespace lorac;

namespace {

/// The name of the mapped file that holds `address`, from /proc/self/maps ("begin-end rights offset device
/// inode name"), without anything that a signal handler may not call. Empty where there is none.
void nameMapping(uint64_t address, char *name, size_t capacity) {
  name[0] = '\0';
  int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  char line[4352], byte;
  size_t length = 0;
  while (maps >= 0 && ::read(maps, &byte, 1) == 1) {
    if (byte != '\n') {
      if (length + 1 < sizeof line)
        line[length++] = byte;
      continue;
    }
    line[length] = '\0';
    length = 0;
    uint64_t bounds[2] = {0, 0};
    const char *at = line;
    for (uint64_t &bound : bounds) {
      for (; *at != '-' && *at != ' ' && *at != '\0'; ++at)
        bound = bound * 16 + uint64_t(*at <= '9' ? *at - '0' : *at - 'a' + 10);
      at += *at != '\0';
    }
    const char *path = std::strchr(at, '/');
    if (bounds[0] <= address && address < bounds[1] && path && std::strlen(path) < capacity) {
      std::strcpy(name, path); // NOLINT(bugprone-not-null-terminated-result): it fits
      break;
    }
  }
  if (maps >= 0)
    ::close(maps);
}

/// A mapped file that somebody cuts short, or whose disk fails, is met in the middle of reading it
/// (support/Files.h). Nothing can go on then, but the end is an error like any other. What was being written
/// has no name yet.
void onBusError(int, siginfo_t *info, void *) {
  auto tell = [](const char *text) { static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text))); };
  char name[4096];
  nameMapping(reinterpret_cast<uint64_t>(info->si_addr), name, sizeof name);
  tell("lorac: error: ");
  tell(name[0] != '\0' ? name : "a file");
  tell(": became shorter while it was read, or its disk failed; replace files whole instead of writing into "
       "them\n");
  ::_exit(cli::ExitFailed);
}

} // namespace

CLI::Validator cli::wholeNumber(uint64_t least, uint64_t most) {
  return CLI::Validator(
      [least, most](std::string &text) {
        uint64_t number = 0;
        const char *end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, number);
        if (error == std::errc() && at == end && number >= least && number <= most)
          return std::string();
        return "'" + text + "' is no whole number " +
               (most == UINT64_MAX && error != std::errc::result_out_of_range
                    ? "of at least " + std::to_string(least)
                    : "from " + std::to_string(least) + " to " + std::to_string(most));
      },
      "");
}

int main(int argc, char **argv) {
  // A reader that closes stdout is an error like any other (Console.h, print), not the end without a word.
  std::signal(SIGPIPE, SIG_IGN);
  struct sigaction onBus = {};
  onBus.sa_sigaction = onBusError;
  onBus.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &onBus, nullptr);

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
  cli::addBench(app, exitCode);
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
