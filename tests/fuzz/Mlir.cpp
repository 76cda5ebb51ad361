// A .mlir text: what `lorac compile` does with it up to the plan, files left aside: weights stay where they
// are, and no kernel is compiled.
#include "compiler/import/ModuleText.h"
#include "compiler/passes/Stages.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"
#include "tests/fuzz/Fuzz.h"

#include <mlir/Dialect/Arith/IR/Arith.h>
#include <mlir/Dialect/Math/IR/Math.h>
#include <mlir/IR/MLIRContext.h>
#include <mlir/IR/Verifier.h>
#include <mlir/Parser/Parser.h>
#include <mlir/Pass/PassManager.h>

using namespace lorac;
using namespace lorac::fuzz;
using namespace mlir;

namespace {

std::string printed(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

/// MLIR's lexer looks at the zero that ends a text.
OwningOpRef<ModuleOp> parse(const std::string &text, MLIRContext &context) {
  return parseSourceString<ModuleOp>(text, ParserConfig(&context), "input.mlir");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<arith::ArithDialect, math::MathDialect, lora::LoraDialect, plan::PlanDialect>();
  context.printOpOnDiagnostic(false);
  size_t errors = 0;
  ScopedDiagnosticHandler diagnostics(&context, [&](Diagnostic &diagnostic) {
    errors += diagnostic.getSeverity() == DiagnosticSeverity::Error;
    return success();
  });
  Status text = checkModuleText(textOf(data, size), "input.mlir");
  requireTyped(text);
  if (!text.isOk())
    return 0;
  OwningOpRef<ModuleOp> module = parse(std::string(textOf(data, size)), context);
  require(module || errors > 0, "a text that is refused is refused with an error");
  if (!module)
    return 0;
  require(succeeded(verify(*module)), "what was parsed holds");
  for (const Stage &stage : stages()) {
    const std::string before = printed(*module);
    OwningOpRef<ModuleOp> again = parse(before, context);
    require(bool(again) && printed(*again) == before, "a dump reads back to the same module");
    PassManager passes(&context);
    passes.addPass(stage.create());
    errors = 0;
    if (succeeded(passes.run(*module)))
      continue;
    require(errors > 0, "a stage that fails says why");
    return 0;
  }
  return 0;
}
