//===- PeftConfig.cpp - adapter_config.json --------------------------------===//
// One table says of every key whether it is honoured, means nothing at inference, or is refused where it is
// set.
#include "compiler/import/PeftConfig.h"

#include "compiler/import/Shown.h"

#include <algorithm>
#include <cmath>
#include <string_view>

namespace lorac {
namespace {

constexpr const char *kRetrain = "train or save the adapter without it";
constexpr const char *kMergeFirst = "merge it into a checkpoint with PEFT and compile that";

enum class Rule : uint8_t { Honoured, Irrelevant, Refused };
struct KeyRule {
  std::string_view key;
  Rule rule;
  const char *text; // Irrelevant: why; Refused: what it is
  const char *remedy = "";
};

constexpr const char *kTraining = "only training uses it";
constexpr const char *kProvenance = "says where the adapter comes from";

constexpr KeyRule kKeys[] = {
    {"peft_type", Rule::Honoured, ""},
    {"task_type", Rule::Honoured, ""},
    {"bias", Rule::Honoured, ""},
    {"init_lora_weights", Rule::Honoured, ""},
    {"r", Rule::Honoured, ""},
    {"lora_alpha", Rule::Honoured, ""},
    {"use_rslora", Rule::Honoured, ""},
    {"rank_pattern", Rule::Honoured, ""},
    {"alpha_pattern", Rule::Honoured, ""},
    {"target_modules", Rule::Honoured, ""},
    {"exclude_modules", Rule::Honoured, ""},
    {"layers_to_transform", Rule::Honoured, ""},
    {"layers_pattern", Rule::Honoured, ""},
    {"lora_bias", Rule::Honoured, ""},
    {"ensure_weight_tying", Rule::Honoured, ""},

    {"auto_mapping", Rule::Irrelevant, kProvenance},
    {"base_model_name_or_path", Rule::Irrelevant, "the base is the one that the adapter is bound to here"},
    {"revision", Rule::Irrelevant, kProvenance},
    {"peft_version", Rule::Irrelevant, kProvenance},
    {"inference_mode", Rule::Irrelevant, kTraining},
    {"lora_dropout", Rule::Irrelevant, "dropout is off at inference"},
    {"megatron_core", Rule::Irrelevant, kTraining},
    {"qalora_group_size", Rule::Irrelevant, "only use_qalora would use it"},
    {"loftq_config", Rule::Irrelevant, "says how training began"},
    {"eva_config", Rule::Irrelevant, "says how training began"},
    {"corda_config", Rule::Irrelevant, "says how training began"},
    {"lora_ga_config", Rule::Irrelevant, "says how training began"},
    {"runtime_config", Rule::Irrelevant, "says where PEFT computes"},

    {"use_dora", Rule::Refused, "DoRA", kMergeFirst},
    {"modules_to_save", Rule::Refused, "whole modules trained beside the adapter", kMergeFirst},
    {"trainable_token_indices", Rule::Refused, "trained token embeddings", kMergeFirst},
    {"target_parameters", Rule::Refused, "adapters of bare parameters", kMergeFirst},
    {"alora_invocation_tokens", Rule::Refused, "an activated LoRA (aLoRA)", kRetrain},
    {"layer_replication", Rule::Refused, "layers that stand several times", kRetrain},
    {"fan_in_fan_out", Rule::Refused, "weights stored transposed, which no supported base has",
     "set it to false"},
    {"use_qalora", Rule::Refused, "QA-LoRA", kRetrain},
    {"use_bdlora", Rule::Refused, "block-diagonal LoRA", kRetrain},
    {"arrow_config", Rule::Refused, "Arrow routing", kRetrain},
    {"kasa_config", Rule::Refused, "KaSA", kRetrain},
    {"velora_config", Rule::Refused, "VeLoRA", kRetrain},
    {"monteclora_config", Rule::Refused, "MonteCLoRA", kRetrain},
    {"megatron_config", Rule::Refused, "Megatron's parallel layers", kRetrain},
};

const KeyRule *findRule(std::string_view key) {
  for (const KeyRule &rule : kKeys)
    if (rule.key == key)
      return &rule;
  return nullptr;
}

/// Ways to begin training that leave the base as it is. The others move part of the base's weights into the
/// adapter.
constexpr std::string_view kPlainStarts[] = {"gaussian", "orthogonal", "eva"};

} // namespace

Result<PeftConfig> PeftConfig::read(const std::string &path, std::vector<PeftTreatment> &treatments) {
  LORAC_ASSIGN(JsonValue json, readJsonFile(path, kMaxAdapterConfigBytes));
  if (!json.isObject())
    return Status(Code::CorruptFile) << path << ": is not a JSON object; save the adapter again";
  PeftConfig config;
  config.path = path;
  LORAC_TRY(config.readAll(json, treatments));
  return config;
}

Status PeftConfig::readAll(const JsonValue &config, std::vector<PeftTreatment> &treatments) {
  const JsonValue *type = config.find("peft_type");
  if (!type || !type->isString() || type->string != "LORA")
    return Status(Code::Unsupported) << path << ": peft_type is "
                                     << (type ? type->text() : std::string("absent"))
                                     << ", supported is \"LORA\"";
  for (const auto &[key, value] : config.members) {
    const KeyRule *rule = findRule(key);
    if (rule && rule->rule == Rule::Honoured) {
      // null stands for the default. False does not: it may be a value.
      if (!value.isNull())
        LORAC_TRY(readHonoured(key, value));
      treatments.push_back(
          {key, value.isNull() ? "dropped" : "honoured", value.isNull() ? "not set" : value.text()});
      continue;
    }
    if (rule && rule->rule == Rule::Irrelevant) {
      treatments.push_back({key, "dropped", value.isUnset() ? "not set" : rule->text});
      continue;
    }
    if (!value.isUnset() && rule)
      return Status(Code::Unsupported) << path << ": " << key << " = " << value.text() << ": " << rule->text
                                       << " is not supported; " << rule->remedy;
    if (!value.isUnset())
      return Status(Code::Unsupported) << path << ": key " << shown(key) << " = " << value.text()
                                       << " is not known and may change the adapter's effect; " << kRetrain;
    treatments.push_back({key, "dropped", "not set"});
  }
  if (layers && targets && targets->pattern)
    return Status(Code::CorruptFile) << path
                                     << ": layers_to_transform goes with a list of target_modules, not with "
                                        "a pattern; say the layers in the pattern";
  return Status::ok();
}

Status PeftConfig::readHonoured(const std::string &key, const JsonValue &value) {
  auto refuse = [&](std::string_view supported) {
    return Status(Code::Unsupported) << path << ": " << key << " = " << value.text() << " is not supported; "
                                     << supported;
  };
  if (key == "peft_type")
    return Status::ok();
  if (key == "task_type")
    return value.isString() && value.string == "CAUSAL_LM" ? Status::ok()
                                                           : refuse("supported is \"CAUSAL_LM\"");
  if (key == "bias")
    return value.isString() && value.string == "none"
               ? Status::ok()
               : refuse("it trains the base's biases; merge the adapter into a checkpoint with PEFT and "
                        "compile that");
  if (key == "init_lora_weights") {
    if (value.isBool() || (value.isString() && std::find(std::begin(kPlainStarts), std::end(kPlainStarts),
                                                         value.string) != std::end(kPlainStarts)))
      return Status::ok();
    return refuse("it changes the base's weights, so the adapter is right on those alone; save it converted "
                  "to plain LoRA "
                  "(path_initial_model_for_weight_conversion)");
  }
  if (key == "r")
    return readNumber(key, value, 1, rank);
  if (key == "lora_alpha")
    return readNumber(key, value, -INFINITY, alpha);
  if (key == "use_rslora")
    return readFlag(key, value, rsLora);
  if (key == "lora_bias")
    return readFlag(key, value, hasBias);
  if (key == "ensure_weight_tying")
    return readFlag(key, value, weightTying);
  if (key == "rank_pattern")
    return readPatterns(key, value, 1, rankPatterns);
  if (key == "alpha_pattern")
    return readPatterns(key, value, -INFINITY, alphaPatterns);
  if (key == "target_modules")
    return readModules(key, value, targets);
  if (key == "exclude_modules")
    return readModules(key, value, excluded);
  if (key == "layers_to_transform")
    return readLayers(value);
  if (key == "layers_pattern")
    return readLayerPatterns(value);
  return Status(Code::Internal) << path << ": key " << key << " is in the table but not read; report it";
}

Status PeftConfig::readNumber(const std::string &key, const JsonValue &value, double least,
                              double &out) const {
  if (!value.isNumber() || !std::isfinite(value.real) || value.real < least)
    return Status(Code::CorruptFile) << path << ": " << key << " is " << value.text() << ", a number"
                                     << (std::isfinite(least) ? " from 1 on" : "") << " was expected";
  out = value.real;
  return Status::ok();
}

Status PeftConfig::tooMany(const std::string &key, size_t count) const {
  return Status(Code::Unsupported) << path << ": " << key << " has " << count << " patterns, at most "
                                   << kMaxAdapterPatterns << " are supported; " << kRetrain;
}

Status PeftConfig::readFlag(const std::string &key, const JsonValue &value, bool &out) const {
  if (!value.isBool())
    return Status(Code::CorruptFile) << path << ": " << key << " is " << value.text()
                                     << ", true or false was expected";
  out = value.boolean;
  return Status::ok();
}

Status PeftConfig::readPatterns(const std::string &key, const JsonValue &value, double least,
                                Patterns &out) const {
  if (!value.isObject())
    return Status(Code::CorruptFile) << path << ": " << key << " is " << value.text()
                                     << ", an object of patterns and numbers was expected";
  if (value.members.size() > kMaxAdapterPatterns)
    return tooMany(key, value.members.size());
  for (const auto &[text, number] : value.members) {
    Number chosen{0, key + " \"" + shown(text) + "\""};
    LORAC_TRY(readNumber(chosen.by, number, least, chosen.value));
    // PEFT's own rule (get_pattern_key): the key may begin anywhere after a dot and ends with the name.
    LORAC_ASSIGN(Pattern pattern, Pattern::compile("(.*\\.)?(" + text + ")$", path + ": " + key, budget));
    out.emplace_back(std::move(pattern), std::move(chosen));
  }
  return Status::ok();
}

Status PeftConfig::readModules(const std::string &key, const JsonValue &value,
                               std::optional<Modules> &out) const {
  Modules modules;
  modules.text = value.text();
  if (value.isString()) {
    std::string lower = value.string;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    modules.allLinear = key == "target_modules" && lower == "all-linear";
    if (!modules.allLinear) {
      LORAC_ASSIGN(modules.pattern, Pattern::compile(value.string, path + ": " + key, budget));
    }
  } else if (value.isArray()) {
    for (const JsonValue &item : value.items) {
      if (!item.isString())
        return Status(Code::CorruptFile)
               << path << ": " << key << " holds " << item.text() << ", names were expected";
      modules.names.insert(item.string);
    }
    if (modules.names.empty()) // as if absent
      return Status::ok();
  } else {
    return Status(Code::CorruptFile) << path << ": " << key << " is " << value.text()
                                     << ", a pattern or a list of names was expected";
  }
  out = std::move(modules);
  return Status::ok();
}

Status PeftConfig::readLayers(const JsonValue &value) {
  std::set<std::string> list;
  bool good = value.isInteger() || value.isArray();
  if (value.isInteger())
    list.insert(std::to_string(value.integer));
  for (const JsonValue &item : value.items) {
    good = good && item.isInteger();
    list.insert(std::to_string(item.integer));
  }
  if (!good)
    return Status(Code::CorruptFile) << path << ": layers_to_transform is " << value.text()
                                     << ", a layer's number or a list of them was expected";
  if (!list.empty()) // an empty list is as if absent
    layers = std::move(list);
  layersText = value.text();
  return Status::ok();
}

Status PeftConfig::readLayerPatterns(const JsonValue &value) {
  std::vector<std::string> texts;
  bool good = value.isString() || value.isArray();
  if (value.isString() && !value.string.empty())
    texts.push_back(value.string);
  for (const JsonValue &item : value.items) {
    good = good && item.isString();
    texts.push_back(item.string);
  }
  if (!good)
    return Status(Code::CorruptFile) << path << ": layers_pattern is " << value.text()
                                     << ", a pattern or a list of them was expected";
  if (texts.size() > kMaxAdapterPatterns)
    return tooMany("layers_pattern", texts.size());
  for (const std::string &text : texts) {
    LORAC_ASSIGN(Pattern pattern,
                 Pattern::compile(".*?\\." + text + "\\.(\\d+)\\.", path + ": layers_pattern", budget));
    layerPatterns.push_back(std::move(pattern));
  }
  return Status::ok();
}

Result<PeftConfig::Number> PeftConfig::choose(const std::string &module, const Patterns &patterns,
                                              double fallback, const char *fallbackKey) const {
  for (const auto &[pattern, number] : patterns) {
    LORAC_ASSIGN(bool matches, pattern.matchesStart(module));
    if (matches)
      return number;
  }
  return Number{fallback, fallbackKey};
}

double PeftConfig::scaling(double alpha, double rank) const {
  return alpha / (rsLora ? std::sqrt(rank) : rank);
}

Result<bool> PeftConfig::selects(const Modules &modules, const std::string &module) const {
  if (modules.pattern)
    return modules.pattern->matchesWhole(module);
  if (modules.allLinear)
    return module != "lm_head"; // PEFT leaves the output layer out
  // The module's name, or what stands after one of its dots.
  for (size_t begin = 0; begin != std::string::npos;) {
    if (modules.names.count(std::string_view(module).substr(begin)))
      return true;
    const size_t dot = module.find('.', begin);
    begin = dot == std::string::npos ? dot : dot + 1;
  }
  return false;
}

Result<bool> PeftConfig::inLayers(const std::string &module) const {
  if (!layers || (targets && targets->names.count(module)))
    return true; // a module named in full is taken whatever its layer
  std::optional<std::string> index;
  if (layerPatterns.empty()) {
    LORAC_ASSIGN(Pattern any, Pattern::compile(".*?\\.[^.]*\\.(\\d+)\\.", path, budget));
    LORAC_ASSIGN(index, any.firstGroup(module));
  }
  for (size_t i = 0; i < layerPatterns.size() && !index; ++i) {
    LORAC_ASSIGN(index, layerPatterns[i].firstGroup(module));
  }
  return index && layers->count(*index);
}

Result<std::string> PeftConfig::whyNotTargeted(const std::string &module) const {
  if (excluded) {
    LORAC_ASSIGN(bool out, selects(*excluded, module));
    if (out)
      return "exclude_modules = " + excluded->text;
  }
  if (targets) {
    LORAC_ASSIGN(bool in, selects(*targets, module));
    if (!in)
      return "target_modules = " + targets->text;
  }
  LORAC_ASSIGN(bool in, inLayers(module));
  return in ? std::string() : "layers_to_transform = " + layersText;
}

} // namespace lorac
