//===- Quantize.cpp - give every matrix a packed type ----------------------===//
// The packed type is part of a weight's type, so this pass changes types and nothing else; emit packs the
// values.
#include "compiler/packed/Quantizer.h"
#include "compiler/packed/Storage.h"
#include "compiler/passes/Passes.h"
#include "compiler/passes/Untie.h"

#include "mlir/IR/Builders.h"

namespace lorac {
#define GEN_PASS_DEF_QUANTIZEPASS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac

using namespace mlir;
using namespace lorac;

namespace {
/// What `as-stored` makes of an encoding without a packed type that holds its values exactly.
constexpr packed::Type kConverted = {packed::Code::F16};
constexpr StringRef AsStored = "as-stored";

struct Rule {
  std::string text;                 ///< as the user wrote it
  std::string pattern;              ///< of site names and weight names; "*" for a type alone
  std::optional<packed::Type> type; ///< none: as stored
  bool matched = false;
};

/// Whether `pattern`, in which * stands for any text, is all of `name`.
bool matches(StringRef pattern, StringRef name) {
  size_t star = StringRef::npos, resume = 0, p = 0, n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != StringRef::npos) { // let the last star take one more
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.substr(p).find_first_not_of('*') == StringRef::npos;
}

/// Whether `pattern` is all of `name` or of what follows a dot in it: `layers.*.mlp.*` and `up_proj` need not
/// say where layers are.
bool matchesEnd(StringRef pattern, StringRef name) {
  while (!matches(pattern, name)) {
    size_t dot = name.find('.');
    if (dot == StringRef::npos)
      return false;
    name = name.drop_front(dot + 1);
  }
  return true;
}

/// Reads `TYPE` or `PATTERN=TYPE`, or says at `op` what is wrong with it.
FailureOr<Rule> parseRule(Operation *op, StringRef text) {
  size_t equals = text.rfind('=');
  bool all = equals == StringRef::npos;
  StringRef type = all ? text : text.drop_front(equals + 1), pattern = all ? "*" : text.take_front(equals);
  auto refuse = [&] { return emitError(op->getLoc()) << "quantize rule '" << text << "': "; };
  if (pattern.empty())
    return refuse() << "there is no pattern before '='";
  Rule rule{text.str(), pattern.str(), {}, all};
  if (type == AsStored)
    return rule;
  rule.type = packed::parse(type);
  if (!rule.type)
    return refuse() << "unknown type '" << type
                    << "', expected f32, f16, bf16, int8, int4, nf4, fp4 (with -g64 and the like for groups, "
                       "int8-row, "
                       "int4-offset, int4-zero, nf4-double), or as-stored";
  if (std::string problem = packed::problemOf(*rule.type); !problem.empty())
    return refuse() << "type '" << type << "': " << problem;
  return rule;
}

Encoding encodingOf(lora::WeightOp weight) { return Encoding(weight.getSource().getEncoding()); }

/// The type at a site by the last rule that matches its name or the weight's, with or without `.weight`, else
/// by `otherwise`. Marks every rule that matches.
packed::Type typeAt(StringRef site, lora::WeightOp weight, MutableArrayRef<Rule> rules,
                    const Rule &otherwise) {
  const Rule *last = &otherwise;
  for (Rule &rule : rules)
    if (llvm::any_of(ArrayRef{site, nameOf(weight), weight.getSymName()},
                     [&](StringRef name) { return matchesEnd(rule.pattern, name); })) {
      last = &rule;
      rule.matched = true;
    }
  return last->type ? *last->type : packed::exactTypeOf(encodingOf(weight)).value_or(kConverted);
}

void setPacked(lora::WeightOp weight, lora::PackedAttr packed) {
  RankedTensorType type = weight.getTensorType();
  weight.setType(RankedTensorType::get(type.getShape(), type.getElementType(), packed));
}

/// Without a rule a quantized checkpoint is kept as it is, and another is f16. Quantized: a matrix of it
/// comes in blocks.
Rule defaultRule(ModuleOp module) {
  bool quantized = llvm::any_of(module.getOps<lora::WeightOp>(), [](lora::WeightOp weight) {
    return weight.getTensorType().getRank() == 2 && encodingInfo(encodingOf(weight)).blockValues > 1;
  });
  return {"", "", quantized ? std::nullopt : std::optional(packed::Type{packed::Code::F16})};
}

/// Whether an epilogue combines two segments whose weights now have different packed types, which no kernel
/// reads. With further operands it stays, and select says what to do.
bool mustSplit(SymbolTable &symbols, lora::LinearOp linear) {
  SmallVector<lora::SegmentAttr> segments = linear.getSegmentList();
  if (!linear.hasEpilogue() || segments.size() != 2 || !linear.getExtras().empty())
    return false;
  auto typeOf = [&](lora::SegmentAttr segment) {
    return symbols.lookup<lora::WeightOp>(segment.getWeight().getAttr()).getPacked();
  };
  return typeOf(segments[0]) != typeOf(segments[1]);
}

/// Takes the epilogue out of a linear again, as a map over its results.
void split(lora::LinearOp linear) {
  OpBuilder builder(linear);
  Type type = linear.getResult(0).getType();
  auto plain = lora::LinearOp::create(builder, linear.getLoc(), SmallVector<Type>(2, type), linear.getX(),
                                      ValueRange{}, linear.getSegmentsAttr(), linear.getAdaptersAttr());
  auto map = lora::MapOp::create(builder, linear.getLoc(), type, plain.getResults());
  map.getBody().takeBody(linear.getEpilogue());
  linear.getResult(0).replaceAllUsesWith(map.getResult());
  linear.erase();
}

struct QuantizePass final : public lorac::impl::QuantizePassBase<QuantizePass> {
  using QuantizePassBase::QuantizePassBase;

  void runOnOperation() override {
    SmallVector<Rule> parsed;
    if (failed(readRules(parsed)))
      return signalPassFailure();
    SymbolTable symbols(getOperation());
    WeightUses uses = findWeightUses(getOperation());
    const Rule otherwise = defaultRule(getOperation());
    for (auto weight : llvm::make_early_inc_range(getOperation().getOps<lora::WeightOp>()))
      if (weight.getTensorType().getRank() == 2)
        if (failed(pack(symbols, weight, uses.lookup(weight.getSymNameAttr()), parsed, otherwise)))
          return signalPassFailure();
    for (const Rule &rule : parsed)
      if (!rule.matched) {
        InFlightDiagnostic error = emitError(ruleOwner()->getLoc())
                                   << "quantize rule '" << rule.text
                                   << "': the pattern matches no site and no matrix of the model";
        if (!uses.empty())
          error << ", which are named like " << examples(uses);
        return signalPassFailure();
      }
    SmallVector<lora::LinearOp> mixed;
    getOperation().walk([&](lora::LinearOp linear) {
      if (linear->getParentOfType<ModuleOp>() == getOperation() && mustSplit(symbols, linear))
        mixed.push_back(linear);
    });
    llvm::for_each(mixed, split);
  }

  /// A name of each role that sites have, up to nine, in the order of the module.
  static std::string examples(const WeightUses &uses) {
    std::vector<std::string> roles;
    std::string text;
    for (const auto &[symbol, ofSymbol] : uses)
      for (const WeightUse &use : ofSymbol) {
        std::string role = packed::roleOf(use.site.getValue());
        if (roles.size() == 9 || llvm::is_contained(roles, role))
          continue;
        text += (roles.empty() ? "" : ", ") + use.site.getValue().str();
        roles.push_back(std::move(role));
      }
    return text;
  }

  /// The op that errors about rules point to.
  Operation *ruleOwner() {
    auto models = getOperation().getOps<lora::ModelOp>();
    return models.empty() ? getOperation().getOperation() : (*models.begin()).getOperation();
  }

  /// The model's rules, then the option's.
  LogicalResult readRules(SmallVectorImpl<Rule> &parsed) {
    SmallVector<std::string> texts;
    for (auto model : getOperation().getOps<lora::ModelOp>())
      if (model.getQuantize())
        for (StringRef text : model.getQuantize()->getAsValueRange<StringAttr>())
          texts.push_back(text.str());
    llvm::append_range(texts, rules);
    for (StringRef text : texts) {
      FailureOr<Rule> rule = parseRule(ruleOwner(), text);
      if (failed(rule))
        return failure();
      parsed.push_back(std::move(*rule));
    }
    return success();
  }

  /// One weight for each type that its uses have; the first use's type keeps the symbol.
  LogicalResult pack(SymbolTable &symbols, lora::WeightOp weight, ArrayRef<WeightUse> uses,
                     MutableArrayRef<Rule> parsed, const Rule &otherwise) {
    llvm::MapVector<lora::PackedAttr, SmallVector<WeightUse>> byType;
    auto typeOf = [&](StringRef site) -> FailureOr<lora::PackedAttr> {
      packed::Type type = typeAt(site, weight, parsed, otherwise);
      std::string problem = packed::problemOf(type, uint64_t(weight.getTensorType().getDimSize(1)));
      if (!problem.empty() && !weight.getPacked()) // else it keeps the type that it has
        return emitError(weight.getLoc())
               << "site '" << site << "': cannot be " << packed::nameOf(type) << ": " << problem
               << "; give it another type: --quantize '" << site << "=TYPE'";
      return lora::PackedAttr::get(&getContext(), type);
    };
    for (const WeightUse &use : uses) {
      FailureOr<lora::PackedAttr> type = typeOf(use.site);
      if (failed(type))
        return failure();
      byType[*type].push_back(use);
    }
    if (byType.empty()) {
      FailureOr<lora::PackedAttr> type = typeOf(nameOf(weight));
      if (failed(type))
        return failure();
      byType[*type] = {};
    }
    if (weight.getPacked())
      return success();
    for (auto &[type, users] : llvm::drop_begin(byType)) {
      lora::WeightOp copy = untie(symbols, weight, users);
      setPacked(copy, type);
      remarkUntied(users.front(), weight, copy);
      ++untied;
      ++packed;
    }
    setPacked(weight, byType.front().first);
    ++packed;
    return success();
  }
};
} // namespace
