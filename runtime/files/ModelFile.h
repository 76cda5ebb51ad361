//===- ModelFile.h - model.lorac, mapped and verified -----------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_MODELFILE_H
#define LORAC_RUNTIME_FILES_MODELFILE_H

#include "schemas/model_generated.h"
#include "support/Digest.h"
#include "support/Files.h"
#include "support/Status.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lorac {

/// A model file that passed every check: header, FlatBuffers' verifier, every offset, size, shape, enum,
/// index, expression (at the symbols' maxima) and digest. There is no unchecked way in. Immutable; share
/// freely between threads.
class ModelFile {
public:
  /// NotFound, Io, CorruptFile, Unsupported (a newer format), with the path in the message.
  static Result<std::shared_ptr<const ModelFile>> open(const std::string &path);
  /// The same checks over bytes, which must outlive the result; `name` stands in messages.
  static Result<std::shared_ptr<const ModelFile>> parse(std::span<const uint8_t> bytes,
                                                        const std::string &name);

  const fbs::Model &metadata() const { return *root; }
  const std::string &path() const { return filePath; }
  uint64_t fileBytes() const { return bytes.size(); }
  /// As the metadata lies in the file, compressed.
  uint64_t storedMetadataBytes() const { return bytes.size() - metadataOffset; }
  Digest fingerprint() const;
  std::span<const uint8_t> segment(size_t index) const;
  /// The code of a variant of this model, in words. CorruptFile, without the file's name.
  Result<std::vector<uint32_t>> code(const fbs::Variant &variant) const;
  /// Bytes [offset, offset + size) of the weight space (weight segments lie back to back in it, page-padded
  /// in the file): calls `visit` for each contiguous piece in order.
  template <typename Visitor> void weightBytes(uint64_t offset, uint64_t size, Visitor visit) const {
    const auto &segments = *root->segments();
    uint64_t start = 0;
    for (uint32_t i = root->first_weight_segment(); i < segments.size() && size > 0; ++i) {
      uint64_t length = segments[i]->size();
      if (offset < start + length) {
        uint64_t inside = offset - start;
        uint64_t piece = std::min(size, length - inside);
        visit(segment(i).subspan(inside, piece));
        offset += piece;
        size -= piece;
      }
      start += length;
    }
  }
  /// The mapped file from the weight space's first byte on, where the weight space lies in it in one piece
  /// (as our compiler writes it): byte x of the space is byte x here. Empty where it does not, or where bytes
  /// were parsed that this object does not hold.
  std::span<const uint8_t> mappedWeights() const;
  /// The number in Model.symbols of a symbol by name (always there).
  size_t symbolIndex(std::string_view name) const;
  /// Checks every buffer and view again for the load symbols that the model is opened with (`symbols[i]` for
  /// the file's symbol i; step symbols are taken at their maxima). At the maxima they fitted; with this they
  /// fit at these values too. InvalidArgument for a value above its maximum, CorruptFile where something does
  /// not fit.
  Status checkSizes(std::span<const uint64_t> symbols) const;
  /// Tells the kernel that the mapped weights are not needed for now.
  void releaseWeights() const;

private:
  static Result<std::shared_ptr<const ModelFile>> verify(MappedFile file, std::span<const uint8_t> bytes,
                                                         const std::string &name);

  MappedFile file;
  std::span<const uint8_t> bytes;
  std::vector<uint8_t> metadataBytes;
  uint64_t metadataOffset = 0;
  std::vector<std::vector<uint8_t>> codeSegments; ///< of each segment of kernel code, decompressed
  const fbs::Model *root = nullptr;
  std::string filePath;
};

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_MODELFILE_H
