//===- Stages.h - the passes after import, in order --------------*- C++ -*-===//
#ifndef LORAC_COMPILER_PASSES_STAGES_H
#define LORAC_COMPILER_PASSES_STAGES_H

#include "mlir/Pass/Pass.h"

#include <memory>

namespace lorac {

/// A stage is named as its pass is, without `lora-`.
struct Stage {
  llvm::StringRef name;
  std::unique_ptr<mlir::Pass> (*create)();
  bool skippable;
};

/// From the module that import made to a plan that emit can write.
llvm::ArrayRef<Stage> stages();

} // namespace lorac

#endif // LORAC_COMPILER_PASSES_STAGES_H
