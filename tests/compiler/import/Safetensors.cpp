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
  EXPECT_STATUS(read(Bytes()), Code::CorruptFile, "has 0 bytes");
  EXPECT_STATUS(read(Bytes(8)), Code::CorruptFile, "does not begin with '{'");
}
TEST_F(Safetensors, RejectsLongHeader) {
  Bytes bytes = safetensorsBytes("{}", {});
  for (uint64_t size : {kMaxSafetensorsHeaderBytes + 1, uint64_t(1) << 63, ~uint64_t(0)}) {
    std::memcpy(bytes.data(), &size, 8);
    EXPECT_STATUS(read(bytes), Code::CorruptFile,
                  "header of " + std::to_string(size) + " bytes, at most 100000000 are allowed");
  }
  // At the limit it is allowed, but the file has fewer.
  std::memcpy(bytes.data(), &kMaxSafetensorsHeaderBytes, 8);
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "header of 100000000 bytes in a file of 10; it is cut off");
}
TEST_F(Safetensors, RejectsCutHeader) {
  Bytes bytes = safetensorsBytes("{}", {});
  bytes.pop_back();
  EXPECT_STATUS(read(bytes), Code::CorruptFile, "it is cut off");
}
TEST_F(Safetensors, RejectsOtherThanObject) {
  EXPECT_STATUS(read("[]", 0), Code::CorruptFile, "does not begin with '{'");
  EXPECT_STATUS(read("{\"a\": ", 0), Code::CorruptFile, "not valid JSON");
  EXPECT_STATUS(read(" {}", 0), Code::CorruptFile, "does not begin with '{'");
  EXPECT_STATUS(read("{} {}", 0), Code::CorruptFile, "not valid JSON");
  EXPECT_STATUS(read(std::string("{}\0", 3), 0), Code::CorruptFile, "not valid JSON");
  EXPECT_STATUS(read("{\"a\": [0]}", 0), Code::CorruptFile, "does not have exactly dtype");
}
TEST_F(Safetensors, RejectsDoubleKeys) {
  EXPECT_STATUS(read("{" + kA + ", " + kA + "}", 24), Code::CorruptFile, "the key \"a\" stands twice");
}
TEST_F(Safetensors, RejectsDeepNesting) {
  EXPECT_STATUS(read("{\"a\": " + std::string(100000, '['), 0), Code::CorruptFile,
                "nested more than 64 deep");
}
TEST_F(Safetensors, RejectsMetadataOfOtherThanTexts) {
  for (const char *value :
       {R"({"k": 1})", R"({"k": null})", R"({"k": {"l": "m"}})", R"(["k"])", R"("k")", "null"})
    EXPECT_STATUS(read("{\"__metadata__\": " + std::string(value) + "}", 0), Code::CorruptFile,
                  "has __metadata__ that maps not only strings to strings");
  EXPECT_OK(read(R"({"__metadata__": {}})", 0));
}
TEST_F(Safetensors, RejectsHole) {
  EXPECT_STATUS(read("{" + kA + R"(, "b": {"dtype": "F16", "shape": [4], "data_offsets": [26, 34]}})", 34),
                Code::CorruptFile, "tensor b begins at byte 26 of the data, the one before it ends at 24");
}
TEST_F(Safetensors, RejectsOverlap) {
  EXPECT_STATUS(read("{" + kA + R"(, "b": {"dtype": "F16", "shape": [4], "data_offsets": [20, 28]}})", 28),
                Code::CorruptFile, "holes and overlaps");
}
TEST_F(Safetensors, RejectsTwoTensorsInOnePlace) {
  EXPECT_STATUS(read("{" + kA + R"(, "b": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}})", 24),
                Code::CorruptFile, "tensor b begins at byte 0 of the data, the one before it ends at 24");
}
TEST_F(Safetensors, RejectsEmptyTensorInsideAnother) {
  EXPECT_STATUS(read("{" + kA + R"(, "e": {"dtype": "F32", "shape": [0], "data_offsets": [8, 8]}})", 24),
                Code::CorruptFile, "tensor e begins at byte 8 of the data, the one before it ends at 24");
}
TEST_F(Safetensors, RejectsHoleBeforeTheFirst) {
  EXPECT_STATUS(read(R"({"b": {"dtype": "F16", "shape": [4], "data_offsets": [2, 10]}})", 10),
                Code::CorruptFile, "tensor b begins at byte 2 of the data, the one before it ends at 0");
}
TEST_F(Safetensors, RejectsBytesAfterTheLast) {
  EXPECT_STATUS(read("{" + kA + "}", 25), Code::CorruptFile, "1 bytes after the last tensor");
}
TEST_F(Safetensors, RejectsTensorPastEnd) {
  EXPECT_STATUS(read("{" + kA + "}", 23), Code::CorruptFile, "data_offsets [0, 24] in 23 bytes");
  EXPECT_STATUS(
      read(
          R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [9223372036854775806, 9223372036854775807]}})",
          1),
      Code::CorruptFile, "data_offsets [9223372036854775806, 9223372036854775807] in 1 bytes");
  // More than an i64 holds, which is no integer here.
  EXPECT_STATUS(
      read(
          R"({"a": {"dtype": "U8", "shape": [0], "data_offsets": [18446744073709551615, 18446744073709551615]}})",
          0),
      Code::CorruptFile, "data_offsets [1.8");
}
TEST_F(Safetensors, RejectsBackwardOffsets) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}})", 4),
                Code::CorruptFile, "data_offsets [4, 0]");
}
TEST_F(Safetensors, RejectsOffsetsThatAreNoPairOfSizes) {
  for (const char *offsets : {"[-4, 0]", "[0.0, 4]", "[\"0\", 4]", "[null, 4]"})
    EXPECT_STATUS(
        read(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": )" + std::string(offsets) + "}}", 4),
        Code::CorruptFile, "has data_offsets [");
  for (const char *offsets : {"[0]", "[0, 4, 4]", "4", "{}"})
    EXPECT_STATUS(
        read(R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": )" + std::string(offsets) + "}}", 4),
        Code::CorruptFile, "does not have exactly dtype, shape and two data_offsets");
}
TEST_F(Safetensors, RejectsSizeThatIsNotTheShapes) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}})", 20),
                Code::CorruptFile, "has 20 bytes, shape [2, 3] as F32 needs 24");
  EXPECT_STATUS(read(R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 8]}})", 8), Code::CorruptFile,
                "has 8 bytes, shape [] as F32 needs 4");
}
// F4 has two values a byte: three do not end on one.
TEST_F(Safetensors, RejectsValuesThatEndInsideAByte) {
  EXPECT_OK(read(R"({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}})", 2));
  EXPECT_STATUS(read(R"({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}})", 1), Code::CorruptFile,
                "shape [3] as F4 needs 1");
}
TEST_F(Safetensors, RejectsShapeThatOverflows) {
  EXPECT_STATUS(
      read(R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0),
      Code::CorruptFile, "needs more than 2^61");
}
TEST_F(Safetensors, RejectsNegativeSizes) {
  for (const char *shape : {"[-1]", "[1.0]", "[\"1\"]", "[[1]]", "[18446744073709551615]"})
    EXPECT_STATUS(
        read(R"({"a": {"dtype": "F32", "shape": )" + std::string(shape) + R"(, "data_offsets": [0, 0]}})", 0),
        Code::CorruptFile, "has shape [");
}
TEST_F(Safetensors, RejectsUnknownDtype) {
  EXPECT_STATUS(read(R"({"a": {"dtype": "F31", "shape": [0], "data_offsets": [0, 0]}})", 0),
                Code::CorruptFile, "has dtype \"F31\"");
  EXPECT_STATUS(read(R"({"a": {"dtype": 1, "shape": [0], "data_offsets": [0, 0]}})", 0), Code::CorruptFile,
                "does not have exactly dtype");
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
  const std::string text = readFile(index());
  for (const char *name :
       {"../model-00001-of-00002.safetensors", "/etc/passwd", "..", ".", "", "a\\\\b", "a/../b",
        "./model-00001-of-00002.safetensors", "a\\u0000b", "a\\nb", "a\\u007fb"}) {
    writeFile(index(), text);
    replaceInFile(index(), "\"model-00001-of-00002.safetensors\"", "\"" + std::string(name) + "\"");
    EXPECT_STATUS(load(), Code::CorruptFile, "shards must be files beside the index");
  }
}
TEST_F(Shards, LimitOfNames) {
  const std::string old = "model-00002-of-00002.safetensors", most(kMaxShardNameBytes, 's');
  std::string text = readFile(index());
  auto renamed = [&](const std::string &name) {
    std::string out = text;
    for (size_t at = out.find(old); at != std::string::npos; at = out.find(old, at + name.size()))
      out.replace(at, old.size(), name);
    writeFile(index(), out);
  };
  std::filesystem::rename(folder.path(old), folder.path(most));
  renamed(most);
  EXPECT_OK(load());
  renamed(most + "s");
  EXPECT_STATUS(load(), Code::CorruptFile, "shards must be files beside the index");
}
TEST_F(Shards, RejectsShardsThatAreNoText) {
  replaceInFile(index(), "\"model-00001-of-00002.safetensors\"", "1");
  EXPECT_STATUS(load(), Code::CorruptFile, "is said to be in 1; shards must be files beside the index");
}
// A hub's cache has a link beside the index for every shard: the name is what may not lead elsewhere.
TEST_F(Shards, FollowsLinksBesideTheIndex) {
  TempFolder blobs;
  std::filesystem::rename(folder.path("model-00001-of-00002.safetensors"), folder.path("x"));
  std::filesystem::copy(folder.path("x"), blobs.path("x"));
  std::filesystem::create_symlink(blobs.path("x"), folder.path("model-00001-of-00002.safetensors"));
  EXPECT_OK(load());
}
TEST_F(Shards, RejectsShardsThatAreNoFiles) {
  const std::string shard = folder.path("model-00001-of-00002.safetensors");
  std::filesystem::remove(shard);
  std::filesystem::create_directory(shard);
  EXPECT_STATUS(load(), Code::InvalidArgument, "model-00001-of-00002.safetensors: is not a regular file");
  std::filesystem::remove(shard);
  std::filesystem::create_symlink("model-00001-of-00002.safetensors", shard);
  EXPECT_STATUS(load(), Code::Io, "model-00001-of-00002.safetensors: cannot open");
  std::filesystem::remove(shard);
  writeFile(shard, std::string());
  EXPECT_STATUS(load(), Code::CorruptFile, "model-00001-of-00002.safetensors: has 0 bytes");
  replaceInFile(index(), "\"model-00001-of-00002.safetensors\"", "\"config.json\"");
  EXPECT_STATUS(load(), Code::CorruptFile, "config.json: has a header of");
}
// Nothing is sized by what the index claims: each tensor is where its shard says, or nowhere.
TEST_F(Shards, TotalSizeIsNotBelieved) {
  const std::string text = readFile(index());
  size_t at = text.find("\"total_size\": "), end = text.find_first_of(",\n}", at);
  ASSERT_NE(at, std::string::npos);
  for (const char *size : {"0", "-1", "4611686018427387904", "\"much\"", "[1e300]"}) {
    writeFile(index(), text.substr(0, at) + "\"total_size\": " + size + text.substr(end));
    Result<SafetensorsTable> table = load();
    ASSERT_OK(table) << size;
    EXPECT_EQ(table->size(), 51u);
  }
}
TEST_F(Shards, RejectsIndexWithoutAMap) {
  for (const char *text :
       {"[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})", R"({"weight_map": null})"}) {
    writeFile(index(), std::string(text));
    EXPECT_STATUS(load(), Code::CorruptFile, "has no weight_map");
  }
  writeFile(index(), std::string(R"({"weight_map": {"a": "b", "a": "c"}})"));
  EXPECT_STATUS(load(), Code::CorruptFile, "the key \"a\" stands twice");
}
TEST_F(Shards, LimitOfTheIndex) {
  writeFile(index(),
            readFile(index()) + std::string(kMaxSafetensorsIndexBytes - readFile(index()).size(), ' '));
  EXPECT_OK(load());
  writeFile(index(), readFile(index()) + " ");
  EXPECT_STATUS(load(), Code::InvalidArgument, "has 33554433 bytes, at most 33554432 are read");
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
