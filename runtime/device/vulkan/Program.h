//===- Program.h - a program bound to device memory -------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_PROGRAM_H
#define LORAC_RUNTIME_DEVICE_VULKAN_PROGRAM_H

#include "runtime/device/vulkan/Memory.h"
#include "runtime/device/vulkan/Pipelines.h"
#include "runtime/device/vulkan/Timestamps.h"

#include <array>
#include <map>
#include <span>
#include <tuple>
#include <vector>

namespace lorac::vulkan {

/// Texel views by buffer, range and format; the programs of a model share them.
class BufferViews {
public:
  Result<VkBufferView> get(Context &context, VkBuffer buffer, uint64_t offset, uint64_t size,
                           VkFormat format);

private:
  std::map<std::tuple<VkBuffer, uint64_t, uint64_t, VkFormat>, Handle<VkBufferView>> views;
};

/// What one replay does, for the counters.
struct Tally {
  uint64_t barriers = 0;
  std::vector<uint64_t> dispatches; ///< by kernel of the file
  uint64_t chains = 0;              ///< dispatches of chains
  std::vector<uint32_t> commands;   ///< recorded with timestamps: whose span each is
};

/// A program whose buffers, views and pipelines are bound; only grids and push constants are left to a step.
class Program {
public:
  /// What the programs of one open model share. `symbols`: the file's symbols; load symbols have their
  /// values.
  struct Resources {
    Context &context;
    const ModelFile &model;
    const Memory &memory;
    const AllocationPlan &wordPlan; ///< how chains' words are made, but for their size
    Pipelines &pipelines;
    BufferViews &views;
    std::span<const uint64_t> symbols;
    DeviceCounters &counters;
  };
  static Result<Program> create(const Resources &resources, size_t index, bool chained);
  /// The pipelines that a program dispatches, by their numbers. `chained`: chains in place of their links, as
  /// far as the device runs them.
  static std::set<uint32_t> pipelinesOf(const fbs::Program &program, const Pipelines &pipelines,
                                        bool chained);

  /// A command buffer that replays the program with these symbols; recorded anew only when they differ from
  /// the last. With `timestamps` always recorded anew: each dispatch alone, between two of them.
  Result<VkCommandBuffer> record(Context &context, const ModelFile &model, std::span<const uint64_t> symbols,
                                 Timestamps *timestamps = nullptr);
  /// Before each submission of what was recorded: nothing of a chain is taken or done.
  void rewind();
  /// Of the commands recorded last.
  const Tally &tally() const { return recordedTally; }

private:
  struct Step {
    const fbs::Command *command = nullptr;
    const Pipeline *pipeline = nullptr;
    VkDescriptorSet set = VK_NULL_HANDLE;
    Location from, to; ///< Fill: to; Copy: both
    uint64_t size = 0;
    std::vector<const fbs::Command *> links; ///< Run: by link, null where it has nothing to do
    uint32_t firstWord = 0, wordCount = 0;   ///< Run: of `words`
    /// Not a part of a chain that is run as a whole, nor a barrier.
    bool dispatches() const { return pipeline != nullptr; }
  };
  /// A dispatch's views as a key: its layout, then buffer, offset and size of each.
  using SetKey = std::pair<VkDescriptorSetLayout, std::vector<std::tuple<VkBuffer, uint64_t, uint64_t>>>;

  Result<std::pair<Location, uint64_t>> resolve(const Resources &resources, const fbs::View &view) const;
  Status makeSets(const Resources &resources, const std::vector<SetKey> &keys);
  /// What a step's symbols decide of a dispatch.
  struct Launch {
    std::array<uint32_t, 3> grid = {0, 0, 0};
    std::vector<uint32_t> push;
    /// Then it is skipped.
    bool empty() const { return grid[0] == 0 || grid[1] == 0 || grid[2] == 0; }
  };
  Result<Launch> launch(const DeviceCaps &caps, const ModelFile &model, const fbs::Command &command,
                        std::span<const uint64_t> symbols) const;
  Result<Launch> launchChain(const DeviceCaps &caps, const ModelFile &model, const Step &step,
                             std::span<const uint64_t> symbols);
  void recordDispatch(const DeviceApi &api, const Step &step, const Launch &launch);
  std::span<uint32_t> wordsOf(const Step &step) const;

  std::string name;
  const fbs::Program *program = nullptr;
  std::vector<Step> steps;
  Handle<VkDescriptorPool> pool;
  VkCommandBuffer commands = VK_NULL_HANDLE; // its pool is the context's
  std::vector<uint64_t> recordedSymbols;     // empty: nothing is recorded
  std::optional<Allocation> words;           ///< of all chains (schemas/Chain.h)
  Tally recordedTally;
};

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_PROGRAM_H
