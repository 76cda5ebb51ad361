//===- Console.cpp - what the driver says and where -----------------------===//
#include "tools/lorac/Console.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <unistd.h>

namespace lorac::cli {
namespace {

/// One line: names from files may hold line ends and escape sequences, which a terminal would obey.
std::string oneLine(std::string_view text) {
  std::string line;
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)
      line += c;
    else if (c == '\n' && (line.empty() || line.back() != ' '))
      line += ' ';
    else if (c != '\n') {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      line += escaped;
    }
  }
  while (!line.empty() && line.back() == ' ')
    line.pop_back();
  return line;
}

int64_t milliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

} // namespace

int fail(const Status &status) {
  std::string text = "lorac: error: " + oneLine(status.message()) + "\n";
  for (const std::string &line : status.notes())
    text += "note: " + oneLine(line) + "\n";
  std::cerr << text << std::flush;
  return ExitFailed;
}

int misuse(const std::string &message, const std::string &command) {
  std::cerr << "lorac: error: " << oneLine(message) << "\nnote: see " << command << " --help\n" << std::flush;
  return ExitMisuse;
}

void note(std::string_view text) { std::cerr << "note: " << oneLine(text) << "\n" << std::flush; }

Status print(std::string_view text) {
  std::cout << text << std::flush;
  if (!std::cout)
    return Status(Code::Io) << "standard output: cannot write: the reader is gone or the disk is full; "
                               "nothing more is printed";
  return {};
}

std::string jsonLine(const Json &value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status printJson(const Json &value) { return print(jsonLine(value)); }

Progress::Progress() : terminal(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown)
    std::cerr << "\r\x1b[K" << std::flush;
}

void Progress::update(std::string_view what, uint64_t done, uint64_t total) {
  constexpr int64_t Interval = 50;
  constexpr size_t Width = 30;
  int64_t now = milliseconds();
  if (!terminal || total == 0 || (lastShown >= 0 && now - lastShown < Interval && done < total))
    return;
  lastShown = now;
  shown = true;
  size_t filled = size_t(double(std::min(done, total)) / double(total) * double(Width));
  std::cerr << "\r\x1b[K[" << std::string(filled, '#') << std::string(Width - filled, '.') << "] "
            << oneLine(what) << std::flush;
}

std::string byteText(uint64_t bytes) {
  if (bytes < 1024)
    return std::to_string(bytes) + " bytes";
  const char *units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, units[unit]);
  return text;
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : "%.3g", value);
  return text;
}

} // namespace lorac::cli
