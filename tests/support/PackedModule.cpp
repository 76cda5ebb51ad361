//===- PackedModule.cpp - SPIR-V as a model file holds it -------------------===//
#include "support/PackedModule.h"

#include "tests/support/StatusTest.h"

#include <gtest/gtest.h>

namespace lorac {
namespace {

using Words = std::vector<uint32_t>;
using module::unpack;

TEST(PackedModule, WordsOfEachKind) {
  // Kinds, from the lowest bits: Plain, Shared, Shared, Made, Back, Shared, Made, Back.
  const uint32_t kinds = 0 | 3 << 2 | 3 << 4 | 1 << 6 | 2 << 8 | 3 << 10 | 1 << 12 | 2 << 14;
  auto words = unpack(Words{8, 6, 2, 77, 4000, 9, 1, 4000, 2, kinds});
  ASSERT_OK(words);
  // 4000 and 9 become 1 and 2; what is made 3 and 4.
  EXPECT_EQ(*words, (Words{77, 1, 2, 3, 3, 1, 4, 3}));
}

TEST(PackedModule, WhatIsMadeLaterIsNegative) {
  auto words = unpack(Words{2, 1, 0, uint32_t(-1), 2 | 1 << 2});
  ASSERT_OK(words);
  EXPECT_EQ(*words, (Words{2, 1}));
}

TEST(PackedModule, RejectsWhatIsNone) {
  EXPECT_STATUS(unpack({}), Code::CorruptFile, "packed module: it has no header");
  EXPECT_STATUS(unpack(Words{1, 1, 0, 7}), Code::CorruptFile, "its header gives it another size");
  EXPECT_STATUS(unpack(Words{1, 1, 0, 7, 0, 0}), Code::CorruptFile, "its header gives it another size");
  EXPECT_STATUS(unpack(Words{UINT32_MAX, UINT32_MAX, 0, 7, 0}), Code::CorruptFile, "another size");
  EXPECT_STATUS(unpack(Words{2, 1, 0, 7, 0}), Code::CorruptFile, "it keeps too few words");
  EXPECT_STATUS(unpack(Words{1, 1, 0, 7, 1}), Code::CorruptFile, "it keeps other words than it takes");
  EXPECT_STATUS(unpack(Words{1, 1, 0, 7, 3}), Code::CorruptFile, "it keeps other words than it takes");
  EXPECT_STATUS(unpack(Words{1, 1, 2, 7, 3}), Code::CorruptFile, "it keeps other words than it takes");
}

} // namespace
} // namespace lorac
