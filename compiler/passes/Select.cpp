//===- Select.cpp - from a step over tensors to programs over buffers ------===//
// One program for each class of rows, with adapters off and on: kernels, constants, grids
// and push constants. What differs between classes is a constant here, never a branch at run time.
#include "compiler/packed/Tables.h"
#include "compiler/passes/Passes.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

#include <bit>

namespace lorac {

#define GEN_PASS_DEF_SELECTPASS
#include "compiler/passes/Passes.h.inc"

namespace {

using namespace mlir;
using lora::rowWidth;
using plan::Expr;
using plan::ExprAttr;

constexpr int64_t TileRows = 8; ///< weight rows of a tile
constexpr int64_t SegmentRows =
    32; ///< joined weights start at multiples, so that a workgroup lies in one segment
constexpr int64_t WindowRows = 64; ///< windows of a large weight start at multiples
constexpr int64_t NestedWindowRows =
    256;                            ///< the same with double quantization: a row has one byte for each group
constexpr int64_t BlockValues = 32; ///< values of x that a kernel takes at a time; row strides are multiples
constexpr int64_t Lanes = 8;        ///< what TILES counts for; variants with more lanes take fewer tiles each
constexpr int64_t PageTokens = 16;
constexpr int64_t PlaneAlignment = 256; ///< a view's
constexpr int64_t DefaultMaxRows = 64;
constexpr uint64_t NoSegment = 0xffffffffu;
constexpr size_t MaxSegments = 4;
/// Parts of t that a linear adds: each is two fetches more for every item and workgroup.
constexpr int64_t MaxParts = 8;

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/// A class of steps that one program serves, and how its linears block their work.
struct RowClass {
  std::string name;
  int64_t rowsMin, rowsMax;
  int64_t blockRows; ///< rows of x a workgroup
};

/// Weight tiles a lane holds, over all combined segments. One row: enough loads in flight. Eight rows: their
/// sums are more than a CPU device's registers, but a value of x serves four tiles (docs/decisions/0011).
constexpr int64_t LaneTiles = 4;

SmallVector<RowClass> rowClasses(int64_t maxRows) {
  SmallVector<RowClass> classes{{"one", 1, 1, 1}};
  if (maxRows > 1)
    classes.push_back({"few", 2, std::min<int64_t>(maxRows, 8), 8});
  if (maxRows > 8)
    classes.push_back({"many", 9, maxRows, 8});
  return classes;
}

/// A joined weight: where each segment starts, in tiles.
struct JoinedWeight {
  SmallVector<int64_t> startTiles;
  int64_t rows = 0; ///< of all segments with the gaps between, a multiple of 8
};

JoinedWeight joinRows(ArrayRef<int64_t> segmentRows) {
  JoinedWeight joined;
  for (int64_t rows : segmentRows) {
    joined.rows = roundUp(joined.rows, SegmentRows);
    joined.startTiles.push_back(joined.rows / TileRows);
    joined.rows += roundUp(rows, TileRows);
  }
  return joined;
}

/// Rows of a weight that one view holds, whole tiles.
struct Window {
  int64_t firstRow, rows;
};

/// All rows in windows of at most `windowBytes`, from multiples of WindowRows: then the same rows of scales,
/// a bias or results begin at multiples of 256 bytes, as every view must, and a workgroup's adapters lie in
/// one segment.
SmallVector<Window> windowsOf(int64_t rows, int64_t rowBytes, bool nested, int64_t windowBytes) {
  const int64_t padded = roundUp(rows, TileRows), step = nested ? NestedWindowRows : WindowRows;
  int64_t most = padded;
  if (padded * rowBytes > windowBytes)
    most = std::max<int64_t>(windowBytes / rowBytes / step, 1) * step;
  SmallVector<Window> windows;
  for (int64_t first = 0; first < padded; first += most)
    windows.push_back({first, std::min(most, padded - first)});
  return windows;
}

/// Translates a scalar region into postfix terms. Block arguments are segments, then operands.
class EpilogueTranslation {
public:
  EpilogueTranslation(Block &block, size_t segments) : block(block), segments(segments) {}

  FailureOr<ArrayAttr> translate() {
    auto yield = cast<lora::YieldOp>(block.back());
    if (failed(push(yield.getValues()[0])))
      return failure();
    return ArrayAttr::get(block.front().getContext(), terms);
  }

private:
  void add(plan::TermOp op, Attribute value = {}) {
    terms.push_back(plan::TermAttr::get(block.front().getContext(), op, value));
  }

  static std::optional<plan::TermOp> termOf(Operation *op) {
    return llvm::TypeSwitch<Operation *, std::optional<plan::TermOp>>(op)
        .Case<arith::AddFOp>([](auto) { return plan::TermOp::Add; })
        .Case<arith::SubFOp>([](auto) { return plan::TermOp::Sub; })
        .Case<arith::MulFOp>([](auto) { return plan::TermOp::Mul; })
        .Case<arith::DivFOp>([](auto) { return plan::TermOp::Div; })
        .Case<arith::NegFOp>([](auto) { return plan::TermOp::Neg; })
        .Case<arith::MaximumFOp>([](auto) { return plan::TermOp::Max; })
        .Case<arith::MinimumFOp>([](auto) { return plan::TermOp::Min; })
        .Case<math::ExpOp>([](auto) { return plan::TermOp::Exp; })
        .Case<math::SqrtOp>([](auto) { return plan::TermOp::Sqrt; })
        .Case<math::TanhOp>([](auto) { return plan::TermOp::Tanh; })
        .Case<math::ErfOp>([](auto) { return plan::TermOp::Erf; })
        .Default([](Operation *) { return std::nullopt; });
  }

  /// Postfix order with a worklist: a value's op follows its operands. A value used twice is computed twice.
  LogicalResult push(Value root) {
    MLIRContext *context = block.front().getContext();
    IntegerType i64 = IntegerType::get(context, 64);
    SmallVector<std::pair<Value, bool>> work{{root, false}};
    while (!work.empty()) {
      auto [value, ready] = work.pop_back_val();
      if (terms.size() > MaxTerms)
        return block.getParentOp()->emitOpError() << "has an epilogue of more than " << MaxTerms << " terms";
      if (auto argument = dyn_cast<BlockArgument>(value)) {
        bool segment = argument.getArgNumber() < segments;
        add(segment ? plan::TermOp::Segment : plan::TermOp::Operand,
            IntegerAttr::get(i64, argument.getArgNumber() - (segment ? 0 : segments)));
        continue;
      }
      Operation *op = value.getDefiningOp();
      FloatAttr constant;
      if (matchPattern(value, m_Constant(&constant))) {
        add(plan::TermOp::Const, constant);
        continue;
      }
      if (ready) {
        add(*termOf(op));
        continue;
      }
      if (!termOf(op))
        return op->emitOpError("has no kernel form");
      work.push_back({value, true});
      for (Value operand : llvm::reverse(op->getOperands()))
        work.push_back({operand, false});
    }
    return success();
  }

  static constexpr size_t MaxTerms = 64;
  Block &block;
  size_t segments;
  SmallVector<Attribute> terms;
};

/// Where the rows of a value lie: a buffer of the program, the first column and the row stride, both in f32.
struct Place {
  FlatSymbolRefAttr buffer;
  int64_t column = 0;
  int64_t stride = 0;
  bool gathered = false; ///< rows are those of out_rows
};

/// A matrix, or joined ones of one packed type, in the weight space: a buffer with the planes of
/// docs/formats/packed.md one after another.
struct Planes {
  FlatSymbolRefAttr buffer;
  packed::Type type;
  int64_t codeRowBytes = 0, scaleRowBytes = 0;
  int64_t scalesFrom = 0;                  ///< byte of the buffer
  int64_t nestedFrom = 0, nestedBytes = 0; ///< with the header
};

/// The constants by which kernels know how a weight is stored.
SmallVector<std::pair<StringRef, int64_t>> storageConstants(const packed::Type &type) {
  const packed::Scales scales = packed::scalesOf(type);
  return {{"WEIGHT", int64_t(type.code)},
          {"GROUP", type.group},
          {"HAS_SCALES", scales != packed::Scales::None && scales != packed::Scales::Pairs},
          {"HAS_PAIRS", scales == packed::Scales::Pairs},
          {"ZERO_POINT", type.offset == packed::Offset::Zero},
          {"NESTED", type.nested}};
}

/// A width that is a multiple of this leaves linear no TAIL: blocks of x, and where two groups share a word
/// of scales, pairs of groups.
int64_t wholeValues(const packed::Type &type) {
  const packed::Scales scales = packed::scalesOf(type);
  bool pairs = scales == packed::Scales::Halves || scales == packed::Scales::Pairs;
  return pairs ? 2 * type.group : BlockValues;
}

/// What the programs share: kernels, weight buffers and sites, each made once.
class SharedParts {
public:
  SharedParts(ModuleOp module, int64_t windowBytes)
      : module(module), builder(OpBuilder::atBlockEnd(module.getBody())), windowBytes(windowBytes) {}

  MLIRContext *context() { return module.getContext(); }

  /// Shared parts stand before the programs that use them.
  void keepBefore(plan::ProgramOp program) {
    if (!hasProgram)
      builder.setInsertionPoint(program);
    hasProgram = true;
  }

  lora::WeightOp weight(FlatSymbolRefAttr name) {
    return module.lookupSymbol<lora::WeightOp>(name.getAttr());
  }

  packed::Type typeOf(FlatSymbolRefAttr name) { return weight(name).getPacked().getType(); }

  FlatSymbolRefAttr kernel(StringRef catalog, ArrayRef<std::pair<StringRef, int64_t>> constants,
                           ArrayAttr epilogue = {}) {
    SmallVector<NamedAttribute> named;
    for (auto [name, value] : constants)
      named.push_back(builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
    DictionaryAttr dictionary = builder.getDictionaryAttr(named);
    auto key = std::make_tuple(builder.getStringAttr(catalog), dictionary, epilogue);
    for (auto &[known, symbol] : kernels)
      if (known == key)
        return symbol;
    std::string name = catalog.str() + "_" + std::to_string(counts[catalog]++);
    plan::KernelOp::create(builder, module.getLoc(), name, catalog, dictionary, epilogue);
    FlatSymbolRefAttr symbol = FlatSymbolRefAttr::get(context(), name);
    kernels.push_back({key, symbol});
    return symbol;
  }

  /// Vectors at these starts (bytes) of one buffer; made at its first use.
  FlatSymbolRefAttr vectors(ArrayRef<FlatSymbolRefAttr> holds, ArrayRef<int64_t> starts, int64_t size) {
    return weights(holds, starts, {}, {}, size);
  }
  FlatSymbolRefAttr vector(FlatSymbolRefAttr name) {
    return vectors({name}, {0}, roundUp(weight(name).getTensorType().getNumElements() * 4, 16));
  }

  /// Matrices of one type and width as one, each from its tile of `startTiles`; `rows` in all.
  Planes matrix(ArrayRef<FlatSymbolRefAttr> holds, ArrayRef<int64_t> startTiles, int64_t rows) {
    Planes planes;
    planes.type = typeOf(holds.front());
    const int64_t cols = weight(holds.front()).getTensorType().getDimSize(1);
    planes.codeRowBytes = int64_t(packed::codeRowBytes(planes.type, cols));
    planes.scaleRowBytes = int64_t(packed::scaleRowBytes(planes.type, cols));
    SmallVector<int64_t> codes, scales, nested;
    int64_t end = rows * planes.codeRowBytes;
    for (int64_t tile : startTiles)
      codes.push_back(tile * TileRows * planes.codeRowBytes);
    if (planes.scaleRowBytes > 0) {
      planes.scalesFrom = roundUp(end, PlaneAlignment);
      for (int64_t tile : startTiles)
        scales.push_back(planes.scalesFrom + tile * TileRows * planes.scaleRowBytes);
      end = planes.scalesFrom + rows * planes.scaleRowBytes;
    }
    if (planes.type.nested) {
      planes.nestedFrom = roundUp(end, PlaneAlignment);
      end = planes.nestedFrom + int64_t(packed::NestedHeaderBytes);
      for (FlatSymbolRefAttr name : holds) {
        nested.push_back(end);
        end += int64_t(packed::nestedBytes(planes.type, weight(name).getTensorType().getDimSize(0), cols));
      }
      planes.nestedBytes = end - planes.nestedFrom;
    }
    planes.buffer = weights(holds, codes, scales, nested, end);
    return planes;
  }
  Planes matrix(FlatSymbolRefAttr name) {
    return matrix({name}, {0}, roundUp(weight(name).getTensorType().getDimSize(0), TileRows));
  }

  /// The dynamic map that codes nested scales.
  FlatSymbolRefAttr dynamicMap() {
    if (!map) {
      auto type = RankedTensorType::get({int64_t(packed::MapValues)}, builder.getF32Type());
      auto values = DenseElementsAttr::get(type, ArrayRef<float>(packed::dynamicMap()));
      plan::WeightsOp::create(builder, module.getLoc(), builder.getStringAttr("dynamic_map"),
                              builder.getArrayAttr({}), builder.getDenseI64ArrayAttr({}), DenseI64ArrayAttr(),
                              DenseI64ArrayAttr(), values, builder.getI64IntegerAttr(packed::MapValues * 4),
                              IntegerAttr());
      map = FlatSymbolRefAttr::get(context(), "dynamic_map");
    }
    return map;
  }
  int64_t weightsSize(FlatSymbolRefAttr buffer) {
    return module.lookupSymbol<plan::WeightsOp>(buffer.getAttr()).getSize();
  }

  /// Numbers every open site of the step in order, and marks the one that gives the logits.
  LogicalResult declareSites(lora::StepOp step) {
    Value logits = cast<lora::YieldOp>(step.getBody().front().back()).getValues()[0];
    for (lora::LinearOp linear : step.getBody().front().getOps<lora::LinearOp>())
      for (lora::SegmentAttr segment : linear.getSegmentList()) {
        if (!segment.getOpen())
          continue;
        if (!sites.insert({segment.getSite(), sites.size()}).second)
          return linear.emitOpError()
                 << "site '" << segment.getSite().getValue() << "' stands in the model twice";
        RankedTensorType type = weight(segment.getWeight()).getTensorType();
        plan::SiteOp::create(builder, module.getLoc(), segment.getSite(), type.getDimSize(1),
                             type.getDimSize(0), logits == linear.getResult(0));
      }
    return success();
  }
  /// The number of a segment's site; a closed one has the null record's.
  uint64_t siteNumber(lora::SegmentAttr segment) {
    return segment.getOpen() ? sites.lookup(segment.getSite()) : sites.size();
  }

  ModuleOp module;
  OpBuilder builder;
  const int64_t windowBytes; ///< of a weight that one view holds at most

private:
  /// The weight buffer that holds these tensors with these planes; made at its first use.
  FlatSymbolRefAttr weights(ArrayRef<FlatSymbolRefAttr> holds, ArrayRef<int64_t> starts,
                            ArrayRef<int64_t> scales, ArrayRef<int64_t> nested, int64_t size) {
    ArrayAttr key = builder.getArrayAttr(SmallVector<Attribute>(holds.begin(), holds.end()));
    auto [entry, inserted] = weightBuffers.insert({key, {}});
    if (inserted) {
      std::string name = "weights_" + std::to_string(weightBuffers.size() - 1);
      auto plane = [&](ArrayRef<int64_t> bytes) {
        return bytes.empty() ? DenseI64ArrayAttr() : builder.getDenseI64ArrayAttr(bytes);
      };
      plan::WeightsOp::create(builder, module.getLoc(), builder.getStringAttr(name), key,
                              builder.getDenseI64ArrayAttr(starts), plane(scales), plane(nested),
                              ElementsAttr(), builder.getI64IntegerAttr(size), IntegerAttr());
      entry->second = FlatSymbolRefAttr::get(context(), name);
    }
    return entry->second;
  }

  bool hasProgram = false;
  FlatSymbolRefAttr map;
  SmallVector<std::pair<std::tuple<StringAttr, DictionaryAttr, ArrayAttr>, FlatSymbolRefAttr>> kernels;
  llvm::StringMap<int> counts;
  llvm::MapVector<ArrayAttr, FlatSymbolRefAttr> weightBuffers;
  llvm::MapVector<StringAttr, uint64_t> sites;
};

/// Values of a head.
int64_t headWidth(lora::AttendOp op) { return rowWidth(op.getQ().getType()) / int64_t(op.getHeads()); }

/// Bytes of one page of one layer's cache.
struct CacheShape {
  int64_t layers = 0;
  int64_t layerPageBytes = 0;
  bool f32 = false;
};

/// Writes one program.
class ProgramWriter {
public:
  ProgramWriter(SharedParts &shared, const RowClass &rowClass, bool adapters, const CacheShape &cache,
                uint64_t vocab)
      : shared(shared), rowClass(rowClass), adapters(adapters), cache(cache), vocab(vocab),
        builder(shared.context()) {}

  LogicalResult write(lora::StepOp step);

private:
  // Expressions.
  Expr constant(uint64_t value) { return Expr::constant(shared.context(), value); }
  Expr symbol(StringRef name) { return Expr::symbol(shared.context(), name); }
  Expr rowsOf(const Place &place) { return symbol(place.gathered ? "out_rows" : "rows"); }

  // Buffers.
  FlatSymbolRefAttr addBuffer(const Twine &name, StringRef space, Expr size, StringRef input = {},
                              FlatSymbolRefAttr angles = {}, std::optional<Expr> offset = {},
                              int64_t rowStride = 0, int64_t width = 0);
  /// A step table, declared once.
  FlatSymbolRefAttr stepInput(StringRef input, Expr size, FlatSymbolRefAttr angles = {});
  FlatSymbolRefAttr rowsInput() { return stepInput("rows", constant(rowClass.rowsMax * 16)); }
  FlatSymbolRefAttr outInput() { return stepInput("out_rows", constant(rowClass.rowsMax * 16)); }
  FlatSymbolRefAttr pagesInput() { return stepInput("pages", symbol("max_pages") * 4); }
  FlatSymbolRefAttr poolBuffer();
  FlatSymbolRefAttr cacheBuffer(int64_t layer);
  Place arenaRows(int64_t width, bool gathered);

  // Views and dispatches.
  Attribute view(FlatSymbolRefAttr buffer, plan::Access access, int64_t from = 0,
                 std::optional<int64_t> bytes = {});
  Attribute read(FlatSymbolRefAttr buffer) { return view(buffer, plan::Access::Read); }
  Attribute write(FlatSymbolRefAttr buffer) { return view(buffer, plan::Access::Write); }
  /// What a kernel reads of a window of a matrix: the codes, and what its further bindings see.
  Attribute codesView(const Planes &planes, Window window);
  SmallVector<Attribute> scaleViews(const Planes &planes, Window window);
  void dispatch(FlatSymbolRefAttr kernel, Expr x, Expr y, ArrayRef<Attribute> views,
                ArrayRef<std::pair<StringRef, Expr>> push);

  /// The place of a value that a kernel reads from column 0.
  FailureOr<Place> wholeRows(Operation *user, Value value);

  LogicalResult writeOp(lora::EmbedOp op);
  LogicalResult writeOp(lora::RmsNormOp op);
  LogicalResult writeOp(lora::LinearOp op);
  LogicalResult writeOp(lora::MapOp op);
  LogicalResult writeOp(lora::AttendOp op);
  FailureOr<Place> writeRope(lora::AttendOp op);
  LogicalResult writeOp(lora::GatherRowsOp op);
  /// A kernel reads one type: segments of several types are a dispatch each.
  bool haveOneType(lora::LinearOp op);
  /// The attend whose q, k and v a dispatch for `segments` segments of `op` makes, where the kernel can
  /// rotate them and write the cache itself: they have no other use, heads are whole blocks, the cache is
  /// f32. Null elsewhere.
  lora::AttendOp fedAttend(lora::LinearOp op, size_t segments, ArrayRef<Window> windows);
  FlatSymbolRefAttr anglesInput(lora::RopeOp rope, int64_t head) {
    return stepInput("angles", constant(rowClass.rowsMax * roundUp(head, 4) * 4), rope.getTableAttr());
  }
  /// The linear whose shrink the dispatch that makes `x` takes along; null where there is none.
  lora::LinearOp riderOf(Value x);
  /// Room for what shrink makes of `segments` sites, or of as many parts of one.
  FlatSymbolRefAttr shrinkResult(size_t segments) {
    return addBuffer("t." + Twine(buffers++), "arena", symbol("max_items") * (segments * TileRows * 4));
  }
  FlatSymbolRefAttr stacksInput() { return stepInput("stacks", constant(rowClass.rowsMax * 16)); }
  FlatSymbolRefAttr itemsInput() { return stepInput("items", symbol("max_items") * 16); }
  /// site_0 to site_3, 0 where a segment is absent.
  SmallVector<std::pair<StringRef, Expr>> sitePush(ArrayRef<lora::SegmentAttr> segments);
  LogicalResult writeLinear(lora::LinearOp op, ArrayRef<lora::SegmentAttr> segments, ArrayRef<Value> results);
  /// result = epilogue(first, second), point by point.
  void writeMap(Value result, ArrayAttr epilogue, const Place &first, std::optional<Place> second);

  SharedParts &shared;
  const RowClass &rowClass;
  bool adapters;
  const CacheShape &cache;
  uint64_t vocab;
  OpBuilder builder;
  plan::ProgramOp program;
  Location loc = UnknownLoc::get(shared.context());
  llvm::DenseMap<Value, Place> places;
  llvm::DenseMap<Attribute, ExprAttr> sizes;
  llvm::StringMap<FlatSymbolRefAttr> inputs;
  struct Shrunk {
    FlatSymbolRefAttr t;
    int64_t parts = 1;
  };
  llvm::DenseMap<Operation *, Shrunk> ridden; ///< linears whose t is made before them
  llvm::DenseMap<Operation *, Place>
      rotatedQ; ///< of attends whose linear rotates q and k and writes the cache
  Value logits;
  int buffers = 0;
};

FlatSymbolRefAttr ProgramWriter::addBuffer(const Twine &name, StringRef space, Expr size, StringRef input,
                                           FlatSymbolRefAttr angles, std::optional<Expr> offset,
                                           int64_t rowStride, int64_t width) {
  std::string text = name.str();
  plan::BufferOp::create(builder, loc, text, space, size.get(), offset ? offset->get() : ExprAttr(),
                         input.empty() ? StringAttr() : builder.getStringAttr(input), angles,
                         rowStride ? builder.getI64IntegerAttr(rowStride) : IntegerAttr(),
                         width ? builder.getI64IntegerAttr(width) : IntegerAttr());
  FlatSymbolRefAttr symbol = FlatSymbolRefAttr::get(shared.context(), text);
  sizes[symbol] = size.get();
  return symbol;
}

FlatSymbolRefAttr ProgramWriter::stepInput(StringRef input, Expr size, FlatSymbolRefAttr angles) {
  std::string name = angles ? (input + "." + angles.getValue()).str() : input.str();
  FlatSymbolRefAttr &buffer = inputs[name];
  if (!buffer)
    buffer = addBuffer(name, "step", size, input, angles);
  return buffer;
}

FlatSymbolRefAttr ProgramWriter::poolBuffer() {
  FlatSymbolRefAttr &buffer = inputs["pool"];
  if (!buffer)
    buffer = addBuffer("pool", "pool", symbol("pool_bytes"), {}, {}, constant(0));
  return buffer;
}

FlatSymbolRefAttr ProgramWriter::cacheBuffer(int64_t layer) {
  FlatSymbolRefAttr &buffer = inputs["cache." + std::to_string(layer)];
  if (!buffer)
    buffer = addBuffer("cache." + Twine(layer), "cache", symbol("pages") * cache.layerPageBytes, {}, {},
                       symbol("pages") * (layer * cache.layerPageBytes));
  return buffer;
}

Place ProgramWriter::arenaRows(int64_t width, bool gathered) {
  int64_t stride = roundUp(width, BlockValues);
  return {addBuffer("rows." + Twine(buffers++), "arena", constant(rowClass.rowsMax * stride * 4)), 0, stride,
          gathered};
}

/// `bytes` from byte `from`, or all behind it; a view that begins elsewhere than at 0 needs a buffer of known
/// size.
Attribute ProgramWriter::view(FlatSymbolRefAttr buffer, plan::Access access, int64_t from,
                              std::optional<int64_t> bytes) {
  auto known = sizes.find(buffer);
  ExprAttr size = known != sizes.end() ? known->second : constant(shared.weightsSize(buffer)).get();
  if (bytes)
    size = constant(*bytes).get();
  else if (from > 0)
    size = constant(*Expr(size).asConstant() - from).get();
  return plan::ViewAttr::get(shared.context(), buffer, access, constant(from).get(), size);
}

Attribute ProgramWriter::codesView(const Planes &planes, Window window) {
  return view(planes.buffer, plan::Access::Read, window.firstRow * planes.codeRowBytes,
              window.rows * planes.codeRowBytes);
}

SmallVector<Attribute> ProgramWriter::scaleViews(const Planes &planes, Window window) {
  SmallVector<Attribute> views;
  if (planes.scaleRowBytes > 0)
    views.push_back(view(planes.buffer, plan::Access::Read,
                         planes.scalesFrom + window.firstRow * planes.scaleRowBytes,
                         window.rows * planes.scaleRowBytes));
  if (planes.type.nested) {
    views.push_back(view(planes.buffer, plan::Access::Read, planes.nestedFrom, planes.nestedBytes));
    views.push_back(read(shared.dynamicMap()));
  }
  return views;
}

void ProgramWriter::dispatch(FlatSymbolRefAttr kernel, Expr x, Expr y, ArrayRef<Attribute> views,
                             ArrayRef<std::pair<StringRef, Expr>> push) {
  SmallVector<NamedAttribute> named;
  for (auto [name, value] : push)
    named.push_back(builder.getNamedAttr(name, value.get()));
  plan::DispatchOp::create(builder, loc, kernel, builder.getArrayAttr({x.get(), y.get(), constant(1).get()}),
                           builder.getArrayAttr(views), builder.getDictionaryAttr(named));
}

FailureOr<Place> ProgramWriter::wholeRows(Operation *user, Value value) {
  Place place = places.lookup(value);
  assert(place.buffer && "read before it is written");
  if (place.column != 0)
    return user->emitOpError(
        "reads one part of a joined linear's result; leave the linears apart (skip fuse)");
  return place;
}

LogicalResult ProgramWriter::writeOp(lora::EmbedOp op) {
  FlatSymbolRefAttr table = op.getTableAttr();
  Place y = places[op.getResult()] = arenaRows(rowWidth(op.getResult().getType()), false);
  const Planes planes = shared.matrix(table);
  FlatSymbolRefAttr kernel = shared.kernel("embed", storageConstants(planes.type));
  for (Window window : windowsOf(shared.weight(table).getTensorType().getDimSize(0), planes.codeRowBytes,
                                 planes.type.nested, shared.windowBytes)) {
    SmallVector<Attribute> views{codesView(planes, window), read(rowsInput()), write(y.buffer)};
    llvm::append_range(views, scaleViews(planes, window));
    dispatch(kernel, constant(1), symbol("rows"), views,
             {{"pieces", constant(planes.codeRowBytes / 16)},
              {"y_stride", constant(y.stride / 4)},
              {"first_row", constant(window.firstRow)},
              {"table_rows", constant(window.rows)}});
  }
  return success();
}

LogicalResult ProgramWriter::writeOp(lora::RmsNormOp op) {
  FailureOr<Place> x = wholeRows(op, op.getX());
  if (failed(x))
    return failure();
  int64_t width = rowWidth(op.getX().getType());
  Place y = places[op.getResult()] = arenaRows(width, x->gathered);
  float epsilon = float(op.getEpsilon().convertToDouble());
  SmallVector<Attribute> views{read(x->buffer), read(shared.vector(op.getWeightAttr())), write(y.buffer)};
  SmallVector<lora::SegmentAttr> segments;
  if (lora::LinearOp rider = riderOf(op.getResult())) {
    segments = rider.getSegmentList();
    FlatSymbolRefAttr t = shrinkResult(segments.size());
    ridden[rider] = {t};
    views.append({read(poolBuffer()), read(itemsInput()), write(t)});
    if (x->gathered)
      views.push_back(read(rowsInput()));
  }
  const bool rides = !segments.empty();
  SmallVector<std::pair<StringRef, Expr>> push{{"features", constant(width)},
                                               {"x_stride", constant(x->stride / 4)},
                                               {"y_stride", constant(y.stride)},
                                               {"epsilon_bits", constant(std::bit_cast<uint32_t>(epsilon))},
                                               {"rows", rowsOf(y)},
                                               {"items", rides ? symbol("items") : constant(0)}};
  llvm::append_range(push, sitePush(segments));
  FlatSymbolRefAttr kernel = shared.kernel("rms_norm", {{"SEGMENTS", segments.size()},
                                                        {"TAIL", rides && width % BlockValues != 0},
                                                        {"GATHERED", rides && x->gathered}});
  dispatch(kernel, rides ? rowsOf(y) + symbol("items") : constant(1), rides ? constant(1) : rowsOf(y), views,
           push);
  return success();
}

lora::LinearOp ProgramWriter::riderOf(Value x) {
  if (!adapters)
    return nullptr;
  for (Operation *user : x.getUsers())
    if (auto linear = dyn_cast<lora::LinearOp>(user);
        linear && linear.getX() == x && linear.getShrinkWithX() && linear.isOpen() && haveOneType(linear))
      return linear;
  return nullptr;
}

SmallVector<std::pair<StringRef, Expr>> ProgramWriter::sitePush(ArrayRef<lora::SegmentAttr> segments) {
  static constexpr StringRef Names[MaxSegments] = {"site_0", "site_1", "site_2", "site_3"};
  SmallVector<std::pair<StringRef, Expr>> push;
  for (size_t i = 0; i < MaxSegments; ++i)
    push.push_back({Names[i], constant(i < segments.size() ? shared.siteNumber(segments[i]) : 0)});
  return push;
}

bool ProgramWriter::haveOneType(lora::LinearOp op) {
  SmallVector<lora::SegmentAttr> segments = op.getSegmentList();
  return llvm::all_of(segments, [&](lora::SegmentAttr segment) {
    return shared.typeOf(segment.getWeight()) == shared.typeOf(segments.front().getWeight());
  });
}

lora::AttendOp ProgramWriter::fedAttend(lora::LinearOp op, size_t segments, ArrayRef<Window> windows) {
  if (!cache.f32 || segments != 3 || op.getNumResults() != 3 || op.hasEpilogue() || windows.size() != 1 ||
      !llvm::all_of(op.getResults(), [](Value result) { return result.hasOneUse(); }))
    return nullptr;
  auto attend = dyn_cast<lora::AttendOp>(*op.getResult(2).user_begin());
  if (!attend || attend.getV() != op.getResult(2))
    return nullptr;
  auto q = attend.getQ().getDefiningOp<lora::RopeOp>(), k = attend.getK().getDefiningOp<lora::RopeOp>();
  const bool feeds = q && k && q.getTable() == k.getTable() && q.getX() == op.getResult(0) &&
                     k.getX() == op.getResult(1) && q.getResult().hasOneUse() && k.getResult().hasOneUse();
  return feeds && headWidth(attend) % BlockValues == 0 ? attend : nullptr;
}

LogicalResult ProgramWriter::writeOp(lora::LinearOp op) {
  if (op.getAdapters())
    return op.emitOpError() << "site '" << op.getSegmentList().front().getSite().getValue()
                            << "' still has static adapters; run merge first";
  SmallVector<lora::SegmentAttr> segments = op.getSegmentList();
  if (haveOneType(op))
    return writeLinear(op, segments, SmallVector<Value>(op.getOutputs()));
  if (op.hasEpilogue())
    return op.emitOpError()
           << "sites '" << segments.front().getSite().getValue() << "' and '"
           << segments.back().getSite().getValue()
           << "' share an epilogue but have different packed types; give them one type or skip fuse";
  for (auto [segment, result] : llvm::zip(segments, op.getOutputs()))
    if (failed(writeLinear(op, {segment}, {result})))
      return failure();
  return success();
}

LogicalResult ProgramWriter::writeLinear(lora::LinearOp op, ArrayRef<lora::SegmentAttr> segments,
                                         ArrayRef<Value> results) {
  FailureOr<Place> x = wholeRows(op, op.getX());
  if (failed(x))
    return failure();
  int64_t in = rowWidth(op.getX().getType());
  if (op.hasEpilogue() && segments.size() > 2)
    return op.emitOpError() << "site '" << segments.front().getSite().getValue() << "' combines "
                            << segments.size() << " segments in its epilogue, kernels combine at most 2";
  if (op.getExtras().size() > 2)
    return op.emitOpError() << "site '" << segments.front().getSite().getValue() << "' has "
                            << op.getExtras().size() << " point-wise operands, kernels take at most 2";

  // The joined weight, and the joined bias beside it (zeros where a segment has none).
  SmallVector<int64_t> rows, biasStarts;
  SmallVector<FlatSymbolRefAttr> weights, biases;
  for (lora::SegmentAttr segment : segments) {
    rows.push_back(shared.weight(segment.getWeight()).getTensorType().getDimSize(0));
    weights.push_back(segment.getWeight());
  }
  JoinedWeight joined = joinRows(rows);
  for (auto [segment, start] : llvm::zip(segments, joined.startTiles))
    if (segment.getBias()) {
      biases.push_back(segment.getBias());
      biasStarts.push_back(start * TileRows * 4);
    }
  const Planes planes = shared.matrix(weights, joined.startTiles, joined.rows);
  // Segments that an epilogue combines are read together, so no window holds them: a map combines them then.
  SmallVector<Window> windows =
      windowsOf(joined.rows, planes.codeRowBytes, planes.type.nested, shared.windowBytes);
  const bool combines = op.hasEpilogue() && segments.size() == 2;
  const bool apart = combines && windows.size() > 1 && op.getExtras().empty();
  const int64_t combine = combines && !apart ? 2 : 1;
  lora::AttendOp attend = fedAttend(op, segments.size(), windows);

  // The result: one segment's width where they are combined, q alone where k and v go to the cache, else all
  // side by side.
  int64_t yTiles = (combine == 2 || attend ? roundUp(rows.front(), TileRows) : joined.rows) / TileRows;
  bool isLogits = results.front() == logits && !apart;
  int64_t stride = roundUp(yTiles * TileRows, BlockValues);
  FlatSymbolRefAttr yBuffer =
      isLogits ? addBuffer("logits", "out", constant(rowClass.rowsMax * stride * 4), {}, {}, constant(0),
                           stride, vocab)
               : addBuffer("rows." + Twine(buffers++), "arena", constant(rowClass.rowsMax * stride * 4));
  SmallVector<Place> parts;
  for (int64_t start : joined.startTiles)
    parts.push_back({yBuffer, start * TileRows, stride, x->gathered});
  if (attend)
    rotatedQ[attend] = parts.front();
  else if (!apart)
    for (auto [result, part] : llvm::zip(results, parts))
      places[result] = part;

  bool open = adapters && llvm::any_of(segments, [](lora::SegmentAttr segment) { return segment.getOpen(); });
  SmallVector<std::pair<StringRef, Expr>> sites = sitePush(open ? segments : ArrayRef<lora::SegmentAttr>());
  Shrunk shrunk = ridden.lookup(op);
  Expr items = symbol("items");
  if (open && !shrunk.t) {
    FlatSymbolRefAttr t = shrinkResult(segments.size());
    shrunk = {t};
    SmallVector<Attribute> views{read(x->buffer), read(poolBuffer()), read(itemsInput()), write(t)};
    if (x->gathered)
      views.push_back(read(rowsInput()));
    SmallVector<std::pair<StringRef, Expr>> push{
        {"in_features", constant(in)}, {"x_stride", constant(x->stride / 4)}, {"items", items}};
    llvm::append_range(push, sites);
    FlatSymbolRefAttr shrink = shared.kernel(
        "shrink",
        {{"SEGMENTS", segments.size()}, {"TAIL", in % BlockValues != 0}, {"GATHERED", x->gathered}});
    dispatch(shrink, items, constant(1), views, push);
  }

  ArrayAttr epilogue;
  if (op.hasEpilogue()) {
    // To a map the segments are operands.
    FailureOr<ArrayAttr> terms =
        EpilogueTranslation(op.getEpilogue().front(), apart ? 0 : segments.size()).translate();
    if (failed(terms))
      return failure();
    epilogue = *terms;
  }
  const int64_t tiles = LaneTiles / combine;
  SmallVector<std::pair<StringRef, int64_t>> constants = storageConstants(planes.type);
  constants.append({{"ROWS", rowClass.blockRows},
                    {"TILES", tiles},
                    {"TAIL", in % wholeValues(planes.type) != 0},
                    {"COMBINE", combine},
                    {"HAS_BIAS", !biases.empty()},
                    {"HAS_OPERAND0", op.getExtras().size() > 0},
                    {"HAS_OPERAND1", op.getExtras().size() > 1},
                    {"HEAD", attend ? headWidth(attend) : 0}});
  auto kernelOf = [&](bool expands) {
    SmallVector<std::pair<StringRef, int64_t>> all(constants);
    all.append({{"ADAPTERS", expands},
                {"GATHERED", expands && x->gathered},
                {"T_PARTS", expands ? shrunk.parts : 1}});
    return shared.kernel("linear", all, apart ? ArrayAttr() : epilogue);
  };

  SmallVector<FlatSymbolRefAttr> extras;
  for (Value extra : op.getExtras()) {
    FailureOr<Place> place = wholeRows(op, extra);
    if (failed(place))
      return failure();
    if (place->stride != stride)
      return op.emitOpError() << "site '" << segments.front().getSite().getValue()
                              << "': point-wise operand has rows of " << place->stride
                              << " values, the result of " << stride;
    extras.push_back(place->buffer);
  }
  SmallVector<Attribute> adapterViews;
  if (open) {
    adapterViews.append({read(stacksInput()), read(itemsInput()), read(poolBuffer()), read(shrunk.t)});
    if (x->gathered)
      adapterViews.push_back(read(outInput()));
  }
  FlatSymbolRefAttr bias;
  if (!biases.empty())
    bias = shared.vectors(biases, biasStarts, joined.rows * 4);
  SmallVector<std::pair<StringRef, Expr>> push{
      {"in_features", constant(in)}, {"x_stride", constant(x->stride / 4)}, {"y_stride", constant(stride)}};
  static constexpr StringRef SegmentNames[MaxSegments] = {"", "segment_1", "segment_2", "segment_3"};
  for (size_t i = 1; i < MaxSegments; ++i)
    push.push_back({SegmentNames[i], constant(i < segments.size() ? joined.startTiles[i] : NoSegment)});
  if (combine == 2)
    windows = {{0, joined.rows}};
  auto dispatchWindow = [&](Window window, bool expands, Expr ofRows) {
    const int64_t columns = combine == 2 ? yTiles * TileRows : window.rows, from = window.firstRow * 4;
    SmallVector<Attribute> views{codesView(planes, window), read(x->buffer),
                                 view(yBuffer, plan::Access::Write, from)};
    if (bias)
      views.push_back(view(bias, plan::Access::Read, from));
    for (FlatSymbolRefAttr extra : extras)
      views.push_back(view(extra, plan::Access::Read, from));
    if (expands)
      llvm::append_range(views, adapterViews);
    llvm::append_range(views, scaleViews(planes, window));
    if (attend)
      views.append({read(rowsInput()), read(pagesInput()),
                    read(anglesInput(attend.getQ().getDefiningOp<lora::RopeOp>(), headWidth(attend))),
                    write(cacheBuffer(int64_t(attend.getLayer())))});
    SmallVector<std::pair<StringRef, Expr>> windowPush(push);
    windowPush.append({{"rows", ofRows},
                       {"items", expands ? items : constant(0)},
                       {"tiles", constant(columns / TileRows)},
                       {"first_tile", constant(window.firstRow / TileRows)}});
    llvm::append_range(windowPush, expands ? sites : sitePush({}));
    dispatch(kernelOf(expands), constant(llvm::divideCeil(columns, Lanes * tiles)),
             ofRows.ceilDiv(rowClass.blockRows), views, windowPush);
  };
  // The head is large and few adapters have it: a step without one computes it as the base does.
  const bool hasBoth = open && isLogits && segments.size() == 1 && x->gathered;
  for (Window window : windows) {
    if (hasBoth)
      dispatchWindow(window, false, symbol("plain_rows"));
    dispatchWindow(window, open, hasBoth ? symbol("adapted_rows") : rowsOf(*x));
  }
  if (apart)
    writeMap(results.front(), epilogue, parts[0], parts[1]);
  return success();
}

void ProgramWriter::writeMap(Value result, ArrayAttr epilogue, const Place &first,
                             std::optional<Place> second) {
  const int64_t width = rowWidth(result.getType());
  Place y = places[result] = arenaRows(width, first.gathered);
  SmallVector<Attribute> views{read(first.buffer)};
  if (second)
    views.push_back(read(second->buffer));
  views.push_back(write(y.buffer));
  dispatch(shared.kernel("map", {{"HAS_OPERAND1", second.has_value()}}, epilogue),
           constant(llvm::divideCeil(width, Lanes * 4)), rowsOf(y), views,
           {{"width", constant(width)},
            {"stride0", constant(first.stride)},
            {"stride1", constant(second ? second->stride : 0)},
            {"y_stride", constant(y.stride)},
            {"column0", constant(first.column)},
            {"column1", constant(second ? second->column : 0)}});
}

LogicalResult ProgramWriter::writeOp(lora::MapOp op) {
  FailureOr<ArrayAttr> epilogue = EpilogueTranslation(op.getBody().front(), 0).translate();
  if (failed(epilogue))
    return failure();
  std::optional<Place> second;
  if (op.getInputs().size() > 1)
    second = places.lookup(op.getInputs()[1]);
  writeMap(op.getResult(), *epilogue, places.lookup(op.getInputs()[0]), second);
  return success();
}

/// Rotates q and k of an attend, and writes k and v to the cache, where no linear has done it.
FailureOr<Place> ProgramWriter::writeRope(lora::AttendOp op) {
  auto qRope = op.getQ().getDefiningOp<lora::RopeOp>(), kRope = op.getK().getDefiningOp<lora::RopeOp>();
  if (bool(qRope) != bool(kRope) || (qRope && qRope.getTable() != kRope.getTable()))
    return op.emitOpError("needs q and k rotated by one table, or neither");
  Place q = places.lookup(qRope ? qRope.getX() : op.getQ()),
        k = places.lookup(kRope ? kRope.getX() : op.getK());
  Place v = places.lookup(op.getV());
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), head = headWidth(op);
  int64_t paddedHead = roundUp(head, BlockValues);
  Place rotated{
      addBuffer("rows." + Twine(buffers++), "arena", constant(rowClass.rowsMax * heads * paddedHead * 4)), 0,
      heads * paddedHead, false};
  SmallVector<Attribute> views{read(q.buffer), read(k.buffer), read(v.buffer), read(rowsInput()),
                               read(pagesInput())};
  if (qRope)
    views.push_back(read(anglesInput(qRope, head)));
  views.append({write(rotated.buffer), write(cacheBuffer(op.getLayer()))});
  dispatch(shared.kernel("rope", {{"HEAD", head}, {"ROTATE", bool(qRope)}, {"CACHE_F32", cache.f32}}),
           constant(heads + 2 * kvHeads), symbol("rows"), views,
           {{"q_column", constant(q.column)},
            {"k_column", constant(k.column)},
            {"v_column", constant(v.column)},
            {"q_stride", constant(q.stride)},
            {"k_stride", constant(k.stride)},
            {"v_stride", constant(v.stride)},
            {"y_stride", constant(rotated.stride)},
            {"q_heads", constant(heads)},
            {"kv_heads", constant(kvHeads)}});
  return rotated;
}

LogicalResult ProgramWriter::writeOp(lora::AttendOp op) {
  auto made = rotatedQ.find(op);
  FailureOr<Place> rotated = made != rotatedQ.end() ? FailureOr<Place>(made->second) : writeRope(op);
  if (failed(rotated))
    return failure();
  const int64_t kvHeads = op.getKvHeads(), group = int64_t(op.getHeads()) / kvHeads;
  // As many q heads a workgroup as share a key head and fit the registers.
  int64_t together = 4;
  while (group % together != 0)
    --together;
  Place y = places[op.getResult()] = arenaRows(rowWidth(op.getQ().getType()), false);
  const float scale = float(op.getScale().convertToDouble());
  const int64_t groups = kvHeads * (group / together);
  SmallVector<Attribute> views{read(rotated->buffer), read(rowsInput()), read(pagesInput()),
                               read(cacheBuffer(op.getLayer())), write(y.buffer)};
  lora::LinearOp rider = riderOf(op.getResult());
  const bool rides = rider && headWidth(op) % BlockValues == 0 && groups <= MaxParts;
  if (rides) {
    FlatSymbolRefAttr t = shrinkResult(size_t(groups));
    ridden[rider] = {t, groups};
    views.append({read(stacksInput()), read(poolBuffer()), read(itemsInput()), write(t)});
  }
  dispatch(shared.kernel(
               "attend",
               {{"HEAD", headWidth(op)}, {"HEADS", together}, {"CACHE_F32", cache.f32}, {"SEGMENTS", rides}}),
           constant(groups), symbol("rows"), views,
           {{"q_stride", constant(rotated->stride / 4)},
            {"y_stride", constant(y.stride)},
            {"kv_heads", constant(kvHeads)},
            {"group", constant(group)},
            {"scale_bits", constant(std::bit_cast<uint32_t>(scale))},
            {"items", rides ? symbol("items") : constant(0)},
            {"site_0", constant(rides ? shared.siteNumber(rider.getSegmentList().front()) : 0)}});
  return success();
}

LogicalResult ProgramWriter::writeOp(lora::GatherRowsOp op) {
  FailureOr<Place> x = wholeRows(op, op.getX());
  if (failed(x))
    return failure();
  if (x->gathered)
    return op.emitOpError("gathers rows that were gathered before");
  Place y = places[op.getResult()] = arenaRows(rowWidth(op.getX().getType()), true);
  dispatch(shared.kernel("gather", {}), constant(1), symbol("out_rows"),
           {read(x->buffer), read(outInput()), write(y.buffer)},
           {{"width", constant(x->stride / 4)},
            {"x_stride", constant(x->stride / 4)},
            {"y_stride", constant(y.stride / 4)}});
  return success();
}

LogicalResult ProgramWriter::write(lora::StepOp step) {
  std::string name = rowClass.name + (adapters ? "_adapters" : "");
  OpBuilder atEnd = OpBuilder::atBlockEnd(shared.module.getBody());
  program =
      plan::ProgramOp::create(atEnd, loc, name, rowClass.rowsMin, rowClass.rowsMax, adapters, IntegerAttr());
  shared.keepBefore(program);
  builder.setInsertionPointToEnd(&program.getBody().emplaceBlock());
  Block &block = step.getBody().front();
  logits = cast<lora::YieldOp>(block.back()).getValues()[0];
  for (Operation &op : block.without_terminator()) {
    LogicalResult written =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case<lora::EmbedOp, lora::RmsNormOp, lora::LinearOp, lora::MapOp, lora::AttendOp,
                  lora::GatherRowsOp>([&](auto known) { return writeOp(known); })
            .Case<lora::RopeOp>([&](lora::RopeOp rope) { // attend writes it, with the cache
              for (Operation *user : rope.getResult().getUsers())
                if (auto attend = dyn_cast<lora::AttendOp>(user);
                    !attend || attend.getV() == rope.getResult())
                  return LogicalResult(rope.emitOpError(
                      "has a use other than as q or k of lora.attend, which no kernel serves"));
              return success();
            })
            .Default([](Operation *other) { return other->emitOpError("may not stand in a step"); });
    if (failed(written))
      return failure();
  }
  return success();
}

/// The cache that the step's attends share; every layer has one shape.
FailureOr<CacheShape> cacheShape(lora::StepOp step, bool f32) {
  CacheShape cache{0, 0, f32};
  for (lora::AttendOp attend : step.getBody().front().getOps<lora::AttendOp>()) {
    if (int64_t(attend.getLayer()) != cache.layers)
      return attend.emitOpError() << "is layer " << attend.getLayer() << ", expected " << cache.layers;
    int64_t head = rowWidth(attend.getK().getType()) / int64_t(attend.getKvHeads());
    int64_t bytes = int64_t(attend.getKvHeads()) * 2 * PageTokens * roundUp(head, 8) * (f32 ? 4 : 2);
    if (cache.layers == 0)
      cache.layerPageBytes = bytes;
    else if (cache.layerPageBytes != bytes)
      return attend.emitOpError() << "of layer " << cache.layers
                                  << " needs another cache shape than the layers before";
    ++cache.layers;
  }
  if (cache.layers == 0)
    return step.emitOpError("has no lora.attend");
  return cache;
}

struct SelectPass final : impl::SelectPassBase<SelectPass> {
  using SelectPassBase::SelectPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto steps = llvm::to_vector(module.getOps<lora::StepOp>());
    if (steps.empty()) // already a plan
      return;
    auto models = llvm::to_vector(module.getOps<lora::ModelOp>());
    if (steps.size() != 1 || models.size() != 1) {
      module.emitError() << "has " << steps.size() << " lora.step and " << models.size()
                         << " lora.model, expected one of each";
      return signalPassFailure();
    }
    if (failed(select(module, steps.front(), models.front())))
      signalPassFailure();
  }

private:
  LogicalResult select(ModuleOp module, lora::StepOp step, lora::ModelOp model) {
    for (lora::WeightOp weight : module.getOps<lora::WeightOp>())
      if (weight.getTensorType().getRank() == 2 && !weight.getPacked())
        return weight.emitOpError() << "'" << weight.getSymName()
                                    << "' has no packed type; run quantize first";
    Value logits = cast<lora::YieldOp>(step.getBody().front().back()).getValues()[0];
    if (!logits.getDefiningOp<lora::LinearOp>())
      return step.emitOpError("must yield the result of a lora.linear as logits");
    if (rowWidth(logits.getType()) != int64_t(model.getVocab()))
      return step.emitOpError() << "yields logits of " << rowWidth(logits.getType())
                                << " words, lora.model has " << model.getVocab();

    SharedParts shared(module, int64_t(windowBytes.getValue()));
    if (failed(shared.declareSites(step)))
      return failure();
    FailureOr<CacheShape> cache = cacheShape(step, model.getCache().value_or("f32") == "f32");
    if (failed(cache))
      return failure();
    plan::CacheOp::create(shared.builder, module.getLoc(), PageTokens, cache->layers * cache->layerPageBytes);
    for (const RowClass &rowClass : rowClasses(int64_t(model.getMaxRows().value_or(DefaultMaxRows))))
      for (bool adapters : {false, true}) {
        if (failed(ProgramWriter(shared, rowClass, adapters, *cache, model.getVocab()).write(step)))
          return failure();
        ++programs;
      }
    step.erase();
    return success();
  }
};

} // namespace
} // namespace lorac
