//===- BenchReport.h - what lorac bench measured ----------------*- C++ -*-===//
// Values alone, and the two ways to say them. The object of --json is a stable form: addBench's help lists
// it.
#ifndef LORAC_TOOLS_LORAC_BENCHREPORT_H
#define LORAC_TOOLS_LORAC_BENCHREPORT_H

#include "runtime/device/Device.h"
#include "tools/lorac/Console.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac::cli {

/// Of a figure that was measured several times.
struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
  static Spread of(std::vector<double> values);
  /// 0 for no values.
  Json json() const;
};

/// The device reading one buffer, in one way.
struct RawRead {
  std::string way; ///< "texel" or "storage"
  uint32_t lanes = 0;
  uint64_t bytes = 0; ///< a repetition's
  Spread bytesPerSecond;
};

/// One kind of dispatch of a phase.
struct KernelLine {
  std::string program;
  std::string kernel;  ///< of the catalog
  std::string weights; ///< that it reads; empty: none
  double calls = 0;    ///< a unit
  Spread seconds;      ///< a unit's, over the units that were timed dispatch by dispatch
  double bytes = 0;    ///< a unit's, mean
};

/// Prompts fed, or tokens decoded. A unit is all prompts, or one step that gives each sequence one token.
struct Phase {
  uint64_t tokens = 0; ///< a unit's
  Spread seconds;      ///< a unit's; of decoding, means over the steps of a repetition
  Spread tokensPerSecond;
  DeviceCounters counts; ///< of `units` units; only what grows from step to step
  uint64_t units = 1;
  std::vector<KernelLine>
      kernels; ///< in the order in which they first ran; none where the device has no clock
};

struct BenchCase {
  std::string name; ///< "base" or "adapters"
  Phase prompt, decode;
};

struct BenchReport {
  struct Adapter {
    std::string path;
    double strength = 1;
  };
  std::string model, device;
  uint64_t promptLength = 0, newTokens = 0, batch = 0, distinctAdapters = 0, repetitions = 0, maxRows = 0;
  std::vector<Adapter> adapters;

  std::vector<RawRead> rawReads;
  std::vector<BenchCase> cases;
  /// Times with adapters over times of the base, a pair a repetition; where there are both.
  std::optional<std::array<Spread, 2>> adaptersOverBase; ///< prompt, decode

  DeviceCounters total; ///< since the model was opened: what was allocated, uploaded and made
  std::vector<std::pair<std::string, uint64_t>> spaceBytes; ///< by space
  double openSeconds = 0;
  std::string noKernels; ///< why no phase has kernels; empty where they have

  /// The fastest of rawReads; 0 where none was measured.
  double bestRead() const;
  Json json() const;
  std::string text() const;
};

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_BENCHREPORT_H
