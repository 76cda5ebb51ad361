#include "tests/fuzz/Container.h"

#include "runtime/files/Container.h"
#include "schemas/Header.h"
#include "schemas/adapter_generated.h"
#include "schemas/model_generated.h"
#include "support/Checked.h"
#include "support/Compression.h"
#include "support/Fingerprint.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <random>

/// libFuzzer's own mutations.
extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

namespace lorac::fuzz {
namespace {

void put(const Digest &digest, const fbs::Hash &hash) {
  // The metadata lies in the copy that is being sealed.
  std::copy(digest.begin(), digest.end(), const_cast<uint8_t *>(hash.bytes()->data()));
}

void sealSegments(std::span<const uint8_t> file, const container::Segments &segments) {
  if (!container::isAligned(segments))
    return;
  uint64_t total = 0;
  for (const fbs::Segment *segment : segments) {
    if (!rangeInside(segment->offset(), segment->size(), file.size()))
      return;
    total += segment->size();
  }
  if (total > file.size())
    return; // they overlap: refused before any digest is looked at
  for (const fbs::Segment *segment : segments)
    put(sha256(container::segmentBytes(file, *segment)), segment->hash());
}

void sealFingerprint(const fbs::Model &model) {
  std::vector<BaseTensorView> views;
  for (const fbs::BaseTensor *tensor : *model.base()) {
    if (!container::isAligned(*tensor->shape()))
      return;
    views.push_back({container::view(*tensor->name()),
                     {tensor->shape()->data(), tensor->shape()->size()},
                     container::digestOf(*tensor->hash())});
  }
  put(baseFingerprint(views), *model.fingerprint());
}

/// A file in two parts, the metadata decompressed.
struct Parts {
  std::vector<uint8_t> front; ///< header and segments
  std::vector<uint8_t> metadata;
};

/// Nothing where the metadata is not to be had.
std::optional<Parts> partsOf(std::span<const uint8_t> file) {
  constexpr uint64_t MaxContent = 1 << 20; // inputs are smaller, and mutations are to be quick
  format::Header header;
  if (file.size() <= sizeof(header))
    return std::nullopt;
  std::memcpy(&header, file.data(), sizeof(header));
  if (header.metadataOffset < sizeof(header) ||
      !rangeInside(header.metadataOffset, header.metadataSize, file.size()))
    return std::nullopt;
  const auto front = file.first(size_t(header.metadataOffset));
  Result<std::vector<uint8_t>> metadata =
      decompress(file.subspan(front.size(), size_t(header.metadataSize)), MaxContent);
  if (!metadata)
    return std::nullopt;
  return Parts{{front.begin(), front.end()}, *std::move(metadata)};
}

/// The file again, with the header's digest made anew.
std::vector<uint8_t> joined(Parts parts) {
  constexpr int FastCompression = 1;
  const std::vector<uint8_t> frame = *compress(parts.metadata, FastCompression);
  std::vector<uint8_t> file = std::move(parts.front);
  format::Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  header.metadataSize = frame.size();
  Sha256 hash;
  hash.update(&header, offsetof(format::Header, digest));
  hash.update(frame.data(), frame.size());
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), header.digest);
  std::memcpy(file.data(), &header, sizeof(header));
  file.insert(file.end(), frame.begin(), frame.end());
  return file;
}

/// Changes one place of `data`.
void mutateMetadata(std::vector<uint8_t> &data, std::minstd_rand &random) {
  if (data.size() < 8 || random() % 4 == 0) {
    // libFuzzer's own, in a window; what it adds or takes away is made up for at its end.
    const size_t at = data.empty() ? 0 : random() % data.size();
    const size_t length = std::min<size_t>(data.size() - at, 1 + random() % 64);
    if (length == 0)
      return;
    uint8_t *window = data.data() + at;
    size_t left = LLVMFuzzerMutate(window, length, length);
    std::fill(window + left, window + length, uint8_t(0));
    return;
  }
  // One number, where FlatBuffers puts numbers, becomes another that readers should think about.
  const size_t width = size_t(1) << random() % 4;
  const auto place = [&] { return random() % ((data.size() - width) / width + 1) * width; };
  const size_t at = place();
  uint64_t value = 0;
  std::memcpy(&value, data.data() + at, width);
  constexpr uint64_t Values[] = {0,         1,          2,          UINT64_MAX, UINT64_MAX - 1,
                                 INT64_MAX, 1ull << 63, 1ull << 32, 1ull << 31, UINT32_MAX,
                                 INT32_MAX, 1 << 16,    4096,       UINT16_MAX, 256,
                                 8,         16,         1024,       1ull << 40, 1ull << 60};
  switch (random() % 4) {
  case 0:
    value = Values[random() % std::size(Values)];
    break;
  case 1:
    value += uint64_t(random() % 17) - 8;
    break;
  case 2:
    value ^= uint64_t(1) << random() % (width * 8);
    break;
  default: // a number from elsewhere in the metadata
    std::memcpy(&value, data.data() + place(), width);
  }
  std::memcpy(data.data() + at, &value, width);
}

} // namespace

std::vector<uint8_t> sealed(std::span<const uint8_t> bytes, ContainerKind kind) {
  std::optional<Parts> parts = partsOf(bytes);
  if (!parts)
    return {bytes.begin(), bytes.end()};
  flatbuffers::Verifier verifier = container::metadataVerifier(parts->metadata);
  if (kind == ContainerKind::Model && fbs::VerifyModelBuffer(verifier)) {
    const fbs::Model &model = *fbs::GetModel(parts->metadata.data());
    sealSegments(parts->front, *model.segments());
    sealFingerprint(model);
  } else if (kind == ContainerKind::Bundle && fbs::VerifyAdapterBuffer(verifier)) {
    sealSegments(parts->front, *fbs::GetAdapter(parts->metadata.data())->segments());
  }
  return joined(*std::move(parts));
}

size_t mutate(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  std::optional<Parts> parts;
  if (random() % 8 != 0)
    parts = partsOf({data, size});
  if (!parts)
    return LLVMFuzzerMutate(data, size, maxSize);
  mutateMetadata(parts->metadata, random);
  const std::vector<uint8_t> file = joined(*std::move(parts));
  if (file.size() > maxSize)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::copy(file.begin(), file.end(), data);
  return file.size();
}

} // namespace lorac::fuzz
