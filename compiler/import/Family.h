//===- Family.h - what a model family makes of a checkpoint -----*- C++ -*-===//
// A family is a file beside this one: it reads the configuration, says which tensors there must be, and
// writes the step.
#ifndef LORAC_COMPILER_IMPORT_FAMILY_H
#define LORAC_COMPILER_IMPORT_FAMILY_H

#include "compiler/import/Gguf.h"
#include "compiler/import/Json.h"
#include "compiler/import/Safetensors.h"
#include "compiler/import/TensorSource.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mlir {
class OpBuilder;
} // namespace mlir

namespace lorac {

/// A tensor of the checkpoint under its Hugging Face name.
struct ImportedTensor {
  std::string name;
  std::vector<uint64_t> shape; // Hugging Face's; location holds it as a matrix
  TensorLocation location;
  /// Where not empty: the tensor is a copy of that one and stands for nothing of its own. Its values must be
  /// the same.
  std::string copyOf;
};

struct ImportedModel {
  std::string architecture;
  uint64_t vocab = 0;
  uint64_t maxPositions = 0;
  std::vector<ImportedTensor> tensors;
  /// Writes rope tables and the lora.step at the builder's place; the weights stand in the module already.
  std::function<void(mlir::OpBuilder &builder)> buildStep;
};

/// A checkpoint in Hugging Face's layout, opened.
struct HuggingFaceCheckpoint {
  std::string configPath;
  JsonValue config;
  SafetensorsTable tensors;
};

/// Llama.cpp: model_type "llama" and GGUF architecture "llama".
Result<ImportedModel> readLlama(const HuggingFaceCheckpoint &checkpoint);
Result<ImportedModel> readLlama(FileCache &files, const GgufFile &gguf);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_FAMILY_H
