//===- Engine.h - a model open on a device ----------------------*- C++ -*-===//
// Sequences of tokens, each with its own stack of adapters, advance together in steps of rows. Every function
// here may be called from any thread: one mutex serialises what touches the device. Nothing prints, throws
// (but std::bad_alloc) or aborts.
#ifndef LORAC_RUNTIME_ENGINE_ENGINE_H
#define LORAC_RUNTIME_ENGINE_ENGINE_H

#include "runtime/device/Device.h"
#include "runtime/device/Profile.h"
#include "runtime/engine/AdapterPool.h"
#include "runtime/engine/PageAllocator.h"
#include "runtime/engine/StepTables.h"
#include "runtime/files/AdapterFile.h"
#include "runtime/files/ModelFile.h"
#include "support/Status.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace lorac {

class Engine;

/// Steps that are known to come when an engine is opened.
struct ExpectedStep {
  uint64_t rows = 0;
  bool adapters = false; ///< some of their rows have a stack
  uint64_t times = 1;    ///< how many of them
};

struct EngineOptions {
  DeviceSpec device;
  DeviceOptions deviceOptions;
  uint64_t context = 0;               ///< tokens that a sequence may hold; 0: the model's maximum
  uint64_t sequences = 1;             ///< cache for so many sequences of full context; shorter ones share it
  uint64_t pages = 0;                 ///< pages of the cache, in place of what `sequences` gives
  uint32_t maxRows = 0;               ///< rows a device step; 0: the model's maximum
  uint64_t poolBytes = 64ull << 20;   ///< for adapters; Engine::slotBytes says what one takes
  uint64_t maxEntries = 0;            ///< stack entries a device step; 0: 16 a row
  std::vector<ExpectedStep> expected; ///< what they need is made ready at once (DeviceOptions::programs)
  uint64_t maxItems = 0; ///< (row, rank tile) pairs a device step; 0: 8192, or 16 a row if that is more
};

/// What opening `model` with `options` fixes. InvalidArgument names the option and its limit.
struct EnginePlan {
  LoadSymbols symbols;
  uint64_t context = 0;
  uint32_t maxRows = 0;
};
Result<EnginePlan> planEngine(const ModelFile &model, const EngineOptions &options);

/// A text that grows by steps: its tokens, its pages of the cache, its stack. Keeps its engine open. Not to
/// be destroyed while a step that names it runs.
class Sequence {
public:
  ~Sequence();
  Sequence(const Sequence &) = delete;
  Sequence &operator=(const Sequence &) = delete;

  /// Tokens fed so far; the next row has this position.
  uint64_t length() const;
  std::vector<uint32_t> tokens() const;
  /// As the steps use it: doubles joined, strength 0 gone.
  Stack stack() const;
  /// For the rows of later steps; what earlier tokens left in the cache stays as it was computed.
  Status setStack(const Stack &stack);
  /// Forgets all tokens from `length` on; InvalidArgument where there are fewer.
  Status truncate(uint64_t length);
  /// Takes the pages for `length` tokens now, so that no later step up to there lacks any.
  Status reserve(uint64_t length);

private:
  friend class Engine;
  explicit Sequence(std::shared_ptr<Engine> engine) : engine(std::move(engine)) {}

  std::shared_ptr<Engine> engine;
  std::vector<uint32_t> tokenList;
  std::vector<uint32_t> pageList;
  Stack active;
};

/// One token of one sequence. Rows of one sequence take consecutive positions in the order they stand in.
struct StepRow {
  Sequence *sequence = nullptr;
  uint32_t token = 0;
  bool wantLogits = false;
};

/// Logits of the rows that asked for them; reuse it from step to step.
class StepOutput {
public:
  /// `vocab` values of row `row` of the step; empty where it did not ask.
  std::span<const float> row(size_t row) const {
    if (row >= index.size() || index[row] == SIZE_MAX)
      return {};
    return std::span<const float>(values).subspan(index[row] * width, width);
  }

private:
  friend class Engine;
  std::vector<float> values;
  std::vector<size_t> index; // of each row in values, or SIZE_MAX
  size_t width = 0;
};

class Engine : public std::enable_shared_from_this<Engine> {
public:
  /// Opens the device of `options` for `model`.
  static Result<std::shared_ptr<Engine>> open(std::shared_ptr<const ModelFile> model,
                                              const EngineOptions &options);
  /// Over a device that was opened with planEngine's symbols (tests, other backends).
  static Result<std::shared_ptr<Engine>> create(std::shared_ptr<const ModelFile> model,
                                                const EngineOptions &options,
                                                std::unique_ptr<DeviceModel> device);

  const ModelFile &model() const { return *modelFile; }
  std::shared_ptr<const ModelFile> modelPointer() const { return modelFile; }
  uint64_t context() const { return plan.context; }
  uint32_t maxRows() const { return plan.maxRows; }
  uint32_t vocabSize() const { return modelFile->metadata().vocab_size(); }
  std::string deviceDescription() const;
  DeviceCounters counters() const;

  // ---- adapters ----
  /// Puts a bundle into the pool; findAdapter(name) gives this version from now on. Sequences keep what they
  /// have.
  Result<std::shared_ptr<const LoadedAdapter>> loadAdapter(const AdapterFile &adapter,
                                                           const LoadAdapterOptions &options = {});
  /// The newest version under a name; null where there is none.
  std::shared_ptr<const LoadedAdapter> findAdapter(const std::string &name) const;
  /// No new user finds it by name; its slot is free when the last sequence or handle lets go. NotFound.
  Status unloadAdapter(const std::string &name);
  /// As above, if `adapter` is still the version that its name gives; else nothing.
  void unloadAdapter(const std::shared_ptr<const LoadedAdapter> &adapter);
  std::vector<std::shared_ptr<const LoadedAdapter>> adapters() const;
  /// Bytes of the pool that `adapter` takes.
  static uint64_t slotBytes(const ModelFile &model, const AdapterFile &adapter) {
    return lorac::slotBytes(model, adapter);
  }
  const AdapterPool &pool() const { return *adapterPool; }

  // ---- sequences ----
  Result<std::shared_ptr<Sequence>> createSequence(const Stack &stack = {});
  /// InvalidArgument or Exhausted where a sequence could not run with `stack`.
  Status checkStack(const Stack &stack) const;
  uint64_t freePages() const;
  uint64_t totalPages() const;
  uint32_t pageTokens() const { return modelFile->metadata().page_tokens(); }

  /// Runs any mix of rows, in as many device steps as the capacities ask for. All or nothing: after a failure
  /// every sequence is as before. Exhausted (context, pages, stack) comes before anything ran. After
  /// DeviceLost every call fails with it.
  Status step(std::span<const StepRow> rows, StepOutput &output);

  // ---- measuring (runtime/device/Profile.h); Unsupported where the device cannot be asked ----
  Status startProfile();
  std::vector<RunProfile> stopProfile();
  Result<ReadTimes> timeReads(const ReadKernel &kernel, uint64_t bytes, uint32_t repetitions);
  const LoadSymbols &loadSymbols() const { return plan.symbols; }
  /// What the file's expressions are evaluated with in a step of these symbols.
  std::vector<uint64_t> symbolValues(const StepSymbols &step) const;

private:
  friend class Sequence;
  Engine() = default;
  Result<DeviceProfiler *> profilerLocked();
  Status runLocked(std::span<const PlannedRow> rows, const PlannedRun &run, float *logits);
  Status noteLost(Status status);
  /// Looks only at what never changes after create(): needs no lock.
  Status checkNormalised(const Stack &normalised) const;

  std::shared_ptr<const ModelFile> modelFile;
  EnginePlan plan;
  StepLimits limits;
  std::vector<StepProgram> programs;
  bool servesAdapters = false;
  std::shared_ptr<AdapterPool> adapterPool;

  mutable std::mutex mutex; // guards what follows, and the members of every Sequence
  std::unique_ptr<DeviceModel> device;
  Status lost;
  PageAllocator pageAllocator{0};
  std::vector<AngleCache> angles;
  std::map<std::string, std::shared_ptr<const LoadedAdapter>> registry;
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_ENGINE_H
