#include "support/Container.h"

#include "schemas/Header.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cstring>

namespace lorac {
namespace {

using test::TempFolder;
using Bytes = std::vector<uint8_t>;

/// Metadata as a FlatBuffer would be: the same size whatever the records are.
Bytes metadataOf(std::span<const SegmentRecord> records, size_t size = 100) {
  Bytes bytes(size, 0x5a);
  for (const SegmentRecord &record : records) {
    const auto *raw = reinterpret_cast<const uint8_t *>(&record);
    bytes.insert(bytes.end(), raw, raw + sizeof(record));
  }
  return bytes;
}

Bytes read(const TempFolder &folder, std::string_view name) {
  const std::string text = folder.read(name);
  return {text.begin(), text.end()};
}

TEST(ContainerWriter, WritesHeaderMetadataAndSegments) {
  TempFolder folder;
  const Bytes first(5000, 1), second, third(10, 3);
  {
    auto file = AtomicFile::create(folder.path("a"));
    ASSERT_OK(file);
    ContainerWriter writer(*file, format::AdapterMagic, [](auto records) { return metadataOf(records); });
    ASSERT_OK(writer.begin(std::vector<uint64_t>{5000, 0, 10}));
    EXPECT_EQ(writer.expected(), 5010u);
    // Pieces end where they like: the second goes over the end of a segment.
    Bytes all = first;
    all.insert(all.end(), third.begin(), third.end());
    ASSERT_OK(writer.append({all.data(), 4999}));
    EXPECT_EQ(writer.appended(), 4999u);
    ASSERT_OK(writer.append({all.data() + 4999, 11}));
    ASSERT_OK(writer.finish());
    ASSERT_OK(file->commit());
    ASSERT_EQ(writer.segments().size(), 3u);
    EXPECT_EQ(writer.segments()[0].offset, 4096u);
    EXPECT_EQ(writer.segments()[1].offset, 12288u);
    EXPECT_EQ(writer.segments()[2].offset, 12288u);
    EXPECT_EQ(writer.segments()[0].hash, sha256(first));
    EXPECT_EQ(writer.segments()[1].hash, sha256(second));
    EXPECT_EQ(writer.segments()[2].hash, sha256(third));
  }
  const Bytes bytes = read(folder, "a");
  ASSERT_EQ(bytes.size(), 12288u + 10u);
  format::Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(std::memcmp(header.magic, "LRCA", 4), 0);
  EXPECT_EQ(header.version, 1u);
  EXPECT_EQ(header.requiredFeatures, 0u);
  EXPECT_EQ(header.optionalFeatures, 0u);
  EXPECT_EQ(header.metadataOffset, 64u);
  EXPECT_EQ(header.metadataSize, 100 + 3 * sizeof(SegmentRecord));
  const std::vector<SegmentRecord> records = {
      {4096, 5000, sha256(first)}, {12288, 0, sha256(second)}, {12288, 10, sha256(third)}};
  const Bytes metadata = metadataOf(records);
  EXPECT_TRUE(std::equal(metadata.begin(), metadata.end(), bytes.begin() + 64));
  Bytes digested(bytes.begin(), bytes.begin() + 32);
  digested.insert(digested.end(), metadata.begin(), metadata.end());
  const Digest digest = sha256(digested);
  EXPECT_EQ(std::memcmp(header.digest, digest.data(), 32), 0);
  EXPECT_TRUE(std::all_of(bytes.begin() + 64 + ptrdiff_t(metadata.size()), bytes.begin() + 4096,
                          [](uint8_t b) { return b == 0; }));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), bytes.begin() + 4096));
  EXPECT_TRUE(
      std::all_of(bytes.begin() + 4096 + 5000, bytes.begin() + 12288, [](uint8_t b) { return b == 0; }));
  EXPECT_TRUE(std::equal(third.begin(), third.end(), bytes.begin() + 12288));
}

TEST(ContainerWriter, TheSameInputGivesTheSameBytes) {
  TempFolder folder;
  for (std::string_view name : {"a", "b"}) {
    auto file = AtomicFile::create(folder.path(name));
    ASSERT_OK(file);
    ContainerWriter writer(*file, format::ModelMagic, [](auto records) { return metadataOf(records); });
    ASSERT_OK(writer.begin(std::vector<uint64_t>{9000}));
    ASSERT_OK(writer.append(Bytes(1000, 7)));
    ASSERT_OK(writer.appendZeros(8000));
    ASSERT_OK(writer.finish());
    ASSERT_OK(file->commit());
  }
  EXPECT_EQ(folder.read("a"), folder.read("b"));
}

TEST(ContainerWriter, WritesNoSegments) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic, [](auto records) { return metadataOf(records); });
  ASSERT_OK(writer.begin({}));
  ASSERT_OK(writer.finish());
  ASSERT_OK(file->commit());
  EXPECT_EQ(folder.read("a").size(), 164u);
}

TEST(ContainerWriter, RefusesWrongByteCounts) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic, [](auto records) { return metadataOf(records); });
  EXPECT_STATUS(writer.finish(), Code::Internal, "take 0 bytes");
  ASSERT_OK(writer.begin(std::vector<uint64_t>{10}));
  EXPECT_STATUS(writer.append(Bytes(11, 0)), Code::Internal,
                "11 bytes given where the segments take 10 more");
  ASSERT_OK(writer.append(Bytes(9, 0)));
  EXPECT_STATUS(writer.finish(), Code::Internal, "take 10 bytes, 9 were given");
  EXPECT_STATUS(writer.begin(std::vector<uint64_t>{10}), Code::Internal, "begins once");
}

TEST(ContainerWriter, RefusesMetadataThatChangesItsSize) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter byOffset(*file, format::ModelMagic,
                           [](auto records) { return metadataOf(records, records[0].offset ? 101 : 100); });
  EXPECT_STATUS(byOffset.begin(std::vector<uint64_t>{1}), Code::Internal, "depends on the segments' offsets");
  auto other = AtomicFile::create(folder.path("b"));
  ASSERT_OK(other);
  ContainerWriter byHash(*other, format::ModelMagic,
                         [](auto records) { return metadataOf(records, records[0].hash[0] ? 101 : 100); });
  ASSERT_OK(byHash.begin(std::vector<uint64_t>{1}));
  ASSERT_OK(byHash.append(Bytes(1, 0)));
  EXPECT_STATUS(byHash.finish(), Code::Internal, "depends on the segments' digests");
}

TEST(ContainerWriter, RefusesSizesThatNoFileHas) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ContainerWriter writer(*file, format::ModelMagic, [](auto records) { return metadataOf(records); });
  EXPECT_STATUS(writer.begin(std::vector<uint64_t>{uint64_t(1) << 62, uint64_t(1) << 62}),
                Code::InvalidArgument, "more bytes than a file can");
  auto other = AtomicFile::create(folder.path("b"));
  ASSERT_OK(other);
  ContainerWriter empty(*other, format::ModelMagic, [](auto) { return Bytes(); });
  EXPECT_STATUS(empty.begin({}), Code::InvalidArgument, "the metadata would have 0 bytes");
}

} // namespace
} // namespace lorac
