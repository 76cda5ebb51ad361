#include "support/Digest.h"

#include <openssl/evp.h>

namespace lorac {

struct Sha256::State {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state(std::make_unique<State>()) {
  EVP_DigestInit_ex(state->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;

void Sha256::update(const void *data, size_t size) { EVP_DigestUpdate(state->context, data, size); }

Digest Sha256::finish() {
  Digest digest{};
  unsigned length = 0;
  EVP_DigestFinal_ex(state->context, digest.data(), &length);
  return digest;
}

Digest sha256(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.finish();
}

std::string toHex(std::span<const uint8_t> bytes) {
  static constexpr char Digits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    hex += Digits[byte >> 4];
    hex += Digits[byte & 15];
  }
  return hex;
}

std::string shortHex(std::span<const uint8_t> bytes) { return toHex(bytes).substr(0, 12); }

std::optional<Digest> digestFromHex(std::string_view hex) {
  Digest digest{};
  if (hex.size() != 2 * digest.size())
    return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    char c = hex[i];
    int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0)
      return std::nullopt;
    digest[i / 2] = uint8_t(digest[i / 2] << 4 | value);
  }
  return digest;
}

} // namespace lorac
