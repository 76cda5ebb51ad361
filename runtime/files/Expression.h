//===- Expression.h - sizes, offsets and grids of a plan --------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_EXPRESSION_H
#define LORAC_RUNTIME_FILES_EXPRESSION_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <span>

namespace lorac {

/// Limits of one expression; the second bounds the stack that it needs.
constexpr size_t MaxExpressionTerms = 256;
constexpr size_t MaxExpressionDepth = 32;

/// The value of a verified expression with `symbols[i]` for the file's symbol i; nothing on overflow, a
/// malformed expression or ceildiv by 0 (never for expressions that ModelFile verified, with values up to the
/// maxima).
std::optional<uint64_t> evaluate(const fbs::Expr &expr, std::span<const uint64_t> symbols);

/// The value of expression `index` of a verified model.
inline std::optional<uint64_t> evaluate(const fbs::Model &model, uint32_t index,
                                        std::span<const uint64_t> symbols) {
  return evaluate(*model.expressions()->Get(index), symbols);
}

/// As evaluate, at each symbol's maximum; the Status names what is wrong. `loadOnly` refuses step symbols.
/// A divisor that holds a symbol is refused: then the value grows with every symbol, so the one at the maxima
/// bounds the value, and every intermediate one, for all smaller symbols.
Result<uint64_t> verifyExpression(const fbs::Expr &expr, std::span<const uint64_t> maxima,
                                  std::span<const bool> isStep, bool loadOnly);

/// What holds for the value of a verified expression whatever its symbols are.
struct ExpressionFacts {
  bool constant = false;   ///< it holds no symbol
  uint64_t multipleOf = 1; ///< a power of two that divides it, at most 2^63
};
/// Found from the form alone: a sum, minimum or maximum has what both sides have, a product has both sides'
/// factors, a quotient has none unless it is constant.
ExpressionFacts expressionFacts(const fbs::Expr &expr);

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_EXPRESSION_H
