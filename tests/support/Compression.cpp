#include "support/Compression.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>

namespace lorac {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes bytesOf(const std::string &text) { return Bytes(text.begin(), text.end()); }

/// By hand after RFC 8878: magic, one segment of `size` bytes (8-bit field), one last block of `text` as it
/// is.
Bytes rawFrame(const std::string &text, uint8_t size) {
  Bytes frame = {0x28, 0xb5, 0x2f, 0xfd, 0x20, size, uint8_t(text.size() << 3 | 1), 0, 0};
  std::copy(text.begin(), text.end(), std::back_inserter(frame));
  return frame;
}

void expectCorrupt(const Bytes &frame, const std::string &sentence, uint64_t maximum = 1 << 20) {
  Result<Bytes> content = decompress(frame, maximum);
  ASSERT_FALSE(content);
  EXPECT_EQ(content.status().code(), Code::CorruptFile);
  EXPECT_NE(content.status().message().find(sentence), std::string::npos) << content.status().message();
}

TEST(Compression, ReadsAFrameThatTheSpecificationDescribes) {
  EXPECT_EQ(*decompress(rawFrame("lorac", 5), 5), bytesOf("lorac"));
}

TEST(Compression, GivesBackWhatWasCompressed) {
  Bytes content;
  for (uint32_t i = 0; i < 300000; ++i)
    content.push_back(uint8_t((i * i) >> (i % 13)));
  for (size_t size : {size_t(0), size_t(1), content.size()}) {
    Bytes part(content.begin(), content.begin() + ptrdiff_t(size));
    EXPECT_EQ(*decompress(*compress(part), size), part) << size;
  }
  Bytes alike(1 << 20, 7);
  EXPECT_LT(compress(alike)->size(), 1000u);
}

TEST(Compression, RefusesContentAboveTheMaximum) {
  Bytes frame = *compress(Bytes(1000, 7));
  EXPECT_TRUE(decompress(frame, 1000));
  expectCorrupt(frame, "decompresses to 1000 bytes, at most 999 are allowed", 999);
  expectCorrupt({0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0},
                "decompresses to 1152921504606846976 bytes");
}

TEST(Compression, RefusesWhatIsNotOneFrame) {
  Bytes frame = *compress(bytesOf("what is not one frame"));
  expectCorrupt({}, "no frame of Zstandard");
  expectCorrupt(bytesOf("LRCM, and more"), "no frame of Zstandard");
  expectCorrupt({0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 1, 0, 0}, "does not say how long its content is");
  Bytes longer = frame;
  longer.push_back(0);
  expectCorrupt(longer, "not one whole frame");
  Bytes twice = frame;
  std::copy(frame.begin(), frame.end(), std::back_inserter(twice));
  expectCorrupt(twice, "not one whole frame");
  frame.pop_back();
  expectCorrupt(frame, "not one whole frame");
}

TEST(Compression, RefusesChangedContent) {
  Bytes frame = *compress(bytesOf("changed content is seen by its checksum"));
  frame[12] ^= 1;
  expectCorrupt(frame, "cannot be decompressed");
  expectCorrupt(rawFrame("lorac", 6), "cannot be decompressed");
}

} // namespace
} // namespace lorac
