// Epilogue.cpp - postfix to expression text.
#include "compiler/kernels/Epilogue.h"

#include <bit>
#include <vector>

namespace lorac {
namespace {

constexpr size_t MaxTerms = 256;

Status refuse(size_t index) { return Status(Code::InvalidArgument) << "epilogue term " << index << ": "; }

std::string constantText(float value) {
  static const char digits[] = "0123456789abcdef";
  uint32_t bits = std::bit_cast<uint32_t>(value);
  std::string text = "AS_F32(0x";
  for (int shift = 28; shift >= 0; shift -= 4)
    text += digits[(bits >> shift) & 15u];
  return text + "u)";
}

/// Null for an operation that is not unary (binary).
const char *unaryWord(fbs::EpilogueOp op) {
  switch (op) {
  case fbs::EpilogueOp::Neg:
    return "-";
  case fbs::EpilogueOp::Exp:
    return "exp";
  case fbs::EpilogueOp::Sqrt:
    return "sqrt";
  case fbs::EpilogueOp::Tanh:
    return "mathTanh";
  case fbs::EpilogueOp::Erf:
    return "mathErf";
  default:
    return nullptr;
  }
}
const char *binaryInfix(fbs::EpilogueOp op) {
  switch (op) {
  case fbs::EpilogueOp::Add:
    return " + ";
  case fbs::EpilogueOp::Sub:
    return " - ";
  case fbs::EpilogueOp::Mul:
    return " * ";
  case fbs::EpilogueOp::Div:
    return " / ";
  default:
    return nullptr;
  }
}
const char *binaryFunction(fbs::EpilogueOp op) {
  switch (op) {
  case fbs::EpilogueOp::Max:
    return "max";
  case fbs::EpilogueOp::Min:
    return "min";
  default:
    return nullptr;
  }
}

} // namespace

Result<std::string> epilogueExpression(std::span<const fbs::EpilogueTerm> terms,
                                       const EpilogueInputs &inputs) {
  if (terms.empty())
    return Status(Code::InvalidArgument) << "the epilogue is empty, expected at least one term";
  if (terms.size() > MaxTerms)
    return Status(Code::InvalidArgument)
           << "the epilogue has " << terms.size() << " terms, expected at most " << MaxTerms;
  std::vector<std::string> stack;
  for (size_t i = 0; i < terms.size(); ++i) {
    const fbs::EpilogueTerm &term = terms[i];
    switch (term.op()) {
    case fbs::EpilogueOp::Segment:
      if (term.index() >= inputs.segments)
        return refuse(i) << "segment " << term.index() << " of " << inputs.segments;
      stack.push_back(term.index() == 0 ? "(s0)" : "(s1)");
      continue;
    case fbs::EpilogueOp::Operand:
      if (!(term.index() == 0 && inputs.operand0) && !(term.index() == 1 && inputs.operand1))
        return refuse(i) << "operand " << term.index() << " is not bound";
      stack.push_back(term.index() == 0 ? "(o0)" : "(o1)");
      continue;
    case fbs::EpilogueOp::Const:
      stack.push_back(constantText(term.value()));
      continue;
    default:
      break;
    }
    if (const char *word = unaryWord(term.op())) {
      if (stack.empty())
        return refuse(i) << fbs::EnumNameEpilogueOp(term.op()) << " finds no value";
      stack.back() = std::string("(") + word + "(" + stack.back() + "))";
      continue;
    }
    const char *infix = binaryInfix(term.op());
    const char *function = binaryFunction(term.op());
    if (!infix && !function)
      return refuse(i) << "operation " << unsigned(term.op()) << " is unknown";
    if (stack.size() < 2)
      return refuse(i) << fbs::EnumNameEpilogueOp(term.op()) << " needs two values and finds "
                       << stack.size();
    std::string right = std::move(stack.back());
    stack.pop_back();
    std::string &left = stack.back();
    left = infix ? "(" + left + infix + right + ")" : std::string(function) + "(" + left + ", " + right + ")";
  }
  if (stack.size() != 1)
    return Status(Code::InvalidArgument) << "the epilogue leaves " << stack.size() << " values, expected one";
  return std::move(stack.back());
}

} // namespace lorac
