//===- BundleWriter.cpp - where every value of an adapter goes -----------------===//
#include "compiler/emit/BundleWriter.h"

#include "schemas/Header.h"
#include "schemas/adapter_generated.h"
#include "support/Compression.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

using namespace lorac;
using namespace lorac::test;

namespace {

struct Bundle : testing::Test {
  TempFolder folder;
  FileCache files;
  PeftAdapter adapter;
  BaseDescription base;
  BundleOptions options;
  std::string bytes;             // of the file that was written last
  std::vector<uint8_t> metadata; // its, decompressed

  void SetUp() override {
    adapter.directory = "style";
    base.fingerprint.fill(0xab);
    options.name = "style";
    options.version = "1.2";
    adapter.treatments.push_back({"r", "honoured", "8"});
  }
  TensorSource source(const std::string &name, uint64_t rows, uint64_t cols,
                      const std::vector<float> &values) {
    writeFile(folder.path(name), bytesOf(values));
    Result<TensorSource> opened = TensorSource::open(
        files, {folder.path(name), 0, values.size() * 4, Encoding::F32, rows, cols, 0}, name);
    EXPECT_OK(opened);
    return *opened;
  }
  /// Values that tell where they belong, exact in f16.
  static float a(uint64_t r, uint64_t k) { return float(r * 64 + k) / 8.0f; }
  static float b(uint64_t o, uint64_t r) { return -float(o * 32 + r) / 4.0f; }
  static float bias(uint64_t o) { return float(o) + 0.5f; }

  void addSite(const std::string &name, uint64_t in, uint64_t out, uint32_t rank, bool hasBias) {
    std::vector<float> as, bs, biases;
    for (uint64_t r = 0; r < rank; ++r)
      for (uint64_t k = 0; k < in; ++k)
        as.push_back(a(r, k));
    for (uint64_t o = 0; o < out; ++o) {
      for (uint64_t r = 0; r < rank; ++r)
        bs.push_back(b(o, r));
      biases.push_back(bias(o));
    }
    PeftSite site{
        name, in, out, rank, 0.3, source(name + ".a", rank, in, as), source(name + ".b", out, rank, bs), {}};
    if (hasBias)
      site.bias = source(name + ".bias", 1, out, biases);
    adapter.sites.push_back(std::move(site));
  }
  const fbs::Adapter *write() {
    Result<BundleSummary> summary = writeBundle(adapter, base, options, folder.path("out.lora"));
    EXPECT_OK(summary);
    bytes = readFile(folder.path("out.lora"));
    EXPECT_EQ(summary->fileBytes, bytes.size());
    format::Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    const auto *frame = reinterpret_cast<const uint8_t *>(bytes.data()) + header.metadataOffset;
    metadata = *decompress({frame, header.metadataSize}, format::MaxMetadataBytes);
    flatbuffers::Verifier verifier(metadata.data(), metadata.size());
    EXPECT_TRUE(fbs::VerifyAdapterBuffer(verifier));
    return fbs::GetAdapter(metadata.data());
  }
  float valueAt(const fbs::Adapter *root, uint64_t offset, uint64_t index) {
    const char *image = bytes.data() + root->segments()->Get(0)->offset() + offset;
    if (root->type() == fbs::AdapterType::F32) {
      float value;
      std::memcpy(&value, image + index * 4, 4);
      return value;
    }
    uint16_t value;
    std::memcpy(&value, image + index * 2, 2);
    return halfToFloat(value);
  }
  /// Every value of the image against the formula of the schema.
  void check(const fbs::Adapter *root) {
    const uint64_t c = root->type() == fbs::AdapterType::F32 ? 4 : 8;
    uint64_t end = 0;
    for (const fbs::AdapterSite *site : *root->sites()) {
      const uint64_t rank = site->rank(), tiles = site->rank_tiles(), in = site->in_features(),
                     out = site->out_features();
      ASSERT_EQ(tiles, (rank + site->has_bias() + 7) / 8);
      ASSERT_EQ(site->a_offset(), end);
      const uint64_t pieces = (in + c - 1) / c, outTiles = (out + 7) / 8, rankPieces = tiles * 8 / c;
      for (uint64_t r = 0; r < tiles * 8; ++r)
        for (uint64_t k = 0; k < pieces * c; ++k)
          ASSERT_EQ(valueAt(root, site->a_offset(), ((r / 8 * pieces + k / c) * 8 + r % 8) * c + k % c),
                    r < rank && k < in ? a(r, k) : 0.0f)
              << r << ' ' << k;
      ASSERT_EQ(site->b_offset(), site->a_offset() + tiles * pieces * 128);
      for (uint64_t o = 0; o < outTiles * 8; ++o)
        for (uint64_t r = 0; r < tiles * 8; ++r) {
          float want = o >= out ? 0.0f : r < rank ? b(o, r) : r == rank && site->has_bias() ? bias(o) : 0.0f;
          ASSERT_EQ(valueAt(root, site->b_offset(), ((o / 8 * rankPieces + r / c) * 8 + o % 8) * c + r % c),
                    want)
              << o << ' ' << r;
        }
      end = site->b_offset() + outTiles * rankPieces * 128;
    }
    EXPECT_EQ(root->segments()->size(), 1u);
    EXPECT_EQ(root->segments()->Get(0)->size(), end);
  }
};

TEST_F(Bundle, LaysOutTiles) {
  addSite("plain", 20, 19, 5, false);
  addSite("full", 16, 8, 8, false);
  addSite("wide", 37, 24, 13, false);
  addSite("biased", 12, 10, 3, true);
  addSite("biased.full", 12, 10, 8, true); // the bias needs a tile of its own
  for (bool f32 : {false, true}) {
    options.float32 = f32;
    const fbs::Adapter *root = write();
    EXPECT_EQ(root->type(), f32 ? fbs::AdapterType::F32 : fbs::AdapterType::F16);
    check(root);
  }
}
TEST_F(Bundle, HoldsWhatIsKnown) {
  addSite("q", 16, 8, 8, false);
  const fbs::Adapter *root = write();
  EXPECT_EQ(root->version(), 1u);
  EXPECT_EQ(root->name()->str(), "style");
  EXPECT_EQ(root->adapter_version()->str(), "1.2");
  EXPECT_TRUE(root->bound_by_user());
  EXPECT_EQ(root->fingerprints()->size(), 1u);
  EXPECT_EQ(root->fingerprints()->Get(0)->bytes()->Get(31), 0xab);
  EXPECT_EQ(root->sites()->Get(0)->scaling(), 0.3); // the double itself
  EXPECT_EQ(root->treatments()->Get(0)->verdict()->str(), "honoured");
  EXPECT_EQ(bytes.substr(0, 4), "LRCA");
  const fbs::Segment *image = root->segments()->Get(0);
  EXPECT_EQ(image->offset() % 4096, 0u);
  Digest digest =
      sha256({reinterpret_cast<const uint8_t *>(bytes.data()) + image->offset(), size_t(image->size())});
  EXPECT_TRUE(std::equal(digest.begin(), digest.end(), image->hash().bytes()->begin()));
}
TEST_F(Bundle, SameInputGivesSameBytes) {
  addSite("q", 16, 8, 8, true);
  write();
  std::string first = bytes;
  write();
  EXPECT_EQ(first, bytes);
}
TEST_F(Bundle, RoundsToNearestEven) {
  // 1 + 2^-11 lies between 1 and 1 + 2^-10: the even one is 1; 1 + 3·2^-11 goes up to 1 + 2^-9.
  adapter.sites.push_back({"q",
                           1,
                           1,
                           1,
                           1.0,
                           source("a", 1, 1, {1.0f + 0x1p-11f}),
                           source("b", 1, 1, {1.0f + 3 * 0x1p-11f}),
                           {}});
  const fbs::Adapter *root = write();
  EXPECT_EQ(valueAt(root, root->sites()->Get(0)->a_offset(), 0), 1.0f);
  EXPECT_EQ(valueAt(root, root->sites()->Get(0)->b_offset(), 0), 1.0f + 0x1p-9f);
}
TEST_F(Bundle, RefusesWhatF16CannotHold) {
  adapter.sites.push_back(
      {"model.q", 1, 1, 1, 1.0, source("a", 1, 1, {1.0f}), source("b", 1, 1, {70000.0f}), {}});
  EXPECT_STATUS(writeBundle(adapter, base, options, folder.path("out.lora")), Code::Unsupported,
                "site model.q: B holds 70000, which f16 (up to 65504) cannot hold; use --dtype f32");
  EXPECT_FALSE(std::filesystem::exists(folder.path("out.lora"))); // whole or not at all
  options.float32 = true;
  EXPECT_OK(writeBundle(adapter, base, options, folder.path("out.lora")));
}
TEST_F(Bundle, RefusesScalingThatF32CannotHold) {
  adapter.sites.push_back(
      {"model.q", 1, 1, 1, 1e300, source("a", 1, 1, {1.0f}), source("b", 1, 1, {1.0f}), {}});
  EXPECT_STATUS(writeBundle(adapter, base, options, folder.path("out.lora")), Code::Unsupported,
                "a scaling of 1e+300");
}
TEST_F(Bundle, NeedsNameAndSites) {
  EXPECT_STATUS(writeBundle(adapter, base, options, folder.path("out.lora")), Code::InvalidArgument,
                "without sites");
  options.name.clear();
  EXPECT_STATUS(writeBundle(adapter, base, options, folder.path("out.lora")), Code::InvalidArgument,
                "needs a name");
}

} // namespace
