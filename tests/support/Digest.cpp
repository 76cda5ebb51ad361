#include "support/Digest.h"

#include <gtest/gtest.h>
#include <vector>

namespace lorac {
namespace {

std::string hexOf(std::string_view text) {
  return toHex(sha256({reinterpret_cast<const uint8_t *>(text.data()), text.size()}));
}

// The examples that NIST publishes with FIPS 180.
TEST(Digest, Vectors) {
  EXPECT_EQ(hexOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hexOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hexOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hexOf(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, PiecesGiveTheSame) {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 300; ++i)
    bytes.push_back(uint8_t(i * 7));
  for (size_t cut = 0; cut <= bytes.size(); cut += 13) {
    Sha256 hash;
    hash.update(bytes.data(), cut);
    hash.update(bytes.data() + cut, bytes.size() - cut);
    EXPECT_EQ(hash.finish(), sha256(bytes)) << cut;
  }
}

TEST(Digest, Hex) {
  const Digest digest = sha256({});
  EXPECT_EQ(shortHex(digest), "e3b0c44298fc");
  EXPECT_EQ(digestFromHex(toHex(digest)), digest);
  EXPECT_FALSE(digestFromHex("e3b0"));
  EXPECT_FALSE(digestFromHex(std::string(63, 'a') + "g"));
  EXPECT_FALSE(digestFromHex(std::string(63, 'a') + "A")); // one way to write it
  EXPECT_FALSE(digestFromHex(std::string(66, 'a')));
}

} // namespace
} // namespace lorac
