// Names and sizes of packed types, as docs/formats/packed.md gives them.
#include "schemas/PackedType.h"

#include <gtest/gtest.h>

namespace lorac::packed {
namespace {

TEST(PackedType, NamesComeBack) {
  for (const char *name : {"f32", "f16", "bf16", "int8-row", "int8-g32", "int8-g128", "int4-g64",
                           "int4-g32-offset", "int4-g128-zero", "nf4-g64", "nf4-g4096-double", "fp4-g32"}) {
    std::optional<Type> type = parse(name);
    ASSERT_TRUE(type) << name;
    EXPECT_EQ(nameOf(*type), name);
    EXPECT_EQ(problemOf(*type), "") << name;
  }
}

TEST(PackedType, ShortNamesHaveTheUsualGroups) {
  EXPECT_EQ(nameOf(*parse("int8")), "int8-g32");
  EXPECT_EQ(nameOf(*parse("int4")), "int4-g32");
  EXPECT_EQ(nameOf(*parse("int4-zero")), "int4-g32-zero");
  EXPECT_EQ(nameOf(*parse("nf4")), "nf4-g64");
  EXPECT_EQ(nameOf(*parse("fp4-double")), "fp4-g64-double");
}

TEST(PackedType, RejectsOtherNames) {
  for (const char *name :
       {"", "-", "int3", "int4-", "int4--g32", "int4-g", "int4-g032", "int4-g32x", "int4-g32-g64", "int4-row",
        "nf4-double-double", "int4-offset-zero", "f16-row", "INT4", "int4 ", "int4-g99999999999"})
    EXPECT_FALSE(parse(name)) << name;
}

TEST(PackedType, RejectsCombinationsThatAreNoType) {
  EXPECT_EQ(problemOf(*parse("int8-offset")), "offsets and zero points belong to int4");
  EXPECT_EQ(problemOf(*parse("int4-double")), "double quantization belongs to nf4 and fp4");
  EXPECT_EQ(problemOf(*parse("f16-g32")), "f16 has no groups");
  EXPECT_EQ(problemOf(*parse("int4-g256")), "groups of 256 are not possible, int4 has 32, 64, and 128");
  EXPECT_EQ(problemOf(*parse("nf4-g48")),
            "groups of 48 are not possible, nf4 has 32, 64, 128, 256, 512, 1024, 2048 and 4096");
  EXPECT_NE(problemOf(*parse("nf4-g8192")), "");
  EXPECT_EQ(problemOf(*parse("nf4-g4096")), "");
}

TEST(PackedType, NamesTheGroupsThatFit) {
  EXPECT_EQ(problemOf(*parse("int4-g128"), 576),
            "groups of 128 do not divide rows of 576 values; groups that do: 32, 64");
  EXPECT_EQ(problemOf(*parse("nf4"), 1536), "");
  EXPECT_EQ(problemOf(*parse("nf4"), 70),
            "groups of 64 do not divide rows of 70 values; no group does: f16, f32, bf16 and int8-row fit");
  EXPECT_EQ(problemOf(*parse("int8-row"), 70), "");
}

/// Bits a weight of `rows` x `cols`, all planes.
double bits(const char *name, uint64_t rows, uint64_t cols) {
  const Type type = *parse(name);
  const uint64_t bytes =
      rows * (codeRowBytes(type, cols) + scaleRowBytes(type, cols)) + nestedBytes(type, rows, cols);
  return double(bytes) * 8 / double(rows * cols);
}

TEST(PackedType, BitsAWeight) {
  EXPECT_DOUBLE_EQ(bits("int8", 576, 576), 8.5);
  EXPECT_DOUBLE_EQ(bits("int4", 576, 576), 4.5);
  EXPECT_DOUBLE_EQ(bits("int4-offset", 576, 576), 5.0);
  EXPECT_DOUBLE_EQ(bits("int4-g128", 4096, 4096), 4.125);
  EXPECT_DOUBLE_EQ(bits("nf4", 576, 576), 4.5);
  EXPECT_NEAR(bits("nf4-double", 4096, 4096), 4.127, 0.0005);
  EXPECT_NEAR(bits("nf4-double", 576, 1536), 4.127, 0.0005);
}

TEST(PackedType, PiecesAndScalesArePadded) {
  EXPECT_EQ(codeRowBytes(*parse("int8-row"), 17), 32u);
  EXPECT_EQ(codeRowBytes(*parse("f32"), 5), 32u);
  EXPECT_EQ(scaleRowBytes(*parse("int4"), 96), 8u); // three groups: the second word is half empty
  EXPECT_EQ(scaleRowBytes(*parse("int4-offset"), 96), 16u);
  EXPECT_EQ(scaleRowBytes(*parse("int8-row"), 96), 4u);
  EXPECT_EQ(scaleRowBytes(*parse("nf4-double"), 128), 2u);
  EXPECT_EQ(nestedBytes(*parse("nf4-double"), 64, 512), 4u + 2 * 4u); // 512 blocks
}

} // namespace
} // namespace lorac::packed
