//===- TensorSource.cpp - values, row order, digests -------------------------===//
#include "compiler/import/TensorSource.h"

#include "compiler/import/Safetensors.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cmath>
#include <numeric>

using namespace lorac;
using namespace lorac::test;

namespace {

struct TensorSources : testing::Test {
  TempFolder folder;
  FileCache files;

  TensorLocation place(const Bytes &bytes, Encoding encoding, uint64_t rows, uint64_t cols,
                       uint64_t heads = 0) {
    TensorLocation where{folder.path(std::to_string(next++)), 0, bytes.size(), encoding, rows, cols, heads};
    writeFile(where.file, bytes);
    return where;
  }
  int next = 0;
};

// The values that the ecosystem's own library gives for these blocks, bit for bit.
TEST_F(TensorSources, DequantizesExactly) {
  Result<SafetensorsTable> table = readSafetensors(files, goldens("packed/packed.safetensors"));
  ASSERT_OK(table);
  for (auto [name, encoding] : {std::pair("Q4_0", Encoding::Q4_0), std::pair("Q4_1", Encoding::Q4_1),
                                std::pair("Q5_0", Encoding::Q5_0), std::pair("Q5_1", Encoding::Q5_1),
                                std::pair("Q8_0", Encoding::Q8_0), std::pair("Q4_K", Encoding::Q4_K),
                                std::pair("Q5_K", Encoding::Q5_K), std::pair("Q6_K", Encoding::Q6_K),
                                std::pair("BF16", Encoding::BF16)}) {
    SCOPED_TRACE(name);
    const SafetensorsEntry &bytes = table->at(std::string("gguf.") + name + ".bytes");
    const SafetensorsEntry &values = table->at(std::string("gguf.") + name + ".values");
    const uint64_t count = values.shape[0], cols = encodingInfo(encoding).blockValues == 256 ? 512 : 64;
    Result<TensorSource> packed = TensorSource::open(
        files, {bytes.file, bytes.offset, bytes.size, encoding, count / cols, cols, 0}, name);
    Result<TensorSource> plain = TensorSource::open(
        files, {values.file, values.offset, values.size, Encoding::F32, count / cols, cols, 0}, name);
    ASSERT_OK(packed);
    ASSERT_OK(plain);
    std::vector<float> got(count), want(count);
    ASSERT_OK(packed->readRows(0, count / cols, got.data()));
    ASSERT_OK(plain->readRows(0, count / cols, want.data()));
    EXPECT_EQ(std::memcmp(got.data(), want.data(), count * sizeof(float)), 0);
    // The digest is that of the values, whatever they are stored as.
    EXPECT_EQ(*packed->digest(), *plain->digest());
    EXPECT_EQ(*plain->digest(), sha256(bytesOf(want)));
  }
}

TEST_F(TensorSources, ReadsHalves) {
  Bytes bytes;
  for (uint16_t bits : {0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x0000})
    append(bytes, bits);
  Result<TensorSource> source = TensorSource::open(files, place(bytes, Encoding::F16, 2, 3), "h");
  ASSERT_OK(source);
  float values[6];
  ASSERT_OK(source->readRows(0, 2, values));
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], -2.0f);
  EXPECT_EQ(values[2], 0x1p-24f);
  EXPECT_EQ(values[3], 65504.0f);
  EXPECT_TRUE(std::signbit(values[4]));
}

TEST_F(TensorSources, UndoesRotaryInterleaving) {
  // Two heads of 6 rows: stored row head*6 + 2*i + j is row head*6 + j*3 + i.
  std::vector<float> stored(12 * 2);
  for (uint64_t head = 0; head < 2; ++head)
    for (uint64_t i = 0; i < 3; ++i)
      for (uint64_t j = 0; j < 2; ++j)
        for (uint64_t k = 0; k < 2; ++k)
          stored[(head * 6 + 2 * i + j) * 2 + k] = float((head * 6 + j * 3 + i) * 10 + k);
  Result<TensorSource> source =
      TensorSource::open(files, place(bytesOf(stored), Encoding::F32, 12, 2, 2), "q");
  ASSERT_OK(source);
  for (uint64_t row = 0; row < 12; ++row) {
    float values[2];
    ASSERT_OK(source->readRows(row, 1, values));
    EXPECT_EQ(values[0], float(row * 10));
    EXPECT_EQ(values[1], float(row * 10 + 1));
  }
}

TEST_F(TensorSources, DigestsOnSeveralThreads) {
  std::vector<TensorSource> sources;
  for (uint64_t rows : {700u, 1u, 33u, 5000u}) {
    std::vector<float> values(rows * 96);
    std::iota(values.begin(), values.end(), float(rows));
    Result<TensorSource> source =
        TensorSource::open(files, place(bytesOf(values), Encoding::F32, rows, 96), "t");
    ASSERT_OK(source);
    sources.push_back(*std::move(source));
  }
  uint64_t last = 0, total = 0;
  Result<std::vector<Digest>> digests = digestTensors(sources, 3, [&](uint64_t done, uint64_t all) {
    EXPECT_GT(done, last);
    last = done;
    total = all;
  });
  ASSERT_OK(digests);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, 96u * (700 + 1 + 33 + 5000));
  for (size_t i = 0; i < sources.size(); ++i)
    EXPECT_EQ((*digests)[i], *sources[i].digest());
}

TEST_F(TensorSources, RejectsNaNAndInfinityByName) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    Result<TensorSource> source =
        TensorSource::open(files, place(bytesOf({1, 2, 3, bad}), Encoding::F32, 2, 2), "model.norm.weight");
    ASSERT_OK(source);
    float values[2];
    EXPECT_OK(source->readRows(0, 1, values));
    EXPECT_STATUS(source->readRows(1, 1, values), Code::Unsupported,
                  "tensor model.norm.weight holds a value that is NaN or infinite in row 1");
    EXPECT_STATUS(source->digest(), Code::Unsupported, "model.norm.weight");
    std::vector<TensorSource> one = {*source};
    EXPECT_STATUS(digestTensors(one, 2), Code::Unsupported, "model.norm.weight");
  }
}
TEST_F(TensorSources, RejectsInfiniteScales) {
  Bytes block(18);
  block[1] = 0x7c; // d = infinity
  Result<TensorSource> source = TensorSource::open(files, place(block, Encoding::Q4_0, 1, 32), "w");
  ASSERT_OK(source);
  EXPECT_STATUS(source->digest(), Code::Unsupported, "tensor w holds a value that is NaN or infinite");
}
TEST_F(TensorSources, RejectsRowsThatBlocksDoNotDivide) {
  EXPECT_STATUS(TensorSource::open(files, place(Bytes(18), Encoding::Q4_0, 1, 31), "w"), Code::Unsupported,
                "rows of 31 values, which blocks of 32 do not divide");
}
// Nothing in 2^50 rows is quickly stored, and slowly read.
TEST_F(TensorSources, RejectsEmptyTensors) {
  for (auto [rows, cols] : {std::pair(uint64_t(1) << 50, uint64_t(0)), std::pair(uint64_t(0), uint64_t(7))})
    EXPECT_STATUS(TensorSource::open(files, place({}, Encoding::F32, rows, cols), "w"), Code::CorruptFile,
                  "tensor w has no values (" + std::to_string(rows) + " x " + std::to_string(cols) + ")");
}
TEST_F(TensorSources, RejectsWrongSize) {
  EXPECT_STATUS(TensorSource::open(files, place(Bytes(16), Encoding::F32, 2, 3), "w"), Code::CorruptFile,
                "has 16 bytes, 2 x 3 as f32 needs 24");
}
TEST_F(TensorSources, RejectsPlacePastTheEnd) {
  TensorLocation where = place(Bytes(24), Encoding::F32, 2, 3);
  where.offset = 4;
  EXPECT_STATUS(TensorSource::open(files, where, "w"), Code::CorruptFile, "lies at bytes 4 to 28 of 24");
}
TEST_F(TensorSources, RejectsHeadsThatDoNotDivide) {
  EXPECT_STATUS(TensorSource::open(files, place(Bytes(24), Encoding::F32, 6, 1, 4), "w"), Code::Unsupported,
                "4 rotary heads of even size do not divide");
}
TEST_F(TensorSources, RejectsSizesThatOverflow) {
  EXPECT_STATUS(
      TensorSource::open(
          files, {place({}, Encoding::F32, 0, 0).file, 0, 0, Encoding::F32, 1ull << 40, 1ull << 40, 0}, "w"),
      Code::CorruptFile, "needs more than 2^64");
}

} // namespace
