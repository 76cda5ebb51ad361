//===- Epilogue.h - point-wise epilogues as source text ---------*- C++ -*-===//
// An epilogue is a short postfix list in the model file (schemas/model.fbs), so that a device without a
// compiler can run it; for compiled kernels it becomes the right side of EPILOGUE(s0, s1, o0, o1).
#ifndef LORAC_COMPILER_KERNELS_EPILOGUE_H
#define LORAC_COMPILER_KERNELS_EPILOGUE_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <span>
#include <string>

namespace lorac {

/// What an epilogue may refer to.
struct EpilogueInputs {
  unsigned segments = 0; ///< Segment 0 .. segments - 1, at most 2
  bool operand0 = false;
  bool operand1 = false;
};

/// The expression in the words of shaders/prelude over s0, s1, o0, o1, fully parenthesised. Constants are
/// written by their bits. InvalidArgument for an empty list, a stack that does not end with one value, a
/// reference outside `inputs`, an unknown operation, or more than 256 terms.
Result<std::string> epilogueExpression(std::span<const fbs::EpilogueTerm> terms,
                                       const EpilogueInputs &inputs);

} // namespace lorac

#endif // LORAC_COMPILER_KERNELS_EPILOGUE_H
