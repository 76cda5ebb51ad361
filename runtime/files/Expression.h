//===- Expression.h - sizes, offsets and grids of a plan --------*- C++ -*-===//
#ifndef LORAC_RUNTIME_FILES_EXPRESSION_H
#define LORAC_RUNTIME_FILES_EXPRESSION_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <span>

namespace lorac {

/// The value of a verified expression with `symbols[i]` for the file's symbol i; nothing on overflow, a malformed
/// expression or ceildiv by 0 (never for expressions that ModelFile verified, with values up to the maxima).
std::optional<uint64_t> evaluate(const fbs::Expr &expr, std::span<const uint64_t> symbols);

/// As evaluate, at each symbol's maximum; the Status names what is wrong. `loadOnly` refuses step symbols.
Result<uint64_t> verifyExpression(const fbs::Expr &expr, std::span<const uint64_t> maxima, std::span<const bool> isStep, bool loadOnly);

} // namespace lorac

#endif // LORAC_RUNTIME_FILES_EXPRESSION_H
