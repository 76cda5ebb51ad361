//===- Engine.cpp - steps over sequences ------------------------*- C++ -*-===//
#include "runtime/engine/Engine.h"

#include "support/Checked.h"
#include "support/Finite.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace lorac {

namespace {

// Kernels read keys in blocks, so a block's page numbers may reach past a sequence's last page.
constexpr uint64_t PageTableMargin = 16;
constexpr uint64_t DefaultEntriesPerRow = 16;
constexpr uint64_t DefaultItems = 8192;
constexpr uint64_t SmallestPool = 4096;

/// The largest value that the file lets a symbol have.
uint64_t symbolMaximum(const ModelFile &model, std::string_view name) {
  return model.metadata().symbols()->Get(uint32_t(model.symbolIndex(name)))->maximum();
}

Status checkSymbol(const ModelFile &model, std::string_view name, uint64_t value, std::string_view what) {
  uint64_t maximum = symbolMaximum(model, name);
  if (value <= maximum)
    return Status::ok();
  return Status(Code::InvalidArgument) << model.path() << ": " << what << " come to " << value
                                       << ", the model allows " << maximum << "; ask for less";
}

} // namespace

Result<EnginePlan> planEngine(const ModelFile &model, const EngineOptions &options) {
  const fbs::Model &metadata = model.metadata();
  EnginePlan plan;
  plan.context = options.context == 0 ? metadata.max_context() : options.context;
  if (plan.context > metadata.max_context())
    return Status(Code::InvalidArgument)
           << model.path() << ": a context of " << plan.context
           << " tokens was asked for, the model was compiled for " << metadata.max_context()
           << "; ask for less or compile it again with --max-context " << plan.context;
  plan.maxRows = options.maxRows == 0 ? metadata.max_rows() : options.maxRows;
  if (plan.maxRows > metadata.max_rows())
    return Status(Code::InvalidArgument)
           << model.path() << ": steps of " << plan.maxRows
           << " rows were asked for, the model was compiled for " << metadata.max_rows()
           << "; ask for less or compile it again with --max-rows " << plan.maxRows;
  if (plan.context == 0 || plan.maxRows == 0 || metadata.page_tokens() == 0)
    return Status(Code::CorruptFile) << model.path()
                                     << ": context, rows or tokens a page is 0; compile the model again";
  if (options.sequences == 0 && options.pages == 0)
    return Status(Code::InvalidArgument)
           << model.path() << ": cache for 0 sequences was asked for; ask for at least 1";

  uint64_t pagesEach = ceilDiv(plan.context, metadata.page_tokens());
  std::optional<uint64_t> pages =
      options.pages != 0 ? std::optional(options.pages) : checkedMul(pagesEach, options.sequences);
  plan.symbols.pages = pages.value_or(UINT64_MAX);
  LORAC_TRY(checkSymbol(model, "pages", plan.symbols.pages, "pages of the cache"));
  // A page number stands in a step's table once, so more than all pages are never listed; the margin only
  // where it fits.
  plan.symbols.maxPages = std::max(
      plan.symbols.pages, std::min(plan.symbols.pages + PageTableMargin, symbolMaximum(model, "max_pages")));
  LORAC_TRY(checkSymbol(model, "max_pages", plan.symbols.maxPages, "page numbers of a step"));
  plan.symbols.maxEntries = options.maxEntries != 0 ? options.maxEntries
                                                    : std::min(plan.maxRows * DefaultEntriesPerRow,
                                                               symbolMaximum(model, "max_entries"));
  LORAC_TRY(checkSymbol(model, "max_entries", plan.symbols.maxEntries, "stack entries of a step"));
  uint64_t itemsMaximum = std::min(symbolMaximum(model, "max_items"), symbolMaximum(model, "items"));
  plan.symbols.maxItems =
      options.maxItems != 0
          ? options.maxItems
          : std::min(std::max(DefaultItems, plan.maxRows * DefaultEntriesPerRow), itemsMaximum);
  if (plan.symbols.maxItems > itemsMaximum)
    return Status(Code::InvalidArgument)
           << model.path() << ": " << plan.symbols.maxItems
           << " rank tiles a step were asked for, the model allows " << itemsMaximum << "; ask for less";
  uint64_t pool = std::max(options.poolBytes, SmallestPool);
  plan.symbols.poolBytes =
      pool > UINT64_MAX - SlotAllocator::Alignment ? UINT64_MAX : roundUp(pool, SlotAllocator::Alignment);
  LORAC_TRY(checkSymbol(model, "pool_bytes", plan.symbols.poolBytes, "bytes of the adapter pool"));
  return plan;
}

// ---- Sequence
// ------------------------------------------------------------------------------------------------

Sequence::~Sequence() {
  std::lock_guard lock(engine->mutex);
  engine->pageAllocator.release(pageList);
}

uint64_t Sequence::length() const {
  std::lock_guard lock(engine->mutex);
  return tokenList.size();
}

std::vector<uint32_t> Sequence::tokens() const {
  std::lock_guard lock(engine->mutex);
  return tokenList;
}

Stack Sequence::stack() const {
  std::lock_guard lock(engine->mutex);
  return active;
}

Status Sequence::setStack(const Stack &stack) {
  LORAC_ASSIGN(Stack normalised, normaliseStack(stack));
  LORAC_TRY(engine->checkNormalised(normalised));
  std::lock_guard lock(engine->mutex);
  active.swap(normalised);
  return Status::ok();
}

Status Sequence::truncate(uint64_t length) {
  std::lock_guard lock(engine->mutex);
  if (length > tokenList.size())
    return Status(Code::InvalidArgument)
           << "a sequence of " << tokenList.size() << " tokens cannot be cut to " << length
           << "; give a length that it has";
  tokenList.resize(length);
  engine->pageAllocator.release(pageList, ceilDiv(length, engine->pageTokens()));
  return Status::ok();
}

Status Sequence::reserve(uint64_t length) {
  std::lock_guard lock(engine->mutex);
  if (length > engine->context())
    return Status(Code::Exhausted) << "a sequence of " << length << " tokens exceeds the context of "
                                   << engine->context()
                                   << "; shorten it or open a session with a larger context";
  uint64_t needed = ceilDiv(length, engine->pageTokens());
  if (needed <= pageList.size())
    return Status::ok();
  uint64_t more = needed - pageList.size();
  if (!engine->pageAllocator.allocate(more, pageList))
    return Status(Code::Exhausted) << "a sequence of " << length << " tokens needs " << more
                                   << " more cache pages, " << engine->pageAllocator.available() << " of "
                                   << engine->pageAllocator.total()
                                   << " are free; end other sequences or open a session for more";
  return Status::ok();
}

// ---- Engine
// --------------------------------------------------------------------------------------------------

Result<std::shared_ptr<Engine>> Engine::open(std::shared_ptr<const ModelFile> model,
                                             const EngineOptions &options) {
  if (!model)
    return Status(Code::InvalidArgument) << "no model was given";
  LORAC_ASSIGN(EnginePlan plan, planEngine(*model, options));
  DeviceOptions deviceOptions = options.deviceOptions;
  LORAC_ASSIGN(std::vector<StepProgram> programs,
               findStepPrograms(*model, lorac::symbolValues(*model, plan.symbols)));
  for (const ExpectedStep &step : options.expected)
    if (const StepProgram *program = chooseProgram(programs, step.rows, step.adapters))
      deviceOptions.programs[program->program] += step.times;
  LORAC_ASSIGN(std::unique_ptr<DeviceModel> device,
               openDevice(options.device, *model, plan.symbols, deviceOptions));
  return create(std::move(model), options, std::move(device));
}

Result<std::shared_ptr<Engine>> Engine::create(std::shared_ptr<const ModelFile> model,
                                               const EngineOptions &options,
                                               std::unique_ptr<DeviceModel> device) {
  if (!model || !device)
    return Status(Code::InvalidArgument) << "no model or no device was given";
  LORAC_ASSIGN(EnginePlan plan, planEngine(*model, options));
  const fbs::Model &metadata = model->metadata();

  std::vector<uint64_t> symbols = lorac::symbolValues(*model, plan.symbols);

  LORAC_TRY(model->checkSizes(symbols));

  std::shared_ptr<Engine> engine(new Engine);
  LORAC_ASSIGN(engine->programs, findStepPrograms(*model, symbols));
  engine->limits.outRows = plan.maxRows;
  for (const StepProgram &program : engine->programs)
    engine->servesAdapters |= program.adapters;
  for (uint32_t rows = 1; rows <= plan.maxRows; ++rows)
    for (bool on : {false, true}) {
      if (on && !engine->servesAdapters)
        continue;
      const StepProgram *program = chooseProgram(engine->programs, rows, on);
      if (!program)
        return Status(Code::Unsupported)
               << model->path() << ": no program serves a step of " << rows << " rows with adapters "
               << (on ? "on" : "off") << "; compile the model again";
      if (program->outCapacity < rows)
        engine->limits.outRows = std::min(engine->limits.outRows, program->outCapacity);
    }
  engine->limits.rows = plan.maxRows;
  engine->limits.entries = plan.symbols.maxEntries;
  engine->limits.items = plan.symbols.maxItems;
  engine->limits.pages = plan.symbols.pages;
  engine->limits.pageTokens = metadata.page_tokens();
  engine->adapterPool = AdapterPool::create(plan.symbols.poolBytes);
  engine->pageAllocator = PageAllocator(uint32_t(plan.symbols.pages));
  if (metadata.angles())
    for (const fbs::AngleTable *table : *metadata.angles())
      engine->angles.emplace_back(*table);
  engine->plan = plan;
  engine->modelFile = std::move(model);
  engine->device = std::move(device);
  return engine;
}

std::string Engine::deviceDescription() const {
  std::lock_guard lock(mutex);
  return device->description();
}

DeviceCounters Engine::counters() const {
  std::lock_guard lock(mutex);
  return device->counters();
}

Status Engine::noteLost(Status status) {
  if (status.code() == Code::DeviceLost && lost.isOk())
    lost = status;
  return status;
}

// ---- measuring ----

std::vector<uint64_t> Engine::symbolValues(const StepSymbols &step) const {
  return lorac::symbolValues(*modelFile, plan.symbols, step);
}

Result<DeviceProfiler *> Engine::profilerLocked() {
  LORAC_TRY(lost);
  DeviceProfiler *profiler = device->profiler();
  if (!profiler)
    return Status(Code::Unsupported) << device->description()
                                     << ": cannot say what its time goes to; measure on another device";
  return profiler;
}

Status Engine::startProfile() {
  std::lock_guard lock(mutex);
  LORAC_ASSIGN(DeviceProfiler * profiler, profilerLocked());
  return noteLost(profiler->start());
}

std::vector<RunProfile> Engine::stopProfile() {
  std::lock_guard lock(mutex);
  DeviceProfiler *profiler = device->profiler();
  return profiler ? profiler->stop() : std::vector<RunProfile>();
}

Result<ReadTimes> Engine::timeReads(const ReadKernel &kernel, uint64_t bytes, uint32_t repetitions) {
  std::lock_guard lock(mutex);
  LORAC_ASSIGN(DeviceProfiler * profiler, profilerLocked());
  Result<ReadTimes> times = profiler->timeReads(kernel, bytes, repetitions);
  if (!times)
    return noteLost(times.status());
  return times;
}

// ---- adapters ----

Result<std::shared_ptr<const LoadedAdapter>> Engine::loadAdapter(const AdapterFile &adapter,
                                                                 const LoadAdapterOptions &options) {
  if (!servesAdapters)
    return Status(Code::Incompatible) << adapter.path() << ": " << modelFile->path()
                                      << " holds no program for adapters; compile the model again";
  auto write = [this](uint64_t offset, std::span<const uint8_t> bytes) {
    std::lock_guard lock(mutex); // no step runs while the pool is written
    LORAC_TRY(lost);
    return noteLost(device->writePool(offset, bytes));
  };
  LORAC_ASSIGN(std::shared_ptr<const LoadedAdapter> loaded,
               adapterPool->load(*modelFile, adapter, options, write));
  std::lock_guard lock(mutex);
  // Two threads may load one name at once: the later load stays.
  std::shared_ptr<const LoadedAdapter> &place = registry[loaded->name()];
  if (!place || place->load() < loaded->load())
    place = loaded;
  return loaded;
}

std::shared_ptr<const LoadedAdapter> Engine::findAdapter(const std::string &name) const {
  std::lock_guard lock(mutex);
  auto found = registry.find(name);
  return found == registry.end() ? nullptr : found->second;
}

Status Engine::unloadAdapter(const std::string &name) {
  std::lock_guard lock(mutex);
  if (registry.erase(name) == 0)
    return Status(Code::NotFound) << "no adapter named '" << name << "' is loaded";
  return Status::ok();
}

void Engine::unloadAdapter(const std::shared_ptr<const LoadedAdapter> &adapter) {
  if (!adapter)
    return;
  std::lock_guard lock(mutex);
  auto found = registry.find(adapter->name());
  if (found != registry.end() && found->second == adapter)
    registry.erase(found);
}

std::vector<std::shared_ptr<const LoadedAdapter>> Engine::adapters() const {
  std::lock_guard lock(mutex);
  std::vector<std::shared_ptr<const LoadedAdapter>> result;
  for (const auto &[name, adapter] : registry)
    result.push_back(adapter);
  return result;
}

// ---- sequences ----

Status Engine::checkNormalised(const Stack &normalised) const {
  for (const StackEntry &entry : normalised)
    if (entry.adapter->owner() != adapterPool.get())
      return Status(Code::InvalidArgument) << "adapter '" << entry.adapter->name()
                                           << "' was loaded by another session; load it in this one";
  uint64_t items = stackItems(normalised);
  if (normalised.size() > limits.entries || items > limits.items)
    return Status(Code::Exhausted) << "a stack of " << normalised.size() << " adapters takes " << items
                                   << " rank tiles, a step has room for " << limits.entries
                                   << " adapters and " << limits.items
                                   << " rank tiles; use a smaller stack or open a session with more";
  return Status::ok();
}

Status Engine::checkStack(const Stack &stack) const {
  LORAC_ASSIGN(Stack normalised, normaliseStack(stack));
  return checkNormalised(normalised);
}

Result<std::shared_ptr<Sequence>> Engine::createSequence(const Stack &stack) {
  std::shared_ptr<Sequence> sequence(new Sequence(shared_from_this()));
  LORAC_TRY(sequence->setStack(stack));
  return sequence;
}

uint64_t Engine::freePages() const {
  std::lock_guard lock(mutex);
  return pageAllocator.available();
}

uint64_t Engine::totalPages() const { return plan.symbols.pages; }

// ---- steps ----

namespace {

/// What a step does to one sequence, and how to undo it.
struct Advance {
  Sequence *sequence;
  uint64_t oldLength;
  size_t oldPages;
  uint64_t added = 0;
};

} // namespace

Status Engine::step(std::span<const StepRow> rows, StepOutput &output) {
  std::lock_guard lock(mutex);
  LORAC_TRY(lost);
  if (rows.empty())
    return Status(Code::InvalidArgument) << "a step of no rows; give at least one";

  // Which sequences advance, and how far.
  std::vector<Advance> advances;
  std::map<const Sequence *, uint32_t> numbers;
  std::vector<uint32_t> numberOf(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const StepRow &row = rows[i];
    if (!row.sequence || row.sequence->engine.get() != this)
      return Status(Code::InvalidArgument) << "row " << i << " names no sequence of this session";
    if (row.token >= vocabSize())
      return Status(Code::InvalidArgument)
             << "row " << i << ": token " << row.token << " is outside the vocabulary of " << vocabSize();
    auto [it, isNew] = numbers.try_emplace(row.sequence, uint32_t(advances.size()));
    if (isNew)
      advances.push_back({row.sequence, row.sequence->tokenList.size(), row.sequence->pageList.size()});
    numberOf[i] = it->second;
    ++advances[it->second].added;
  }
  uint64_t pagesNeeded = 0;
  for (const Advance &advance : advances) {
    if (advance.added > plan.context - advance.oldLength)
      return Status(Code::Exhausted) << "a sequence of " << advance.oldLength << " tokens and "
                                     << advance.added << " more exceed the context of " << plan.context
                                     << "; shorten the text or open a session with a larger context";
    uint64_t pages = ceilDiv(advance.oldLength + advance.added, pageTokens());
    pagesNeeded += pages > advance.oldPages ? pages - advance.oldPages : 0;
  }
  if (pagesNeeded > pageAllocator.available())
    return Status(Code::Exhausted) << "this step needs " << pagesNeeded << " more cache pages, "
                                   << pageAllocator.available() << " of " << pageAllocator.total()
                                   << " are free; end other sequences or open a session for more";

  // Memory for everything first: from here on only the device can fail.
  size_t wanted = 0;
  output.width = vocabSize();
  output.index.assign(rows.size(), SIZE_MAX);
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].wantLogits)
      output.index[i] = wanted++;
  output.values.resize(wanted * output.width);
  std::vector<PlannedRow> planned;
  planned.reserve(rows.size());
  for (Advance &advance : advances) {
    size_t pages = ceilDiv(advance.oldLength + advance.added, pageTokens());
    advance.sequence->pageList.reserve(pages);
    advance.sequence->tokenList.reserve(advance.oldLength + advance.added);
  }
  for (Advance &advance : advances) {
    size_t pages = ceilDiv(advance.oldLength + advance.added, pageTokens());
    std::vector<uint32_t> &list = advance.sequence->pageList;
    if (pages > list.size())
      (void)pageAllocator.allocate(pages - list.size(), list); // there are enough, as counted above
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    Sequence &sequence = *rows[i].sequence;
    planned.push_back({rows[i].token, uint32_t(sequence.tokenList.size()), numberOf[i], rows[i].wantLogits,
                       sequence.pageList, &sequence.active});
    sequence.tokenList.push_back(rows[i].token);
  }
  auto undo = [&] {
    output.index.clear();
    for (const Advance &advance : advances) {
      advance.sequence->tokenList.resize(advance.oldLength);
      pageAllocator.release(advance.sequence->pageList, advance.oldPages);
    }
  };

  Status status;
  try {
    Result<std::vector<PlannedRun>> runs = planRuns(planned, limits);
    status = runs.status();
    float *logits = output.values.data();
    for (size_t r = 0; status.isOk() && r < runs->size(); ++r) {
      const PlannedRun &run = (*runs)[r];
      status = runLocked(std::span<const PlannedRow>(planned).subspan(run.first, run.count), run, logits);
      logits += run.outRows * output.width;
    }
  } catch (const std::bad_alloc &) { // an angle cache or a table could not grow
    undo();
    return Status(Code::OutOfMemory) << "host memory ran out in a step of " << rows.size() << " rows";
  }
  if (!status.isOk())
    undo();
  return status;
}

Status Engine::runLocked(std::span<const PlannedRow> rows, const PlannedRun &run, float *logits) {
  const StepProgram *program = chooseProgram(programs, rows.size(), run.entries > 0);
  if (!program)
    return Status(Code::Incompatible) << "no program serves " << rows.size() << " rows with adapters "
                                      << (run.entries > 0 ? "on" : "off");
  uint64_t written = 0;
  for (const StepProgram::Input &input : program->inputs) {
    std::span<uint8_t> buffer = device->stepBuffer(program->program, input.buffer);
    LORAC_ASSIGN(uint64_t bytes, writeTable(input, rows, limits.pageTokens, angles, buffer));
    written += bytes;
  }
  StepSymbols symbols;
  symbols.rows = rows.size();
  symbols.outRows = run.outRows;
  symbols.items = run.items;
  symbols.adaptsHead = anyAdapter(rows, &LoadedAdapter::adaptsHead);
  LORAC_TRY(noteLost(device->run(program->program, symbols, written)));
  if (run.outRows == 0)
    return Status::ok();
  std::span<const float> out = device->outBuffer(program->program, program->outBuffer);
  if (run.outRows > program->outCapacity || out.size() < (run.outRows - 1) * program->rowStride + vocabSize())
    return Status(Code::Internal) << run.outRows << " rows of logits do not fit the out buffer of "
                                  << out.size() << " values; report the model file";
  for (uint64_t i = 0; i < run.outRows; ++i) {
    const float *row = out.data() + i * program->rowStride;
    if (!allFinite(row, vocabSize()))
      return Status(Code::InvalidArgument)
             << "a row of logits holds a value that is not finite; the model's or an "
             << "adapter's weights are damaged or overflow in f16: use a smaller strength or another file";
    std::memcpy(logits + i * vocabSize(), row, vocabSize() * sizeof(float));
  }
  return Status::ok();
}

} // namespace lorac
