//===- Session.cpp - a model, its bundles and its engine ------------------===//
#include "tools/lorac/Session.h"

#include "support/Checked.h"
#include "tools/lorac/Stats.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

namespace lorac::cli {
namespace {

/// A cache larger than this is made only where one request alone needs it; more requests wait for pages.
constexpr uint64_t CacheBytes = 2ull << 30;

/// The value of an environment variable that names a folder from the root; else empty.
std::string absoluteFolder(const char *variable) {
  const char *value = std::getenv(variable);
  return value && value[0] == '/' ? value : "";
}

} // namespace

std::string defaultPipelineCache() {
  const char *chosen = std::getenv("LORAC_PIPELINE_CACHE");
  if (chosen)
    return chosen;
  if (std::string base = absoluteFolder("XDG_CACHE_HOME"); !base.empty())
    return base + "/lorac";
  std::string home = absoluteFolder("HOME");
  return home.empty() ? "" : home + "/.cache/lorac";
}

Result<std::unique_ptr<Session>> Session::open(const std::string &modelPath, const SessionOptions &options) {
  std::unique_ptr<Session> session(new Session);
  session->options = options;
  Timer timer;
  LORAC_ASSIGN(session->modelFile, ModelFile::open(modelPath));
  session->fileTime = timer.seconds();
  if (session->model().metadata().tokenizer()) {
    LORAC_ASSIGN(session->text, ModelText::create(session->model()));
  }
  session->textTime = timer.seconds() - session->fileTime;
  return session;
}

Result<std::vector<uint32_t>> Session::tokensOf(const PromptRequest &request) const {
  if (request.kind == PromptKind::Tokens)
    return request.tokens;
  if (!text)
    return Status(Code::Unsupported)
           << modelFile->path()
           << ": has no tokenizer: its checkpoint had none; give token ids instead of text";
  if (request.kind == PromptKind::Text)
    return text->encode(request.text);
  std::vector<ChatMessage> messages;
  if (request.system)
    messages.push_back({"system", *request.system});
  messages.push_back({"user", request.text});
  return text->encodeChat(messages);
}

Status Session::add(const PromptRequest &request, GenerationRequest &engineRequest) {
  LORAC_ASSIGN(engineRequest.tokens, tokensOf(request));
  engineRequest.sampling = request.sampling;
  engineRequest.ignoreEos = request.ignoreEos;
  uint64_t context = options.context != 0 ? options.context : modelFile->metadata().max_context();
  uint64_t prompt = engineRequest.tokens.size();
  // The last new token is never fed: it needs no position. A prompt that is too long is the batch's to
  // refuse.
  uint64_t room = prompt > context ? 0 : context - prompt + 1;
  engineRequest.maxTokens = request.maxTokens.value_or(uint32_t(std::min<uint64_t>(DefaultNewTokens, room)));
  for (const AdapterArgument &adapter : request.adapters) {
    Bundle &bundle = bundles[adapter.path];
    if (!bundle.file && bundle.status.isOk()) {
      Result<std::shared_ptr<const AdapterFile>> file = AdapterFile::open(adapter.path);
      bundle.status = file.status();
      if (file)
        bundle.file = *std::move(file);
    }
    LORAC_TRY(bundle.status);
  }
  uint64_t newPositions = *engineRequest.maxTokens > 0 ? *engineRequest.maxTokens - 1 : 0;
  lengths.push_back(std::min(prompt + newPositions, context));
  // The prompt by as many rows as a step has, what is left of it, then a row a token.
  const uint64_t rows = options.maxRows != 0 ? options.maxRows : modelFile->metadata().max_rows();
  const bool adapters = !request.adapters.empty();
  expected = {{std::min(prompt, rows), adapters, std::max<uint64_t>(prompt / rows, 1)}};
  if (prompt > rows && prompt % rows != 0)
    expected.push_back({prompt % rows, adapters});
  if (newPositions > 0)
    expected.push_back({1, adapters, newPositions});
  return {};
}

Status Session::start() {
  const fbs::Model &metadata = modelFile->metadata();
  EngineOptions engineOptions;
  engineOptions.device = options.device;
  engineOptions.context = options.context;
  engineOptions.maxRows = options.maxRows;
  engineOptions.poolBytes = 0;
  engineOptions.deviceOptions.pipelineCache = options.pipelineCache;
  for (const auto &[path, bundle] : bundles)
    if (bundle.file)
      engineOptions.poolBytes += slotBytes(*modelFile, *bundle.file);

  // Pages for as many of the longest requests as a step has rows.
  uint32_t rows = options.maxRows != 0 ? options.maxRows : metadata.max_rows();
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  for (size_t i = 0; i < lengths.size() && i < rows; ++i) {
    uint64_t more = ceilDiv(lengths[i], metadata.page_tokens());
    if (i > 0 && (engineOptions.pages + more) * metadata.cache_page_bytes() > CacheBytes)
      break;
    engineOptions.pages += more;
  }
  if (lengths.size() == 1) // those of several share steps, nobody knows how
    engineOptions.expected = expected;
  LORAC_ASSIGN(opened, Engine::open(modelFile, engineOptions));
  for (auto &[path, bundle] : bundles) {
    if (!bundle.file)
      continue;
    // Paths tell bundles apart here: two may carry one name.
    auto loaded = opened->loadAdapter(*bundle.file, {.name = path, .acceptBase = options.acceptBase});
    bundle.status = loaded.status();
    if (loaded)
      bundle.loaded = *std::move(loaded);
  }
  return {};
}

Result<Stack> Session::stackFor(const std::vector<AdapterArgument> &adapters) const {
  Stack stack;
  for (const AdapterArgument &adapter : adapters) {
    const Bundle &bundle = bundles.at(adapter.path);
    LORAC_TRY(bundle.status);
    stack.push_back({bundle.loaded, adapter.strength});
  }
  return stack;
}

std::vector<std::string> Session::acceptedBundles() const {
  std::vector<std::string> paths;
  for (const auto &[path, bundle] : bundles)
    if (bundle.loaded && bundle.loaded->acceptedBase())
      paths.push_back(path);
  return paths;
}

} // namespace lorac::cli
