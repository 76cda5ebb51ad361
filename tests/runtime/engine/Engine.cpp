#include "runtime/engine/Engine.h"
#include "tests/runtime/engine/Fixture.h"

#include <atomic>
#include <cmath>
#include <thread>

namespace lorac::test {
namespace {

using U32 = std::vector<uint32_t>;

TEST_F(EngineTest, PlanTakesDefaultsFromTheModel) {
  Result<EnginePlan> plan = planEngine(*model, {});
  ASSERT_STATUS_OK(plan.status());
  EXPECT_EQ(plan->context, 64u);
  EXPECT_EQ(plan->maxRows, 16u);
  EXPECT_EQ(plan->symbols.pages, 4u);
  EXPECT_EQ(plan->symbols.maxPages, 20u);
  EXPECT_EQ(plan->symbols.maxEntries, 256u);
  EXPECT_EQ(plan->symbols.maxItems, 4096u);
  EXPECT_EQ(plan->symbols.poolBytes, 64u << 20);
}

TEST_F(EngineTest, PlanRejectsWhatTheModelWasNotMadeFor) {
  auto rejects = [&](EngineOptions wanted, const std::string &text) {
    EXPECT_FAILURE(planEngine(*model, wanted).status(), Code::InvalidArgument, text);
  };
  rejects({.context = 65}, "compiled for 64; ask for less or compile it again with --max-context 65");
  rejects({.maxRows = 17}, "--max-rows 17");
  rejects({.sequences = 0}, "0 sequences");
  rejects({.sequences = 257}, "pages of the cache come to 1028");
  rejects({.sequences = UINT64_MAX}, "pages of the cache");
  rejects({.pages = 1025}, "pages of the cache come to 1025");
  rejects({.poolBytes = UINT64_MAX}, "adapter pool");
  rejects({.maxEntries = 257}, "stack entries");
  rejects({.maxItems = 4097}, "rank tiles");
}

TEST_F(EngineTest, RejectsAModelWithoutLogits) {
  // The smallest file gives 8 values a row, not its vocabulary of 32.
  Bytes bytes = minimalModel().bytes();
  Result<std::shared_ptr<const ModelFile>> parsed = ModelFile::parse(bytes, "minimal.lorac");
  ASSERT_STATUS_OK(parsed.status());
  EngineOptions wanted;
  wanted.poolBytes = 4096;
  Result<EnginePlan> plan = planEngine(**parsed, wanted);
  ASSERT_STATUS_OK(plan.status());
  EXPECT_FAILURE(
      Engine::create(*parsed, wanted, std::make_unique<FakeDevice>(**parsed, plan->symbols)).status(),
      Code::Unsupported, "no program serves a step of 1 rows with adapters off");
}

TEST_F(EngineTest, AModelWithoutAdapterProgramsRunsAndRejectsAdapters) {
  TinyModel tiny = tinyModel();
  tiny.model.programs.resize(3); // "one", "few", "many"
  modelBytes = tiny.bytes();
  Result<std::shared_ptr<const ModelFile>> parsed = ModelFile::parse(modelBytes, "tiny.lorac");
  ASSERT_STATUS_OK(parsed.status());
  model = *parsed;
  open();
  EXPECT_EQ(feed(*sequence(), {3}).size(), 32u);
  EXPECT_FAILURE(engine->loadAdapter(*file(tinyAdapter())).status(), Code::Incompatible,
                 "tiny.lorac holds no program for adapters");
}

TEST_F(EngineTest, AGapInTheProgramsIsNamed) {
  TinyModel tiny = tinyModel();
  tiny.model.programs[1]->rows_max = 7;
  modelBytes = tiny.bytes();
  Result<std::shared_ptr<const ModelFile>> parsed = ModelFile::parse(modelBytes, "tiny.lorac");
  ASSERT_STATUS_OK(parsed.status());
  Result<EnginePlan> plan = planEngine(**parsed, options);
  ASSERT_STATUS_OK(plan.status());
  EXPECT_FAILURE(
      Engine::create(*parsed, options, std::make_unique<FakeDevice>(**parsed, plan->symbols)).status(),
      Code::Unsupported, "no program serves a step of 8 rows with adapters off");
  options.maxRows = 7;
  EXPECT_TRUE(Engine::create(*parsed, options, std::make_unique<FakeDevice>(**parsed, plan->symbols)).isOk());
}

TEST_F(EngineTest, OverflowIsRefusedBeforeAnythingRuns) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  feed(*a, U32(60, 3));
  device->runs.clear();
  std::vector<StepRow> rows(5, StepRow{a.get(), 1, false});
  StepOutput output;
  EXPECT_FAILURE(engine->step(rows, output), Code::Exhausted,
                 "a sequence of 60 tokens and 5 more exceed the context of 64");
  EXPECT_TRUE(device->runs.empty());
  EXPECT_EQ(a->length(), 60u);
  rows.pop_back();
  ASSERT_STATUS_OK(engine->step(rows, output));
  EXPECT_EQ(a->length(), 64u);
}

TEST_F(EngineTest, PagesThatLackAreNamedAndComeBack) {
  options.pages = 3;
  open();
  std::shared_ptr<Sequence> a = sequence(), b = sequence();
  feed(*a, U32(17, 3));
  EXPECT_EQ(engine->freePages(), 1u);
  std::vector<StepRow> rows(17, StepRow{b.get(), 1, false});
  StepOutput output;
  EXPECT_FAILURE(engine->step(rows, output), Code::Exhausted, "needs 2 more cache pages, 1 of 3 are free");
  EXPECT_EQ(b->length(), 0u);
  a.reset();
  EXPECT_EQ(engine->freePages(), 3u);
  ASSERT_STATUS_OK(engine->step(rows, output));
}

TEST_F(EngineTest, ReserveAndTruncate) {
  options.pages = 3;
  open();
  std::shared_ptr<Sequence> a = sequence();
  ASSERT_STATUS_OK(a->reserve(33));
  EXPECT_EQ(engine->freePages(), 0u);
  EXPECT_FAILURE(a->reserve(49), Code::Exhausted, "1 more cache pages");
  EXPECT_FAILURE(a->reserve(65), Code::Exhausted, "exceeds the context of 64");
  std::vector<float> once = feed(*a, {1, 2, 3});
  EXPECT_FAILURE(a->truncate(4), Code::InvalidArgument, "of 3 tokens cannot be cut to 4");
  ASSERT_STATUS_OK(a->truncate(2));
  EXPECT_EQ(a->tokens(), (U32{1, 2}));
  EXPECT_EQ(engine->freePages(), 2u);
  EXPECT_EQ(feed(*a, {3}), once);
}

TEST_F(EngineTest, BadRowsAreNamed) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  StepOutput output;
  EXPECT_FAILURE(engine->step({}, output), Code::InvalidArgument, "no rows");
  std::vector<StepRow> rows = {{a.get(), 31, false}, {a.get(), 32, false}};
  EXPECT_FAILURE(engine->step(rows, output), Code::InvalidArgument,
                 "row 1: token 32 is outside the vocabulary of 32");
  rows = {{nullptr, 1, false}};
  EXPECT_FAILURE(engine->step(rows, output), Code::InvalidArgument, "row 0 names no sequence");
  std::shared_ptr<Engine> first = engine;
  open();
  rows = {{a.get(), 1, false}};
  EXPECT_FAILURE(engine->step(rows, output), Code::InvalidArgument, "no sequence of this session");
}

// A step of several device runs, failing at each of them in turn: sequences, pages and later results are as
// before.
TEST_F(EngineTest, LogitsThatAreNotFiniteFailTheStep) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  device->poisonedToken = 7;
  for (float poison : {NAN, INFINITY, -INFINITY}) {
    device->poison = poison;
    StepOutput output;
    const std::vector<StepRow> rows = {{a.get(), 3, true}, {a.get(), 7, true}};
    EXPECT_FAILURE(engine->step(rows, output), Code::InvalidArgument, "a value that is not finite");
    EXPECT_EQ(a->length(), 0u);
    EXPECT_TRUE(output.row(0).empty());
  }
  device->poison = -3e38f;
  EXPECT_EQ(feed(*a, U32{3, 7}).back(), -3e38f);
}

TEST_F(EngineTest, AFailedStepLeavesNoTrace) {
  open();
  auto tiny = load(tinyAdapter());
  std::shared_ptr<Sequence> a = sequence({{tiny, 1.0f}}), b = sequence(),
                            reference = sequence({{tiny, 1.0f}});
  feed(*a, U32(10, 3));
  feed(*b, U32(20, 4));
  feed(*reference, U32(10, 3));
  std::vector<float> expected = feed(*reference, U32(30, 5));
  uint64_t pages = engine->freePages();
  std::vector<StepRow> rows(30, StepRow{a.get(), 5, false});
  rows.push_back({b.get(), 6, true});
  StepOutput output;
  uint64_t swept = 0;
  for (;; ++swept) {
    device->failAfter = swept;
    Status status = engine->step(rows, output);
    if (status.isOk())
      break;
    EXPECT_EQ(status.code(), Code::OutOfMemory);
    EXPECT_EQ(a->tokens(), U32(10, 3));
    EXPECT_EQ(b->tokens(), U32(20, 4));
    EXPECT_EQ(engine->freePages(), pages);
    EXPECT_TRUE(output.row(30).empty());
  }
  EXPECT_EQ(swept, 2u); // 31 rows are two runs
  device->failAfter.reset();
  ASSERT_STATUS_OK(a->truncate(10));
  EXPECT_EQ(feed(*a, U32(30, 5)), expected);
}

TEST_F(EngineTest, ALostDeviceStaysLost) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  StepOutput output;
  std::vector<StepRow> rows = {{a.get(), 1, true}};
  device->failAfter = 0;
  device->failure = Code::DeviceLost;
  EXPECT_FAILURE(engine->step(rows, output), Code::DeviceLost, "fake failure");
  EXPECT_FAILURE(engine->step(rows, output), Code::DeviceLost, "fake failure");
  EXPECT_FAILURE(engine->loadAdapter(*file(tinyAdapter())).status(), Code::DeviceLost, "fake failure");
  EXPECT_TRUE(device->runs.empty());
}

TEST_F(EngineTest, StacksOfOneSequenceMayChangeBetweenSteps) {
  open();
  auto tiny = load(tinyAdapter());
  std::shared_ptr<Sequence> changing = sequence(), base = sequence();
  feed(*changing, {1, 2});
  feed(*base, {1, 2});
  ASSERT_STATUS_OK(changing->setStack({{tiny, 1.0f}}));
  EXPECT_EQ(changing->stack().size(), 1u);
  std::vector<float> adapted = feed(*changing, {3}), plain = feed(*base, {3});
  EXPECT_NE(adapted, plain);
  // Earlier tokens stay as they were computed: not the same as under the adapter from the start.
  std::shared_ptr<Sequence> throughout = sequence({{tiny, 1.0f}});
  feed(*throughout, {1, 2});
  EXPECT_NE(feed(*throughout, {3}), adapted);
}

TEST_F(EngineTest, AStackThatNoStepHoldsIsRefusedAtOnce) {
  options.maxItems = 2;
  open();
  auto deep = load(rankAdapter("deep", 20));
  EXPECT_FAILURE(engine->createSequence({{deep, 1.0f}}).status(), Code::Exhausted, "takes 3 rank tiles");
  std::shared_ptr<Sequence> a = sequence();
  EXPECT_FAILURE(a->setStack({{deep, 1.0f}}), Code::Exhausted, "takes 3 rank tiles");
  EXPECT_TRUE(a->stack().empty());
}

TEST_F(EngineTest, SequencesKeepTheirEngine) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  engine.reset();
  EXPECT_EQ(a->length(), 0u);
  ASSERT_STATUS_OK(a->reserve(5));
}

// Two threads step, load and unload on one engine; each sequence's results are those of a quiet run.
TEST_F(EngineTest, ThreadsShareAnEngine) {
  options.sequences = 8;
  open();
  auto shared = load(tinyAdapter("shared"));
  std::shared_ptr<Sequence> reference = sequence({{shared, 1.0f}});
  std::vector<float> expected = feed(*reference, U32(20, 7));
  reference.reset();
  std::shared_ptr<const AdapterFile> bundle = file(rankAdapter("mine", 12));
  std::atomic<int> wrong = 0;
  auto work = [&](const std::string &name) {
    for (int i = 0; i < 20; ++i) {
      Result<std::shared_ptr<const LoadedAdapter>> mine = engine->loadAdapter(*bundle, {.name = name});
      Result<std::shared_ptr<Sequence>> made = engine->createSequence({{shared, 1.0f}});
      if (!mine || !made) {
        ++wrong;
        continue;
      }
      StepOutput output;
      for (int j = 0; j < 20; ++j) {
        StepRow row{made->get(), 7, true};
        if (!engine->step(std::span(&row, 1), output).isOk())
          ++wrong;
      }
      std::span<const float> last = output.row(0);
      if (!std::equal(last.begin(), last.end(), expected.begin(), expected.end()))
        ++wrong;
      if (!engine->unloadAdapter(name).isOk())
        ++wrong;
    }
  };
  std::thread one(work, "one"), two(work, "two");
  one.join();
  two.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(engine->pool().slots(), 1u);
  EXPECT_EQ(engine->freePages(), engine->totalPages());
}

} // namespace
} // namespace lorac::test
