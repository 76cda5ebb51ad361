//===- Stats.h - what run --stats prints ------------------------*- C++ -*-===//
#ifndef LORAC_TOOLS_LORAC_STATS_H
#define LORAC_TOOLS_LORAC_STATS_H

#include "runtime/engine/Batch.h"
#include "tools/lorac/Console.h"

#include <chrono>
#include <string>

namespace lorac::cli {

class Timer {
public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }

private:
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
};

/// Times of the tokens that came, all requests together.
class TokenClock {
public:
  using Clock = std::chrono::steady_clock;
  void start() { began = Clock::now(); }
  /// True for the first one.
  bool token();
  void stop() { ended = Clock::now(); }

  double total() const { return seconds(began, ended); }
  /// Until the first token; all of it where none came.
  double untilFirst() const { return tokens > 0 ? seconds(began, first) : total(); }
  /// Tokens a second between the second token and the last: the first step of each program makes its
  /// pipelines, and the second token's is the first that decodes. 0 where fewer than three came.
  double decodeRate() const;

private:
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
  Clock::time_point began, first, second, last, ended;
  uint64_t tokens = 0;
};

struct RunStats {
  std::string device;
  DeviceCounters counters;
  Batch::Counters batch;
  uint64_t poolBytes = 0;
  double openSeconds = 0;                  ///< from the start of the command to where requests begin
  double fileSeconds = 0, textSeconds = 0; ///< Session's, parts of openSeconds
  TokenClock clock;
  uint64_t firstPipelineNanoseconds = 0; ///< the counter's value at the first token, or at the end

  /// From the start of the command to the first token, and what of it neither the file nor the driver took.
  double startSeconds() const { return openSeconds + clock.untilFirst(); }
  double ownStartSeconds() const;

  /// The stable form.
  Json json() const;
  /// For people, a line for each group.
  std::string text() const;
};

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_STATS_H
