//===- Digest.h - SHA-256 over libcrypto ------------------------*- C++ -*-===//
#ifndef LORAC_SUPPORT_DIGEST_H
#define LORAC_SUPPORT_DIGEST_H

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lorac {

using Digest = std::array<uint8_t, 32>;

/// SHA-256 (FIPS 180-4) of data given in pieces.
class Sha256 {
public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256 &) = delete;
  Sha256 &operator=(const Sha256 &) = delete;
  void update(const void *data, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// The digest of all that was given; call once.
  Digest finish();

private:
  struct State;
  std::unique_ptr<State> state;
};

Digest sha256(std::span<const uint8_t> bytes);
std::string toHex(std::span<const uint8_t> bytes);
/// The first 12 hex digits, for messages.
std::string shortHex(std::span<const uint8_t> bytes);
/// 64 hex digits to a digest; nothing for other text.
std::optional<Digest> digestFromHex(std::string_view hex);

} // namespace lorac

#endif // LORAC_SUPPORT_DIGEST_H
