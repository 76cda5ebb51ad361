#include "tests/faults/FaultSession.h"

#include "tests/runtime/device/DeviceTestModel.h"

#include <array>
#include <cstring>

namespace lorac::test {
namespace {

/// Where the adapter's program finds its numbers in the pool: inside A of the first slot, behind the
/// directory of two records.
constexpr uint64_t PoolOffset = 256;
constexpr uint64_t CopiedBytes = RowWidth / 2 * sizeof(float);

/// A program that is "rows" with the first half of row 0 taken from the pool.
void addAdapterProgram(fbs::ModelT &model) {
  auto program = std::make_unique<fbs::ProgramT>(*model.programs[RowsProgram]);
  program->name = "rows+";
  program->adapters = true;
  auto pool = std::make_unique<fbs::BufferT>();
  pool->name = "pool";
  pool->space = fbs::Space::Pool;
  pool->offset = expr(model, constant(0));
  pool->size = expr(model, symbol("pool_bytes"));
  program->buffers.push_back(std::move(pool));
  auto copy = std::make_unique<fbs::CommandT>();
  copy->kind = fbs::CommandKind::Copy;
  constexpr uint32_t X = 3; // the embedded rows
  for (auto [buffer, offset] :
       {std::pair(uint32_t(program->buffers.size() - 1), PoolOffset), std::pair(X, uint64_t(0))})
    copy->views.emplace_back(buffer, expr(model, constant(offset)), expr(model, constant(CopiedBytes)));
  auto barrier = std::make_unique<fbs::CommandT>();
  barrier->kind = fbs::CommandKind::Barrier;
  // After the embedding and its barrier.
  program->commands.insert(program->commands.begin() + 2, std::move(barrier));
  program->commands.insert(program->commands.begin() + 2, std::move(copy));
  model.programs.push_back(std::move(program));
}

} // namespace

TinyModel faultModel() {
  TinyModel tiny = deviceTestModel();
  fbs::ModelT &model = tiny.model;
  model.programs.resize(1);
  addAdapterProgram(model);
  model.vocab_size = RowWidth;
  for (auto &symbol : model.symbols)
    if (symbol->name == "pool_bytes")
      symbol->maximum = 1 << 20;
  return tiny;
}

TinyAdapter faultAdapter() {
  TinyAdapter tiny = tinyAdapter("fault");
  fbs::AdapterT &adapter = tiny.adapter;
  adapter.fingerprints = {*faultModel().model.fingerprint};
  adapter.type = fbs::AdapterType::F32;
  adapter.sites.resize(1);
  fbs::AdapterSiteT &site = *adapter.sites[0]; // block.q, 8 x 8, rank 3
  site.a_offset = 0;
  site.b_offset = 256;
  std::array<float, 128> values;
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(i) * 0.25f - 7;
  tiny.image.resize(sizeof values);
  std::memcpy(tiny.image.data(), values.data(), sizeof values);
  return tiny;
}

namespace {

/// Tells `options.inside` that the library runs.
class Inside {
public:
  explicit Inside(const SessionOptions &options) : options(options) { tell(true); }
  ~Inside() { tell(false); }

private:
  void tell(bool inside) const {
    if (options.inside)
      options.inside(inside);
  }
  const SessionOptions &options;
};

/// Calls of one session. After a failure that stays, further calls are left out.
class Caller {
public:
  Caller(const SessionOptions &options, SessionResult &result) : options(options), result(result) {}

  template <typename Call> bool operator()(const char *name, Call call) {
    if (over)
      return false;
    lorac_error error = LORAC_INIT(lorac_error);
    lorac_code code = run(call, error);
    if (code == LORAC_OK)
      return true;
    fail(name, code, error.message);
    if (!options.again || code == LORAC_DEVICE_LOST)
      return false;
    code = run(call, error);
    retried(code, error.message);
    return !over;
  }
  /// For what cannot fail.
  template <typename Call> void close(Call call) {
    Inside inside(options);
    call();
  }
  void fail(const char *name, lorac_code code, const char *message) {
    if (result.code == LORAC_OK) {
      result.call = name;
      result.code = code;
      result.message = message;
    }
    over = !options.again || code == LORAC_DEVICE_LOST;
    if (options.onFailure)
      options.onFailure();
  }
  void retried(lorac_code code, const char *message) {
    if (code == LORAC_OK)
      return;
    result.again = code;
    result.againMessage = message;
    over = true;
  }
  bool isOver() const { return over; }

private:
  template <typename Call> lorac_code run(Call &call, lorac_error &error) {
    Inside inside(options);
    return call(&error);
  }

  const SessionOptions &options;
  SessionResult &result;
  bool over = false;
};

void doText(Caller &call, lorac_model *model, SessionResult &result) {
  std::array<uint32_t, 16> tokens = {};
  size_t count = 0;
  if (call("tokenize", [&](lorac_error *error) {
        count = tokens.size();
        return lorac_tokenize(model, "abc ab", 6, 1, tokens.data(), &count, error);
      }))
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.begin() + ptrdiff_t(count));
  const lorac_message messages[] = {{"user", "ab"}};
  if (call("tokenize_chat", [&](lorac_error *error) {
        count = tokens.size();
        return lorac_tokenize_chat(model, messages, 1, 1, tokens.data(), &count, error);
      }))
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.begin() + ptrdiff_t(count));
  std::array<char, 64> text = {};
  if (call("detokenize", [&](lorac_error *error) {
        size_t size = text.size();
        return lorac_detokenize(model, tokens.data(), count, 1, text.data(), &size, error);
      }))
    result.tokens.push_back(uint32_t(std::hash<std::string_view>()(text.data())));
}

void doGenerate(Caller &call, lorac_engine *engine, lorac_adapter *adapter, SessionResult &result) {
  const std::array<uint32_t, 3> prompt = {3, 4, 5};
  const lorac_stack_entry stack = {adapter, 1};
  std::array<lorac_request, 2> requests = {};
  for (lorac_request &request : requests) {
    request.struct_size = sizeof request;
    request.tokens = prompt.data();
    request.token_count = prompt.size();
    request.max_tokens = 2;
    request.flags = LORAC_IGNORE_EOS;
  }
  requests[1].stack = &stack;
  requests[1].stack_count = 1;
  size_t seen = 0;
  requests[0].user = &seen;
  requests[0].on_token = [](void *user, const lorac_token_event *event) {
    *static_cast<size_t *>(user) += event->text_size + 1;
    return 0;
  };
  lorac_generation *generation = nullptr;
  auto generate = [&](lorac_error *error) {
    return lorac_generate(engine, requests.data(), requests.size(), &generation, error);
  };
  if (!call("generate", generate))
    return;
  // A request's failure is its own; generating anew must then succeed for all.
  auto failed = [&](bool first) {
    for (size_t i = 0; i < requests.size(); ++i) {
      lorac_result outcome = LORAC_INIT(lorac_result);
      (void)lorac_generation_get(generation, i, &outcome, nullptr);
      if (outcome.code == LORAC_OK)
        continue;
      if (first)
        call.fail("generate: request", outcome.code, outcome.message);
      else
        call.retried(outcome.code, outcome.message);
      return true;
    }
    return false;
  };
  if (failed(true)) {
    call.close([&] { lorac_generation_free(generation); });
    generation = nullptr;
    if (call.isOver() || !call("generate", generate))
      return;
    failed(false);
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    lorac_result outcome = LORAC_INIT(lorac_result);
    (void)lorac_generation_get(generation, i, &outcome, nullptr);
    result.tokens.insert(result.tokens.end(), outcome.tokens, outcome.tokens + outcome.token_count);
  }
  call.close([&] { lorac_generation_free(generation); });
}

void doEngine(Caller &call, lorac_engine *engine, const SessionOptions &options, size_t vocab,
              SessionResult &result) {
  lorac_adapter *adapter = nullptr;
  lorac_sequence *sequence = nullptr;
  call("adapter_load", [&](lorac_error *error) {
    return lorac_adapter_load(engine, options.bundle.c_str(), nullptr, &adapter, error);
  });
  call("sequence_create",
       [&](lorac_error *error) { return lorac_sequence_create(engine, nullptr, 0, &sequence, error); });
  std::vector<float> logits(2 * vocab);
  auto step = [&](uint32_t token) {
    const lorac_step_row rows[] = {{sequence, token, 1}, {sequence, token + 1, 1}};
    if (call("engine_step", [&](lorac_error *error) {
          return lorac_engine_step(engine, rows, 2, logits.data(), logits.size(), error);
        }))
      result.logits.insert(result.logits.end(), logits.begin(), logits.end());
  };
  const lorac_stack_entry stack = {adapter, 0.5f};
  auto setStack = [&](size_t count) {
    call("sequence_set_stack",
         [&](lorac_error *error) { return lorac_sequence_set_stack(sequence, &stack, count, error); });
  };
  step(3);
  setStack(1);
  step(5);
  setStack(0);
  step(7);
  bool failedBefore = options.hasFailed && options.hasFailed();
  if (!call.isOver())
    doGenerate(call, engine, adapter, result);
  result.failedInGenerate = options.hasFailed && options.hasFailed() && !failedBefore;
  call("adapter_unload", [&](lorac_error *error) { return lorac_adapter_unload(engine, "fault", error); });
  if (result.code == LORAC_DEVICE_LOST && sequence) {
    // The session is over: every call that needs the device says so, none touches it.
    const lorac_step_row row = {sequence, 1, 0};
    lorac_error error = LORAC_INIT(lorac_error);
    result.again = lorac_engine_step(engine, &row, 1, nullptr, 0, &error);
    result.againMessage = error.message;
    lorac_code load = lorac_adapter_load(engine, options.bundle.c_str(), nullptr, nullptr, &error);
    if (load != LORAC_DEVICE_LOST)
      result.again = load;
  }
  call.close([&] {
    lorac_adapter_release(adapter);
    lorac_sequence_free(sequence);
  });
}

} // namespace

SessionResult runSession(const SessionOptions &options) {
  SessionResult result;
  Caller call(options, result);
  lorac_model *model = nullptr;
  lorac_engine *engine = nullptr;
  call("model_open",
       [&](lorac_error *error) { return lorac_model_open(options.model.c_str(), &model, error); });
  lorac_model_info info = LORAC_INIT(lorac_model_info);
  call("model_get_info", [&](lorac_error *error) { return lorac_model_get_info(model, &info, error); });
  if (options.text && !call.isOver())
    doText(call, model, result);
  call("engine_create", [&](lorac_error *error) {
    if (options.makeEngine)
      return options.makeEngine(model, &engine, error);
    lorac_engine_options wanted = LORAC_INIT(lorac_engine_options);
    wanted.device = options.device;
    wanted.pool_bytes = 8192;
    wanted.pipeline_cache = options.pipelineCache;
    return lorac_engine_create(model, &wanted, &engine, error);
  });
  if (!call.isOver())
    doEngine(call, engine, options, info.vocab_size, result);
  // Closed in the order that leaves the most to the last: the engine keeps the model.
  call.close([&] {
    lorac_model_close(model);
    lorac_engine_destroy(engine);
  });
  return result;
}

} // namespace lorac::test
