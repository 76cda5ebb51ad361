#include "runtime/device/vulkan/Shader.h"
#include "tests/support/StatusTest.h"

namespace lorac::vulkan {
namespace {

using Words = std::vector<uint32_t>;

const Words MapSubgroup =
#include "tests/runtime/device/spirv/map_subgroup.inc"
    ;
const Words MapStorage =
#include "tests/runtime/device/spirv/map_storage.inc"
    ;

TEST(Shader, ReadsWhatAModuleAsksFor) {
  auto plain = readShader(MapStorage);
  ASSERT_OK(plain);
  EXPECT_EQ(plain->version, 0x00010300u);
  EXPECT_EQ(plain->entryPoint, "main");
  EXPECT_EQ(plain->localSize, (std::array<uint32_t, 3>{8, 1, 1}));
  EXPECT_EQ(plain->sharedBytes, 1024u);
  EXPECT_EQ(plain->capabilities, (Words{1})); // Shader
  EXPECT_EQ(plain->pushBytes, 24u);
  ASSERT_EQ(plain->bindings.size(), 2u);
  for (const ShaderBinding &binding : plain->bindings)
    EXPECT_FALSE(binding.texel);

  auto subgroup = readShader(MapSubgroup);
  ASSERT_OK(subgroup);
  EXPECT_EQ(subgroup->capabilities,
            (Words{1, 46, 61, 64})); // Shader, SampledBuffer, GroupNonUniform, ...Ballot
  ASSERT_EQ(subgroup->bindings.size(), 2u);
  for (const ShaderBinding &binding : subgroup->bindings)
    EXPECT_EQ(binding.texel, binding.binding == 0);
}

TEST(Shader, RejectsOtherBytes) {
  EXPECT_STATUS(readShader({}), Code::CorruptFile, "no SPIR-V module");
  Words swapped = MapStorage;
  swapped[0] = 0x03022307;
  EXPECT_STATUS(readShader(swapped), Code::CorruptFile, "no SPIR-V module of this byte order");
}

TEST(Shader, RejectsInstructionPastEnd) {
  Words words = MapStorage;
  words[5] = 0xffff0011; // a capability of 65535 words
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "goes past its end");
  words[5] = 0x00000011;
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "goes past its end");
}

TEST(Shader, RejectsFunctionWithoutEnd) {
  Words words(MapStorage.begin(), MapStorage.end() - 1); // OpFunctionEnd is one word
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "its last function has no end");
}

TEST(Shader, RejectsModuleWithoutEntryPoint) {
  Words words(MapStorage.begin(), MapStorage.begin() + 5);
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "no compute entry point");
}

TEST(Shader, RejectsOtherStages) {
  Words words(MapStorage.begin(), MapStorage.begin() + 5);
  words.insert(words.end(), {0x0005000f, 4 /* Fragment */, 1, 0x6e69616d, 0});
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "not the one compute shader");
}

TEST(Shader, SurvivesEveryTruncation) {
  for (size_t length = 0; length < MapStorage.size(); ++length) {
    auto facts = readShader(std::span(MapStorage).first(length));
    if (facts) {
      EXPECT_EQ(facts->entryPoint, "main");
    }
  }
}

TEST(Shader, CountsSharedMemoryWithoutOverflow) {
  // float[0xffffffff][0xffffffff][0xffffffff] in Workgroup storage.
  Words words = {0x07230203, 0x00010300, 0, 32, 0};
  auto add = [&](uint32_t op, Words operands) {
    words.push_back(uint32_t(operands.size() + 1) << 16 | op);
    words.insert(words.end(), operands.begin(), operands.end());
  };
  add(15, {5, 1, 0x6e69616d, 0});
  add(16, {1, 17, 8, 1, 1});
  add(22, {2, 32});
  add(21, {3, 32, 0});
  add(43, {3, 4, 0xffffffff});
  add(28, {5, 2, 4});
  add(32, {6, 4, 5});
  add(59, {6, 7, 4});
  auto fits = readShader(words);
  ASSERT_OK(fits);
  EXPECT_EQ(fits->sharedBytes, 4ull * 0xffffffff);
  add(28, {8, 5, 4});
  EXPECT_STATUS(readShader(words), Code::CorruptFile, "a type of more than 2^64 bytes");
}

} // namespace
} // namespace lorac::vulkan
