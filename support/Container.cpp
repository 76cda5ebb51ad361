#include "support/Container.h"

#include "schemas/Header.h"
#include "support/Checked.h"
#include "support/Compression.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <utility>

namespace lorac {

static_assert(std::endian::native == std::endian::little, "headers are written as they lie in memory");

ContainerWriter::ContainerWriter(AtomicFile &file, const char (&magic)[4]) : file(file), magic(magic) {}

Status ContainerWriter::begin(std::span<const uint64_t> segmentSizes, size_t codeSegments) {
  if (file.position() != 0)
    return Status(Code::Internal) << "a container begins once, at the start of its file";
  records.resize(segmentSizes.size());
  uint64_t end = sizeof(format::Header);
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].size = segmentSizes[i];
    records[i].offset = roundUp(end, i < codeSegments ? format::CodeAlignment : format::SegmentAlignment);
    std::optional<uint64_t> next = checkedAdd(records[i].offset, records[i].size);
    if (!next || *next > uint64_t(INT64_MAX) - format::SegmentAlignment)
      return Status(Code::InvalidArgument) << "the segments would have more bytes than a file can";
    end = *next;
    total += records[i].size;
  }

  // The header comes last; until then its place is zero, and no reader takes the file for whole.
  static constexpr uint8_t Zeros[sizeof(format::Header)] = {};
  LORAC_TRY(file.write(Zeros));
  LORAC_TRY(openSegment());
  hash = std::make_unique<Sha256>();
  return closeFullSegments();
}

/// Zeros up to where the current segment starts, if there is one more: no multiple of that lies between.
Status ContainerWriter::openSegment() {
  return current < records.size() ? file.padTo(records[current].offset) : Status::ok();
}

/// Ends the current segment where it is full, and those of size 0 after it.
Status ContainerWriter::closeFullSegments() {
  while (current < records.size() && inCurrent == records[current].size) {
    records[current].hash = hash->finish();
    hash = std::make_unique<Sha256>();
    inCurrent = 0;
    ++current;
    LORAC_TRY(openSegment());
  }
  return Status::ok();
}

Status ContainerWriter::append(std::span<const uint8_t> bytes) {
  if (bytes.size() > total - given)
    return Status(Code::Internal) << bytes.size() << " bytes given where the segments take " << total - given
                                  << " more";
  while (!bytes.empty()) {
    uint64_t piece = std::min<uint64_t>(bytes.size(), records[current].size - inCurrent);
    std::span<const uint8_t> front = bytes.first(size_t(piece));
    hash->update(front.data(), front.size());
    LORAC_TRY(file.write(front));
    inCurrent += piece;
    given += piece;
    bytes = bytes.subspan(size_t(piece));
    LORAC_TRY(closeFullSegments());
  }
  return Status::ok();
}

Status ContainerWriter::appendZeros(uint64_t count) {
  static constexpr uint8_t Zeros[4096] = {};
  while (count > 0) {
    uint64_t piece = std::min<uint64_t>(count, sizeof(Zeros));
    LORAC_TRY(append({Zeros, size_t(piece)}));
    count -= piece;
  }
  return Status::ok();
}

Status ContainerWriter::finish(std::span<const uint8_t> metadata) {
  if (file.position() == 0 || given != total)
    return Status(Code::Internal) << "the segments take " << total << " bytes, " << given << " were given";
  if (metadata.empty() || metadata.size() > format::MaxMetadataBytes)
    return Status(Code::InvalidArgument) << "the metadata would have " << metadata.size()
                                         << " bytes, a file holds 1 to " << format::MaxMetadataBytes;
  LORAC_ASSIGN(std::vector<uint8_t> frame, compress(metadata));

  format::Header header = {};
  std::copy_n(magic, sizeof(header.magic), header.magic);
  header.version = format::HeaderVersion;
  header.metadataOffset = file.position();
  header.metadataSize = frame.size();
  Sha256 digest;
  digest.update(&header, offsetof(format::Header, digest));
  digest.update(frame.data(), frame.size());
  Digest value = digest.finish();
  std::copy(value.begin(), value.end(), header.digest);

  LORAC_TRY(file.write(frame));
  return file.writeAt(0, {reinterpret_cast<const uint8_t *>(&header), sizeof(header)});
}

} // namespace lorac
