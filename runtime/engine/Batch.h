//===- Batch.h - many generations as rows of the same steps -----*- C++ -*-===//
// Continuous: prompts in chunks and decoding tokens share steps; a request joins when rows and pages are
// there and leaves when it ends. What a request gives does not depend on its neighbours. A single run is a
// batch of one.
#ifndef LORAC_RUNTIME_ENGINE_BATCH_H
#define LORAC_RUNTIME_ENGINE_BATCH_H

#include "runtime/engine/Engine.h"
#include "runtime/text/Sampler.h"
#include "support/Status.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

namespace lorac {

enum class Finish {
  Length, ///< maxTokens were generated, or the context is full where maxTokens was not given
  Stop,   ///< an eos id, a stop id, the callback or cancel() ended it
  Error,  ///< see status
};
/// "length", "stop", "error".
const char *finishName(Finish finish);

struct GenerationResult {
  uint64_t id = 0;
  size_t promptTokens = 0;
  std::vector<uint32_t> tokens; ///< the new ones, the ending eos id included
  Finish finish = Finish::Error;
  bool cancelled = false; ///< the callback or cancel() ended it
  Status status;
  std::vector<float> logits; ///< with captureLogits: [logitRows, vocabSize], a row for each position fed
  size_t logitRows = 0;
};

struct GenerationRequest {
  std::vector<uint32_t> tokens; ///< the prompt, at least one
  Stack stack;
  SamplerOptions sampling;
  std::optional<uint32_t>
      maxTokens; ///< none: until an eos id or the end of the context. 0 only feeds the prompt.
  bool ignoreEos = false;
  std::vector<uint32_t> stopIds; ///< beside the model's eos ids; ignoreEos leaves them in force
  bool captureLogits = false;
  /// What kept the caller from making this request: becomes its error result, so that results keep their
  /// order.
  Status status;
  /// Each new token as it comes, on the thread of Batch::step; false ends the request. Must not throw.
  std::function<bool(uint32_t token)> onToken;
  /// Once, at the end. Must not throw.
  std::function<void(GenerationResult result)> onDone;
};

/// step() belongs to one thread at a time; submit(), cancel() and waitForWork() to any.
class Batch {
public:
  /// At most `maxActive` requests share a step (0: as many as a step has rows).
  explicit Batch(std::shared_ptr<Engine> engine, uint32_t maxActive = 0);
  ~Batch();

  /// Queues a request; every outcome, an error too, arrives through onDone from step(). Returns its number,
  /// counted from 0.
  uint64_t submit(GenerationRequest request);
  /// Ends a request with Finish::Stop at the next step; nothing where it is over.
  void cancel(uint64_t id);
  /// Admits what fits and runs one step. False when nothing was left to do.
  bool step();
  /// True when there is something for step(), at the latest after `timeout`.
  bool waitForWork(std::chrono::milliseconds timeout);

  struct Counters {
    uint64_t steps = 0;
    uint64_t promptTokens = 0; ///< fed
    uint64_t newTokens = 0;    ///< sampled
    uint64_t requests = 0;     ///< ended
    uint64_t queued = 0;       ///< waiting now
    uint64_t active = 0;       ///< running now
  };
  Counters counters() const;

private:
  struct Active;
  void admit();
  /// False when the request is over; its result is then already out.
  bool advance(Active &active, size_t rows, size_t firstRow, const StepOutput &output);
  void finish(Active &active, Finish finish, Status status = {});
  Status runRows(std::span<const StepRow> rows, StepOutput &output);

  std::shared_ptr<Engine> engine;
  const uint32_t maxActive;
  std::set<uint32_t> eosIds;

  mutable std::mutex mutex; // guards what follows
  std::condition_variable arrived;
  std::deque<std::unique_ptr<Active>> queue;
  std::set<uint64_t> cancelled;
  uint64_t submitted = 0;
  uint64_t running = 0;
  Counters totals;

  std::vector<std::unique_ptr<Active>> active; // step()'s own
  StepOutput output;
};

/// Runs the requests to their end as one batch; results in the order of the requests.
std::vector<GenerationResult> generate(std::shared_ptr<Engine> engine,
                                       std::vector<GenerationRequest> requests, uint32_t maxActive = 0);

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_BATCH_H
