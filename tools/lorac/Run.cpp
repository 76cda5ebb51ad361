//===- Run.cpp - lorac run --------------------------------------------------===//
// One prompt, its text streamed; or --batch, many requests as rows of the same steps.
#include "support/Files.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"
#include "tools/lorac/Npy.h"
#include "tools/lorac/Session.h"
#include "tools/lorac/Stats.h"

#include <deque>
#include <optional>

namespace lorac::cli {
namespace {

constexpr uint64_t MaxRequestsBytes = 1ull << 30;

struct RunOptions {
  std::string model;
  std::vector<std::string> adapters;
  std::string prompt, chat, system, tokens, batch;
  std::string device = "auto";
  std::optional<std::string> logits;
  std::string pipelineCache;
  uint32_t maxTokens = 0;
  uint64_t context = 0;
  uint32_t maxRows = 0;
  bool printTokens = false;
  bool stats = false;
  bool acceptBase = false;
  bool json = false;
  /// What of the options makes a request; the defaults of --batch's lines.
  PromptRequest request;
};

template <typename T> T orMisuse(Result<T> result) {
  if (!result)
    throw CLI::ValidationError(result.status().message());
  return *std::move(result);
}

/// What can be said about the options without a model. Throws CLI::ValidationError.
SessionOptions checkOptions(const CLI::App &sub, RunOptions &options) {
  auto given = [&sub](const char *name) { return sub.get_option(name)->count() > 0; };
  int prompts = given("--prompt") + given("--chat") + given("--tokens") + given("--batch");
  if (prompts != 1)
    throw CLI::ValidationError("give one of --prompt, --chat, --tokens and --batch");
  if (given("--system") && !given("--chat"))
    throw CLI::ValidationError("--system goes with --chat alone");
  if (given("--batch"))
    for (const char *name : {"--logits", "--print-tokens"})
      if (given(name))
        throw CLI::ValidationError(std::string(name) + " does not go with --batch");
  if (options.json && options.printTokens)
    throw CLI::ValidationError("--print-tokens does not go with --json, whose object has the tokens");

  PromptRequest &request = options.request;
  if (given("--tokens")) {
    request.kind = PromptKind::Tokens;
    request.tokens = orMisuse(parseTokenList(options.tokens));
  } else {
    request.kind = given("--chat") ? PromptKind::Chat : PromptKind::Text;
    request.text = given("--chat") ? options.chat : options.prompt;
  }
  if (given("--system"))
    request.system = options.system;
  if (given("--max-tokens"))
    request.maxTokens = options.maxTokens;
  for (const std::string &text : options.adapters)
    request.adapters.push_back(orMisuse(parseAdapterArgument(text)));
  if (Status status = request.sampling.validate(); !status)
    throw CLI::ValidationError(status.message());
  SessionOptions session;
  session.device = orMisuse(DeviceSpec::parse(options.device));
  session.context = options.context;
  session.maxRows = options.maxRows;
  session.acceptBase = options.acceptBase;
  session.pipelineCache = given("--pipeline-cache") ? options.pipelineCache : defaultPipelineCache();
  return session;
}

void noteAccepted(const Session &session) {
  for (const std::string &path : session.acceptedBundles())
    note(path + ": made for another base than " + session.model().path() +
         ", loaded because of --accept-base");
}

RunStats collectStats(const Session &session, const Batch &batch, double openSeconds, const TokenClock &clock,
                      std::optional<uint64_t> firstPipelineNanoseconds) {
  const DeviceCounters counters = session.engine()->counters();
  return {.device = session.engine()->deviceDescription(),
          .counters = counters,
          .batch = batch.counters(),
          .poolBytes = session.engine()->pool().totalBytes(),
          .openSeconds = openSeconds,
          .fileSeconds = session.fileSeconds(),
          .textSeconds = session.textSeconds(),
          .clock = clock,
          .firstPipelineNanoseconds = firstPipelineNanoseconds.value_or(counters.pipelineNanoseconds)};
}

Json textOrNull(const Tokenizer *tokenizer, const std::vector<uint32_t> &tokens) {
  return tokenizer ? Json(tokenizer->decode(tokens, /*skipSpecial=*/true)) : Json();
}

std::string joined(const std::vector<uint32_t> &tokens) {
  std::string text;
  for (uint32_t token : tokens)
    text += (text.empty() ? "" : ",") + std::to_string(token);
  return text;
}

Json adaptersJson(const Session &session, const std::vector<AdapterArgument> &adapters) {
  Json list = Json::array();
  std::vector<std::string> accepted = session.acceptedBundles();
  for (const AdapterArgument &adapter : adapters)
    list.push_back({{"path", adapter.path},
                    {"strength", adapter.strength},
                    {"accepted_base", std::count(accepted.begin(), accepted.end(), adapter.path) > 0}});
  return list;
}

Status runOne(const RunOptions &options, const SessionOptions &sessionOptions) {
  Timer opening;
  LORAC_ASSIGN(std::unique_ptr<Session> session, Session::open(options.model, sessionOptions));
  GenerationRequest request;
  LORAC_TRY(session->add(options.request, request));
  // A path that cannot be written is found before anything runs.
  std::optional<AtomicFile> logitsFile;
  if (options.logits) {
    LORAC_ASSIGN(std::string path, resultPath(*options.logits, NpyMagic, "a .npy file"));
    LORAC_ASSIGN(AtomicFile file, AtomicFile::create(path));
    logitsFile.emplace(std::move(file));
    request.captureLogits = true;
  }
  LORAC_TRY(session->start());
  LORAC_ASSIGN(request.stack, session->stackFor(options.request.adapters));
  noteAccepted(*session);
  double openSeconds = opening.seconds();

  const Tokenizer *tokenizer = session->tokenizer();
  bool stream = tokenizer && !options.json;
  std::optional<Detokenizer> detokenizer;
  if (stream)
    detokenizer.emplace(*tokenizer);
  TokenClock clock;
  std::optional<uint64_t> pipelineTime;
  Status printed;
  GenerationResult result;
  request.onToken = [&](uint32_t token) {
    if (clock.token())
      pipelineTime = session->engine()->counters().pipelineNanoseconds;
    if (stream)
      printed = print(detokenizer->push(token));
    return printed.isOk();
  };
  request.onDone = [&result](GenerationResult done) { result = std::move(done); };
  Batch batch(session->engine());
  clock.start();
  batch.submit(std::move(request));
  while (batch.step()) {
  }
  clock.stop();
  LORAC_TRY(printed);
  if (result.finish == Finish::Error) {
    Status status = Status(result.status.code()) << options.model << ": " << result.status.message();
    for (const std::string &line : result.status.notes())
      status.addNote(line);
    return status;
  }
  if (logitsFile) {
    LORAC_TRY(writeNpy(*logitsFile, result.logits, result.logitRows, session->engine()->vocabSize()));
    LORAC_TRY(logitsFile->commit());
  }

  RunStats stats = collectStats(*session, batch, openSeconds, clock, pipelineTime);
  if (options.json) {
    Json object = {{"tokens", result.tokens},
                   {"text", textOrNull(tokenizer, result.tokens)},
                   {"finish", finishName(result.finish)},
                   {"prompt_tokens", result.promptTokens},
                   {"adapters", adaptersJson(*session, options.request.adapters)}};
    if (options.stats)
      object["stats"] = stats.json();
    return printJson(object);
  }
  std::string rest;
  if (stream)
    rest += detokenizer->flush() + "\n";
  if (options.printTokens)
    rest += joined(result.tokens) + "\n";
  LORAC_TRY(print(rest));
  if (!tokenizer && !options.printTokens)
    note(options.model +
         ": has no tokenizer, so the new tokens are no text; --print-tokens prints their ids");
  if (options.stats)
    std::cerr << stats.text() << std::flush;
  return {};
}

/// Prints results in the order of the requests, each as soon as those before it are out.
class OrderedLines {
public:
  explicit OrderedLines(size_t count) : lines(count) {}

  Status put(size_t index, const Json &result) {
    lines[index] = jsonLine(result);
    for (; next < lines.size() && !lines[next].empty(); ++next)
      if (Status status = print(lines[next]); !status)
        return status;
    return {};
  }

private:
  std::vector<std::string> lines;
  size_t next = 0;
};

Json resultJson(size_t index, const GenerationResult &result, const Tokenizer *tokenizer) {
  Json object = {{"index", index},
                 {"tokens", result.tokens},
                 {"text", textOrNull(tokenizer, result.tokens)},
                 {"finish", finishName(result.finish)}};
  if (result.finish == Finish::Error)
    object["error"] = result.status.message();
  return object;
}

/// The lines of a requests file that hold something.
std::vector<std::string_view> requestLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

Status runBatch(const RunOptions &options, const SessionOptions &sessionOptions) {
  Timer opening;
  LORAC_ASSIGN(std::string file, readTextFile(options.batch, MaxRequestsBytes));
  std::vector<std::string_view> lines = requestLines(file);
  LORAC_ASSIGN(std::unique_ptr<Session> session, Session::open(options.model, sessionOptions));
  std::vector<GenerationRequest> requests(lines.size());
  std::vector<std::vector<AdapterArgument>> stacks(lines.size());
  bool any = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    Result<PromptRequest> request = parseRequestLine(lines[i], options.request);
    requests[i].status = request ? session->add(*request, requests[i]) : request.status();
    if (requests[i].status)
      stacks[i] = std::move(request->adapters);
    any = any || requests[i].status.isOk();
  }

  OrderedLines output(lines.size());
  if (!any) { // nothing to run: no device is opened
    for (size_t i = 0; i < lines.size(); ++i) {
      GenerationResult refused;
      refused.status = requests[i].status;
      LORAC_TRY(output.put(i, resultJson(i, refused, session->tokenizer())));
    }
    if (options.stats)
      note("no request could run: there is nothing to count");
    return {};
  }
  LORAC_TRY(session->start());
  noteAccepted(*session);
  double openSeconds = opening.seconds();

  Batch batch(session->engine());
  TokenClock clock;
  std::optional<uint64_t> pipelineTime;
  Status printed, lost;
  Progress progress;
  size_t done = 0;
  clock.start();
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerationRequest &request = requests[i];
    if (request.status) {
      Result<Stack> stack = session->stackFor(stacks[i]);
      request.status = stack.status();
      if (stack)
        request.stack = *std::move(stack);
    }
    request.onToken = [&](uint32_t) {
      if (clock.token())
        pipelineTime = session->engine()->counters().pipelineNanoseconds;
      return printed.isOk();
    };
    request.onDone = [&, i](const GenerationResult &result) {
      if (result.status.code() == Code::DeviceLost)
        lost = result.status;
      ++done;
      progress.update("requests " + std::to_string(done) + " of " + std::to_string(requests.size()), done,
                      requests.size());
      if (printed)
        printed = output.put(i, resultJson(i, result, session->tokenizer()));
    };
    batch.submit(std::move(request));
  }
  while (batch.step()) {
  }
  clock.stop();
  LORAC_TRY(printed);
  LORAC_TRY(lost);
  if (options.stats) {
    RunStats stats = collectStats(*session, batch, openSeconds, clock, pipelineTime);
    std::cerr << (options.json ? jsonLine({{"stats", stats.json()}}) : stats.text()) << std::flush;
  }
  return {};
}

} // namespace

void addRun(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<RunOptions>();
  CLI::App *sub = app.add_subcommand("run", "Run a model, with any stack of adapters");
  sub->add_option("MODEL", options->model, "The model file (.lorac)")->required();
  sub->add_option("--adapter", options->adapters,
                  "BUNDLE.lora[=STRENGTH]: puts an adapter on the stack; repeatable. Default strength 1; 0 "
                  "takes it out")
      ->allow_extra_args(false);
  sub->add_option("--prompt", options->prompt, "Text to continue; special tokens in it are recognised");
  sub->add_option("--chat", options->chat, "A user's message, put into the model's chat template");
  sub->add_option("--system", options->system, "The system message before --chat, with which alone it goes");
  sub->add_option("--tokens", options->tokens, "Token ids to continue: 1,2,3");
  sub->add_option(
      "--batch", options->batch,
      "A file of requests, one JSON object a line, run as rows of the same steps; one result line each, in "
      "order. The other options are the defaults of its lines; --system, --logits and --print-tokens do not "
      "go with it");
  sub->add_option("--max-tokens", options->maxTokens,
                  "New tokens at most; default " + std::to_string(DefaultNewTokens) +
                      ", or what the context has left")
      ->check(wholeNumber(0, UINT32_MAX));
  sub->add_option("--temperature", options->request.sampling.temperature, "0 (default) is greedy");
  sub->add_option("--top-p", options->request.sampling.topP,
                  "Draw from the likeliest tokens that together reach this; default 1, off");
  sub->add_option("--top-k", options->request.sampling.topK,
                  "Draw from this many likeliest tokens; default 0, off")
      ->check(wholeNumber(0, UINT32_MAX));
  sub->add_option("--seed", options->request.sampling.seed,
                  "Of the random numbers; default 0. The same seed gives the same text on one device")
      ->check(wholeNumber(0, UINT64_MAX));
  sub->add_flag("--ignore-eos", options->request.ignoreEos, "Go on after an end-of-text token");
  sub->add_option("--device", options->device,
                  "auto (default), vulkan or vulkan:N; ,deny=FEATURE, repeatable, leaves one unused: texel, "
                  "subgroup, storage, "
                  "hostvisible or chains");
  sub->add_option("--context", options->context,
                  "Positions that a sequence may use; default: all that the model has")
      ->check(wholeNumber(1, UINT64_MAX));
  sub->add_option("--max-rows", options->maxRows, "Rows of a step at most; default: the model's")
      ->check(wholeNumber(1, UINT32_MAX));
  sub->add_option("--logits", options->logits,
                  "Write the logits of each position fed to this .npy file: float32 [positions, vocabulary]");
  sub->add_option("--pipeline-cache", options->pipelineCache,
                  "Folder that keeps compiled pipelines for the next run; \"\" keeps none. Default: lorac in "
                  "$XDG_CACHE_HOME, else in ~/.cache")
      ->envname("LORAC_PIPELINE_CACHE");
  sub->add_flag("--print-tokens", options->printTokens,
                "Print the new ids alone on the last line of stdout: 1,2,3");
  sub->add_flag("--stats", options->stats,
                "Print counts (dispatches, bytes, allocations, pipelines) and times to stderr; with --json "
                "in the object, "
                "with --batch --json as one line on stderr");
  sub->add_flag("--accept-base", options->acceptBase,
                "Load bundles that were made for another base, if shapes agree");
  sub->add_flag("--json", options->json, "Print one JSON object in place of the text");
  sub->footer(
      "Examples:\n"
      "  lorac run smollm2.lorac --chat \"What is the capital of France?\" --stats\n"
      "  lorac run smollm2.lorac --adapter support.lora=0.5 --adapter legal.lora --prompt \"Once\" "
      "--temperature 0.8\n"
      "  lorac run smollm2.lorac --batch requests.jsonl\n"
      "A line of requests.jsonl (prompt, chat or tokens; the rest is optional):\n"
      "  {\"chat\": \"Hello\", \"system\": \"Be brief.\", \"adapters\": [{\"path\": "
      "\"support.lora\", \"strength\": 0.5}],\n"
      "   \"max_tokens\": 32, \"temperature\": 0, \"top_p\": 1, \"top_k\": 0, \"seed\": 7, "
      "\"ignore_eos\": false}\n"
      "A result line:\n"
      "  {\"index\": 0, \"tokens\": [19556], \"text\": \"Hello\", \"finish\": \"length\" | \"stop\" "
      "| \"error\", \"error\": \"...\"}\n"
      "text is null where the model has no tokenizer. The object of --json:\n"
      "  {\"tokens\", \"text\", \"finish\", \"prompt_tokens\", \"adapters\": [{\"path\", \"strength\", "
      "\"accepted_base\"}], \"stats\" with --stats}\n"
      "stats, after --batch as {\"stats\": ...} on stderr:\n"
      "  {\"device\", \"steps\", \"requests\", \"prompt_tokens\", \"new_tokens\", \"dispatches\", "
      "\"adapter_dispatches\", \"dispatches_by_kernel\",\n"
      "   \"barriers\", \"adapter_bytes\", \"step_bytes\", \"weight_bytes\" (all three: moved), "
      "\"pool_bytes\", "
      "\"allocations\", \"allocated_bytes\",\n"
      "   \"pipelines\", \"pipeline_cache_bytes\", \"seconds\": {\"open\", \"first_token\", \"total\"}, "
      "\"start_seconds\": {\"total\", \"file\",\n"
      "   \"driver\", \"pipelines\", \"own\", \"tokenizer\", \"weights\"}, \"tokens_per_second\": "
      "{\"prompt\", "
      "\"decode\", \"new\"}}");
  sub->callback([options, sub, &exitCode] {
    SessionOptions session = checkOptions(*sub, *options);
    Status status = options->batch.empty() ? runOne(*options, session) : runBatch(*options, session);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
