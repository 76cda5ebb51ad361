//===- Lora.cpp - verifiers and syntax of the lora dialect -----------------===//
// Errors start in lower case and name the site or symbol.
#include "dialect/lora/Lora.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

#include "dialect/lora/LoraDialect.cpp.inc"
#include "dialect/lora/LoraEnums.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialect/lora/LoraTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/lora/LoraAttrs.cpp.inc"

using namespace mlir;
using namespace lorac::lora;

void LoraDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialect/lora/LoraTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/lora/LoraAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/lora/LoraOps.cpp.inc"
      >();
}

int64_t lorac::lora::rowWidth(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() != 2 || !tensor.isDynamicDim(0) || tensor.isDynamicDim(1) ||
      !tensor.getElementType().isF32() || tensor.getEncoding())
    return -1;
  return tensor.getDimSize(1);
}

// ---- attributes ---------------------------------------------------------------------------------

Attribute PackedAttr::parse(AsmParser &parser, Type) {
  StringRef keyword;
  SMLoc place = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&keyword) || parser.parseGreater())
    return {};
  std::string name = keyword.str();
  std::replace(name.begin(), name.end(), '_', '-');
  std::optional<lorac::packed::Type> type = lorac::packed::parse(name);
  if (!type) {
    parser.emitError(place) << "packed type '" << keyword << "' is unknown";
    return {};
  }
  return parser.getChecked<PackedAttr>(place, parser.getContext(), *type);
}

void PackedAttr::print(AsmPrinter &printer) const {
  std::string name = lorac::packed::nameOf(getType());
  std::replace(name.begin(), name.end(), '-', '_');
  printer << '<' << name << '>';
}

LogicalResult PackedAttr::verify(function_ref<InFlightDiagnostic()> emitError, lorac::packed::Type type) {
  if (std::string problem = lorac::packed::problemOf(type); !problem.empty())
    return emitError() << "packed type: " << problem;
  return success();
}

LogicalResult PackedAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (!elementType) // MLIR's parser asks even where the element type did not parse; it has said so already.
    return failure();
  if (shape.size() != 2)
    return emitError() << "a packed weight has 2 dimensions, this one has " << shape.size();
  if (!elementType.isF32())
    return emitError() << "a packed weight stands for f32 values, not " << elementType;
  if (shape[1] > 0)
    if (std::string problem = lorac::packed::problemOf(getType(), uint64_t(shape[1])); !problem.empty())
      return emitError() << "a packed weight cannot be " << lorac::packed::nameOf(getType()) << ": "
                         << problem;
  return success();
}

Attribute SegmentAttr::parse(AsmParser &parser, Type) {
  FlatSymbolRefAttr weight, bias;
  StringAttr site;
  bool open = false;
  if (parser.parseLess() || parser.parseAttribute(weight) || parser.parseComma() ||
      parser.parseKeyword("site") || parser.parseEqual() || parser.parseAttribute(site))
    return {};
  while (succeeded(parser.parseOptionalComma())) {
    if (succeeded(parser.parseOptionalKeyword("open")))
      open = true;
    else if (parser.parseKeyword("bias") || parser.parseEqual() || parser.parseAttribute(bias))
      return {};
  }
  if (parser.parseGreater())
    return {};
  return SegmentAttr::get(parser.getContext(), weight, site, bias, open);
}

void SegmentAttr::print(AsmPrinter &printer) const {
  printer << '<' << getWeight() << ", site = " << getSite();
  if (getBias())
    printer << ", bias = " << getBias();
  if (getOpen())
    printer << ", open";
  printer << '>';
}

// ---- helpers of the verifiers -------------------------------------------------------------------

/// The weight that `name` refers to, or an error at `op`. Symbols live in the module around the step.
static FailureOr<WeightOp> findWeight(Operation *op, FlatSymbolRefAttr name) {
  Operation *module = op->getParentOp();
  while (module && !module->hasTrait<OpTrait::SymbolTable>())
    module = module->getParentOp();
  auto weight = module ? dyn_cast_or_null<WeightOp>(SymbolTable::lookupSymbolIn(module, name)) : WeightOp();
  if (!weight)
    return op->emitOpError() << "refers to weight " << name << ", which the module does not have";
  return weight;
}

static LogicalResult verifyMatrix(Operation *op, FlatSymbolRefAttr name, int64_t rows, int64_t cols) {
  FailureOr<WeightOp> weight = findWeight(op, name);
  if (failed(weight))
    return failure();
  RankedTensorType type = weight->getTensorType();
  if (type.getRank() != 2 || (rows >= 0 && type.getDimSize(0) != rows) || type.getDimSize(1) != cols)
    return op->emitOpError() << "weight " << name << " is " << type << ", expected "
                             << (rows < 0 ? std::string("?") : std::to_string(rows)) << " x " << cols;
  return success();
}

static LogicalResult verifyVector(Operation *op, FlatSymbolRefAttr name, int64_t length) {
  FailureOr<WeightOp> weight = findWeight(op, name);
  if (failed(weight))
    return failure();
  RankedTensorType type = weight->getTensorType();
  if (type.getRank() != 1 || type.getDimSize(0) != length)
    return op->emitOpError() << "weight " << name << " is " << type << ", expected a vector of " << length;
  return success();
}

static LogicalResult verifyRows(Operation *op, Value value, StringRef what) {
  if (rowWidth(value.getType()) <= 0)
    return op->emitOpError() << what << " is " << value.getType() << ", expected tensor<?xNxf32>";
  return success();
}

/// A region of scalar arith and math from `arguments` f32 values to one f32.
static LogicalResult verifyScalarRegion(Operation *op, Region &region, size_t arguments, StringRef what) {
  Block &block = region.front();
  if (!llvm::hasSingleElement(region) || block.getNumArguments() != arguments)
    return op->emitOpError() << what << " takes " << block.getNumArguments() << " values, expected "
                             << arguments;
  for (BlockArgument argument : block.getArguments())
    if (!argument.getType().isF32())
      return op->emitOpError() << what << " takes " << argument.getType() << ", expected f32";
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || yield.getValues().size() != 1 || !yield.getValues()[0].getType().isF32())
    return op->emitOpError() << what << " must yield one f32";
  for (Operation &inner : block.without_terminator())
    if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp, arith::MaximumFOp,
             arith::MinimumFOp, arith::ConstantOp, math::ExpOp, math::SqrtOp, math::TanhOp, math::ErfOp>(
            inner))
      return op->emitOpError()
             << what << " holds " << inner.getName()
             << ", expected one of arith.addf, subf, mulf, divf, negf, maximumf, minimumf, constant, "
                "math.exp, sqrt, tanh, erf";
    else if (!inner.getResult(0).getType().isF32())
      return op->emitOpError() << what << " computes " << inner.getResult(0).getType() << ", expected f32";
  return success();
}

// ---- module-level ops ---------------------------------------------------------------------------

LogicalResult ModelOp::verify() {
  for (Operation *other = (*this)->getPrevNode(); other; other = other->getPrevNode())
    if (isa<ModelOp>(other))
      return emitOpError("is the second of its module, expected one");
  int64_t vocab = getVocab(), positions = getMaxPositions();
  int64_t context = getMaxContext().value_or(1), rows = getMaxRows().value_or(1);
  if (vocab <= 0 || positions <= 0)
    return emitOpError("needs a positive vocab and max_positions");
  if (context <= 0 || context > positions)
    return emitOpError() << "max_context " << context << " is outside 1 to " << positions
                         << ", the model's own limit";
  if (rows <= 0 || rows > 4096)
    return emitOpError() << "max_rows " << rows << " is outside 1 to 4096";
  if (getCache() && *getCache() != "f32" && *getCache() != "f16")
    return emitOpError() << "cache is \"" << *getCache() << "\", expected \"f32\" or \"f16\"";
  for (int64_t id : getEos())
    if (id < 0 || id >= vocab)
      return emitOpError() << "end token " << id << " is outside the vocabulary of " << vocab;
  return success();
}

LogicalResult TokenizerOp::verify() {
  if (getKind() != "hf" && getKind() != "gguf")
    return emitOpError() << "kind \"" << getKind() << "\" is unknown, expected \"hf\" or \"gguf\"";
  return success();
}

/// Values a block and bytes a block of a source encoding.
static std::pair<uint64_t, uint64_t> blockOf(SourceType type) {
  switch (type) {
  case SourceType::F32:
    return {1, 4};
  case SourceType::F16:
  case SourceType::BF16:
    return {1, 2};
  case SourceType::Q4_0:
    return {32, 18};
  case SourceType::Q4_1:
    return {32, 20};
  case SourceType::Q8_0:
    return {32, 34};
  case SourceType::Q5_0:
    return {32, 22};
  case SourceType::Q5_1:
    return {32, 24};
  case SourceType::Q4_K:
    return {256, 144};
  case SourceType::Q5_K:
    return {256, 176};
  case SourceType::Q6_K:
    return {256, 210};
  }
  llvm_unreachable("closed enum");
}

/// What is wrong with `source` holding `rows` x `cols` values; empty if nothing is.
static std::string sourceProblem(SourceAttr source, uint64_t rows, uint64_t cols) {
  auto [values, bytes] = blockOf(source.getEncoding());
  uint64_t heads = source.getInterleavedHeads();
  uint64_t size = llvm::SaturatingMultiply(llvm::SaturatingMultiply(rows, cols / values), bytes);
  std::string problem;
  llvm::raw_string_ostream out(problem);
  if (cols % values != 0)
    out << "has rows of " << cols << " values, which blocks of " << values << " do not divide";
  else if (source.getSize() != size)
    out << "has " << source.getSize() << " bytes in its file, " << rows << " x " << cols << " as "
        << stringifySourceType(source.getEncoding()) << " needs " << size;
  else if (heads && (rows % heads != 0 || rows / heads % 2 != 0))
    out << "has " << rows << " rows, which " << heads << " rotary heads of even size do not divide";
  return problem;
}

/// What is wrong with A as [rank, cols] and B as [rows, rank]; empty if nothing is.
static std::string pairProblem(SourceAttr a, SourceAttr b, uint64_t rank, uint64_t rows, uint64_t cols) {
  if (rank < 1 || rank > 1024)
    return "rank is " + std::to_string(rank) + ", expected 1 to 1024";
  if (std::string problem = sourceProblem(a, rank, cols); !problem.empty())
    return "A " + problem;
  if (std::string problem = sourceProblem(b, rows, rank); !problem.empty())
    return "B " + problem;
  return {};
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() < 1 || type.getRank() > 2 ||
      !type.getElementType().isF32())
    return emitOpError() << "has type " << getType() << ", expected a static f32 tensor of rank 1 or 2";
  if (type.getEncoding() && !isa<PackedAttr>(type.getEncoding()))
    return emitOpError() << "has encoding " << type.getEncoding() << ", expected #lora.packed";
  for (int64_t size : type.getShape())
    if (size <= 0 || size > (int64_t(1) << 31))
      return emitOpError() << "has a dimension of " << size << ", expected 1 to 2^31";
  if (getDigest().size() != 64 || getDigest().find_first_not_of("0123456789abcdef") != StringRef::npos)
    return emitOpError("needs a digest of 64 lower-case hex digits");
  uint64_t rows = type.getRank() == 2 ? type.getDimSize(0) : 1;
  uint64_t cols = type.getRank() == 2 ? type.getDimSize(1) : type.getDimSize(0);
  if (std::string problem = sourceProblem(getSource(), rows, cols); !problem.empty())
    return emitOpError(problem);
  if (!getFolds())
    return success();
  for (Attribute attr : getFolds()->getValue()) {
    auto fold = dyn_cast<FoldAttr>(attr);
    if (!fold || type.getRank() != 2)
      return emitOpError("folds are #lora.fold and belong to matrices");
    std::string problem = pairProblem(fold.getA(), fold.getB(), fold.getRank(), rows, cols);
    if (!problem.empty())
      return emitOpError() << "fold's " << problem;
  }
  return success();
}

LogicalResult AdapterOp::verify() {
  if (int64_t(getRank()) < 1 || int64_t(getRank()) > 1024)
    return emitOpError() << "adapter rank is " << getRank() << ", expected 1 to 1024";
  if (!getScale().isFinite())
    return emitOpError("scale is not finite");
  return success();
}

/// Of a head of 8,192 values.
constexpr int64_t kMaxFrequencies = 4096;

LogicalResult RopeTableOp::verify() {
  auto values = dyn_cast<DenseFPElementsAttr>(getFrequencies());
  if (!values || values.getType().getRank() != 1 || !values.getElementType().isF64())
    return emitOpError() << "needs a vector of f64";
  // A splat may stand for as many as it likes.
  if (values.getNumElements() > kMaxFrequencies)
    return emitOpError() << "has " << values.getNumElements() << " frequencies, at most " << kMaxFrequencies
                         << " are possible";
  for (APFloat value : values)
    if (!value.isFinite() || value.isNegative())
      return emitOpError("holds a frequency that is negative or not finite");
  return success();
}

LogicalResult StepOp::verifyRegions() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 2 || !isa<CacheType>(block.getArgument(1).getType()))
    return emitOpError("takes tokens (tensor<?xi32>) and a !lora.cache");
  auto tokens = dyn_cast<RankedTensorType>(block.getArgument(0).getType());
  if (!tokens || tokens.getRank() != 1 || !tokens.isDynamicDim(0) || !tokens.getElementType().isInteger(32))
    return emitOpError() << "takes tokens as " << block.getArgument(0).getType()
                         << ", expected tensor<?xi32>";
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield || yield.getValues().size() != 2 || rowWidth(yield.getValues()[0].getType()) <= 0 ||
      !isa<CacheType>(yield.getValues()[1].getType()))
    return emitOpError("must yield logits (tensor<?xNxf32>) and the cache");
  return success();
}

// ---- ops of a step ------------------------------------------------------------------------------

LogicalResult EmbedOp::verify() {
  if (failed(verifyRows(*this, getResult(), "the result")))
    return failure();
  return verifyMatrix(*this, getTableAttr(), -1, rowWidth(getResult().getType()));
}

LogicalResult RmsNormOp::verify() {
  if (failed(verifyRows(*this, getX(), "x")))
    return failure();
  if (!getEpsilon().isFinite() || getEpsilon().isNegative())
    return emitOpError("epsilon must be finite and not negative");
  return verifyVector(*this, getWeightAttr(), rowWidth(getX().getType()));
}

SmallVector<SegmentAttr> LinearOp::getSegmentList() {
  return llvm::map_to_vector(getSegments(), [](Attribute attr) { return cast<SegmentAttr>(attr); });
}

/// The static adapters of a site whose weight is `rows` x `cols`.
static LogicalResult verifyStack(Operation *op, StringRef site, Attribute stack, int64_t rows, int64_t cols) {
  auto names = dyn_cast<ArrayAttr>(stack);
  if (!names || !llvm::all_of(names, [](Attribute name) { return isa<FlatSymbolRefAttr>(name); }))
    return op->emitOpError() << "site '" << site << "': adapters are " << stack
                             << ", expected an array of symbols";
  for (auto name : names.getAsRange<FlatSymbolRefAttr>()) {
    auto adapter = SymbolTable::lookupNearestSymbolFrom<AdapterOp>(op->getParentOp(), name);
    if (!adapter)
      return op->emitOpError() << "site '" << site << "' refers to adapter " << name
                               << ", which the module does not have";
    std::string problem = pairProblem(adapter.getA(), adapter.getB(), adapter.getRank(), rows, cols);
    if (!problem.empty())
      return op->emitOpError() << "site '" << site << "': adapter " << name << "'s " << problem;
  }
  return success();
}

LogicalResult LinearOp::verify() {
  if (failed(verifyRows(*this, getX(), "x")))
    return failure();
  SmallVector<SegmentAttr> segments = getSegmentList();
  if (segments.empty() || segments.size() > 4)
    return emitOpError() << "has " << segments.size() << " segments, expected 1 to 4";
  int64_t in = rowWidth(getX().getType());
  SmallVector<int64_t> widths;
  for (SegmentAttr segment : segments) {
    FailureOr<WeightOp> weight = findWeight(*this, segment.getWeight());
    if (failed(weight))
      return failure();
    RankedTensorType type = weight->getTensorType();
    if (type.getRank() != 2 || type.getDimSize(1) != in)
      return emitOpError() << "site '" << segment.getSite().getValue() << "': weight " << segment.getWeight()
                           << " is " << type << ", x has " << in << " values a row";
    widths.push_back(type.getDimSize(0));
    if (segment.getBias() && failed(verifyVector(*this, segment.getBias(), widths.back())))
      return failure();
  }
  if (getAdapters() && getAdapters()->size() != segments.size())
    return emitOpError() << "names adapters for " << getAdapters()->size() << " of " << segments.size()
                         << " segments";
  if (getAdapters())
    for (auto [segment, rows, stack] : llvm::zip(segments, widths, getAdapters()->getValue()))
      if (failed(verifyStack(*this, segment.getSite().getValue(), stack, rows, in)))
        return failure();
  if (getShrinkWithX() && !isa_and_nonnull<RmsNormOp, AttendOp>(getX().getDefiningOp()))
    return emitOpError() << "site '" << segments.front().getSite().getValue()
                         << "' has shrink_with_x, but its x is no result of lora.rms_norm or lora.attend";
  if (hasEpilogue()) {
    for (auto [segment, width] : llvm::zip(segments, widths))
      if (width != widths.front())
        return emitOpError() << "site '" << segment.getSite().getValue() << "' has " << width
                             << " rows under an epilogue whose first segment has " << widths.front();
    if (getResults().size() != 1 || rowWidth(getResults()[0].getType()) != widths.front())
      return emitOpError() << "has an epilogue, expected one result of " << widths.front() << " values a row";
    for (Value operand : getExtras())
      if (operand.getType() != getResults()[0].getType())
        return emitOpError() << "point-wise operand is " << operand.getType() << ", expected "
                             << getResults()[0].getType();
    return verifyScalarRegion(*this, getEpilogue(), segments.size() + getExtras().size(), "the epilogue");
  }
  if (!getExtras().empty())
    return emitOpError("has point-wise operands but no epilogue");
  if (getResults().size() != segments.size())
    return emitOpError() << "has " << getResults().size() << " results for " << segments.size()
                         << " segments";
  for (auto [segment, width, result] : llvm::zip(segments, widths, getResults()))
    if (rowWidth(result.getType()) != width)
      return emitOpError() << "site '" << segment.getSite().getValue() << "' gives " << width
                           << " values a row, result is " << result.getType();
  return success();
}

LogicalResult MapOp::verify() {
  if (failed(verifyRows(*this, getResult(), "the result")))
    return failure();
  if (getOperands().empty() || getOperands().size() > 2)
    return emitOpError() << "has " << getOperands().size() << " operands, expected 1 or 2";
  for (Value operand : getOperands())
    if (operand.getType() != getResult().getType())
      return emitOpError() << "operand is " << operand.getType() << ", expected " << getResult().getType();
  return verifyScalarRegion(*this, getBody(), getOperands().size(), "the body");
}

LogicalResult RopeOp::verify() {
  if (failed(verifyRows(*this, getX(), "x")))
    return failure();
  int64_t width = rowWidth(getX().getType()), heads = getHeads();
  if (heads <= 0 || width % heads != 0 || width / heads % 2 != 0)
    return emitOpError() << "x has " << width << " values a row, which " << heads
                         << " heads of even size do not divide";
  Operation *module = (*this)->getParentOp();
  while (module && !module->hasTrait<OpTrait::SymbolTable>())
    module = module->getParentOp();
  auto table = module ? dyn_cast_or_null<RopeTableOp>(SymbolTable::lookupSymbolIn(module, getTableAttr()))
                      : RopeTableOp();
  if (!table)
    return emitOpError() << "refers to rope table " << getTableAttr() << ", which the module does not have";
  if (table.getFrequencies().getNumElements() != width / heads / 2)
    return emitOpError() << "table " << getTableAttr() << " has " << table.getFrequencies().getNumElements()
                         << " frequencies, heads of " << width / heads << " need " << width / heads / 2;
  return success();
}

LogicalResult AttendOp::verify() {
  for (auto [value, name] :
       {std::pair<Value, StringRef>(getQ(), "q"), {getK(), "k"}, {getV(), "v"}, {getResult(), "the result"}})
    if (failed(verifyRows(*this, value, name)))
      return failure();
  int64_t heads = getHeads(), kvHeads = getKvHeads(), q = rowWidth(getQ().getType()),
          k = rowWidth(getK().getType());
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads != 0)
    return emitOpError() << "has " << heads << " heads, which " << kvHeads << " kv heads do not divide";
  if (q % heads != 0 || k != q / heads * kvHeads)
    return emitOpError() << "q has " << q << " values a row and k " << k << ", which " << heads << " and "
                         << kvHeads << " heads do not share out evenly";
  if (int64_t(getLayer()) < 0)
    return emitOpError("layer is negative");
  if (!getScale().isFinite())
    return emitOpError("scale is not finite");
  return success();
}

LogicalResult GatherRowsOp::verify() { return verifyRows(*this, getX(), "x"); }

/// v and the cache have the types that q and k imply.
static ParseResult parseAttendTypes(OpAsmParser &parser, Type q, Type k, Type &v, Type &cache, Type &result,
                                    Type &newCache) {
  v = k;
  result = q;
  cache = newCache = CacheType::get(parser.getContext());
  return success();
}
static void printAttendTypes(OpAsmPrinter &, Operation *, Type, Type, Type, Type, Type, Type) {}

#define GET_OP_CLASSES
#include "dialect/lora/LoraOps.cpp.inc"
