//===- Container.h - header, metadata, segments: one writer -----*- C++ -*-===//
// model.lorac and adapter.lora differ in their magic and metadata alone; what lies around
// those (schemas/Header.h) is written here.
#ifndef LORAC_SUPPORT_CONTAINER_H
#define LORAC_SUPPORT_CONTAINER_H

#include "support/Digest.h"
#include "support/Files.h"
#include "support/Status.h"

#include <cstdint>
#include <functional>
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
///   ContainerWriter writer(file, format::ModelMagic, buildMetadata);   // file: an AtomicFile, nothing
///   written yet LORAC_TRY(writer.begin(segmentSizes));
///   ... LORAC_TRY(writer.append(bytes)); ...                            // all segments' bytes, back to back
///   LORAC_TRY(writer.finish());
///   LORAC_TRY(file.commit());
///
/// The metadata lies before the segments and holds their offsets and digests, so `buildMetadata` is called
/// three times: to learn its size, and with the offsets to see that it keeps its size, both in begin(); with
/// the digests in finish(). It must give the same number of bytes whatever the records' values are. A
/// FlatBuffer does, because Segment is a struct (the fields of a table would go away when they hold their
/// default).
class ContainerWriter {
public:
  using MetadataBuilder = std::function<std::vector<uint8_t>(std::span<const SegmentRecord>)>;

  ContainerWriter(AtomicFile &file, const char (&magic)[4], MetadataBuilder buildMetadata);

  /// Lays the segments out and reserves header and metadata. InvalidArgument where the metadata is too large.
  Status begin(std::span<const uint64_t> segmentSizes);
  /// The next bytes of the segments, in their order; one call may end a segment and begin the next.
  Status append(std::span<const uint8_t> bytes);
  /// `count` zero bytes, as append.
  Status appendZeros(uint64_t count);
  /// Bytes given so far, and bytes that all segments have.
  uint64_t appended() const { return given; }
  uint64_t expected() const { return total; }
  /// Writes metadata and header. Internal where bytes are missing. The caller commits the file.
  Status finish();
  /// The records, whole after finish().
  std::span<const SegmentRecord> segments() const { return records; }

private:
  Status closeFullSegments();

  AtomicFile &file;
  const char *magic;
  MetadataBuilder buildMetadata;
  std::vector<SegmentRecord> records;
  std::unique_ptr<Sha256> hash; // of the current segment
  size_t current = 0;
  uint64_t inCurrent = 0;
  uint64_t given = 0;
  uint64_t total = 0;
  uint64_t metadataSize = 0;
};

} // namespace lorac

#endif // LORAC_SUPPORT_CONTAINER_H
