// Epilogue.cpp - postfix lists to expression text, and what is refused.
#include "compiler/kernels/Epilogue.h"

#include <gtest/gtest.h>

using namespace lorac;
using Op = fbs::EpilogueOp;

namespace {

fbs::EpilogueTerm term(Op op, uint16_t index = 0, float value = 0.0f) {
  return fbs::EpilogueTerm(value, index, op);
}

void expectRefused(const std::vector<fbs::EpilogueTerm> &terms, const EpilogueInputs &inputs,
                   const char *text) {
  Result<std::string> result = epilogueExpression(terms, inputs);
  ASSERT_FALSE(result.isOk()) << *result;
  EXPECT_EQ(result.status().code(), Code::InvalidArgument);
  EXPECT_NE(result.status().message().find(text), std::string::npos) << result.status().message();
}

TEST(Epilogue, WritesGatedProduct) {
  // s0 / (1 + exp(-s0)) * s1
  std::vector<fbs::EpilogueTerm> terms = {term(Op::Segment), term(Op::Const, 0, 1.0f),
                                          term(Op::Segment), term(Op::Neg),
                                          term(Op::Exp),     term(Op::Add),
                                          term(Op::Div),     term(Op::Segment, 1),
                                          term(Op::Mul)};
  Result<std::string> text = epilogueExpression(terms, {.segments = 2});
  ASSERT_TRUE(text.isOk()) << text.status().message();
  EXPECT_EQ(*text, "(((s0) / (AS_F32(0x3f800000u) + (exp((-((s0))))))) * (s1))");
}

TEST(Epilogue, DeeperOperandComesFirst) {
  Result<std::string> text = epilogueExpression(
      std::vector{term(Op::Segment), term(Op::Operand, 1), term(Op::Sub)}, {.segments = 1, .operand1 = true});
  ASSERT_TRUE(text.isOk()) << text.status().message();
  EXPECT_EQ(*text, "((s0) - (o1))");
}

TEST(Epilogue, WritesFunctions) {
  Result<std::string> text =
      epilogueExpression(std::vector{term(Op::Operand), term(Op::Tanh), term(Op::Operand), term(Op::Erf),
                                     term(Op::Max), term(Op::Operand), term(Op::Sqrt), term(Op::Min)},
                         {.operand0 = true});
  ASSERT_TRUE(text.isOk()) << text.status().message();
  EXPECT_EQ(*text, "min(max((mathTanh((o0))), (mathErf((o0)))), (sqrt((o0))))");
}

TEST(Epilogue, RejectsEmptyList) { expectRefused({}, {.segments = 1}, "empty"); }
TEST(Epilogue, RejectsTooManyTerms) {
  expectRefused(std::vector<fbs::EpilogueTerm>(257, term(Op::Segment)), {.segments = 1}, "257 terms");
}
TEST(Epilogue, RejectsSegmentOutOfRange) {
  expectRefused({term(Op::Segment, 1)}, {.segments = 1}, "epilogue term 0: segment 1 of 1");
}
TEST(Epilogue, RejectsUnboundOperand) {
  expectRefused({term(Op::Operand, 1)}, {.segments = 1, .operand0 = true}, "operand 1 is not bound");
}
TEST(Epilogue, RejectsUnaryOnEmptyStack) {
  expectRefused({term(Op::Exp)}, {.segments = 1}, "Exp finds no value");
}
TEST(Epilogue, RejectsBinaryOnOneValue) {
  expectRefused({term(Op::Segment), term(Op::Add)}, {.segments = 1}, "Add needs two values and finds 1");
}
TEST(Epilogue, RejectsLeftovers) {
  expectRefused({term(Op::Segment), term(Op::Segment)}, {.segments = 1}, "leaves 2 values");
}
TEST(Epilogue, RejectsUnknownOperation) {
  expectRefused({term(Op::Segment), term(Op::Segment), term(Op(99))}, {.segments = 1},
                "operation 99 is unknown");
}

} // namespace
