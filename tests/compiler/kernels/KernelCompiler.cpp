// KernelCompiler.cpp - every catalog kernel compiles in all variants, validates, and binds what the catalog
// says.
#include "compiler/kernels/KernelCompiler.h"

#include "compiler/kernels/ModulePacker.h"
#include "schemas/Catalog.h"
#include "support/Compression.h"
#include "support/PackedModule.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <spirv-tools/libspirv.hpp>
#include <thread>

using namespace lorac;
using Op = fbs::EpilogueOp;

namespace {

fbs::EpilogueTerm term(Op op, uint16_t index = 0, float value = 0.0f) {
  return fbs::EpilogueTerm(value, index, op);
}

KernelRequest linear(std::map<std::string, int64_t> changes = {},
                     std::vector<fbs::EpilogueTerm> epilogue = {}) {
  KernelRequest request{"linear",
                        {{"ROWS", 1},
                         {"TILES", 4},
                         {"WEIGHT", 1},
                         {"GROUP", 0},
                         {"HAS_SCALES", 0},
                         {"HAS_PAIRS", 0},
                         {"ZERO_POINT", 0},
                         {"NESTED", 0},
                         {"TAIL", 0},
                         {"COMBINE", 1},
                         {"HAS_BIAS", 0},
                         {"HAS_OPERAND0", 0},
                         {"HAS_OPERAND1", 0},
                         {"ADAPTERS", 0},
                         {"GATHERED", 0},
                         {"T_PARTS", 1},
                         {"HEAD", 0}},
                        std::move(epilogue)};
  for (const auto &[name, value] : changes)
    request.constants[name] = value;
  return request;
}
KernelRequest embed(int64_t weight, std::map<std::string, int64_t> changes = {}) {
  KernelRequest request = {"embed",
                           {{"WEIGHT", weight},
                            {"GROUP", 0},
                            {"HAS_SCALES", 0},
                            {"HAS_PAIRS", 0},
                            {"ZERO_POINT", 0},
                            {"NESTED", 0}},
                           {}};
  for (const auto &[name, value] : changes)
    request.constants[name] = value;
  return request;
}
const std::vector<fbs::EpilogueTerm> Residual = {term(Op::Segment), term(Op::Operand), term(Op::Add)};
const std::vector<fbs::EpilogueTerm> Gated = {term(Op::Segment), term(Op::Const, 0, 1.0f),
                                              term(Op::Segment), term(Op::Neg),
                                              term(Op::Exp),     term(Op::Add),
                                              term(Op::Div),     term(Op::Segment, 1),
                                              term(Op::Mul)};

/// Requests as a model would make them; each kernel of the catalog at least once.
std::vector<KernelRequest> typicalRequests() {
  std::vector<KernelRequest> requests = {
      embed(0),
      embed(1),
      embed(4, {{"GROUP", 32}, {"HAS_PAIRS", 1}}),
      embed(5, {{"GROUP", 64}, {"HAS_SCALES", 1}, {"NESTED", 1}}),
      {"rms_norm", {{"SEGMENTS", 0}, {"TAIL", 0}, {"GATHERED", 0}}, {}},
      {"rms_norm", {{"SEGMENTS", 3}, {"TAIL", 0}, {"GATHERED", 0}}, {}},
      {"rms_norm", {{"SEGMENTS", 1}, {"TAIL", 1}, {"GATHERED", 1}}, {}},
      {"shrink", {{"SEGMENTS", 1}, {"TAIL", 0}, {"GATHERED", 0}}, {}},
      {"shrink", {{"SEGMENTS", 4}, {"TAIL", 1}, {"GATHERED", 1}}, {}},
      {"gather", {}, {}},
      linear(),
      linear({{"ROWS", 8}, {"ADAPTERS", 1}, {"HAS_OPERAND0", 1}}, Residual),
      linear({{"WEIGHT", 0}, {"TAIL", 1}, {"HAS_BIAS", 1}}),
      linear({{"TAIL", 1}, {"TILES", 2}, {"COMBINE", 2}, {"ADAPTERS", 1}, {"HAS_BIAS", 1}}, Gated),
      linear({{"ADAPTERS", 1}, {"GATHERED", 1}}),
      linear({{"ADAPTERS", 1}, {"T_PARTS", 8}}),
      linear({{"HEAD", 64}}),
      linear({{"ROWS", 8}, {"HAS_BIAS", 1}, {"ADAPTERS", 1}, {"HEAD", 96}}),
      linear({{"TILES", 8}, {"HAS_OPERAND1", 1}},
             {term(Op::Segment), term(Op::Operand, 1), term(Op::Erf), term(Op::Mul)}),
      {"map", {{"HAS_OPERAND1", 0}}, {term(Op::Operand), term(Op::Tanh)}},
      {"map", {{"HAS_OPERAND1", 1}}, {term(Op::Operand), term(Op::Operand, 1), term(Op::Max)}},
  };
  for (int64_t head : {18, 64, 128, 256})
    for (int64_t wide : {0, 1}) {
      requests.push_back({"rope", {{"HEAD", head}, {"ROTATE", 1 - wide}, {"CACHE_F32", wide}}, {}});
      requests.push_back(
          {"attend",
           {{"HEAD", head}, {"HEADS", 1 + 2 * wide}, {"CACHE_F32", wide}, {"SEGMENTS", head % 32 == 0}},
           {}});
    }
  return requests;
}

/// Of a module: what Vulkan needs to know, read from the words (SPIR-V specification, 2.3 and 3.42).
struct ModuleFacts {
  std::set<uint32_t> bindings;
  std::set<uint32_t> capabilities;
  uint32_t version = 0;
  uint32_t localSizeX = 0;
};
ModuleFacts factsOf(const std::vector<uint32_t> &words) {
  ModuleFacts facts;
  facts.version = words.at(1);
  for (size_t i = 5; i < words.size(); i += words[i] >> 16) {
    switch (words[i] & 0xffffu) {
    case 17: // OpCapability
      facts.capabilities.insert(words.at(i + 1));
      break;
    case 16: // OpExecutionMode; 17 = LocalSize
      if (words.at(i + 2) == 17)
        facts.localSizeX = words.at(i + 3);
      break;
    case 71: // OpDecorate; 33 = Binding
      if (words.at(i + 2) == 33)
        facts.bindings.insert(words.at(i + 3));
      break;
    }
    if ((words[i] >> 16) == 0)
      break;
  }
  return facts;
}

void expectRefused(const KernelRequest &request, Code code, const char *text) {
  Result<std::vector<CompiledVariant>> result = compileVulkan(request);
  ASSERT_FALSE(result.isOk());
  EXPECT_EQ(result.status().code(), code);
  EXPECT_NE(result.status().message().find(text), std::string::npos) << result.status().message();
}

TEST(KernelCompiler, CompilesTheCatalog) {
  std::set<std::string> seen;
  for (const KernelRequest &request : typicalRequests()) {
    SCOPED_TRACE(request.catalog);
    seen.insert(request.catalog);
    Result<std::vector<CompiledVariant>> result = compileVulkan(request);
    ASSERT_TRUE(result.isOk()) << result.status().message();
    ASSERT_EQ(result->size(), 3u);
    const char *names[] = {"texel", "storage", "plain"};
    const uint64_t features[] = {3, 6, 4}; // schemas/Features.def: texel 1, subgroup 2, storage 4
    for (size_t i = 0; i < 3; ++i) {
      const CompiledVariant &variant = (*result)[i];
      SCOPED_TRACE(variant.name);
      EXPECT_EQ(variant.name, names[i]);
      EXPECT_EQ(variant.features, features[i]);
      EXPECT_EQ(variant.texel, i == 0);
      EXPECT_EQ(variant.lanes, 8u);
      ModuleFacts facts = factsOf(variant.spirv);
      EXPECT_EQ(facts.version, 0x00010300u);
      EXPECT_EQ(facts.localSizeX, 8u);
      // Every binding of the catalog is used, under its number.
      std::set<uint32_t> expected;
      for (uint32_t number = 0; number < catalog::bindings(request.catalog, request.constants).size();
           ++number)
        expected.insert(number);
      EXPECT_EQ(facts.bindings, expected);
      // Shader, SampledBuffer and what subgroups need: GroupNonUniform, Arithmetic, Shuffle.
      std::set<uint32_t> allowed = {1};
      if (variant.texel)
        allowed.insert({34, 46});
      if (i < 2)
        allowed.insert({61, 63, 65});
      for (uint32_t capability : facts.capabilities)
        EXPECT_TRUE(allowed.contains(capability)) << "capability " << capability;
    }
  }
  for (const catalog::Kernel &kernel : catalog::Kernels)
    EXPECT_TRUE(seen.contains(std::string(kernel.name))) << kernel.name << " has no typical request";
}

/// The texel variant of a kernel.
std::vector<uint32_t> wordsOf(const KernelRequest &request) {
  Result<std::vector<CompiledVariant>> variants = compileVulkan(request, nullptr, "texel");
  EXPECT_TRUE(variants.isOk()) << variants.status().message();
  return variants ? variants->front().spirv : std::vector<uint32_t>();
}

/// Links as a layer has them: twice the same kernel, kernels that define the same names, early returns.
std::vector<ChainLink> typicalChain() {
  const KernelRequest norm = {"rms_norm", {{"SEGMENTS", 2}, {"TAIL", 0}, {"GATHERED", 0}}, {}};
  return {{norm, false},
          {linear({{"ROWS", 8}, {"ADAPTERS", 1}, {"HEAD", 64}}), true},
          {{"attend", {{"HEAD", 64}, {"HEADS", 3}, {"CACHE_F32", 1}, {"SEGMENTS", 1}}, {}}, true},
          {linear({{"ROWS", 8}, {"ADAPTERS", 1}, {"T_PARTS", 3}, {"HAS_OPERAND0", 1}}, Residual), true},
          {norm, true},
          {linear({{"WEIGHT", 5}, {"GROUP", 64}, {"HAS_SCALES", 1}, {"COMBINE", 2}}, Gated), true},
          {{"shrink", {{"SEGMENTS", 1}, {"TAIL", 1}, {"GATHERED", 1}}, {}}, true},
          {{"map", {{"HAS_OPERAND1", 0}}, {term(Op::Operand), term(Op::Tanh)}}, false}};
}

TEST(KernelCompiler, CompilesChains) {
  const std::vector<ChainLink> links = typicalChain();
  Result<CompiledVariant> chain = compileChain(links);
  ASSERT_TRUE(chain.isOk()) << chain.status().message();
  EXPECT_EQ(chain->name, "texel");
  EXPECT_EQ(chain->features, 3u);
  EXPECT_TRUE(chain->texel);
  size_t bindings = 1; // the words
  for (const ChainLink &link : links)
    bindings += catalog::bindings(link.kernel.catalog, link.kernel.constants).size();
  const ModuleFacts facts = factsOf(chain->spirv);
  EXPECT_EQ(facts.localSizeX, 8u);
  EXPECT_EQ(facts.bindings.size(), bindings);
  EXPECT_EQ(*facts.bindings.rbegin(), bindings - 1);
  Result<CompiledVariant> again = compileChain(links);
  ASSERT_TRUE(again.isOk());
  EXPECT_EQ(again->spirv, chain->spirv);
}

TEST(KernelCompiler, RejectsChainsOfOtherKernels) {
  Result<CompiledVariant> chain = compileChain(std::vector<ChainLink>{{linear({{"TILES", 99}}), false}});
  ASSERT_FALSE(chain.isOk());
  EXPECT_EQ(chain.status().code(), Code::InvalidArgument);
  EXPECT_NE(chain.status().message().find("constant TILES is 99"), std::string::npos);
}

TEST(ModulePacker, PackedModulesAreTheSameCode) {
  spvtools::SpirvTools tools(SPV_ENV_VULKAN_1_1);
  std::vector<std::vector<uint32_t>> modules = {compileChain(typicalChain())->spirv};
  for (const KernelRequest &request : typicalRequests())
    modules.push_back(wordsOf(request));
  for (const std::vector<uint32_t> &words : modules) {
    Result<std::vector<uint32_t>> packed = packModule(words);
    ASSERT_TRUE(packed.isOk()) << packed.status().message();
    Result<std::vector<uint32_t>> unpacked = module::unpack(*packed);
    ASSERT_TRUE(unpacked.isOk()) << unpacked.status().message();
    EXPECT_TRUE(tools.Validate(*unpacked));
    EXPECT_LE((*unpacked)[3], words[3]); // ids have no gaps any more
    // Another program's reading: but for the ids' numbers the texts are the same.
    const auto textOf = [&](const std::vector<uint32_t> &module) {
      std::string text;
      EXPECT_TRUE(tools.Disassemble(module, &text, SPV_BINARY_TO_TEXT_OPTION_NO_HEADER));
      std::map<std::string, std::string> names;
      static const std::regex id("%[0-9]+");
      std::string renamed;
      auto rest = text.cbegin();
      for (std::sregex_iterator match(text.begin(), text.end(), id), end; match != end; ++match) {
        renamed.append(rest, (*match)[0].first);
        renamed += names.emplace(match->str(), "%" + std::to_string(names.size())).first->second;
        rest = (*match)[0].second;
      }
      return renamed.append(rest, text.cend());
    };
    EXPECT_EQ(textOf(*unpacked), textOf(words));
  }
  EXPECT_FALSE(packModule(std::vector<uint32_t>(9, 7)).isOk());
}

TEST(ModulePacker, KernelsShareTheirWords) {
  // A bias comes early in the body and counts all ids behind it anew, and a chain has every link's: only what
  // tells a value by its distance leaves the rest alike.
  auto bytesOf = [](const std::vector<std::vector<uint32_t>> &modules) {
    std::vector<uint8_t> bytes;
    for (const std::vector<uint32_t> &words : modules) {
      const std::vector<uint32_t> packed = *packModule(words);
      auto *first = reinterpret_cast<const uint8_t *>(packed.data());
      bytes.insert(bytes.end(), first, first + packed.size() * 4);
    }
    return compress(bytes)->size();
  };
  const std::vector<uint32_t> plain = wordsOf(linear({{"ROWS", 8}})),
                              biased = wordsOf(linear({{"ROWS", 8}, {"HAS_BIAS", 1}}));
  EXPECT_LT(bytesOf({plain, biased}), bytesOf({plain}) * 7 / 6) << bytesOf({plain, biased});
  std::vector<std::vector<uint32_t>> links;
  for (const ChainLink &link : typicalChain())
    links.push_back(wordsOf(link.kernel));
  const size_t apart = bytesOf(links);
  links.push_back(compileChain(typicalChain())->spirv);
  EXPECT_LT(bytesOf(links), apart * 3 / 2) << bytesOf(links) << " " << apart;
}

TEST(KernelCompiler, SameRequestSameWordsInAnyThread) {
  std::vector<KernelRequest> requests = {linear(),
                                         {"shrink", {{"SEGMENTS", 1}, {"TAIL", 1}, {"GATHERED", 0}}, {}},
                                         {"rope", {{"HEAD", 64}, {"ROTATE", 1}, {"CACHE_F32", 0}}, {}}};
  std::vector<std::vector<std::vector<uint32_t>>> words(6);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < words.size(); ++i)
    threads.emplace_back([&, i] {
      Result<std::vector<CompiledVariant>> result = compileVulkan(requests[i % requests.size()]);
      if (result)
        for (const CompiledVariant &variant : *result)
          words[i].push_back(variant.spirv);
    });
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_EQ(words[i].size(), 3u);
    EXPECT_EQ(words[i], words[i + requests.size()]);
  }
}

TEST(KernelCompiler, CacheGivesTheSameWordsAndDistrustsItsFiles) {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "lorac-kernel-cache";
  std::filesystem::remove_all(folder);
  Result<KernelCache> cache = KernelCache::open(folder.string());
  ASSERT_TRUE(cache) << cache.status().message();
  auto words = [&](const KernelCache *use) {
    Result<std::vector<CompiledVariant>> variants = compileVulkan({"gather", {}, {}}, use);
    std::vector<std::vector<uint32_t>> result;
    if (variants)
      for (const CompiledVariant &variant : *variants)
        result.push_back(variant.spirv);
    return result;
  };
  const std::vector<std::vector<uint32_t>> expected = words(nullptr);
  ASSERT_EQ(expected.size(), 3u);
  EXPECT_EQ(words(&*cache), expected);
  std::vector<std::filesystem::path> entries;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    entries.push_back(entry.path());
  ASSERT_EQ(entries.size(), 3u);
  // Another valid module under an entry's name: a hit would give it. Truncated and flipped entries likewise.
  std::filesystem::copy_file(entries[0], entries[1], std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(entries[2], 40);
  EXPECT_EQ(words(&*cache), expected);
  EXPECT_GT(std::filesystem::file_size(entries[2]), 40u) << "a damaged entry is replaced";
  // A hit is used: the entry's time does not change.
  auto written = std::filesystem::last_write_time(entries[0]);
  EXPECT_EQ(words(&*cache), expected);
  EXPECT_EQ(std::filesystem::last_write_time(entries[0]), written);
  std::filesystem::remove_all(folder);
}
TEST(KernelCompiler, RejectsCacheThatIsAFile) {
  std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "lorac-kernel-cache-file";
  std::ofstream(file) << "x";
  Result<KernelCache> cache = KernelCache::open(file.string());
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.status().code(), Code::Io);
  EXPECT_NE(cache.status().message().find("cannot be the folder of the kernel cache"), std::string::npos);
}
TEST(KernelCompiler, RejectsUnknownKernel) { expectRefused({"fold", {}, {}}, Code::NotFound, "kernel fold"); }
TEST(KernelCompiler, RejectsMissingConstant) {
  KernelRequest request = linear();
  request.constants.erase("TILES");
  expectRefused(request, Code::InvalidArgument, "constant TILES is missing, expected 1 to 8");
}
TEST(KernelCompiler, RejectsConstantOutOfRange) {
  expectRefused(linear({{"ROWS", 9}}), Code::InvalidArgument, "constant ROWS is 9, expected 1 to 8");
}
TEST(KernelCompiler, RejectsUnknownConstant) {
  expectRefused(linear({{"LANES", 8}}), Code::InvalidArgument, "constant LANES is not in the catalog");
}
TEST(KernelCompiler, RejectsGroupsAcrossSegments) {
  expectRefused(linear({{"ADAPTERS", 1}, {"TILES", 3}}), Code::InvalidArgument, "constant TILES is 3");
}
TEST(KernelCompiler, RejectsGatheredWithoutAdapters) {
  expectRefused(linear({{"GATHERED", 1}}), Code::InvalidArgument, "constant GATHERED is 1 without ADAPTERS");
}
TEST(KernelCompiler, RejectsPartsAndHeadsThatNoGroupHolds) {
  expectRefused(linear({{"T_PARTS", 3}}), Code::InvalidArgument, "T_PARTS is 3, expected 1 without ADAPTERS");
  expectRefused({"attend", {{"HEAD", 80}, {"HEADS", 1}, {"CACHE_F32", 1}, {"SEGMENTS", 1}}, {}},
                Code::InvalidArgument, "HEAD is 80, expected a multiple of 32 with SEGMENTS");
  expectRefused(linear({{"HEAD", 80}}), Code::InvalidArgument,
                "HEAD 80 and TILES 4, expected a multiple of 32");
  expectRefused(linear({{"HEAD", 64}, {"TILES", 1}}), Code::InvalidArgument, "and 2 or 4");
  expectRefused(linear({{"HEAD", 64}, {"HAS_OPERAND0", 1}}), Code::InvalidArgument,
                "constant HAS_OPERAND0 is 1 with HEAD");
}
TEST(KernelCompiler, RejectsWhatIsNoPackedType) {
  const std::map<std::string, int64_t> wrong[] = {
      {{"WEIGHT", 1}, {"HAS_SCALES", 1}},
      {{"WEIGHT", 3}},
      {{"WEIGHT", 3}, {"GROUP", 48}, {"HAS_SCALES", 1}},
      {{"WEIGHT", 4}, {"HAS_SCALES", 1}},
      {{"WEIGHT", 4}, {"GROUP", 32}, {"HAS_SCALES", 1}, {"HAS_PAIRS", 1}},
      {{"WEIGHT", 4}, {"GROUP", 32}, {"HAS_SCALES", 1}, {"ZERO_POINT", 1}},
      {{"WEIGHT", 4}, {"GROUP", 32}, {"HAS_SCALES", 1}, {"NESTED", 1}},
      {{"WEIGHT", 5}, {"GROUP", 64}},
  };
  for (const auto &changes : wrong)
    expectRefused(linear(changes), Code::InvalidArgument, "are no packed type");
  expectRefused(
      linear(wrong[3]), Code::InvalidArgument,
      "constants WEIGHT 4, GROUP 0, HAS_SCALES 1, HAS_PAIRS 0, ZERO_POINT 0, NESTED 0 are no packed type");
}
TEST(KernelCompiler, RejectsOddHead) {
  expectRefused({"rope", {{"HEAD", 17}, {"ROTATE", 1}, {"CACHE_F32", 0}}, {}}, Code::InvalidArgument,
                "constant HEAD is 17");
}
TEST(KernelCompiler, RejectsEpilogueWhereThereIsNone) {
  expectRefused({"gather", {}, Residual}, Code::InvalidArgument, "takes no epilogue");
}
TEST(KernelCompiler, RejectsMissingEpilogue) {
  expectRefused(linear({{"COMBINE", 2}}), Code::InvalidArgument, "the epilogue is empty");
  expectRefused({"map", {{"HAS_OPERAND1", 0}}, {}}, Code::InvalidArgument, "the epilogue is empty");
}
TEST(KernelCompiler, RejectsUnboundOperand) {
  expectRefused(linear({}, Residual), Code::InvalidArgument, "operand 0 is not bound");
}

} // namespace
