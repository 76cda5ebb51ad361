//===- PlanMemory.cpp - lifetimes into one arena ---------------------------===//
// Gives every buffer its offset: weights side by side in their space, step tables side by
// side in theirs, and in the arena the same bytes to buffers that are never alive together.
// The peak is stored, so a runtime can refuse before it allocates.
#include "compiler/passes/Passes.h"
#include "dialect/plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"

namespace lorac {

#define GEN_PASS_DEF_PLANMEMORYPASS
#include "compiler/passes/Passes.h.inc"

namespace {

using namespace mlir;
using plan::BufferOp;
using plan::Expr;
using plan::Space;

constexpr uint64_t Alignment = 256; ///< format::ViewAlignment: every view starts at a multiple

uint64_t aligned(uint64_t value) { return (value + Alignment - 1) / Alignment * Alignment; }
Expr aligned(Expr value) {
  if (std::optional<uint64_t> constant = value.asConstant())
    return Expr::constant(value.get().getContext(), aligned(*constant));
  return value.ceilDiv(Alignment) * Alignment;
}

/// (Ops are handles whose accessors are not const.)
Expr sizeExpr(BufferOp buffer) { return Expr(buffer.getSize()); }

/// First and last command of the program that touches a buffer.
struct Lifetime {
  BufferOp buffer;
  size_t first = 0, last = 0;
  bool overlaps(const Lifetime &other) const { return first <= other.last && other.first <= last; }
};

SmallVector<Lifetime> arenaLifetimes(plan::ProgramOp program) {
  llvm::MapVector<StringRef, Lifetime> lifetimes;
  for (BufferOp buffer : program.getBody().front().getOps<BufferOp>())
    if (buffer.spaceKind() == Space::Arena)
      lifetimes.insert({buffer.getSymName(), {buffer, SIZE_MAX, 0}});
  size_t position = 0;
  for (plan::DispatchOp dispatch : program.getBody().front().getOps<plan::DispatchOp>()) {
    for (auto view : dispatch.getViews().getAsRange<plan::ViewAttr>())
      if (auto found = lifetimes.find(view.getBuffer().getValue()); found != lifetimes.end()) {
        found->second.first = std::min(found->second.first, position);
        found->second.last = position;
      }
    ++position;
  }
  SmallVector<Lifetime> result;
  for (auto &[name, lifetime] : lifetimes)
    if (lifetime.first != SIZE_MAX) // one that nothing touches needs no bytes
      result.push_back(lifetime);
    else
      result.push_back({lifetime.buffer, 0, 0});
  return result;
}

struct PlanMemoryPass final : impl::PlanMemoryPassBase<PlanMemoryPass> {
  void runOnOperation() override {
    uint64_t weightOffset = 0;
    for (plan::WeightsOp weights : getOperation().getOps<plan::WeightsOp>()) {
      weights.setOffset(weightOffset);
      weightOffset = aligned(weightOffset + weights.getSize());
    }
    for (plan::ProgramOp program : getOperation().getOps<plan::ProgramOp>()) {
      placeStepTables(program);
      placeArena(program);
    }
  }

private:
  void placeStepTables(plan::ProgramOp program) {
    Expr offset = Expr::constant(&getContext(), 0);
    for (BufferOp buffer : program.getBody().front().getOps<BufferOp>())
      if (buffer.spaceKind() == Space::Step) {
        buffer.setOffsetAttr(offset.get());
        offset = offset + aligned(Expr(buffer.getSize()));
      }
  }

  /// Buffers of known size by falling size into the lowest gap that no living buffer takes; then those whose
  /// size is a symbol's, each behind all that live with it.
  void placeArena(plan::ProgramOp program) {
    SmallVector<Lifetime> lifetimes = arenaLifetimes(program);
    SmallVector<Lifetime> known, symbolic;
    for (const Lifetime &lifetime : lifetimes)
      (sizeExpr(lifetime.buffer).asConstant() ? known : symbolic).push_back(lifetime);
    auto sizeOf = [](const Lifetime &lifetime) { return *sizeExpr(lifetime.buffer).asConstant(); };
    llvm::stable_sort(known, [&](const Lifetime &a, const Lifetime &b) { return sizeOf(a) > sizeOf(b); });

    struct Placed {
      Lifetime lifetime;
      uint64_t offset, size;
    };
    SmallVector<Placed> placed; // by rising offset
    uint64_t peak = 0;
    for (const Lifetime &lifetime : known) {
      uint64_t offset = 0, size = aligned(sizeOf(lifetime));
      for (const Placed &other : placed)
        if (other.lifetime.overlaps(lifetime) && offset < other.offset + other.size &&
            other.offset < offset + size)
          offset = other.offset + other.size;
      auto after = llvm::upper_bound(
          placed, offset, [](uint64_t value, const Placed &other) { return value < other.offset; });
      placed.insert(after, {lifetime, offset, size});
      lifetime.buffer->setAttr("offset", Expr::constant(&getContext(), offset).get());
      peak = std::max(peak, offset + size);
      planned += size;
    }
    program.setArenaPeakAttr(OpBuilder(&getContext()).getI64IntegerAttr(int64_t(peak)));

    // Symbol-sized buffers: the first slot that is free during the lifetime; slots lie one behind the other
    // and are as large as the largest they hold.
    struct Slot {
      Expr size;
      SmallVector<Lifetime> held;
    };
    SmallVector<Slot> slots;
    SmallVector<size_t> slotOf;
    for (const Lifetime &lifetime : symbolic) {
      size_t index = 0;
      while (index < slots.size() &&
             llvm::any_of(slots[index].held, [&](const Lifetime &other) { return other.overlaps(lifetime); }))
        ++index;
      Expr size = aligned(sizeExpr(lifetime.buffer));
      if (index == slots.size())
        slots.push_back({size, {}});
      else if (!contains(slots[index], size))
        slots[index].size = slots[index].size.max(size);
      slots[index].held.push_back(lifetime);
      slotOf.push_back(index);
    }
    SmallVector<Expr> starts{Expr::constant(&getContext(), peak)};
    for (const Slot &slot : slots)
      starts.push_back(starts.back() + slot.size);
    for (auto [lifetime, index] : llvm::zip(symbolic, slotOf))
      lifetime.buffer->setAttr("offset", starts[index].get());
  }

  template <typename Slot> static bool contains(const Slot &slot, Expr size) {
    return llvm::any_of(
        slot.held, [&](const Lifetime &held) { return aligned(sizeExpr(held.buffer)).get() == size.get(); });
  }
};

} // namespace
} // namespace lorac
