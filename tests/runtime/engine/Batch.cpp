#include "runtime/engine/Batch.h"
#include "tests/runtime/engine/Fixture.h"

#include <algorithm>
#include <cmath>
#include <thread>

namespace lorac::test {
namespace {

using U32 = std::vector<uint32_t>;

class BatchTest : public EngineTest {
protected:
  GenerationRequest request(const U32 &tokens, uint32_t maxTokens, const Stack &stack = {}) {
    GenerationRequest made;
    made.tokens = tokens;
    made.maxTokens = maxTokens;
    made.stack = stack;
    made.ignoreEos = true;
    return made;
  }
  GenerationResult alone(GenerationRequest wanted) {
    std::vector<GenerationRequest> list;
    list.push_back(std::move(wanted));
    return std::move(generate(engine, std::move(list)).at(0));
  }
  /// Greedy decoding by hand, one step a token.
  U32 byHand(const U32 &prompt, size_t count, const Stack &stack) {
    std::shared_ptr<Sequence> target = sequence(stack);
    std::vector<float> logits = feed(*target, prompt);
    U32 tokens;
    while (true) {
      tokens.push_back(uint32_t(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      if (tokens.size() == count)
        return tokens;
      logits = feed(*target, {tokens.back()});
    }
  }
};

TEST_F(BatchTest, OneRequestIsGreedyDecoding) {
  open();
  auto tiny = load(tinyAdapter());
  Stack stack = {{tiny, 1.0f}};
  GenerationResult result = alone(request({3, 4, 5}, 10, stack));
  ASSERT_STATUS_OK(result.status);
  EXPECT_EQ(result.finish, Finish::Length);
  EXPECT_EQ(result.promptTokens, 3u);
  EXPECT_EQ(result.tokens, byHand({3, 4, 5}, 10, stack));
  EXPECT_TRUE(result.logits.empty());
}

// Ten requests of different lengths, stacks and sampling: each gives what it gives alone, in whatever
// company.
TEST_F(BatchTest, ResultsDoNotDependOnNeighbours) {
  options.sequences = 16;
  open();
  auto tiny = load(tinyAdapter("tiny")), deep = load(rankAdapter("deep", 20));
  auto make = [&](size_t i) {
    GenerationRequest made = request(U32(1 + i * 5 % 23, uint32_t(2 + i)), uint32_t(3 + i * 7 % 11));
    if (i % 3 == 1)
      made.stack = {{tiny, 0.5f}};
    if (i % 3 == 2)
      made.stack = {{deep, 1.0f}, {tiny, float(i)}};
    if (i % 2 == 1) {
      made.sampling.temperature = 1;
      made.sampling.seed = i;
    }
    return made;
  };
  std::vector<GenerationResult> quiet;
  for (size_t i = 0; i < 10; ++i)
    quiet.push_back(alone(make(i)));
  for (uint32_t active : {0u, 1u, 3u}) {
    std::vector<GenerationRequest> list;
    for (size_t i = 0; i < 10; ++i)
      list.push_back(make(i));
    std::vector<GenerationResult> together = generate(engine, std::move(list), active);
    ASSERT_EQ(together.size(), 10u);
    for (size_t i = 0; i < 10; ++i) {
      ASSERT_STATUS_OK(together[i].status);
      EXPECT_EQ(together[i].tokens, quiet[i].tokens) << "request " << i << ", active " << active;
      EXPECT_EQ(together[i].id, i);
    }
  }
  EXPECT_EQ(engine->freePages(), engine->totalPages());
}

// Decoding rows and prompt chunks share steps: a long prompt stops nobody.
TEST_F(BatchTest, PromptsAndDecodingShareSteps) {
  open();
  Batch batch(engine);
  batch.submit(request({3}, 10));
  ASSERT_TRUE(batch.step());
  batch.submit(request(U32(40, 4), 2));
  device->runs.clear();
  while (batch.step()) {
  }
  ASSERT_GE(device->runs.size(), 3u);
  EXPECT_EQ(device->runs[0].symbols.rows, 16u); // 1 of the first, 15 of the prompt
  EXPECT_EQ(device->runs[0].symbols.outRows, 1u);
  EXPECT_EQ(device->runs[1].symbols.rows, 16u);
  EXPECT_EQ(device->runs[2].symbols.rows, 11u);
  EXPECT_EQ(device->runs[2].symbols.outRows, 2u);
  Batch::Counters counters = batch.counters();
  EXPECT_EQ(counters.promptTokens, 41u);
  EXPECT_EQ(counters.newTokens, 12u);
  EXPECT_EQ(counters.requests, 2u);
}

// What the programs take as plain_rows and adapted_rows.
TEST_F(BatchTest, AStepSaysWhetherAnAdapterIsOnTheHead) {
  TinyModel tiny = tinyModel();
  tiny.model.head_site = 3; // block.o
  modelBytes = tiny.bytes();
  model = *ModelFile::parse(modelBytes, "tiny.lorac");
  open();
  TinyAdapter onQ = tinyAdapter("q");
  onQ.adapter.sites.resize(1);
  const StackEntry q = {load(std::move(onQ)), 1.0f}, both = {load(tinyAdapter("both")), 1.0f};
  EXPECT_FALSE(q.adapter->adaptsHead());
  EXPECT_TRUE(both.adapter->adaptsHead());
  const auto valuesOf = [&](std::vector<std::shared_ptr<Sequence>> sequences) {
    std::vector<StepRow> rows;
    for (const auto &one : sequences)
      rows.push_back({one.get(), 3, true});
    StepOutput output;
    EXPECT_TRUE(engine->step(rows, output).isOk());
    const std::vector<uint64_t> all = symbolValues(*model, {}, device->runs.back().symbols);
    return std::pair(all[model->symbolIndex("plain_rows")], all[model->symbolIndex("adapted_rows")]);
  };
  EXPECT_EQ(valuesOf({sequence(), sequence()}), std::pair(uint64_t(2), uint64_t(0)));
  EXPECT_EQ(valuesOf({sequence(), sequence({q})}), std::pair(uint64_t(2), uint64_t(0)));
  EXPECT_EQ(valuesOf({sequence({q}), sequence({both, q})}), std::pair(uint64_t(0), uint64_t(2)));
}

TEST_F(BatchTest, ABadRequestIsAnErrorAndStopsNoOther) {
  open();
  std::vector<GenerationRequest> list;
  list.push_back(request({3, 4}, 4));
  list.push_back(request({}, 4));
  list.push_back(request({3, 32}, 4));
  list.push_back(request(U32(60, 3), 6));
  list.push_back(request({3, 4}, 4));
  list.back().status = Status(Code::NotFound) << "a.lora: no such file";
  list.push_back(request({3, 4}, 4));
  list.back().sampling.temperature = -1;
  list.push_back(request({3, 4}, 4, {{nullptr, 1.0f}}));
  list.push_back(request({3, 4}, 4));
  std::vector<GenerationResult> results = generate(engine, std::move(list));
  EXPECT_FAILURE(results[1].status, Code::InvalidArgument, "the prompt has no tokens");
  EXPECT_FAILURE(results[2].status, Code::InvalidArgument, "token 32");
  EXPECT_FAILURE(results[3].status, Code::Exhausted, "60 tokens and 6 new ones exceed the context of 64");
  EXPECT_FAILURE(results[4].status, Code::NotFound, "no such file");
  EXPECT_FAILURE(results[5].status, Code::InvalidArgument, "temperature");
  EXPECT_FAILURE(results[6].status, Code::InvalidArgument, "no adapter");
  for (int good : {0, 7}) {
    ASSERT_STATUS_OK(results[good].status);
    EXPECT_EQ(results[good].tokens, byHand({3, 4}, 4, {}));
  }
  for (int bad : {1, 2, 3, 4, 5, 6})
    EXPECT_EQ(results[bad].finish, Finish::Error);
}

TEST_F(BatchTest, TheContextIsUsedToItsLastToken) {
  open();
  GenerationResult exact = alone(request(U32(60, 3), 5)); // the fifth new token is not fed
  ASSERT_STATUS_OK(exact.status);
  EXPECT_EQ(exact.tokens.size(), 5u);
  GenerationRequest open_ = request(U32(60, 3), 0);
  open_.maxTokens.reset();
  GenerationResult all = alone(std::move(open_));
  ASSERT_STATUS_OK(all.status);
  EXPECT_EQ(all.finish, Finish::Length);
  EXPECT_EQ(all.tokens, exact.tokens);
}

// A step that fails because of one row ends that request alone.
TEST_F(BatchTest, AFailingNeighbourEndsAlone) {
  open();
  device->failingToken = 30;
  std::vector<GenerationRequest> list;
  list.push_back(request({3, 4}, 4));
  list.push_back(request({5, 30}, 4));
  list.push_back(request({6}, 4));
  std::vector<GenerationResult> results = generate(engine, std::move(list));
  EXPECT_FAILURE(results[1].status, Code::OutOfMemory, "token 30");
  device->failingToken.reset();
  ASSERT_STATUS_OK(results[0].status);
  ASSERT_STATUS_OK(results[2].status);
  EXPECT_EQ(results[0].tokens, byHand({3, 4}, 4, {}));
  EXPECT_EQ(results[2].tokens, byHand({6}, 4, {}));
}

TEST_F(BatchTest, ARequestWithoutFiniteLogitsEndsAlone) {
  open();
  device->poisonedToken = 30;
  device->poison = NAN;
  std::vector<GenerationRequest> list;
  list.push_back(request({3, 4}, 4));
  list.push_back(request({5, 30}, 4));
  std::vector<GenerationResult> results = generate(engine, std::move(list));
  EXPECT_EQ(results[1].finish, Finish::Error);
  EXPECT_FAILURE(results[1].status, Code::InvalidArgument, "a value that is not finite");
  device->poisonedToken.reset();
  ASSERT_STATUS_OK(results[0].status);
  EXPECT_EQ(results[0].tokens, byHand({3, 4}, 4, {}));
}

TEST_F(BatchTest, ALostDeviceEndsAll) {
  open();
  device->failAfter = 2;
  device->failure = Code::DeviceLost;
  std::vector<GenerationRequest> list;
  for (int i = 0; i < 20; ++i) // more than are active at once
    list.push_back(request({3, 4}, 8));
  std::vector<GenerationResult> results = generate(engine, std::move(list));
  for (const GenerationResult &result : results)
    EXPECT_EQ(result.status.code(), Code::DeviceLost);
  EXPECT_EQ(results[0].tokens.size(), 1u); // what came before is not lost
}

TEST_F(BatchTest, RequestsWaitForPages) {
  options.pages = 2;
  open();
  std::vector<GenerationRequest> list;
  for (uint32_t i = 0; i < 5; ++i)
    list.push_back(request({3 + i}, 10));
  list.push_back(request(U32(30, 3), 10)); // 39 tokens: 3 pages, never there
  std::vector<GenerationResult> results = generate(engine, std::move(list));
  for (uint32_t i = 0; i < 5; ++i) {
    ASSERT_STATUS_OK(results[i].status);
    EXPECT_EQ(results[i].tokens, byHand({3 + i}, 10, {}));
  }
  EXPECT_FAILURE(results[5].status, Code::Exhausted, "needs 3 more cache pages, 2 of 2 are free");
}

TEST_F(BatchTest, EosAndStopIdsEndARequest) {
  open();
  // A prompt whose continuation holds the eos id 1.
  U32 free, prompt;
  size_t at = 0;
  for (uint32_t first = 0; first < 32 && at == 0; ++first) {
    prompt = {first};
    free = alone(request(prompt, 40)).tokens;
    size_t found = size_t(std::find(free.begin(), free.end(), 1u) - free.begin());
    at = found < free.size() ? found : 0;
  }
  ASSERT_GT(at, 0u);
  GenerationRequest stopping = request(prompt, 40);
  stopping.ignoreEos = false;
  GenerationResult stopped = alone(std::move(stopping));
  EXPECT_EQ(stopped.finish, Finish::Stop);
  EXPECT_FALSE(stopped.cancelled);
  EXPECT_EQ(stopped.tokens, U32(free.begin(), free.begin() + ptrdiff_t(at) + 1));
  GenerationRequest own = request(prompt, 40);
  own.stopIds = {free[0]};
  EXPECT_EQ(alone(std::move(own)).tokens, U32{free[0]});
}

TEST_F(BatchTest, CallbacksSeeTokensAndMayEndIt) {
  open();
  U32 seen;
  GenerationRequest watched = request({3}, 10);
  watched.onToken = [&](uint32_t token) {
    seen.push_back(token);
    return seen.size() < 4;
  };
  GenerationResult result = alone(std::move(watched));
  EXPECT_EQ(result.finish, Finish::Stop);
  EXPECT_TRUE(result.cancelled);
  EXPECT_EQ(result.tokens, seen);
  EXPECT_EQ(seen, byHand({3}, 4, {}));
}

TEST_F(BatchTest, CancelEndsQueuedAndRunning) {
  open();
  Batch batch(engine, 1);
  std::vector<GenerationResult> results;
  for (int i = 0; i < 2; ++i) {
    GenerationRequest made = request({3}, 50);
    made.onDone = [&](GenerationResult result) { results.push_back(std::move(result)); };
    batch.submit(std::move(made));
  }
  batch.step();
  batch.step();
  batch.cancel(1); // still queued
  batch.cancel(0);
  batch.cancel(77); // nobody
  while (batch.step()) {
  }
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].id, 0u);
  EXPECT_EQ(results[0].tokens.size(), 2u);
  EXPECT_EQ(results[1].id, 1u);
  EXPECT_TRUE(results[1].tokens.empty());
  for (const GenerationResult &result : results) {
    EXPECT_EQ(result.finish, Finish::Stop);
    EXPECT_TRUE(result.cancelled);
  }
  EXPECT_EQ(engine->freePages(), engine->totalPages());
}

TEST_F(BatchTest, LogitsOfEveryPositionFed) {
  open();
  GenerationRequest wanted = request(U32(20, 3), 5);
  wanted.captureLogits = true;
  GenerationResult result = alone(std::move(wanted));
  ASSERT_EQ(result.logitRows, 24u); // the last new token is not fed
  std::shared_ptr<Sequence> target = sequence();
  U32 tokens(20, 3);
  tokens.insert(tokens.end(), result.tokens.begin(), result.tokens.end());
  for (size_t i = 0; i < 24; ++i) {
    std::vector<float> row(result.logits.begin() + ptrdiff_t(i * 32),
                           result.logits.begin() + ptrdiff_t(i * 32 + 32));
    EXPECT_EQ(feed(*target, {tokens[i]}), row) << "position " << i;
  }
}

TEST_F(BatchTest, NoNewTokensOnlyFeedsThePrompt) {
  open();
  GenerationRequest wanted = request(U32(20, 3), 0);
  wanted.captureLogits = true;
  GenerationResult result = alone(std::move(wanted));
  ASSERT_STATUS_OK(result.status);
  EXPECT_EQ(result.finish, Finish::Length);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.logitRows, 20u);
  device->runs.clear();
  GenerationResult plain = alone(request(U32(20, 3), 0));
  EXPECT_EQ(device->runs.back().symbols.outRows, 0u); // no logits are computed that nobody reads
}

TEST_F(BatchTest, SubmittingThreadsAndOneStepper) {
  options.sequences = 8;
  open();
  U32 expected = byHand({3, 4}, 6, {});
  Batch batch(engine);
  std::atomic<int> done = 0, wrong = 0;
  auto submitter = [&] {
    for (int i = 0; i < 10; ++i) {
      GenerationRequest made = request({3, 4}, 6);
      made.onDone = [&](GenerationResult result) {
        if (result.tokens != expected)
          ++wrong;
        ++done;
      };
      batch.submit(std::move(made));
    }
  };
  std::thread one(submitter), two(submitter);
  while (done < 20)
    if (batch.waitForWork(std::chrono::milliseconds(10)))
      batch.step();
  one.join();
  two.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(batch.waitForWork(std::chrono::milliseconds(0)));
}

} // namespace
} // namespace lorac::test
