//===- Gather.cpp - rows whose logits nobody asks for leave a step early ---===//
// Of a prompt's rows mostly one gives logits. What each row computes by itself after the last attend is
// computed for the gathered rows alone.
#include "compiler/passes/Passes.h"
#include "dialect/lora/Lora.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/SetVector.h"

namespace lorac {

#define GEN_PASS_DEF_GATHERPASS
#include "compiler/passes/Passes.h.inc"

namespace {

using namespace mlir;

/// Whether every row of the results depends on the same row of the operands alone, and the results have no
/// use but to be gathered.
bool canWorkOnGathered(Operation *op) {
  return isa_and_nonnull<lora::RmsNormOp, lora::LinearOp, lora::MapOp>(op) &&
         llvm::all_of(op->getUsers(), llvm::IsaPred<lora::GatherRowsOp>);
}

struct GatherPass final : impl::GatherPassBase<GatherPass> {
  void runOnOperation() override {
    llvm::SetVector<Operation *> work;
    getOperation().walk([&](lora::GatherRowsOp gather) { work.insert(gather); });
    while (!work.empty()) {
      auto gather = cast<lora::GatherRowsOp>(work.pop_back_val());
      Operation *made = gather.getX().getDefiningOp();
      if (!canWorkOnGathered(made))
        continue;
      for (Operation *user : llvm::to_vector(made->getUsers())) {
        user->getResult(0).replaceAllUsesWith(user->getOperand(0));
        work.remove(user);
        user->erase();
      }
      for (OpOperand &operand : made->getOpOperands())
        operand.set(gathered(operand.get(), work));
      ++moved;
    }
  }

private:
  /// The gathered rows of `value`, once: right behind it, so that fuse finds a residual before the linear
  /// that takes it in.
  static Value gathered(Value value, llvm::SetVector<Operation *> &work) {
    for (Operation *user : value.getUsers())
      if (auto known = dyn_cast<lora::GatherRowsOp>(user)) {
        work.insert(known); // what kept it here may have moved
        return known;
      }
    OpBuilder builder(value.getContext());
    builder.setInsertionPointAfterValue(value);
    auto made = lora::GatherRowsOp::create(builder, value.getLoc(), value.getType(), value);
    work.insert(made);
    return made;
  }
};

} // namespace
} // namespace lorac
