//===- Plan.h - the plan dialect ---------------------------------*- C++ -*-===//
#ifndef LORAC_DIALECT_PLAN_PLAN_H
#define LORAC_DIALECT_PLAN_PLAN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

#include <optional>

#include "dialect/plan/PlanDialect.h.inc"
#include "dialect/plan/PlanEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialect/plan/PlanAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialect/plan/PlanOps.h.inc"

namespace lorac::plan {

/// Operators of an expression's postfix code: (operator, value) pairs. Values follow fbs::ExprOp.
enum class ExprCode : int64_t { Const, Symbol, Add, Mul, CeilDiv, Min, Max };

/// The symbols of schemas/Symbols.def in its order.
struct SymbolInfo {
  llvm::StringRef name;
  bool isStep;
  uint64_t maximum;
};
llvm::ArrayRef<SymbolInfo> symbolTable();

/// Builds ExprAttrs; folds constants.
class Expr {
public:
  static Expr constant(mlir::MLIRContext *context, uint64_t value);
  /// `name` stands in schemas/Symbols.def.
  static Expr symbol(mlir::MLIRContext *context, llvm::StringRef name);
  explicit Expr(ExprAttr attr) : attr(attr) {}

  Expr operator+(Expr other) const;
  Expr operator*(Expr other) const;
  Expr operator+(uint64_t value) const { return *this + constant(attr.getContext(), value); }
  Expr operator*(uint64_t value) const { return *this * constant(attr.getContext(), value); }
  Expr ceilDiv(uint64_t divisor) const;
  Expr max(Expr other) const;

  std::optional<uint64_t> asConstant() const;
  ExprAttr get() const { return attr; }

private:
  Expr binary(ExprCode op, Expr other) const;
  ExprAttr attr;
};

/// The value with `symbols[i]` for symbol i; nothing on overflow or division by zero.
std::optional<uint64_t> evaluate(ExprAttr expr, llvm::ArrayRef<uint64_t> symbols);
/// True where a step symbol occurs.
bool usesStepSymbol(ExprAttr expr);

} // namespace lorac::plan

#endif // LORAC_DIALECT_PLAN_PLAN_H
