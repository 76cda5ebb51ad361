//===- Barriers.cpp - where a dispatch must wait for those before ----------===//
// Inserted from the access modes of the views: a dispatch that reads what was written since the
// last barrier, or writes what was read or written since, waits.
#include "compiler/passes/Passes.h"
#include "dialect/plan/Plan.h"

#include "mlir/IR/Builders.h"

namespace lorac {

#define GEN_PASS_DEF_BARRIERSPASS
#include "compiler/passes/Passes.h.inc"

namespace {

using namespace mlir;

/// Bytes of a space: [begin, end) where both are known, else all of it.
struct Range {
  StringRef space;
  std::optional<uint64_t> begin, end;
  bool overlaps(const Range &other) const {
    if (space != other.space)
      return false;
    if (!begin || !other.begin)
      return true;
    return (!other.end || *begin < *other.end) && (!end || *other.begin < *end);
  }
};

struct BarriersPass final : impl::BarriersPassBase<BarriersPass> {
  void runOnOperation() override {
    for (plan::ProgramOp program : getOperation().getOps<plan::ProgramOp>())
      insertBarriers(program);
  }

private:
  void insertBarriers(plan::ProgramOp program) {
    for (plan::BarrierOp old : llvm::to_vector(program.getBody().front().getOps<plan::BarrierOp>()))
      old.erase();
    for (plan::RunOp old : llvm::to_vector(program.getBody().front().getOps<plan::RunOp>()))
      old.erase(); // a chain's links and their barriers: the chain pass makes them anew
    SmallVector<Range> reads, writes;
    auto conflicts = [](const SmallVector<Range> &ranges, const Range &range) {
      return llvm::any_of(ranges, [&](const Range &other) { return other.overlaps(range); });
    };
    for (plan::DispatchOp dispatch : program.getBody().front().getOps<plan::DispatchOp>()) {
      SmallVector<std::pair<Range, plan::Access>> uses;
      for (auto view : dispatch.getViews().getAsRange<plan::ViewAttr>())
        if (std::optional<Range> range = rangeOf(program, view))
          uses.push_back({*range, view.getAccess()});
      bool wait = llvm::any_of(uses, [&](const auto &use) {
        return conflicts(writes, use.first) ||
               (use.second == plan::Access::Write && conflicts(reads, use.first));
      });
      if (wait) {
        OpBuilder builder(dispatch);
        plan::BarrierOp::create(builder, dispatch.getLoc());
        ++inserted;
        reads.clear();
        writes.clear();
      }
      for (const auto &[range, access] : uses)
        (access == plan::Access::Write ? writes : reads).push_back(range);
    }
  }

  /// Nothing for weights and step tables, which no dispatch writes.
  std::optional<Range> rangeOf(plan::ProgramOp program, plan::ViewAttr view) {
    auto buffer = dyn_cast_or_null<plan::BufferOp>(SymbolTable::lookupSymbolIn(program, view.getBuffer()));
    if (!buffer || buffer.spaceKind() == plan::Space::Step || buffer.spaceKind() == plan::Space::Pool)
      return std::nullopt;
    Range range{buffer.getSpace(), std::nullopt, std::nullopt};
    if (buffer.spaceKind() == plan::Space::Cache) // a buffer a layer, side by side: its name tells them apart
      return Range{buffer.getSymName(), 0, std::nullopt};
    if (!buffer.getOffset())
      return range;
    std::optional<uint64_t> start = plan::Expr(*buffer.getOffset()).asConstant();
    std::optional<uint64_t> offset = plan::Expr(view.getOffset()).asConstant();
    if (!start || !offset)
      return range;
    range.begin = *start + *offset;
    if (std::optional<uint64_t> size = plan::Expr(view.getSize()).asConstant())
      range.end = *range.begin + *size;
    return range;
  }
};

} // namespace
} // namespace lorac
