//===- Passes.h - the passes of the compiler ---------------------*- C++ -*-===//
// Generated from Passes.td: createNAMEPass(), NAMEPassOptions, registerNAMEPass(), registerLoracPasses().
#ifndef LORAC_COMPILER_PASSES_PASSES_H
#define LORAC_COMPILER_PASSES_PASSES_H

#include "dialect/plan/Plan.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace lorac {

#define GEN_PASS_DECL
#include "compiler/passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "compiler/passes/Passes.h.inc"

} // namespace lorac

#endif // LORAC_COMPILER_PASSES_PASSES_H
