//===- Fingerprint.h - which base a model or bundle is of -------*- C++ -*-===//
#ifndef LORAC_SUPPORT_FINGERPRINT_H
#define LORAC_SUPPORT_FINGERPRINT_H

#include "support/Digest.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace lorac {

/// One tensor of the base: Hugging Face name and shape, and the SHA-256 of its values as little-endian f32 in
/// Hugging Face row order after exact dequantization.
struct BaseTensorView {
  std::string_view name;
  std::span<const uint64_t> shape;
  Digest hash;
};

/// The fingerprint of tensors that come in ascending order of their names' bytes, one at a time.
class FingerprintHash {
public:
  void add(const BaseTensorView &tensor);
  Digest finish() { return hash.finish(); }

private:
  Sha256 hash;
};

/// SHA-256 over the tensors in ascending order of their names' bytes, for each: the name, one zero byte, the
/// number of dimensions as u32, each dimension as u64 (both little-endian), the 32 bytes of `hash`. The order
/// of `tensors` does not matter; names are expected to differ.
Digest baseFingerprint(std::span<const BaseTensorView> tensors);

} // namespace lorac

#endif // LORAC_SUPPORT_FINGERPRINT_H
