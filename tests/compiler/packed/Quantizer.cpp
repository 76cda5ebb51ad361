// Codes, scales and values against what bitsandbytes and gguf compute (tests/goldens/packed).
#include "compiler/packed/Quantizer.h"

#include "compiler/import/Safetensors.h"
#include "compiler/packed/Tables.h"
#include "support/Half.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"

#include <cmath>
#include <cstring>

namespace lorac::packed {
namespace {

using test::goldens;

class Quantizers : public testing::Test {
protected:
  void SetUp() override {
    Result<SafetensorsTable> read = readSafetensors(files, goldens("packed/packed.safetensors"));
    ASSERT_OK(read);
    table = *std::move(read);
    text = test::readFile(goldens("packed/packed.safetensors"));
  }
  template <typename T> std::vector<T> values(const std::string &name) {
    const SafetensorsEntry &entry = table.at(name);
    std::vector<T> out(entry.size / sizeof(T));
    std::memcpy(out.data(), text.data() + entry.offset, entry.size);
    return out;
  }
  bool has(const std::string &name) { return table.find(name) != table.end(); }

  FileCache files;
  SafetensorsTable table;
  std::string text;
};

template <typename T> bool sameBits(const std::vector<T> &a, const std::vector<T> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

TEST_F(Quantizers, TablesAreBitsandbytes) {
  for (auto [name, code] : {std::pair("bnb.nf4.map", Code::NF4), std::pair("bnb.fp4.map", Code::FP4)}) {
    const std::vector<float> want = values<float>(name);
    for (size_t i = 0; i < 16; ++i) // code 8 of fp4 is -0, which the stored map does not say
      EXPECT_EQ(tableOf(code)[i], want[i]) << name << " " << i;
  }
  const std::vector<float> map = values<float>("bnb.nf4.64x128.b64.double.nested_map");
  EXPECT_TRUE(sameBits(std::vector<float>(dynamicMap().begin(), dynamicMap().end()), map));
}

/// One of the stored cases: `bnb.nf4.33x70.b64.single`.
struct BlockCase {
  const char *name;
  Code code;
  uint32_t block;
};
constexpr BlockCase kBlocks[] = {
    {"bnb.nf4.33x70.b64.single", Code::NF4, 64},  {"bnb.nf4.7x129.b32.single", Code::NF4, 32},
    {"bnb.nf4.33x70.b64.double", Code::NF4, 64},  {"bnb.nf4.7x129.b32.double", Code::NF4, 32},
    {"bnb.nf4.64x128.b64.double", Code::NF4, 64}, {"bnb.fp4.33x70.b64.single", Code::FP4, 64},
    {"bnb.fp4.7x129.b32.single", Code::FP4, 32},  {"bnb.fp4.33x70.b64.double", Code::FP4, 64},
    {"bnb.fp4.7x129.b32.double", Code::FP4, 32},  {"bnb.fp4.64x128.b64.double", Code::FP4, 64}};

// Blocks run over the flattened tensor there; a short last block is one padded with zeros here.
TEST_F(Quantizers, FourBitBlocksAreBitsandbytes) {
  for (const BlockCase &block : kBlocks) {
    SCOPED_TRACE(block.name);
    const std::string name = std::string(block.name) + ".";
    std::vector<float> input = values<float>(name + "input");
    const size_t count = input.size();
    input.resize((count + block.block - 1) / block.block * block.block);
    Row row;
    EXPECT_EQ(quantizeRow({block.code, block.block}, input, row), "");

    // Element 2i is the high nibble there.
    const auto stored = values<uint8_t>(name + "codes");
    for (size_t i = 0; i < count; ++i)
      ASSERT_EQ(row.codes[i], i % 2 == 0 ? stored[i / 2] >> 4 : stored[i / 2] & 15) << i;

    if (has(name + "absmax")) {
      EXPECT_TRUE(sameBits(row.words, values<float>(name + "absmax")));
    } else {
      NestedScales made = nest(row.words);
      const float offset = values<float>(name + "offset")[0];
      EXPECT_NEAR(made.offset, offset,
                  2e-7 * std::fabs(offset)); // a mean: its last bit depends on the order of the sum
      const NestedScales kept{values<uint8_t>(name + "absmax_u8"), offset,
                              values<float>(name + "nested_absmax")};
      EXPECT_EQ(made.codes, kept.codes);
      ASSERT_EQ(made.scales.size(), kept.scales.size());
      for (size_t i = 0; i < kept.scales.size(); ++i)
        EXPECT_NEAR(made.scales[i], kept.scales[i], 2e-7 * std::fabs(offset));
      for (size_t i = 0; i < row.words.size(); ++i)
        row.words[i] = kept.scaleOf(i);
    }
    std::vector<float> got(input.size());
    dequantizeRow({block.code, block.block}, row, got);
    got.resize(count);
    EXPECT_EQ(got, values<float>(
                       name + "values")); // but for the sign of fp4's second 0, where its own backends differ
  }
}

constexpr std::pair<const char *, Encoding> kSimpleBlocks[] = {
    {"Q4_0", Encoding::Q4_0}, {"Q4_1", Encoding::Q4_1}, {"Q8_0", Encoding::Q8_0}, {"Q5_0", Encoding::Q5_0}};

TEST_F(Quantizers, CopiedBlocksKeepTheirValues) {
  for (auto [name, encoding] : kSimpleBlocks) {
    SCOPED_TRACE(name);
    const auto bytes = values<uint8_t>(std::string("gguf.") + name + ".bytes");
    const auto want = values<float>(std::string("gguf.") + name + ".values");
    Row row;
    copyRow(encoding, bytes.data(), want.size(), row);
    std::vector<float> got(want.size());
    dequantizeRow(*exactTypeOf(encoding), row, got);
    EXPECT_TRUE(sameBits(got, want));
  }
}

TEST_F(Quantizers, GroupsOf32AreGgmls) {
  for (auto [name, encoding] : kSimpleBlocks) {
    if (encoding == Encoding::Q5_0) // read, never written
      continue;
    SCOPED_TRACE(name);
    const auto input = values<float>(std::string("quantize.") + name + ".input");
    const auto bytes = values<uint8_t>(std::string("quantize.") + name + ".bytes");
    Row want, got;
    copyRow(encoding, bytes.data(), input.size(), want);
    EXPECT_EQ(quantizeRow(*exactTypeOf(encoding), input, got), "");
    EXPECT_EQ(got.codes, want.codes);
    EXPECT_EQ(got.halves, want.halves);
    EXPECT_EQ(got.seconds, want.seconds);
  }
}

std::vector<float> waves(size_t count, float scale, float offset) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = offset + scale * float(std::sin(double(i) * 1.7) + 0.3 * std::sin(double(i * i) * 0.11));
  return values;
}

/// Largest |W' - W| over a row.
float worstError(const Type &type, const std::vector<float> &input) {
  Row row;
  EXPECT_EQ(quantizeRow(type, input, row), "");
  std::vector<float> got(input.size());
  dequantizeRow(type, row, got);
  float worst = 0;
  for (size_t i = 0; i < input.size(); ++i)
    worst = std::max(worst, std::fabs(got[i] - input[i]));
  return worst;
}

// Half a step of the range that the codes have, and what rounding the scale to f16 moves the ends.
TEST(Quantizer, ErrorsStayWithinHalfAStep) {
  const std::vector<float> centred = waves(256, 0.5f, 0), shifted = waves(256, 0.1f, 0.4f);
  for (const char *group : {"-g32", "-g64", "-g128"}) {
    EXPECT_LE(worstError(*parse(std::string("int8") + group), centred), 0.65f / 127 * 0.6f);
    EXPECT_LE(worstError(*parse(std::string("int4") + group + "-zero"), centred), 1.3f / 15 * 0.55f);
    EXPECT_LE(worstError(*parse(std::string("int4") + group + "-offset"), shifted), 0.26f / 15 * 0.55f);
    EXPECT_LE(worstError(*parse(std::string("int4") + group), centred),
              0.65f / 8 * 1.01f); // the far end is clipped
  }
  EXPECT_LE(worstError(*parse("int8-row"), centred), 0.65f / 127 * 0.51f);
}

TEST(Quantizer, ZeroPointsKeepZero) {
  std::vector<float> input = waves(32, 0.1f, 0.4f);
  input[7] = 0;
  Row row;
  EXPECT_EQ(quantizeRow(*parse("int4-zero"), input, row), "");
  std::vector<float> got(32);
  dequantizeRow(*parse("int4-zero"), row, got);
  EXPECT_EQ(got[7], 0.0f);
  EXPECT_EQ(halfToFloat(row.seconds[0]), 0.0f); // all values are positive: the range begins at 0
  for (float &value : input)
    value = -value;
  EXPECT_EQ(quantizeRow(*parse("int4-zero"), input, row), "");
  EXPECT_EQ(halfToFloat(row.seconds[0]), 15.0f);
}

TEST(Quantizer, ZerosAndTheSmallestNumbersStayFinite) {
  for (const char *name : {"int8-row", "int8", "int4", "int4-offset", "int4-zero", "nf4", "fp4"})
    for (float value : {0.0f, 1e-40f, -1e-45f, 1e-30f}) {
      const Type type = *parse(name);
      const std::vector<float> input(64, value);
      std::vector<float> got(64, NAN);
      Row row;
      EXPECT_EQ(quantizeRow(type, input, row), "") << name;
      dequantizeRow(type, row, got);
      for (float stored : got)
        EXPECT_LE(std::fabs(stored - value), std::fabs(value)) << name << " " << value;
    }
}

TEST(Quantizer, RefusesScalesBeyondHalf) {
  Row row;
  std::vector<float> input(32, 1.0f);
  input[3] = 65504.0f * 127 * 0.99f;
  EXPECT_EQ(quantizeRow(*parse("int8"), input, row), "");
  input[3] = 65536.0f * 127;
  EXPECT_EQ(quantizeRow(*parse("int8"), input, row), "a scale of 65536 is beyond f16 (65504)");
  for (const char *name : {"int4", "int4-offset", "int4-zero"}) {
    input[3] = 3e38f;
    input[4] = -3e38f; // and a range beyond f32
    EXPECT_NE(quantizeRow(*parse(name), input, row).find("is beyond f16"), std::string::npos) << name;
  }
  for (const char *name : {"int8-row", "nf4", "fp4"}) { // their scales are f32
    std::vector<float> wide(64, 3e38f);
    EXPECT_EQ(quantizeRow(*parse(name), wide, row), "") << name;
  }
}

} // namespace
} // namespace lorac::packed
