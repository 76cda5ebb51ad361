//===- Bench.cpp - lorac bench ----------------------------------------------===//
// Prompts fed and tokens decoded, the base and the adapters in turn, so that what else the machine does meets
// both alike; then each kernel beside what the device reads at most.
#include "compiler/kernels/KernelCompiler.h"
#include "runtime/files/Expression.h"
#include "runtime/text/Sampler.h"
#include "support/Checked.h"
#include "tools/lorac/BenchReport.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/KernelBytes.h"
#include "tools/lorac/Requests.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace lorac::cli {
namespace {

constexpr uint32_t DefaultPromptLength = 128;
constexpr uint32_t DefaultNewTokens = 32;
constexpr uint32_t DefaultRepetitions = 7;
/// Beyond the caches of what is sold today; what most devices bind as one storage buffer.
constexpr uint64_t DefaultReadBytes = 128ull << 20;
/// Passes whose dispatches are timed one by one; each has one round of raw reads beside it.
constexpr uint32_t ProfiledPasses = 3;
constexpr uint32_t ReadsARound = 3;
constexpr uint32_t WarmUpTokens = 2;

struct BenchOptions {
  std::string model;
  std::vector<std::string> adapterTexts;
  std::vector<AdapterArgument> adapters;
  uint32_t promptLength = DefaultPromptLength;
  uint32_t newTokens = DefaultNewTokens;
  uint32_t batch = 1;
  uint32_t distinctAdapters = 0; ///< 0: the bundles are one stack
  uint32_t repetitions = DefaultRepetitions;
  uint32_t maxRows = 0;
  uint64_t readBytes = DefaultReadBytes;
  std::string device = "auto";
  bool acceptBase = false;
  bool noKernels = false;
  bool json = false;
};

/// What can be said about the options without a model. Throws CLI::ValidationError.
DeviceSpec checkOptions(BenchOptions &options, bool distinctGiven) {
  auto refuse = [](const std::string &why) { throw CLI::ValidationError(why); };
  for (const std::string &text : options.adapterTexts) {
    Result<AdapterArgument> adapter = parseAdapterArgument(text);
    if (!adapter)
      refuse(adapter.status().message());
    options.adapters.push_back(*adapter);
  }
  if (distinctGiven && options.adapters.empty())
    refuse("--distinct-adapters needs at least one --adapter");
  if (distinctGiven && options.distinctAdapters < options.adapters.size())
    refuse("--distinct-adapters is " + std::to_string(options.distinctAdapters) + ", but " +
           std::to_string(options.adapters.size()) + " bundles are given; give at least as many");
  if (distinctGiven && options.distinctAdapters > options.batch)
    refuse("--distinct-adapters is " + std::to_string(options.distinctAdapters) + ", but --batch is " +
           std::to_string(options.batch) + ": a sequence has one of them; give a batch at least as large");
  Result<DeviceSpec> spec = DeviceSpec::parse(options.device);
  if (!spec)
    refuse(spec.status().message());
  return *std::move(spec);
}

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

/// What was done between two readings.
DeviceCounters difference(const DeviceCounters &after, const DeviceCounters &before) {
  DeviceCounters result;
  result.steps = after.steps - before.steps;
  result.dispatches = after.dispatches - before.dispatches;
  result.adapterDispatches = after.adapterDispatches - before.adapterDispatches;
  result.barriers = after.barriers - before.barriers;
  result.stepBytesUploaded = after.stepBytesUploaded - before.stepBytesUploaded;
  for (size_t i = 0; i < after.dispatchesByKernel.size(); ++i)
    result.dispatchesByKernel.emplace_back(after.dispatchesByKernel[i].first,
                                           after.dispatchesByKernel[i].second -
                                               before.dispatchesByKernel[i].second);
  return result;
}

/// Joins the dispatches of one phase by program, kernel and weights, a unit at a time.
class KernelTimes {
public:
  KernelTimes(const Engine &engine, const KernelBytes &bytes) : engine(engine), bytes(bytes) {}

  void add(const RunProfile &run, double attended) {
    for (const DispatchTime &dispatch : run.dispatches) {
      Line &line = lineOf(run.program, dispatch.command);
      line.unitSeconds += dispatch.seconds;
      line.bytes += bytes.of(run.program, dispatch.command, run.symbols, attended);
      ++line.calls;
    }
  }
  void endUnit() {
    ++units;
    for (Line &line : lines)
      line.seconds.push_back(std::exchange(line.unitSeconds, 0));
  }
  std::vector<KernelLine> result() const {
    std::vector<KernelLine> list;
    for (const Line &line : lines) {
      list.push_back(line.line);
      list.back().calls = double(line.calls) / double(units);
      list.back().bytes = line.bytes / double(units);
      list.back().seconds = Spread::of(line.seconds);
    }
    return list;
  }

private:
  struct Line {
    KernelLine line;
    double unitSeconds = 0;
    std::vector<double> seconds; ///< by unit
    double bytes = 0;
    uint64_t calls = 0;
  };

  Line &lineOf(size_t program, uint32_t command) {
    auto [place, isNew] = index.try_emplace({program, command}, 0);
    if (!isNew)
      return lines[place->second];
    KernelLine line;
    line.program = engine.model().metadata().programs()->Get(uint32_t(program))->name()->str();
    line.kernel = bytes.kernel(program, command);
    line.weights = bytes.weights(program, command);
    auto same = [&](const Line &other) {
      return other.line.program == line.program && other.line.kernel == line.kernel &&
             other.line.weights == line.weights;
    };
    auto found = std::find_if(lines.begin(), lines.end(), same);
    place->second = size_t(found - lines.begin());
    if (found == lines.end())
      lines.push_back({std::move(line), 0, std::vector<double>(units, 0.0), 0, 0});
    return lines[place->second];
  }

  const Engine &engine;
  const KernelBytes &bytes;
  std::map<std::pair<size_t, uint32_t>, size_t> index; ///< by program and command, into lines
  std::vector<Line> lines;
  size_t units = 0;
};

/// One case: the stack of each sequence, and what was measured of it.
struct Case {
  std::string name;
  std::vector<Stack> stacks;
  std::vector<std::shared_ptr<const AdapterFile>> slots; ///< a bundle for each slot in use
  std::vector<double> promptSeconds, decodeSeconds;      ///< by repetition; decode: a step's mean
  DeviceCounters promptCounts, decodeCounts;             ///< of the last repetition
  std::vector<KernelLine> promptKernels, decodeKernels;
};

class Bench {
public:
  explicit Bench(const BenchOptions &options) : options(options) {}

  Status open(const DeviceSpec &spec);
  Status measure();
  BenchReport report() const;

private:
  Status loadAdapters(const std::vector<std::shared_ptr<const AdapterFile>> &files);
  /// The i-th token of a sequence: no text, but the same in every run.
  uint32_t token(uint64_t sequence, uint64_t position) const {
    return uint32_t(SplitMix64(sequence << 32 | position).next() % engine->vocabSize());
  }
  /// Where a pass puts the times of dispatches; null: it takes none.
  struct Profile {
    KernelTimes *prompt = nullptr;
    KernelTimes *decode = nullptr;
  };
  Status pass(Case &entry, uint32_t newTokens, const Profile *profile);
  Status step(std::span<const StepRow> rows, StepOutput &output, KernelTimes *times);
  Status measureKernels(Progress &progress, uint64_t done, uint64_t all);
  Status readRaw();
  std::vector<std::pair<std::string, uint64_t>> spaceBytes() const;

  const BenchOptions &options;
  std::shared_ptr<Engine> engine;
  std::vector<Case> cases;
  struct Reader {
    std::string way;
    ReadKernel kernel;
    uint64_t bytes = 0;
    std::vector<double> rates;
  };
  std::vector<Reader> readers;
  double openSeconds = 0;
  std::string noKernels;
};

Status Bench::open(const DeviceSpec &spec) {
  Clock::time_point began = Clock::now();
  LORAC_ASSIGN(std::shared_ptr<const ModelFile> model, ModelFile::open(options.model));
  std::vector<std::shared_ptr<const AdapterFile>> files;
  for (const AdapterArgument &adapter : options.adapters) {
    LORAC_ASSIGN(std::shared_ptr<const AdapterFile> file, AdapterFile::open(adapter.path));
    files.push_back(std::move(file));
  }
  EngineOptions engineOptions;
  engineOptions.device = spec;
  engineOptions.maxRows = options.maxRows;
  engineOptions.poolBytes = 0;
  size_t slots = options.distinctAdapters > 0 ? options.distinctAdapters : files.size();
  for (size_t i = 0; i < slots; ++i)
    engineOptions.poolBytes += Engine::slotBytes(*model, *files[i % files.size()]);
  uint64_t length = uint64_t(options.promptLength) + options.newTokens;
  uint64_t context = model->metadata().max_context();
  if (length > context)
    return Status(Code::InvalidArgument)
           << options.model << ": a prompt of " << options.promptLength << " and " << options.newTokens
           << " new tokens exceed the context of " << context << "; ask for fewer";
  engineOptions.pages = ceilDiv(length, model->metadata().page_tokens()) * options.batch;
  LORAC_ASSIGN(engine, Engine::open(model, engineOptions));
  cases.push_back({"base", std::vector<Stack>(options.batch), {}, {}, {}, {}, {}, {}, {}});
  if (!files.empty())
    LORAC_TRY(loadAdapters(files));
  openSeconds = secondsSince(began);
  return {};
}

/// One stack of all bundles for every sequence; or, with --distinct-adapters, so many slots, each with a copy
/// of its own, the bundles in turn.
Status Bench::loadAdapters(const std::vector<std::shared_ptr<const AdapterFile>> &files) {
  Case entry;
  entry.name = "adapters";
  size_t slots = options.distinctAdapters > 0 ? options.distinctAdapters : files.size();
  Stack loaded;
  for (size_t i = 0; i < slots; ++i) {
    const std::shared_ptr<const AdapterFile> &file = files[i % files.size()];
    LORAC_ASSIGN(std::shared_ptr<const LoadedAdapter> slot,
                 engine->loadAdapter(*file, {.name = std::to_string(i), .acceptBase = options.acceptBase}));
    if (slot->acceptedBase() && i < files.size())
      note(file->path() + ": made for another base than " + options.model +
           ", loaded because of --accept-base");
    loaded.push_back({std::move(slot), options.adapters[i % files.size()].strength});
    entry.slots.push_back(file);
  }
  for (size_t i = 0; i < options.batch; ++i)
    entry.stacks.push_back(options.distinctAdapters > 0 ? Stack{loaded[i % slots]} : loaded);
  cases.push_back(std::move(entry));
  return {};
}

Status Bench::step(std::span<const StepRow> rows, StepOutput &output, KernelTimes *times) {
  if (!times)
    return engine->step(rows, output);
  double attended = 0;
  std::map<const Sequence *, uint64_t> positions;
  for (const StepRow &row : rows) {
    auto [place, isNew] = positions.try_emplace(row.sequence, 0);
    if (isNew)
      place->second = row.sequence->length();
    attended += double(++place->second);
  }
  LORAC_TRY(engine->startProfile());
  Status status = engine->step(rows, output);
  std::vector<RunProfile> runs = engine->stopProfile();
  LORAC_TRY(status);
  for (const RunProfile &run : runs) // a step that fits no run is cut into several
    times->add(run, attended * double(run.symbols.rows) / double(rows.size()));
  return {};
}

/// Feeds the prompts, then gives each sequence its new tokens, greedily. The first of them comes with the
/// prompt and is fed by the first step, as in any generation.
Status Bench::pass(Case &entry, uint32_t newTokens, const Profile *profile) {
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (const Stack &stack : entry.stacks) {
    LORAC_ASSIGN(std::shared_ptr<Sequence> sequence, engine->createSequence(stack));
    LORAC_TRY(sequence->reserve(uint64_t(options.promptLength) + newTokens));
    sequences.push_back(std::move(sequence));
  }
  std::vector<StepRow> rows;
  for (size_t i = 0; i < sequences.size(); ++i)
    for (uint32_t j = 0; j < options.promptLength; ++j)
      rows.push_back({sequences[i].get(), token(i, j), j + 1 == options.promptLength});
  std::vector<StepRow> next;
  Sampler sampler(SamplerOptions{});
  StepOutput output;

  DeviceCounters before = engine->counters();
  Clock::time_point began = Clock::now();
  for (size_t first = 0; first < rows.size();) {
    std::span<const StepRow> some = std::span<const StepRow>(rows).subspan(
        first, std::min<size_t>(engine->maxRows(), rows.size() - first));
    LORAC_TRY(step(some, output, profile ? profile->prompt : nullptr));
    for (size_t i = 0; i < some.size(); ++i)
      if (some[i].wantLogits) {
        LORAC_ASSIGN(uint32_t token, sampler.sample(output.row(i)));
        next.push_back({some[i].sequence, token, true});
      }
    first += some.size();
  }
  double promptSeconds = secondsSince(began);
  DeviceCounters between = engine->counters();
  if (profile)
    profile->prompt->endUnit();
  began = Clock::now();
  for (uint32_t i = 0; i < newTokens; ++i) {
    LORAC_TRY(step(next, output, profile ? profile->decode : nullptr));
    for (size_t row = 0; row < next.size(); ++row) {
      LORAC_ASSIGN(next[row].token, sampler.sample(output.row(row)));
    }
    if (profile)
      profile->decode->endUnit();
  }
  double decodeSeconds = secondsSince(began) / newTokens;
  if (profile || newTokens != options.newTokens)
    return {};
  entry.promptSeconds.push_back(promptSeconds);
  entry.decodeSeconds.push_back(decodeSeconds);
  entry.promptCounts = difference(between, before);
  entry.decodeCounts = difference(engine->counters(), between);
  return {};
}

Status Bench::measure() {
  Progress progress;
  uint64_t done = 0,
           all = cases.size() * (1 + options.repetitions + (options.noKernels ? 0 : ProfiledPasses));
  auto told = [&](const char *what) { progress.update(what, done++, all); };
  for (Case &entry : cases) { // makes the pipelines
    told("warming up");
    LORAC_TRY(pass(entry, std::min(options.newTokens, WarmUpTokens), nullptr));
    entry.promptSeconds.clear(); // where so few tokens are all
    entry.decodeSeconds.clear();
  }
  for (uint32_t i = 0; i < options.repetitions; ++i)
    for (size_t j = 0; j < cases.size(); ++j) { // every other repetition the other way round
      told("measuring");
      LORAC_TRY(pass(cases[i % 2 == 0 ? j : cases.size() - 1 - j], options.newTokens, nullptr));
    }

  if (options.noKernels) {
    noKernels = "left out by --no-kernels";
    return {};
  }
  return measureKernels(progress, done, all);
}

Status Bench::measureKernels(Progress &progress, uint64_t done, uint64_t all) {
  for (bool texel : {true, false})
    for (uint32_t lanes : {8u, 64u}) {
      LORAC_ASSIGN(std::vector<uint32_t> spirv, compileRawRead(texel, lanes));
      readers.push_back({texel ? "texel" : "storage", {texel, lanes, std::move(spirv)}, 0, {}});
    }
  if (Status can = engine->startProfile(); !can) {
    if (can.code() != Code::Unsupported)
      return can;
    noKernels = can.message();
  }
  engine->stopProfile();
  std::vector<KernelBytes> bytes;
  std::vector<KernelTimes> times;
  for (const Case &entry : cases)
    bytes.emplace_back(*engine, entry.slots);
  for (const KernelBytes &of : bytes)
    for (int phase = 0; phase < 2; ++phase)
      times.emplace_back(*engine, of);
  for (uint32_t i = 0; i < ProfiledPasses; ++i) {
    LORAC_TRY(readRaw());
    for (size_t j = 0; j < cases.size() && noKernels.empty(); ++j) {
      progress.update("timing kernels", done++, all);
      Profile profile = {&times[2 * j], &times[2 * j + 1]};
      LORAC_TRY(pass(cases[j], options.newTokens, &profile));
    }
  }
  for (size_t j = 0; j < cases.size() && noKernels.empty(); ++j) {
    cases[j].promptKernels = times[2 * j].result();
    cases[j].decodeKernels = times[2 * j + 1].result();
  }
  return {};
}

Status Bench::readRaw() {
  for (Reader &reader : readers) {
    LORAC_ASSIGN(ReadTimes times, engine->timeReads(reader.kernel, options.readBytes, ReadsARound));
    reader.bytes = times.bytes;
    for (double seconds : times.seconds)
      reader.rates.push_back(double(times.bytes) / seconds);
  }
  return {};
}

/// Of each space as far as a program uses it.
std::vector<std::pair<std::string, uint64_t>> Bench::spaceBytes() const {
  std::vector<uint64_t> symbols = engine->symbolValues({});
  std::array<uint64_t, size_t(fbs::Space::MAX) + 1> ends = {};
  const fbs::Model &root = engine->model().metadata();
  for (const fbs::Program *program : *root.programs())
    for (const fbs::Buffer *buffer : *program->buffers()) {
      uint64_t end = evaluate(root, buffer->offset(), symbols).value_or(0) +
                     evaluate(root, buffer->size(), symbols).value_or(0);
      uint64_t &space = ends[size_t(buffer->space())];
      space = std::max(space, end);
    }
  std::vector<std::pair<std::string, uint64_t>> list;
  for (size_t space = 0; space < ends.size(); ++space) {
    std::string name = fbs::EnumNameSpace(fbs::Space(space));
    name[0] = char(name[0] - 'A' + 'a');
    list.emplace_back(std::move(name), ends[space]);
  }
  return list;
}

Phase phaseOf(const std::vector<double> &seconds, uint64_t tokens, const DeviceCounters &counts,
              uint64_t units, const std::vector<KernelLine> &kernels) {
  Phase phase;
  phase.tokens = tokens;
  phase.seconds = Spread::of(seconds);
  std::vector<double> rates;
  for (double time : seconds)
    rates.push_back(double(tokens) / time);
  phase.tokensPerSecond = Spread::of(rates);
  phase.counts = counts;
  phase.units = units;
  phase.kernels = kernels;
  return phase;
}

BenchReport Bench::report() const {
  BenchReport report;
  report.model = options.model;
  report.device = engine->deviceDescription();
  report.promptLength = options.promptLength;
  report.newTokens = options.newTokens;
  report.batch = options.batch;
  report.distinctAdapters = options.distinctAdapters;
  report.repetitions = options.repetitions;
  report.maxRows = engine->maxRows();
  for (const AdapterArgument &adapter : options.adapters)
    report.adapters.push_back({adapter.path, adapter.strength});
  for (const Reader &reader : readers)
    report.rawReads.push_back({reader.way, reader.kernel.lanes, reader.bytes, Spread::of(reader.rates)});
  for (const Case &entry : cases)
    report.cases.push_back({entry.name,
                            phaseOf(entry.promptSeconds, uint64_t(options.promptLength) * options.batch,
                                    entry.promptCounts, 1, entry.promptKernels),
                            phaseOf(entry.decodeSeconds, options.batch, entry.decodeCounts, options.newTokens,
                                    entry.decodeKernels)});
  if (cases.size() == 2) {
    auto ratios = [&](std::vector<double> Case::*member) {
      std::vector<double> list;
      for (size_t i = 0; i < options.repetitions; ++i)
        list.push_back((cases[1].*member)[i] / (cases[0].*member)[i]);
      return Spread::of(list);
    };
    report.adaptersOverBase = {ratios(&Case::promptSeconds), ratios(&Case::decodeSeconds)};
  }
  report.total = engine->counters();
  report.spaceBytes = spaceBytes();
  report.openSeconds = openSeconds;
  report.noKernels = noKernels;
  return report;
}

Status runBench(const BenchOptions &options, const DeviceSpec &spec) {
  Bench bench(options);
  LORAC_TRY(bench.open(spec));
  LORAC_TRY(bench.measure());
  BenchReport report = bench.report();
  return options.json ? printJson(report.json()) : print(report.text());
}

} // namespace

void addBench(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App *sub = app.add_subcommand("bench", "Measure a model: tokens/s, counts, and each kernel beside the "
                                              "device's own read");
  sub->add_option("MODEL", options->model, "The model file (.lorac)")->required();
  sub->add_option(
         "--adapter", options->adapterTexts,
         "BUNDLE.lora[=STRENGTH]: also measure every sequence with this adapter on its stack, in turn "
         "with the base; repeatable: one stack of all, unless --distinct-adapters is given")
      ->allow_extra_args(false);
  sub->add_option("--prompt-length", options->promptLength,
                  "Tokens of each prompt; default " + std::to_string(DefaultPromptLength))
      ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--new-tokens", options->newTokens,
                  "Tokens to decode after it; default " + std::to_string(DefaultNewTokens))
      ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--batch", options->batch, "Sequences that run together; default 1")
      ->check(wholeNumber(1, UINT32_MAX));
  CLI::Option *distinct =
      sub->add_option(
             "--distinct-adapters", options->distinctAdapters,
             "So many adapters in slots of their own, one a sequence in turn, in place of one stack; "
             "with fewer bundles than that, a bundle is loaded several times, each a copy of its own")
          ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--repetitions", options->repetitions,
                  "Measurements of each case, after one that is not counted; default " +
                      std::to_string(DefaultRepetitions))
      ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--max-rows", options->maxRows, "Rows of a step at most; default: the model's")
      ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--read-bytes", options->readBytes,
                  "Bytes of the raw read, more than the device's caches hold; default " +
                      std::to_string(DefaultReadBytes) + ", at most what the device can bind")
      ->check(wholeNumber(1, UINT64_MAX));
  sub->add_option("--device", options->device,
                  "auto (default), vulkan or vulkan:N; ,deny=FEATURE, repeatable, leaves one unused: texel, "
                  "subgroup, storage, "
                  "hostvisible or chains");
  sub->add_flag("--accept-base", options->acceptBase,
                "Load bundles that were made for another base, if shapes agree");
  sub->add_flag("--no-kernels", options->noKernels, "Leave out the raw read and the times of kernels");
  sub->add_flag("--json", options->json, "Print one JSON object in place of the tables");
  sub->footer(
      "Prompts are random tokens; decoding is greedy and does not stop. A repetition measures the base, then "
      "the adapters, the\n"
      "next one in the other order. Kernels are timed in runs of their own, by the device's clock, each "
      "dispatch "
      "alone; their\n"
      "bytes are the least that they have to move: weights once, rows and positions in use, no step tables.\n"
      "Examples:\n"
      "  lorac bench smollm2.lorac\n"
      "  lorac bench smollm2.lorac --adapter support.lora --new-tokens 64\n"
      "  lorac bench smollm2.lorac --adapter support.lora --batch 8 --distinct-adapters 8 --json\n"
      "The object of --json:\n"
      "  {\"model\", \"device\", \"prompt_length\", \"new_tokens\", \"batch\", \"distinct_adapters\" (0: one "
      "stack), \"repetitions\",\n"
      "   \"max_rows\", \"adapters\": [{\"path\", \"strength\"}], \"raw_reads\": [{\"way\": \"texel\" | "
      "\"storage\", \"lanes\", \"bytes\",\n"
      "   \"bytes_per_second\": SPREAD}], \"best_raw_read\" | null, \"cases\": [{\"case\": \"base\" | "
      "\"adapters\", "
      "\"prompt\": PHASE,\n"
      "   \"decode\": PHASE}], \"adapters_over_base\": {\"prompt\": SPREAD, \"decode\": SPREAD} (times, by "
      "pair) | "
      "null,\n"
      "   \"memory\": {\"bytes_by_space\", \"allocations\", \"allocated_bytes\", \"weight_bytes\", "
      "\"adapter_bytes\"}, \"pipelines\",\n"
      "   \"open_seconds\", \"no_kernels\": why no kernel was timed | null}\n"
      "  SPREAD: {\"median\", \"min\", \"max\"}. PHASE, all of one unit (all prompts, or a step that gives "
      "each "
      "sequence a token):\n"
      "  {\"tokens\", \"seconds\": SPREAD, \"tokens_per_second\": SPREAD, \"counts\": {\"steps\", "
      "\"dispatches\",\n"
      "   \"adapter_dispatches\", \"dispatches_by_kernel\", \"barriers\", \"step_bytes\"}, \"kernels\": "
      "[{\"program\", \"kernel\",\n"
      "   \"weights\", \"calls\", \"seconds\": SPREAD, \"bytes\", \"bytes_per_second\", \"of_raw_read\"}]}");
  sub->callback([options, distinct, &exitCode] {
    DeviceSpec spec = checkOptions(*options, distinct->count() > 0);
    Status status = runBench(*options, spec);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
