//===- Container.h - header, metadata, segments: one writer -----*- C++ -*-===//
// model.lorac and adapter.lora differ in their magic and metadata alone; what lies around
// those (schemas/Header.h) is written here.
#ifndef LORAC_SUPPORT_CONTAINER_H
#define LORAC_SUPPORT_CONTAINER_H

#include "support/Digest.h"
#include "support/Files.h"
#include "support/Status.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lorac {

/// A segment as the metadata lists it (fbs::Segment).
struct SegmentRecord {
  uint64_t offset = 0;
  uint64_t size = 0;
  Digest hash = {};
};

/// Writes a container in one pass over its segments, which need not fit in memory:
///
///   ContainerWriter writer(file, format::ModelMagic);         // file: an AtomicFile, nothing written yet
///   LORAC_TRY(writer.begin(segmentSizes));
///   ... LORAC_TRY(writer.append(bytes)); ...                   // all segments' bytes, back to back
///   LORAC_TRY(writer.finish(metadataOf(writer.segments())));   // which names their offsets and digests
///   LORAC_TRY(file.commit());
class ContainerWriter {
public:
  ContainerWriter(AtomicFile &file, const char (&magic)[4]);

  /// Lays the segments out, the first `codeSegments` of them of code, and reserves the header.
  /// InvalidArgument where no file is large enough.
  Status begin(std::span<const uint64_t> segmentSizes, size_t codeSegments = 0);
  /// The next bytes of the segments, in their order; one call may end a segment and begin the next.
  Status append(std::span<const uint8_t> bytes);
  /// `count` zero bytes, as append.
  Status appendZeros(uint64_t count);
  /// Bytes given so far, and bytes that all segments have.
  uint64_t appended() const { return given; }
  uint64_t expected() const { return total; }
  /// Writes `metadata`, compressed, and the header. Internal where bytes are missing, InvalidArgument where
  /// the metadata is too large. The caller commits the file.
  Status finish(std::span<const uint8_t> metadata);
  /// The records; whole once all bytes were given.
  std::span<const SegmentRecord> segments() const { return records; }

private:
  Status openSegment();
  Status closeFullSegments();

  AtomicFile &file;
  const char *magic;
  std::vector<SegmentRecord> records;
  std::unique_ptr<Sha256> hash; // of the current segment
  size_t current = 0;
  uint64_t inCurrent = 0;
  uint64_t given = 0;
  uint64_t total = 0;
};

} // namespace lorac

#endif // LORAC_SUPPORT_CONTAINER_H
