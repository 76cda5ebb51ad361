//===- Header.h - the fixed 64 bytes at the start -------------*- C++ -*-===//
// offset  size  what
//      0     4  magic: "LRCM" (model) or "LRCA" (bundle)
//      4     4  header version, 2
//      8     4  required feature bits: a reader that knows not all of them refuses the file
//     12     4  optional feature bits: a reader may ignore those it does not know
//     16     8  offset of the metadata from the start of the file: where the last segment ends
//     24     8  size of the metadata as it lies there; the file ends with it
//     32    32  SHA-256 of header bytes [0, 32) followed by the metadata as it lies there
// All little-endian. Segments of a model's kernel code start at multiples of CodeAlignment, others at those
// of SegmentAlignment; bytes between are zero. The metadata is one frame of Zstandard: its tables, of
// programs above all, repeat each other. Being last it is written when all digests are known.
#ifndef LORAC_SCHEMAS_HEADER_H
#define LORAC_SCHEMAS_HEADER_H

#include <cstdint>
#include <cstring>

namespace lorac::format {

struct Header {
  char magic[4];
  uint32_t version;
  uint32_t requiredFeatures;
  uint32_t optionalFeatures;
  uint64_t metadataOffset;
  uint64_t metadataSize;
  uint8_t digest[32];
};
static_assert(sizeof(Header) == 64);

constexpr char ModelMagic[4] = {'L', 'R', 'C', 'M'};
constexpr char AdapterMagic[4] = {'L', 'R', 'C', 'A'};
constexpr uint32_t HeaderVersion = 2;
constexpr uint32_t ModelVersion = 3; ///< since its code is packed by opcodes
constexpr uint32_t AdapterVersion = 1;
constexpr uint64_t SegmentAlignment =
    4096; ///< whole pages, so that a device may read them where they are mapped
constexpr uint64_t CodeAlignment = 64;
/// Decompressed.
constexpr uint64_t MaxMetadataBytes = 64ull << 20;
/// Weight buffers start at multiples of this in the weight space, and so do all views.
constexpr uint64_t ViewAlignment = 256;
/// Weight segments are at most this long, so that a loader hashes in parallel.
constexpr uint64_t MaxWeightSegmentBytes = 16ull << 20;
/// What all segments of kernel code of a model hold, once they are decompressed.
constexpr uint64_t MaxCodeBytes = 32ull << 20;
constexpr uint32_t MaxRank = 1024;

} // namespace lorac::format

#endif // LORAC_SCHEMAS_HEADER_H
