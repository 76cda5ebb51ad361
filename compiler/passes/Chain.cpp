//===- Chain.cpp - what repeats in a program as chains ----------------------===//
// A program's dispatches as a text of kernels and waits; the stretch of it that repeats is found by comparing
// it with itself, shifted by the period.
#include "compiler/passes/Passes.h"
#include "dialect/plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"

namespace lorac {

#define GEN_PASS_DEF_CHAINPASS
#include "compiler/passes/Passes.h.inc"

namespace {

using namespace mlir;

/// Code grows with the links, and each takes its bindings.
constexpr size_t MaxLinks = 16;
/// Of a program's steps: with more, a dispatch is so long that handing it over is nothing.
constexpr uint64_t MaxRows = 8;

/// A dispatch as a chain sees it.
struct Link {
  Operation *dispatch = nullptr;
  Attribute kernel; ///< its symbol; null: a command that no chain runs
  bool waits = false;
  unsigned commands = 1; ///< with the barriers before it
  bool isOf(const Link &other) const { return kernel && kernel == other.kernel; }
  /// Whether a chain that has the one serves the other.
  bool operator==(const Link &other) const { return isOf(other) && waits == other.waits; }
};

SmallVector<Link> linksOf(plan::ProgramOp program) {
  SmallVector<Link> links;
  Link next;
  for (Operation &op : program.getBody().front()) {
    if (isa<plan::BufferOp>(op))
      continue;
    if (isa<plan::BarrierOp>(op)) {
      next.waits = true;
      ++next.commands;
      continue;
    }
    next.dispatch = &op;
    if (auto dispatch = dyn_cast<plan::DispatchOp>(op))
      next.kernel = dispatch.getKernelAttr();
    links.push_back(next);
    next = {};
  }
  return links;
}

/// Periods [first, first + period), ... of a program's links.
struct Stretch {
  size_t first = 0, period = 0, repeats = 0;
  size_t covered() const { return period * repeats; }
};

/// The stretch that covers most; of those that cover as much the one of the shortest period, and the first of
/// these. It repeats, or is empty.
Stretch bestStretch(ArrayRef<Link> links) {
  Stretch best;
  for (size_t period = 2; period <= MaxLinks; ++period) {
    size_t equal = 0; // links up to here that are equal to those a period before
    for (size_t i = period; i < links.size(); ++i) {
      equal = links[i] == links[i - period] ? equal + 1 : 0;
      Stretch found{i + 1 - equal - period, period, equal / period + 1};
      if (found.repeats > 1 && found.covered() > best.covered())
        best = found;
    }
  }
  return best;
}

/// The links of a chain, from number `first` on, that `links` begin with.
size_t matching(ArrayRef<Link> links, ArrayRef<Link> chain, size_t first) {
  size_t count = 0;
  // The barrier before the first stands before the run.
  while (count < links.size() && first + count < chain.size() &&
         (count == 0 ? links[0].isOf(chain[first]) : links[count] == chain[first + count]))
    ++count;
  return count;
}

struct ChainPass final : impl::ChainPassBase<ChainPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    chains.clear();
    for (plan::ProgramOp program : llvm::to_vector(module.getOps<plan::ProgramOp>())) {
      for (plan::RunOp old : llvm::to_vector(program.getBody().front().getOps<plan::RunOp>()))
        old.erase();
      if (program.getRowsMax() <= MaxRows)
        markRuns(linksOf(program));
    }
    for (plan::ChainOp old : llvm::to_vector(module.getOps<plan::ChainOp>()))
      old.erase();
    auto programs = module.getOps<plan::ProgramOp>();
    if (programs.empty())
      return;
    OpBuilder builder(*programs.begin());
    for (const auto &[content, name] : chains)
      plan::ChainOp::create(builder, module.getLoc(), name, cast<ArrayAttr>(content.first),
                            cast<DenseBoolArrayAttr>(content.second));
  }

private:
  void markRuns(ArrayRef<Link> links) {
    const Stretch stretch = bestStretch(links);
    if (stretch.repeats == 0)
      return;
    const ArrayRef<Link> chain = links.slice(stretch.first, stretch.period);
    const std::string name = nameOf(chain);
    for (size_t i = 0; i < stretch.repeats; ++i)
      mark(name, 0, links.slice(stretch.first + i * stretch.period, stretch.period));
    markParts(name, chain, links.take_front(stretch.first));
    markParts(name, chain, links.drop_front(stretch.first + stretch.covered()));
  }

  /// The longest parts of a chain that `links` hold, from the first on.
  void markParts(StringRef name, ArrayRef<Link> chain, ArrayRef<Link> links) {
    while (!links.empty()) {
      size_t best = 0, most = 0;
      for (size_t first = 0; first < chain.size(); ++first)
        if (size_t count = matching(links, chain, first); count > most) {
          best = first;
          most = count;
        }
      if (most > 0)
        mark(name, best, links.take_front(most));
      links = links.drop_front(std::max<size_t>(most, 1));
    }
  }

  std::string nameOf(ArrayRef<Link> links) {
    SmallVector<Attribute> kernels;
    SmallVector<bool> waits;
    for (const Link &link : links) {
      waits.push_back(!kernels.empty() && link.waits);
      kernels.push_back(link.kernel);
    }
    MLIRContext *context = &getContext();
    auto [chain, isNew] =
        chains.insert({{ArrayAttr::get(context, kernels), DenseBoolArrayAttr::get(context, waits)}, {}});
    if (isNew)
      chain->second = "chain_" + std::to_string(chains.size() - 1);
    return chain->second;
  }

  /// A run before the first of some links, which are those of the chain from number `first` on.
  void mark(StringRef name, size_t first, ArrayRef<Link> links) {
    unsigned commands = 1; // without the barriers before the first
    for (const Link &link : links.drop_front())
      commands += link.commands;
    OpBuilder builder(links.front().dispatch);
    plan::RunOp::create(builder, links.front().dispatch->getLoc(), name, int64_t(first), int64_t(commands));
    chained += links.size();
  }

  llvm::MapVector<std::pair<Attribute, Attribute>, std::string> chains; ///< links and waits; the symbol
};

} // namespace
} // namespace lorac
