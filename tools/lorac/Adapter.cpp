//===- Adapter.cpp - lorac adapter ------------------------------------------===//
#include "compiler/emit/BundleWriter.h"
#include "compiler/import/Peft.h"
#include "runtime/files/ModelFile.h"
#include "schemas/Header.h"
#include "support/Files.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

#include <algorithm>
#include <filesystem>

namespace lorac::cli {
namespace {

struct AdapterOptions {
  std::string directory, base, output, name, dtype;
  std::string version = "1";
  bool json = false;
};

BaseDescription describe(const ModelFile &model) {
  BaseDescription base;
  base.file = model.path();
  base.fingerprint = model.fingerprint();
  for (const fbs::Site *site : *model.metadata().sites())
    base.sites.push_back({site->name()->str(), site->in_features(), site->out_features()});
  for (const fbs::BaseTensor *tensor : *model.metadata().base()) {
    BaseDescription::Tensor described{
        tensor->name()->str(), {tensor->shape()->begin(), tensor->shape()->end()}, {}};
    std::copy_n(tensor->hash()->bytes()->begin(), described.digest.size(), described.digest.begin());
    base.tensors.push_back(std::move(described));
  }
  return base;
}

/// Whether no matrix of the model is stored in fewer bits than f32 has.
bool storesFloat32(const ModelFile &model) {
  return std::all_of(
      model.metadata().weights()->begin(), model.metadata().weights()->end(), [](const fbs::Weight *weight) {
        return weight->type() == fbs::WeightType::F32 || weight->type() == fbs::WeightType::VectorF32;
      });
}

/// Whether the adapter's own values were saved as f32: rounded to f16 they can move logits by 2 % under a
/// large stack (docs/decisions/0005).
bool savedAsFloat32(const PeftAdapter &adapter) {
  return std::any_of(adapter.sites.begin(), adapter.sites.end(), [](const PeftSite &site) {
    return site.a.location().encoding == Encoding::F32 || site.b.location().encoding == Encoding::F32;
  });
}

/// The last part of the path that is a name: "adapters/support/" is "support".
std::string folderName(const std::string &directory) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(directory, ignored).lexically_normal();
  if (path.filename().empty())
    path = path.parent_path();
  return path.filename().empty() ? "adapter" : path.filename().string();
}

Status printResult(const AdapterOptions &options, const BundleOptions &bundle, const PeftAdapter &adapter,
                   const BaseDescription &base, const BundleSummary &summary) {
  if (options.json) {
    Json treatments = Json::array(), sites = Json::array();
    for (const PeftTreatment &treatment : adapter.treatments)
      treatments.push_back(
          {{"item", treatment.item}, {"verdict", treatment.verdict}, {"reason", treatment.reason}});
    for (const PeftSite &site : adapter.sites)
      sites.push_back({{"name", site.name},
                       {"rank", site.rank},
                       {"scaling", site.scaling},
                       {"bias", site.bias.has_value()}});
    return printJson({{"bundle", options.output},
                      {"name", bundle.name},
                      {"version", bundle.version},
                      {"type", bundle.float32 ? "f32" : "f16"},
                      {"base", base.file},
                      {"fingerprint", toHex(base.fingerprint)},
                      {"bound_by_user", true},
                      {"file_bytes", summary.fileBytes},
                      {"image_bytes", summary.imageBytes},
                      {"sites", std::move(sites)},
                      {"treatments", std::move(treatments)}});
  }
  std::string text;
  for (const PeftTreatment &treatment : adapter.treatments)
    text += treatment.item + ": " + treatment.verdict +
            (treatment.reason.empty() ? "" : ", " + treatment.reason) + "\n";
  text += options.output + ": adapter " + bundle.name + " " + bundle.version + ", " +
          std::to_string(summary.sites) + " sites, rank up to " + std::to_string(summary.largestRank) + ", " +
          (bundle.float32 ? "f32" : "f16") + ", " + byteText(summary.fileBytes) + "\n";
  text += "bound by your word to " + base.file + " (base " + shortHex(base.fingerprint) +
          "): the folder does not say which base's content it was trained on\n";
  return print(text);
}

Status makeBundle(const AdapterOptions &options) {
  LORAC_ASSIGN(std::string output,
               resultPath(options.output, {format::AdapterMagic, sizeof(format::AdapterMagic)}, "a bundle"));
  LORAC_ASSIGN(std::shared_ptr<const ModelFile> model, ModelFile::open(options.base));
  BaseDescription base = describe(*model);
  LORAC_ASSIGN(PeftAdapter adapter, readPeft(options.directory, base));
  BundleOptions bundle;
  bundle.name = options.name.empty() ? folderName(options.directory) : options.name;
  bundle.version = options.version;
  bundle.float32 =
      options.dtype.empty() ? storesFloat32(*model) || savedAsFloat32(adapter) : options.dtype == "f32";
  LORAC_ASSIGN(BundleSummary summary, writeBundle(adapter, base, bundle, output));
  return printResult(options, bundle, adapter, base, summary);
}

} // namespace

void addAdapter(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<AdapterOptions>();
  CLI::App *sub = app.add_subcommand("adapter", "Make a bundle of an adapter that PEFT saved");
  sub->add_option("ADAPTER_DIR", options->directory, "The folder with adapter_config.json")->required();
  sub->add_option("--base", options->base,
                  "The model file (.lorac) to bind it to; any model file of the same base runs it")
      ->required();
  sub->add_option("-o,--output", options->output,
                  "The bundle to write (.lora); an older one is replaced, a file of another kind is not")
      ->required();
  sub->add_option("--name", options->name, "Name in the bundle; default: the folder's");
  sub->add_option("--version", options->version, "Version in the bundle; default 1");
  sub->add_option(
         "--dtype", options->dtype,
         "f16 or f32; default: f32 where the base is stored so or the adapter was saved so, else f16")
      ->check(CLI::IsMember({"f16", "f32"}));
  sub->add_flag("--json", options->json, "Print one JSON object with how each key and tensor was treated");
  sub->footer(
      "Prints how each configuration key and tensor was treated: honoured or dropped. What would change the\n"
      "result and cannot be honoured is refused.\n"
      "Examples:\n"
      "  lorac adapter examples/adapters/support --base smollm2.lorac -o support.lora\n"
      "  lorac adapter ./adapter --base model.lorac -o mine.lora --name mine --version 2 --dtype f32\n"
      "The object of --json:\n"
      "  {\"bundle\", \"name\", \"version\", \"type\", \"base\", \"fingerprint\", \"bound_by_user\", "
      "\"file_bytes\", "
      "\"image_bytes\",\n"
      "   \"sites\": [{\"name\", \"rank\", \"scaling\", \"bias\"}], \"treatments\": [{\"item\", \"verdict\", "
      "\"reason\"}]}");
  sub->callback([options, &exitCode] {
    Status status = makeBundle(*options);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
