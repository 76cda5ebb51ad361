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
  EXPECT_STATUS(read(Bytes{'L', 'R', 'C', 'M'}), Code::InvalidArgument,
                "is a model file, which lorac compile has made");
  EXPECT_STATUS(read(Bytes{'P', 'K', 3, 4, 0, 0, 0, 0}), Code::CorruptFile, "does not begin with GGUF");
}
TEST_F(Gguf, RejectsBigEndian) {
  builder.version = 3u << 24;
  EXPECT_STATUS(read(builder.bytes()), Code::Unsupported, "is big-endian");
}
TEST_F(Gguf, RejectsOtherVersions) {
  for (uint32_t version : {0u, 1u, 4u, ~0u}) {
    builder.version = version;
    EXPECT_STATUS(read(builder.bytes()), Code::Unsupported, "has GGUF version " + std::to_string(version));
  }
}
TEST_F(Gguf, RejectsCountsWithoutEnd) {
  for (uint64_t count : {kMaxGgufTensors + 1, uint64_t(1) << 40, ~uint64_t(0) - 1, ~uint64_t(0)}) {
    Bytes bytes = builder.bytes();
    put(bytes, 8, count);
    EXPECT_STATUS(read(bytes), Code::CorruptFile, "counts of " + std::to_string(count) + " tensors");
  }
  for (uint64_t count : {kMaxGgufKeys + 1, uint64_t(1) << 63, ~uint64_t(0)}) {
    Bytes bytes = builder.bytes();
    put(bytes, 16, count);
    EXPECT_STATUS(read(bytes), Code::CorruptFile, "and " + std::to_string(count) + " keys");
  }
}
// At the limits a count is believed until the file has no more.
TEST_F(Gguf, RejectsCountsOfWhatIsNotThere) {
  Bytes bytes = builder.bytes();
  put(bytes, 8, kMaxGgufTensors);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "fetch the file again");
  bytes = builder.bytes();
  put(bytes, 16, kMaxGgufKeys);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "fetch the file again");
  builder = GgufBuilder();
  for (uint64_t i = 0; i < kMaxGgufKeys; ++i)
    builder.keys.push_back({std::to_string(i), 0, {1}});
  EXPECT_EQ(read(builder.bytes())->keys().size(), kMaxGgufKeys);
}
TEST_F(Gguf, LimitOfNames) {
  builder.u32(std::string(kMaxGgufNameBytes, 'k'), 1);
  builder.tensors.push_back({std::string(kMaxGgufNameBytes, 't'), {1}, 0, Bytes(4)});
  EXPECT_OK(read(builder.bytes()));
  builder.tensors.back().name += 't';
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "a text of 65536 bytes does not fit");
  builder.tensors.pop_back();
  builder.keys.back().name += 'k';
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "a text of 65536 bytes does not fit");
}
TEST_F(Gguf, LimitOfArrayElements) {
  auto bytesArray = [](uint64_t count) {
    Bytes value = GgufBuilder::raw(uint32_t(0));
    append(value, count);
    value.resize(value.size() + count);
    return value;
  };
  builder = GgufBuilder();
  builder.set({"a", 9, bytesArray(kMaxGgufArrayElements - 1)});
  builder.set({"b", 9, bytesArray(1)}); // the limit is that of all arrays
  EXPECT_OK(read(builder.bytes()));
  builder.set({"b", 9, bytesArray(2)});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "arrays of more than 8388608 elements in all");
}
TEST_F(Gguf, RejectsTextPastTheEnd) {
  Bytes bytes = builder.bytes();
  for (uint64_t length :
       {uint64_t(60000), uint64_t(1) << 32, uint64_t(1) << 63, ~uint64_t(0) - 7, ~uint64_t(0)}) {
    put(bytes, 24, length);
    EXPECT_STATUS(read(bytes), Code::CorruptFile,
                  "a text of " + std::to_string(length) + " bytes does not fit");
  }
  // A key's value as well.
  for (uint64_t length : {uint64_t(60000), ~uint64_t(0)}) {
    bytes = builder.bytes();
    put(bytes, after(bytes, "general.architecture") + 4, length);
    EXPECT_STATUS(read(bytes), Code::CorruptFile,
                  "a text of " + std::to_string(length) + " bytes does not fit");
  }
}
TEST_F(Gguf, RejectsTextInAnArrayPastTheEnd) {
  Bytes bytes = builder.bytes();
  put(bytes, after(bytes, "words") + 4 + 4 + 8, ~uint64_t(0));
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "a text of 18446744073709551615 bytes does not fit");
}
TEST_F(Gguf, RejectsUnknownValueType) {
  for (uint32_t type : {13u, 255u, ~0u}) {
    builder.set({"odd", type, Bytes(8)});
    EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile,
                  "a value of unknown type " + std::to_string(type));
    Bytes array = GgufBuilder::raw(type);
    append(array, uint64_t(1));
    builder.set({"odd", 9, array});
    EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "an array of type " + std::to_string(type));
  }
}
TEST_F(Gguf, RejectsArrayPastTheEnd) {
  Bytes bytes = builder.bytes();
  for (uint64_t count : {uint64_t(1) << 20, uint64_t(1) << 62, ~uint64_t(0)}) {
    put(bytes, after(bytes, "numbers") + 8, count);
    EXPECT_STATUS(read(bytes), Code::CorruptFile,
                  "an array of " + std::to_string(count) + " elements does not fit");
  }
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
  Bytes array = GgufBuilder::raw(uint32_t(7));
  append(array, uint64_t(2));
  append(array, uint8_t(1));
  append(array, uint8_t(255));
  builder.set({"odd", 9, array});
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "a truth value of 255");
}
TEST_F(Gguf, RejectsHugeIntegers) {
  builder.set({"odd", 10, GgufBuilder::raw(uint64_t(INT64_MAX))});
  EXPECT_EQ(**read(builder.bytes())->unsignedKey("odd"), uint64_t(INT64_MAX));
  builder.set({"odd", 10, GgufBuilder::raw(uint64_t(1) << 63)});
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
  builder.at("v").dims = {3, 1, 1, 1};
  static_assert(kMaxGgufDimensions == 4);
  EXPECT_OK(read(builder.bytes()));
  builder.at("v").dims = {3, 1, 1, 1, 1};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "tensor v has 5 dimensions");
}
TEST_F(Gguf, RejectsRowsThatBlocksDoNotDivide) {
  builder.at("w").dims = {31, 2};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile,
                "tensor w has shape [2, 31], which Q4_0 cannot hold");
}
TEST_F(Gguf, RejectsShapeThatOverflows) {
  for (uint64_t size : {1ull << 33, 1ull << 62, ~0ull}) {
    builder.at("v").dims = {size, size};
    EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "which F32 cannot hold");
  }
  builder.at("v").dims = {1ull << 62}; // its bytes alone are too many
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "which F32 cannot hold");
}
TEST_F(Gguf, RejectsShapeLargerThanTheFile) {
  builder.at("v").dims = {1ull << 40};
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile,
                "tensor v lies at data offset 64 with 4398046511104 bytes");
}
TEST_F(Gguf, RejectsOffsetsPastTheEnd) {
  for (uint64_t offset : {uint64_t(96), uint64_t(1) << 32, ~uint64_t(31)}) {
    Bytes bytes = builder.bytes();
    put(bytes, after(bytes, kNameW) + 4 + 16 + 4, offset);
    EXPECT_STATUS(read(bytes), Code::CorruptFile, "tensor w lies at data offset " + std::to_string(offset));
  }
}
TEST_F(Gguf, RejectsOverlap) {
  Bytes bytes = builder.bytes();
  const std::string nameV("\1\0\0\0\0\0\0\0v", 9);
  put(bytes, after(bytes, nameV) + 4 + 8 + 4, uint64_t(32)); // w has 36 bytes
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "tensor v begins at byte");
  put(bytes, after(bytes, nameV) + 4 + 8 + 4, uint64_t(0)); // both at the same place
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "they may not overlap");
}
// Neither is a mistake of the file; what a model cannot use is refused where it would be used.
TEST_F(Gguf, ScalarsAndEmptyTensorsAreLegal) {
  builder.tensors.push_back({"s", {}, 0, Bytes(4)});
  builder.tensors.push_back({"e", {0, 7}, 0, {}});
  builder.tensors.push_back({"f", {7, 0}, 2, {}});
  builder.tensors.back().dims = {32, 0};
  Result<GgufFile> file = read(builder.bytes());
  ASSERT_OK(file);
  EXPECT_EQ(file->tensors().at("s").size, 4u);
  EXPECT_EQ(file->tensors().at("e").size, 0u);
  EXPECT_STATUS(file->locate("s", file->tensors().at("s")), Code::Unsupported, "has shape []");
  FileCache files;
  EXPECT_STATUS(TensorSource::open(files, *file->locate("e", file->tensors().at("e")), "e"),
                Code::CorruptFile, "tensor e has no values (7 x 0)");
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
  for (uint32_t alignment : {0u, 24u, uint32_t(2 * kMaxGgufAlignment), 1u << 31}) {
    builder.u32("general.alignment", alignment);
    EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile,
                  "general.alignment of " + std::to_string(alignment));
  }
  builder.text("general.alignment", "32");
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "key general.alignment is not an integer");
  builder.u32("general.alignment", uint32_t(kMaxGgufAlignment));
  builder.tensors.clear();
  EXPECT_OK(read(builder.bytes()));
}
TEST_F(Gguf, RejectsNamesThatBreakMessages) {
  builder.tensors.push_back({"a\nb\xff\x1b", {1}, 0, Bytes(4)});
  builder.tensors.push_back(builder.tensors.back());
  EXPECT_STATUS(read(builder.bytes()), Code::CorruptFile, "tensor a?b?\? stands twice");
}
TEST_F(Gguf, RejectsWhatIsNoFile) {
  FileCache files;
  std::filesystem::create_directory(folder.path("d.gguf"));
  EXPECT_STATUS(GgufFile::open(files, folder.path("d.gguf")), Code::InvalidArgument, "is not a regular file");
  EXPECT_STATUS(GgufFile::open(files, folder.path("nowhere.gguf")), Code::NotFound, "cannot open");
  EXPECT_STATUS(read(Bytes()), Code::CorruptFile, "does not begin with GGUF");
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
  builder.tensors.push_back({"q", {256, 1}, 10, Bytes(84)});
  builder.tensors.push_back({"x", {4}, 77, Bytes(4)});
  Result<GgufFile> file = read(builder.bytes());
  ASSERT_OK(file);
  EXPECT_STATUS(file->locate("q", file->tensors().at("q")), Code::Unsupported,
                "tensor q is Q2_K, supported are F32");
  EXPECT_STATUS(file->locate("x", file->tensors().at("x")), Code::Unsupported, "of ggml type 77");
}
// Whatever is cut off: an error, never a crash.
TEST_F(Gguf, RejectsEveryCut) {
  Bytes bytes = builder.bytes();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(read(Bytes(bytes.begin(), bytes.begin() + std::ptrdiff_t(size))).isOk()) << size;
}

} // namespace
