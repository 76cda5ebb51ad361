//===- Container.h - header, metadata and segments, verified ----*- C++ -*-===//
// What model.lorac and adapter.lora share (schemas/Header.h, schemas/common.fbs); the
// writer's side is support/Container.h. All messages begin with `name`.
#ifndef LORAC_RUNTIME_FILES_CONTAINER_H
#define LORAC_RUNTIME_FILES_CONTAINER_H

#include "schemas/common_generated.h"
#include "support/Digest.h"
#include "support/Files.h"
#include "support/Status.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::container {

using Segments = flatbuffers::Vector<const fbs::Segment *>;

/// A file's metadata, decompressed, and where it lies in the file, compressed.
struct Metadata {
  std::vector<uint8_t> bytes;
  uint64_t offset;
};

/// Checks the header and the metadata's digest; the metadata. `kind` is "model file" or "bundle".
Result<Metadata> readMetadata(std::span<const uint8_t> bytes, const std::string &name, const char (&magic)[4],
                              std::string_view kind);

/// Checks where the segments, the first `codeSegments` of them of code, lie, from the header to the metadata
/// at `metadataOffset`, and that what lies between is zero.
Status checkLayout(std::span<const uint8_t> bytes, const std::string &name, uint64_t metadataOffset,
                   const Segments &segments, uint32_t codeSegments = 0);

/// Checks each segment's digest, several at a time; `done(i)` is told each from any thread.
Status checkDigests(std::span<const uint8_t> bytes, const std::string &name, const Segments &segments,
                    const std::function<void(size_t)> &done);

/// A FlatBuffers verifier over metadata. As many tables are allowed as there can be references to them, so
/// tables that share their parts cannot make it run for longer than the metadata is.
flatbuffers::Verifier metadataVerifier(std::span<const uint8_t> metadata);

/// Adds to the message of a CorruptFile what to do about it.
inline Status withRemedy(Status status) {
  if (status.code() == Code::CorruptFile)
    status << "; fetch the file again, or build it again";
  return status;
}

/// Bytes of a segment that checkLayout accepted.
inline std::span<const uint8_t> segmentBytes(std::span<const uint8_t> bytes, const fbs::Segment &segment) {
  return bytes.subspan(size_t(segment.offset()), size_t(segment.size()));
}

inline std::string_view view(const flatbuffers::String &text) { return {text.c_str(), text.size()}; }
inline Digest digestOf(const fbs::Hash &hash) {
  Digest digest;
  std::copy(hash.bytes()->begin(), hash.bytes()->end(), digest.begin());
  return digest;
}
/// FlatBuffers' verifier sees to it that a vector's length is aligned, not that elements wider than it are:
/// without this a made-up file has structs and 64-bit numbers read where the processor may not read them.
template <typename T> bool isAligned(const flatbuffers::Vector<T> &vector, size_t alignment = 8) {
  return vector.size() == 0 || reinterpret_cast<uintptr_t>(vector.Data()) % alignment == 0;
}
/// Elements of a vector that may be absent.
template <typename T> size_t sizeOf(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() : 0;
}

/// Names that are compared with each other have at most so many bytes: tables may share one, and each pays
/// for it.
constexpr size_t MaxNameBytes = 1024;
/// CorruptFile without the file's name where `name`, of a `what`, is longer.
Status checkName(std::string_view name, std::string_view what);

/// A name from a file for a message: in quotes, control characters as \xNN, cut where it is long.
std::string quoted(std::string_view name);
inline std::string quoted(const flatbuffers::String &name) { return quoted(view(name)); }

/// The first name that stands twice in a vector of tables with `name`, or nothing. Allocates 4 bytes an
/// element.
std::optional<std::string_view> firstDuplicate(size_t count,
                                               const std::function<std::string_view(size_t)> &nameOf);

} // namespace lorac::container

#endif // LORAC_RUNTIME_FILES_CONTAINER_H
