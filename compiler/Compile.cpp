//===- Compile.cpp - the stages in order -----------------------------------===//
#include "compiler/Compile.h"

#include "compiler/emit/ModelWriter.h"
#include "compiler/import/Import.h"
#include "compiler/import/ModuleText.h"
#include "compiler/passes/Stages.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"
#include "schemas/Header.h"
#include "support/Files.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace mlir;

namespace lorac {

namespace {

constexpr uint64_t MaxTextBytes = 64ull << 20; ///< of a .mlir input

constexpr StringRef ImportStage = "import";

Status checkStageNames(const CompileOptions &options) {
  const std::vector<std::string> all = stageNames();
  for (const std::string &name : options.dumpIrAfter)
    if (!llvm::is_contained(all, name))
      return Status(Code::InvalidArgument)
             << "--dump-ir-after: stage '" << name << "' does not exist; there are " << llvm::join(all, ", ");
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

/// Options that a dump of a later stage can no longer follow are refused.
Status checkStillOpen(ModuleOp module, const CompileOptions &options) {
  auto refuse = [&](const char *option, const char *stage, const char *why) {
    return Status(Code::InvalidArgument)
           << option << ": comes too late, since " << options.input << " is a dump of " << stage
           << " or a later stage: " << why << "; give the checkpoint or an earlier dump";
  };
  auto matrices = llvm::make_filter_range(module.getOps<lora::WeightOp>(), [](lora::WeightOp weight) {
    return weight.getTensorType().getRank() == 2;
  });
  const bool planned = !module.getOps<plan::ProgramOp>().empty();
  if (!options.quantize.empty() &&
      (planned || (!matrices.empty() &&
                   llvm::all_of(matrices, [](lora::WeightOp weight) { return bool(weight.getPacked()); }))))
    return refuse("--quantize", "quantize", "all matrices have a type");
  if (!planned)
    return Status::ok();
  if (options.maxRows)
    return refuse("--max-rows", "select", "its programs serve the rows that they serve");
  if (options.cache)
    return refuse("--cache", "select", "its programs have a cache");
  if (!options.skipPasses.empty())
    return refuse("--skip-pass", "select", "what can be left out has been");
  return Status::ok();
}

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

std::vector<std::string> stageNames() {
  std::vector<std::string> names(1, ImportStage.str());
  for (const Stage &stage : stages())
    names.push_back(stage.name.str());
  return names;
}

Status compileModel(const CompileOptions &options, CompileReport &report) {
  LORAC_TRY(checkStageNames(options));
  LORAC_ASSIGN(std::string output,
               resultPath(options.output, {format::ModelMagic, sizeof(format::ModelMagic)}, "a model file"));
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
    LORAC_TRY(checkStillOpen(*module, options));
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
  FailureOr<ModelSummary> summary = writeModel(*module, output, progress, cache ? &*cache : nullptr);
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
