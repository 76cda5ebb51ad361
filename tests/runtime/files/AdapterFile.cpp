#include "runtime/files/AdapterFile.h"

#include "runtime/files/ModelFile.h"
#include "support/Half.h"
#include "tests/runtime/files/TinyModel.h"
#include "tests/support/StatusTest.h"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac {
namespace {

using namespace test;

Status parse(const Bytes &bytes) { return AdapterFile::parse(bytes, "tiny.lora").status(); }
template <typename Edit> Status edited(Edit edit) {
  TinyAdapter tiny = tinyAdapter();
  edit(tiny);
  return parse(tiny.bytes());
}
template <typename Edit> Status withBytes(Edit edit, bool seal = true) {
  Bytes bytes = tinyAdapter().bytes();
  edit(bytes);
  if (seal)
    sealHeader(bytes);
  return parse(bytes);
}
#define EXPECT_CORRUPT(STATUS, PART) EXPECT_STATUS(STATUS, Code::CorruptFile, PART)

TEST(AdapterFile, LoadsTinyAdapter) {
  TinyAdapter tiny = tinyAdapter();
  const Bytes bytes = tiny.bytes();
  auto file = AdapterFile::parse(bytes, "tiny.lora");
  ASSERT_OK(file);
  EXPECT_EQ((*file)->path(), "tiny.lora");
  EXPECT_EQ((*file)->metadata().sites()->size(), 2u);
  EXPECT_EQ(Bytes((*file)->image().begin(), (*file)->image().end()), tiny.image);
  const Bytes modelBytes = tinyModel().bytes();
  auto model = ModelFile::parse(modelBytes, "tiny.lorac");
  ASSERT_OK(model);
  EXPECT_TRUE((*file)->fits((*model)->fingerprint()));
  EXPECT_FALSE((*file)->fits(Digest{}));
}

TEST(AdapterFile, OpensFromDisk) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("lorac-adapter-" + std::to_string(getpid()) + ".lora");
  TinyAdapter tiny = tinyAdapter();
  const Bytes bytes = tiny.bytes();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  {
    auto file = AdapterFile::open(path);
    ASSERT_OK(file);
    EXPECT_EQ(Bytes((*file)->image().begin(), (*file)->image().end()), tiny.image);
  }
  std::filesystem::remove(path);
  EXPECT_STATUS(AdapterFile::open(path), Code::NotFound, path);
}

TEST(AdapterFile, HeaderBytesAreFixed) {
  const Bytes bytes = tinyAdapter().bytes();
  static const uint8_t Expected[16] = {'L', 'R', 'C', 'A', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(bytes.data(), Expected, sizeof(Expected)), 0);
  EXPECT_EQ(std::memcmp(metadataOf(bytes).data() + 4, "LRCA", 4), 0);
}

TEST(AdapterFile, LoadsFloat32) {
  TinyAdapter tiny = tinyAdapter();
  tiny.adapter.type = fbs::AdapterType::F32;
  tiny.adapter.sites.pop_back(); // A: 1 tile * 8 ranks * 8 values; B: 8 outputs * 8 ranks
  tiny.image.assign(2 * 64 * 4, 0);
  tiny.adapter.sites[0]->b_offset = 64 * 4;
  EXPECT_OK(parse(tiny.bytes()));
}

// ---- damage
// ----------------------------------------------------------------------------------------------------

TEST(AdapterFile, RejectsEveryTruncation) {
  const Bytes bytes = tinyAdapter().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Bytes cut(bytes.begin(), bytes.begin() + ptrdiff_t(size));
    ASSERT_EQ(parse(cut).code(), Code::CorruptFile) << size;
  }
}

TEST(AdapterFile, RejectsEveryFlippedBit) {
  Bytes bytes = tinyAdapter().bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint8_t flip = uint8_t(1u << (i % 8));
    bytes[i] ^= flip;
    const Code code = parse(bytes).code();
    ASSERT_TRUE(code == Code::CorruptFile || (code == Code::Unsupported && i >= 4 && i < 12)) << i;
    bytes[i] ^= flip;
  }
}

TEST(AdapterFile, SurvivesEveryFlippedBitUnderAFreshDigest) {
  Bytes bytes = tinyAdapter().bytes(), metadata = metadataOf(bytes);
  size_t refused = 0;
  for (size_t i = 0; i < metadata.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      metadata[i] ^= uint8_t(1u << bit);
      replaceMetadata(bytes, metadata);
      const Code code = parse(bytes).code();
      ASSERT_TRUE(code == Code::Ok || code == Code::CorruptFile || code == Code::Unsupported) << i;
      refused += code != Code::Ok;
      metadata[i] ^= uint8_t(1u << bit);
    }
  EXPECT_GT(refused, 0u);
}

// ---- header and container (the rest of these checks is shared with ModelFile, and tested there)
// ----------------

TEST(AdapterFile, RejectsOtherMagic) {
  EXPECT_STATUS(parse(minimalModel().bytes()), Code::InvalidArgument,
                "is no Lorac bundle but a model file: give it as the model");
}

TEST(AdapterFile, RejectsHeaderVersion) {
  EXPECT_STATUS(withBytes([](Bytes &b) { b[4] = 3; }), Code::Unsupported, "header version is 3");
}

TEST(AdapterFile, RejectsUnknownRequiredFeatures) {
  EXPECT_STATUS(withBytes([](Bytes &b) { b[8] = 1; }), Code::Unsupported, "needs features (bits 1)");
}

TEST(AdapterFile, RejectsMetadataDigest) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b[32] ^= 1; }, false), "header and metadata have SHA-256");
}

TEST(AdapterFile, RejectsMalformedMetadata) {
  Bytes bytes = tinyAdapter().bytes(), metadata = metadataOf(bytes);
  std::fill(metadata.begin(), metadata.begin() + 8, 0xff);
  replaceMetadata(bytes, metadata);
  EXPECT_CORRUPT(parse(bytes), "no well-formed FlatBuffer of a bundle");
}

TEST(AdapterFile, RejectsFormatVersion) {
  EXPECT_STATUS(edited([](TinyAdapter &t) { t.adapter.version = 2; }), Code::Unsupported,
                "format version is 2");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.version = 0; }), "format version is 0");
}

TEST(AdapterFile, RejectsSignature) {
  EXPECT_STATUS(edited([](TinyAdapter &t) { t.adapter.signature = {1}; }), Code::Unsupported, "is signed");
}

TEST(AdapterFile, RejectsSegmentCount) {
  EXPECT_CORRUPT(parse(tinyAdapter().bytes([](auto &s) { s.push_back(s[0]); })),
                 "has 2 segments, expected 1");
  EXPECT_CORRUPT(parse(tinyAdapter().bytes([](auto &s) { s.clear(); })), "has 0 segments");
}

TEST(AdapterFile, RejectsSegmentPastEnd) {
  EXPECT_CORRUPT(parse(tinyAdapter().bytes(
                     [](auto &s) { s[0] = fbs::Segment(s[0].offset(), s[0].size() + 16, s[0].hash()); })),
                 "segment 0 (offset 4096");
}

TEST(AdapterFile, RejectsSegmentDigest) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b[4096] ^= 1; }), "segment 0 has SHA-256");
}

TEST(AdapterFile, RejectsTrailingBytes) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b.push_back(0); }), "its metadata ends at");
}

// ---- metadata
// --------------------------------------------------------------------------------------------------

TEST(AdapterFile, RejectsType) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.type = fbs::AdapterType(2); }), "unknown type 2");
}

TEST(AdapterFile, RejectsEmptyName) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.name.clear(); }), "has no name");
}

TEST(AdapterFile, RejectsNoFingerprint) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.fingerprints.clear(); }),
                 "names no base that it fits");
}

TEST(AdapterFile, RejectsImageSize) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.image.resize(t.image.size() + 8); }),
                 "bytes, no multiple of 16");
}

TEST(AdapterFile, RejectsSiteNameTwice) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[1]->name = "block.q"; }),
                 "two sites have the name 'block.q'");
}

TEST(AdapterFile, RejectsLongSiteName) {
  EXPECT_OK(edited([](TinyAdapter &t) { t.adapter.sites[0]->name.assign(1024, 'x'); }));
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->name.assign(1025, 'x'); }),
                 "among the sites has 1025 bytes, at most 1024 are allowed");
}

TEST(AdapterFile, RejectsFeatures) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->in_features = 0; }),
                 "site 'block.q': maps 0 features to 8");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->out_features = (uint64_t(1) << 31) + 1; }),
                 "expected 1 to 2147483648");
}

TEST(AdapterFile, RejectsRank) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->rank = 0; }),
                 "rank is 0, expected 1 to 1024");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->rank = 1025; }), "rank is 1025");
}

TEST(AdapterFile, RejectsRankTiles) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->rank_tiles = 2; }),
                 "has 2 rank tiles, rank 3 takes 1");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[1]->rank_tiles = 1; }),
                 "has 1 rank tiles, rank 8 with a bias takes 2");
}

TEST(AdapterFile, RejectsScaling) {
  for (double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e300})
    EXPECT_CORRUPT(edited([&](TinyAdapter &t) { t.adapter.sites[0]->scaling = bad; }),
                   "site 'block.q': scaling is ");
}

TEST(AdapterFile, RejectsOffsets) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->a_offset = 8; }), "A starts at 8");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->b_offset = 24; }),
                 "B at 24, expected multiples of 16");
}

TEST(AdapterFile, RejectsAOutsideTheImage) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->a_offset = t.image.size() - 112; }),
                 "A (offset 656, 128 bytes) ends after the image's 768 bytes");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->a_offset = uint64_t(0) - 16; }),
                 "A (offset 18446744073709551600, 128 bytes) ends after");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[0]->in_features = uint64_t(1) << 31; }),
                 "A (offset 0, 34359738368 bytes) ends after");
}

TEST(AdapterFile, RejectsBOutsideTheImage) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[1]->b_offset = t.image.size(); }),
                 "site 'block.o': B (offset 768, 256 bytes) ends after");
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.sites[1]->out_features = uint64_t(1) << 31; }),
                 "B (offset 512");
}

TEST(AdapterFile, RejectsValuesThatAreNotFinite) {
  for (uint16_t bad : {uint16_t(0x7c00), uint16_t(0xfc00), uint16_t(0x7e01), uint16_t(0x7c01)}) {
    EXPECT_CORRUPT(edited([&](TinyAdapter &t) { std::memcpy(t.image.data() + 130, &bad, 2); }),
                   "site 'block.q': B holds a value that is not finite, at byte 130");
    EXPECT_CORRUPT(edited([&](TinyAdapter &t) { std::memcpy(t.image.data() + 256, &bad, 2); }),
                   "site 'block.o': A holds a value that is not finite");
    EXPECT_CORRUPT(edited([&](TinyAdapter &t) {
                     t.image.resize(t.image.size() + 16);
                     std::memcpy(t.image.data() + t.image.size() - 2, &bad, 2);
                   }),
                   "outside all sites");
  }
  const uint16_t largest = 0x7bff;
  EXPECT_OK(edited([&](TinyAdapter &t) { std::memcpy(t.image.data() + 130, &largest, 2); }));
}

TEST(AdapterFile, RejectsFloat32ThatIsNotFinite) {
  for (float bad : {std::nanf(""), HUGE_VALF}) {
    TinyAdapter tiny = tinyAdapter();
    tiny.adapter.type = fbs::AdapterType::F32;
    tiny.adapter.sites.pop_back();
    tiny.image.assign(512, 0);
    tiny.adapter.sites[0]->b_offset = 256;
    std::memcpy(tiny.image.data() + 508, &bad, 4);
    EXPECT_CORRUPT(parse(tiny.bytes()), "site 'block.q': B holds a value that is not finite, at byte 508");
  }
}

TEST(AdapterFile, RejectsTreatmentVerdict) {
  EXPECT_CORRUPT(edited([](TinyAdapter &t) { t.adapter.treatments[0]->verdict = "ignored"; }),
                 "treatment of 'lora_dropout' has unknown verdict 'ignored'");
}

} // namespace
} // namespace lorac
