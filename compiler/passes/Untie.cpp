//===- Untie.cpp - uses of a frozen weight, and a weight of its own for some of them -===//
// A tied embedding is one weight with two uses. What holds for one side alone (an adapter folded in, another
// packed type) needs a second weight, and the user is told what that costs.
#include "compiler/passes/Untie.h"

#include "mlir/IR/Diagnostics.h"

using namespace mlir;

namespace lorac {

WeightUses findWeightUses(ModuleOp module) {
  WeightUses uses;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != module && op->hasTrait<OpTrait::SymbolTable>())
      return WalkResult::skip(); // has symbols of its own
    if (auto linear = dyn_cast<lora::LinearOp>(op)) {
      for (auto [index, segment] : llvm::enumerate(linear.getSegmentList()))
        uses[segment.getWeight().getAttr()].push_back({op, unsigned(index), segment.getSite()});
    } else if (auto embed = dyn_cast<lora::EmbedOp>(op)) {
      StringRef name = embed.getTable();
      name.consume_back(".weight");
      uses[embed.getTableAttr().getAttr()].push_back({op, 0, StringAttr::get(op->getContext(), name)});
    }
    return WalkResult::advance();
  });
  return uses;
}

StringRef nameOf(lora::WeightOp weight) {
  StringRef name = weight.getSymName();
  name.consume_back(".weight");
  return name;
}

/// Makes one use read the weight `name`.
static void redirect(const WeightUse &use, FlatSymbolRefAttr name) {
  if (auto embed = dyn_cast<lora::EmbedOp>(use.user)) {
    embed.setTableAttr(name);
    return;
  }
  auto linear = cast<lora::LinearOp>(use.user);
  SmallVector<Attribute> segments(linear.getSegments().getValue());
  auto old = cast<lora::SegmentAttr>(segments[use.segment]);
  segments[use.segment] =
      lora::SegmentAttr::get(name.getContext(), name, old.getSite(), old.getBias(), old.getOpen());
  linear.setSegmentsAttr(ArrayAttr::get(name.getContext(), segments));
}

lora::WeightOp untie(SymbolTable &symbols, lora::WeightOp weight, ArrayRef<WeightUse> uses) {
  auto copy = cast<lora::WeightOp>(weight->clone());
  copy.setSymName((uses.front().site.getValue() + ".weight").str());
  symbols.insert(copy, std::next(Block::iterator(weight)));
  for (const WeightUse &use : uses)
    redirect(use, FlatSymbolRefAttr::get(copy.getSymNameAttr()));
  return copy;
}

/// Bytes of a packed matrix, all planes.
static uint64_t packedBytes(RankedTensorType type, const packed::Type &packed) {
  uint64_t rows = type.getDimSize(0), cols = type.getDimSize(1);
  uint64_t rowBytes = packed::codeRowBytes(packed, cols) + packed::scaleRowBytes(packed, cols);
  return (rows + packed::TileRows - 1) / packed::TileRows * packed::TileRows * rowBytes +
         packed::nestedBytes(packed, rows, cols);
}

void remarkUntied(const WeightUse &use, lora::WeightOp weight, lora::WeightOp copy) {
  packed::Type type = copy.getPacked() ? copy.getPacked().getType() : packed::Type{packed::Code::F16};
  emitRemark(use.user->getLoc()) << "site '" << use.site.getValue() << "': weight @" << weight.getSymName()
                                 << " is untied as @" << copy.getSymName() << ", which costs "
                                 << packedBytes(copy.getTensorType(), type) << " bytes as "
                                 << packed::nameOf(type);
}

} // namespace lorac
