#include "support/Fingerprint.h"

#include <array>
#include <gtest/gtest.h>
#include <vector>

namespace lorac {
namespace {

Digest filled(uint8_t value) {
  Digest digest;
  digest.fill(value);
  return digest;
}

TEST(Fingerprint, IsTheDigestOfTheDocumentedBytes) {
  const std::array<uint64_t, 2> matrix = {3, 258};
  const std::array<uint64_t, 1> vector = {7};
  const std::vector<BaseTensorView> tensors = {{"b", vector, filled(0xbb)}, {"a.w", matrix, filled(0xaa)}};
  std::vector<uint8_t> bytes = {'a', '.', 'w', 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0};
  bytes.insert(bytes.end(), 32, 0xaa);
  bytes.insert(bytes.end(), {'b', 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0});
  bytes.insert(bytes.end(), 32, 0xbb);
  EXPECT_EQ(baseFingerprint(tensors), sha256(bytes));
  const std::vector<BaseTensorView> swapped = {tensors[1], tensors[0]};
  EXPECT_EQ(baseFingerprint(swapped), sha256(bytes)) << "the order given does not matter";
}

TEST(Fingerprint, ChangesWithEveryPart) {
  const std::array<uint64_t, 2> shape = {3, 4}, other = {4, 3};
  const Digest base = baseFingerprint(std::array{BaseTensorView{"a", shape, filled(1)}});
  EXPECT_NE(base, baseFingerprint(std::array{BaseTensorView{"b", shape, filled(1)}}));
  EXPECT_NE(base, baseFingerprint(std::array{BaseTensorView{"a", other, filled(1)}}));
  EXPECT_NE(base, baseFingerprint(std::array{BaseTensorView{"a", shape, filled(2)}}));
  EXPECT_NE(base, baseFingerprint({}));
}

} // namespace
} // namespace lorac
