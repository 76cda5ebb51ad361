#include "support/Fingerprint.h"

#include <algorithm>
#include <vector>

namespace lorac {

namespace {

void updateLittleEndian(Sha256 &hash, uint64_t value, size_t bytes) {
  uint8_t buffer[8];
  for (size_t i = 0; i < bytes; ++i)
    buffer[i] = uint8_t(value >> (8 * i));
  hash.update(buffer, bytes);
}

} // namespace

void FingerprintHash::add(const BaseTensorView &tensor) {
  hash.update(tensor.name);
  updateLittleEndian(hash, 0, 1);
  updateLittleEndian(hash, tensor.shape.size(), 4);
  for (uint64_t dimension : tensor.shape)
    updateLittleEndian(hash, dimension, 8);
  hash.update(tensor.hash.data(), tensor.hash.size());
}

Digest baseFingerprint(std::span<const BaseTensorView> tensors) {
  std::vector<const BaseTensorView *> sorted;
  sorted.reserve(tensors.size());
  for (const BaseTensorView &tensor : tensors)
    sorted.push_back(&tensor);
  // string_view compares char_traits<char>, that is bytes as unsigned: the same order on every machine.
  std::sort(sorted.begin(), sorted.end(),
            [](const BaseTensorView *a, const BaseTensorView *b) { return a->name < b->name; });

  FingerprintHash hash;
  for (const BaseTensorView *tensor : sorted)
    hash.add(*tensor);
  return hash.finish();
}

} // namespace lorac
