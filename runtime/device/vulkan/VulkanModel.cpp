//===- VulkanModel.cpp - a model open on a Vulkan device --------------------===//
#include "runtime/device/vulkan/VulkanModel.h"

#include "runtime/device/vulkan/Memory.h"
#include "runtime/device/vulkan/Pipelines.h"
#include "runtime/device/vulkan/Program.h"
#include "runtime/device/vulkan/RawRead.h"
#include "runtime/device/vulkan/Stopwatch.h"
#include "runtime/device/vulkan/Timestamps.h"
#include "runtime/files/Expression.h"
#include "runtime/files/ModelFile.h"
#include "schemas/Catalog.h"
#include "support/Threads.h"

#include <algorithm>
#include <functional>
#include <new>
#include <numeric>
#include <optional>
#include <set>

namespace lorac::vulkan {
namespace {

/// With fewer runs than this a program gains less by its chains than making them takes (docs/decisions/0019).
constexpr uint64_t RunsOfAChain = 8;

class VulkanModel final : public DeviceModel, public DeviceProfiler {
public:
  static Result<std::unique_ptr<DeviceModel>> open(std::unique_ptr<Context> context, int index,
                                                   const ModelFile &model, const LoadSymbols &symbols,
                                                   const DevicePlan &plan, const Options &options,
                                                   uint64_t driverNanoseconds);

  ~VulkanModel() override {
    (void)context->api.vkDeviceWaitIdle(context->device); // before its buffers go
    pipelines.save(*context);
  }
  Status writePool(uint64_t offset, std::span<const uint8_t> bytes) override;
  std::span<uint8_t> stepBuffer(size_t program, size_t buffer) override;
  Status run(size_t program, const StepSymbols &symbols, uint64_t stepBytes) override;
  std::span<const float> outBuffer(size_t program, size_t buffer) override;
  DeviceCounters counters() const override { return counts; }
  DeviceProfiler *profiler() override { return this; }
  Status start() override;
  std::vector<RunProfile> stop() override;
  Result<ReadTimes> timeReads(const ReadKernel &kernel, uint64_t bytes, uint32_t repetitions) override;
  std::string description() const override {
    return "vulkan:" + std::to_string(index) + " " + context->caps.name + ", " + context->caps.driver;
  }

private:
  VulkanModel(std::unique_ptr<Context> context, int index, const ModelFile &model, const LoadSymbols &symbols)
      : context(std::move(context)), index(index), model(model), load(symbols) {}

  Status fill(const std::map<size_t, uint64_t> &expected);
  Status uploadWeights();
  Status checkStep(const fbs::Program &program, const StepSymbols &symbols) const;
  Status replay(size_t program, const StepSymbols &symbols);
  /// Whether chains of a program run as such now: not where each dispatch shall have its time, nor where a
  /// program will not run for long enough.
  bool isChained(size_t program) const { return !timestamps && !brief.contains(program); }
  /// The program as it is run now.
  std::optional<Program> &boundTo(size_t program) {
    return isChained(program) ? programs[program] : plainPrograms[program];
  }
  void count(const Tally &tally);
  /// The mapped bytes of a Step or Out buffer; empty where it is none or has none.
  std::span<uint8_t> mappedBuffer(size_t program, size_t buffer, fbs::Space space) const;

  std::unique_ptr<Context> context; // declared first: all below holds objects of its device
  const int index;
  const ModelFile &model;
  const LoadSymbols load;
  DeviceCounters counts;
  std::vector<size_t> catalogIndex; ///< by kernel of the file, into counts.dispatchesByKernel
  Memory memory;
  Pipelines pipelines;
  BufferViews views;
  std::vector<std::optional<Program>> programs;
  std::vector<std::optional<Program>> plainPrograms; ///< without chains
  std::set<size_t> brief;                            ///< programs that run a few times and no more
  AllocationPlan weightPlan;                         ///< where weights lie, and how
  AllocationPlan wordPlan;                           ///< of chains
  std::optional<Timestamps> timestamps;              // while runs are profiled
  std::vector<RunProfile> profiles;
};

Result<std::unique_ptr<DeviceModel>> VulkanModel::open(std::unique_ptr<Context> context, int index,
                                                       const ModelFile &model, const LoadSymbols &symbols,
                                                       const DevicePlan &plan, const Options &options,
                                                       uint64_t driverNanoseconds) {
  std::unique_ptr<VulkanModel> opened(new VulkanModel(std::move(context), index, model, symbols));
  opened->counts.driverNanoseconds = driverNanoseconds;
  Context &device = *opened->context;
  for (const catalog::Kernel &kernel : catalog::Kernels)
    opened->counts.dispatchesByKernel.emplace_back(kernel.name, 0);
  opened->counts.dispatchesByKernel.emplace_back("chain", 0);
  for (const fbs::Kernel *kernel : *model.metadata().kernels())
    opened->catalogIndex.push_back(
        size_t(catalog::find(kernel->catalog()->string_view()) - catalog::Kernels));
  opened->programs.resize(model.metadata().programs()->size());
  opened->plainPrograms.resize(opened->programs.size());
  if (const auto &weights = plan.spaces[size_t(fbs::Space::Weight)]; !weights.empty())
    opened->weightPlan = weights.front();
  opened->wordPlan = plan.words;
  LORAC_ASSIGN(opened->memory, Memory::create(device, plan, model.mappedWeights(), opened->counts));
  LORAC_ASSIGN(opened->pipelines,
               Pipelines::create(device, model, plan, options.pipelineCache, opened->counts));
  LORAC_TRY(opened->fill(options.programs));
  LORAC_TRY(device.instance->validationStatus());
  return std::unique_ptr<DeviceModel>(std::move(opened));
}

/// Copies those weights that are not there already, and makes the pipelines of `expected` programs where
/// nothing is copied or both can go on at once: a copy into mapped memory that needs no flush calls nothing
/// of Vulkan's.
Status VulkanModel::fill(const std::map<size_t, uint64_t> &expected) {
  std::set<uint32_t> kernels;
  for (const auto &[program, times] : expected) {
    if (times < RunsOfAChain)
      brief.insert(program);
    kernels.merge(Program::pipelinesOf(*model.metadata().programs()->Get(uint32_t(program)), pipelines,
                                       isChained(program)));
  }
  const auto &weights = memory.allocations(fbs::Space::Weight);
  const auto isFilled = [](const Allocation &allocation) { return allocation.filled; };
  const auto callsNothing = [](const Allocation &allocation) {
    return allocation.filled || (allocation.mapped && allocation.coherent);
  };
  if (kernels.empty() || !std::all_of(weights.begin(), weights.end(), callsNothing))
    return uploadWeights();
  if (std::all_of(weights.begin(), weights.end(), isFilled))
    return pipelines.make(*context, kernels, counts);
  DeviceCounters apart;
  Status uploaded, made;
  const auto guarded = [](const std::function<Status()> &work) {
    try {
      return work();
    } catch (const std::bad_alloc &) {
      return Status(Code::OutOfMemory) << "host memory ran out while a model was opened";
    }
  };
  forEachOnThreads(2, 2, [&](size_t i) {
    if (i == 0)
      uploaded = guarded([&] { return uploadWeights(); });
    else
      made = guarded([&] { return pipelines.make(*context, kernels, apart); });
  });
  counts.pipelinesMade += apart.pipelinesMade;
  if (apart.pipelineNanoseconds > counts.uploadNanoseconds)
    counts.pipelineNanoseconds += apart.pipelineNanoseconds - counts.uploadNanoseconds;
  LORAC_TRY(uploaded);
  return made;
}

Status VulkanModel::uploadWeights() {
  Stopwatch watch(counts.uploadNanoseconds);
  for (const Allocation &allocation : memory.allocations(fbs::Space::Weight)) {
    if (allocation.filled)
      continue;
    Location to = {&allocation, 0};
    Status status;
    model.weightBytes(allocation.offset, allocation.size, [&](std::span<const uint8_t> piece) {
      if (status.isOk())
        status = memory.write(*context, to, piece);
      to.offset += piece.size();
    });
    LORAC_TRY(status);
    counts.weightBytesUploaded += allocation.size;
    // The device has its copy: the file's pages need not stay.
    model.releaseWeights();
  }
  return Status::ok();
}

Status VulkanModel::writePool(uint64_t offset, std::span<const uint8_t> bytes) {
  LORAC_TRY(context->lost());
  if (offset % 16 != 0 || bytes.size() % 16 != 0)
    return Status(Code::InvalidArgument) << model.path() << ": " << bytes.size() << " bytes at " << offset
                                         << " of the adapter pool; both must be multiples of 16";
  if (bytes.empty())
    return Status::ok();
  std::optional<Location> to = memory.find(fbs::Space::Pool, offset, bytes.size());
  if (!to)
    return Status(Code::InvalidArgument) << model.path() << ": " << bytes.size() << " bytes at " << offset
                                         << " do not lie in the adapter pool of " << load.poolBytes
                                         << " bytes; open a session with more memory for adapters";
  LORAC_TRY(memory.write(*context, *to, bytes));
  counts.poolBytesUploaded += bytes.size();
  return context->instance->validationStatus();
}

std::span<uint8_t> VulkanModel::mappedBuffer(size_t program, size_t buffer, fbs::Space space) const {
  const auto &all = *model.metadata().programs();
  if (program >= all.size() || buffer >= all[uint32_t(program)]->buffers()->size())
    return {};
  const fbs::Buffer &entry = *all[uint32_t(program)]->buffers()->Get(uint32_t(buffer));
  std::vector<uint64_t> values = symbolValues(model, load, {});
  uint64_t offset = evaluate(model.metadata(), entry.offset(), values).value_or(0),
           size = evaluate(model.metadata(), entry.size(), values).value_or(0);
  if (entry.space() != space || size == 0)
    return {};
  std::optional<Location> location = memory.find(space, offset, size);
  if (!location)
    return {};
  return {location->allocation->mapped + location->offset, size};
}

std::span<uint8_t> VulkanModel::stepBuffer(size_t program, size_t buffer) {
  return mappedBuffer(program, buffer, fbs::Space::Step);
}

std::span<const float> VulkanModel::outBuffer(size_t program, size_t buffer) {
  std::span<const uint8_t> bytes = mappedBuffer(program, buffer, fbs::Space::Out);
  return {reinterpret_cast<const float *>(bytes.data()), bytes.size() / sizeof(float)};
}

Status VulkanModel::checkStep(const fbs::Program &program, const StepSymbols &symbols) const {
  auto fail = [&] {
    return Status(Code::InvalidArgument) << model.path() << ": program '" << program.name()->str() << "' ";
  };
  auto maximum = [&](const char *name) {
    return model.metadata().symbols()->Get(uint32_t(model.symbolIndex(name)))->maximum();
  };
  if (symbols.rows < program.rows_min() || symbols.rows > program.rows_max())
    return fail() << "serves " << program.rows_min() << " to " << program.rows_max() << " rows, not "
                  << symbols.rows;
  uint64_t outRows = std::min<uint64_t>(program.rows_max(), maximum("out_rows"));
  if (symbols.outRows > outRows)
    return fail() << "gives logits of at most " << outRows << " rows, not " << symbols.outRows;
  if (symbols.items > load.maxItems)
    return fail() << "is asked for " << symbols.items << " items, this session has room for "
                  << load.maxItems;
  return Status::ok();
}

Status VulkanModel::run(size_t program, const StepSymbols &symbols, uint64_t stepBytes) {
  LORAC_TRY(context->lost());
  const auto &all = *model.metadata().programs();
  if (program >= all.size())
    return Status(Code::InvalidArgument)
           << model.path() << ": has " << all.size() << " programs, there is no number " << program;
  LORAC_TRY(checkStep(*all[uint32_t(program)], symbols));
  Status status = replay(program, symbols);
  // What the layer says explains a failure better than the failure itself.
  LORAC_TRY(context->instance->validationStatus());
  LORAC_TRY(status);
  ++counts.steps;
  counts.stepBytesUploaded += stepBytes;
  count(boundTo(program)->tally());
  return Status::ok();
}

Status VulkanModel::replay(size_t program, const StepSymbols &symbols) {
  std::vector<uint64_t> values = symbolValues(model, load, symbols);
  std::optional<Program> &bound = boundTo(program);
  const bool isFirst = !bound; // its kernels may be compiled when they are first dispatched
  if (isFirst) {
    LORAC_ASSIGN(bound, Program::create({*context, model, memory, wordPlan, pipelines, views, values, counts},
                                        program, isChained(program)));
    LORAC_TRY(context->instance->validationStatus());
  }
  LORAC_ASSIGN(VkCommandBuffer commands,
               bound->record(*context, model, values, timestamps ? &*timestamps : nullptr));
  bound->rewind();
  LORAC_TRY(context->instance->validationStatus());
  LORAC_TRY(memory.flush(*context, fbs::Space::Step));
  LORAC_TRY(context->submitAndWait(commands, isFirst ? Waiting::Asleep : Waiting::Awake));
  if (timestamps) {
    LORAC_ASSIGN(std::vector<double> spans, timestamps->read(*context));
    RunProfile profile = {program, symbols, {}};
    const std::vector<uint32_t> &spanOf = bound->tally().commands;
    for (size_t i = 0; i < spans.size(); ++i)
      profile.dispatches.push_back({spanOf[i], spans[i]});
    profiles.push_back(std::move(profile));
  }
  return memory.invalidate(*context, fbs::Space::Out);
}

Status VulkanModel::start() {
  LORAC_TRY(context->lost());
  if (context->caps.timestampBits == 0)
    return Status(Code::Unsupported) << description() << ": its compute queue has no timestamps, so that "
                                     << "kernels cannot be timed one by one; measure on another device";
  profiles.clear();
  if (!timestamps)
    timestamps.emplace();
  return Status::ok();
}

std::vector<RunProfile> VulkanModel::stop() {
  timestamps.reset(); // no command buffer that names its queries is kept
  return std::exchange(profiles, {});
}

Result<ReadTimes> VulkanModel::timeReads(const ReadKernel &kernel, uint64_t bytes, uint32_t repetitions) {
  LORAC_TRY(context->lost());
  auto times = vulkan::timeReads(*context, kernel, weightPlan, bytes, repetitions);
  LORAC_TRY(context->instance->validationStatus());
  return times;
}

void VulkanModel::count(const Tally &tally) {
  counts.barriers += tally.barriers;
  counts.dispatches += tally.chains;
  counts.dispatchesByKernel.back().second += tally.chains;
  for (size_t kernel = 0; kernel < tally.dispatches.size(); ++kernel) {
    uint64_t dispatches = tally.dispatches[kernel];
    counts.dispatches += dispatches;
    counts.dispatchesByKernel[catalogIndex[kernel]].second += dispatches;
    if (catalog::Kernels[catalogIndex[kernel]].adapter)
      counts.adapterDispatches += dispatches;
  }
}

/// One device: plan, then act.
Result<std::unique_ptr<DeviceModel>> openOn(std::shared_ptr<Instance> instance,
                                            const PhysicalDevice &physical, int index, const ModelFile &model,
                                            const LoadSymbols &symbols, const ModelNeeds &needs,
                                            const Options &options) {
  LORAC_ASSIGN(std::unique_ptr<Context> context,
               Context::create(std::move(instance), physical, options.adjustApi));
  const uint64_t driverNanoseconds = nanoseconds(Clock::now() - options.began);
  LORAC_ASSIGN(DevicePlan plan, planDevice(context->caps, needs, options.limits));
  return VulkanModel::open(std::move(context), index, model, symbols, plan, options, driverNanoseconds);
}

} // namespace

Result<std::vector<size_t>> candidates(const DeviceSpec &spec, const std::vector<DeviceCaps> &devices) {
  if (devices.empty())
    return Status(Code::DeviceUnavailable) << "vulkan: no device with Vulkan 1.1 and a compute queue; "
                                              "install a driver, for instance Debian's mesa-vulkan-drivers";
  if (spec.index >= 0 && size_t(spec.index) >= devices.size())
    return Status(Code::DeviceUnavailable) << "vulkan:" << spec.index << ": there are " << devices.size()
                                           << " Vulkan devices, numbered from 0; see: lorac devices";
  if (spec.index >= 0)
    return std::vector<size_t>{size_t(spec.index)};
  std::vector<size_t> order(devices.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return devices[a].deviceClass < devices[b].deviceClass; });
  return order;
}

Result<std::unique_ptr<DeviceModel>> openModel(std::shared_ptr<Instance> instance, const DeviceSpec &spec,
                                               const ModelFile &model, const LoadSymbols &symbols,
                                               const Options &options) {
  LORAC_ASSIGN(std::vector<PhysicalDevice> devices, instance->devices());
  Options timed = options; // what is no work of the driver's is no part of its start
  const Clock::time_point found = Clock::now();
  LORAC_ASSIGN(ModelNeeds needs, modelNeeds(model, symbols));
  timed.began += Clock::now() - found;
  std::vector<DeviceCaps> caps;
  for (PhysicalDevice &device : devices) {
    device.caps.denied = spec.denied;
    if (options.adjustCaps)
      options.adjustCaps(device.caps);
    caps.push_back(device.caps);
  }
  LORAC_ASSIGN(std::vector<size_t> order, candidates(spec, caps));
  Status first;
  for (size_t index : order) {
    auto opened = openOn(instance, devices[index], int(index), model, symbols, needs, timed);
    if (opened)
      return opened;
    Status status = opened.status();
    // Another device may do what this one cannot; the most preferred one's reason is told.
    bool another = status.code() == Code::DeviceUnavailable || status.code() == Code::Incompatible ||
                   status.code() == Code::OutOfMemory;
    if (!another)
      return status;
    if (first.isOk())
      first = status;
    else
      first.addNote(status.message());
  }
  return first;
}

} // namespace lorac::vulkan
