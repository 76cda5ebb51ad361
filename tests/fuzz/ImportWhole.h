//===- ImportWhole.h - a checkpoint through the whole import ----*- C++ -*-===//
#ifndef LORAC_TESTS_FUZZ_IMPORTWHOLE_H
#define LORAC_TESTS_FUZZ_IMPORTWHOLE_H

#include "compiler/import/Import.h"
#include "tests/fuzz/Fuzz.h"

#include <mlir/IR/BuiltinOps.h>
#include <mlir/IR/MLIRContext.h>
#include <mlir/IR/Verifier.h>

namespace lorac::fuzz {

/// Imports the file or folder, and requires a typed error or a module that is whole.
inline void importWhole(const std::string &path) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  ImportOptions options;
  options.threads = 1;
  Status status = importCheckpoint(*module, path, options);
  requireTyped(status);
  require(status.isOk() == !module->getBody()->empty(), "a module is written whole or not at all");
  if (status.isOk())
    require(mlir::succeeded(mlir::verify(*module)), "what was imported holds");
}

} // namespace lorac::fuzz

#endif // LORAC_TESTS_FUZZ_IMPORTWHOLE_H
