//===- Safetensors.cpp - every rule of the format ---------------------------===//
#include "compiler/import/Safetensors.h"

#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

using namespace lorac;
using namespace lorac::test;

namespace {

struct Safetensors : testing::Test {
  TempFolder folder;
  FileCache files;

  Result<SafetensorsTable> read(const Bytes &bytes) {
    std::string path = folder.path(std::to_string(next++) + ".safetensors");
    writeFile(path, bytes);
    return readSafetensors(files, path);
  }
  Result<SafetensorsTable> read(const std::string &header, size_t dataBytes) {
    return read(safetensorsBytes(header, Bytes(dataBytes)));
  }
  int next = 0;
};

const std::string kA = R"("a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]})";
const std::string kB = R"("b": {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]})";

TEST_F(Safetensors, ReadsTensorsInAnyOrderAndEmptyOnes) {
  Result<SafetensorsTable> table = read(
      "{" + kB + ", " + kA +
          R"(, "e": {"dtype": "F32", "shape": [0, 7], "data_offsets": [24, 24]}, )"
          R"("s": {"dtype": "F64", "shape": [], "data_offsets": [32, 40]}, "__metadata__": {"k": "v"}}   )",
      40);
  ASSERT_OK(table);
  ASSERT_EQ(table->size(), 4u);
  EXPECT_EQ((*table)["a"].shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ((*table)["a"].size, 24u);
  EXPECT_EQ((*table)["b"].offset, (*table)["a"].offset + 24);
  EXPECT_TRUE((*table)["s"].shape.empty());
  TensorLocation where = *locate("b", (*table)["b"]);
  EXPECT_EQ(where.encoding, Encoding::F16);
  EXPECT_EQ(where.rows, 1u);
  EXPECT_EQ(where.cols, 4u);
}

TEST_F(Safetensors, RejectsShortFile) {
  EXPECT_STATUS(read(Bytes{1, 2, 3}), Code::CorruptFile, "has 3 bytes");
}
TEST_F(Safetensors, RejectsLongHeader) {
  Bytes bytes = safetensorsBytes("{}", {});
  uint64_t size = 100'000'001;
  std::memcpy(bytes.data(), &size, 8);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "header of 100000001 bytes");
}
TEST_F(Safetensors, RejectsCutHeader) {
  Bytes bytes = safetensorsBytes("{}", {});
  bytes.pop_back();
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "it is cut off");
}
TEST_F(Safetensors, RejectsOtherThanObject) {
  EXPECT_STATUS(read("[]", 0), Code::CorruptFile, "does not begin with '{'");
  EXPECT_STATUS(read("{\"a\": ", 0), Code::CorruptFile, "not valid JSON");
}
TEST_F(Safetensors, RejectsDoubleKeys) {
  EXPECT_STATUS(read("{" + kA + ", " + kA + "}", 24), Code::CorruptFile, "the key \"a\" stands twice");
}
TEST_F(Safetensors, RejectsDeepNesting) {
  EXPECT_STATUS(read("{\"a\": " + std::string(100000, '['), 0), Code::CorruptFile,
                "nested more than 64 deep");
}
TEST_F(Safetensors, RejectsMetadataOfOtherThanTexts) {
  EXPECT_STATUS(read(R"({"__metadata__": {"k": 1}})", 0), Code::CorruptFile, "__metadata__");
}
TEST_F(Safetensors, RejectsHole) {
  EXPECT_STATUS(read("{" + kA + R"(, "b": {"dtype": "F16", "shape": [4], "data_offsets": [26, 34]}})", 34),
                Code::CorruptFile, "tensor b begins at byte 26 of the data, the one before it ends at 24");
}
TEST_F(Safetensors, RejectsOverlap) {
  EXPECT_STATUS(read("{" + kA + R"(, "b": {"dtype": "F16", "shape": [4], "data_offsets": [20, 28]}})", 28),
                Code::CorruptFile, "holes and overlaps");
}
TEST_F(Safetensors, RejectsBytesAfterTheLast) {
  EXPECT_STATUS(read("{" + kA + "}", 25), Code::CorruptFile, "1 bytes after the last tensor");
}
TEST_F(Safetensors, RejectsTensorPastEnd) {
  EXPECT_STATUS(read("{" + kA + "}", 23), Code::CorruptFile, "data_offsets [0, 24] in 23 bytes");
}
TEST_F(Safetensors, RejectsBackwardOffsets) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}})", 4),
                Code::CorruptFile, "data_offsets [4, 0]");
}
TEST_F(Safetensors, RejectsSizeThatIsNotTheShapes) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}})", 20),
                Code::CorruptFile, "has 20 bytes, shape [2, 3] as F32 needs 24");
}
TEST_F(Safetensors, RejectsShapeThatOverflows) {
  EXPECT_STATUS(
      read(R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0),
      Code::CorruptFile, "needs more than 2^61");
}
TEST_F(Safetensors, RejectsNegativeSizes) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}})", 0),
                Code::CorruptFile, "has shape [-1]");
}
TEST_F(Safetensors, RejectsUnknownDtype) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F31", "shape": [0], "data_offsets": [0, 0]}})", 0),
                Code::CorruptFile, "has dtype \"F31\"");
}
TEST_F(Safetensors, RejectsEntriesWithOtherKeys) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], "x": 1}})", 0),
                Code::CorruptFile, "does not have exactly");
}
TEST_F(Safetensors, LocateNamesWhatItCannotRead) {
  Result<SafetensorsTable> table =
      read(R"({"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}, )"
           R"("b": {"dtype": "F32", "shape": [1, 1, 1], "data_offsets": [4, 8]}})",
           8);
  ASSERT_OK(table);
  EXPECT_STATUS(locate("a", (*table)["a"]), Code::Unsupported,
                "tensor a is I8, F32, F16 and BF16 are supported");
  EXPECT_STATUS(locate("b", (*table)["b"]), Code::Unsupported, "has shape [1, 1, 1]");
}

// ---- shards ----------------------------------------------------------------------------------------------

struct Shards : Safetensors {
  void SetUp() override { copyFolder(goldens("llama-bias-rope3"), folder.path("")); }
  std::string index() { return folder.path("model.safetensors.index.json"); }
  Result<SafetensorsTable> load() { return readSafetensorsCheckpoint(files, folder.path("")); }
};

TEST_F(Shards, ReadsBoth) {
  Result<SafetensorsTable> table = load();
  ASSERT_OK(table);
  EXPECT_EQ(table->size(), 51u);
  EXPECT_TRUE(table->at("lm_head.weight").file.ends_with("model-00002-of-00002.safetensors"));
}
TEST_F(Shards, RejectsPathsInTheIndex) {
  for (const char *name : {"../model-00001-of-00002.safetensors", "/etc/passwd", "..", "a\\\\b"}) {
    copyFolder(goldens("llama-bias-rope3"), folder.path(""));
    replaceInFile(index(), "\"model-00001-of-00002.safetensors\"", "\"" + std::string(name) + "\"");
    EXPECT_STATUS(load(), Code::CorruptFile, "shards must be files beside the index");
  }
}
TEST_F(Shards, RejectsMissingShard) {
  std::filesystem::remove(folder.path("model-00002-of-00002.safetensors"));
  EXPECT_STATUS(load(), Code::NotFound, "model-00002-of-00002.safetensors");
}
TEST_F(Shards, RejectsTensorThatTheShardDoesNotHave) {
  replaceInFile(index(), "\"weight_map\": {",
                "\"weight_map\": {\"x\": \"model-00001-of-00002.safetensors\",");
  EXPECT_STATUS(load(), Code::CorruptFile, "tensor x is said to be in model-00001-of-00002.safetensors");
}
TEST_F(Shards, RejectsTensorThatTheIndexDoesNotList) {
  replaceInFile(index(), "\"lm_head.weight\"", "\"model.norm.weight.x\"");
  EXPECT_STATUS(load(), Code::CorruptFile, "model.norm.weight.x is said to be in");
  copyFolder(goldens("llama-bias-rope3"), folder.path(""));
  replaceInFile(index(), "\"lm_head.weight\": \"model-00002-of-00002.safetensors\",", "");
  EXPECT_STATUS(load(), Code::CorruptFile, "holds tensor lm_head.weight, which the index does not list");
}
TEST_F(Shards, RefusesPickle) {
  TempFolder other;
  writeFile(other.path("pytorch_model.bin"), std::string("x"));
  EXPECT_STATUS(readSafetensorsCheckpoint(files, other.path("")), Code::Unsupported, "pickle");
}

} // namespace
