//===- Peft.cpp - LoRA adapters as PEFT saves them -------------------------===//
// The tensors are the truth; the configuration gives what they cannot say (alpha, patterns) and must not
// contradict them.
#include "compiler/import/Peft.h"

#include "compiler/import/PeftConfig.h"
#include "compiler/import/Safetensors.h"
#include "compiler/import/Shown.h"

#include <algorithm>
#include <filesystem>
#include <map>

namespace lorac {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char *kMerge = "; merge the adapter into a checkpoint with PEFT and compile that";

/// What is found of one module.
struct Pair {
  const SafetensorsEntry *a = nullptr;
  const SafetensorsEntry *b = nullptr;
  const SafetensorsEntry *bias = nullptr;
};

class AdapterReader {
public:
  AdapterReader(const std::string &directory, const BaseDescription &base) : base(base) {
    adapter.directory = directory;
    configPath = directory + "/adapter_config.json";
    tensorPath = directory + "/adapter_model.safetensors";
  }

  Result<PeftAdapter> read() {
    LORAC_TRY(checkFiles());
    LORAC_ASSIGN(PeftConfig read, PeftConfig::read(configPath, adapter.treatments));
    config = std::move(read);
    LORAC_ASSIGN(table, readSafetensors(files, tensorPath));
    for (const auto &[key, entry] : table)
      LORAC_TRY(classify(key, entry));
    for (const auto &[module, pair] : pairs)
      LORAC_TRY(checkPair(module, pair));
    for (const BaseDescription::Site &site : base.sites)
      if (auto found = pairs.find(site.name); found != pairs.end())
        LORAC_TRY(bind(site, found->second));
    if (adapter.sites.empty())
      return Status(Code::CorruptFile)
             << tensorPath << ": holds no lora_A and lora_B; save the adapter again";
    return std::move(adapter);
  }

private:
  Status unsupported(const std::string &key, std::string_view what) const {
    return Status(Code::Unsupported) << tensorPath << ": tensor " << shown(key) << ' ' << what;
  }

  Status checkFiles() const {
    namespace fs = std::filesystem;
    std::error_code error;
    if (!fs::is_directory(adapter.directory, error))
      return Status(Code::NotFound) << adapter.directory
                                    << ": is not a folder; name the folder that PEFT saved";
    if (!fs::exists(configPath, error)) {
      // An adapter that is not called "default" is saved one folder deeper.
      std::vector<std::string> inner;
      for (fs::directory_iterator entry(adapter.directory, error), end; !error && entry != end;
           entry.increment(error))
        if (fs::exists(entry->path() / "adapter_config.json", error))
          inner.push_back(entry->path().filename().string());
      std::sort(inner.begin(), inner.end());
      return Status(Code::NotFound) << adapter.directory << ": has no adapter_config.json; "
                                    << (inner.empty() ? std::string("name the folder that PEFT saved")
                                                      : "name the folder " + shown(inner.front()) + " in it");
    }
    if (!fs::exists(tensorPath, error)) {
      bool pickle = fs::exists(adapter.directory + "/adapter_model.bin", error);
      return Status(pickle ? Code::Unsupported : Code::NotFound)
             << adapter.directory << ": has no adapter_model.safetensors"
             << (pickle ? "; pickle (adapter_model.bin) is not read since it can run code, save the adapter "
                          "with "
                          "safe_serialization"
                        : "; save the adapter again");
    }
    return Status::ok();
  }

  /// Finds the place of one tensor, or refuses it by what its name says it is.
  Status classify(const std::string &key, const SafetensorsEntry &entry) {
    std::string_view name = key;
    if (!name.starts_with(kPrefix))
      return unsupported(
          key, "does not begin with base_model.model.; save the adapter with PEFT's save_pretrained");
    name.remove_prefix(kPrefix.size());
    struct Ending {
      std::string_view text;
      const SafetensorsEntry *Pair::*member;
    };
    for (Ending ending : {Ending{".lora_A.weight", &Pair::a}, Ending{".lora_B.weight", &Pair::b},
                          Ending{".lora_B.bias", &Pair::bias}})
      if (name.ends_with(ending.text) && name.size() > ending.text.size()) {
        pairs[std::string(name.substr(0, name.size() - ending.text.size()))].*ending.member = &entry;
        return Status::ok();
      }
    if (name.find(".lora_magnitude_vector") != std::string_view::npos)
      return unsupported(key, std::string("is DoRA's magnitude, which is not supported") + kMerge);
    if (name.find(".lora_embedding_") != std::string_view::npos)
      return unsupported(key, std::string("adapts an embedding, which is not supported") + kMerge);
    if (name.find(".token_adapter.") != std::string_view::npos ||
        name.find("trainable_tokens") != std::string_view::npos)
      return unsupported(key,
                         std::string("holds trained token embeddings, which are not supported") + kMerge);
    if (name.find(".lora_") != std::string_view::npos)
      return unsupported(
          key, "is of no known kind (lora_A.weight, lora_B.weight and lora_B.bias are known); save the "
               "adapter with a current PEFT's save_pretrained");
    return classifyCopy(key, std::string(name), entry);
  }

  /// A full tensor of the base: dropped where its values are the base's, else it replaces them and is
  /// refused.
  Status classifyCopy(const std::string &key, std::string name, const SafetensorsEntry &entry) {
    for (std::string_view wrapper : {".base_layer.", ".original_module."})
      if (size_t at = name.find(wrapper); at != std::string::npos)
        name.replace(at, wrapper.size(), ".");
    const bool bias = name.ends_with(".bias"), weight = name.ends_with(".weight");
    const BaseDescription::Tensor *listed = nullptr;
    for (const BaseDescription::Tensor &tensor : base.tensors)
      if (tensor.name == name)
        listed = &tensor;
    // A head that shares the embedding's weight is a site, but no tensor of its own.
    bool tied = false;
    if (!listed && weight)
      for (const BaseDescription::Site &site : base.sites)
        tied = tied || site.name + ".weight" == name;
    if (!listed && !tied)
      return unsupported(key, bias || weight
                                  ? "belongs to a module that " + shown(base.file) +
                                        " does not have; use the base it was "
                                        "trained on"
                                  : "is of no known kind; save the adapter with PEFT's save_pretrained");
    if (listed && listed->shape != entry.shape)
      return unsupported(key, "has shape " + shownShape(entry.shape) + ", the base's has " +
                                  shownShape(listed->shape) +
                                  "; use a base with the same vocabulary and sizes");
    LORAC_ASSIGN(TensorLocation where, locate(key, entry));
    LORAC_ASSIGN(TensorSource source, TensorSource::open(files, where, key));
    LORAC_ASSIGN(Digest digest, source.digest());
    for (const BaseDescription::Tensor &tensor : base.tensors)
      if ((listed ? &tensor == listed : tied) && tensor.shape == entry.shape && tensor.digest == digest) {
        adapter.treatments.push_back({key, "dropped", "its values are the base's own (" + tensor.name + ")"});
        return Status::ok();
      }
    return unsupported(
        key, std::string(bias ? "is a trained bias of the base"
                              : "replaces a tensor of the base with other values (or with rounded ones)") +
                 ", which is not supported" + kMerge);
  }

  Status checkPair(const std::string &module, const Pair &pair) const {
    const std::string stem = std::string(kPrefix) + module;
    if (!pair.a || !pair.b)
      return Status(Code::CorruptFile)
             << tensorPath << ": tensor " << shown(stem) << (pair.a ? ".lora_B.weight" : ".lora_A.weight")
             << " is missing, its other half is there; save the adapter again";
    for (const BaseDescription::Site &site : base.sites)
      if (site.name == module)
        return Status::ok();
    return unsupported(stem + ".lora_A.weight", "is for " + shown(module) + ", which is no site of " +
                                                    shown(base.file) + "; use the base it was trained on");
  }

  Result<TensorSource> open(const std::string &key, const SafetensorsEntry &entry, size_t dimensions) {
    if (entry.shape.size() != dimensions)
      return unsupported(key, "has shape " + shownShape(entry.shape) + ", " + std::to_string(dimensions) +
                                  " dimension(s) were expected");
    LORAC_ASSIGN(TensorLocation where, locate(key, entry));
    LORAC_ASSIGN(TensorSource source, TensorSource::open(files, where, key));
    std::vector<float> row(source.cols());
    for (uint64_t r = 0; r < source.rows(); ++r)
      LORAC_TRY(source.readRows(r, 1, row.data()));
    return source;
  }

  Status bind(const BaseDescription::Site &site, const Pair &pair) {
    const std::string stem = std::string(kPrefix) + site.name;
    const std::string keyA = stem + ".lora_A.weight", keyB = stem + ".lora_B.weight",
                      keyBias = stem + ".lora_B.bias";
    PeftSite bound;
    bound.name = site.name;
    bound.in = site.in;
    bound.out = site.out;
    auto wrongShape = [&](const std::string &key, const SafetensorsEntry &entry, std::string expected) {
      return Status(Code::Incompatible)
             << tensorPath << ": tensor " << shown(key) << " has shape " << shownShape(entry.shape)
             << ", the site has " << site.in << " inputs and " << site.out << " outputs, so " << expected
             << " was expected; use the base it was trained on";
    };
    const std::vector<uint64_t> &shapeA = pair.a->shape, &shapeB = pair.b->shape;
    if (shapeA.size() != 2 || shapeA[1] != site.in)
      return wrongShape(keyA, *pair.a, "[r, " + std::to_string(site.in) + "]");
    const uint64_t rank = shapeA[0];
    if (rank == 0 || rank > kMaxAdapterRank)
      return unsupported(keyA, "has rank " + std::to_string(rank) + ", 1 to " +
                                   std::to_string(kMaxAdapterRank) + " are supported");
    if (shapeB != std::vector<uint64_t>{site.out, rank})
      return wrongShape(keyB, *pair.b, shownShape(std::vector<uint64_t>{site.out, rank}));
    if (pair.bias && pair.bias->shape != std::vector<uint64_t>{site.out})
      return wrongShape(keyBias, *pair.bias, shownShape(std::vector<uint64_t>{site.out}));
    bound.rank = uint32_t(rank);

    LORAC_ASSIGN(PeftConfig::Number expected, config->rankOf(site.name));
    if (expected.value != double(rank))
      return unsupported(keyA, "has rank " + std::to_string(rank) + ", adapter_config.json says " +
                                   numberText(expected.value) + " (" + expected.by +
                                   "); they must agree, save the "
                                   "adapter again");
    LORAC_ASSIGN(std::string why, config->whyNotTargeted(site.name));
    if (!why.empty())
      return unsupported(keyA, "is for a module that adapter_config.json leaves out (" + why +
                                   "); they must agree, save the adapter again");
    if (config->loraBias() != (pair.bias != nullptr))
      return unsupported(pair.bias ? keyBias : keyB,
                         pair.bias ? "is there, adapter_config.json says lora_bias = false; they "
                                     "must agree, save the adapter again"
                                   : "has no bias beside it, adapter_config.json says lora_bias = "
                                     "true; they must agree, save the adapter again");
    if (config->tiesWeights() && site.name == "lm_head")
      return Status(Code::Unsupported) << configPath
                                       << ": ensure_weight_tying = true with an adapted lm_head would adapt "
                                          "the embedding too, which is not supported"
                                       << kMerge;
    LORAC_ASSIGN(PeftConfig::Number alpha, config->alphaOf(site.name));
    bound.scaling = config->scaling(alpha.value, double(rank));
    LORAC_ASSIGN(bound.a, open(keyA, *pair.a, 2));
    LORAC_ASSIGN(bound.b, open(keyB, *pair.b, 2));
    adapter.treatments.push_back({keyA, "honoured", "rank " + std::to_string(rank)});
    adapter.treatments.push_back({keyB, "honoured", "scaling " + numberText(bound.scaling)});
    if (pair.bias) {
      LORAC_ASSIGN(bound.bias, open(keyBias, *pair.bias, 1));
      adapter.treatments.push_back({keyBias, "honoured", "scaled as B is"});
    }
    adapter.sites.push_back(std::move(bound));
    return Status::ok();
  }

  static std::string numberText(double value) {
    std::ostringstream text;
    text.precision(17);
    text << value;
    return text.str();
  }

  const BaseDescription &base;
  FileCache files;
  std::string configPath, tensorPath;
  std::optional<PeftConfig> config;
  SafetensorsTable table;
  std::map<std::string, Pair> pairs; // by module
  PeftAdapter adapter;
};

} // namespace

Result<PeftAdapter> readPeft(const std::string &directory, const BaseDescription &base) {
  std::string path = directory;
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  return AdapterReader(path, base).read();
}

} // namespace lorac
