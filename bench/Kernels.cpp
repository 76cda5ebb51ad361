// Kernels.cpp - linear over matrices beyond the cache, beside what the device reads at best: kernels_bench
// [--matrix=ROWSxK]
// [--variant=texel|storage|plain] [--mebibytes=N] and Google Benchmark's own options.
// A case cycles over copies of its matrix, N MiB of them, in one command buffer. `raw` is its bytes a second
// over the best raw read (16 bytes a lane, texel buffer or storage buffer), timed in turn with the case
// itself, so that a machine's mood meets both.
#include "bench/KernelRunner.h"
#include "bench/Random.h"
#include "support/Checked.h"
#include "tests/shaders/Packed.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace lorac;
using namespace lorac::bench;
using shader::PackedMatrix;
using shader::PackedType;

namespace {

constexpr uint32_t Lanes = VulkanLanes;
constexpr uint32_t MaxRows = 64;

struct Options {
  uint32_t rows = 4096, k = 4096;
  std::string variant = "texel";
  size_t bytes = size_t(96) << 20;
};

/// A step's rows, and how compiler/passes/Select.cpp blocks them.
struct RowClass {
  const char *name;
  uint32_t rows, blockRows;
};
constexpr RowClass RowClasses[] = {{"one", 1, 1}, {"few", 8, 8}, {"many", MaxRows, 8}};
constexpr uint32_t LaneTiles = 4;

/// The runner, x and y, and the raw reads that every case is held against.
class Bench {
public:
  explicit Bench(Options options) : options(std::move(options)) {
    Random random{1};
    x = runner.buffer(size_t(MaxRows) * roundedK() * 4);
    auto *values = reinterpret_cast<float *>(x->data);
    for (size_t i = 0; i < x->bytes / 4; ++i)
      values[i] = float(int64_t(random.next() >> 40) - (1 << 23)) * 0x1p-23f;
    y = runner.buffer(size_t(MaxRows) * this->options.rows * 4);
    const uint32_t pieces = 2048 * Lanes, groups = uint32_t(this->options.bytes / (pieces * 16));
    rawBytes = double(groups) * pieces * 16;
    const auto *source = runner.buffer(this->options.bytes);
    for (size_t i = 0; i < source->bytes / 8; ++i)
      reinterpret_cast<uint64_t *>(source->data)[i] = random.next();
    const auto *sink = runner.buffer(size_t(groups) * Lanes * 4);
    auto record = [&](bool texel) {
      Result<std::vector<uint32_t>> spirv = compileRawRead(texel, Lanes);
      if (!spirv)
        throw VulkanFailure(spirv.status().message());
      const VkFormat format = texel ? VK_FORMAT_R32G32B32A32_UINT : VK_FORMAT_UNDEFINED;
      const KernelRunner::Dispatch dispatch = {
          runner.kernel(*spirv, {format, VK_FORMAT_UNDEFINED}, 1), {source, sink}, {pieces}, groups, 1};
      return runner.record({&dispatch, 1});
    };
    raw[0] = record(true);
    raw[1] = record(false);
    for (VkCommandBuffer commands : raw) // builds the machine code
      runner.run(commands);
  }

  const std::string &device() const { return runner.device(); }

  void rawRead(benchmark::State &state, int kind) {
    for (auto _ : state)
      state.SetIterationTime(runner.run(raw[kind]));
    state.counters["GB/s"] =
        benchmark::Counter(rawBytes / 1e9, benchmark::Counter::kIsIterationInvariantRate);
  }

  void linear(benchmark::State &state, const PackedType &type, const RowClass &rowClass) {
    prepare(type, rowClass);
    std::vector<double> rawTimes[2];
    for (auto _ : state) {
      for (int kind : {0, 1})
        rawTimes[kind].push_back(runner.run(raw[kind]));
      state.SetIterationTime(runner.run(commands));
    }
    double best = 0.0;
    for (std::vector<double> &times : rawTimes) {
      std::nth_element(times.begin(), times.begin() + long(times.size() / 2), times.end());
      best = std::max(best, rawBytes / times[times.size() / 2]);
    }
    const double bytes = double(matrixBytes) * double(copies.size());
    const double weights = double(options.rows) * options.k * double(copies.size());
    auto rate = [&](double amount) {
      return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
    };
    state.counters["GB/s"] = rate(bytes / 1e9);
    state.counters["Gweights/s"] = rate(weights / 1e9);
    state.counters["raw"] = rate(bytes / best);
    state.counters["ms"] =
        benchmark::Counter(double(copies.size()) / 1e3,
                           benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
    if (rowClass.rows > 1)
      state.counters["GFLOP/s"] = rate(weights * 2 * rowClass.rows / 1e9);
  }

private:
  uint32_t roundedK() const { return (options.k + 31) / 32 * 32; }

  /// Commands of one case; Google Benchmark asks several times for the same.
  void prepare(const PackedType &type, const RowClass &rowClass) {
    if (preparedType == &type && preparedClass == &rowClass)
      return;
    if (preparedType != &type)
      writeMatrix(type);
    const KernelRequest request = {"linear",
                                   {{"ROWS", rowClass.blockRows},
                                    {"TILES", LaneTiles},
                                    {"WEIGHT", type.weight},
                                    {"GROUP", type.group},
                                    {"HAS_SCALES", type.hasScales},
                                    {"HAS_PAIRS", type.hasPairs},
                                    {"ZERO_POINT", type.zeroPoint},
                                    {"NESTED", type.nested},
                                    {"TAIL", type.tail(options.k)},
                                    {"COMBINE", 1},
                                    {"HAS_BIAS", 0},
                                    {"HAS_OPERAND0", 0},
                                    {"HAS_OPERAND1", 0},
                                    {"ADAPTERS", 0},
                                    {"GATHERED", 0},
                                    {"T_PARTS", 1},
                                    {"HEAD", 0}},
                                   {}};
    const KernelRunner::Kernel *kernel = runner.kernel(request, options.variant);
    const uint32_t tiles = options.rows / 8, none = ~0u;
    std::vector<KernelRunner::Dispatch> dispatches;
    for (const std::vector<KernelRunner::View> &views : copies)
      dispatches.push_back({kernel,
                            views,
                            {rowClass.rows, options.k, roundedK() / 4, options.rows, tiles, none, none, none,
                             0, 0, 0, 0, 0, 0},
                            uint32_t(ceilDiv(options.rows, Lanes * LaneTiles)),
                            uint32_t(ceilDiv(rowClass.rows, rowClass.blockRows))});
    commands = runner.record(dispatches);
    runner.run(commands); // builds the machine code
    preparedType = &type;
    preparedClass = &rowClass;
  }

  /// As many copies of a random matrix as fit, all in one buffer that the types take in turn.
  void writeMatrix(const PackedType &type) {
    preparedType = nullptr;
    Random random{1};
    PackedMatrix w = shader::randomPacked(type, options.rows, options.k, random);
    // Exponents as weights have them (2^-15 to 1): with random ones, products of f32 and bf16 are subnormal
    // now and then, which some processors pay for with many times a multiplication's time.
    if (type.weight == 0 || type.weight == 2)
      for (uint32_t &word : w.codes)
        word = type.weight == 0 ? (word & 0x87ffffffu) | 0x38000000u : (word & 0x87ff87ffu) | 0x38003800u;
    matrixBytes = w.codes.size() * 4 + w.scales.size() * 4 + w.pairs.size() * 8 + w.nested.size() * 4;
    const size_t whole = matrixBytes + 6 * 256 + w.map.size() * 4,
                 count = std::max<size_t>(options.bytes / whole, 1);
    if (!arena)
      arena = runner.buffer(std::max(options.bytes, size_t(options.rows) * roundedK() * 5));
    copies.clear();
    size_t used = 0;
    auto put = [&](const auto &plane) {
      const size_t bytes = plane.size() * sizeof(plane[0]), offset = used;
      std::memcpy(arena->data + offset, plane.data(), bytes);
      used = (used + bytes + 255) / 256 * 256;
      return KernelRunner::View(arena, offset, bytes);
    };
    for (size_t i = 0; i < count; ++i) {
      std::vector<KernelRunner::View> views = {put(w.codes), x, y};
      if (type.hasScales)
        views.push_back(put(w.scales));
      if (type.hasPairs)
        views.push_back(put(w.pairs));
      if (type.nested) {
        views.push_back(put(w.nested));
        views.push_back(put(w.map));
      }
      copies.push_back(std::move(views));
    }
  }

  Options options;
  KernelRunner runner;
  const KernelRunner::Buffer *x = nullptr, *y = nullptr, *arena = nullptr;
  VkCommandBuffer raw[2] = {}, commands = nullptr;
  double rawBytes = 0.0;
  const PackedType *preparedType = nullptr;
  const RowClass *preparedClass = nullptr;
  std::vector<std::vector<KernelRunner::View>> copies;
  size_t matrixBytes = 0; ///< of one copy
};

/// Takes our options out of the arguments; false for a bad value.
bool takeOptions(int &count, char **arguments, Options &options) {
  int kept = 1;
  for (int i = 1; i < count; ++i) {
    const char *argument = arguments[i];
    unsigned long mebibytes = 0;
    if (std::strncmp(argument, "--matrix=", 9) == 0) {
      if (std::sscanf(argument + 9, "%ux%u", &options.rows, &options.k) != 2 || options.rows == 0 ||
          options.rows % 8 != 0 || options.k == 0)
        return std::fprintf(stderr, "kernels_bench: %s: expected ROWSxK, ROWS a multiple of 8\n", argument),
               false;
    } else if (std::strncmp(argument, "--variant=", 10) == 0) {
      options.variant = argument + 10;
    } else if (std::strncmp(argument, "--mebibytes=", 12) == 0) {
      if (std::sscanf(argument + 12, "%lu", &mebibytes) != 1 || mebibytes == 0 || mebibytes > 2047)
        return std::fprintf(stderr, "kernels_bench: %s: expected 1 to 2047\n", argument), false;
      options.bytes = size_t(mebibytes) << 20;
    } else {
      arguments[kept++] = arguments[i];
    }
  }
  count = kept;
  return true;
}

} // namespace

int main(int count, char **arguments) {
  Options options;
  if (!takeOptions(count, arguments, options))
    return 2;
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments))
    return 2;
  try {
    Bench bench(options);
    std::printf("%s, matrix %u x %u, variant %s\n", bench.device().c_str(), options.rows, options.k,
                options.variant.c_str());
    auto add = [](const std::string &name, auto function) {
      benchmark::RegisterBenchmark(name.c_str(), function)->UseManualTime()->Unit(benchmark::kMillisecond);
    };
    add("raw/texel", [&](benchmark::State &state) { bench.rawRead(state, 0); });
    add("raw/storage", [&](benchmark::State &state) { bench.rawRead(state, 1); });
    for (const PackedType &type : shader::PackedTypes) {
      if (type.group != 0 && options.k % type.group != 0)
        continue;
      for (const RowClass &rowClass : RowClasses)
        add("linear/" + std::string(type.name) + "/" + rowClass.name,
            [&](benchmark::State &state) { bench.linear(state, type, rowClass); });
    }
    benchmark::RunSpecifiedBenchmarks();
  } catch (const VulkanFailure &failure) {
    std::fprintf(stderr, "kernels_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}
