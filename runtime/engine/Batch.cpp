//===- Batch.cpp - the scheduler --------------------------------*- C++ -*-===//
#include "runtime/engine/Batch.h"

#include <algorithm>
#include <new>

namespace lorac {

const char *finishName(Finish finish) {
  switch (finish) {
  case Finish::Length:
    return "length";
  case Finish::Stop:
    return "stop";
  case Finish::Error:
    break;
  }
  return "error";
}

/// A request from submit() to its end.
struct Batch::Active {
  explicit Active(GenerationRequest request) : request(std::move(request)) {}

  GenerationRequest request;
  std::optional<Sampler> sampler; // from admission on
  GenerationResult result;
  std::shared_ptr<Sequence> sequence;
  std::vector<uint32_t> feed; // prompt, then new tokens that have to be fed
  size_t fed = 0;
  uint64_t limit = 0; // new tokens

  size_t waiting() const { return feed.size() - fed; }
};

Batch::Batch(std::shared_ptr<Engine> engine, uint32_t maxActive)
    : engine(std::move(engine)),
      maxActive(maxActive == 0 ? this->engine->maxRows() : std::min(maxActive, this->engine->maxRows())) {
  if (const auto *ids = this->engine->model().metadata().eos_ids())
    eosIds.insert(ids->begin(), ids->end());
  if (const fbs::Tokenizer *tokenizer = this->engine->model().metadata().tokenizer();
      tokenizer && tokenizer->eos_id() >= 0 && tokenizer->eos_id() <= int64_t(UINT32_MAX))
    eosIds.insert(uint32_t(tokenizer->eos_id()));
}

Batch::~Batch() = default;

uint64_t Batch::submit(GenerationRequest request) {
  auto entry = std::make_unique<Active>(std::move(request));
  entry->result.promptTokens = entry->request.tokens.size();
  uint64_t id;
  {
    std::lock_guard lock(mutex);
    id = entry->result.id = submitted++;
    queue.push_back(std::move(entry));
  }
  arrived.notify_one();
  return id;
}

void Batch::cancel(uint64_t id) {
  std::lock_guard lock(mutex);
  if (id < submitted)
    cancelled.insert(id);
}

bool Batch::waitForWork(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex);
  return arrived.wait_for(lock, timeout, [this] { return !queue.empty() || running > 0; });
}

Batch::Counters Batch::counters() const {
  std::lock_guard lock(mutex);
  Counters result = totals;
  result.queued = queue.size();
  result.active = running;
  return result;
}

void Batch::finish(Active &entry, Finish finish, Status status) {
  entry.sequence.reset(); // pages are free before anyone hears of the end
  entry.result.finish = finish;
  entry.result.status = std::move(status);
  {
    std::lock_guard lock(mutex);
    ++totals.requests;
    cancelled.erase(entry.result.id);
  }
  if (entry.request.onDone)
    entry.request.onDone(std::move(entry.result));
}

namespace {

/// Checks all that could make a step fail for this request alone, and says how many new tokens it may have.
Result<uint64_t> checkRequest(const Engine &engine, const GenerationRequest &request) {
  LORAC_TRY(request.status);
  if (request.tokens.empty())
    return Status(Code::InvalidArgument) << "the prompt has no tokens; give at least one";
  for (uint32_t token : request.tokens)
    if (token >= engine.vocabSize())
      return Status(Code::InvalidArgument)
             << "token " << token << " is outside the vocabulary of " << engine.vocabSize();
  LORAC_TRY(engine.checkStack(request.stack));
  uint64_t prompt = request.tokens.size();
  // The last new token is never fed: it needs no place.
  uint64_t room = prompt > engine.context() ? 0 : engine.context() - prompt + 1;
  uint64_t limit = request.maxTokens ? *request.maxTokens : room;
  if (prompt > engine.context() || limit > room)
    return Status(Code::Exhausted)
           << "a prompt of " << prompt << " tokens and " << limit << " new ones exceed the context of "
           << engine.context()
           << "; shorten the prompt, ask for fewer or open a session with a larger context";
  return limit;
}

} // namespace

void Batch::admit() {
  while (active.size() < maxActive) {
    std::unique_ptr<Active> entry;
    bool wasCancelled = false;
    {
      std::lock_guard lock(mutex);
      if (queue.empty())
        return;
      entry = std::move(queue.front());
      queue.pop_front();
      wasCancelled = cancelled.count(entry->result.id) > 0;
    }
    if (wasCancelled) {
      entry->result.cancelled = true;
      finish(*entry, Finish::Stop);
      continue;
    }
    Result<uint64_t> limit = checkRequest(*engine, entry->request);
    if (!limit) {
      finish(*entry, Finish::Error, limit.status());
      continue;
    }
    entry->limit = *limit;
    Result<Sampler> sampler = Sampler::create(entry->request.sampling);
    if (!sampler) {
      finish(*entry, Finish::Error, sampler.status());
      continue;
    }
    entry->sampler = *std::move(sampler);
    Result<std::shared_ptr<Sequence>> sequence = engine->createSequence(entry->request.stack);
    if (!sequence) {
      finish(*entry, Finish::Error, sequence.status());
      continue;
    }
    // All pages that it can come to need: once it runs, it cannot be stuck half-way.
    uint64_t length = entry->request.tokens.size() + (entry->limit > 0 ? entry->limit - 1 : 0);
    if (Status reserved = (*sequence)->reserve(length); !reserved.isOk()) {
      if (active.empty()) { // nobody will give pages back
        finish(*entry, Finish::Error, std::move(reserved));
        continue;
      }
      std::lock_guard lock(mutex);
      queue.push_front(std::move(entry));
      return;
    }
    entry->sequence = *std::move(sequence);
    entry->feed = entry->request.tokens;
    active.push_back(std::move(entry));
    std::lock_guard lock(mutex);
    running = active.size();
  }
}

Status Batch::runRows(std::span<const StepRow> rows, StepOutput &output) {
  try {
    return engine->step(rows, output);
  } catch (const std::bad_alloc &) {
    return Status(Code::OutOfMemory) << "host memory ran out in a step of " << rows.size() << " rows";
  }
}

bool Batch::advance(Active &entry, size_t rows, size_t firstRow, const StepOutput &output) {
  size_t promptRows =
      std::min(rows, entry.request.tokens.size() - std::min(entry.fed, entry.request.tokens.size()));
  entry.fed += rows;
  if (entry.request.captureLogits) {
    try {
      for (size_t i = 0; i < rows; ++i) {
        std::span<const float> row = output.row(firstRow + i);
        entry.result.logits.insert(entry.result.logits.end(), row.begin(), row.end());
        ++entry.result.logitRows;
      }
    } catch (const std::bad_alloc &) {
      finish(entry, Finish::Error,
             Status(Code::OutOfMemory) << "host memory does not hold the logits of "
                                       << entry.result.logitRows + 1 << " positions; capture fewer");
      return false;
    }
  }
  {
    std::lock_guard lock(mutex);
    totals.promptTokens += promptRows;
  }
  if (entry.waiting() > 0)
    return true;
  if (entry.limit == 0) {
    finish(entry, Finish::Length);
    return false;
  }
  Result<uint32_t> sampled = entry.sampler->sample(output.row(firstRow + rows - 1));
  if (!sampled) {
    finish(entry, Finish::Error, sampled.status());
    return false;
  }
  uint32_t token = *sampled;
  entry.result.tokens.push_back(token);
  {
    std::lock_guard lock(mutex);
    ++totals.newTokens;
  }
  bool goOn = !entry.request.onToken || entry.request.onToken(token);
  const std::vector<uint32_t> &stopIds = entry.request.stopIds;
  if ((!entry.request.ignoreEos && eosIds.count(token) > 0) ||
      std::find(stopIds.begin(), stopIds.end(), token) != stopIds.end()) {
    finish(entry, Finish::Stop);
    return false;
  }
  if (!goOn) {
    entry.result.cancelled = true;
    finish(entry, Finish::Stop);
    return false;
  }
  if (entry.result.tokens.size() >= entry.limit) {
    finish(entry, Finish::Length);
    return false;
  }
  entry.feed.push_back(token);
  return true;
}

bool Batch::step() {
  // Those whose users went away first: their rows and pages serve others.
  std::set<uint64_t> gone;
  {
    std::lock_guard lock(mutex);
    gone = cancelled;
    // A request that is neither queued nor running is over already.
    std::erase_if(cancelled, [&](uint64_t id) {
      auto is = [id](const std::unique_ptr<Active> &entry) { return entry->result.id == id; };
      return std::none_of(queue.begin(), queue.end(), is) && std::none_of(active.begin(), active.end(), is);
    });
  }
  std::erase_if(active, [&](const std::unique_ptr<Active> &entry) {
    if (gone.count(entry->result.id) == 0)
      return false;
    entry->result.cancelled = true;
    finish(*entry, Finish::Stop);
    return true;
  });
  admit();
  if (active.empty()) {
    std::lock_guard lock(mutex);
    running = 0;
    return !queue.empty();
  }

  // One row each, so that everybody advances; what is left goes to prompts, the oldest first.
  std::vector<size_t> share(active.size(), 1);
  size_t left = engine->maxRows() - active.size();
  for (size_t i = 0; i < active.size(); ++i) {
    size_t more = std::min(left, active[i]->waiting() - 1);
    share[i] += more;
    left -= more;
  }
  std::vector<StepRow> rows;
  std::vector<size_t> firstRow(active.size());
  for (size_t i = 0; i < active.size(); ++i) {
    const Active &entry = *active[i];
    firstRow[i] = rows.size();
    for (size_t j = 0; j < share[i]; ++j) {
      size_t index = entry.fed + j;
      bool last = index + 1 == entry.feed.size();
      rows.push_back({entry.sequence.get(), entry.feed[index],
                      entry.request.captureLogits || (last && entry.limit > 0)});
    }
  }

  std::vector<bool> over(active.size(), false);
  Status status = runRows(rows, output);
  if (status.isOk()) {
    for (size_t i = 0; i < active.size(); ++i)
      over[i] = !advance(*active[i], share[i], firstRow[i], output);
  } else {
    // Everybody is as before. Alone, each shows whether the failure is its own.
    for (size_t i = 0; i < active.size(); ++i) {
      Status alone = status;
      if (active.size() > 1 && status.code() != Code::DeviceLost)
        alone = runRows(std::span<const StepRow>(rows).subspan(firstRow[i], share[i]), output);
      if (alone.isOk()) {
        over[i] = !advance(*active[i], share[i], 0, output);
      } else {
        finish(*active[i], Finish::Error, std::move(alone));
        over[i] = true;
      }
    }
  }
  size_t index = 0;
  std::erase_if(active, [&](const std::unique_ptr<Active> &) { return over[index++]; });
  std::lock_guard lock(mutex);
  ++totals.steps;
  running = active.size();
  return running > 0 || !queue.empty();
}

std::vector<GenerationResult> generate(std::shared_ptr<Engine> engine,
                                       std::vector<GenerationRequest> requests, uint32_t maxActive) {
  std::vector<GenerationResult> results(requests.size());
  Batch batch(std::move(engine), maxActive);
  for (size_t i = 0; i < requests.size(); ++i) {
    auto chained = std::move(requests[i].onDone);
    requests[i].onDone = [&results, i, chained](GenerationResult result) {
      if (chained)
        chained(result);
      results[i] = std::move(result);
    };
    batch.submit(std::move(requests[i]));
  }
  while (batch.step()) {
  }
  return results;
}

} // namespace lorac
