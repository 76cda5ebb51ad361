//===- BundleWriter.cpp - an adapter to adapter.lora -----------------------===//
// schemas/adapter.fbs says how the image lies. Values go from their file to it a tile of 8 rows at a time.
#include "compiler/emit/BundleWriter.h"

#include "schemas/Header.h"
#include "schemas/adapter_generated.h"
#include "support/Checked.h"
#include "support/Container.h"
#include "support/Half.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

namespace lorac {
namespace {

constexpr uint64_t kTileRows = 8;
constexpr uint64_t kPieceBytes = 16;
static_assert(std::endian::native == std::endian::little); // values are copied into the image

/// Where a site's tiles lie in the image.
struct SiteLayout {
  uint64_t tiles = 0; // of 8 ranks, the bias among them
  uint64_t aOffset = 0;
  uint64_t bOffset = 0;
};

class BundleBuilder {
public:
  BundleBuilder(const PeftAdapter &adapter, const BaseDescription &base, const BundleOptions &options)
      : adapter(adapter), base(base), options(options), valueBytes(options.float32 ? 4 : 2),
        pieceValues(kPieceBytes / valueBytes) {}

  Result<BundleSummary> write(const std::string &path) {
    LORAC_TRY(layOut());
    LORAC_ASSIGN(AtomicFile file, AtomicFile::create(path));
    ContainerWriter writer(file, format::AdapterMagic);
    const uint64_t sizes[] = {imageBytes};
    LORAC_TRY(writer.begin(sizes));
    for (size_t i = 0; i < adapter.sites.size(); ++i) {
      LORAC_TRY(writeA(adapter.sites[i], layouts[i], writer));
      LORAC_TRY(writeB(adapter.sites[i], layouts[i], writer));
    }
    LORAC_TRY(writer.finish(metadata(writer.segments())));
    BundleSummary summary;
    summary.sites = adapter.sites.size();
    summary.imageBytes = imageBytes;
    summary.fileBytes = file.position();
    for (const PeftSite &site : adapter.sites)
      summary.largestRank = std::max(summary.largestRank, site.rank);
    LORAC_TRY(file.commit());
    return summary;
  }

private:
  /// Bytes of `rows` x `cols` values in tiles.
  std::optional<uint64_t> tiledBytes(uint64_t rows, uint64_t cols) const {
    std::optional<uint64_t> pieces = checkedMul(ceilDiv(rows, kTileRows), ceilDiv(cols, pieceValues));
    return pieces ? checkedMul(*pieces, kTileRows * kPieceBytes) : std::nullopt;
  }

  Status layOut() {
    std::optional<uint64_t> at = 0;
    for (const PeftSite &site : adapter.sites) {
      SiteLayout layout;
      layout.tiles = ceilDiv(site.rank + (site.bias ? 1 : 0), kTileRows);
      std::optional<uint64_t> a = tiledBytes(layout.tiles * kTileRows, site.in);
      std::optional<uint64_t> b = tiledBytes(site.out, layout.tiles * kTileRows);
      std::optional<uint64_t> afterA = a ? checkedAdd(*at, *a) : std::nullopt;
      std::optional<uint64_t> end = afterA && b ? checkedAdd(*afterA, *b) : std::nullopt;
      if (!end)
        return Status(Code::Unsupported) << adapter.directory << ": site " << site.name << " is too large";
      layout.aOffset = *at;
      layout.bOffset = *afterA;
      at = end;
      layouts.push_back(layout);
    }
    imageBytes = *at;
    return Status::ok();
  }

  /// One value to its place in `tile`, which holds 8 rows of `pieces` pieces.
  Status put(std::vector<uint8_t> &tile, uint64_t row, uint64_t col, float value, const PeftSite &site,
             const char *what) const {
    uint8_t *place =
        tile.data() + (col / pieceValues * kTileRows + row) * kPieceBytes + col % pieceValues * valueBytes;
    if (options.float32) {
      std::memcpy(place, &value, sizeof(value));
      return Status::ok();
    }
    uint16_t half = floatToHalf(value);
    if ((half & 0x7fffu) == 0x7c00u)
      return Status(Code::Unsupported)
             << adapter.directory << ": site " << site.name << ": " << what << " holds " << value
             << ", which f16 (up to 65504) cannot hold; use --dtype f32";
    std::memcpy(place, &half, sizeof(half));
    return Status::ok();
  }

  /// A: `[rank_tiles][K/c][8][c]`; rows from `rank` on are zeros.
  Status writeA(const PeftSite &site, const SiteLayout &layout, ContainerWriter &writer) const {
    std::vector<uint8_t> tile(ceilDiv(site.in, pieceValues) * kTileRows * kPieceBytes);
    std::vector<float> row(site.in);
    for (uint64_t t = 0; t < layout.tiles; ++t) {
      std::fill(tile.begin(), tile.end(), uint8_t(0));
      for (uint64_t r = 0; r < kTileRows && t * kTileRows + r < site.rank; ++r) {
        LORAC_TRY(site.a.readRows(t * kTileRows + r, 1, row.data()));
        for (uint64_t k = 0; k < site.in; ++k)
          LORAC_TRY(put(tile, r, k, row[k], site, "A"));
      }
      LORAC_TRY(writer.append(tile));
    }
    return Status::ok();
  }

  /// B: `[out/8][rank_tiles*8/c][8][c]`; column `rank` is the bias where there is one.
  Status writeB(const PeftSite &site, const SiteLayout &layout, ContainerWriter &writer) const {
    std::vector<uint8_t> tile(layout.tiles * kTileRows / pieceValues * kTileRows * kPieceBytes);
    std::vector<float> row(site.rank), bias;
    if (site.bias) {
      bias.resize(site.out);
      LORAC_TRY(site.bias->readRows(0, 1, bias.data()));
    }
    for (uint64_t begin = 0; begin < site.out; begin += kTileRows) {
      std::fill(tile.begin(), tile.end(), uint8_t(0));
      for (uint64_t r = 0; r < kTileRows && begin + r < site.out; ++r) {
        LORAC_TRY(site.b.readRows(begin + r, 1, row.data()));
        for (uint64_t k = 0; k < site.rank; ++k)
          LORAC_TRY(put(tile, r, k, row[k], site, "B"));
        if (site.bias)
          LORAC_TRY(put(tile, r, site.rank, bias[begin + r], site, "the bias of B"));
      }
      LORAC_TRY(writer.append(tile));
    }
    return Status::ok();
  }

  std::vector<uint8_t> metadata(std::span<const SegmentRecord> segments) const {
    auto hashOf = [](const Digest &digest) {
      return fbs::Hash(flatbuffers::span<const uint8_t, 32>(digest));
    };
    fbs::AdapterT root;
    root.version = format::AdapterVersion;
    root.name = options.name;
    root.adapter_version = options.version;
    root.fingerprints.push_back(hashOf(base.fingerprint));
    root.bound_by_user = true;
    root.type = options.float32 ? fbs::AdapterType::F32 : fbs::AdapterType::F16;
    for (size_t i = 0; i < adapter.sites.size(); ++i) {
      const PeftSite &from = adapter.sites[i];
      auto site = std::make_unique<fbs::AdapterSiteT>();
      site->name = from.name;
      site->in_features = from.in;
      site->out_features = from.out;
      site->rank = from.rank;
      site->rank_tiles = uint32_t(layouts[i].tiles);
      site->has_bias = from.bias.has_value();
      site->scaling = from.scaling;
      site->a_offset = layouts[i].aOffset;
      site->b_offset = layouts[i].bOffset;
      root.sites.push_back(std::move(site));
    }
    for (const SegmentRecord &segment : segments)
      root.segments.push_back(fbs::Segment(segment.offset, segment.size, hashOf(segment.hash)));
    for (const PeftTreatment &from : adapter.treatments) {
      auto treatment = std::make_unique<fbs::TreatmentT>();
      treatment->item = from.item;
      treatment->verdict = from.verdict;
      treatment->reason = from.reason;
      root.treatments.push_back(std::move(treatment));
    }
    flatbuffers::FlatBufferBuilder builder;
    fbs::FinishAdapterBuffer(builder, fbs::Adapter::Pack(builder, &root));
    return std::vector<uint8_t>(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  }

  const PeftAdapter &adapter;
  const BaseDescription &base;
  const BundleOptions &options;
  const uint64_t valueBytes;
  const uint64_t pieceValues;
  std::vector<SiteLayout> layouts;
  uint64_t imageBytes = 0;
};

} // namespace

Result<BundleSummary> writeBundle(const PeftAdapter &adapter, const BaseDescription &base,
                                  const BundleOptions &options, const std::string &path) {
  if (options.name.empty())
    return Status(Code::InvalidArgument) << path << ": a bundle needs a name; give --name";
  if (adapter.sites.empty())
    return Status(Code::InvalidArgument) << path << ": an adapter without sites has no bundle";
  // The scaling reaches kernels as f32.
  for (const PeftSite &site : adapter.sites)
    if (!std::isfinite(float(site.scaling)))
      return Status(Code::Unsupported) << adapter.directory << ": site " << site.name << " has a scaling of "
                                       << site.scaling << ", which f32 cannot hold; lower lora_alpha";
  return BundleBuilder(adapter, base, options).write(path);
}

} // namespace lorac
