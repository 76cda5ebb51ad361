//===- PeftConfig.h - adapter_config.json -----------------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_PEFTCONFIG_H
#define LORAC_COMPILER_IMPORT_PEFTCONFIG_H

#include "compiler/import/Json.h"
#include "compiler/import/Pattern.h"
#include "compiler/import/Peft.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lorac {

/// The configuration, as far as inference depends on it; everything else was refused or noted among the
/// treatments.
class PeftConfig {
public:
  /// Refuses by name what changes inference and is not honoured.
  static Result<PeftConfig> read(const std::string &path, std::vector<PeftTreatment> &treatments);

  bool loraBias() const { return hasBias; }
  bool tiesWeights() const { return weightTying; }

  /// Rank and alpha of a module: the first pattern that matches, else the defaults. `by` says which key it
  /// was.
  struct Number {
    double value;
    std::string by;
  };
  Result<Number> rankOf(const std::string &module) const { return choose(module, rankPatterns, rank, "r"); }
  Result<Number> alphaOf(const std::string &module) const {
    return choose(module, alphaPatterns, alpha, "lora_alpha");
  }
  /// alpha / r, or alpha / sqrt(r).
  double scaling(double alpha, double rank) const;

  /// Empty where the configuration selects the module, else the key and value that leave it out.
  Result<std::string> whyNotTargeted(const std::string &module) const;

private:
  using Patterns = std::vector<std::pair<Pattern, Number>>;
  /// A regular expression over whole names, or a list of names that a module's name must equal or end with.
  struct Modules {
    std::optional<Pattern> pattern;
    bool allLinear = false;
    std::set<std::string, std::less<>> names;
    std::string text; // as written
  };

  Status readAll(const JsonValue &config, std::vector<PeftTreatment> &treatments);
  Status readHonoured(const std::string &key, const JsonValue &value);
  Status readNumber(const std::string &key, const JsonValue &value, double least, double &out) const;
  Status tooMany(const std::string &key, size_t count) const;
  Status readFlag(const std::string &key, const JsonValue &value, bool &out) const;
  Status readPatterns(const std::string &key, const JsonValue &value, double least, Patterns &out) const;
  Status readModules(const std::string &key, const JsonValue &value, std::optional<Modules> &out) const;
  Status readLayers(const JsonValue &value);
  Status readLayerPatterns(const JsonValue &value);
  Result<Number> choose(const std::string &module, const Patterns &patterns, double fallback,
                        const char *fallbackKey) const;
  Result<bool> selects(const Modules &modules, const std::string &module) const;
  Result<bool> inLayers(const std::string &module) const;

  std::string path;
  PatternBudget budget = std::make_shared<uint64_t>(kMaxPatternSteps); // of all patterns here
  double rank = 8, alpha = 8;
  bool rsLora = false, hasBias = false, weightTying = false;
  Patterns rankPatterns, alphaPatterns;
  std::optional<Modules> targets, excluded;
  std::optional<std::set<std::string>> layers; // their numbers as texts
  std::vector<Pattern> layerPatterns;
  std::string layersText;
};

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_PEFTCONFIG_H
