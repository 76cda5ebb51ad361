// Planes as docs/formats/packed.md lays them out, read back by a reader of its own.
#include "compiler/emit/WeightPacker.h"

#include "compiler/packed/Quantizer.h"
#include "compiler/packed/Tables.h"
#include "support/Half.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

namespace lorac {
namespace {

using packed::Code;
using packed::Offset;
using packed::Type;

struct Planes {
  Type type;
  uint64_t rows, cols;
  std::vector<uint8_t> codes;
  PackedRest rest;

  template <typename T> static T at(const std::vector<uint8_t> &plane, uint64_t byte) {
    T value;
    EXPECT_LE(byte + sizeof(T), plane.size());
    std::memcpy(&value, plane.data() + byte, sizeof(T));
    return value;
  }
  float half(uint64_t byte) const { return halfToFloat(at<uint16_t>(rest.scales, byte)); }

  /// W'[r, k] by the page's formulas.
  float value(uint64_t r, uint64_t k) const {
    const uint64_t tile = r / 8, lane = r % 8;
    const uint64_t c = type.code == Code::F32    ? 4
                       : type.code <= Code::BF16 ? 8
                       : type.code == Code::Int8 ? 16
                                                 : 32;
    const uint64_t pieces = (cols + c - 1) / c, piece = ((tile * pieces + k / c) * 8 + lane) * 16, i = k % c;
    if (type.code == Code::F32)
      return at<float>(codes, piece + i * 4);
    if (type.code == Code::F16)
      return halfToFloat(at<uint16_t>(codes, piece + i * 2));
    if (type.code == Code::BF16)
      return bfloatToFloat(at<uint16_t>(codes, piece + i * 2));
    const auto word = at<uint32_t>(codes, piece + i % 4 * 4);
    const uint32_t bits = type.code == Code::Int8 ? word >> (i / 4 * 8) & 255u : word >> (i / 4 * 4) & 15u;
    const uint64_t n = type.group == 0 ? 1 : cols / type.group, g = type.group == 0 ? 0 : k / type.group;
    const uint64_t pair = (tile * ((n + 1) / 2) + g / 2) * 8 + lane;
    if (type.code == Code::Int8) {
      const float d =
          type.group == 0 ? at<float>(rest.scales, (tile * 8 + lane) * 4) : half(pair * 4 + g % 2 * 2);
      return d * float(int8_t(bits));
    }
    if (type.code == Code::Int4) {
      if (type.offset == Offset::None)
        return half(pair * 4 + g % 2 * 2) * float(int(bits) - 8);
      const float d = half(pair * 8 + g % 2 * 4), second = half(pair * 8 + g % 2 * 4 + 2);
      return type.offset == Offset::Float ? d * float(bits) + second : d * (float(bits) - second);
    }
    const float entry = packed::tableOf(type.code)[bits];
    if (!type.nested)
      return at<float>(rest.scales, ((tile * n + g) * 8 + lane) * 4) * entry;
    const uint8_t scale = rest.scales[(tile * n + g) * 8 + lane];
    const uint64_t number = r * n + g;
    const float product = packed::dynamicMap()[scale] * at<float>(rest.nested, 4 + number / 256 * 4);
    return (product + at<float>(rest.nested, 0)) * entry;
  }
};

class WeightPackers : public testing::Test {
protected:
  TensorSource source(const test::Bytes &bytes, Encoding encoding, uint64_t rows, uint64_t cols) {
    const std::string path = folder.path("t" + std::to_string(++made));
    test::writeFile(path, bytes);
    Result<TensorSource> opened =
        TensorSource::open(files, {path, 0, bytes.size(), encoding, rows, cols, 0}, "w");
    EXPECT_OK(opened);
    return *opened;
  }
  /// Bell-shaped values with some large ones, as weights have.
  std::vector<float> weights(uint64_t count, uint32_t seed = 7) {
    std::mt19937 random(seed);
    std::normal_distribution<float> bell(0.0f, 0.05f);
    std::vector<float> values(count);
    for (float &value : values)
      value = bell(random) * (random() % 100 == 0 ? 4.0f : 1.0f);
    return values;
  }
  Result<Planes> pack(const TensorSource &tensor, const Type &type, std::span<const FoldValues> folds = {}) {
    Planes planes{type, tensor.rows(), tensor.cols(), {}, {}};
    LORAC_ASSIGN(planes.rest, WeightPacker(tensor, type, folds).pack([&](std::span<const uint8_t> bytes) {
      test::appendRaw(planes.codes, bytes.data(), bytes.size());
      return Status::ok();
    }));
    return planes;
  }

  test::TempFolder folder;
  FileCache files;
  int made = 0;
};

constexpr const char *kTypes[] = {
    "f32",  "f16",       "bf16",        "int8-row",        "int8",       "int8-g64",
    "int4", "int4-g128", "int4-offset", "int4-g64-offset", "int4-zero",  "int4-g128-zero",
    "nf4",  "nf4-g128",  "fp4",         "fp4-g32",         "nf4-double", "fp4-g128-double"};

/// ‖W' − W‖ / ‖W‖ that a bell's values may have.
double expectedError(const Type &type) {
  switch (type.code) {
  case Code::F32:
    return 0;
  case Code::F16:
    return 3e-4;
  case Code::BF16:
    return 3e-3;
  case Code::Int8:
    return 0.03;
  default:
    return 0.25;
  }
}

TEST_F(WeightPackers, PlanesHoldTheTensor) {
  for (auto [rows, cols] : {std::pair(40, 384), std::pair(13, 640), std::pair(1, 128)})
    for (const char *name : kTypes) {
      const Type type = *packed::parse(name);
      SCOPED_TRACE(testing::Message() << name << " " << rows << " x " << cols);
      const std::vector<float> values = weights(uint64_t(rows) * cols);
      const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, rows, cols);
      Result<Planes> planes = pack(tensor, type);
      ASSERT_OK(planes);
      const uint64_t tileRows = (rows + 7) / 8 * 8;
      EXPECT_EQ(planes->codes.size(), tileRows * packed::codeRowBytes(type, cols));
      EXPECT_EQ(planes->rest.scales.size(), tileRows * packed::scaleRowBytes(type, cols));
      EXPECT_EQ(planes->rest.nested.size(), packed::nestedBytes(type, rows, cols));
      double difference = 0, reference = 0;
      for (int r = 0; r < rows; ++r)
        for (int k = 0; k < cols; ++k) {
          const double wanted = values[uint64_t(r) * cols + k];
          difference += std::pow(planes->value(r, k) - wanted, 2);
          reference += wanted * wanted;
        }
      const double error = std::sqrt(difference / reference);
      EXPECT_LE(error, expectedError(type));
      EXPECT_NEAR(planes->rest.error.relative(), error, 1e-3 * error + 1e-9); // what compile's table says
    }
}

TEST_F(WeightPackers, OddWidthsOfTypesWithoutGroups) {
  for (const char *name : {"f32", "f16", "bf16", "int8-row"}) {
    SCOPED_TRACE(name);
    const std::vector<float> values = weights(11 * 37);
    const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, 11, 37);
    Result<Planes> planes = pack(tensor, *packed::parse(name));
    ASSERT_OK(planes);
    for (uint64_t r = 0; r < 11; ++r)
      for (uint64_t k = 0; k < 37; ++k)
        EXPECT_NEAR(planes->value(r, k), values[r * 37 + k], 0.004) << r << " " << k;
  }
}

/// Blocks of random codes under finite scales.
test::Bytes randomBlocks(Encoding encoding, uint64_t count) {
  const uint64_t size = encodingInfo(encoding).blockBytes;
  std::mt19937_64 random(11);
  test::Bytes bytes((count * size + 7) / 8 * 8);
  for (uint64_t at = 0; at < bytes.size(); at += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, 8);
  }
  bytes.resize(count * size);
  for (uint64_t block = 0; block < count; ++block) // neither scale nor offset is infinite or NaN
    for (uint64_t half : {0, 2})
      if (half == 0 || encoding == Encoding::Q4_1)
        bytes[block * size + half + 1] &= 0xbf;
  return bytes;
}

// What a quantized checkpoint holds is taken over bit for bit. LORAC_SWEEP=all: 10^6 blocks a type.
TEST_F(WeightPackers, StoredBlocksAreKept) {
  const char *sweep = std::getenv("LORAC_SWEEP");
  const uint64_t rows = sweep && std::string(sweep) == "all" ? 10007 : 307, cols = 32 * 101;
  for (Encoding encoding : {Encoding::Q4_0, Encoding::Q4_1, Encoding::Q8_0, Encoding::Q5_0}) {
    SCOPED_TRACE(encodingInfo(encoding).name);
    const TensorSource tensor = source(randomBlocks(encoding, rows * 101), encoding, rows, cols);
    Result<Planes> planes = pack(tensor, *packed::exactTypeOf(encoding));
    ASSERT_OK(planes);
    EXPECT_EQ(planes->rest.error.relative(), 0);
    std::vector<float> want(cols);
    for (uint64_t r = 0; r < rows; ++r) {
      ASSERT_OK(tensor.readRows(r, 1, want.data()));
      for (uint64_t k = 0; k < cols; ++k)
        ASSERT_EQ(planes->value(r, k), want[k]) << r << " " << k;
    }
  }
}

// The other types: what the quantizer says of a row is what the planes hold.
TEST_F(WeightPackers, PlanesHoldWhatTheQuantizerMade) {
  const char *sweep = std::getenv("LORAC_SWEEP");
  const uint64_t blocks = sweep && std::string(sweep) == "all" ? 1000000 : 20000;
  for (const char *name : {"int4-zero", "nf4-g32", "fp4-g32", "int8-row"}) {
    SCOPED_TRACE(name);
    const Type type = *packed::parse(name);
    const uint64_t cols = 32 * 101, rows = blocks / 101 + 1;
    const std::vector<float> values = weights(rows * cols);
    const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, rows, cols);
    Result<Planes> planes = pack(tensor, type);
    ASSERT_OK(planes);
    packed::Row row;
    std::vector<float> want(cols);
    for (uint64_t r = 0; r < rows; ++r) {
      ASSERT_EQ(packed::quantizeRow(type, std::span(values).subspan(r * cols, cols), row), "");
      packed::dequantizeRow(type, row, want);
      for (uint64_t k = 0; k < cols; ++k)
        ASSERT_EQ(planes->value(r, k), want[k]) << r << " " << k;
    }
  }
}

// A fold is added to the dequantized values, and the sum is quantized again.
TEST_F(WeightPackers, FoldsAreQuantizedAgain) {
  const TensorSource tensor = source(randomBlocks(Encoding::Q4_1, 8 * 2), Encoding::Q4_1, 8, 64);
  std::vector<float> base(8 * 64);
  ASSERT_OK(tensor.readRows(0, 8, base.data()));
  FoldValues fold{std::vector<float>(64, 0.5f), std::vector<float>(8, 1.0f), 1, 2.0};
  Result<Planes> planes = pack(tensor, *packed::exactTypeOf(Encoding::Q4_1), std::span(&fold, 1));
  ASSERT_OK(planes);
  EXPECT_GT(planes->rest.error.relative(), 0);
  for (uint64_t r = 0; r < 8; ++r)
    for (uint64_t k = 0; k < 64; k += 32) {
      const auto [least, greatest] = std::minmax_element(&base[r * 64 + k], &base[r * 64 + k] + 32);
      for (uint64_t i = k; i < k + 32; ++i)
        EXPECT_NEAR(planes->value(r, i), base[r * 64 + i] + 1.0f,
                    (*greatest - *least) / 15 + 1e-3f * (std::fabs(*least) + std::fabs(*greatest) + 1));
    }
}

TEST_F(WeightPackers, RefusesWhatHalvesCannotHold) {
  std::vector<float> values(64, 1.0f);
  values[40] = 1e6f;
  const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, 2, 32);
  EXPECT_STATUS(
      pack(tensor, *packed::parse("f16")), lorac::Code::InvalidArgument,
      "w: row 1: value 1e+06 in column 8 is beyond f16 (65504); store it wider: --quantize 'w=f32'");
  EXPECT_OK(pack(tensor, *packed::parse("bf16")));
  EXPECT_STATUS(
      pack(source(test::bytesOf(std::vector<float>(32, 1e9f)), Encoding::F32, 1, 32), *packed::parse("int4")),
      lorac::Code::InvalidArgument, "w: row 0: a scale of -1.25e+08 is beyond f16 (65504); store it wider");
  EXPECT_STATUS(pack(source(test::bytesOf(std::vector<float>(32, 1e9f)), Encoding::F32, 1, 32),
                     *packed::parse("int4-zero")),
                lorac::Code::InvalidArgument, "a scale of 6.66667e+07 is beyond f16");
}

TEST_F(WeightPackers, RefusesWhatWouldBecomeInfinite) {
  std::vector<float> values(128, 1.0f);
  values[70] = std::numeric_limits<float>::max();
  const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, 2, 64);
  EXPECT_OK(pack(tensor, *packed::parse("f32")));
  EXPECT_STATUS(pack(tensor, *packed::parse("bf16")), lorac::Code::InvalidArgument,
                "w: row 1: value 3.40282e+38 in column 6 is beyond what bf16 holds; store it wider");
  EXPECT_STATUS(pack(tensor, *packed::parse("int8-row")), lorac::Code::InvalidArgument,
                "w: row 1: value 3.40282e+38 in column 6 is beyond what int8-row holds");
  EXPECT_OK(pack(tensor, *packed::parse("nf4"))); // its greatest entry is 1
}

TEST_F(WeightPackers, RefusesValuesThatAreNoNumbers) {
  for (float bad : {NAN, INFINITY}) {
    std::vector<float> values(64, 1.0f);
    values[33] = bad;
    const TensorSource tensor = source(test::bytesOf(values), Encoding::F32, 1, 64);
    for (const char *name : {"f16", "int8", "nf4"})
      EXPECT_STATUS(pack(tensor, *packed::parse(name)), lorac::Code::Unsupported, "NaN or infinite in row 0");
  }
}

} // namespace
} // namespace lorac
