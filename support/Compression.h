//===- Compression.h - Zstandard over libzstd -------------------*- C++ -*-===//
#ifndef LORAC_SUPPORT_COMPRESSION_H
#define LORAC_SUPPORT_COMPRESSION_H

#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac {

/// What a file is written with: slower levels gain nothing more on kernels' code or on metadata.
constexpr int BestCompression = 19;

/// `content` as one frame of Zstandard (RFC 8878) that says how long its content is and has a checksum of it.
/// The same bytes give the same frame, with one version of libzstd. OutOfMemory.
Result<std::vector<uint8_t>> compress(std::span<const uint8_t> content, int level = BestCompression);

/// The content of `frame`, which must be one such frame and nothing else. CorruptFile for anything else and
/// for content of more than `maximum` bytes, before any of it is made; OutOfMemory.
Result<std::vector<uint8_t>> decompress(std::span<const uint8_t> frame, uint64_t maximum);

} // namespace lorac

#endif // LORAC_SUPPORT_COMPRESSION_H
