//===- Untie.h - uses of a frozen weight, and a weight of its own for some of them --*- C++ -*-===//
#ifndef LORAC_COMPILER_PASSES_UNTIE_H
#define LORAC_COMPILER_PASSES_UNTIE_H

#include "dialect/lora/Lora.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"

namespace lorac {

/// One place that reads a matrix: a segment of a lora.linear, or the table of a lora.embed.
struct WeightUse {
  mlir::Operation *user = nullptr;
  unsigned segment = 0;  ///< of a lora.linear
  mlir::StringAttr site; ///< a segment's site; an embedding's is its table's name without ".weight"
};

/// The uses of each matrix by its symbol, in the order of the module. A matrix without a use is not listed.
using WeightUses = llvm::MapVector<mlir::StringAttr, llvm::SmallVector<WeightUse>>;
WeightUses findWeightUses(mlir::ModuleOp module);

/// The symbol's text without ".weight".
llvm::StringRef nameOf(lora::WeightOp weight);

/// A copy of `weight` right after it that `uses` (of one kind, at least one) read from now on. Its symbol is
/// the first use's site with ".weight", which is the name that an untied checkpoint has for it, made unique.
/// Source and digest stay those of `weight`.
lora::WeightOp untie(mlir::SymbolTable &symbols, lora::WeightOp weight, llvm::ArrayRef<WeightUse> uses);

/// The remark at `use` that `weight` is now `copy` there, with the bytes that the copy takes (at f16 while
/// undecided).
void remarkUntied(const WeightUse &use, lora::WeightOp weight, lora::WeightOp copy);

} // namespace lorac

#endif // LORAC_COMPILER_PASSES_UNTIE_H
