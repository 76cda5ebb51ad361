#include "runtime/files/Expression.h"

#include "runtime/files/Container.h"
#include "support/Checked.h"

#include <algorithm>
#include <array>
#include <bit>

namespace lorac {

namespace {

/// The value of `op` over two operands; nothing on overflow and for a divisor of 0.
std::optional<uint64_t> apply(fbs::ExprOp op, uint64_t a, uint64_t b) {
  switch (op) {
  case fbs::ExprOp::Add:
    return checkedAdd(a, b);
  case fbs::ExprOp::Mul:
    return checkedMul(a, b);
  case fbs::ExprOp::CeilDiv:
    return b == 0 ? std::nullopt : std::optional<uint64_t>(ceilDiv(a, b));
  case fbs::ExprOp::Min:
    return std::min(a, b);
  case fbs::ExprOp::Max:
    return std::max(a, b);
  case fbs::ExprOp::Const:
  case fbs::ExprOp::Symbol:
    break;
  }
  return std::nullopt;
}

Status corrupt() { return Status(Code::CorruptFile); }

} // namespace

std::optional<uint64_t> evaluate(const fbs::Expr &expr, std::span<const uint64_t> symbols) {
  std::array<uint64_t, MaxExpressionDepth> stack;
  size_t depth = 0;
  for (const fbs::ExprTerm *term : *expr.terms()) {
    const fbs::ExprOp op = term->op();
    if (op == fbs::ExprOp::Const || op == fbs::ExprOp::Symbol) {
      if (depth == stack.size() || (op == fbs::ExprOp::Symbol && term->value() >= symbols.size()))
        return std::nullopt;
      stack[depth++] = op == fbs::ExprOp::Const ? term->value() : symbols[size_t(term->value())];
      continue;
    }
    if (depth < 2)
      return std::nullopt;
    std::optional<uint64_t> value = apply(op, stack[depth - 2], stack[depth - 1]);
    if (!value)
      return std::nullopt;
    stack[--depth - 1] = *value;
  }
  return depth == 1 ? std::optional<uint64_t>(stack[0]) : std::nullopt;
}

Result<uint64_t> verifyExpression(const fbs::Expr &expr, std::span<const uint64_t> maxima,
                                  std::span<const bool> isStep, bool loadOnly) {
  struct Slot {
    uint64_t value;
    bool constant;
  };
  std::array<Slot, MaxExpressionDepth> stack;
  size_t depth = 0;
  const auto &terms = *expr.terms();
  if (!container::isAligned(terms))
    return corrupt() << "does not start at a multiple of 8";
  if (terms.size() > MaxExpressionTerms)
    return corrupt() << "has " << terms.size() << " terms, at most " << MaxExpressionTerms << " are allowed";
  for (uint32_t i = 0; i < terms.size(); ++i) {
    const fbs::ExprTerm &term = *terms[i];
    switch (term.op()) {
    case fbs::ExprOp::Const:
    case fbs::ExprOp::Symbol: {
      const bool symbol = term.op() == fbs::ExprOp::Symbol;
      if (symbol && (term.value() >= maxima.size() || term.value() >= isStep.size()))
        return corrupt() << "term " << i << " is symbol " << term.value() << " of " << maxima.size();
      if (symbol && loadOnly && isStep[size_t(term.value())])
        return corrupt() << "term " << i << " is step symbol " << term.value()
                         << " where only load symbols may stand";
      if (depth == stack.size())
        return corrupt() << "term " << i << " stacks more than " << stack.size() << " values";
      stack[depth++] = {symbol ? maxima[size_t(term.value())] : term.value(), !symbol};
      break;
    }
    case fbs::ExprOp::Add:
    case fbs::ExprOp::Mul:
    case fbs::ExprOp::CeilDiv:
    case fbs::ExprOp::Min:
    case fbs::ExprOp::Max: {
      if (depth < 2)
        return corrupt() << "term " << i << " takes 2 values of " << depth;
      const Slot right = stack[--depth];
      Slot &left = stack[depth - 1];
      if (term.op() == fbs::ExprOp::CeilDiv && (!right.constant || right.value == 0))
        return corrupt() << "term " << i << " divides by " << (right.constant ? "0" : "a symbol");
      std::optional<uint64_t> value = apply(term.op(), left.value, right.value);
      if (!value)
        return corrupt() << "term " << i << " overflows 64 bits at the symbols' maxima";
      left = {*value, left.constant && right.constant};
      break;
    }
    default:
      return corrupt() << "term " << i << " has unknown op " << unsigned(term.op());
    }
  }
  if (depth != 1)
    return corrupt() << "leaves " << depth << " values, not one";
  return stack[0].value;
}

ExpressionFacts expressionFacts(const fbs::Expr &expr) {
  struct Slot {
    bool constant;
    uint64_t value;    // where constant
    int trailingZeros; // 63 at most, also for 0, which everything divides
  };
  const auto zerosOf = [](uint64_t value) { return std::min(std::countr_zero(value), 63); };
  std::array<Slot, MaxExpressionDepth> stack;
  size_t depth = 0;
  for (const fbs::ExprTerm *term : *expr.terms()) {
    const fbs::ExprOp op = term->op();
    if (op == fbs::ExprOp::Const || op == fbs::ExprOp::Symbol) {
      if (depth == stack.size())
        return {};
      const bool constant = op == fbs::ExprOp::Const;
      stack[depth++] = {constant, term->value(), constant ? zerosOf(term->value()) : 0};
      continue;
    }
    if (depth < 2)
      return {};
    const Slot right = stack[--depth];
    Slot &left = stack[depth - 1];
    if (left.constant && right.constant) {
      std::optional<uint64_t> value = apply(op, left.value, right.value);
      if (!value)
        return {};
      left = {true, *value, zerosOf(*value)};
    } else if (op == fbs::ExprOp::Mul) {
      left = {false, 0, std::min(left.trailingZeros + right.trailingZeros, 63)};
    } else if (op == fbs::ExprOp::CeilDiv) {
      left = {false, 0, 0};
    } else {
      left = {false, 0, std::min(left.trailingZeros, right.trailingZeros)};
    }
  }
  if (depth != 1)
    return {};
  return {stack[0].constant, uint64_t(1) << stack[0].trailingZeros};
}

} // namespace lorac
