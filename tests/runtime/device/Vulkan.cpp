// Runs on whatever Vulkan devices there are (lavapipe where there is no GPU), under the validation layer.
#include "runtime/device/Profile.h"
#include "runtime/device/vulkan/PipelineCache.h"
#include "runtime/device/vulkan/VulkanModel.h"
#include "tests/runtime/device/DeviceTestModel.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace lorac::vulkan {
namespace {

using test::LogitsBuffer;
using test::RowWidth;

/// An environment variable for as long as a test runs.
class ScopedVariable {
public:
  ScopedVariable(const char *name, const char *value) : name(name) {
    if (const char *before = std::getenv(name))
      old = before;
    setenv(name, value, 1);
  }
  ~ScopedVariable() {
    if (old)
      setenv(name, old->c_str(), 1);
    else
      unsetenv(name);
  }

private:
  const char *name;
  std::optional<std::string> old;
};

class Vulkan : public testing::Test {
protected:
  void SetUp() override {
    auto created = Instance::create(true);
    ASSERT_OK(created);
    instance = *created;
    auto devices = instance->devices();
    ASSERT_OK(devices);
    ASSERT_FALSE(devices->empty())
        << "no Vulkan device: install one, for instance Debian's mesa-vulkan-drivers";
    options.validation = true;
    model = test::parsed(test::deviceTestModel());
    ASSERT_TRUE(model.file);
  }
  /// The layer has nothing to say about closing a model either.
  void TearDown() override {
    if (instance) {
      EXPECT_OK(instance->validationStatus());
    }
  }

  Result<std::unique_ptr<DeviceModel>> open(const std::string &spec = "vulkan",
                                            const LoadSymbols &symbols = test::deviceTestSymbols()) {
    auto parsedSpec = DeviceSpec::parse(spec);
    EXPECT_OK(parsedSpec);
    return openModel(instance, *parsedSpec, *model.file, symbols, options);
  }

  std::shared_ptr<Instance> instance;
  test::ParsedModel model;
  Options options;
};

/// Runs program "rows" with these tokens and asks for the logits of `outs`.
Status runRows(DeviceModel &device, const std::vector<uint32_t> &tokens, const std::vector<uint32_t> &outs) {
  auto write = [&](size_t buffer, const std::vector<uint32_t> &values) {
    std::span<uint8_t> bytes = device.stepBuffer(test::RowsProgram, buffer);
    ASSERT_EQ(bytes.size(), 64u);
    std::memset(bytes.data(), 0, bytes.size());
    for (size_t i = 0; i < values.size(); ++i)
      std::memcpy(bytes.data() + 16 * i, &values[i], 4);
  };
  write(test::RowsInput, tokens);
  write(test::OutRowsInput, outs);
  StepSymbols symbols;
  symbols.rows = tokens.size();
  symbols.outRows = outs.size();
  return device.run(test::RowsProgram, symbols, 16 * (tokens.size() + outs.size()));
}

void expectRow(std::span<const float> row, uint32_t token, float tag) {
  for (size_t k = 0; k < RowWidth; ++k) {
    size_t element = token * RowWidth + k;
    if (tag == test::ChainTag) // the real kernel, which reads tiles of 8 rows
      element = ((token / 8 * (RowWidth / 4) + k / 4) * 8 + token % 8) * 4 + k % 4;
    ASSERT_EQ(row[k], float(element) + tag) << "token " << token << ", column " << k;
  }
}

void expectRuns(DeviceModel &device, float tag) {
  ASSERT_OK(runRows(device, {3, 15, 0}, {2, 1}));
  std::span<const float> logits = device.outBuffer(test::RowsProgram, test::RowsLogits);
  ASSERT_EQ(logits.size(), 4 * RowWidth);
  expectRow(logits.first(RowWidth), 0, tag);
  expectRow(logits.subspan(RowWidth, RowWidth), 15, tag);
}

/// Program "moves" shows all of table1 but a hole, and table2.
void expectMoves(DeviceModel &device) {
  ASSERT_OK(device.run(test::MovesProgram, {1, 1, 0}, 0));
  std::span<const float> out = device.outBuffer(test::MovesProgram, LogitsBuffer);
  ASSERT_EQ(out.size(), 512u);
  for (size_t i = 0; i < 256; ++i) {
    ASSERT_EQ(out[i], i >= 64 && i < 128 ? 0.0f : float(1000 + i)) << i;
    ASSERT_EQ(out[256 + i], float(2000 + i)) << i;
  }
}

uint64_t dispatchesOf(const DeviceCounters &counters, const std::string &kernel) {
  for (const auto &[name, count] : counters.dispatchesByKernel)
    if (name == kernel)
      return count;
  ADD_FAILURE() << "no counter for " << kernel;
  return 0;
}

TEST_F(Vulkan, ListsDevices) {
  std::string why = "unset";
  std::vector<DeviceInfo> devices = listDevices(&why);
  ASSERT_FALSE(devices.empty()) << why;
  EXPECT_EQ(why, "");
  for (size_t i = 0; i < devices.size(); ++i) {
    EXPECT_EQ(devices[i].kind, "vulkan");
    EXPECT_EQ(devices[i].index, int(i));
    EXPECT_NE(devices[i].name, "");
    EXPECT_NE(devices[i].driver, "");
    EXPECT_GT(devices[i].memoryBytes, 0u);
    EXPECT_GT(devices[i].subgroupSize, 0u);
    EXPECT_EQ(devices[i].features.back(), "storage");
  }
}

TEST_F(Vulkan, RunsTheFirstVariant) {
  auto device = open();
  ASSERT_OK(device);
  expectRuns(**device, test::SubgroupTag);
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ((*device)->description().rfind("vulkan:0 ", 0), 0u) << (*device)->description();
}

TEST_F(Vulkan, DenialsForceLowerVariants) {
  auto texel = open("vulkan,deny=subgroup");
  ASSERT_OK(texel);
  expectRuns(**texel, test::TexelTag);
  auto storage = open("vulkan,deny=texel");
  ASSERT_OK(storage);
  expectRuns(**storage, test::StorageTag);
  EXPECT_STATUS(open("vulkan,deny=texel,deny=storage"), Code::Incompatible,
                "kernel 'embed' has no variant for ");
}

TEST_F(Vulkan, FallsToStorageWhenTexelsAreTooFew) {
  options.adjustCaps = [](DeviceCaps &caps) { caps.maxTexelBufferElements = 63; };
  auto device = open();
  ASSERT_OK(device);
  expectRuns(**device, test::StorageTag); // map reads 64 elements
}

TEST_F(Vulkan, CountsWhatItDoes) {
  auto device = open();
  ASSERT_OK(device);
  DeviceCounters opened = (*device)->counters();
  EXPECT_EQ(opened.steps, 0u);
  EXPECT_EQ(opened.pipelinesMade, 0u);
  EXPECT_EQ(opened.allocations, 6u); // one a space
  EXPECT_GE(opened.allocatedBytes, 3072u + 1024 + 2048 + 1024 + 320 + 2048);
  EXPECT_EQ(opened.weightBytesUploaded, 3072u);

  ASSERT_OK(runRows(**device, {1, 2, 3, 4}, {0}));
  DeviceCounters once = (*device)->counters();
  EXPECT_EQ(once.steps, 1u);
  EXPECT_EQ(once.dispatches, 3u);
  EXPECT_EQ(once.adapterDispatches, 0u);
  EXPECT_EQ(once.barriers, 2u);
  EXPECT_EQ(once.pipelinesMade, 3u);
  EXPECT_EQ(once.stepBytesUploaded, 80u);

  // A step without logits leaves gather out; pipelines are made once.
  ASSERT_OK(runRows(**device, {1, 2}, {}));
  DeviceCounters twice = (*device)->counters();
  EXPECT_EQ(twice.dispatches, 5u);
  EXPECT_EQ(dispatchesOf(twice, "embed"), 2u);
  EXPECT_EQ(dispatchesOf(twice, "map"), 2u);
  EXPECT_EQ(dispatchesOf(twice, "gather"), 1u);
  EXPECT_EQ(dispatchesOf(twice, "linear"), 0u);
  EXPECT_EQ(twice.pipelinesMade, 3u);
  EXPECT_EQ(twice.allocations, opened.allocations);
  EXPECT_EQ(twice.allocatedBytes, opened.allocatedBytes);
}

TEST_F(Vulkan, GridsFollowEachStep) {
  auto device = open();
  ASSERT_OK(device);
  for (uint32_t rows : {1u, 4u, 2u, 4u, 1u, 1u}) {
    std::vector<uint32_t> tokens, outs;
    for (uint32_t i = 0; i < rows; ++i) {
      tokens.push_back((7 * i + rows) % 16);
      outs.push_back(rows - 1 - i);
    }
    ASSERT_OK(runRows(**device, tokens, outs));
    std::span<const float> logits = (*device)->outBuffer(test::RowsProgram, test::RowsLogits);
    for (uint32_t i = 0; i < rows; ++i)
      expectRow(logits.subspan(i * RowWidth, RowWidth), tokens[outs[i]], test::SubgroupTag);
  }
}

/// Commands of the program "rows" that are dispatches, and the last of them for the rows asked for alone.
TEST_F(Vulkan, TimesEachDispatchThatRuns) {
  auto device = open();
  ASSERT_OK(device);
  DeviceProfiler *profiler = (*device)->profiler();
  ASSERT_TRUE(profiler);
  expectRuns(**device, test::SubgroupTag);
  DeviceCounters before = (*device)->counters();
  ASSERT_OK(profiler->start());
  expectRuns(**device, test::SubgroupTag);
  ASSERT_OK(runRows(**device, {3, 1}, {}));
  std::vector<RunProfile> runs = profiler->stop();
  ASSERT_EQ(runs.size(), 2u);
  std::vector<std::vector<uint32_t>> expected = {{0, 2, 4}, {0, 2}};
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].program, test::RowsProgram);
    EXPECT_EQ(runs[i].symbols.rows, i == 0 ? 3u : 2u);
    std::vector<uint32_t> commands;
    for (const DispatchTime &dispatch : runs[i].dispatches) {
      commands.push_back(dispatch.command);
      EXPECT_GT(dispatch.seconds, 0);
      EXPECT_LT(dispatch.seconds, 60);
    }
    EXPECT_EQ(commands, expected[i]);
  }
  EXPECT_EQ((*device)->counters().dispatches, before.dispatches + 5);
  expectRuns(**device, test::SubgroupTag); // as before it
  EXPECT_TRUE(profiler->stop().empty());
}

TEST_F(Vulkan, DevicesWithoutAClockAreNotProfiled) {
  options.adjustCaps = [](DeviceCaps &caps) { caps.timestampBits = 0; };
  auto device = open();
  ASSERT_OK(device);
  EXPECT_STATUS((*device)->profiler()->start(), Code::Unsupported, "its compute queue has no timestamps");
  expectRuns(**device, test::SubgroupTag);
  EXPECT_TRUE((*device)->profiler()->stop().empty());
}

TEST_F(Vulkan, RefusesARawReadOfLessThanAPiece) {
  auto device = open();
  ASSERT_OK(device);
  EXPECT_STATUS((*device)->profiler()->timeReads({}, 15, 1), Code::InvalidArgument, "ask for at least 16");
}

TEST_F(Vulkan, FillsCopiesAndKeepsTheCache) {
  auto device = open();
  ASSERT_OK(device);
  expectMoves(**device);
  auto cache = [&] {
    EXPECT_OK((*device)->run(test::RememberProgram, {1, 1, 0}, 0));
    return (*device)->outBuffer(test::RememberProgram, LogitsBuffer);
  };
  std::span<const float> fresh = cache();
  ASSERT_EQ(fresh.size(), 256u);
  for (float value : fresh)
    ASSERT_EQ(value, 0.0f);
  std::span<const float> later = cache();
  for (size_t i = 0; i < later.size(); ++i)
    ASSERT_EQ(later[i], float(1000 + i));
}

void expectPool(DeviceModel &device) {
  std::vector<float> values(256);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(i) / 2;
  std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t *>(values.data()), 1024);
  ASSERT_OK(device.writePool(0, bytes.first(16)));
  ASSERT_OK(device.writePool(16, bytes.subspan(16)));
  ASSERT_OK(device.run(test::PoolProgram, {1, 0, 0}, 0));
  std::span<const float> out = device.outBuffer(test::PoolProgram, test::PoolLogitsBuffer);
  ASSERT_EQ(out.size(), 256u);
  for (size_t i = 0; i < out.size(); ++i)
    ASSERT_EQ(out[i], values[i]);
  EXPECT_EQ(device.counters().poolBytesUploaded, 1024u);
}

TEST_F(Vulkan, WritesThePool) {
  auto device = open();
  ASSERT_OK(device);
  expectPool(**device);
  std::vector<uint8_t> bytes(32);
  EXPECT_STATUS((*device)->writePool(8, bytes), Code::InvalidArgument, "multiples of 16");
  EXPECT_STATUS((*device)->writePool(0, std::span(bytes).first(4)), Code::InvalidArgument, "multiples of 16");
  EXPECT_STATUS((*device)->writePool(1008, bytes), Code::InvalidArgument,
                "do not lie in the adapter pool of 1024 bytes");
  EXPECT_STATUS((*device)->writePool(uint64_t(0) - 16, bytes), Code::InvalidArgument,
                "do not lie in the adapter pool");
}

TEST_F(Vulkan, StagesWhatTheHostMayNotSee) {
  options.limits.stagingBytes = 256; // so that every table takes several pieces
  auto device = open("vulkan,deny=hostvisible");
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().allocations, 7u); // the staging buffer
  EXPECT_EQ((*device)->counters().weightBytesUploaded, 3072u);
  expectRuns(**device, test::SubgroupTag);
  expectMoves(**device);
  expectPool(**device);
}

TEST_F(Vulkan, SplitsWeightsOverAllocations) {
  options.limits.allocationBytes = 1024;
  for (const char *spec : {"vulkan", "vulkan,deny=hostvisible", "vulkan,deny=texel"}) {
    auto device = open(spec);
    ASSERT_OK(device);
    EXPECT_GE((*device)->counters().allocations, 8u); // three for the weights
    expectMoves(**device);
  }
}

// What a device that takes pages of the process reads where the file is mapped, others get copied.
TEST_F(Vulkan, ReadsWeightsWhereTheFileIsMapped) {
  const test::TempFolder folder;
  const auto openFrom = [&](test::TinyModel &tiny, const std::string &spec) {
    const test::Bytes bytes = tiny.bytes();
    folder.write("model.lorac", {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    model.file = *ModelFile::open(folder.path("model.lorac"));
    return open(spec);
  };
  test::TinyModel apart = test::deviceTestModel(), whole = test::deviceTestModel();
  whole.segments[1].insert(whole.segments[1].end(), whole.segments[2].begin(), whole.segments[2].end());
  whole.segments.pop_back();
  const bool takesPages = (*instance->devices())[0].caps.hostPageAlignment > 0;
  for (uint64_t limit : {1024, 1 << 30}) { // buffers that start within a page, and one of all pages
    options.limits.allocationBytes = limit;
    for (const char *spec : {"vulkan:0", "vulkan:0,deny=texel", "vulkan:0,deny=hostvisible"}) {
      const bool isMapped = takesPages && !std::strstr(spec, "hostvisible");
      auto device = openFrom(whole, spec);
      ASSERT_OK(device);
      EXPECT_EQ((*device)->counters().weightBytesUploaded, isMapped ? 0u : 3072u) << spec;
      expectMoves(**device);
      expectRuns(**device, std::strstr(spec, "texel") ? test::StorageTag : test::SubgroupTag);
    }
  }
  auto copied = openFrom(apart, "vulkan:0"); // zeros lie between its segments
  ASSERT_OK(copied);
  EXPECT_EQ((*copied)->counters().weightBytesUploaded, 3072u);
  expectMoves(**copied);
}

TEST_F(Vulkan, FlushesMemoryThatIsNotCoherent) {
  // Coherent memory may be flushed as well, so the path runs on any device.
  options.adjustCaps = [](DeviceCaps &caps) {
    for (MemoryType &type : caps.memoryTypes)
      type.hostCoherent = false;
  };
  static std::atomic<int> flushes, invalidations;
  static PFN_vkFlushMappedMemoryRanges realFlush;
  static PFN_vkInvalidateMappedMemoryRanges realInvalidate;
  flushes = invalidations = 0;
  options.adjustApi = [](DeviceApi &api) {
    realFlush = std::exchange(api.vkFlushMappedMemoryRanges,
                              [](VkDevice device, uint32_t count, const VkMappedMemoryRange *ranges) {
                                ++flushes;
                                return realFlush(device, count, ranges);
                              });
    realInvalidate = std::exchange(api.vkInvalidateMappedMemoryRanges,
                                   [](VkDevice device, uint32_t count, const VkMappedMemoryRange *ranges) {
                                     ++invalidations;
                                     return realInvalidate(device, count, ranges);
                                   });
  };
  auto device = open();
  ASSERT_OK(device);
  int before = flushes;
  EXPECT_GE(before, 3); // steps and outputs once, each piece of the weights
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ(flushes, before + 1);
  EXPECT_EQ(invalidations, 1);
}

TEST_F(Vulkan, SessionsWithoutAdaptersHaveNoPool) {
  LoadSymbols symbols = test::deviceTestSymbols();
  symbols.poolBytes = symbols.maxItems = symbols.maxEntries = 0;
  auto device = open("vulkan", symbols);
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().allocations, 5u);
  expectRuns(**device, test::SubgroupTag);
  EXPECT_STATUS((*device)->run(test::PoolProgram, {1, 0, 0}, 0), Code::InvalidArgument,
                "program 'pool' needs buffer 'pool', which this session has no memory for");
  std::vector<uint8_t> bytes(16);
  EXPECT_STATUS((*device)->writePool(0, bytes), Code::InvalidArgument, "adapter pool of 0 bytes");
  expectRuns(**device, test::SubgroupTag);
}

TEST_F(Vulkan, RejectsStepsOutsideTheProgram) {
  auto device = open();
  ASSERT_OK(device);
  EXPECT_STATUS((*device)->run(4, {1, 1, 0}, 0), Code::InvalidArgument,
                "has 4 programs, there is no number 4");
  EXPECT_STATUS((*device)->run(0, {0, 0, 0}, 0), Code::InvalidArgument,
                "program 'rows' serves 1 to 4 rows, not 0");
  EXPECT_STATUS((*device)->run(0, {5, 0, 0}, 0), Code::InvalidArgument, "serves 1 to 4 rows, not 5");
  EXPECT_STATUS((*device)->run(0, {1, 5, 0}, 0), Code::InvalidArgument, "logits of at most 4 rows, not 5");
  EXPECT_STATUS((*device)->run(0, {1, 1, 17}, 0), Code::InvalidArgument,
                "17 items, this session has room for 16");
  EXPECT_EQ((*device)->counters().steps, 0u);
  EXPECT_TRUE((*device)->stepBuffer(9, 0).empty());
  EXPECT_TRUE((*device)->stepBuffer(0, 9).empty());
  EXPECT_TRUE((*device)->stepBuffer(0, 0).empty()); // a weight
  EXPECT_TRUE((*device)->outBuffer(0, test::RowsInput).empty());
}

TEST_F(Vulkan, RefusesWhatDoesNotFitTheHeap) {
  options.adjustCaps = [](DeviceCaps &caps) {
    for (uint64_t &heap : caps.heaps)
      heap = 4096;
  };
  EXPECT_STATUS(open(), Code::OutOfMemory, "test.lorac: needs ");
}

/// The first variant's code lays 16-byte pieces 12 bytes apart, which Vulkan's rules forbid and no check of
/// ours sees.
test::TinyModel modelWithAMistake() {
  test::TinyModel wrong = test::deviceTestModel();
  const uint32_t decorate = 0x00040047, arrayStride = 6, right = 16, mistaken = 12;
  test::Bytes &code = wrong.segments[0];
  const size_t end = wrong.model.kernels[0]->variants[0]->size;
  for (size_t at = 20; at + 16 <= end; at += 4) {
    uint32_t words[4];
    std::memcpy(words, code.data() + at, sizeof(words));
    if (words[0] == decorate && words[2] == arrayStride && words[3] == right) {
      std::memcpy(code.data() + at + 12, &mistaken, sizeof(mistaken));
      return wrong;
    }
  }
  ADD_FAILURE() << "there is no array stride to edit";
  return wrong;
}

TEST_F(Vulkan, CatchesAPlantedMistake) {
  model = test::parsed(modelWithAMistake());
  auto device = open();
  ASSERT_OK(device);
  EXPECT_STATUS(runRows(**device, {1}, {0}), Code::Internal, "the validation layer says: ");
  EXPECT_EQ((*device)->counters().steps, 0u);
  expectMoves(**device); // the other programs are sound
}

/// Opens, runs one program and closes; the bytes that the disk gave.
class VulkanPipelineCache : public Vulkan {
protected:
  void SetUp() override {
    Vulkan::SetUp();
    options.pipelineCache = folder.path("cache");
  }
  uint64_t session() {
    auto device = open();
    EXPECT_OK(device);
    if (!device)
      return UINT64_MAX;
    expectRuns(**device, test::SubgroupTag);
    EXPECT_EQ((*device)->counters().pipelinesMade, 3u);
    return (*device)->counters().pipelineCacheBytes;
  }
  std::string onlyFile() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder.path("cache")))
      names.push_back("cache/" + entry.path().filename().string());
    EXPECT_EQ(names.size(), 1u);
    return names.empty() ? "cache/none" : names.front();
  }
  test::TempFolder folder;
};

TEST_F(VulkanPipelineCache, IsKeptWhenAModelCloses) {
  {
    auto device = open();
    ASSERT_OK(device); // no program ran: there is nothing to keep
  }
  EXPECT_TRUE(folder.files().empty());
  EXPECT_EQ(session(), 0u);
  const std::string kept = folder.read(onlyFile());
  EXPECT_EQ(session(), kept.size() - sizeof(pipelinecache::Header));
  EXPECT_EQ(folder.read(onlyFile()), kept);
}

TEST_F(VulkanPipelineCache, IsMadeAnewWhereItIsOfNoUse) {
  session();
  const std::string name = onlyFile(), kept = folder.read(name);
  std::string changed = kept, shorter = kept;
  changed.back() = char(changed.back() ^ 1);
  shorter.pop_back();
  for (const std::string &bad : {changed, shorter, kept + "a", std::string(), std::string("text")}) {
    folder.write(name, bad);
    EXPECT_EQ(session(), 0u);
    EXPECT_EQ(folder.read(name), kept); // as new
  }
  options.adjustCaps = [](DeviceCaps &caps) { ++caps.identity.driverVersion; };
  EXPECT_EQ(session(), 0u); // what was written before the driver was replaced
  EXPECT_NE(folder.read(name), kept);
}

TEST_F(VulkanPipelineCache, IsLeftOutWhereTheDriverDoesNotTakeIt) {
  session();
  static PFN_vkCreatePipelineCache realCreate;
  options.adjustApi = [](DeviceApi &api) {
    realCreate = std::exchange(
        api.vkCreatePipelineCache, [](VkDevice device, const VkPipelineCacheCreateInfo *info,
                                      const VkAllocationCallbacks *callbacks, VkPipelineCache *cache) {
          return info->initialDataSize > 0 ? VK_ERROR_UNKNOWN : realCreate(device, info, callbacks, cache);
        });
  };
  EXPECT_EQ(session(), 0u);
}

TEST_F(Vulkan, DeviceLossIsFinal) {
  static std::atomic<bool> lose;
  static PFN_vkQueueSubmit realSubmit;
  lose = false;
  options.adjustApi = [](DeviceApi &api) {
    realSubmit = std::exchange(
        api.vkQueueSubmit, [](VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence) {
          return lose ? VK_ERROR_DEVICE_LOST : realSubmit(queue, count, submits, fence);
        });
  };
  auto device = open();
  ASSERT_OK(device);
  expectRuns(**device, test::SubgroupTag);
  lose = true;
  EXPECT_STATUS(runRows(**device, {1}, {0}), Code::DeviceLost,
                "vkQueueSubmit failed: the device stopped answering");
  lose = false;
  EXPECT_STATUS(runRows(**device, {1}, {0}), Code::DeviceLost, "open a new session");
  std::vector<uint8_t> bytes(16);
  EXPECT_STATUS((*device)->writePool(0, bytes), Code::DeviceLost, "open a new session");
  EXPECT_EQ((*device)->counters().steps, 1u);
}

/// Calls that may fail: each counts down, and the one that reaches zero fails.
std::atomic<int> callsLeft;
DeviceApi realApi;
template <auto Member> struct Sweep;
template <typename... Arguments, VkResult (VKAPI_PTR *DeviceApi::*Member)(Arguments...)>
struct Sweep<Member> {
  static VkResult VKAPI_PTR call(Arguments... arguments) {
    return --callsLeft == 0 ? VK_ERROR_OUT_OF_DEVICE_MEMORY : (realApi.*Member)(arguments...);
  }
};
template <auto Member> void failIn(DeviceApi &api) { api.*Member = &Sweep<Member>::call; }

TEST_F(Vulkan, MakesPipelinesOfProgramsThatWillRunWhileItOpens) {
  options.programs = {{test::RowsProgram, 1000}};
  auto device = open();
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().pipelinesMade, 3u);
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ((*device)->counters().pipelinesMade, 3u);
  // Copies through a staging buffer take the queue, so there they wait.
  device = open("vulkan,deny=hostvisible");
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().pipelinesMade, 0u);
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ((*device)->counters().pipelinesMade, 3u);
}

/// Makes each call that may fail do so once, while a model opens and program "rows" runs.
class VulkanSweep : public Vulkan {
protected:
  void sweep(const std::string &spec, float tag, int fewest) {
    options.adjustApi = [](DeviceApi &api) {
      realApi = api;
      failIn<&DeviceApi::vkCreateBuffer>(api);
      failIn<&DeviceApi::vkAllocateMemory>(api);
      failIn<&DeviceApi::vkBindBufferMemory>(api);
      failIn<&DeviceApi::vkMapMemory>(api);
      failIn<&DeviceApi::vkCreateBufferView>(api);
      failIn<&DeviceApi::vkCreateShaderModule>(api);
      failIn<&DeviceApi::vkCreateDescriptorSetLayout>(api);
      failIn<&DeviceApi::vkCreatePipelineLayout>(api);
      failIn<&DeviceApi::vkCreatePipelineCache>(api);
      failIn<&DeviceApi::vkCreateComputePipelines>(api);
      failIn<&DeviceApi::vkCreateDescriptorPool>(api);
      failIn<&DeviceApi::vkAllocateDescriptorSets>(api);
      failIn<&DeviceApi::vkCreateCommandPool>(api);
      failIn<&DeviceApi::vkAllocateCommandBuffers>(api);
      failIn<&DeviceApi::vkBeginCommandBuffer>(api);
      failIn<&DeviceApi::vkCreateFence>(api);
      failIn<&DeviceApi::vkResetFences>(api);
      failIn<&DeviceApi::vkQueueSubmit>(api);
    };
    int failures = 0;
    for (int failing = 1;; ++failing) {
      ASSERT_LT(failing, 200);
      callsLeft = failing;
      auto device = open(spec);
      if (!device) {
        ++failures;
        EXPECT_STATUS(device, Code::OutOfMemory, "failed: out of device memory");
        continue;
      }
      Status first = runRows(**device, {3}, {0});
      if (!first.isOk()) {
        ++failures;
        EXPECT_STATUS(first, Code::OutOfMemory, "failed: out of device memory");
        EXPECT_EQ((*device)->counters().steps, 0u);
      }
      bool fired = callsLeft <= 0;
      callsLeft = 0; // no further call reaches zero
      // The failure has left nothing half done: the same step runs now.
      ASSERT_OK(runRows(**device, {3}, {0}));
      expectRow((*device)->outBuffer(test::RowsProgram, test::RowsLogits).first(RowWidth), 3, tag);
      if (!fired)
        break;
    }
    EXPECT_GE(failures, fewest);
  }
};

TEST_F(VulkanSweep, EveryFailingCallIsReported) {
  // Weights through a staging buffer and pipelines when they are needed, then both at once.
  ASSERT_NO_FATAL_FAILURE(sweep("vulkan,deny=hostvisible", test::SubgroupTag, 40));
  options.programs = {{test::RowsProgram, 1000}};
  ASSERT_NO_FATAL_FAILURE(sweep("vulkan", test::SubgroupTag, 30));
}

/// A model with a chain: run in place of its links, or, on a driver that runs none, left for them.
/// scripts/test.sh tests on a driver of each kind.
class VulkanChains : public VulkanSweep {
protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(VulkanSweep::SetUp());
    runs = instance->devices()->front().caps.groupsMeet;
    tag = runs ? test::ChainTag : test::SubgroupTag;
    model = test::parsed(test::chainedDeviceTestModel());
    ASSERT_TRUE(model.file);
  }

  bool runs = false;
  float tag = 0; ///< of what the program is then run as
};

TEST_F(VulkanChains, RunInPlaceOfTheirLinksWhereGroupsMeet) {
  auto device = open();
  ASSERT_OK(device);
  expectRuns(**device, tag);
  const DeviceCounters once = (*device)->counters();
  EXPECT_EQ(once.dispatches, runs ? 2u : 3u);
  EXPECT_EQ(dispatchesOf(once, "chain"), runs ? 1u : 0u);
  EXPECT_EQ(dispatchesOf(once, "embed"), runs ? 0u : 1u);
  EXPECT_EQ(dispatchesOf(once, "gather"), 1u);
  EXPECT_EQ(once.barriers, runs ? 1u : 2u);
  EXPECT_EQ(once.pipelinesMade, runs ? 2u : 3u);
  // Rows that come and go, and no words left of the step before.
  for (uint32_t rows : {1u, 4u, 4u, 2u, 1u}) {
    std::vector<uint32_t> tokens;
    for (uint32_t i = 0; i < rows; ++i)
      tokens.push_back((5 * i + rows) % 16);
    ASSERT_OK(runRows(**device, tokens, {rows - 1}));
    expectRow((*device)->outBuffer(test::RowsProgram, test::RowsLogits).first(RowWidth), tokens.back(), tag);
  }
  EXPECT_EQ((*device)->counters().allocations, once.allocations);
}

TEST_F(VulkanChains, AreLeftWhereTheyAreDenied) {
  auto device = open("vulkan,deny=chains");
  ASSERT_OK(device);
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ(dispatchesOf((*device)->counters(), "chain"), 0u);
  EXPECT_EQ((*device)->counters().dispatches, 3u);
}

TEST_F(VulkanChains, AreLeftWhereAProgramRunsAFewTimes) {
  options.programs = {{test::RowsProgram, 2}};
  auto device = open();
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().pipelinesMade, 3u); // of its kernels, none of a chain
  expectRuns(**device, test::SubgroupTag);
  EXPECT_EQ(dispatchesOf((*device)->counters(), "chain"), 0u);
  EXPECT_EQ((*device)->counters().pipelinesMade, 3u);
  options.programs = {{test::RowsProgram, 100}};
  device = open();
  ASSERT_OK(device);
  EXPECT_EQ((*device)->counters().pipelinesMade, runs ? 2u : 3u);
  expectRuns(**device, tag);
}

TEST_F(VulkanChains, AreLeftWhileDispatchesAreTimed) {
  auto device = open();
  ASSERT_OK(device);
  expectRuns(**device, tag);
  ASSERT_OK((*device)->profiler()->start());
  expectRuns(**device, test::SubgroupTag);
  std::vector<RunProfile> runs = (*device)->profiler()->stop();
  ASSERT_EQ(runs.size(), 1u);
  std::vector<uint32_t> commands;
  for (const DispatchTime &dispatch : runs[0].dispatches)
    commands.push_back(dispatch.command);
  EXPECT_EQ(commands, (std::vector<uint32_t>{1, 3, 5}));
  expectRuns(**device, tag);
}

TEST_F(VulkanChains, EveryFailingCallIsReported) {
  ASSERT_NO_FATAL_FAILURE(sweep("vulkan,deny=hostvisible", tag, 40));
  options.programs = {{test::RowsProgram, 1000}};
  ASSERT_NO_FATAL_FAILURE(sweep("vulkan", tag, 30));
}

TEST_F(Vulkan, FailingClocksAreReported) {
  options.adjustApi = [](DeviceApi &api) {
    realApi = api;
    failIn<&DeviceApi::vkCreateQueryPool>(api);
    failIn<&DeviceApi::vkGetQueryPoolResults>(api);
  };
  for (int failing : {1, 2}) {
    callsLeft = failing;
    auto device = open();
    ASSERT_OK(device);
    ASSERT_OK((*device)->profiler()->start());
    EXPECT_STATUS(runRows(**device, {3}, {0}), Code::OutOfMemory, "failed: out of device memory");
    ASSERT_OK(runRows(**device, {3}, {0}));
    EXPECT_EQ((*device)->profiler()->stop().size(), 1u);
    ASSERT_OK(runRows(**device, {3}, {0}));
    expectRow((*device)->outBuffer(test::RowsProgram, test::RowsLogits).first(RowWidth), 3,
              test::SubgroupTag);
  }
}

TEST_F(Vulkan, ModelsRunBesideEachOther) {
  ScopedVariable validation("LORAC_VULKAN_VALIDATION", "1");
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int round = 0; round < 2; ++round) {
        auto device = openDevice({}, *model.file, test::deviceTestSymbols());
        ASSERT_OK(device);
        expectRuns(**device, test::SubgroupTag);
        expectMoves(**device);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(Vulkan, OpenDeviceFollowsItsSpec) {
  ScopedVariable validation("LORAC_VULKAN_VALIDATION", "1");
  auto openSpec = [&](const char *text) {
    auto spec = DeviceSpec::parse(text);
    EXPECT_OK(spec);
    return openDevice(*spec, *model.file, test::deviceTestSymbols());
  };
  EXPECT_OK(openSpec("auto"));
  EXPECT_OK(openSpec("vulkan:0"));
  EXPECT_STATUS(openSpec("vulkan:99"), Code::DeviceUnavailable, "vulkan:99: there are ");
  EXPECT_STATUS(openSpec("cpu"), Code::DeviceUnavailable,
                "device cpu: this build has no such device; use auto or vulkan");
  EXPECT_STATUS(openSpec("cuda"), Code::DeviceUnavailable, "device cuda: this build has no such device");
}

TEST_F(Vulkan, OpenDeviceValidatesOnDemand) {
  model = test::parsed(modelWithAMistake());
  ScopedVariable validation("LORAC_VULKAN_VALIDATION", "1");
  auto device = openDevice({}, *model.file, test::deviceTestSymbols());
  ASSERT_OK(device);
  EXPECT_STATUS(runRows(**device, {1}, {0}), Code::Internal, "the validation layer says: ");
}

TEST_F(Vulkan, RejectsAnUnclearWishForValidation) {
  ScopedVariable validation("LORAC_VULKAN_VALIDATION", "yes");
  EXPECT_STATUS(openDevice({}, *model.file, test::deviceTestSymbols()), Code::InvalidArgument,
                "LORAC_VULKAN_VALIDATION is 'yes'; set it to 0 or 1");
}

TEST_F(Vulkan, NamesThePackageOfAMissingLayer) {
  ScopedVariable layers("VK_LAYER_PATH", "/nonexistent");
  EXPECT_STATUS(Instance::create(true).status(), Code::DeviceUnavailable,
                "install Debian's vulkan-validationlayers");
}

TEST_F(Vulkan, NamesThePackageOfAMissingDriver) {
  ScopedVariable drivers("VK_ICD_FILENAMES", "/nonexistent.json"),
      newer("VK_DRIVER_FILES", "/nonexistent.json");
  std::string why;
  EXPECT_TRUE(listDevices(&why).empty());
  EXPECT_NE(why.find("mesa-vulkan-drivers"), std::string::npos) << why;
  EXPECT_STATUS(openDevice({}, *model.file, test::deviceTestSymbols()), Code::DeviceUnavailable,
                "mesa-vulkan-drivers");
}

TEST(VulkanResult, EveryResultHasItsCode) {
  EXPECT_OK(resultStatus(VK_SUCCESS, "vkX"));
  EXPECT_OK(resultStatus(VK_INCOMPLETE, "vkX"));
  EXPECT_STATUS(resultStatus(VK_ERROR_OUT_OF_HOST_MEMORY, "vkX"), Code::OutOfMemory,
                "vulkan: vkX failed: out of host memory");
  EXPECT_STATUS(resultStatus(VK_ERROR_OUT_OF_DEVICE_MEMORY, "vkX"), Code::OutOfMemory,
                "out of device memory");
  EXPECT_STATUS(resultStatus(VK_ERROR_DEVICE_LOST, "vkX"), Code::DeviceLost, "stopped answering");
  EXPECT_STATUS(resultStatus(VK_ERROR_INCOMPATIBLE_DRIVER, "vkX"), Code::DeviceUnavailable,
                "the driver does not start");
  EXPECT_STATUS(resultStatus(VK_ERROR_UNKNOWN, "vkX"), Code::Internal, "VkResult -13");
}

} // namespace
} // namespace lorac::vulkan
