// What lorac.h promises of threads: any function of a handle from any thread at once. Nobody's numbers may
// change by it, so each thread compares with what the same work gave alone. Under ThreadSanitizer (preset
// tsan) this is also the proof that nothing races.
#include "lorac/lorac.hpp"
#include "runtime/CApi.h"
#include "runtime/engine/ModelText.h"
#include "tests/runtime/engine/Fixture.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace lorac::test {
namespace {

/// One adapter file, loaded under two names; work on an engine in which each piece knows its result.
class Crowd {
public:
  Crowd(lorac_engine *engine, size_t vocab, std::string bundle)
      : engine(engine), vocab(vocab), bundle(std::move(bundle)) {
    for (const char *name : {"first", "second"}) {
      lorac_adapter_options options = LORAC_INIT(lorac_adapter_options);
      options.name = name;
      lorac_adapter *adapter = nullptr;
      EXPECT_EQ(lorac_adapter_load(engine, this->bundle.c_str(), &options, &adapter, nullptr), LORAC_OK);
      adapters.push_back(adapter);
    }
    stacks = {{}, {{adapters[0], 1.0f}}, {{adapters[1], 0.5f}}, {{adapters[0], 0.75f}, {adapters[1], -2.0f}}};
    for (size_t i = 0; i < stacks.size(); ++i)
      alone.push_back(decode(i));
    tokensAlone = generated();
  }
  ~Crowd() {
    for (lorac_adapter *adapter : adapters)
      lorac_adapter_release(adapter);
  }

  /// Workers that step sequences of their own, two that generate, one that loads and unloads, one that looks.
  void run(int rounds) {
    std::atomic<int> busy = 0;
    std::vector<std::thread> threads;
    auto start = [&](auto work) {
      ++busy;
      threads.emplace_back([&busy, work] {
        work();
        --busy;
      });
    };
    for (size_t i = 0; i < stacks.size(); ++i)
      start([this, i, rounds] {
        for (int round = 0; round < rounds; ++round)
          EXPECT_EQ(decode(i), alone[i]) << "stack " << i << ", round " << round;
      });
    for (int i = 0; i < 2; ++i)
      start([this, rounds] {
        for (int round = 0; round < rounds; ++round)
          EXPECT_EQ(generated(), tokensAlone) << "round " << round;
      });
    std::thread loader([&] {
      while (busy > 0)
        loadAndUnload();
    });
    std::thread observer([&] {
      uint64_t steps = 0;
      while (busy > 0)
        look(steps);
    });
    for (std::thread &thread : threads)
      thread.join();
    loader.join();
    observer.join();
  }

  const std::vector<std::vector<float>> &results() const { return alone; }

private:
  /// Logits of a prompt and four greedy tokens, twice: the second time after the sequence forgot the first.
  std::vector<float> decode(size_t index) const {
    const std::vector<lorac_stack_entry> &stack = stacks[index];
    std::vector<float> all;
    lorac_sequence *sequence = nullptr;
    EXPECT_EQ(lorac_sequence_create(engine, nullptr, 0, &sequence, nullptr), LORAC_OK);
    if (!sequence)
      return all;
    EXPECT_EQ(lorac_sequence_set_stack(sequence, stack.data(), stack.size(), nullptr), LORAC_OK);
    EXPECT_EQ(lorac_sequence_reserve(sequence, 8, nullptr), LORAC_OK);
    for (int time = 0; time < 2; ++time) {
      std::vector<lorac_step_row> rows = {
          {sequence, 3, 0}, {sequence, uint32_t(4 + index), 0}, {sequence, 5, 1}};
      for (int token = 0; token < 4; ++token) {
        std::vector<float> logits(vocab);
        lorac_error error = LORAC_INIT(lorac_error);
        EXPECT_EQ(lorac_engine_step(engine, rows.data(), rows.size(), logits.data(), logits.size(), &error),
                  LORAC_OK)
            << error.message;
        all.insert(all.end(), logits.begin(), logits.end());
        rows = {{sequence, uint32_t(std::max_element(logits.begin(), logits.end()) - logits.begin()), 1}};
      }
      EXPECT_EQ(lorac_sequence_length(sequence), 6u);
      EXPECT_EQ(lorac_sequence_truncate(sequence, 0, nullptr), LORAC_OK);
    }
    lorac_sequence_free(sequence);
    return all;
  }

  /// Three requests of one call; the second is ended by its callback at the third token.
  std::vector<uint32_t> generated() const {
    static constexpr uint32_t Prompt[] = {6, 7, 8};
    std::vector<lorac_request> requests(3, lorac_request(LORAC_INIT(lorac_request)));
    int seen = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].tokens = Prompt;
      requests[i].token_count = 1 + i;
      requests[i].stack = stacks[i].data();
      requests[i].stack_count = stacks[i].size();
      requests[i].max_tokens = 5;
      requests[i].flags = LORAC_IGNORE_EOS;
      requests[i].temperature = i == 2 ? 0.8f : 0.0f;
      requests[i].seed = 11;
    }
    requests[1].user = &seen;
    requests[1].on_token = [](void *user, const lorac_token_event *) {
      return ++*static_cast<int *>(user) == 3 ? 1 : 0;
    };
    lorac_generation *generation = nullptr;
    EXPECT_EQ(lorac_generate(engine, requests.data(), requests.size(), &generation, nullptr), LORAC_OK);
    std::vector<uint32_t> tokens;
    for (size_t i = 0; i < lorac_generation_count(generation); ++i) {
      lorac_result result = LORAC_INIT(lorac_result);
      EXPECT_EQ(lorac_generation_get(generation, i, &result, nullptr), LORAC_OK);
      EXPECT_EQ(result.code, LORAC_OK) << result.message;
      EXPECT_EQ(result.finish, i == 1 ? LORAC_FINISH_STOP : LORAC_FINISH_LENGTH);
      EXPECT_EQ(result.token_count, i == 1 ? 3u : 5u);
      tokens.insert(tokens.end(), result.tokens, result.tokens + result.token_count);
    }
    lorac_generation_free(generation);
    return tokens;
  }

  void loadAndUnload() const {
    lorac_adapter_options options = LORAC_INIT(lorac_adapter_options);
    options.name = "spare";
    lorac_adapter *adapter = nullptr, *found = nullptr;
    EXPECT_EQ(lorac_adapter_load(engine, bundle.c_str(), &options, &adapter, nullptr), LORAC_OK);
    EXPECT_EQ(lorac_adapter_find(engine, "spare", &found, nullptr), LORAC_OK);
    EXPECT_EQ(lorac_adapter_unload(engine, "spare", nullptr), LORAC_OK);
    lorac_adapter_release(adapter);
    lorac_adapter_info info = LORAC_INIT(lorac_adapter_info);
    EXPECT_EQ(lorac_adapter_get_info(found, &info, nullptr), LORAC_OK);
    EXPECT_STREQ(info.name, "spare");
    lorac_adapter_release(found);
  }

  void look(uint64_t &steps) const {
    lorac_engine_info info = LORAC_INIT(lorac_engine_info);
    EXPECT_EQ(lorac_engine_get_info(engine, &info, nullptr), LORAC_OK);
    EXPECT_LE(info.free_pages, info.total_pages);
    EXPECT_GE(info.pool_slots, 2u);
    lorac_counters counters = LORAC_INIT(lorac_counters);
    EXPECT_EQ(lorac_engine_get_counters(engine, &counters, nullptr), LORAC_OK);
    EXPECT_GE(counters.steps, steps) << "counters only grow";
    steps = counters.steps;
  }

  lorac_engine *engine;
  size_t vocab;
  std::string bundle;
  std::vector<lorac_adapter *> adapters;
  std::vector<std::vector<lorac_stack_entry>> stacks;
  std::vector<std::vector<float>> alone;
  std::vector<uint32_t> tokensAlone;
};

class Threads : public EngineFilesTest {};

TEST_F(Threads, ShareAnEngine) {
  options.sequences = 12;
  options.poolBytes = 1 << 16;
  open();
  lorac_engine *handle = wrapEngine(engine, nullptr);
  {
    Crowd crowd(handle, 32, write("tiny.lora", tinyAdapter().bytes()));
    EXPECT_NE(crowd.results()[0], crowd.results()[1]);
    EXPECT_NE(crowd.results()[1], crowd.results()[2]);
    crowd.run(100);
  }
  lorac_engine_destroy(handle);
}

TEST_F(Threads, ShareAModelsText) {
  TinyModel tiny = tinyModel();
  tiny.model.chat_template =
      "{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}\n{% endfor %}";
  const api::Model shared(write("tiny.lorac", tiny.bytes()));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        EXPECT_EQ(shared.tokenize("abc"), (std::vector<uint32_t>{0, 30}));
        EXPECT_EQ(shared.detokenize({30}), "abc");
        EXPECT_EQ(shared.renderChat({{"user", "ab"}}), "<s>user:ab\n");
        EXPECT_EQ(shared.info().vocab_size, 32u);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

// The last of an engine's handles closes it, whichever thread that is.
TEST_F(Threads, CloseHandlesInAnyOrder) {
  options.poolBytes = 1 << 16;
  const std::string bundle = write("tiny.lora", tinyAdapter().bytes());
  for (int round = 0; round < 20; ++round) {
    open();
    std::weak_ptr<Engine> alive = engine;
    lorac_engine *handle = wrapEngine(std::exchange(engine, nullptr), nullptr);
    lorac_adapter *adapter = nullptr;
    ASSERT_EQ(lorac_adapter_load(handle, bundle.c_str(), nullptr, &adapter, nullptr), LORAC_OK);
    lorac_stack_entry entry = {adapter, 1.0f};
    lorac_sequence *sequences[2] = {};
    for (lorac_sequence *&sequence : sequences)
      ASSERT_EQ(lorac_sequence_create(handle, &entry, 1, &sequence, nullptr), LORAC_OK);
    std::vector<std::thread> threads;
    threads.emplace_back([&] { lorac_engine_destroy(handle); });
    threads.emplace_back([&] { lorac_adapter_release(adapter); });
    for (lorac_sequence *sequence : sequences)
      threads.emplace_back([sequence] { lorac_sequence_free(sequence); });
    for (std::thread &thread : threads)
      thread.join();
    EXPECT_TRUE(alive.expired());
  }
}

// Where LORAC_THREADS_MODEL and LORAC_THREADS_BUNDLE name a compiled model and a bundle for it.
TEST_F(Threads, ShareAnEngineOnARealDevice) {
  const char *modelPath = std::getenv("LORAC_THREADS_MODEL"), *bundle = std::getenv("LORAC_THREADS_BUNDLE");
  ASSERT_TRUE(modelPath && bundle)
      << "LORAC_THREADS_MODEL and LORAC_THREADS_BUNDLE name no files; scripts/test.sh makes them";
  api::Model opened(modelPath);
  lorac_engine_options wanted = LORAC_INIT(lorac_engine_options);
  wanted.sequences = 12;
  api::Engine real(opened, wanted);
  Crowd crowd(real.get(), opened.info().vocab_size, bundle);
  EXPECT_NE(crowd.results()[0], crowd.results()[1]);
  crowd.run(3);
}

} // namespace
} // namespace lorac::test
