#include "support/Container.h"

#include "schemas/Header.h"
#include "support/Compression.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cstring>

namespace lorac {
namespace {

using test::TempFolder;
using Bytes = std::vector<uint8_t>;

Bytes read(const TempFolder &folder, std::string_view name) {
  const std::string text = folder.read(name);
  return {text.begin(), text.end()};
}

TEST(ContainerWriter, PutsCodeRightAfterTheHeader) {
  const TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic);
  ASSERT_OK(writer.begin(std::vector<uint64_t>{100, 50, 5000, 7}, 2));
  ASSERT_OK(writer.append(Bytes(5157, 1)));
  const uint64_t expected[] = {64, 192, 4096, 12288};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(writer.segments()[i].offset, expected[i]) << i;
  ASSERT_OK(writer.finish(Bytes(10, 2)));
  ASSERT_OK(file->commit());
  const Bytes bytes = read(folder, "a");
  EXPECT_EQ(std::count(bytes.begin() + 64, bytes.begin() + 12288 + 7, 1), 5157);
  EXPECT_EQ(bytes[164], 0);
  EXPECT_EQ(bytes[192 + 50], 0);
}

TEST(ContainerWriter, WritesHeaderSegmentsAndMetadata) {
  TempFolder folder;
  const Bytes first(5000, 1), second, third(10, 3), metadata(3000, 0x5a);
  {
    auto file = AtomicFile::create(folder.path("a"));
    ASSERT_OK(file);
    ContainerWriter writer(*file, format::AdapterMagic);
    ASSERT_OK(writer.begin(std::vector<uint64_t>{5000, 0, 10}));
    EXPECT_EQ(writer.expected(), 5010u);
    // Pieces end where they like: the second goes over the end of a segment.
    Bytes all = first;
    all.insert(all.end(), third.begin(), third.end());
    ASSERT_OK(writer.append({all.data(), 4999}));
    EXPECT_EQ(writer.appended(), 4999u);
    ASSERT_OK(writer.append({all.data() + 4999, 11}));
    ASSERT_EQ(writer.segments().size(), 3u);
    EXPECT_EQ(writer.segments()[0].offset, 4096u);
    EXPECT_EQ(writer.segments()[1].offset, 12288u);
    EXPECT_EQ(writer.segments()[2].offset, 12288u);
    EXPECT_EQ(writer.segments()[0].hash, sha256(first));
    EXPECT_EQ(writer.segments()[1].hash, sha256(second));
    EXPECT_EQ(writer.segments()[2].hash, sha256(third));
    ASSERT_OK(writer.finish(metadata));
    ASSERT_OK(file->commit());
  }
  const Bytes bytes = read(folder, "a");
  format::Header header;
  ASSERT_GE(bytes.size(), 12288u + 10u);
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(std::memcmp(header.magic, "LRCA", 4), 0);
  EXPECT_EQ(header.version, 2u);
  EXPECT_EQ(header.requiredFeatures, 0u);
  EXPECT_EQ(header.optionalFeatures, 0u);
  EXPECT_EQ(header.metadataOffset, 12288u + 10u);
  EXPECT_LT(header.metadataSize, 100u);
  ASSERT_EQ(header.metadataOffset + header.metadataSize, bytes.size());
  const Bytes frame(bytes.begin() + 12288 + 10, bytes.end());
  EXPECT_EQ(*decompress(frame, metadata.size()), metadata);
  Bytes digested(bytes.begin(), bytes.begin() + 32);
  digested.insert(digested.end(), frame.begin(), frame.end());
  const Digest digest = sha256(digested);
  EXPECT_EQ(std::memcmp(header.digest, digest.data(), 32), 0);
  const auto isZero = [](uint8_t b) { return b == 0; };
  EXPECT_TRUE(std::all_of(bytes.begin() + 64, bytes.begin() + 4096, isZero));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), bytes.begin() + 4096));
  EXPECT_TRUE(std::all_of(bytes.begin() + 4096 + 5000, bytes.begin() + 12288, isZero));
  EXPECT_TRUE(std::equal(third.begin(), third.end(), bytes.begin() + 12288));
}

TEST(ContainerWriter, TheSameInputGivesTheSameBytes) {
  TempFolder folder;
  for (std::string_view name : {"a", "b"}) {
    auto file = AtomicFile::create(folder.path(name));
    ASSERT_OK(file);
    ContainerWriter writer(*file, format::ModelMagic);
    ASSERT_OK(writer.begin(std::vector<uint64_t>{9000}));
    ASSERT_OK(writer.append(Bytes(1000, 7)));
    ASSERT_OK(writer.appendZeros(8000));
    ASSERT_OK(writer.finish(Bytes(100, 1)));
    ASSERT_OK(file->commit());
  }
  EXPECT_EQ(folder.read("a"), folder.read("b"));
}

TEST(ContainerWriter, WritesNoSegments) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic);
  ASSERT_OK(writer.begin({}));
  ASSERT_OK(writer.finish(Bytes(100, 1)));
  ASSERT_OK(file->commit());
  const Bytes bytes = read(folder, "a");
  EXPECT_EQ(*decompress({bytes.data() + 64, bytes.size() - 64}, 100), Bytes(100, 1));
}

TEST(ContainerWriter, RefusesWrongByteCounts) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic);
  const Bytes metadata(100, 1);
  EXPECT_STATUS(writer.finish(metadata), Code::Internal, "take 0 bytes");
  ASSERT_OK(writer.begin(std::vector<uint64_t>{10}));
  EXPECT_STATUS(writer.append(Bytes(11, 0)), Code::Internal,
                "11 bytes given where the segments take 10 more");
  ASSERT_OK(writer.append(Bytes(9, 0)));
  EXPECT_STATUS(writer.finish(metadata), Code::Internal, "take 10 bytes, 9 were given");
  EXPECT_STATUS(writer.begin(std::vector<uint64_t>{10}), Code::Internal, "begins once");
}

TEST(ContainerWriter, RefusesSizesThatNoFileHas) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic);
  EXPECT_STATUS(writer.begin(std::vector<uint64_t>{uint64_t(1) << 62, uint64_t(1) << 62}),
                Code::InvalidArgument, "more bytes than a file can");
  auto other = AtomicFile::create(folder.path("b"));
  ASSERT_OK(other);
  ContainerWriter empty(*other, format::ModelMagic);
  ASSERT_OK(empty.begin({}));
  EXPECT_STATUS(empty.finish({}), Code::InvalidArgument, "the metadata would have 0 bytes");
  EXPECT_STATUS(empty.finish(Bytes((64 << 20) + 1)), Code::InvalidArgument,
                "the metadata would have 67108865 bytes, a file holds 1 to 67108864");
}

} // namespace
} // namespace lorac
