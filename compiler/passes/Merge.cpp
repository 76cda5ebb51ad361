//===- Merge.cpp - fold static adapters into their frozen weights ----------===//
// A merged adapter costs nothing at run time. Folding before quantize keeps its update at full precision: the
// sum is made in f32 when the weight is written, and packed once.
#include "compiler/passes/Passes.h"
#include "compiler/passes/Untie.h"

#include "llvm/ADT/SetVector.h"

namespace lorac {
#define GEN_PASS_DEF_MERGEPASS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac

using namespace mlir;
using namespace lorac;

namespace {
/// The adapters at a use; empty where there are none.
ArrayAttr adaptersAt(const WeightUse &use) {
  auto linear = dyn_cast<lora::LinearOp>(use.user);
  return linear && linear.getAdapters() ? cast<ArrayAttr>((*linear.getAdapters())[use.segment])
                                        : ArrayAttr::get(use.user->getContext(), {});
}

/// What the adapters add to a weight, in their order. Scale 0 takes an adapter out, whatever its values are.
SmallVector<Attribute> foldsOf(SymbolTable &symbols, ArrayAttr adapters) {
  SmallVector<Attribute> folds;
  for (auto name : adapters.getAsRange<FlatSymbolRefAttr>()) {
    auto adapter = symbols.lookup<lora::AdapterOp>(name.getAttr());
    if (!adapter.getScale().isZero())
      folds.push_back(lora::FoldAttr::get(adapter.getContext(), adapter.getA(), adapter.getB(),
                                          adapter.getRank(), adapter.getScaleAttr()));
  }
  return folds;
}

/// Adds folds to those that the weight has.
void addFolds(lora::WeightOp weight, ArrayRef<Attribute> folds) {
  SmallVector<Attribute> all;
  if (weight.getFolds())
    llvm::append_range(all, *weight.getFolds());
  llvm::append_range(all, folds);
  weight.setFoldsAttr(ArrayAttr::get(weight.getContext(), all));
}

struct MergePass final : public lorac::impl::MergePassBase<MergePass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    WeightUses uses = findWeightUses(getOperation());
    for (auto &[name, users] : uses)
      foldInto(symbols, symbols.lookup<lora::WeightOp>(name), users);
    eraseMerged(symbols, uses);
  }

  /// One weight for each stack that is folded into it: the first keeps the symbol, or those without a stack
  /// do.
  void foldInto(SymbolTable &symbols, lora::WeightOp weight, ArrayRef<WeightUse> uses) {
    llvm::MapVector<Attribute, SmallVector<WeightUse>> byFolds;
    for (const WeightUse &use : uses) {
      SmallVector<Attribute> folds = foldsOf(symbols, adaptersAt(use));
      byFolds[ArrayAttr::get(&getContext(), folds)].push_back(use);
    }
    ArrayAttr none = ArrayAttr::get(&getContext(), {});
    Attribute keeper = byFolds.contains(none) ? Attribute(none) : byFolds.front().first;
    // The copies first: they start from the weight as it is.
    for (auto &[folds, users] : byFolds) {
      if (folds == keeper)
        continue;
      lora::WeightOp copy = untie(symbols, weight, users);
      remarkUntied(users.front(), weight, copy);
      ++untied;
      fold(copy, cast<ArrayAttr>(folds));
    }
    fold(weight, cast<ArrayAttr>(keeper));
  }

  void fold(lora::WeightOp weight, ArrayAttr folds) {
    if (folds.empty())
      return;
    addFolds(weight, folds.getValue());
    folded += folds.size();
  }

  /// Takes the adapters off the linears and out of the module.
  void eraseMerged(SymbolTable &symbols, const WeightUses &uses) {
    llvm::SetVector<Operation *> merged;
    for (auto &[name, users] : uses)
      for (const WeightUse &use : users)
        for (auto adapter : adaptersAt(use).getAsRange<FlatSymbolRefAttr>())
          merged.insert(symbols.lookup(adapter.getAttr()));
    for (auto &[name, users] : uses)
      for (const WeightUse &use : users)
        if (auto linear = dyn_cast<lora::LinearOp>(use.user))
          linear.removeAdaptersAttr();
    for (Operation *adapter : merged)
      symbols.erase(adapter);
    for (auto adapter : getOperation().getOps<lora::AdapterOp>())
      emitWarning(adapter.getLoc()) << "adapter @" << adapter.getSymName()
                                    << " is named by no site and is not merged";
  }
};
} // namespace
