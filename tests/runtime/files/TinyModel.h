//===- TinyModel.h - small files that load, open for edits ------*- C++ -*-===//
#ifndef LORAC_TESTS_RUNTIME_FILES_TINYMODEL_H
#define LORAC_TESTS_RUNTIME_FILES_TINYMODEL_H

#include "schemas/adapter_generated.h"
#include "schemas/model_generated.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lorac::test {

using Bytes = std::vector<uint8_t>;
using EditSegments = std::function<void(std::vector<fbs::Segment> &)>;

/// Writes the digest of header and metadata anew, after an edit of their bytes.
void sealHeader(Bytes &file);
/// What the metadata of a whole file decompresses to.
Bytes metadataOf(const Bytes &file);
/// Puts `metadata`, compressed, in the place of what begins where the header says; seals the header.
void replaceMetadata(Bytes &file, std::span<const uint8_t> metadata);
/// A model file of that metadata and no segments.
Bytes bareModelFile(std::span<const uint8_t> metadata);

/// A model file in parts. bytes() lays the segments out before the metadata and fills in offsets and digests;
/// everything else stands in the file as `model` has it, right or wrong.
struct TinyModel {
  fbs::ModelT model;
  std::vector<Bytes> segments;
  /// False: segments of kernel code stand in the file as they are here, not compressed.
  bool compressesCode = true;

  /// `edit` may change the segments' records after they were filled in.
  Bytes bytes(const EditSegments &edit = {});
  /// Puts the fingerprint of `model.base` in.
  void updateFingerprint();
};

/// A module as a file holds it (support/PackedModule.h), each word as it is. Ids outside functions there are
/// none.
std::vector<uint32_t> packPlainly(std::span<const uint32_t> words);

/// One block over a hidden size of 8 with all kernels of the catalog: 32 tokens, context 64, 16 rows,
/// programs "one" (1 row), "few" (2-8), "many" (9-16) and "one+", "few+", "many+" with adapters on. The code
/// is a SPIR-V header and nothing more; weights are f16 and f32 patterns. Sites "block.q", "block.k",
/// "block.v", "block.o".
TinyModel tinyModel();
/// The same with a chain of the first three dispatches of program "few", and a Run of all of it; `edit` may
/// change both.
TinyModel chainedModel(const std::function<void(fbs::ChainT &, fbs::CommandT &)> &edit = {});
/// The smallest useful file: one kernel, one program, no adapters, no tokenizer.
TinyModel minimalModel();

/// A bundle in parts.
struct TinyAdapter {
  fbs::AdapterT adapter;
  Bytes image;

  Bytes bytes(const EditSegments &edit = {});
};

/// For tinyModel(): "block.q" with rank 3, "block.o" with rank 8 and a bias (two rank tiles). Values follow
/// from `seed`.
TinyAdapter tinyAdapter(const std::string &name = "tiny", uint32_t seed = 1);

// ---- expressions
// -----------------------------------------------------------------------------------------------

using Terms = std::vector<fbs::ExprTerm>;
Terms constant(uint64_t value);
/// By its name in schemas/Symbols.def; tinyModel() lists the symbols in that order.
Terms symbol(const std::string &name);
Terms binary(fbs::ExprOp op, const Terms &a, const Terms &b);
inline Terms operator+(const Terms &a, const Terms &b) { return binary(fbs::ExprOp::Add, a, b); }
inline Terms operator*(const Terms &a, const Terms &b) { return binary(fbs::ExprOp::Mul, a, b); }
Terms ceilDiv(const Terms &a, const Terms &b);
/// The number of that expression in `model`, which gets it where it is new.
uint32_t expr(fbs::ModelT &model, const Terms &terms);
/// A view's fields: structs of FlatBuffers are not open for edits.
inline void setBuffer(fbs::View &view, uint32_t buffer) {
  view = fbs::View(buffer, view.offset(), view.size());
}
inline void setOffset(fbs::View &view, uint32_t offset) {
  view = fbs::View(view.buffer(), offset, view.size());
}
inline void setSize(fbs::View &view, uint32_t size) { view = fbs::View(view.buffer(), view.offset(), size); }

} // namespace lorac::test

#endif // LORAC_TESTS_RUNTIME_FILES_TINYMODEL_H
