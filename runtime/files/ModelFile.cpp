#include "runtime/files/ModelFile.h"

#include "runtime/files/Container.h"
#include "runtime/files/ModelVerifier.h"
#include "schemas/Header.h"
#include "support/Compression.h"
#include "support/PackedModule.h"

#include <cstring>
#include <utility>

namespace lorac {

Result<std::shared_ptr<const ModelFile>> ModelFile::open(const std::string &path) {
  LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
  std::span<const uint8_t> bytes = file.bytes();
  Result<std::shared_ptr<const ModelFile>> result = verify(std::move(file), bytes, path);
  if (!result)
    return container::withRemedy(result.status());
  return result;
}

Result<std::shared_ptr<const ModelFile>> ModelFile::parse(std::span<const uint8_t> bytes,
                                                          const std::string &name) {
  Result<std::shared_ptr<const ModelFile>> result = verify(MappedFile(), bytes, name);
  if (!result)
    return container::withRemedy(result.status());
  return result;
}

/// What the segments of kernel code hold.
static Result<std::vector<std::vector<uint8_t>>>
readCode(const fbs::Model &root, std::span<const uint8_t> bytes, const std::string &name) {
  std::vector<std::vector<uint8_t>> codeSegments;
  uint64_t left = format::MaxCodeBytes;
  const uint32_t count = std::min(root.first_weight_segment(), root.segments()->size());
  for (uint32_t i = 0; i < count; ++i) {
    Result<std::vector<uint8_t>> code =
        decompress(container::segmentBytes(bytes, *root.segments()->Get(i)), left);
    if (!code)
      return Status(code.status().code())
             << name << ": segment " << i << ", of kernel code, " << code.status().message();
    left -= code->size();
    codeSegments.push_back(*std::move(code));
  }
  return codeSegments;
}

Result<std::shared_ptr<const ModelFile>> ModelFile::verify(MappedFile file, std::span<const uint8_t> bytes,
                                                           const std::string &name) {
  LORAC_ASSIGN(container::Metadata metadata,
               container::readMetadata(bytes, name, format::ModelMagic, "model file"));
  if (!hasBoundedNames(metadata.bytes))
    return Status(Code::CorruptFile) << name << ": a kernel names more than " << MaxPushConstants
                                     << " push constants";
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata.bytes);
  if (!fbs::VerifyModelBuffer(verifier))
    return Status(Code::CorruptFile) << name << ": metadata is no well-formed FlatBuffer of a model";
  const fbs::Model &root = *fbs::GetModel(metadata.bytes.data());
  const uint32_t firstWeight = root.first_weight_segment();
  LORAC_TRY(container::checkLayout(bytes, name, metadata.offset, *root.segments(), firstWeight));
  LORAC_TRY(container::checkDigests(bytes, name, *root.segments(), [&](size_t i) {
    if (i >= firstWeight) // what was hashed need not stay: a 70B model is read through little memory
      file.release(root.segments()->Get(uint32_t(i))->offset(), root.segments()->Get(uint32_t(i))->size());
  }));
  LORAC_ASSIGN(std::vector<std::vector<uint8_t>> codeSegments, readCode(root, bytes, name));
  LORAC_TRY(verifyModel(root, codeSegments, name));

  auto model = std::make_shared<ModelFile>();
  model->file = std::move(file);
  model->bytes = bytes;
  model->codeSegments = std::move(codeSegments);
  model->metadataBytes = std::move(metadata.bytes); // where `root` points stays where it is
  model->metadataOffset = metadata.offset;
  model->root = &root;
  model->filePath = name;
  return std::shared_ptr<const ModelFile>(std::move(model));
}

Digest ModelFile::fingerprint() const { return container::digestOf(*root->fingerprint()); }

std::span<const uint8_t> ModelFile::segment(size_t index) const {
  return container::segmentBytes(bytes, *root->segments()->Get(uint32_t(index)));
}

Result<std::vector<uint32_t>> ModelFile::code(const fbs::Variant &variant) const {
  std::vector<uint32_t> packed(variant.size() / sizeof(uint32_t));
  std::memcpy(packed.data(), codeSegments[variant.segment()].data() + variant.offset(), variant.size());
  return module::unpack(packed);
}

std::span<const uint8_t> ModelFile::mappedWeights() const {
  const auto &segments = *root->segments();
  const uint32_t first = root->first_weight_segment();
  if (file.bytes().empty() || first >= segments.size())
    return {};
  for (uint32_t i = first + 1; i < segments.size(); ++i)
    if (segments[i]->offset() != segments[i - 1]->offset() + segments[i - 1]->size())
      return {};
  return bytes.subspan(size_t(segments[first]->offset()));
}

size_t ModelFile::symbolIndex(std::string_view name) const {
  uint32_t index = 0;
  while (index < root->symbols()->size() && container::view(*root->symbols()->Get(index)->name()) != name)
    ++index;
  return index;
}

Status ModelFile::checkSizes(std::span<const uint64_t> symbols) const {
  return verifySizes(*root, symbols, filePath);
}

void ModelFile::releaseWeights() const {
  for (uint32_t i = root->first_weight_segment(); i < root->segments()->size(); ++i)
    file.release(root->segments()->Get(i)->offset(), root->segments()->Get(i)->size());
}

} // namespace lorac
