#include "runtime/device/vulkan/Plan.h"
#include "support/PackedModule.h"
#include "tests/runtime/device/DeviceTestModel.h"
#include "tests/support/StatusTest.h"

#include "runtime/device/vulkan/VulkanModel.h"

#include <functional>

namespace lorac::vulkan {
namespace {

constexpr uint64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;
constexpr uint64_t Texel = 1, Subgroup = 2, Storage = 4; // schemas/Features.def

void giveSubgroups(DeviceCaps &caps, uint32_t size) {
  caps.subgroupSize = size;
  caps.subgroupInCompute = caps.subgroupBasic = caps.subgroupVote = caps.subgroupArithmetic =
      caps.subgroupBallot = caps.subgroupShuffle = true;
}

/// Mesa 22.3.6.
DeviceCaps lavapipe() {
  DeviceCaps caps;
  caps.name = "llvmpipe";
  caps.deviceClass = DeviceClass::Cpu;
  caps.spirvVersion = 0x00010600;
  caps.maxTexelBufferElements = 1u << 27;
  caps.maxStorageBufferRange = 128 * MiB;
  caps.maxMemoryAllocationSize = 2 * GiB;
  caps.maxPushConstantsSize = 128;
  caps.maxBufferSize = 4 * GiB - 1;
  caps.maxStorageBuffersPerStage = 32;
  caps.maxTexelBuffersPerStage = 128;
  caps.maxWorkGroupSize = {1024, 1024, 1024};
  caps.maxWorkGroupInvocations = 1024;
  caps.maxSharedMemorySize = 32 * KiB;
  caps.texelFormats = true;
  giveSubgroups(caps, 8);
  caps.memoryTypes = {{0, true, true, true, true}};
  caps.heaps = {16 * GiB};
  return caps;
}

/// A small Mali-like device: subgroups of 4, the fewest texels that Vulkan allows, one shared heap.
DeviceCaps phone() {
  DeviceCaps caps;
  caps.name = "phone";
  caps.deviceClass = DeviceClass::Integrated;
  caps.maxTexelBufferElements = 65536;
  caps.maxStorageBufferRange = 128 * MiB;
  caps.maxStorageBuffersPerStage = 12;
  caps.maxWorkGroupSize = {256, 256, 64};
  caps.maxWorkGroupInvocations = 256;
  caps.texelFormats = true;
  giveSubgroups(caps, 4);
  caps.memoryTypes = {
      {0, true, false, false, false}, {0, true, true, true, false}, {0, true, true, false, true}};
  caps.heaps = {4 * GiB};
  return caps;
}

/// A card with 80 GiB of its own memory and no large window for the host.
DeviceCaps dataCentreCard() {
  DeviceCaps caps;
  caps.name = "card";
  caps.deviceClass = DeviceClass::Discrete;
  caps.spirvVersion = 0x00010600;
  caps.maxTexelBufferElements = 1u << 27;
  caps.maxStorageBufferRange = 4 * GiB - 1;
  caps.maxMemoryAllocationSize = 4 * GiB - 1;
  caps.maxPushConstantsSize = 256;
  caps.maxStorageBuffersPerStage = 1 << 20;
  caps.maxTexelBuffersPerStage = 1 << 20;
  caps.maxWorkGroupCount = {0x7fffffff, 65535, 65535};
  caps.maxWorkGroupSize = {1024, 1024, 64};
  caps.maxWorkGroupInvocations = 1024;
  caps.maxSharedMemorySize = 48 * KiB;
  caps.texelFormats = true;
  giveSubgroups(caps, 32);
  caps.memoryTypes = {{1, false, false, false, false}, // system memory that the host does not see
                      {0, true, false, false, false},
                      {1, false, true, true, false},
                      {1, false, true, true, true},
                      {2, true, true, true, false}}; // the window
  caps.heaps = {80 * GiB, 64 * GiB, 256 * MiB};
  return caps;
}

ShaderFacts shader(std::vector<uint32_t> capabilities, uint32_t lanes = 8) {
  ShaderFacts facts;
  facts.version = 0x00010300;
  facts.capabilities = std::move(capabilities);
  facts.entryPoint = "main";
  facts.localSize = {lanes, 1, 1};
  return facts;
}

/// A head of 49152 rows: 56 MB of weights in 3.5 million pieces; every space in use.
ModelNeeds smallModel() {
  ModelNeeds needs;
  needs.path = "m.lorac";
  KernelNeeds linear;
  linear.name = "head";
  linear.bindings = {
      {"weight", true, 16, 49152 * 576 * 2}, {"x", true, 16, 64 * 2304}, {"y", false, 4, 64 * 49152 * 4}};
  linear.pushBytes = 52;
  linear.grid = {1536, 8, 1};
  linear.variants = {{"texel+subgroup", Texel | Subgroup, true, 8, shader({1, 46, 61, 63, 64})},
                     {"subgroup", Subgroup | Storage, false, 8, shader({1, 61, 63, 64})},
                     {"storage", Storage, false, 8, shader({1})}};
  needs.kernels = {linear};
  auto space = [&](fbs::Space which) -> std::vector<BufferNeeds> & { return needs.spaces[size_t(which)]; };
  space(fbs::Space::Weight) = {{0, 56623104, "head.weight"}, {56623104, 663552, "q.weight"}};
  space(fbs::Space::Arena) = {{0, 147456, "x"}, {147456, 147456, "y"}};
  space(fbs::Space::Cache) = {{0, 64 * MiB, "cache"}};
  space(fbs::Space::Pool) = {{0, 32 * MiB, "pool"}};
  space(fbs::Space::Step) = {{0, 1024, "rows"}, {1024, 4096, "pages"}};
  space(fbs::Space::Out) = {{0, 64 * 49152 * 4, "logits"}};
  return needs;
}

const std::vector<AllocationPlan> &allocations(const DevicePlan &plan, fbs::Space space) {
  return plan.spaces[size_t(space)];
}

TEST(Plan, LavapipeTakesTexelsAndMapsEverything) {
  auto plan = planDevice(lavapipe(), smallModel());
  ASSERT_OK(plan);
  EXPECT_EQ(plan->variants, (std::vector<uint32_t>{0}));
  ASSERT_EQ(allocations(*plan, fbs::Space::Weight).size(), 1u);
  EXPECT_EQ(allocations(*plan, fbs::Space::Weight)[0].size, 57286656u);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Weight)[0].mapped);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Pool)[0].mapped);
  EXPECT_FALSE(allocations(*plan, fbs::Space::Cache)[0].mapped);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Step)[0].mapped);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Out)[0].mapped);
  EXPECT_FALSE(plan->stagingNeeded);
  EXPECT_EQ(plan->totalBytes, 57286656u + 294912u + 64 * MiB + 32 * MiB + 5120u + 64 * 49152 * 4u);
}

TEST(Plan, HostPagesHoldWhatTheHostWritesInto) {
  DeviceCaps caps = lavapipe();
  caps.hostPageAlignment = 4096;
  auto plan = planDevice(caps, smallModel());
  ASSERT_OK(plan);
  for (fbs::Space space : {fbs::Space::Weight, fbs::Space::Pool})
    EXPECT_TRUE(allocations(*plan, space)[0].hostPages) << fbs::EnumNameSpace(space);
  for (fbs::Space space : {fbs::Space::Arena, fbs::Space::Cache, fbs::Space::Step, fbs::Space::Out})
    EXPECT_FALSE(allocations(*plan, space)[0].hostPages) << fbs::EnumNameSpace(space);

  auto without = planDevice(lavapipe(), smallModel());
  ASSERT_OK(without);
  EXPECT_FALSE(allocations(*without, fbs::Space::Weight)[0].hostPages);

  caps.denied = {"hostvisible"};
  auto staged = planDevice(caps, smallModel());
  ASSERT_OK(staged);
  EXPECT_FALSE(allocations(*staged, fbs::Space::Weight)[0].hostPages);
}

TEST(Plan, PhoneFallsToStorageBuffers) {
  auto plan = planDevice(phone(), smallModel());
  ASSERT_OK(plan);
  EXPECT_EQ(plan->variants, (std::vector<uint32_t>{2}));
  // Coherent memory that the host sees is the one to write weights to; results are read from cached memory.
  EXPECT_EQ(allocations(*plan, fbs::Space::Weight)[0].memoryType, 1u);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Weight)[0].mapped);
  EXPECT_EQ(allocations(*plan, fbs::Space::Step)[0].memoryType, 1u);
  EXPECT_EQ(allocations(*plan, fbs::Space::Out)[0].memoryType, 2u);
  EXPECT_FALSE(allocations(*plan, fbs::Space::Out)[0].coherent);
}

TEST(Plan, CardStagesIntoItsOwnMemory) {
  auto plan = planDevice(dataCentreCard(), smallModel());
  ASSERT_OK(plan);
  EXPECT_EQ(plan->variants, (std::vector<uint32_t>{0}));
  for (fbs::Space space : {fbs::Space::Weight, fbs::Space::Arena, fbs::Space::Cache, fbs::Space::Pool}) {
    EXPECT_EQ(allocations(*plan, space)[0].memoryType, 1u) << fbs::EnumNameSpace(space);
    EXPECT_FALSE(allocations(*plan, space)[0].mapped) << fbs::EnumNameSpace(space);
  }
  EXPECT_EQ(allocations(*plan, fbs::Space::Step)[0].memoryType, 4u);
  EXPECT_EQ(allocations(*plan, fbs::Space::Out)[0].memoryType, 3u);
  EXPECT_TRUE(plan->stagingNeeded);
  EXPECT_EQ(plan->stagingMemoryType, 2u);
  EXPECT_EQ(plan->stagingBytes, 16 * MiB);
}

TEST(Plan, CardWithLargeWindowIsWrittenDirectly) {
  DeviceCaps caps = dataCentreCard();
  caps.memoryTypes[4].heap = 0;
  auto plan = planDevice(caps, smallModel());
  ASSERT_OK(plan);
  EXPECT_EQ(allocations(*plan, fbs::Space::Weight)[0].memoryType, 4u);
  EXPECT_TRUE(allocations(*plan, fbs::Space::Weight)[0].mapped);
  EXPECT_FALSE(plan->stagingNeeded);

  caps.denied = {"hostvisible"};
  auto staged = planDevice(caps, smallModel());
  ASSERT_OK(staged);
  EXPECT_EQ(allocations(*staged, fbs::Space::Weight)[0].memoryType, 1u);
  EXPECT_TRUE(staged->stagingNeeded);
}

TEST(Plan, TakesOnlyMemoryThatBuffersGoInto) {
  DeviceCaps caps = phone();
  caps.bufferMemoryTypes = 0b101;
  auto plan = planDevice(caps, smallModel());
  ASSERT_OK(plan);
  EXPECT_EQ(allocations(*plan, fbs::Space::Step)[0].memoryType, 2u);
  caps.bufferMemoryTypes = 0b001;
  EXPECT_STATUS(planDevice(caps, smallModel()), Code::DeviceUnavailable, "phone: offers no memory");
}

TEST(Plan, EachDenialForcesALowerVariant) {
  DeviceCaps caps = lavapipe();
  caps.denied = {"texel"};
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{1}));
  caps.denied = {"subgroup"};
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{2}));
  caps.denied = {"storage"};
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{0}));
  caps.denied = {"texel", "storage"};
  EXPECT_STATUS(planDevice(caps, smallModel()), Code::Incompatible,
                "m.lorac: kernel 'head' has no variant for llvmpipe: variant 'texel+subgroup' needs texel "
                "(denied); variant "
                "'subgroup' needs storage (denied); variant 'storage' needs storage (denied)");
}

/// smallModel() with a chain of its kernel twice.
ModelNeeds chainedModel() {
  ModelNeeds needs = smallModel();
  KernelNeeds chain;
  chain.name = "chain";
  for (int link = 0; link < 2; ++link)
    chain.bindings.insert(chain.bindings.end(), needs.kernels[0].bindings.begin(),
                          needs.kernels[0].bindings.end());
  chain.bindings.push_back({"words", false, 4, 0});
  chain.variants = {needs.kernels[0].variants[0]};
  needs.chains.push_back(chain);
  return needs;
}

TEST(Plan, ChainsRunWhereGroupsMeet) {
  const std::vector<std::optional<uint32_t>> none = {std::nullopt}, first = {0};
  DeviceCaps caps = lavapipe();
  EXPECT_EQ(planDevice(caps, chainedModel())->chains, none);
  caps.groupsMeet = true;
  auto plan = planDevice(caps, chainedModel());
  ASSERT_OK(plan);
  EXPECT_EQ(plan->chains, first);
  EXPECT_TRUE(plan->words.mapped && plan->words.coherent);
}

TEST(Plan, AChainThatDoesNotFitIsLeft) {
  DeviceCaps caps = lavapipe();
  caps.groupsMeet = true;
  const std::vector<std::optional<uint32_t>> none = {std::nullopt};
  const auto expectNone = [&](const DeviceCaps &device) {
    auto plan = planDevice(device, chainedModel());
    ASSERT_OK(plan);
    EXPECT_EQ(plan->chains, none);
  };
  for (const char *denied : {"chains", "texel"}) {
    DeviceCaps denies = caps;
    denies.denied = {denied};
    expectNone(denies);
  }
  DeviceCaps few = caps;
  few.maxTexelBuffersPerStage = 3; // the chain has 4
  expectNone(few);
  DeviceCaps incoherent = caps;
  incoherent.memoryTypes[0].hostCoherent = false;
  expectNone(incoherent);
}

TEST(Capabilities, GroupsMeetFromMesa25On) {
  EXPECT_TRUE(groupsMeetIn("Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"));
  EXPECT_TRUE(groupsMeetIn("Mesa 26.1.0"));
  EXPECT_FALSE(groupsMeetIn("Mesa 22.3.6 (LLVM 15.0.6)"));
  EXPECT_FALSE(groupsMeetIn("Mesa "));
  EXPECT_FALSE(groupsMeetIn(""));
  EXPECT_FALSE(groupsMeetIn("25.0.7"));
}

TEST(Plan, FallsWhenReadBindingHasTooManyTexels) {
  DeviceCaps caps = lavapipe();
  caps.maxTexelBufferElements = 49152 * 576 * 2 / 16;
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{0}));
  --caps.maxTexelBufferElements;
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{1}));
}

TEST(Plan, NamesTheBindingThatNoVariantHolds) {
  ModelNeeds needs = smallModel();
  needs.kernels[0].bindings[0].bytes = 200 * MiB;
  EXPECT_EQ(planDevice(lavapipe(), needs)->variants, (std::vector<uint32_t>{0}));
  EXPECT_STATUS(planDevice(phone(), needs), Code::Incompatible,
                "variant 'storage' needs storage (bytes of 'weight' 209715200, the device has 134217728)");
  // What a kernel writes is a storage buffer in every variant.
  needs = smallModel();
  needs.kernels[0].bindings[2].bytes = 200 * MiB;
  EXPECT_STATUS(planDevice(lavapipe(), needs), Code::Incompatible,
                "variant 'texel+subgroup' needs storage (bytes of 'y' 209715200, the device has 134217728)");
}

TEST(Plan, CountsBindingsAStageTakes) {
  DeviceCaps caps = lavapipe();
  caps.maxTexelBuffersPerStage = 1;
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{1}));
  caps.maxStorageBuffersPerStage = 2;
  EXPECT_STATUS(planDevice(caps, smallModel()), Code::Incompatible,
                "needs storage (buffers 3, the device has 2)");
}

TEST(Plan, SubgroupsNeedEightLanesAndTheirOperations) {
  DeviceCaps caps = lavapipe();
  caps.subgroupSize = 4;
  EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{2}));
  for (bool DeviceCaps::*operation :
       {&DeviceCaps::subgroupInCompute, &DeviceCaps::subgroupBasic, &DeviceCaps::subgroupBallot,
        &DeviceCaps::subgroupShuffle, &DeviceCaps::subgroupArithmetic}) {
    caps = lavapipe();
    caps.*operation = false;
    EXPECT_EQ(planDevice(caps, smallModel())->variants, (std::vector<uint32_t>{2}));
  }
}

TEST(Plan, LooksIntoTheCode) {
  auto only = [](ShaderFacts facts) {
    ModelNeeds needs = smallModel();
    needs.kernels[0].variants = {{"v", Storage, false, 8, std::move(facts)}};
    return needs;
  };
  DeviceCaps caps = phone();
  EXPECT_OK(planDevice(caps, only(shader({1}))));
  EXPECT_STATUS(planDevice(caps, only(shader({1, 11}))), Code::Incompatible,
                "variant 'v' needs SPIR-V capability 11");
  EXPECT_STATUS(planDevice(caps, only(shader({1, 68}))), Code::Incompatible, "SPIR-V capability 68");
  EXPECT_STATUS(planDevice(caps, only(shader({1}, 16))), Code::Incompatible,
                "code of 8 lanes (it has 16x1x1)");
  ShaderFacts facts = shader({1});
  facts.version = 0x00010500;
  EXPECT_STATUS(planDevice(caps, only(facts)), Code::Incompatible, "SPIR-V 1.5 (the device takes 1.3)");
  facts = shader({1});
  facts.sharedBytes = 16385;
  EXPECT_STATUS(planDevice(caps, only(facts)), Code::Incompatible,
                "shared memory (bytes 16385, the device has 16384)");
  ModelNeeds needs = only(shader({1}, 512));
  needs.kernels[0].variants[0].lanes = 512;
  EXPECT_STATUS(planDevice(caps, needs), Code::Incompatible,
                "workgroup size (lanes 512, the device has 256)");
  needs = only(shader({1}));
  needs.kernels[0].pushBytes = 132;
  EXPECT_STATUS(planDevice(caps, needs), Code::Incompatible,
                "push constants (bytes 132, the device has 128)");
}

TEST(Plan, RefusesGridsThatTheDeviceCannotRun) {
  ModelNeeds needs = smallModel();
  needs.kernels[0].grid = {70000, 1, 1};
  EXPECT_OK(planDevice(dataCentreCard(), needs));
  EXPECT_STATUS(planDevice(lavapipe(), needs), Code::Incompatible,
                "kernel 'head' needs groups along axis 0 70000, the device has 65535");
}

TEST(Plan, CutsSpacesBetweenBuffers) {
  ModelNeeds needs = smallModel();
  std::vector<BufferNeeds> &weights = needs.spaces[size_t(fbs::Space::Weight)];
  // Given out of order, "b" and "c" overlapping, a gap before "e".
  weights = {{8192, 512, "e"}, {0, 1024, "a"}, {1024, 1024, "b"}, {1536, 1024, "c"}, {2560, 256, "d"}};
  PlanLimits limits;
  limits.allocationBytes = 1792;
  auto plan = planDevice(lavapipe(), needs, limits);
  ASSERT_OK(plan);
  const auto &cut = allocations(*plan, fbs::Space::Weight);
  ASSERT_EQ(cut.size(), 3u);
  EXPECT_EQ(cut[0].offset, 0u);
  EXPECT_EQ(cut[0].size, 1024u);
  EXPECT_EQ(cut[1].offset, 1024u);
  EXPECT_EQ(cut[1].size, 1792u);
  EXPECT_EQ(cut[2].offset, 8192u);
  EXPECT_EQ(cut[2].size, 512u);
}

TEST(Plan, ALargeBufferIsAnAllocationOfItsOwn) {
  ModelNeeds needs = smallModel();
  needs.spaces[size_t(fbs::Space::Weight)] = {
      {0, 256, "a"}, {256, 3 * GiB, "big"}, {256 + 3 * GiB, 256, "b"}};
  auto plan = planDevice(dataCentreCard(), needs);
  ASSERT_OK(plan);
  EXPECT_EQ(allocations(*plan, fbs::Space::Weight).size(), 3u);
  EXPECT_STATUS(planDevice(lavapipe(), needs), Code::Incompatible,
                "m.lorac: buffer 'big' needs 3221225472 bytes in one allocation, llvmpipe allows 2147483648");
}

TEST(Plan, RefusesBeforeItAllocates) {
  ModelNeeds needs = smallModel();
  needs.spaces[size_t(fbs::Space::Cache)] = {{0, 2 * GiB, "k"}, {2 * GiB, 2 * GiB - 256, "v"}};
  EXPECT_OK(planDevice(lavapipe(), needs));
  EXPECT_STATUS(planDevice(phone(), needs), Code::Incompatible,
                "buffer 'k' needs 2147483648 bytes in one allocation");
  needs.spaces[size_t(fbs::Space::Cache)] = {
      {0, GiB, "a"}, {GiB, GiB, "b"}, {2 * GiB, GiB, "c"}, {3 * GiB, GiB, "d"}};
  EXPECT_STATUS(planDevice(phone(), needs), Code::OutOfMemory,
                "bytes of memory (weights 57286656, arena 294912, cache 4294967296, adapters 33554432), "
                "phone has 4294967296; use a "
                "smaller context");
}

TEST(Plan, ACpuDeviceHasTheMachinesMemory) {
  EXPECT_EQ(heapBytes(DeviceClass::Cpu, 2 * GiB, 16 * GiB), 16 * GiB);
  EXPECT_EQ(heapBytes(DeviceClass::Cpu, 2 * GiB, 0), 2 * GiB); // the system does not say
  EXPECT_EQ(heapBytes(DeviceClass::Integrated, 2 * GiB, 16 * GiB), 2 * GiB);
  EXPECT_EQ(heapBytes(DeviceClass::Discrete, 2 * GiB, 16 * GiB), 2 * GiB);
}

// A driver takes a layout's word for what the code binds: a texel buffer that is none brought lavapipe down.
TEST(Plan, RejectsCodeThatBindsOtherwise) {
  const auto needsOf = [](const std::function<void(fbs::ModelT &)> &edit) {
    test::TinyModel tiny = test::deviceTestModel();
    edit(tiny.model);
    test::ParsedModel model = test::parsed(std::move(tiny));
    return model.file ? modelNeeds(*model.file, test::deviceTestSymbols()).status() : Status();
  };
  EXPECT_OK(needsOf([](fbs::ModelT &) {}));
  EXPECT_STATUS(needsOf([](fbs::ModelT &m) { m.kernels[0]->variants[0]->texel = false; }), Code::CorruptFile,
                "as a texel buffer, the file says a storage buffer");
  EXPECT_STATUS(needsOf([](fbs::ModelT &m) {
                  m.kernels[0]->variants[1]->texel = true;
                  m.kernels[0]->variants[1]->features |= 1;
                }),
                Code::CorruptFile, "as a storage buffer, the file says a texel buffer");
  // The code of gather: three bindings and 12 bytes, map has two; the code of map: 24 bytes, embed has 16.
  EXPECT_STATUS(needsOf([](fbs::ModelT &m) {
                  m.kernels[1]->variants[2]->offset = m.kernels[2]->variants[1]->offset;
                  m.kernels[1]->variants[2]->size = m.kernels[2]->variants[1]->size;
                }),
                Code::CorruptFile, "has binding 2 of 2");
  EXPECT_STATUS(needsOf([](fbs::ModelT &m) {
                  m.kernels[0]->variants[1]->offset = m.kernels[1]->variants[2]->offset;
                  m.kernels[0]->variants[1]->size = m.kernels[1]->variants[2]->size;
                }),
                Code::CorruptFile, "takes 24 bytes of push constants, the kernel has 16");
}

TEST(Plan, ReadsNeedsFromAModelFile) {
  test::ParsedModel model = test::parsed(test::deviceTestModel());
  ASSERT_TRUE(model.file);
  auto needs = modelNeeds(*model.file, test::deviceTestSymbols());
  ASSERT_OK(needs);
  ASSERT_EQ(needs->kernels.size(), 3u);
  const KernelNeeds &embed = needs->kernels[0];
  EXPECT_EQ(embed.name, "embed");
  ASSERT_EQ(embed.bindings.size(), 3u);
  EXPECT_EQ(embed.bindings[0].role, "table");
  EXPECT_EQ(embed.bindings[0].bytes, 1024u);
  EXPECT_TRUE(embed.bindings[0].read);
  EXPECT_FALSE(embed.bindings[2].read);
  EXPECT_EQ(embed.pushBytes, 16u);
  EXPECT_EQ(embed.grid, (std::array<uint64_t, 3>{1, 4, 1}));
  ASSERT_EQ(embed.variants.size(), 2u);
  EXPECT_TRUE(embed.variants[0].texel);
  EXPECT_EQ(needs->spaces[size_t(fbs::Space::Weight)].size(), 3u);
  EXPECT_EQ(needs->spaces[size_t(fbs::Space::Pool)].size(), 1u);

  LoadSymbols none = test::deviceTestSymbols();
  none.poolBytes = 0;
  auto without = modelNeeds(*model.file, none);
  ASSERT_OK(without);
  EXPECT_TRUE(without->spaces[size_t(fbs::Space::Pool)].empty());

  LoadSymbols many = test::deviceTestSymbols();
  many.pages = 1000;
  EXPECT_STATUS(modelNeeds(*model.file, many), Code::InvalidArgument,
                "pages is 1000, this model allows at most 4");
}

TEST(Plan, RejectsCodeThatIsNoShader) {
  test::TinyModel tiny = test::deviceTestModel();
  constexpr size_t FirstInstruction = (module::HeaderWords + module::SpirvHeaderWords) * 4;
  tiny.segments[0][FirstInstruction + 3] = 0x10; // 4096 words more than it has
  test::ParsedModel model = test::parsed(std::move(tiny));
  ASSERT_TRUE(model.file);
  EXPECT_STATUS(modelNeeds(*model.file, test::deviceTestSymbols()), Code::CorruptFile,
                "test.lorac: kernel 'embed', variant 'texel': an instruction goes past its end; compile the "
                "model again");

  tiny = test::deviceTestModel();
  ++tiny.segments[0][1]; // 256 words more than it has
  model = test::parsed(std::move(tiny));
  ASSERT_TRUE(model.file);
  EXPECT_STATUS(modelNeeds(*model.file, test::deviceTestSymbols()), Code::CorruptFile,
                "test.lorac: kernel 'embed', variant 'texel': packed module: it ends before its last word; "
                "compile the model again");
}

TEST(Plan, PrefersRealDevices) {
  DeviceCaps cpu, integrated, discrete, virtualOne;
  cpu.deviceClass = DeviceClass::Cpu;
  integrated.deviceClass = DeviceClass::Integrated;
  discrete.deviceClass = DeviceClass::Discrete;
  virtualOne.deviceClass = DeviceClass::Virtual;
  DeviceSpec spec;
  EXPECT_EQ(*candidates(spec, {cpu, virtualOne, integrated, discrete, discrete}),
            (std::vector<size_t>{3, 4, 2, 1, 0}));
  spec.kind = "vulkan";
  spec.index = 1;
  EXPECT_EQ(*candidates(spec, {cpu, virtualOne}), (std::vector<size_t>{1}));
  spec.index = 2;
  EXPECT_STATUS(candidates(spec, {cpu, virtualOne}), Code::DeviceUnavailable,
                "vulkan:2: there are 2 Vulkan devices");
  EXPECT_STATUS(candidates({}, {}), Code::DeviceUnavailable,
                "install a driver, for instance Debian's mesa-vulkan-drivers");
}

} // namespace
} // namespace lorac::vulkan
