//===- Compile.cpp - the stages in order -----------------------------------===//
#include "compiler/Compile.h"

#include "compiler/emit/ModelWriter.h"
#include "compiler/import/Import.h"
#include "compiler/import/ModuleText.h"
#include "compiler/passes/Stages.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"
#include "support/Files.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;

namespace lorac {

namespace {

constexpr uint64_t MaxTextBytes = 64ull << 20; ///< of a .mlir input

constexpr StringRef ImportStage = "import";

Status checkStageNames(const CompileOptions &options) {
  std::string all(ImportStage);
  for (const Stage &stage : stages())
    all += ", " + stage.name.str();
  for (const std::string &name : options.dumpIrAfter)
    if (name != ImportStage &&
        llvm::none_of(stages(), [&](const Stage &stage) { return stage.name == name; }))
      return Status(Code::InvalidArgument)
             << "--dump-ir-after: stage '" << name << "' does not exist; there are " << all;
  for (const std::string &name : options.skipPasses)
    if (llvm::none_of(stages(), [&](const Stage &stage) { return stage.name == name && stage.skippable; }))
      return Status(Code::InvalidArgument)
             << "--skip-pass: '" << name << "' cannot be left out; only fuse can";
  return Status::ok();
}

/// Collects what MLIR says while it lives: the first error becomes a Status, remarks go to the report.
class DiagnosticCollector {
public:
  DiagnosticCollector(MLIRContext &context, std::string input, CompileReport &report)
      : input(std::move(input)), report(report), handler(&context, [this](Diagnostic &diagnostic) {
          take(diagnostic);
          return success();
        }) {}

  Status status(Code code) const {
    Status result(code, errors.empty() ? input + ": failed without a diagnostic" : errors.front());
    for (size_t i = 1; i < errors.size(); ++i)
      result.addNote(errors[i]);
    for (const std::string &note : notes)
      result.addNote(note);
    return result;
  }

private:
  void take(Diagnostic &diagnostic) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    // A place in a dump is worth naming; built IR has none.
    if (auto location = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      stream << location.getFilename().getValue() << ":" << location.getLine() << ": ";
    else
      stream << input << ": ";
    stream << diagnostic;
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      errors.push_back(text);
    else
      report.remarks.push_back(text);
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      for (Diagnostic &note : diagnostic.getNotes())
        if (notes.size() < 8 && note.str().rfind("see current operation", 0) != 0)
          notes.push_back(note.str());
  }

  std::string input;
  CompileReport &report;
  std::vector<std::string> errors, notes;
  ScopedDiagnosticHandler handler;
};

/// Options stand in lora.model, those of an import as those that a .mlir input is given anew.
void recordOptions(ModuleOp module, const CompileOptions &options) {
  OpBuilder builder(module.getContext());
  for (lora::ModelOp model : module.getOps<lora::ModelOp>()) {
    if (!options.quantize.empty())
      model.setQuantizeAttr(builder.getStrArrayAttr(llvm::to_vector_of<StringRef>(options.quantize)));
    if (options.maxContext)
      model.setMaxContextAttr(builder.getI64IntegerAttr(int64_t(*options.maxContext)));
    if (options.maxRows)
      model.setMaxRowsAttr(builder.getI64IntegerAttr(int64_t(*options.maxRows)));
    if (options.cache)
      model.setCacheAttr(builder.getStringAttr(*options.cache));
  }
}

std::string printed(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  stream << '\n';
  return text;
}

} // namespace

Status compileModel(const CompileOptions &options, CompileReport &report) {
  LORAC_TRY(checkStageNames(options));
  auto progress = [&](const std::string &work, uint64_t done, uint64_t total) {
    if (options.progress)
      options.progress(work, done, total);
  };

  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<arith::ArithDialect, math::MathDialect, lora::LoraDialect, plan::PlanDialect>();
  context.printOpOnDiagnostic(false);
  DiagnosticCollector diagnostics(context, options.input, report);

  OwningOpRef<ModuleOp> module;
  if (StringRef(options.input).ends_with(".mlir")) {
    LORAC_ASSIGN(std::string text, readTextFile(options.input, MaxTextBytes));
    LORAC_TRY(checkModuleText(text, options.input));
    llvm::SourceMgr sources;
    sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, options.input), llvm::SMLoc());
    module = parseSourceFile<ModuleOp>(sources, ParserConfig(&context));
    if (!module)
      return diagnostics.status(Code::CorruptFile);
  } else {
    module = ModuleOp::create(UnknownLoc::get(&context));
    ImportOptions import{options.quantize, options.maxContext, options.maxRows};
    LORAC_TRY(importCheckpoint(*module, options.input, import, [&](uint64_t done, uint64_t total) {
      progress("reading weights", done, total);
    }));
  }
  recordOptions(*module, options);
  if (failed(verify(*module)))
    return diagnostics.status(Code::InvalidArgument);
  if (StringRef(options.input).ends_with(".mlir") && failed(verifySources(*module, progress)))
    return diagnostics.status(Code::Incompatible);

  auto dump = [&](StringRef stage) {
    if (options.dump && llvm::is_contained(options.dumpIrAfter, stage.str()))
      options.dump(stage.str(), printed(*module));
  };
  dump(ImportStage);
  for (const Stage &stage : stages()) {
    if (!llvm::is_contained(options.skipPasses, stage.name.str())) {
      PassManager passes(&context);
      passes.addPass(stage.create());
      if (failed(passes.run(*module)))
        return diagnostics.status(Code::InvalidArgument);
    }
    dump(stage.name);
  }

  std::optional<KernelCache> cache;
  if (!options.kernelCache.empty()) {
    LORAC_ASSIGN(cache, KernelCache::open(options.kernelCache));
  }
  FailureOr<ModelSummary> summary = writeModel(*module, options.output, progress, cache ? &*cache : nullptr);
  if (failed(summary))
    return diagnostics.status(Code::InvalidArgument);
  report.fingerprint = summary->fingerprint;
  report.weightBytes = summary->weightBytes;
  report.fileBytes = summary->fileBytes;
  report.arenaPeakBytes = summary->arenaPeakBytes;
  report.kernels = summary->kernels;
  report.programs = summary->programs;
  report.storage = packed::storageTable(summary->matrices);
  return Status::ok();
}

} // namespace lorac
