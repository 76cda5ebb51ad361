#include "runtime/files/Expression.h"

#include "tests/runtime/files/TinyModel.h"
#include "tests/support/StatusTest.h"

#include <array>

namespace lorac {
namespace {

using namespace test;

/// An expression in a buffer of its own.
class Packed {
public:
  explicit Packed(const Terms &terms) {
    fbs::ExprT table;
    table.terms = terms;
    builder.Finish(fbs::Expr::Pack(builder, &table));
  }
  const fbs::Expr &operator*() const { return *flatbuffers::GetRoot<fbs::Expr>(builder.GetBufferPointer()); }

private:
  flatbuffers::FlatBufferBuilder builder;
};

constexpr std::array<uint64_t, 2> Maxima = {10, 7}; // symbol 0 is a load symbol, symbol 1 a step symbol
constexpr std::array<bool, 2> IsStep = {false, true};

Terms symbolAt(uint64_t index) { return {fbs::ExprTerm(index, fbs::ExprOp::Symbol)}; }

Result<uint64_t> verify(const Terms &terms, bool loadOnly = false) {
  Packed packed(terms);
  Result<uint64_t> value = verifyExpression(*packed, Maxima, IsStep, loadOnly);
  if (value) {
    EXPECT_EQ(evaluate(*packed, Maxima), *value); // what verifies has that value
  }
  return value;
}
uint64_t valueOf(const Terms &terms) {
  Result<uint64_t> value = verify(terms);
  EXPECT_OK(value);
  return value ? *value : UINT64_MAX;
}
std::optional<uint64_t> evaluateAt(const Terms &terms, std::vector<uint64_t> symbols) {
  Packed packed(terms);
  return evaluate(*packed, symbols);
}
Terms both(fbs::ExprOp op, uint64_t a, uint64_t b) { return binary(op, constant(a), constant(b)); }

TEST(Expression, EvaluatesEachOperation) {
  EXPECT_EQ(valueOf(constant(42)), 42u);
  EXPECT_EQ(valueOf(symbolAt(0)), 10u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::Add, 3, 4)), 7u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::Mul, 3, 4)), 12u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::CeilDiv, 9, 4)), 3u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::CeilDiv, 8, 4)), 2u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::CeilDiv, 0, 4)), 0u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::CeilDiv, UINT64_MAX, 2)), uint64_t(1) << 63);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::Min, 3, 4)), 3u);
  EXPECT_EQ(valueOf(both(fbs::ExprOp::Max, 3, 4)), 4u);
}

TEST(Expression, TakesTheDeeperOperandFirst) {
  EXPECT_EQ(evaluateAt(binary(fbs::ExprOp::CeilDiv, symbolAt(0), symbolAt(1)), {20, 3}), 7u);
  EXPECT_EQ(evaluateAt(constant(2) * (symbolAt(0) + symbolAt(1)), {20, 3}), 46u);
}

TEST(Expression, EvaluatesToNothingWhereThereIsNoValue) {
  EXPECT_FALSE(evaluateAt({}, {}));
  EXPECT_FALSE(evaluateAt({fbs::ExprTerm(1, fbs::ExprOp::Const), fbs::ExprTerm(0, fbs::ExprOp::Add)}, {}));
  EXPECT_FALSE(evaluateAt(symbolAt(2), {1, 2}));
  EXPECT_FALSE(evaluateAt(both(fbs::ExprOp::Add, UINT64_MAX, 1), {}));
  EXPECT_FALSE(evaluateAt(both(fbs::ExprOp::Mul, uint64_t(1) << 32, uint64_t(1) << 32), {}));
  EXPECT_FALSE(evaluateAt(both(fbs::ExprOp::CeilDiv, 1, 0), {}));
  EXPECT_FALSE(evaluateAt(Terms(MaxExpressionDepth + 1, fbs::ExprTerm(1, fbs::ExprOp::Const)), {}));
  EXPECT_FALSE(evaluateAt(both(fbs::ExprOp(99), 1, 1), {}));
  EXPECT_FALSE(evaluateAt({fbs::ExprTerm(1, fbs::ExprOp::Const), fbs::ExprTerm(1, fbs::ExprOp::Const)}, {}));
}

TEST(Expression, RejectsEmpty) { EXPECT_STATUS(verify({}), Code::CorruptFile, "leaves 0 values, not one"); }

TEST(Expression, RejectsLeftOver) {
  EXPECT_STATUS(verify({fbs::ExprTerm(1, fbs::ExprOp::Const), fbs::ExprTerm(2, fbs::ExprOp::Const)}),
                Code::CorruptFile, "leaves 2 values");
}

TEST(Expression, RejectsUnderflow) {
  EXPECT_STATUS(verify({fbs::ExprTerm(1, fbs::ExprOp::Const), fbs::ExprTerm(0, fbs::ExprOp::Max)}),
                Code::CorruptFile, "term 1 takes 2 values of 1");
}

TEST(Expression, RejectsUnknownOp) {
  EXPECT_STATUS(verify(both(fbs::ExprOp(7), 1, 1)), Code::CorruptFile, "term 2 has unknown op 7");
}

TEST(Expression, RejectsUnknownSymbol) {
  EXPECT_STATUS(verify(symbolAt(2)), Code::CorruptFile, "term 0 is symbol 2 of 2");
  EXPECT_STATUS(verify(symbolAt(UINT64_MAX)), Code::CorruptFile, "of 2");
}

TEST(Expression, RejectsStepSymbolWhereOnlyLoadSymbolsMayStand) {
  EXPECT_OK(verify(symbolAt(1), false));
  EXPECT_OK(verify(symbolAt(0), true));
  EXPECT_STATUS(verify(symbolAt(1), true), Code::CorruptFile, "step symbol 1");
}

TEST(Expression, RejectsOverflow) {
  EXPECT_OK(verify(constant(UINT64_MAX / 10) * symbolAt(0)));
  EXPECT_STATUS(verify(constant(UINT64_MAX / 9) * symbolAt(0)), Code::CorruptFile,
                "term 2 overflows 64 bits");
  EXPECT_STATUS(verify(constant(UINT64_MAX - 9) + symbolAt(0)), Code::CorruptFile, "overflows");
}

TEST(Expression, RejectsDivisionByZero) {
  EXPECT_STATUS(verify(both(fbs::ExprOp::CeilDiv, 1, 0)), Code::CorruptFile, "term 2 divides by 0");
}

// With a symbol below, the value would fall as the symbol grows: the one at the maxima would bound nothing.
TEST(Expression, RejectsSymbolicDivisor) {
  EXPECT_STATUS(verify(ceilDiv(constant(1), symbolAt(0))), Code::CorruptFile, "divides by a symbol");
  EXPECT_STATUS(verify(ceilDiv(constant(1), symbolAt(0) + constant(1))), Code::CorruptFile,
                "divides by a symbol");
}

TEST(Expression, RejectsTooDeep) {
  Terms terms = constant(1);
  for (size_t i = 1; i < MaxExpressionDepth; ++i)
    terms.insert(terms.begin(), fbs::ExprTerm(1, fbs::ExprOp::Const)),
        terms.emplace_back(0, fbs::ExprOp::Add);
  EXPECT_EQ(valueOf(terms), MaxExpressionDepth);
  terms.insert(terms.begin(), fbs::ExprTerm(1, fbs::ExprOp::Const)), terms.emplace_back(0, fbs::ExprOp::Add);
  EXPECT_STATUS(verify(terms), Code::CorruptFile, "stacks more than 32 values");
}

TEST(Expression, RejectsTooLong) {
  Terms terms = constant(1);
  while (terms.size() + 2 <= MaxExpressionTerms)
    terms = terms + constant(1);
  EXPECT_OK(verify(terms));
  EXPECT_STATUS(verify(terms + constant(1)), Code::CorruptFile, "has 257 terms, at most 256");
}

TEST(Expression, FactsHoldForEverySymbolValue) {
  const Terms s = symbolAt(0);
  const struct {
    Terms terms;
    bool constant;
    uint64_t multipleOf;
  } cases[] = {
      {constant(768), true, 256},
      {constant(1), true, 1},
      {s, false, 1},
      {s * constant(256), false, 256},
      {s * constant(16) * constant(48), false, 256},
      {s * constant(256) + constant(1024), false, 256},
      {s * constant(256) + constant(128), false, 128},
      {ceilDiv(s * constant(96), constant(256)) * constant(256), false, 256},
      {ceilDiv(s * constant(512), constant(2)), false, 1}, // sound, if not the best
      {binary(fbs::ExprOp::Max, s * constant(512), constant(256)), false, 256},
      {binary(fbs::ExprOp::Min, s * constant(512), constant(100)), false, 4},
      {ceilDiv(constant(1000), constant(4)) + constant(6), true, 256},
  };
  for (const auto &c : cases) {
    Packed packed(c.terms);
    const ExpressionFacts facts = expressionFacts(*packed);
    EXPECT_EQ(facts.constant, c.constant) << &c - cases;
    EXPECT_EQ(facts.multipleOf, c.multipleOf) << &c - cases;
    for (uint64_t value = 0; value < 300; ++value)
      EXPECT_EQ(*evaluate(*packed, std::array{value}) % facts.multipleOf, 0u)
          << &c - cases << " at " << value;
  }
  Packed zero(constant(0)); // every power of two divides it
  EXPECT_EQ(expressionFacts(*zero).multipleOf, uint64_t(1) << 63);
}

} // namespace
} // namespace lorac
