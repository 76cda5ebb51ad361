//===- Compile.cpp - lorac compile ------------------------------------------===//
#include "compiler/Compile.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace lorac::cli {
namespace {

struct CompileArguments {
  CompileOptions options;
  std::string target = "vulkan";
  std::vector<std::string> merge;
  uint64_t maxContext = 0, maxRows = 0;
  bool json = false;
};

/// What the design has and this version has not.
Status checkVersion(const CompileArguments &arguments) {
  if (!arguments.merge.empty())
    return Status(Code::Unsupported)
           << "--merge: this version of lorac does not fold adapters into a model; make a bundle "
              "with lorac adapter and run it with lorac run --adapter";
  if (arguments.target != "vulkan")
    return Status(Code::Unsupported) << "--target: this version of lorac compiles for vulkan alone, not for '"
                                     << arguments.target << "'; leave the option out";
  return {};
}

/// Rows of the table of storage as they are printed; the columns stand as wide as the widest.
std::string storageText(const std::vector<packed::StorageRow> &storage) {
  std::vector<std::array<std::string, 6>> lines{{"matrices", "from", "as", "bits/weight", "size", "error"}};
  auto number = [](const char *format, double value) {
    char text[32];
    std::snprintf(text, sizeof(text), format, value);
    return std::string(text);
  };
  for (const packed::StorageRow &row : storage)
    lines.push_back({row.sites + (row.matrices > 1 ? " (" + std::to_string(row.matrices) + ")" : ""),
                     row.encoding, packed::nameOf(row.type), number("%.3f", row.bitsPerWeight),
                     byteText(row.bytes), row.error > 0 ? number("%.2e", row.error) : "exact"});
  std::array<size_t, 6> widths{};
  for (const auto &line : lines)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  for (const auto &line : lines) {
    for (size_t i = 0; i < line.size(); ++i)
      text += line[i] + (i + 1 < line.size() ? std::string(widths[i] - line[i].size() + 2, ' ') : "\n");
  }
  return text;
}

Json storageJson(const std::vector<packed::StorageRow> &storage) {
  Json rows = Json::array();
  for (const packed::StorageRow &row : storage)
    rows.push_back({{"matrices", row.sites},
                    {"count", row.matrices},
                    {"from", row.encoding},
                    {"type", packed::nameOf(row.type)},
                    {"weights", row.values},
                    {"bytes", row.bytes},
                    {"bits_per_weight", row.bitsPerWeight},
                    {"relative_error", row.error}});
  return rows;
}

/// Block types that no packed type can hold, a line for each.
std::vector<std::string> conversionNotes(const std::vector<packed::StorageRow> &storage) {
  std::vector<std::string> notes;
  for (size_t i = 0; i < storage.size(); ++i) {
    const packed::StorageRow &row = storage[i];
    auto same = [&](const packed::StorageRow &other) {
      return other.encoding == row.encoding && other.type == row.type;
    };
    if (row.keepable || row.type.code == packed::Code::F32 ||
        std::any_of(storage.begin(), storage.begin() + ptrdiff_t(i), same))
      continue;
    uint64_t matrices = 0;
    double worst = 0;
    for (const packed::StorageRow &other : storage)
      if (same(other)) {
        matrices += other.matrices;
        worst = std::max(worst, other.error);
      }
    char error[32];
    std::snprintf(error, sizeof(error), "%.2e", worst);
    notes.push_back(std::to_string(matrices) + (matrices == 1 ? " matrix" : " matrices") + " of " +
                    row.encoding + ", which no packed type holds exactly, converted to " +
                    packed::nameOf(row.type) + ", relative error at most " + error);
  }
  return notes;
}

Status printReport(const CompileArguments &arguments, const CompileReport &report) {
  std::vector<std::string> lines = report.remarks;
  for (std::string &line : conversionNotes(report.storage))
    lines.push_back(std::move(line));
  if (arguments.json) {
    Json remarks = Json::array();
    for (const std::string &remark : lines)
      remarks.push_back(remark);
    return printJson({{"model", arguments.options.output},
                      {"fingerprint", toHex(report.fingerprint)},
                      {"file_bytes", report.fileBytes},
                      {"weight_bytes", report.weightBytes},
                      {"arena_bytes", report.arenaPeakBytes},
                      {"kernels", report.kernels},
                      {"programs", report.programs},
                      {"storage", storageJson(report.storage)},
                      {"remarks", std::move(remarks)}});
  }
  for (const std::string &line : lines)
    note(line);
  if (!arguments.options.dumpIrAfter.empty())
    return {}; // stdout holds the dump alone
  return print(storageText(report.storage) + arguments.options.output + ": " + byteText(report.fileBytes) +
               ", weights " + byteText(report.weightBytes) + ", activations at most " +
               byteText(report.arenaPeakBytes) + ", " + std::to_string(report.programs) + " programs, " +
               std::to_string(report.kernels) + " kernels, base " + shortHex(report.fingerprint) + "\n");
}

Status compile(CompileArguments &arguments) {
  LORAC_TRY(checkVersion(arguments));
  CompileReport report;
  Status printed;
  {
    Progress progress;
    CompileOptions &options = arguments.options;
    options.progress = [&progress](const std::string &work, uint64_t done, uint64_t total) {
      progress.update(work, done, total);
    };
    bool several = options.dumpIrAfter.size() > 1;
    options.dump = [&printed, several](const std::string &stage, const std::string &text) {
      if (printed)
        printed = print((several ? "// ----- after " + stage + "\n" : std::string()) + text);
    };
    Status status = compileModel(options, report);
    // A message that begins with an option's name is about the command line.
    if (status.code() == Code::InvalidArgument && status.message().rfind("--", 0) == 0)
      throw CLI::ValidationError(status.message());
    LORAC_TRY(status);
  }
  LORAC_TRY(printed);
  return printReport(arguments, report);
}

} // namespace

void addCompile(CLI::App &app, int &exitCode) {
  auto arguments = std::make_shared<CompileArguments>();
  CompileOptions &options = arguments->options;
  CLI::App *sub = app.add_subcommand("compile", "Compile a checkpoint into a model file");
  sub->add_option("CHECKPOINT", options.input, "A Hugging Face directory, a .gguf file, or a dump (.mlir)")
      ->required();
  sub->add_option("-o,--output", options.output,
                  "The model file to write (.lorac); an older one is replaced, a file of another kind is not")
      ->required();
  sub->add_option("--quantize", options.quantize,
                  "TYPE or SITE=TYPE: how weights are stored; SITE is a name as in the table that compile "
                  "prints, or what "
                  "follows a dot in it, * stands for any text; repeatable, later ones win. Types: f32, f16, "
                  "bf16, int8, int4, nf4, fp4; with groups (int4-g128), int8-row, int4-offset, int4-zero, "
                  "nf4-double; as-stored: "
                  "what the checkpoint has, or f16 where no type holds that (Q5_1, Q4_K, Q5_K, Q6_K). "
                  "Default: as-stored for a quantized checkpoint, else f16")
      ->allow_extra_args(false);
  sub->add_option("--cache", options.cache,
                  "How keys and values are kept: f32 (default) or f16, half the memory")
      ->check(CLI::IsMember({"f32", "f16"}));
  sub->add_option("--target", arguments->target, "What kernels are compiled for: vulkan (default)")
      ->check(CLI::IsMember({"vulkan", "cuda", "all"}));
  sub->add_option("--merge", arguments->merge, "ADAPTER[=STRENGTH]; not in this version")
      ->allow_extra_args(false);
  CLI::Option *maxContext = sub->add_option("--max-context", arguments->maxContext,
                                            "Positions of a sequence; default: the model's, at most 4096")
                                ->check(wholeNumber(1, UINT64_MAX));
  CLI::Option *maxRows =
      sub->add_option("--max-rows", arguments->maxRows, "Rows of a step, at most 4096; default 64")
          ->check(wholeNumber(1, UINT64_MAX));
  std::string stages;
  for (const std::string &stage : stageNames())
    stages += (stages.empty() ? "" : ", ") + stage;
  sub->add_option("--dump-ir-after", options.dumpIrAfter,
                  "Print the IR after one of the stages " + stages +
                      " to stdout; such a dump, saved as .mlir, compiles to the same model file")
      ->allow_extra_args(false);
  sub->add_option("--skip-pass", options.skipPasses, "Leave a pass out: fuse")->allow_extra_args(false);
  sub->add_option("--kernel-cache", options.kernelCache,
                  "Folder that keeps compiled kernels for the next compilation; the result is the same")
      ->envname("LORAC_KERNEL_CACHE");
  CLI::Option *json = sub->add_flag("--json", arguments->json, "Print one JSON object about the result");
  json->excludes(sub->get_option("--dump-ir-after"));
  sub->footer(
      "Examples:\n"
      "  lorac compile smollm2.gguf -o smollm2.lorac\n"
      "  lorac compile ./checkpoint -o model.lorac --quantize f32 --max-context 1024\n"
      "  lorac compile ./checkpoint -o model.lorac --quantize nf4 --quantize 'layers.*.mlp.*=int4' "
      "--quantize lm_head=int8\n"
      "  lorac compile ./checkpoint -o model.lorac --dump-ir-after fuse > fused.mlir\n"
      "The object of --json:\n"
      "  {\"model\", \"fingerprint\", \"file_bytes\", \"weight_bytes\", \"arena_bytes\", \"kernels\", "
      "\"programs\" (how "
      "many),\n"
      "   \"storage\": [{\"matrices\" (their name), \"count\", \"from\", \"type\", \"weights\", \"bytes\", "
      "\"bits_per_weight\", \"relative_error\"}],\n"
      "   \"remarks\": [...]}");
  sub->callback([arguments, maxContext, maxRows, &exitCode] {
    if (maxContext->count() > 0)
      arguments->options.maxContext = arguments->maxContext;
    if (maxRows->count() > 0)
      arguments->options.maxRows = arguments->maxRows;
    Status status = compile(*arguments);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
