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

/// Bytes of a packed matrix: rows padded to tiles of 8, columns to whole 16-byte pieces.
static uint64_t packedBytes(RankedTensorType type, lora::Code code) {
  uint64_t valueBytes = code == lora::Code::F32 ? 4 : 2, piece = 16 / valueBytes;
  uint64_t rows = (uint64_t(type.getDimSize(0)) + 7) / 8 * 8;
  uint64_t cols = (uint64_t(type.getDimSize(1)) + piece - 1) / piece * piece;
  return rows * cols * valueBytes;
}

void remarkUntied(const WeightUse &use, lora::WeightOp weight, lora::WeightOp copy) {
  lora::Code code = copy.getPacked() ? copy.getPacked().getCode() : lora::Code::F16;
  emitRemark(use.user->getLoc()) << "site '" << use.site.getValue() << "': weight @" << weight.getSymName()
                                 << " is untied as @" << copy.getSymName() << ", which costs "
                                 << packedBytes(copy.getTensorType(), code) << " bytes as "
                                 << lora::stringifyCode(code);
}

} // namespace lorac
