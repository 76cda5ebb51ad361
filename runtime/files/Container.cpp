#include "runtime/files/Container.h"

#include "schemas/Header.h"
#include "support/Checked.h"
#include "support/Compression.h"
#include "support/Threads.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

namespace lorac::container {

static_assert(std::endian::native == std::endian::little, "headers and metadata are read where they lie");

namespace {

Status corrupt(const std::string &name) { return Status(Code::CorruptFile) << name << ": "; }

/// Files that are whole, and given in the place of others: what they begin with and what to do.
struct OtherKind {
  std::string_view magic, advice;
};
constexpr OtherKind OtherKinds[] = {
    {"GGUF", "a GGUF checkpoint: make a model file of it with lorac compile"},
    {{format::ModelMagic, sizeof(format::ModelMagic)}, "a model file: give it as the model"},
    {{format::AdapterMagic, sizeof(format::AdapterMagic)}, "an adapter's bundle: give it as an adapter"}};

/// The offset of the first byte in [begin, end) that is not zero, or `end`.
uint64_t firstNonZero(std::span<const uint8_t> bytes, uint64_t begin, uint64_t end) {
  auto range = bytes.subspan(size_t(begin), size_t(end - begin));
  return begin +
         uint64_t(std::find_if(range.begin(), range.end(), [](uint8_t b) { return b != 0; }) - range.begin());
}

} // namespace

Result<Metadata> readMetadata(std::span<const uint8_t> bytes, const std::string &name, const char (&magic)[4],
                              std::string_view kind) {
  if (bytes.size() < sizeof(format::Header))
    return corrupt(name) << "has " << bytes.size() << " bytes, a header alone has " << sizeof(format::Header);
  format::Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::string_view begin(header.magic, sizeof(header.magic));
  const bool ours = begin == std::string_view(magic, sizeof(magic));
  for (const OtherKind &other : OtherKinds)
    if (!ours && begin == other.magic)
      return Status(Code::InvalidArgument) << name << ": is no Lorac " << kind << " but " << other.advice;
  if (!ours)
    return corrupt(name) << "is no Lorac " << kind << ": it starts with " << quoted(begin) << ", not '"
                         << std::string_view(magic, 4) << "'";
  if (header.version == 0)
    return corrupt(name) << "header version is 0, the first is 1";
  if (header.version < format::HeaderVersion)
    return Status(Code::Unsupported) << name << ": header version is " << header.version
                                     << ", this Lorac reads version " << format::HeaderVersion
                                     << "; build the file again";
  if (header.version > format::HeaderVersion)
    return Status(Code::Unsupported) << name << ": header version is " << header.version
                                     << ", this Lorac knows versions up to " << format::HeaderVersion
                                     << "; use a newer Lorac, or build the file again with this one";
  if (header.requiredFeatures != 0)
    return Status(Code::Unsupported) << name << ": needs features (bits " << header.requiredFeatures
                                     << ") that this Lorac does not know; use a newer Lorac";
  if (header.metadataOffset < sizeof(header))
    return corrupt(name) << "metadata starts at " << header.metadataOffset << ", inside the header";
  if (!rangeInside(header.metadataOffset, header.metadataSize, bytes.size()))
    return corrupt(name) << "metadata (offset " << header.metadataOffset << ", " << header.metadataSize
                         << " bytes) ends after the file's " << bytes.size() << " bytes";
  if (header.metadataOffset + header.metadataSize != bytes.size())
    return corrupt(name) << "has " << bytes.size() << " bytes, its metadata ends at "
                         << header.metadataOffset + header.metadataSize;
  const auto frame = bytes.subspan(size_t(header.metadataOffset), size_t(header.metadataSize));
  Sha256 hash;
  hash.update(bytes.data(), offsetof(format::Header, digest));
  hash.update(frame.data(), frame.size());
  Digest digest = hash.finish();
  if (!std::equal(digest.begin(), digest.end(), header.digest))
    return corrupt(name) << "header and metadata have SHA-256 " << shortHex(digest) << ", the header says "
                         << shortHex(header.digest);
  Result<std::vector<uint8_t>> metadata = decompress(frame, format::MaxMetadataBytes);
  if (!metadata)
    return Status(metadata.status().code()) << name << ": metadata " << metadata.status().message();
  return Metadata{*std::move(metadata), header.metadataOffset};
}

Status checkLayout(std::span<const uint8_t> bytes, const std::string &name, uint64_t metadataOffset,
                   const Segments &segments, uint32_t codeSegments) {
  if (!isAligned(segments))
    return corrupt(name) << "the list of segments does not start at a multiple of 8";
  uint64_t end = sizeof(format::Header);
  for (uint32_t i = 0; i < segments.size(); ++i) {
    const fbs::Segment &segment = *segments[i];
    const uint64_t alignment = i < codeSegments ? format::CodeAlignment : format::SegmentAlignment;
    if (segment.offset() % alignment != 0)
      return corrupt(name) << "segment " << i << " starts at " << segment.offset() << ", no multiple of "
                           << alignment;
    if (segment.offset() < end)
      return corrupt(name) << "segment " << i << " starts at " << segment.offset()
                           << ", before what precedes it ends (" << end << ")";
    if (!rangeInside(segment.offset(), segment.size(), metadataOffset))
      return corrupt(name) << "segment " << i << " (offset " << segment.offset() << ", " << segment.size()
                           << " bytes) ends after the metadata begins, at " << metadataOffset;
    if (uint64_t stray = firstNonZero(bytes, end, segment.offset()); stray != segment.offset())
      return corrupt(name) << "byte " << stray << ", before segment " << i << ", must be zero";
    end = segment.offset() + segment.size();
  }
  if (end != metadataOffset)
    return corrupt(name) << "its last segment ends at " << end << ", the metadata begins at "
                         << metadataOffset;
  return Status::ok();
}

Status checkDigests(std::span<const uint8_t> bytes, const std::string &name, const Segments &segments,
                    const std::function<void(size_t)> &done) {
  std::mutex mutex;
  uint32_t bad = UINT32_MAX; // the lowest, so that the message does not depend on which thread was faster
  Digest badDigest = {};
  uint64_t total = 0;
  for (const fbs::Segment *segment : segments)
    total += segment->size();
  constexpr uint64_t WorthAThread = 1 << 20; // below this many bytes, starting one costs more than it saves
  const size_t threads = total < WorthAThread ? 1 : std::clamp(std::thread::hardware_concurrency(), 2u, 8u);
  forEachOnThreads(segments.size(), threads, [&](size_t number) {
    const auto i = uint32_t(number);
    Digest digest = sha256(segmentBytes(bytes, *segments[i]));
    done(i);
    if (digest == digestOf(segments[i]->hash()))
      return;
    std::lock_guard lock(mutex);
    if (i < bad) {
      bad = i;
      badDigest = digest;
    }
  });
  if (bad == UINT32_MAX)
    return Status::ok();
  return corrupt(name) << "segment " << bad << " has SHA-256 " << shortHex(badDigest)
                       << ", the metadata says " << shortHex(digestOf(segments[bad]->hash()));
}

flatbuffers::Verifier metadataVerifier(std::span<const uint8_t> metadata) {
  constexpr flatbuffers::uoffset_t MaxDepth = 16;
  return flatbuffers::Verifier(metadata.data(), metadata.size(), MaxDepth,
                               flatbuffers::uoffset_t(metadata.size() / sizeof(flatbuffers::uoffset_t) + 1));
}

Status checkName(std::string_view name, std::string_view what) {
  if (name.size() <= MaxNameBytes)
    return Status::ok();
  return Status(Code::CorruptFile) << "the name " << quoted(name) << " among the " << what << " has "
                                   << name.size() << " bytes, at most " << MaxNameBytes << " are allowed";
}

std::string quoted(std::string_view name) {
  constexpr size_t MaxShown = 120;
  static constexpr char Digits[] = "0123456789abcdef";
  std::string text = "'";
  for (char c : name.substr(0, MaxShown)) {
    const uint8_t byte = uint8_t(c);
    if (byte >= 0x20 && byte != 0x7f)
      text += c;
    else
      (text += "\\x") += {Digits[byte >> 4], Digits[byte & 15]};
  }
  return text += name.size() > MaxShown ? "...'" : "'";
}

std::optional<std::string_view> firstDuplicate(size_t count,
                                               const std::function<std::string_view(size_t)> &nameOf) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return nameOf(a) < nameOf(b); });
  for (size_t i = 1; i < count; ++i)
    if (nameOf(order[i]) == nameOf(order[i - 1]))
      return nameOf(order[i]);
  return std::nullopt;
}

} // namespace lorac::container
