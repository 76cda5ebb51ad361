//===- Gguf.cpp - every rule of the format -----------------------------------===//
#include "compiler/import/Gguf.h"

#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <algorithm>

using namespace lorac;
using namespace lorac::test;

namespace {

/// The name "w" as the file holds it: its length first.
const std::string kNameW("\1\0\0\0\0\0\0\0w", 9);

struct Gguf : testing::Test {
  TempFolder folder;
  GgufBuilder builder;

  void SetUp() override {
    builder.text("general.architecture", "llama");
    builder.u32("n", 7);
    builder.f32("f", 0.5f);
    builder.boolean("b", true);
    builder.texts("words", {"one", "", "three"});
    builder.integers("numbers", {-1, 2});
    builder.tensors.push_back({"w", {32, 2}, 2, Bytes(36)});
    builder.tensors.push_back({"v", {3}, 0, Bytes(12)});
  }
  Result<GgufFile> read(const Bytes &bytes) {
    FileCache files; // the file object keeps what it needs
    std::string path = folder.path(std::to_string(next++) + ".gguf");
    writeFile(path, bytes);
    return GgufFile::open(files, path);
  }
  /// Where `text` ends in the file.
  static size_t after(const Bytes &bytes, const std::string &text) {
    return size_t(std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) - bytes.begin()) +
           text.size();
  }
  template <typename T> static void put(Bytes &bytes, size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(T));
  }
  int next = 0;
};

TEST_F(Gguf, ReadsKeysAndTensors) {
  for (uint32_t version : {2u, 3u}) {
    builder.version = version;
    Result<GgufFile> file = read(builder.bytes());
    ASSERT_OK(file);
    EXPECT_EQ(**file->unsignedKey("n"), 7u);
    EXPECT_EQ(**file->realKey("f"), 0.5);
    EXPECT_EQ(**file->boolKey("b"), true);
    EXPECT_EQ(**file->stringKey("general.architecture"), "llama");
    EXPECT_FALSE((*file->unsignedKey("absent")).has_value());
    EXPECT_EQ(file->find("words")->strings, (std::vector<std::string_view>{"one", "", "three"}));
    EXPECT_EQ(file->find("numbers")->integers, (std::vector<int64_t>{-1, 2}));
    const GgufTensor &w = file->tensors().at("w"), &v = file->tensors().at("v");
    EXPECT_EQ(w.shape, (std::vector<uint64_t>{2, 32})); // outermost first
    EXPECT_EQ(w.size, 36u);
    EXPECT_EQ(w.offset % 32, 0u);
    EXPECT_EQ(v.offset, w.offset + 64);
    TensorLocation where = *file->locate("w", w);
    EXPECT_EQ(where.encoding, Encoding::Q4_0);
    EXPECT_EQ(where.rows, 2u);
  }
}
TEST_F(Gguf, HonoursAlignment) {
  builder.u32("general.alignment", 64);
  builder.tensors.pop_back();
  Bytes bytes = builder.bytes();
  size_t header = after(bytes, kNameW) + 4 + 16 + 4 + 8;
  bytes.resize((header + 63) / 64 * 64 + 36);
  Result<GgufFile> file = read(bytes);
  ASSERT_OK(file);
  EXPECT_EQ(file->tensors().at("w").offset % 64, 0u);
}

TEST_F(Gguf, RejectsOtherFiles) {
  EXPECT_STATUS(read(Bytes{'G', 'G', 'U'}), Code::CorruptFile, "does not begin with GGUF");
  EXPECT_STATUS(read(Bytes{'P', 'K', 3, 4, 0, 0, 0, 0}), Code::CorruptFile, "does not begin with GGUF");
}
TEST_F(Gguf, RejectsBigEndian) {
  builder.version = 3u << 24;
  EXPECT_STATUS(read(builder.bytes()), Code::Unsupported, "is big-endian");
}
TEST_F(Gguf, RejectsOtherVersions) {
  builder.version = 1;
  EXPECT_STATUS(read(builder.bytes()), Code::Unsupported, "has GGUF version 1");
}
TEST_F(Gguf, RejectsCountsWithoutEnd) {
  Bytes bytes = builder.bytes();
  put(bytes, 8, uint64_t(1) << 40);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "counts of 1099511627776 tensors");
}
TEST_F(Gguf, RejectsTextPastTheEnd) {
  Bytes bytes = builder.bytes();
  put(bytes, 24, uint64_t(60000));
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "a text of 60000 bytes does not fit");
}
TEST_F(Gguf, RejectsUnknownValueType) {
  builder.set({"odd", 13, Bytes(8)});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "a value of unknown type 13");
}
TEST_F(Gguf, RejectsArrayPastTheEnd) {
  Bytes bytes = builder.bytes();
  put(bytes, after(bytes, "numbers") + 8, uint64_t(1) << 62);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "an array of 4611686018427387904 elements does not fit");
}
TEST_F(Gguf, RejectsNestedArrays) {
  Bytes value = GgufBuilder::raw(uint32_t(9));
  append(value, uint64_t(1));
  builder.set({"odd", 9, value});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "an array of type 9");
}
TEST_F(Gguf, RejectsTruthValuesOfTwo) {
  builder.set({"odd", 7, {2}});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "a truth value of 2");
}
TEST_F(Gguf, RejectsHugeIntegers) {
  builder.set({"odd", 10, GgufBuilder::raw(~uint64_t(0))});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "an integer above 2^63 - 1");
}
TEST_F(Gguf, RejectsDoubleKeys) {
  builder.keys.push_back(builder.keys.front());
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "key general.architecture stands twice");
}
TEST_F(Gguf, RejectsDoubleTensors) {
  builder.tensors.push_back(builder.tensors.front());
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "tensor w stands twice");
}
TEST_F(Gguf, RejectsTooManyDimensions) {
  builder.at("v").dims = {1, 1, 1, 1, 3};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "tensor v has 5 dimensions");
}
TEST_F(Gguf, RejectsRowsThatBlocksDoNotDivide) {
  builder.at("w").dims = {31, 2};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile,
                "tensor w has shape [2, 31], which Q4_0 cannot hold");
}
TEST_F(Gguf, RejectsShapeThatOverflows) {
  builder.at("v").dims = {1ull << 33, 1ull << 33};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "tensor v has shape");
}
TEST_F(Gguf, RejectsTensorPastTheEnd) {
  Bytes bytes = builder.bytes();
  bytes.pop_back();
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "it is cut off or damaged");
}
TEST_F(Gguf, RejectsUnalignedTensor) {
  Bytes bytes = builder.bytes();
  put(bytes, after(bytes, kNameW) + 4 + 16 + 4, uint64_t(1));
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "tensor w lies at data offset 1");
}
TEST_F(Gguf, RejectsOddAlignment) {
  builder.u32("general.alignment", 24);
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "general.alignment of 24");
}
TEST_F(Gguf, RejectsKeysOfOtherTypes) {
  Result<GgufFile> file = read(builder.bytes());
  ASSERT_OK(file);
  EXPECT_STATUS(file->unsignedKey("f"), Code::CorruptFile, "key f is not an integer");
  EXPECT_STATUS(file->realKey("n"), Code::CorruptFile, "key n is not a floating-point number");
  EXPECT_STATUS(file->boolKey("n"), Code::CorruptFile, "key n is not true or false");
  EXPECT_STATUS(file->stringKey("n"), Code::CorruptFile, "key n is not a text");
}
TEST_F(Gguf, NamesTypesThatItCannotRead) {
  builder.tensors.push_back({"q", {256, 1}, 14, Bytes(210)});
  builder.tensors.push_back({"x", {4}, 77, Bytes(4)});
  Result<GgufFile> file = read(builder.bytes());
  ASSERT_OK(file);
  EXPECT_STATUS(file->locate("q", file->tensors().at("q")), Code::Unsupported,
                "tensor q is Q6_K, supported are F32");
  EXPECT_STATUS(file->locate("x", file->tensors().at("x")), Code::Unsupported, "of ggml type 77");
}
// Whatever is cut off: an error, never a crash.
TEST_F(Gguf, RejectsEveryCut) {
  Bytes bytes = builder.bytes();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(read(Bytes(bytes.begin(), bytes.begin() + std::ptrdiff_t(size))).isOk()) << size;
}

} // namespace
