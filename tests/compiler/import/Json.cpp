//===- Json.cpp - what different readers would read differently --------------===//
#include "compiler/import/Json.h"

#include "compiler/import/Shown.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace lorac;
using namespace lorac::test;

namespace {

Result<JsonValue> parse(const std::string &text) { return parseJson(text, "f.json"); }

std::string repeat(size_t count, const std::string &text) {
  std::string out;
  for (size_t i = 0; i < count; ++i)
    out += text;
  return out;
}

TEST(Json, KeepsOrderAndKinds) {
  Result<JsonValue> value = parse(R"({"b": [1, -2, 1.5, "x", true, null], "a": {"c": 9223372036854775807}})");
  ASSERT_OK(value);
  EXPECT_EQ(value->members[0].first, "b");
  EXPECT_EQ(value->members[1].first, "a");
  EXPECT_EQ(value->text(), R"({"b": [1, -2, 1.5, "x", true, null], "a": {"c": 9223372036854775807}})");
  EXPECT_EQ(value->find("a")->find("c")->integer, INT64_MAX);
  EXPECT_EQ(*value, *value);
  EXPECT_NE(*value->find("a"), *value->find("b"));
  // One more is no integer any more: nobody takes it for a size.
  EXPECT_EQ(parse("9223372036854775808")->kind, JsonValue::Kind::Real);
}
TEST(Json, DepthIsBounded) {
  EXPECT_OK(parse(repeat(kMaxJsonDepth, "[") + repeat(kMaxJsonDepth, "]")));
  EXPECT_STATUS(parse(repeat(kMaxJsonDepth + 1, "[") + repeat(kMaxJsonDepth + 1, "]")), Code::CorruptFile,
                "f.json: nested more than 64 deep");
  EXPECT_STATUS(parse(repeat(kMaxJsonDepth + 1, "{\"a\": ")), Code::CorruptFile, "nested more than 64 deep");
}
TEST(Json, NumberOfValuesIsBounded) {
  // The list and its elements.
  EXPECT_OK(parse("[" + repeat(kMaxJsonValues - 2, "0,") + "0]"));
  EXPECT_STATUS(parse("[" + repeat(kMaxJsonValues - 1, "0,") + "0]"), Code::CorruptFile,
                "holds more than 4194304 values");
}
TEST(Json, RejectsDoubleKeys) {
  EXPECT_STATUS(parse(R"({"a": 1, "b": 2, "a": 1})"), Code::CorruptFile, "the key \"a\" stands twice");
  EXPECT_STATUS(parse(R"([{"x": {"a": 1, "\u0061": 1}}])"), Code::CorruptFile, "the key \"a\" stands twice");
  EXPECT_OK(parse(R"([{"a": 1}, {"a": {"a": 1}}])"));
  // A key out of a file does not break the message.
  const std::string key = "x\\ny" + std::string(1000, 'z');
  EXPECT_STATUS(parse("{\"" + key + "\": 1, \"" + key + "\": 1}"), Code::CorruptFile, "\"x?yzz");
}
TEST(Json, RejectsWhatIsNoJson) {
  for (const char *text : {"", " ", "{", "{]", "[1,]", "{\"a\" 1}", "{'a': 1}", "[1] 2", "nul", "01", "1.",
                           "\"a", "\"\\x\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"a\nb\""})
    EXPECT_STATUS(parse(text), Code::CorruptFile, "f.json: not valid JSON at byte") << text;
  // A zero byte is not the end.
  EXPECT_STATUS(parse(std::string("[1]\0", 4)), Code::CorruptFile, "not valid JSON at byte 4");
}
TEST(Json, RejectsNumbersThatAreNone) {
  for (const char *text : {"[NaN]", "[Infinity]", "[-Infinity]", "[1e999]", "[-1e999]"})
    EXPECT_STATUS(parse(text), Code::CorruptFile, "NaN and Infinity are no JSON") << text;
}
TEST(Json, TextIsShortAndOnOneLine) {
  std::string text = parse("[" + repeat(100000, "[\"\\n\\u007f\"],") + "1]")->text();
  EXPECT_LT(text.size(), 140u);
  EXPECT_TRUE(text.ends_with("..."));
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\x7f'), std::string::npos);
  EXPECT_LT(parse("{\"" + repeat(100000, "é") + "\": 1}")->text().size(), 140u);
  EXPECT_TRUE(isUtf8(parse("\"" + repeat(100000, "é") + "\"")->text()));
}
TEST(Json, FilesAreBounded) {
  TempFolder folder;
  writeFile(folder.path("j"), std::string("[1]   "));
  EXPECT_OK(readJsonFile(folder.path("j"), 6));
  EXPECT_STATUS(readJsonFile(folder.path("j"), 5), Code::InvalidArgument, "has 6 bytes, at most 5 are read");
}
TEST(Json, RejectsWhatIsNoFile) {
  TempFolder folder;
  std::filesystem::create_directory(folder.path("d"));
  EXPECT_STATUS(readJsonFile(folder.path("d"), 100), Code::InvalidArgument, "is not a regular file");
  ASSERT_EQ(mkfifo(folder.path("p").c_str(), 0600), 0); // nobody ever writes to it
  EXPECT_STATUS(readJsonFile(folder.path("p"), 100), Code::InvalidArgument, "is not a regular file");
  std::filesystem::create_symlink("l", folder.path("l"));
  EXPECT_STATUS(readJsonFile(folder.path("l"), 100), Code::Io, "cannot open");
  EXPECT_STATUS(readJsonFile(folder.path("nowhere"), 100), Code::NotFound, "cannot open");
  writeFile(folder.path("e"), std::string());
  EXPECT_STATUS(readJsonFile(folder.path("e"), 100), Code::CorruptFile, "not valid JSON");
}
TEST(Json, RejectsFilesThatMayNotBeRead) {
  TempFolder folder;
  writeFile(folder.path("j"), std::string("[]"));
  ASSERT_EQ(chmod(folder.path("j").c_str(), 0), 0);
  setfsuid(geteuid() == 0 ? 65534 : geteuid()); // root may read everything: be somebody else for files
  EXPECT_STATUS(readJsonFile(folder.path("j"), 100), Code::Io, "cannot open: Permission denied");
  setfsuid(geteuid());
}

TEST(Shown, IsOneLineOfUtf8) {
  EXPECT_EQ(shown("blk.0.é字😀"), "blk.0.é字😀");
  EXPECT_EQ(shown("a\nb\x1b[31m\x7f\xc2\x9b!"), "a?b?[31m?"
                                                "?!");
  EXPECT_EQ(shown("\xff\xc3(\xe0\x80\x80\xed\xa0\x80\xf4\x90\x80\x80"),
            std::string(2, '?') + "(" + std::string(10, '?'));
  std::string name(kMaxShownBytes, 'a');
  EXPECT_EQ(shown(name), name);
  EXPECT_EQ(shown(name + "b"), name + "...");
  EXPECT_TRUE(isUtf8(shown(repeat(1000, "字"))));
  EXPECT_FALSE(isUtf8("a\xc3"));
}
TEST(Shown, ShapesAreShort) {
  std::vector<uint64_t> shape(kMaxShownDimensions, 1);
  EXPECT_EQ(shownShape(shape), "[1, 1, 1, 1, 1, 1, 1, 1]");
  shape.push_back(1);
  EXPECT_EQ(shownShape(shape), "[1, 1, 1, 1, 1, 1, 1, 1, ...]");
}

} // namespace
