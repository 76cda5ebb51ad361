//===- Program.cpp - a program bound to device memory -----------------------===//
#include "runtime/device/vulkan/Program.h"

#include "runtime/files/Chain.h"
#include "runtime/files/Expression.h"
#include "runtime/files/ModelFile.h"
#include "schemas/Chain.h"
#include "support/Checked.h"

#include <algorithm>
#include <array>
#include <deque>
#include <thread>

namespace lorac::vulkan {
namespace {

constexpr VkPipelineStageFlags DeviceStages =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
constexpr VkAccessFlags DeviceWrites = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags DeviceAccess = DeviceWrites | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT;

constexpr uint32_t WordAlignment = 64; ///< words of a chain start at multiples: what every device binds

/// In how many groups a chain is dispatched: one a core that may work on it.
uint32_t chainGroups() { return std::clamp(std::thread::hardware_concurrency(), 1u, 64u); }

void recordBarrier(const DeviceApi &api, VkCommandBuffer commands, VkPipelineStageFlags fromStages,
                   VkAccessFlags from, VkPipelineStageFlags toStages, VkAccessFlags to) {
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = from;
  barrier.dstAccessMask = to;
  api.vkCmdPipelineBarrier(commands, fromStages, toStages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

} // namespace

Result<VkBufferView> BufferViews::get(Context &context, VkBuffer buffer, uint64_t offset, uint64_t size,
                                      VkFormat format) {
  std::tuple key(buffer, offset, size, format);
  if (auto found = views.find(key); found != views.end())
    return found->second.get();
  VkBufferViewCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  info.buffer = buffer;
  info.format = format;
  info.offset = offset;
  info.range = size;
  LORAC_ASSIGN(Handle<VkBufferView> view,
               context.make(context.api.vkCreateBufferView, context.api.vkDestroyBufferView, info,
                            "vkCreateBufferView"));
  return views.emplace(key, std::move(view)).first->second.get();
}

/// Symbols were checked against the file when it was opened, so what is missing here is only memory that the
/// session did not ask for (a pool of 0 bytes, 0 items).
Result<std::pair<Location, uint64_t>> Program::resolve(const Resources &resources,
                                                       const fbs::View &view) const {
  const fbs::Buffer &buffer = *program->buffers()->Get(view.buffer());
  const auto value = [&](uint32_t expression) {
    return evaluate(resources.model.metadata(), expression, resources.symbols);
  };
  auto start = value(buffer.offset()), offset = value(view.offset()), size = value(view.size());
  std::optional<Location> location;
  if (start && offset && size && *size > 0)
    location = resources.memory.find(buffer.space(), *start + *offset, *size);
  if (!location)
    return Status(Code::InvalidArgument)
           << resources.model.path() << ": program '" << name << "' needs buffer '" << buffer.name()->str()
           << "', which this session has no memory for; open it with adapters and more than 0 pages";
  return std::pair(*location, *size);
}

std::set<uint32_t> Program::pipelinesOf(const fbs::Program &program, const Pipelines &pipelines,
                                        bool chained) {
  std::set<uint32_t> kernels;
  const auto &commands = *program.commands();
  for (uint32_t at = 0; at < commands.size(); ++at)
    if (const fbs::Command &command = *commands[at]; command.kind() == fbs::CommandKind::Dispatch) {
      kernels.insert(command.kernel());
    } else if (chained && command.kind() == fbs::CommandKind::Run && pipelines.runsChain(command.kernel())) {
      kernels.insert(pipelines.numberOf(command.kernel()));
      at += command.commands();
    }
  return kernels;
}

Result<Program> Program::create(const Resources &resources, size_t index, bool chained) {
  Program result;
  result.program = resources.model.metadata().programs()->Get(uint32_t(index));
  result.name = result.program->name()->str();
  LORAC_TRY(resources.pipelines.make(
      resources.context, pipelinesOf(*result.program, resources.pipelines, chained), resources.counters));
  std::vector<SetKey> keys; // a dispatch's, in order
  uint32_t words = 0;
  const std::map<uint32_t, uint32_t> whole = wholeRuns(resources.model.metadata(), *result.program);
  const auto &commands = *result.program->commands();
  for (uint32_t at = 0; at < commands.size(); ++at) {
    const fbs::Command *command = commands[at];
    Step step;
    step.command = command;
    std::vector<Location> locations;
    std::vector<uint64_t> sizes;
    const auto resolveViews = [&](const fbs::Command &of) -> Status {
      for (uint32_t i = 0; of.views() && i < of.views()->size(); ++i) {
        LORAC_ASSIGN(auto bound, result.resolve(resources, *of.views()->Get(i)));
        locations.push_back(bound.first);
        sizes.push_back(bound.second);
      }
      return Status::ok();
    };
    LORAC_TRY(resolveViews(*command));
    const auto addKey = [&] {
      SetKey key = {step.pipeline->setLayout, {}};
      for (size_t i = 0; i < locations.size(); ++i)
        key.second.emplace_back(locations[i].allocation->buffer.get(), locations[i].offset, sizes[i]);
      keys.push_back(std::move(key));
    };
    switch (command->kind()) {
    case fbs::CommandKind::Dispatch:
      step.pipeline = resources.pipelines.get(command->kernel());
      addKey();
      break;
    case fbs::CommandKind::Run: {
      if (!chained || !resources.pipelines.runsChain(command->kernel()))
        break;
      step.pipeline = resources.pipelines.get(resources.pipelines.numberOf(command->kernel()));
      const size_t count = resources.model.metadata().chains()->Get(command->kernel())->kernels()->size();
      const std::vector<const fbs::Command *> own = linksOfRun(*result.program, at),
                                              all = linksOfRun(*result.program, whole.at(command->kernel()));
      step.wordCount = chain::parameters(uint32_t(count));
      for (size_t i = 0; i < count; ++i) {
        const bool works = i >= command->link() && i - command->link() < own.size();
        step.links.push_back(works ? own[i - command->link()] : nullptr);
        LORAC_TRY(resolveViews(works ? *own[i - command->link()] : *all[i]));
        step.wordCount += 2 + (all[i]->push() ? all[i]->push()->size() : 0);
      }
      at += command->commands();
      step.firstWord = words;
      words = uint32_t(roundUp(words + step.wordCount, WordAlignment));
      addKey();
      break;
    }
    case fbs::CommandKind::Fill:
      step.to = locations[0];
      step.size = sizes[0];
      break;
    case fbs::CommandKind::Copy:
      step.from = locations[0];
      step.to = locations[1];
      step.size = sizes[0];
      break;
    case fbs::CommandKind::Barrier:
      break;
    }
    result.steps.push_back(std::move(step));
  }
  if (words > 0) {
    AllocationPlan plan = resources.wordPlan;
    plan.size = words * sizeof(uint32_t);
    LORAC_ASSIGN(result.words, allocate(resources.context, plan, BufferUsage, resources.counters));
    std::fill_n(reinterpret_cast<uint32_t *>(result.words->mapped), words, 0);
  }
  LORAC_TRY(result.makeSets(resources, keys));
  LORAC_ASSIGN(result.commands, resources.context.allocateCommands());
  return result;
}

/// One descriptor set for each different (layout, views, formats); layers that share all of them share the
/// set.
Status Program::makeSets(const Resources &resources, const std::vector<SetKey> &keys) {
  if (keys.empty())
    return Status::ok();
  Context &context = resources.context;
  const DeviceApi &api = context.api;

  // The formats are part of what a set holds: two kernels of one layout may read a buffer as different
  // elements.
  std::map<std::pair<SetKey, std::vector<VkFormat>>, std::vector<Step *>> users;
  std::array<uint32_t, 2> descriptors = {0, 0};
  size_t nextKey = 0;
  for (Step &step : steps) {
    if (!step.dispatches())
      continue;
    const std::vector<VkFormat> &formats = step.pipeline->formats;
    SetKey key = keys[nextKey++];
    if (!step.links.empty())
      key.second.emplace_back(words->buffer.get(), step.firstWord * sizeof(uint32_t),
                              step.wordCount * sizeof(uint32_t));
    std::vector<Step *> &list = users[{std::move(key), formats}];
    list.push_back(&step);
    if (list.size() == 1)
      for (VkFormat format : formats)
        ++descriptors[format != VK_FORMAT_UNDEFINED];
  }

  std::vector<VkDescriptorPoolSize> poolSizes;
  if (descriptors[0] > 0)
    poolSizes.push_back({VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptors[0]});
  if (descriptors[1] > 0)
    poolSizes.push_back({VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, descriptors[1]});
  VkDescriptorPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  poolInfo.maxSets = uint32_t(users.size());
  poolInfo.poolSizeCount = uint32_t(poolSizes.size());
  poolInfo.pPoolSizes = poolSizes.data();
  LORAC_ASSIGN(pool, context.make(api.vkCreateDescriptorPool, api.vkDestroyDescriptorPool, poolInfo,
                                  "vkCreateDescriptorPool"));

  for (const auto &[content, list] : users) {
    const auto &[key, formats] = content;
    VkDescriptorSetAllocateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
    setInfo.descriptorPool = pool.get();
    setInfo.descriptorSetCount = 1;
    setInfo.pSetLayouts = &key.first;
    VkDescriptorSet set = VK_NULL_HANDLE;
    LORAC_TRY(context.check(api.vkAllocateDescriptorSets(context.device, &setInfo, &set),
                            "vkAllocateDescriptorSets"));
    // Deques keep their elements where they are, and the writes point at them.
    std::deque<VkDescriptorBufferInfo> buffers;
    std::deque<VkBufferView> texels;
    std::vector<VkWriteDescriptorSet> writes;
    for (size_t i = 0; i < key.second.size(); ++i) {
      auto [buffer, offset, size] = key.second[i];
      VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      write.dstSet = set;
      write.dstBinding = uint32_t(i);
      write.descriptorCount = 1;
      if (formats[i] == VK_FORMAT_UNDEFINED) {
        write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        write.pBufferInfo = &buffers.emplace_back(VkDescriptorBufferInfo{buffer, offset, size});
      } else {
        write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
        LORAC_ASSIGN(VkBufferView view, resources.views.get(context, buffer, offset, size, formats[i]));
        write.pTexelBufferView = &texels.emplace_back(view);
      }
      writes.push_back(write);
    }
    api.vkUpdateDescriptorSets(context.device, uint32_t(writes.size()), writes.data(), 0, nullptr);
    for (Step *step : list)
      step->set = set;
  }
  return Status::ok();
}

Result<Program::Launch> Program::launch(const DeviceCaps &caps, const ModelFile &model,
                                        const fbs::Command &command,
                                        std::span<const uint64_t> symbols) const {
  auto fail = [&](Code code) {
    return Status(code) << model.path() << ": program '" << name << "', kernel '"
                        << model.metadata().kernels()->Get(command.kernel())->name()->str() << "': ";
  };
  Launch result;
  for (uint32_t axis = 0; axis < 3; ++axis) {
    auto groups = evaluate(model.metadata(), command.grid()->Get(axis), symbols);
    if (!groups)
      return fail(Code::Internal) << "its grid has no value in this step; report it with this message";
    if (*groups > caps.maxWorkGroupCount[axis])
      return fail(Code::Exhausted) << *groups << " groups along axis " << axis << ", " << caps.name
                                   << " runs " << caps.maxWorkGroupCount[axis]
                                   << "; use fewer rows or adapters in a step";
    result.grid[axis] = uint32_t(*groups);
  }
  for (uint32_t i = 0; command.push() && i < command.push()->size(); ++i) {
    auto value = evaluate(model.metadata(), command.push()->Get(i), symbols);
    if (!value || *value > UINT32_MAX)
      return fail(Code::Internal) << "push constant " << i
                                  << " has no 32-bit value in this step; report it with this message";
    result.push.push_back(uint32_t(*value));
  }
  return result;
}

std::span<uint32_t> Program::wordsOf(const Step &step) const {
  return {reinterpret_cast<uint32_t *>(words->mapped) + step.firstWord, step.wordCount};
}

/// Of a chain, and writes what its links find in its words.
Result<Program::Launch> Program::launchChain(const DeviceCaps &caps, const ModelFile &model, const Step &step,
                                             std::span<const uint64_t> symbols) {
  std::span<uint32_t> own = wordsOf(step);
  const auto &kernels = *model.metadata().chains()->Get(step.command->kernel())->kernels();
  auto next = own.begin() + chain::parameters(uint32_t(step.links.size()));
  bool isEmpty = true;
  for (size_t i = 0; i < step.links.size(); ++i) {
    Launch one; // of a link that has nothing to do
    if (step.links[i]) {
      LORAC_ASSIGN(one, launch(caps, model, *step.links[i], symbols));
    }
    isEmpty = isEmpty && one.empty();
    *next++ = one.grid[2] == 0 ? 0 : one.grid[0];
    *next++ = one.grid[1];
    const auto *pushes = model.metadata().kernels()->Get(kernels[uint32_t(i)])->push();
    one.push.resize(pushes ? pushes->size() : 0);
    next = std::copy(one.push.begin(), one.push.end(), next);
  }
  return Launch{{isEmpty ? 0 : chainGroups(), 1, 1}, {}};
}

void Program::rewind() {
  for (const Step &step : steps)
    if (!step.links.empty())
      std::fill_n(wordsOf(step).begin(), chain::parameters(uint32_t(step.links.size())), 0);
}

void Program::recordDispatch(const DeviceApi &api, const Step &step, const Launch &launch) {
  api.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, step.pipeline->handle.get());
  api.vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, step.pipeline->layout, 0, 1,
                              &step.set, 0, nullptr);
  if (!launch.push.empty())
    api.vkCmdPushConstants(commands, step.pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           uint32_t(launch.push.size() * 4), launch.push.data());
  api.vkCmdDispatch(commands, launch.grid[0], launch.grid[1], launch.grid[2]);
  if (step.links.empty())
    ++recordedTally.dispatches[step.command->kernel()];
  else
    ++recordedTally.chains;
}

Result<VkCommandBuffer> Program::record(Context &context, const ModelFile &model,
                                        std::span<const uint64_t> symbols, Timestamps *timestamps) {
  if (!timestamps &&
      std::equal(recordedSymbols.begin(), recordedSymbols.end(), symbols.begin(), symbols.end()))
    return commands;
  recordedSymbols.clear(); // chains' words are no longer those of what was recorded
  // All that can be refused comes first: a recording that was begun is always ended.
  std::vector<Launch> launches;
  for (const Step &step : steps) {
    launches.emplace_back();
    if (!step.links.empty()) {
      LORAC_ASSIGN(launches.back(), launchChain(context.caps, model, step, symbols));
    } else if (step.dispatches()) {
      LORAC_ASSIGN(launches.back(), launch(context.caps, model, *step.command, symbols));
    }
  }

  const DeviceApi &api = context.api;
  recordedTally = {0, std::vector<uint64_t>(model.metadata().kernels()->size(), 0), 0, {}};
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  LORAC_TRY(context.check(api.vkBeginCommandBuffer(commands, &info), "vkBeginCommandBuffer"));
  if (timestamps) {
    Status reset = timestamps->reset(context, commands, uint32_t(steps.size()));
    if (!reset) {
      (void)api.vkEndCommandBuffer(commands);
      return reset;
    }
  }
  // What the host wrote for this step and what earlier submissions left (uploads, the cache, the arena).
  recordBarrier(api, commands, DeviceStages | VK_PIPELINE_STAGE_HOST_BIT,
                DeviceWrites | VK_ACCESS_HOST_WRITE_BIT, DeviceStages, DeviceAccess);
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step &step = steps[i];
    switch (step.command->kind()) {
    case fbs::CommandKind::Dispatch:
    case fbs::CommandKind::Run:
      if (launches[i].empty())
        break;
      if (timestamps) {
        timestamps->begin(api, commands);
        recordedTally.commands.push_back(uint32_t(i));
      }
      recordDispatch(api, step, launches[i]);
      if (timestamps)
        timestamps->end(api, commands);
      break;
    case fbs::CommandKind::Barrier:
      recordBarrier(api, commands, DeviceStages, DeviceWrites, DeviceStages, DeviceAccess);
      ++recordedTally.barriers;
      break;
    case fbs::CommandKind::Fill:
      recordZeros(api, commands, step.to.allocation->buffer.get(), step.to.offset, step.size);
      break;
    case fbs::CommandKind::Copy: {
      VkBufferCopy region = {step.from.offset, step.to.offset, step.size};
      api.vkCmdCopyBuffer(commands, step.from.allocation->buffer.get(), step.to.allocation->buffer.get(), 1,
                          &region);
      break;
    }
    }
  }
  recordBarrier(api, commands, DeviceStages, DeviceWrites, VK_PIPELINE_STAGE_HOST_BIT,
                VK_ACCESS_HOST_READ_BIT);
  LORAC_TRY(context.check(api.vkEndCommandBuffer(commands), "vkEndCommandBuffer"));
  if (!timestamps)
    recordedSymbols.assign(symbols.begin(), symbols.end());
  return commands;
}

} // namespace lorac::vulkan
