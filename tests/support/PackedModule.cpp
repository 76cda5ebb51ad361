//===- PackedModule.cpp - SPIR-V as a model file holds it -------------------===//
#include "support/PackedModule.h"

#include "tests/support/StatusTest.h"

#include <gtest/gtest.h>

namespace lorac {
namespace {

using Words = std::vector<uint32_t>;
using module::unpack;

constexpr uint32_t MadeWord = 1u << 30, NextWord = MadeWord | 1;
constexpr uint32_t back(uint32_t opcode, uint32_t distance) {
  return 2u << 30 | opcode << 20 | (distance & 0xfffff);
}
constexpr uint32_t shared(uint32_t name) { return 3u << 30 | name; }
constexpr uint32_t head(uint32_t words, uint32_t opcode) { return words << 16 | opcode; }

/// SPIR-V's header as 10 to 14, and instructions.
Words spirv(const std::vector<Words> &instructions) {
  Words all = {10, 11, 12, 13, 14};
  for (const Words &instruction : instructions)
    all.insert(all.end(), instruction.begin(), instruction.end());
  return all;
}
/// The same packed, to so many words.
Words packed(uint32_t shared, uint32_t words, const std::vector<Words> &instructions) {
  Words all = spirv(instructions);
  all.insert(all.begin(), {words, shared});
  return all;
}

TEST(PackedModule, WordsOfEachKind) {
  auto words = unpack(packed(2, 5 + 3 + 4 + 4 + 2,
                             {{head(3, 61), shared(4000), MadeWord},
                              {head(4, 128), shared(9), MadeWord, back(61, 1)},
                              {head(4, 61), shared(4000), MadeWord, back(128, 1)},
                              {head(2, 400), NextWord, 0xc0000005}})); // a number with high bits
  ASSERT_OK(words);
  // 4000 and 9 become 1 and 2, what is made 3 to 5.
  EXPECT_EQ(*words, spirv({{head(3, 61), 1, 3},
                           {head(4, 128), 2, 4, 3},
                           {head(4, 61), 1, 5, 4},
                           {head(2, 400), 0xc0000005}}));
}

TEST(PackedModule, CountsWithinAnOpcodeForthAndBack) {
  // Op 250 names the label after next, the last one and the next one; op 249 the value two of its kind ago.
  auto words = unpack(packed(0, 5 + 2 + 2 + 2 + 4 + 2 + 2 + 2,
                             {{head(2, 129), MadeWord},
                              {head(2, 248), MadeWord},
                              {head(2, 129), MadeWord},
                              {head(4, 250), back(248, uint32_t(-1)), back(248, 1), back(248, 0)},
                              {head(2, 248), MadeWord},
                              {head(2, 248), MadeWord},
                              {head(2, 249), back(129, 2)}}));
  ASSERT_OK(words);
  EXPECT_EQ(*words, spirv({{head(2, 129), 1},
                           {head(2, 248), 2},
                           {head(2, 129), 3},
                           {head(4, 250), 5, 2, 4},
                           {head(2, 248), 4},
                           {head(2, 248), 5},
                           {head(2, 249), 1}}));
}

TEST(PackedModule, OpcodesCountModulo1024) {
  auto words =
      unpack(packed(0, 5 + 2 + 2, {{head(2, 4421), MadeWord}, {head(2, 249), back(4421 % 1024, 1)}}));
  ASSERT_OK(words);
  EXPECT_EQ(*words, spirv({{head(2, 4421), 1}, {head(2, 249), 1}}));
}

TEST(PackedModule, RejectsWhatIsNone) {
  const auto expect = [](const Words &words, const char *why) {
    EXPECT_STATUS(unpack(words), Code::CorruptFile, std::string("packed module: ") + why);
  };
  expect({}, "it has no header");
  expect({0}, "it has no header");
  expect({1, 0}, "it ends before its last word");
  expect({UINT32_MAX, 0, 7}, "it ends before its last word");
  expect(packed(0, 6, {}), "it ends before its last word");
  expect(packed(0, 7, {{head(2, 9), NextWord}}), "it ends before its last word");
  expect(packed(0, 5, {{7}}), "it goes on behind its last word");
  expect(packed(0, 7, {{head(2, 9), MadeWord | 2}}), "it has a word of no known kind");
  expect(packed(0, 6, {{9}}), "an instruction does not say how long it is");
  expect(packed(0, 6, {{MadeWord}}), "an instruction does not say how long it is");
  expect(packed(0, 7, {{head(2, 9), back(248, 1)}}), "it names what no instruction makes");
  expect(packed(0, 9, {{head(2, 248), MadeWord, head(2, 249), back(248, 2)}}),
         "it names what no instruction");
  expect(packed(0, 9, {{head(2, 248), MadeWord, head(2, 249), back(248, 0)}}),
         "it names what no instruction");
  expect(packed(0, 7, {{head(2, 9), shared(1)}}), "it has another number of ids outside its functions");
  expect(packed(2, 7, {{head(2, 9), shared(1)}}), "it has another number of ids outside its functions");
}

} // namespace
} // namespace lorac
