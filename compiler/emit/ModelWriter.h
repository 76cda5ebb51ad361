//===- ModelWriter.h - a plan to model.lorac ---------------------*- C++ -*-===//
#ifndef LORAC_COMPILER_EMIT_MODELWRITER_H
#define LORAC_COMPILER_EMIT_MODELWRITER_H

#include "compiler/kernels/KernelCache.h"
#include "compiler/packed/Storage.h"
#include "support/Digest.h"

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace lorac {

/// What of a long piece of work is done: its name, units done and units in all.
using Progress = std::function<void(const std::string &work, uint64_t done, uint64_t total)>;

/// What emit wrote.
struct ModelSummary {
  Digest fingerprint = {};
  uint64_t weightBytes = 0;
  uint64_t fileBytes = 0;
  uint64_t arenaPeakBytes = 0; ///< the largest program's, without what depends on the session's capacities
  uint64_t kernels = 0;
  uint64_t programs = 0;
  std::vector<packed::StoredMatrix> matrices; ///< in the file's order
};

/// For a module that was read from text: checks that the files still hold the values whose digests stand in
/// it.
llvm::LogicalResult verifySources(mlir::ModuleOp module, const Progress &progress);

/// Serialises a module after plan-memory and barriers: compiles its kernels, reads, folds, packs and writes
/// one tensor at a time. Nothing but the module decides what is written
/// (the cache of kernels only saves time). Errors are diagnostics at the op
/// concerned; the file appears whole or not at all.
llvm::FailureOr<ModelSummary> writeModel(mlir::ModuleOp module, const std::string &path,
                                         const Progress &progress, const KernelCache *cache = nullptr);

} // namespace lorac

#endif // LORAC_COMPILER_EMIT_MODELWRITER_H
