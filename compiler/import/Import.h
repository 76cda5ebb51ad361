//===- Import.h - a checkpoint becomes a module of the lora dialect -*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_IMPORT_H
#define LORAC_COMPILER_IMPORT_IMPORT_H

#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mlir {
class ModuleOp;
} // namespace mlir

namespace lorac {

/// Rows that one step may be compiled for.
constexpr uint64_t kMaxStepRows = 4096;

/// What the compilation was asked for; it stands in lora.model, so that a dump compiles to the same file.
struct ImportOptions {
  std::vector<std::string> quantize; // `TYPE` or `SITE=TYPE`, in order
  std::optional<uint64_t> maxContext;
  std::optional<uint64_t> maxRows;
  unsigned threads = 2; // for the digests
};

/// Values read so far and in all: digests take most of the time.
using ImportProgress = std::function<void(uint64_t done, uint64_t total)>;

/// Reads `path` (a Hugging Face directory or a .gguf file) into `module`, which must be empty: lora.model,
/// lora.tokenizer where there is one, a lora.weight for every tensor with the digest of its values, rope
/// tables and the lora.step. Every linear is a lora.linear of its own whose site has the name of the Hugging
/// Face module and is open to adapters. Weights have no packed type yet. File names in the module are
/// absolute. On an error the module is left empty. The lora, arith and math dialects are loaded into the
/// module's context. Warnings go to the context's diagnostics.
Status importCheckpoint(mlir::ModuleOp module, const std::string &path, const ImportOptions &options,
                        const ImportProgress &progress = {});

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_IMPORT_H
