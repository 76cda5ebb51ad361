//===- Plan.cpp - expressions, syntax and verifiers of the plan dialect ----===//
#include "dialect/plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialect/plan/PlanDialect.cpp.inc"
#include "dialect/plan/PlanEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/plan/PlanAttrs.cpp.inc"

using namespace mlir;
using namespace lorac::plan;

void PlanDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/plan/PlanAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialect/plan/PlanOps.cpp.inc"
      >();
}

// ---- expressions --------------------------------------------------------------------------------

ArrayRef<SymbolInfo> lorac::plan::symbolTable() {
  enum { Step = true, Load = false };
  static constexpr SymbolInfo Table[] = {
#define SYMBOL(NAME, CLASS, MAXIMUM, MEANING) {#NAME, bool(CLASS), MAXIMUM},
#include "schemas/Symbols.def"
#undef SYMBOL
  };
  return Table;
}

static std::optional<int64_t> findSymbol(StringRef name) {
  for (auto [index, symbol] : llvm::enumerate(symbolTable()))
    if (symbol.name == name)
      return int64_t(index);
  return std::nullopt;
}

static std::optional<uint64_t> apply(ExprCode op, uint64_t a, uint64_t b) {
  uint64_t result = 0;
  switch (op) {
  case ExprCode::Add:
    return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
  case ExprCode::Mul:
    return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
  case ExprCode::CeilDiv:
    return b == 0 ? std::nullopt : std::optional(a / b + (a % b != 0));
  case ExprCode::Min:
    return std::min(a, b);
  case ExprCode::Max:
    return std::max(a, b);
  case ExprCode::Const:
  case ExprCode::Symbol:
    break;
  }
  return std::nullopt;
}

Expr Expr::constant(MLIRContext *context, uint64_t value) {
  return Expr(ExprAttr::get(context, {int64_t(ExprCode::Const), int64_t(value)}));
}

Expr Expr::symbol(MLIRContext *context, StringRef name) {
  std::optional<int64_t> index = findSymbol(name);
  assert(index && "not a symbol of schemas/Symbols.def");
  return Expr(ExprAttr::get(context, {int64_t(ExprCode::Symbol), *index}));
}

std::optional<uint64_t> Expr::asConstant() const {
  ArrayRef<int64_t> code = attr.getCode();
  if (code.size() == 2 && code[0] == int64_t(ExprCode::Const))
    return uint64_t(code[1]);
  return std::nullopt;
}

Expr Expr::binary(ExprCode op, Expr other) const {
  std::optional<uint64_t> a = asConstant(), b = other.asConstant();
  if (a && b)
    if (std::optional<uint64_t> value = apply(op, *a, *b))
      return constant(attr.getContext(), *value);
  SmallVector<int64_t> code(attr.getCode());
  llvm::append_range(code, other.attr.getCode());
  code.append({int64_t(op), 0});
  return Expr(ExprAttr::get(attr.getContext(), code));
}

Expr Expr::operator+(Expr other) const {
  if (asConstant() == 0u)
    return other;
  return other.asConstant() == 0u ? *this : binary(ExprCode::Add, other);
}
Expr Expr::operator*(Expr other) const {
  if (asConstant() == 1u)
    return other;
  return other.asConstant() == 1u ? *this : binary(ExprCode::Mul, other);
}
Expr Expr::ceilDiv(uint64_t divisor) const {
  return divisor == 1 ? *this : binary(ExprCode::CeilDiv, constant(attr.getContext(), divisor));
}
Expr Expr::max(Expr other) const { return attr == other.attr ? *this : binary(ExprCode::Max, other); }

std::optional<uint64_t> lorac::plan::evaluate(ExprAttr expr, ArrayRef<uint64_t> symbols) {
  SmallVector<uint64_t> stack;
  ArrayRef<int64_t> code = expr.getCode();
  for (size_t i = 0; i + 1 < code.size(); i += 2) {
    ExprCode op = ExprCode(code[i]);
    if (op == ExprCode::Const) {
      stack.push_back(uint64_t(code[i + 1]));
    } else if (op == ExprCode::Symbol) {
      stack.push_back(symbols[size_t(code[i + 1])]);
    } else {
      uint64_t b = stack.pop_back_val(), a = stack.pop_back_val();
      std::optional<uint64_t> value = apply(op, a, b);
      if (!value)
        return std::nullopt;
      stack.push_back(*value);
    }
  }
  return stack.back();
}

bool lorac::plan::usesStepSymbol(ExprAttr expr) {
  ArrayRef<int64_t> code = expr.getCode();
  for (size_t i = 0; i + 1 < code.size(); i += 2)
    if (ExprCode(code[i]) == ExprCode::Symbol && symbolTable()[size_t(code[i + 1])].isStep)
      return true;
  return false;
}

/// term := number | symbol | function(expr, expr) | '(' expr ')'. Nesting is bounded, so that no text runs
/// the stack out.
static ParseResult parseTerm(AsmParser &parser, SmallVectorImpl<int64_t> &code, int depth);

static ParseResult parseProduct(AsmParser &parser, SmallVectorImpl<int64_t> &code, int depth) {
  if (parseTerm(parser, code, depth))
    return failure();
  while (succeeded(parser.parseOptionalStar())) {
    if (parseTerm(parser, code, depth))
      return failure();
    code.append({int64_t(ExprCode::Mul), 0});
  }
  return success();
}

static ParseResult parseSum(AsmParser &parser, SmallVectorImpl<int64_t> &code, int depth) {
  if (parseProduct(parser, code, depth))
    return failure();
  while (succeeded(parser.parseOptionalPlus())) {
    if (parseProduct(parser, code, depth))
      return failure();
    code.append({int64_t(ExprCode::Add), 0});
  }
  return success();
}

static ParseResult parseTerm(AsmParser &parser, SmallVectorImpl<int64_t> &code, int depth) {
  if (depth > 32)
    return parser.emitError(parser.getCurrentLocation(), "expression nests deeper than 32");
  uint64_t value = 0;
  OptionalParseResult number = parser.parseOptionalInteger(value);
  if (number.has_value()) {
    if (failed(*number))
      return failure();
    code.append({int64_t(ExprCode::Const), int64_t(value)});
    return success();
  }
  if (succeeded(parser.parseOptionalLParen()))
    return failure(parseSum(parser, code, depth + 1) || parser.parseRParen());
  SMLoc location = parser.getCurrentLocation();
  StringRef word;
  if (parser.parseKeyword(&word))
    return failure();
  std::optional<ExprCode> function = llvm::StringSwitch<std::optional<ExprCode>>(word)
                                         .Case("ceildiv", ExprCode::CeilDiv)
                                         .Case("min", ExprCode::Min)
                                         .Case("max", ExprCode::Max)
                                         .Default(std::nullopt);
  if (function) {
    if (parser.parseLParen() || parseSum(parser, code, depth + 1) || parser.parseComma() ||
        parseSum(parser, code, depth + 1) || parser.parseRParen())
      return failure();
    code.append({int64_t(*function), 0});
    return success();
  }
  std::optional<int64_t> symbol = findSymbol(word);
  if (!symbol)
    return parser.emitError(location, "'") << word << "' is no symbol of a plan";
  code.append({int64_t(ExprCode::Symbol), *symbol});
  return success();
}

Attribute ExprAttr::parse(AsmParser &parser, Type) {
  SmallVector<int64_t> code;
  if (parser.parseLess() || parseSum(parser, code, 0) || parser.parseGreater())
    return {};
  return ExprAttr::get(parser.getContext(), code);
}

void ExprAttr::print(AsmPrinter &printer) const {
  // Text and whether it is a sum (needs parentheses inside a product).
  SmallVector<std::pair<std::string, bool>> stack;
  ArrayRef<int64_t> code = getCode();
  for (size_t i = 0; i + 1 < code.size(); i += 2) {
    ExprCode op = ExprCode(code[i]);
    if (op == ExprCode::Const) {
      stack.push_back({std::to_string(uint64_t(code[i + 1])), false});
      continue;
    }
    if (op == ExprCode::Symbol) {
      stack.push_back({symbolTable()[size_t(code[i + 1])].name.str(), false});
      continue;
    }
    auto b = stack.pop_back_val(), a = stack.pop_back_val();
    auto grouped = [](const std::pair<std::string, bool> &term) {
      return term.second ? "(" + term.first + ")" : term.first;
    };
    if (op == ExprCode::Add) // left to right, as it is parsed; a sum on the right keeps its parentheses
      stack.push_back({a.first + " + " + grouped(b), true});
    else if (op == ExprCode::Mul) {
      bool product = b.first.find(" * ") != std::string::npos && !b.second;
      stack.push_back({grouped(a) + " * " + (product ? "(" + b.first + ")" : grouped(b)), false});
    } else {
      StringRef name = op == ExprCode::CeilDiv ? "ceildiv" : op == ExprCode::Min ? "min" : "max";
      stack.push_back({name.str() + "(" + a.first + ", " + b.first + ")", false});
    }
  }
  printer << '<' << stack.back().first << '>';
}

// ---- verifiers ----------------------------------------------------------------------------------

LogicalResult WeightsOp::verify() {
  if (std::optional<ElementsAttr> values = getValues()) {
    auto dense = dyn_cast<DenseFPElementsAttr>(*values);
    if (!dense || !dense.getElementType().isF32() || !getHolds().empty() || !getStarts().empty() ||
        getScales() || getNestedScales() || dense.getNumElements() * 4 != int64_t(getSize()))
      return emitOpError() << "'" << getSymName()
                           << "' has values: expected f32 that fill it, and no tensors";
    return success();
  }
  if (getHolds().empty() || getHolds().size() != getStarts().size())
    return emitOpError() << "'" << getSymName() << "' has " << getHolds().size() << " weights and "
                         << getStarts().size() << " starts";
  for (Attribute held : getHolds())
    if (!isa<FlatSymbolRefAttr>(held))
      return emitOpError() << "'" << getSymName() << "' holds " << held
                           << ", expected the symbol of a weight";
  // The planes follow each other: values or codes of all tensors, scales of all, nested scales of all.
  int64_t previous = -1;
  for (std::optional<ArrayRef<int64_t>> plane :
       {std::optional(getStarts()), getScales(), getNestedScales()}) {
    if (!plane)
      continue;
    if (plane->size() != getHolds().size())
      return emitOpError() << "'" << getSymName() << "' has " << getHolds().size()
                           << " weights and a plane of " << plane->size();
    for (int64_t start : *plane) {
      if (start <= previous || start >= int64_t(getSize()))
        return emitOpError() << "'" << getSymName() << "' starts a weight at " << start << ", after "
                             << previous << " of " << getSize();
      previous = start;
    }
  }
  return success();
}

LogicalResult KernelOp::verify() {
  for (NamedAttribute constant : getConstants())
    if (!isa<IntegerAttr>(constant.getValue()))
      return emitOpError() << "'" << getSymName() << "': constant " << constant.getName() << " is no integer";
  if (getEpilogue())
    for (Attribute attr : getEpilogue()->getValue()) {
      auto term = dyn_cast<TermAttr>(attr);
      if (!term)
        return emitOpError() << "'" << getSymName() << "': epilogue holds " << attr
                             << ", expected #plan.term";
      bool index = term.getOp() == TermOp::Segment || term.getOp() == TermOp::Operand;
      bool fits = index                           ? isa_and_nonnull<IntegerAttr>(term.getValue())
                  : term.getOp() == TermOp::Const ? isa_and_nonnull<FloatAttr>(term.getValue())
                                                  : !term.getValue();
      if (!fits)
        return emitOpError() << "'" << getSymName() << "': epilogue term " << attr << " has the wrong value";
    }
  return success();
}

LogicalResult BufferOp::verify() {
  if (!symbolizeSpace(getSpace()))
    return emitOpError() << "'" << getSymName() << "' is in space \"" << getSpace()
                         << "\", which does not exist";
  if (getInput() && !symbolizeStepInput(*getInput()))
    return emitOpError() << "'" << getSymName() << "' has input \"" << *getInput()
                         << "\", which does not exist";
  if (usesStepSymbol(getSize()) || (getOffset() && usesStepSymbol(*getOffset())))
    return emitOpError() << "'" << getSymName() << "' has a size or offset that changes with each step";
  if ((inputKind() != StepInput::None) != (spaceKind() == Space::Step))
    return emitOpError() << "'" << getSymName()
                         << "' must have an input exactly where it is in the step space";
  if ((inputKind() == StepInput::Angles) != bool(getAngles()))
    return emitOpError() << "'" << getSymName()
                         << "' must name a rope table exactly where its input is angles";
  return success();
}

LogicalResult DispatchOp::verify() {
  if (getGrid().size() != 3)
    return emitOpError() << "of " << getKernel() << " has a grid of " << getGrid().size()
                         << " sizes, expected 3";
  for (Attribute size : getGrid())
    if (!isa<ExprAttr>(size))
      return emitOpError() << "of " << getKernel() << " has a grid size " << size << ", expected #plan.expr";
  for (NamedAttribute push : getPush())
    if (!isa<ExprAttr>(push.getValue()))
      return emitOpError() << "of " << getKernel() << " pushes " << push.getName() << " as "
                           << push.getValue() << ", expected #plan.expr";
  for (Attribute attr : getViews()) {
    auto view = dyn_cast<ViewAttr>(attr);
    if (!view)
      return emitOpError() << "of " << getKernel() << " binds " << attr << ", expected #plan.view";
    if (usesStepSymbol(view.getOffset()) || usesStepSymbol(view.getSize()))
      return emitOpError() << "of " << getKernel() << " binds " << view.getBuffer()
                           << " at an offset or size that changes with each step";
  }
  return success();
}

LogicalResult ChainOp::verify() {
  if (getLinks().size() < 2 || getLinks().size() != getWaits().size() || getWaits().front())
    return emitOpError() << "'" << getSymName() << "' has " << getLinks().size() << " links and "
                         << getWaits().size()
                         << " waits, expected at least 2, as many, and none before the first";
  for (Attribute link : getLinks())
    if (!isa<FlatSymbolRefAttr>(link))
      return emitOpError() << "'" << getSymName() << "' has link " << link
                           << ", expected the symbol of a kernel";
  return success();
}

/// The commands after `run` are its chain's links.
static LogicalResult verifyRun(RunOp run) {
  auto chain = dyn_cast_or_null<ChainOp>(
      ::mlir::SymbolTable::lookupSymbolIn(run->getParentOp()->getParentOp(), run.getChainAttr()));
  if (!chain)
    return run.emitOpError() << "of " << run.getChain() << ", which the module does not have";
  size_t link = run.getLink();
  bool waits = false;
  Operation *next = run;
  for (uint64_t i = 0; i < run.getCommands(); ++i) {
    do
      next = next->getNextNode();
    while (isa_and_nonnull<BufferOp>(next)); // no command
    if (isa_and_nonnull<BarrierOp>(next)) {
      waits = true;
      continue;
    }
    auto dispatch = dyn_cast_or_null<DispatchOp>(next);
    if (!dispatch || link >= chain.getLinks().size() || chain.getLinks()[link] != dispatch.getKernelAttr() ||
        (i > 0 && chain.getWaits()[link]) != waits)
      return run.emitOpError() << "of " << run.getChain() << ": command " << i
                               << " after it is no link number " << link << " of it";
    waits = false;
    ++link;
  }
  if (link == run.getLink() || waits)
    return run.emitOpError() << "of " << run.getChain() << " ends with a barrier, or runs no link";
  return success();
}

LogicalResult ProgramOp::verifyRegions() {
  int64_t least = getRowsMin(), most = getRowsMax();
  if (least < 1 || most < least)
    return emitOpError() << "'" << getSymName() << "' serves " << least << " to " << most << " rows";
  for (Operation &op : getBody().front()) {
    if (!isa<BufferOp, DispatchOp, FillOp, CopyOp, BarrierOp, RunOp>(op))
      return op.emitOpError() << "may not stand in a program";
    if (auto run = dyn_cast<RunOp>(op); run && failed(verifyRun(run)))
      return failure();
    if (auto buffer = dyn_cast<BufferOp>(op); buffer && !getAdapters()) {
      StepInput input = buffer.inputKind();
      if (buffer.spaceKind() == Space::Pool || input == StepInput::Stacks || input == StepInput::Entries ||
          input == StepInput::Items)
        return buffer.emitOpError() << "'" << buffer.getSymName() << "' is an adapter's, but program '"
                                    << getSymName() << "' has adapters off";
    }
    auto dispatch = dyn_cast<DispatchOp>(op);
    if (!dispatch)
      continue;
    auto kernel = dyn_cast_or_null<KernelOp>(
        ::mlir::SymbolTable::lookupSymbolIn((*this)->getParentOp(), dispatch.getKernelAttr()));
    if (!kernel)
      return dispatch.emitOpError() << "of " << dispatch.getKernel() << ", which the module does not have";
    for (auto view : dispatch.getViews().getAsRange<ViewAttr>()) {
      Operation *buffer = ::mlir::SymbolTable::lookupSymbolIn(*this, view.getBuffer());
      if (!buffer)
        buffer = ::mlir::SymbolTable::lookupSymbolIn((*this)->getParentOp(), view.getBuffer());
      if (!isa_and_nonnull<BufferOp, WeightsOp>(buffer))
        return dispatch.emitOpError()
               << "binds " << view.getBuffer() << ", which is no buffer of program '" << getSymName() << "'";
    }
  }
  return success();
}

#define GET_OP_CLASSES
#include "dialect/plan/PlanOps.cpp.inc"
