#include "runtime/files/AdapterFile.h"

#include "runtime/files/Container.h"
#include "schemas/Header.h"
#include "support/Checked.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace lorac {

namespace {

using container::quoted;
using container::view;

constexpr uint64_t MaxFeatures = uint64_t(1) << 31;

/// Bytes of A and B in the image. The limits on features and rank keep both below 2^44.
struct SiteBytes {
  uint64_t a, b;
};
SiteBytes bytesOf(const fbs::AdapterSite &site, fbs::AdapterType type) {
  const uint64_t piece = type == fbs::AdapterType::F16 ? 8 : 4; // values in 16 bytes
  const uint64_t ranks = uint64_t(site.rank_tiles()) * 8;
  return {ranks * ceilDiv(site.in_features(), piece) * 16,
          roundUp(site.out_features(), 8) * (ranks / piece) * 16};
}

/// The offset of the first value that is infinite or NaN; the image's size where there is none.
uint64_t firstNonFinite(std::span<const uint8_t> image, fbs::AdapterType type) {
  if (type == fbs::AdapterType::F16) {
    for (size_t i = 0; i + 2 <= image.size(); i += 2) {
      uint16_t bits;
      std::memcpy(&bits, image.data() + i, sizeof(bits));
      if ((bits & 0x7c00u) == 0x7c00u)
        return i;
    }
  } else {
    for (size_t i = 0; i + 4 <= image.size(); i += 4) {
      uint32_t bits;
      std::memcpy(&bits, image.data() + i, sizeof(bits));
      if ((bits & 0x7f800000u) == 0x7f800000u)
        return i;
    }
  }
  return image.size();
}

Status verifyAdapter(const fbs::Adapter &adapter, std::span<const uint8_t> image, const std::string &name) {
  const auto corrupt = [&] { return Status(Code::CorruptFile) << name << ": "; };
  if (!(adapter.type() <= fbs::AdapterType::MAX))
    return corrupt() << "unknown type " << unsigned(adapter.type()) << " of A and B";
  if (adapter.name()->size() == 0)
    return corrupt() << "the adapter has no name";
  if (adapter.fingerprints()->size() == 0)
    return corrupt() << "names no base that it fits";
  if (image.size() % 16 != 0)
    return corrupt() << "the image has " << image.size() << " bytes, no multiple of 16";

  const auto &sites = *adapter.sites();
  for (const fbs::AdapterSite *site : sites)
    if (Status status = container::checkName(view(*site->name()), "sites"); !status.isOk())
      return corrupt() << status.message();
  auto duplicate = container::firstDuplicate(sites.size(),
                                             [&](size_t i) { return view(*sites.Get(uint32_t(i))->name()); });
  if (duplicate)
    return corrupt() << "two sites have the name " << quoted(*duplicate);
  for (const fbs::AdapterSite *site : sites) {
    const auto at = [&] { return corrupt() << "site " << quoted(*site->name()) << ": "; };
    if (site->in_features() == 0 || site->in_features() > MaxFeatures || site->out_features() == 0 ||
        site->out_features() > MaxFeatures)
      return at() << "maps " << site->in_features() << " features to " << site->out_features()
                  << ", expected 1 to " << MaxFeatures;
    if (site->rank() == 0 || site->rank() > format::MaxRank)
      return at() << "rank is " << site->rank() << ", expected 1 to " << format::MaxRank;
    const uint64_t tiles = ceilDiv(uint64_t(site->rank()) + (site->has_bias() ? 1 : 0), 8);
    if (site->rank_tiles() != tiles)
      return at() << "has " << site->rank_tiles() << " rank tiles, rank " << site->rank()
                  << (site->has_bias() ? " with a bias takes " : " takes ") << tiles;
    if (!(std::fabs(site->scaling()) <= double(FLT_MAX)))
      return at() << "scaling is " << site->scaling() << ", which f32 does not hold";
    const SiteBytes size = bytesOf(*site, adapter.type());
    if (site->a_offset() % 16 != 0 || site->b_offset() % 16 != 0)
      return at() << "A starts at " << site->a_offset() << ", B at " << site->b_offset()
                  << ", expected multiples of 16";
    if (!rangeInside(site->a_offset(), size.a, image.size()))
      return at() << "A (offset " << site->a_offset() << ", " << size.a << " bytes) ends after the image's "
                  << image.size() << " bytes";
    if (!rangeInside(site->b_offset(), size.b, image.size()))
      return at() << "B (offset " << site->b_offset() << ", " << size.b << " bytes) ends after the image's "
                  << image.size() << " bytes";
  }
  for (uint32_t i = 0; i < container::sizeOf(adapter.treatments()); ++i) {
    const fbs::Treatment &treatment = *adapter.treatments()->Get(i);
    std::string_view verdict = view(*treatment.verdict());
    if (verdict != "honoured" && verdict != "folded" && verdict != "dropped")
      return corrupt() << "treatment of " << quoted(*treatment.item()) << " has unknown verdict "
                       << quoted(verdict);
  }

  // One pass over the image, not one a site: sites may share bytes.
  if (uint64_t bad = firstNonFinite(image, adapter.type()); bad != image.size()) {
    for (const fbs::AdapterSite *site : sites) {
      const SiteBytes size = bytesOf(*site, adapter.type());
      const bool inA = bad >= site->a_offset() && bad - site->a_offset() < size.a;
      if (inA || (bad >= site->b_offset() && bad - site->b_offset() < size.b))
        return corrupt() << "site " << quoted(*site->name()) << ": " << (inA ? "A" : "B")
                         << " holds a value that is not finite, at byte " << bad << " of the image";
    }
    return corrupt() << "the image holds a value that is not finite, at byte " << bad
                     << ", outside all sites";
  }
  return Status::ok();
}

} // namespace

Result<std::shared_ptr<const AdapterFile>> AdapterFile::open(const std::string &path) {
  LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
  std::span<const uint8_t> bytes = file.bytes();
  Result<std::shared_ptr<const AdapterFile>> result = verify(std::move(file), bytes, path);
  if (!result)
    return container::withRemedy(result.status());
  return result;
}

Result<std::shared_ptr<const AdapterFile>> AdapterFile::parse(std::span<const uint8_t> bytes,
                                                              const std::string &name) {
  Result<std::shared_ptr<const AdapterFile>> result = verify(MappedFile(), bytes, name);
  if (!result)
    return container::withRemedy(result.status());
  return result;
}

Result<std::shared_ptr<const AdapterFile>>
AdapterFile::verify(MappedFile file, std::span<const uint8_t> bytes, const std::string &name) {
  LORAC_ASSIGN(container::Metadata metadata,
               container::readMetadata(bytes, name, format::AdapterMagic, "bundle"));
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata.bytes);
  if (!fbs::VerifyAdapterBuffer(verifier))
    return Status(Code::CorruptFile) << name << ": metadata is no well-formed FlatBuffer of a bundle";
  const fbs::Adapter &root = *fbs::GetAdapter(metadata.bytes.data());
  if (root.version() == 0)
    return Status(Code::CorruptFile) << name << ": format version is 0, the first is 1";
  if (root.version() > format::AdapterVersion)
    return Status(Code::Unsupported) << name << ": format version is " << root.version()
                                     << ", this Lorac knows versions up to " << format::AdapterVersion
                                     << "; use a newer Lorac, or build the bundle with this one";
  if (root.signature())
    return Status(Code::Unsupported) << name
                                     << ": is signed, which this Lorac cannot check; use a newer Lorac";
  if (root.segments()->size() != 1)
    return Status(Code::CorruptFile) << name << ": has " << root.segments()->size()
                                     << " segments, expected 1, the image";
  LORAC_TRY(container::checkLayout(bytes, name, metadata.offset, *root.segments()));
  LORAC_TRY(container::checkDigests(bytes, name, *root.segments(), [](size_t) {}));
  LORAC_TRY(verifyAdapter(root, container::segmentBytes(bytes, *root.segments()->Get(0)), name));

  auto adapter = std::make_shared<AdapterFile>();
  adapter->file = std::move(file);
  adapter->bytes = bytes;
  adapter->metadataBytes = std::move(metadata.bytes); // where `root` points stays where it is
  adapter->root = &root;
  adapter->filePath = name;
  return std::shared_ptr<const AdapterFile>(std::move(adapter));
}

std::span<const uint8_t> AdapterFile::image() const {
  return container::segmentBytes(bytes, *root->segments()->Get(0));
}

bool AdapterFile::fits(const Digest &fingerprint) const {
  for (const fbs::Hash *hash : *root->fingerprints())
    if (container::digestOf(*hash) == fingerprint)
      return true;
  return false;
}

} // namespace lorac
