//===- Inspect.cpp - lorac inspect ------------------------------------------===//
// Opening a file verifies all of it, so whatever is printed here passed every check.
#include "compiler/Compile.h"
#include "runtime/engine/Engine.h"
#include "runtime/files/Expression.h"
#include "schemas/Header.h"
#include "schemas/StoredWeight.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

#include <cstring>

namespace lorac::cli {
namespace {

struct InspectOptions {
  std::string file;
  bool json = false;
  bool plan = false;
  bool verify = false;
};

std::string text(const flatbuffers::String *string) { return string ? string->str() : std::string(); }

std::string hex(const fbs::Hash &hash) { return toHex({hash.bytes()->data(), 32}); }

template <typename Vector> size_t count(const Vector *vector) { return vector ? vector->size() : 0; }

/// Of the kernels' code as it lies in the file, compressed.
uint64_t codeBytes(const ModelFile &model) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < model.metadata().first_weight_segment(); ++i)
    bytes += model.segment(i).size();
  return bytes;
}

/// The arena's and the cache's bytes with one sequence of full context.
struct Peak {
  uint64_t arena = 0;
  uint64_t cache = 0;
};
Result<Peak> peakMemory(const ModelFile &model) {
  LORAC_ASSIGN(EnginePlan plan, planEngine(model, {}));
  const fbs::Model &metadata = model.metadata();
  std::optional<uint64_t> arena =
      evaluate(metadata, metadata.arena_bytes(), symbolValues(model, plan.symbols));
  if (!arena)
    return Status(Code::Internal) << model.path() << ": the arena's size has no value; report this";
  return Peak{*arena, plan.symbols.pages * metadata.cache_page_bytes()};
}

/// As `--quantize` names it.
std::string weightTypeName(const fbs::Weight &weight) {
  std::optional<packed::Type> type = packed::typeOf(weight);
  return type ? packed::nameOf(*type) : "vector f32";
}
uint64_t weightBytes(const fbs::Weight &weight) {
  return weight.size() + weight.scales_size() + weight.nested_size();
}

/// Of a program, with each in its own place or chains in theirs.
size_t dispatches(const fbs::Program &program, bool chained) {
  size_t found = 0;
  for (uint32_t at = 0; at < program.commands()->size(); ++at) {
    const fbs::Command &command = *program.commands()->Get(at);
    const bool runs = chained && command.kind() == fbs::CommandKind::Run;
    found += runs || command.kind() == fbs::CommandKind::Dispatch;
    if (runs)
      at += command.commands();
  }
  return found;
}

template <typename Owner> Json variantsJson(const Owner &owner) {
  Json variants = Json::array();
  for (const fbs::Variant *variant : *owner.variants())
    variants.push_back(
        {{"name", text(variant->name())}, {"lanes", variant->lanes()}, {"bytes", variant->size()}});
  return variants;
}

Json modelJson(const ModelFile &model, const Peak &peak) {
  const fbs::Model &metadata = model.metadata();
  Json sites = Json::array(), weights = Json::array(), kernels = Json::array(), chains = Json::array(),
       programs = Json::array(), base = Json::array();
  for (const fbs::Site *site : *metadata.sites())
    sites.push_back({{"name", text(site->name())},
                     {"in_features", site->in_features()},
                     {"out_features", site->out_features()}});
  for (const fbs::Weight *weight : *metadata.weights())
    weights.push_back({{"name", text(weight->name())},
                       {"type", weightTypeName(*weight)},
                       {"rows", weight->rows()},
                       {"cols", weight->cols()},
                       {"bytes", weightBytes(*weight)}});
  for (const fbs::Kernel *kernel : *metadata.kernels())
    kernels.push_back({{"name", text(kernel->name())},
                       {"catalog", text(kernel->catalog())},
                       {"variants", variantsJson(*kernel)}});
  for (uint32_t i = 0; metadata.chains() && i < metadata.chains()->size(); ++i) {
    const fbs::Chain &chain = *metadata.chains()->Get(i);
    Json links = Json::array();
    for (uint32_t kernel : *chain.kernels())
      links.push_back(text(metadata.kernels()->Get(kernel)->name()));
    chains.push_back(
        {{"name", text(chain.name())}, {"kernels", std::move(links)}, {"variants", variantsJson(chain)}});
  }
  for (const fbs::Program *program : *metadata.programs())
    programs.push_back({{"name", text(program->name())},
                        {"rows_min", program->rows_min()},
                        {"rows_max", program->rows_max()},
                        {"adapters", program->adapters()},
                        {"dispatches", dispatches(*program, false)},
                        {"chained_dispatches", dispatches(*program, true)},
                        {"commands", program->commands()->size()}});
  for (const fbs::BaseTensor *tensor : *metadata.base())
    base.push_back({{"name", text(tensor->name())},
                    {"shape", std::vector<uint64_t>(tensor->shape()->begin(), tensor->shape()->end())},
                    {"sha256", hex(*tensor->hash())}});
  std::vector<uint32_t> eos;
  if (metadata.eos_ids())
    eos.assign(metadata.eos_ids()->begin(), metadata.eos_ids()->end());
  return {{"kind", "model"},
          {"version", metadata.version()},
          {"fingerprint", hex(*metadata.fingerprint())},
          {"architecture", text(metadata.provenance()->architecture())},
          {"source", text(metadata.provenance()->source_kind())},
          {"storage", text(metadata.provenance()->storage())},
          {"compiler", text(metadata.provenance()->compiler())},
          {"vocab_size", metadata.vocab_size()},
          {"max_context", metadata.max_context()},
          {"max_rows", metadata.max_rows()},
          {"page_tokens", metadata.page_tokens()},
          {"file_bytes", model.fileBytes()},
          {"code_bytes", codeBytes(model)},
          {"metadata_bytes", model.storedMetadataBytes()},
          {"weight_bytes", metadata.weight_bytes()},
          {"arena_bytes", peak.arena},
          {"cache_bytes", peak.cache},
          {"tokenizer", metadata.tokenizer() != nullptr},
          {"chat_template", metadata.chat_template() != nullptr},
          {"eos_ids", eos},
          {"programs", std::move(programs)},
          {"kernels", std::move(kernels)},
          {"chains", std::move(chains)},
          {"sites", std::move(sites)},
          {"weights", std::move(weights)},
          {"base", std::move(base)}};
}

std::string modelText(const ModelFile &model, const Peak &peak) {
  const fbs::Model &metadata = model.metadata();
  std::ostringstream out;
  out << "model file, format version " << metadata.version() << ", " << byteText(model.fileBytes())
      << ": weights " << byteText(metadata.weight_bytes()) << ", kernels' code " << byteText(codeBytes(model))
      << ", metadata with tokenizer " << byteText(model.storedMetadataBytes()) << "\n";
  out << "made from:    " << text(metadata.provenance()->architecture()) << " ("
      << text(metadata.provenance()->source_kind()) << ") by " << text(metadata.provenance()->compiler())
      << "\n";
  out << "fingerprint:  " << hex(*metadata.fingerprint()) << "\n";
  out << "storage:      " << text(metadata.provenance()->storage()) << ", " << metadata.weights()->size()
      << " weights, " << byteText(metadata.weight_bytes()) << "\n";
  out << "vocabulary:   " << metadata.vocab_size() << " tokens; tokenizer "
      << (metadata.tokenizer() ? "yes" : "no") << ", chat template "
      << (metadata.chat_template() ? "yes" : "no") << "\n";
  out << "context:      " << metadata.max_context() << " positions, pages of " << metadata.page_tokens()
      << "; steps of at most " << metadata.max_rows() << " rows\n";
  out << "memory:       weights " << byteText(metadata.weight_bytes()) << ", arena " << byteText(peak.arena)
      << ", cache of one full sequence " << byteText(peak.cache) << "\n";
  out << "adapters:     " << metadata.sites()->size() << " sites\n";
  out << "programs:\n";
  for (const fbs::Program *program : *metadata.programs())
    out << "  " << text(program->name()) << ": rows " << program->rows_min() << " to " << program->rows_max()
        << ", adapters " << (program->adapters() ? "on" : "off") << ", " << dispatches(*program, false)
        << " dispatches, " << dispatches(*program, true) << " where chains run\n";
  out << "kernels:\n";
  for (const fbs::Kernel *kernel : *metadata.kernels()) {
    out << "  " << text(kernel->name()) << " (" << text(kernel->catalog()) << "):";
    for (const fbs::Variant *variant : *kernel->variants())
      out << " " << text(variant->name());
    out << "\n";
  }
  for (uint32_t i = 0; metadata.chains() && i < metadata.chains()->size(); ++i) {
    const fbs::Chain &chain = *metadata.chains()->Get(i);
    out << (i == 0 ? "chains:\n  " : "  ") << text(chain.name()) << ":";
    for (uint32_t kernel : *chain.kernels())
      out << " " << text(metadata.kernels()->Get(kernel)->name());
    out << "\n";
  }
  return out.str();
}

Json bundleJson(const AdapterFile &bundle) {
  const fbs::Adapter &metadata = bundle.metadata();
  Json fingerprints = Json::array(), sites = Json::array(), treatments = Json::array();
  for (const fbs::Hash *fingerprint : *metadata.fingerprints())
    fingerprints.push_back(hex(*fingerprint));
  for (const fbs::AdapterSite *site : *metadata.sites())
    sites.push_back({{"name", text(site->name())},
                     {"in_features", site->in_features()},
                     {"out_features", site->out_features()},
                     {"rank", site->rank()},
                     {"scaling", site->scaling()},
                     {"bias", site->has_bias()}});
  if (metadata.treatments())
    for (const fbs::Treatment *treatment : *metadata.treatments())
      treatments.push_back({{"item", text(treatment->item())},
                            {"verdict", text(treatment->verdict())},
                            {"reason", text(treatment->reason())}});
  return {{"kind", "adapter"},
          {"version", metadata.version()},
          {"name", text(metadata.name())},
          {"adapter_version", text(metadata.adapter_version())},
          {"fingerprints", std::move(fingerprints)},
          {"bound_by_user", metadata.bound_by_user()},
          {"type", metadata.type() == fbs::AdapterType::F32 ? "f32" : "f16"},
          {"image_bytes", bundle.image().size()},
          {"sites", std::move(sites)},
          {"treatments", std::move(treatments)}};
}

std::string bundleText(const AdapterFile &bundle) {
  const fbs::Adapter &metadata = bundle.metadata();
  std::ostringstream out;
  out << "bundle, format version " << metadata.version() << ": " << text(metadata.name()) << " "
      << text(metadata.adapter_version()) << "\n";
  for (const fbs::Hash *fingerprint : *metadata.fingerprints())
    out << "for base:     " << hex(*fingerprint)
        << (metadata.bound_by_user() ? " (bound by the user's word)" : "") << "\n";
  out << "image:        " << byteText(bundle.image().size()) << " of "
      << (metadata.type() == fbs::AdapterType::F32 ? "f32" : "f16") << "\n";
  out << "sites:        " << metadata.sites()->size() << "\n";
  for (const fbs::AdapterSite *site : *metadata.sites())
    out << "  " << text(site->name()) << ": rank " << site->rank() << ", scaling " << decimal(site->scaling())
        << (site->has_bias() ? ", bias" : "") << "\n";
  if (metadata.treatments()) {
    out << "how the source was treated:\n";
    for (const fbs::Treatment *treatment : *metadata.treatments())
      out << "  " << text(treatment->item()) << ": " << text(treatment->verdict())
          << (treatment->reason() && treatment->reason()->size() > 0 ? ", " + text(treatment->reason()) : "")
          << "\n";
  }
  return out.str();
}

/// What --verify adds: the checks that the file passed when it was opened.
std::string verifiedText(size_t segments) {
  return "verified:     header, metadata, every offset, size, shape, index and expression, and the SHA-256 "
         "of " +
         std::to_string(segments) + (segments == 1 ? " segment\n" : " segments\n");
}

Result<bool> isBundle(const std::string &path) {
  LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
  std::span<const uint8_t> bytes = file.bytes();
  return bytes.size() >= sizeof format::AdapterMagic &&
         std::memcmp(bytes.data(), format::AdapterMagic, sizeof format::AdapterMagic) == 0;
}

Status inspectBundle(const InspectOptions &options) {
  if (options.plan)
    return Status(Code::InvalidArgument)
           << options.file << ": is a bundle and has no programs; give a model file";
  LORAC_ASSIGN(std::shared_ptr<const AdapterFile> bundle, AdapterFile::open(options.file));
  if (options.json) {
    Json object = bundleJson(*bundle);
    object["verified"] = true;
    return printJson(object);
  }
  return print(bundleText(*bundle) +
               (options.verify ? verifiedText(bundle->metadata().segments()->size()) : std::string()));
}

Status inspect(const InspectOptions &options) {
  LORAC_ASSIGN(bool bundle, isBundle(options.file));
  if (bundle)
    return inspectBundle(options);
  LORAC_ASSIGN(std::shared_ptr<const ModelFile> model, ModelFile::open(options.file));
  std::string verified = options.verify ? verifiedText(model->metadata().segments()->size()) : std::string();
  if (options.plan)
    return print(planText(model->metadata()));
  LORAC_ASSIGN(Peak peak, peakMemory(*model));
  if (options.json) {
    Json object = modelJson(*model, peak);
    object["verified"] = true;
    return printJson(object);
  }
  return print(modelText(*model, peak) + verified);
}

} // namespace

void addInspect(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App *sub = app.add_subcommand("inspect", "Show what a model file or a bundle holds");
  sub->add_option("FILE", options->file, "A model file (.lorac) or a bundle (.lora)")->required();
  CLI::Option *json = sub->add_flag("--json", options->json, "One JSON object with everything but the bytes");
  CLI::Option *plan =
      sub->add_flag("--plan", options->plan, "Print a model file's programs as plan text (MLIR)");
  CLI::Option *verify = sub->add_flag("--verify", options->verify,
                                      "Say which checks the file passed; opening it always makes them all");
  plan->excludes(json)->excludes(verify);
  sub->footer(
      "Examples:\n"
      "  lorac inspect smollm2.lorac\n"
      "  lorac inspect support.lora --json\n"
      "  lorac inspect smollm2.lorac --plan\n"
      "The object of --json:\n"
      "  {\"kind\": \"model\", \"version\", \"fingerprint\", \"architecture\", \"source\", \"storage\", "
      "\"compiler\", "
      "\"vocab_size\",\n"
      "   \"max_context\", \"max_rows\", \"page_tokens\", \"file_bytes\", \"code_bytes\", "
      "\"metadata_bytes\", "
      "\"weight_bytes\", \"arena_bytes\",\n"
      "   \"cache_bytes\", \"tokenizer\" and \"chat_template\" (whether there is one), \"eos_ids\", "
      "\"programs\": "
      "[{\"name\", \"rows_min\",\n"
      "   \"rows_max\", \"adapters\", \"dispatches\", \"chained_dispatches\", \"commands\"}], \"kernels\": "
      "[{\"name\", "
      "\"catalog\", \"variants\":\n"
      "   VARIANTS}], \"chains\": [{\"name\", \"kernels\", \"variants\": VARIANTS}], \"sites\": [{\"name\", "
      "\"in_features\", \"out_features\"}],\n"
      "   \"weights\": [{\"name\", \"type\", \"rows\", \"cols\", \"bytes\"}], \"base\": [{\"name\", "
      "\"shape\", "
      "\"sha256\"}], \"verified\"}\n"
      "  VARIANTS: [{\"name\", \"lanes\", \"bytes\"}]. Of a bundle:\n"
      "  {\"kind\": \"adapter\", \"version\", \"name\", \"adapter_version\", \"fingerprints\", "
      "\"bound_by_user\", \"type\", "
      "\"image_bytes\",\n"
      "   \"sites\": [{\"name\", \"in_features\", \"out_features\", \"rank\", \"scaling\", \"bias\"}],\n"
      "   \"treatments\": [{\"item\", \"verdict\", \"reason\"}], \"verified\"}");
  sub->callback([options, &exitCode] {
    Status status = inspect(*options);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
