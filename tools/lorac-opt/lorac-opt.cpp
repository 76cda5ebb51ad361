//===- lorac-opt.cpp - passes by hand, on .mlir text -----------------------===//
// lorac-opt tests/compiler/passes/Fuse.mlir --lora-fuse
#include "compiler/passes/Passes.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::math::MathDialect, lorac::lora::LoraDialect,
                  lorac::plan::PlanDialect>();
  lorac::registerLoracPasses();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Lorac's passes on MLIR text\n", registry));
}
