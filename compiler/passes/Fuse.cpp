//===- Fuse.cpp - join linears over one activation, and point-wise work into epilogues -===//
// x is read once and dispatches go away: q/k/v and gate/up become one linear each, a residual or an
// activation becomes part of the linear before it. Adapters stay with their segments; what they compute of
// what a norm or an attend gives rides on its dispatch.
#include "compiler/passes/Passes.h"
#include "dialect/lora/Lora.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallPtrSet.h"

namespace lorac {
#define GEN_PASS_DEF_FUSEPASS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac

using namespace mlir;
using namespace lorac;

namespace {
// What the kernel `linear` takes: four segments, two point-wise operands, an epilogue over one or two
// segments.
constexpr size_t MaxSegments = 4;
constexpr size_t MaxExtras = 2;
constexpr size_t MaxCombined = 2;

// ---- joining ------------------------------------------------------------------------------------

/// Linears that become one: same x, same block, in the order of the block.
using Group = SmallVector<lora::LinearOp>;

size_t segmentCount(ArrayRef<lora::LinearOp> group) {
  size_t count = 0;
  for (lora::LinearOp linear : group)
    count += linear.getSegments().size();
  return count;
}

/// Whether `linear` may join: there is room, and no weight would stand twice in the joined op.
bool fits(ArrayRef<lora::LinearOp> group, lora::LinearOp linear) {
  if (segmentCount(group) + linear.getSegments().size() > MaxSegments)
    return false;
  llvm::SmallPtrSet<Attribute, MaxSegments> weights;
  for (lora::LinearOp member : group)
    for (lora::SegmentAttr segment : member.getSegmentList())
      weights.insert(segment.getWeight());
  for (lora::SegmentAttr segment : linear.getSegmentList())
    if (!weights.insert(segment.getWeight()).second)
      return false;
  return true;
}

/// The map in the same block that alone reads every result of `linear`; null if there is none.
lora::MapOp soleMap(lora::LinearOp linear) {
  lora::MapOp map;
  for (Value result : linear.getResults())
    for (Operation *user : result.getUsers()) {
      if (!isa<lora::MapOp>(user) || (map && user != map))
        return nullptr;
      map = cast<lora::MapOp>(user);
    }
  bool allRead = llvm::none_of(linear.getResults(), [](Value result) { return result.use_empty(); });
  return map && allRead && map->getBlock() == linear->getBlock() ? map : nullptr;
}

/// Whether the weights of all segments have one packed type, or none yet: a kernel that combines segments
/// reads one.
bool haveOneType(ArrayRef<lora::LinearOp> linears) {
  llvm::SmallPtrSet<Attribute, 2> types;
  for (lora::LinearOp linear : linears)
    for (lora::SegmentAttr segment : linear.getSegmentList())
      types.insert(
          SymbolTable::lookupNearestSymbolFrom<lora::WeightOp>(linear, segment.getWeight()).getPacked());
  return types.size() == 1;
}

/// Partitions what reads one x. Pairs that a map combines come first and stay by themselves (a linear of
/// three segments takes no epilogue); then each linear goes to the first group with room for it.
SmallVector<Group> partition(ArrayRef<lora::LinearOp> readers) {
  SmallVector<Group> groups;
  llvm::SmallPtrSet<Operation *, 8> grouped;
  llvm::SmallDenseMap<Operation *, lora::LinearOp> firstOfMap;
  for (lora::LinearOp linear : readers) {
    lora::MapOp map = soleMap(linear);
    if (!map)
      continue;
    if (linear.getNumResults() == MaxCombined) {
      grouped.insert(linear);
      continue;
    }
    if (linear.getNumResults() != 1)
      continue;
    auto [it, isFirst] = firstOfMap.try_emplace(map, linear);
    if (isFirst || !fits(it->second, linear) || !haveOneType({it->second, linear}))
      continue;
    groups.push_back({it->second, linear});
    grouped.insert(it->second);
    grouped.insert(linear);
  }
  size_t pairs = groups.size();
  for (lora::LinearOp linear : readers) {
    if (grouped.contains(linear))
      continue;
    auto *group = std::find_if(groups.begin() + pairs, groups.end(),
                               [&](const Group &candidate) { return fits(candidate, linear); });
    if (group == groups.end())
      groups.push_back({linear});
    else
      group->push_back(linear);
  }
  llvm::erase_if(groups, [](const Group &group) { return group.size() < 2; });
  return groups;
}

/// The groups of a module. Linears with an epilogue are finished, and one that holds a weight twice is left
/// alone.
SmallVector<Group> findGroups(ModuleOp module) {
  llvm::MapVector<std::pair<Value, Block *>, Group> readers;
  module.walk([&](lora::LinearOp linear) {
    if (!linear.hasEpilogue() && fits({}, linear))
      readers[{linear.getX(), linear->getBlock()}].push_back(linear);
  });
  SmallVector<Group> groups;
  for (auto &[key, linears] : readers)
    llvm::append_range(groups, partition(linears));
  return groups;
}

/// Replaces a group by one linear at its first member, which reads nothing but x. Each segment keeps its
/// site, its adapters and whether it is open to runtime adapters.
void join(ArrayRef<lora::LinearOp> group) {
  lora::LinearOp first = group.front();
  OpBuilder builder(first);
  SmallVector<Attribute> segments, adapters;
  SmallVector<Type> types;
  SmallVector<Location> places;
  bool hasAdapters = false;
  for (lora::LinearOp linear : group) {
    llvm::append_range(segments, linear.getSegments());
    llvm::append_range(types, linear.getResultTypes());
    places.push_back(linear.getLoc());
    hasAdapters |= bool(linear.getAdapters());
    if (linear.getAdapters())
      llvm::append_range(adapters, *linear.getAdapters());
    else
      adapters.append(linear.getSegments().size(), builder.getArrayAttr({}));
  }
  auto joined = lora::LinearOp::create(builder, builder.getFusedLoc(places), types, first.getX(),
                                       ValueRange{}, builder.getArrayAttr(segments),
                                       hasAdapters ? builder.getArrayAttr(adapters) : ArrayAttr());
  ResultRange results = joined.getResults();
  for (lora::LinearOp linear : group) {
    linear.replaceAllUsesWith(results.take_front(linear.getNumResults()));
    results = results.drop_front(linear.getNumResults());
    linear.erase();
  }
}

// ---- epilogues ----------------------------------------------------------------------------------

/// Whether `map` can be computed in the epilogue of `linear`: it alone reads every result, and what else it
/// reads is known before the linear.
bool canInline(lora::LinearOp linear, lora::MapOp map, DominanceInfo &dominance) {
  if (linear.getNumResults() > MaxCombined || soleMap(linear) != map)
    return false;
  if (linear.getNumResults() > 1 && !haveOneType(linear))
    return false;
  llvm::SmallSetVector<Value, MaxExtras> extras(llvm::from_range, linear.getExtras());
  for (Value input : map.getInputs()) {
    if (input.getDefiningOp() == linear)
      continue;
    if (!dominance.properlyDominates(input, linear))
      return false;
    extras.insert(input);
  }
  return extras.size() <= MaxExtras;
}

/// The linear whose epilogue takes `map`; null if none can.
lora::LinearOp findHost(lora::MapOp map, DominanceInfo &dominance) {
  for (Value input : map.getInputs())
    if (auto linear = input.getDefiningOp<lora::LinearOp>(); linear && canInline(linear, map, dominance))
      return linear;
  return nullptr;
}

/// Copies the body of `block` without its terminator to the end of the builder's block and gives what it
/// yields.
Value cloneBody(OpBuilder &builder, Block &block, IRMapping &mapping) {
  for (Operation &op : block.without_terminator())
    builder.clone(op, mapping);
  return mapping.lookupOrDefault(cast<lora::YieldOp>(block.getTerminator()).getValues().front());
}

/// Replaces both by a linear whose epilogue is that of `linear` followed by the body of `map`.
lora::LinearOp inlineMap(lora::LinearOp linear, lora::MapOp map) {
  OpBuilder builder(linear);
  SmallVector<Value> extras(linear.getExtras());
  for (Value input : map.getInputs())
    if (input.getDefiningOp() != linear && !llvm::is_contained(extras, input))
      extras.push_back(input);
  auto fused =
      lora::LinearOp::create(builder, builder.getFusedLoc({linear.getLoc(), map.getLoc()}), map.getType(),
                             linear.getX(), extras, linear.getSegmentsAttr(), linear.getAdaptersAttr(),
                             /*shrink_with_x=*/linear.getShrinkWithX());

  size_t segments = linear.getSegments().size();
  SmallVector<Location> places(segments + extras.size(), map.getLoc());
  Block *block = builder.createBlock(&fused.getEpilogue(), {},
                                     SmallVector<Type>(places.size(), builder.getF32Type()), places);
  IRMapping mapping;
  SmallVector<Value> results; // the scalar that stands for each result of the linear
  if (linear.hasEpilogue()) {
    Block &before = linear.getEpilogue().front();
    for (auto [index, argument] : llvm::enumerate(before.getArguments()))
      mapping.map(argument, block->getArgument(index));
    results.push_back(cloneBody(builder, before, mapping));
  } else {
    llvm::append_range(results, block->getArguments().take_front(segments));
  }
  for (auto [input, argument] : llvm::zip(map.getInputs(), map.getBody().getArguments())) {
    if (input.getDefiningOp() == linear) {
      mapping.map(argument, results[cast<OpResult>(input).getResultNumber()]);
      continue;
    }
    size_t extra = llvm::find(extras, input) - extras.begin();
    mapping.map(argument, block->getArgument(segments + extra));
  }
  lora::YieldOp::create(builder, map.getLoc(), cloneBody(builder, map.getBody().front(), mapping));

  map.getResult().replaceAllUsesWith(fused.getResult(0));
  map.erase();
  linear.erase();
  return fused;
}

// ---- shrink -------------------------------------------------------------------------------------

/// Lets the shrink of each linear over what a norm or an attend gives ride on its dispatch; the first of
/// several. A part of the sum is what a group of attend has, so there it is of one segment.
unsigned letShrinkRide(ModuleOp module) {
  unsigned count = 0;
  llvm::SmallPtrSet<Operation *, 16> taken;
  module.walk([&](lora::LinearOp linear) {
    Operation *maker = linear.getX().getDefiningOp();
    const bool carries = isa_and_nonnull<lora::RmsNormOp>(maker) ||
                         (isa_and_nonnull<lora::AttendOp>(maker) && linear.getSegments().size() == 1);
    if (!carries || !linear.isOpen() || !taken.insert(maker).second)
      return;
    linear.setShrinkWithX(true);
    ++count;
  });
  return count;
}

struct FusePass final : public lorac::impl::FusePassBase<FusePass> {
  void runOnOperation() override {
    for (const Group &group : findGroups(getOperation())) {
      join(group);
      joined += group.size();
    }
    SmallVector<lora::MapOp>
        maps; // in order, so that a map over a map's result follows it into the same epilogue
    getOperation().walk([&](lora::MapOp map) { maps.push_back(map); });
    auto &dominance = getAnalysis<DominanceInfo>();
    for (lora::MapOp map : maps)
      if (lora::LinearOp host = findHost(map, dominance)) {
        inlineMap(host, map);
        ++inlined;
      }
    riding += letShrinkRide(getOperation());
  }
};
} // namespace
