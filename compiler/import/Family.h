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

// Limits of a configuration. Tables are made from some of these before any tensor has been seen, so that a
// small file must not ask for a large one.
constexpr uint64_t kMaxModelConfigBytes = 16ull << 20; // of config.json and generation_config.json
constexpr uint64_t kMaxLayers = 4096;
constexpr uint64_t kMaxModelSize = (uint64_t(1) << 31) - 1; // of any size, so that a product of two fits
constexpr uint64_t kMaxModelWidth = uint64_t(1) << 20;      // of a row: hidden, inner, all heads together
constexpr uint64_t kMaxHeadSize = 4096;
constexpr size_t kMaxEndTokens = 256;
constexpr double kMaxRopeFrequency = 1e6; // radians a position; those of a scheme in use are at most 1
constexpr double kMaxNormEpsilon = 1.0;   // an infinite one, as f32, would make every row zero

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
