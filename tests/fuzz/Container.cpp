#include "tests/fuzz/Container.h"

#include "runtime/files/Container.h"
#include "schemas/Header.h"
#include "schemas/adapter_generated.h"
#include "schemas/model_generated.h"
#include "support/Checked.h"
#include "support/Fingerprint.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
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

} // namespace

std::vector<uint8_t> sealed(std::span<const uint8_t> bytes, ContainerKind kind) {
  std::vector<uint8_t> file(bytes.begin(), bytes.end());
  format::Header header;
  if (file.size() <= sizeof(header))
    return file;
  std::memcpy(&header, file.data(), sizeof(header));
  if (header.metadataSize > file.size() - sizeof(header))
    return file;
  std::span<uint8_t> metadata(file.data() + sizeof(header), size_t(header.metadataSize));
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata);
  if (kind == ContainerKind::Model && fbs::VerifyModelBuffer(verifier)) {
    const fbs::Model &model = *fbs::GetModel(metadata.data());
    sealSegments(file, *model.segments());
    sealFingerprint(model);
  } else if (kind == ContainerKind::Bundle && fbs::VerifyAdapterBuffer(verifier)) {
    sealSegments(file, *fbs::GetAdapter(metadata.data())->segments());
  }
  Sha256 hash;
  hash.update(file.data(), offsetof(format::Header, digest));
  hash.update(metadata.data(), metadata.size());
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), file.begin() + offsetof(format::Header, digest));
  return file;
}

size_t mutate(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  format::Header header;
  if (size <= sizeof(header) || random() % 8 == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(&header, data, sizeof(header));
  const size_t metadata = size_t(std::min<uint64_t>(header.metadataSize, size - sizeof(header)));
  if (metadata < 8 || random() % 4 == 0) {
    // libFuzzer's own, in a window of the metadata; what it adds or takes away is made up for at its end.
    uint8_t *window = data + sizeof(header) + (metadata > 0 ? random() % metadata : 0);
    const size_t room = size_t(data + size - window), length = std::min<size_t>(room, 1 + random() % 64);
    size_t left = LLVMFuzzerMutate(window, length, length);
    std::fill(window + left, window + length, uint8_t(0));
    return size;
  }
  // One number, where FlatBuffers puts numbers, becomes another that readers should think about.
  const size_t width = size_t(1) << random() % 4;
  const size_t at = sizeof(header) + random() % ((metadata - width) / width + 1) * width;
  uint64_t value = 0;
  std::memcpy(&value, data + at, width);
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
    std::memcpy(&value, data + sizeof(header) + random() % ((metadata - width) / width + 1) * width, width);
  }
  std::memcpy(data + at, &value, width);
  return size;
}

} // namespace lorac::fuzz
