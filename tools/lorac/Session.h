//===- Session.h - a model, its bundles and its engine ----------*- C++ -*-===//
#ifndef LORAC_TOOLS_LORAC_SESSION_H
#define LORAC_TOOLS_LORAC_SESSION_H

#include "runtime/engine/Batch.h"
#include "runtime/engine/ModelText.h"
#include "tools/lorac/Requests.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lorac::cli {

struct SessionOptions {
  DeviceSpec device;
  uint64_t context = 0; ///< 0: the model's
  uint32_t maxRows = 0; ///< 0: the model's
  bool acceptBase = false;
  std::string pipelineCache; ///< a folder; empty: none
};

/// Where pipelines are kept if nobody says where: lorac in $XDG_CACHE_HOME, else in ~/.cache; nowhere (empty)
/// where there is neither, or where LORAC_PIPELINE_CACHE is set and empty.
std::string defaultPipelineCache();

/// New tokens of a request that does not say how many.
constexpr uint32_t DefaultNewTokens = 256;

/// First everything that needs no device (open, add requests), so that a wrong path costs no upload; then
/// start().
class Session {
public:
  static Result<std::unique_ptr<Session>> open(const std::string &modelPath, const SessionOptions &options);

  const ModelFile &model() const { return *modelFile; }
  /// Null where the model file has none.
  const Tokenizer *tokenizer() const { return text ? &text->tokenizer() : nullptr; }

  /// Makes token ids of the prompt, reads its bundles, fixes how many new tokens it may have; `engineRequest`
  /// lacks only its stack. The Status of a request that cannot run.
  Status add(const PromptRequest &request, GenerationRequest &engineRequest);
  /// Opens the engine, large enough for what was added, and loads the bundles.
  Status start();
  /// The stack of a request that add() accepted. Not Ok where a bundle does not fit the model.
  Result<Stack> stackFor(const std::vector<AdapterArgument> &adapters) const;

  /// How long it took to read and verify the model file, and to make its tokenizer.
  double fileSeconds() const { return fileTime; }
  double textSeconds() const { return textTime; }

  const std::shared_ptr<Engine> &engine() const { return opened; }
  /// Loaded bundles that were made for another base and let in by --accept-base.
  std::vector<std::string> acceptedBundles() const;

private:
  struct Bundle {
    std::shared_ptr<const AdapterFile> file;
    std::shared_ptr<const LoadedAdapter> loaded;
    Status status; ///< why it is not loaded
  };

  Session() = default;
  Result<std::vector<uint32_t>> tokensOf(const PromptRequest &request) const;

  SessionOptions options;
  double fileTime = 0, textTime = 0;
  std::shared_ptr<const ModelFile> modelFile;
  std::shared_ptr<const ModelText> text;
  std::map<std::string, Bundle> bundles; // by path
  std::vector<uint64_t> lengths;         // positions that each request can come to use
  std::vector<ExpectedStep> expected;    // of the last request
  std::shared_ptr<Engine> opened;
};

} // namespace lorac::cli

#endif // LORAC_TOOLS_LORAC_SESSION_H
