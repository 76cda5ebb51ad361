//===- Console.h - what the driver says and where ---------------*- C++ -*-===//
// Results go to stdout, errors, notes and progress to stderr. Exit codes: 0 done, 1 the input or the device
// failed, 2 wrong usage.
#ifndef LORAC_TOOLS_LORAC_CONSOLE_H
#define LORAC_TOOLS_LORAC_CONSOLE_H

#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lorac::cli {

/// Objects keep the order in which their members were added.
using Json = nlohmann::ordered_json;

constexpr int ExitDone = 0;
constexpr int ExitFailed = 1;
constexpr int ExitMisuse = 2;

/// `lorac: error: ` and the message on one line, each note as `note: ` on its own; returns ExitFailed.
int fail(const Status &status);
/// Wrong usage: the same form, and where help is.
int misuse(const std::string &message, const std::string &command);
/// One `note: ` line on stderr.
void note(std::string_view text);

/// Text for stdout, at once. Io where stdout does not take it.
Status print(std::string_view text);
/// As one line of JSON; bytes that are not UTF-8 (paths may hold them) become U+FFFD.
Status printJson(const Json &value);
std::string jsonLine(const Json &value);

/// A bar on stderr's last line while stderr is a terminal, else nothing. Gone when destroyed.
class Progress {
public:
  Progress();
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;
  void update(std::string_view what, uint64_t done, uint64_t total);

private:
  bool terminal;
  int64_t lastShown = -1; // milliseconds
  bool shown = false;
};

/// "93.8 MiB"; below 1024 "17 bytes".
std::string byteText(uint64_t bytes);
/// Three significant digits or more: "0.0312", "7.41", "123".
std::string decimal(double value);

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_CONSOLE_H
