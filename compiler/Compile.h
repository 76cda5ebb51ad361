//===- Compile.h - a checkpoint or a dump to model.lorac ---------*- C++ -*-===//
// The whole compiler behind one call; no MLIR in this header.
#ifndef LORAC_COMPILER_COMPILE_H
#define LORAC_COMPILER_COMPILE_H

#include "compiler/packed/Storage.h"
#include "support/Digest.h"
#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lorac {

namespace fbs {
struct Model;
} // namespace fbs

struct CompileOptions {
  std::string input;  ///< Hugging Face directory, .gguf, or .mlir (a dump of any stage)
  std::string output; ///< model.lorac
  /// `TYPE` or `SITE=TYPE`, in order. Not empty, it replaces the rules that a .mlir input holds.
  std::vector<std::string> quantize;
  std::optional<uint64_t> maxContext, maxRows; ///< likewise
  std::optional<std::string> cache; ///< how keys and values are kept: f32 (default) or f16; likewise
  /// Stages whose IR goes to `dump`, of stageNames().
  std::vector<std::string> dumpIrAfter;
  std::vector<std::string> skipPasses; ///< only fuse can be left out
  std::string kernelCache; ///< folder that keeps compiled kernels for the next compilation; empty: none
  std::function<void(const std::string &stage, const std::string &text)> dump;
  /// What of a long piece of work is done: its name, units done and units in all.
  std::function<void(const std::string &work, uint64_t done, uint64_t total)> progress;
};

/// What the compilation says of its result.
struct CompileReport {
  Digest fingerprint = {};
  uint64_t weightBytes = 0;
  uint64_t fileBytes = 0;
  uint64_t arenaPeakBytes =
      0; ///< of the largest program; what depends on a session's capacities comes on top
  uint64_t kernels = 0;
  uint64_t programs = 0;
  std::vector<packed::StorageRow> storage; ///< how matrices are stored, by role
  std::vector<std::string>
      remarks; ///< what passes had to say (a tied weight that became two and what it costs)
};

/// The stages in order, import first.
std::vector<std::string> stageNames();

/// Compiles; on an error nothing is written. The Status has the first error and further diagnostics as notes.
Status compileModel(const CompileOptions &options, CompileReport &report);

/// The programs of a model file, whose metadata the caller has verified, as text of the `plan` dialect.
std::string planText(const fbs::Model &model);

} // namespace lorac

#endif // LORAC_COMPILER_COMPILE_H
