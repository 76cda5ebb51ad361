//===- MixedBatches.cpp - a row's bits do not depend on its neighbours -----===//
// mixed_batches [--deny FEATURE] MODEL.lorac BUNDLE.lora... : 100 random steps of up to 16 rows mix sequences
// with the base, one bundle and stacks of them, chunks of prompts and single tokens. Each row's logits must
// be, bit for bit, what its sequence gives alone, one row a step. Then stacks are switched: no pipeline is
// made, no weight moves, the pool is not written.
#include "runtime/engine/Engine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

using namespace lorac;

namespace {

constexpr uint32_t Seed = 20251;
constexpr size_t Steps = 100;
constexpr size_t MaxRows = 16;
constexpr size_t Length = 37; // several pages, a last one that is not full

int failures = 0;
void expect(bool holds, const std::string &what) {
  if (!holds) {
    std::printf("FAIL %s\n", what.c_str());
    ++failures;
  }
}

[[noreturn]] void stop(const Status &status) {
  std::printf("FAIL %s\n", status.message().c_str());
  std::exit(1);
}
template <typename T> T must(Result<T> result) {
  if (!result)
    stop(result.status());
  return *std::move(result);
}
void must(const Status &status) {
  if (!status.isOk())
    stop(status);
}

/// A sequence's tokens and stack, and the logits of each position when it runs alone.
struct Text {
  std::vector<uint32_t> tokens;
  Stack stack;
  std::vector<std::vector<float>> alone;
  std::shared_ptr<Sequence> sequence;
};

bool sameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

bool allFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

/// One step of consecutive tokens of each (text, count) pair; the logits of all.
StepOutput step(Engine &engine, std::span<const std::pair<Text *, size_t>> chunks) {
  std::vector<StepRow> rows;
  for (auto [text, count] : chunks) {
    uint64_t first = text->sequence->length();
    for (size_t i = 0; i < count; ++i)
      rows.push_back({text->sequence.get(), text->tokens[first + i], /*wantLogits=*/true});
  }
  StepOutput output;
  must(engine.step(rows, output));
  return output;
}

std::vector<Text> makeTexts(Engine &engine, std::span<const std::shared_ptr<const LoadedAdapter>> adapters,
                            std::mt19937 &random) {
  std::vector<Stack> stacks = {{}, {}};
  for (const auto &adapter : adapters)
    stacks.push_back({{adapter, 1.0f}});
  for (size_t i = 0; i < adapters.size(); ++i)
    stacks.push_back({{adapters[i], 0.75f}, {adapters[(i + 1) % adapters.size()], -0.5f}});
  Stack all;
  for (const auto &adapter : adapters)
    all.push_back({adapter, 0.25f});
  stacks.push_back(all);
  std::vector<Text> texts;
  for (Stack &stack : stacks) {
    Text text;
    for (size_t i = 0; i < Length; ++i)
      text.tokens.push_back(random() % engine.vocabSize());
    text.stack = std::move(stack);
    text.sequence = must(engine.createSequence(text.stack));
    for (size_t i = 0; i < Length; ++i) {
      std::pair<Text *, size_t> chunk{&text, 1};
      StepOutput output = step(engine, {&chunk, 1});
      text.alone.emplace_back(output.row(0).begin(), output.row(0).end());
      expect(allFinite(text.alone.back()), "logits are not finite");
    }
    must(text.sequence->truncate(0));
    texts.push_back(std::move(text));
  }
  return texts;
}

/// An adapter that changes nothing would make every comparison hold.
void checkStacksDiffer(Engine &engine, const Text &base, const std::vector<Text> &texts) {
  for (const Text &text : texts) {
    if (text.stack.empty())
      continue;
    Text other;
    other.tokens = base.tokens;
    other.sequence = must(engine.createSequence(text.stack));
    std::pair<Text *, size_t> chunk{&other, 1};
    StepOutput output = step(engine, {&chunk, 1});
    expect(!sameBits(output.row(0), base.alone[0]), "a stack gives the base's logits");
  }
}

size_t checkMixed(Engine &engine, std::vector<Text> &texts, std::mt19937 &random) {
  size_t compared = 0;
  for (size_t number = 0; number < Steps; ++number) {
    std::vector<size_t> order(texts.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    size_t left = 1 + random() % MaxRows;
    std::vector<std::pair<Text *, size_t>> chunks;
    for (size_t index : order) {
      Text &text = texts[index];
      if (text.sequence->length() == Length)
        must(text.sequence->truncate(0));
      size_t most = std::min<size_t>(left, Length - text.sequence->length());
      size_t count = random() % 2 ? 1 : 1 + random() % most;
      chunks.push_back({&text, count});
      left -= count;
      if (left == 0)
        break;
    }
    std::vector<uint64_t> first;
    for (auto [text, count] : chunks)
      first.push_back(text->sequence->length());
    StepOutput output = step(engine, chunks);
    size_t row = 0;
    for (size_t i = 0; i < chunks.size(); ++i)
      for (size_t j = 0; j < chunks[i].second; ++j, ++row, ++compared)
        expect(sameBits(output.row(row), chunks[i].first->alone[first[i] + j]),
               "step " + std::to_string(number) + ", row " + std::to_string(row) + ": a stack of " +
                   std::to_string(chunks[i].first->stack.size()) + ", position " +
                   std::to_string(first[i] + j) + " differs from the same row alone");
  }
  return compared;
}

void checkSwitching(Engine &engine, std::vector<Text> &texts) {
  Text text;
  text.tokens = texts[0].tokens;
  text.sequence = must(engine.createSequence());
  std::pair<Text *, size_t> chunk{&text, 1};
  DeviceCounters before = engine.counters();
  for (size_t i = 0; i < texts.size(); ++i) {
    must(text.sequence->setStack(texts[i].stack));
    (void)step(engine, {&chunk, 1});
  }
  DeviceCounters after = engine.counters();
  expect(after.steps == before.steps + texts.size(), "a step was not counted");
  expect(after.pipelinesMade == before.pipelinesMade, "switching a stack made a pipeline");
  expect(after.weightBytesUploaded == before.weightBytesUploaded, "switching a stack moved weights");
  expect(after.poolBytesUploaded == before.poolBytesUploaded, "switching a stack wrote the adapter pool");
  expect(after.allocations == before.allocations, "switching a stack allocated device memory");
  expect(after.adapterDispatches > before.adapterDispatches, "no stack made an adapter dispatch");
  expect(after.stepBytesUploaded > before.stepBytesUploaded, "no step table was written");
}

} // namespace

int main(int argc, char **argv) {
  std::string device = "vulkan";
  int argument = 1;
  for (; argument + 1 < argc && std::strcmp(argv[argument], "--deny") == 0; argument += 2)
    device += std::string(",deny=") + argv[argument + 1];
  if (argc - argument < 3) {
    std::fprintf(stderr, "mixed_batches: [--deny FEATURE]... MODEL BUNDLE BUNDLE...\n");
    return 2;
  }
  std::shared_ptr<const ModelFile> model = must(ModelFile::open(argv[argument]));
  EngineOptions options;
  options.device = must(DeviceSpec::parse(device));
  options.context = 64;
  options.sequences = 32;
  std::shared_ptr<Engine> engine = must(Engine::open(model, options));
  std::vector<std::shared_ptr<const LoadedAdapter>> adapters;
  for (int i = argument + 1; i < argc; ++i) {
    std::shared_ptr<const AdapterFile> bundle = must(AdapterFile::open(argv[i]));
    adapters.push_back(must(engine->loadAdapter(*bundle)));
  }
  std::mt19937 random(Seed);
  std::vector<Text> texts = makeTexts(*engine, adapters, random);
  checkStacksDiffer(*engine, texts[0], texts);
  size_t compared = checkMixed(*engine, texts, random);
  checkSwitching(*engine, texts);
  std::printf("%s, seed %u: %zu rows of %zu mixed steps compared with %zu sequences alone, %d failures\n",
              engine->deviceDescription().c_str(), Seed, compared, Steps, texts.size(), failures);
  return failures == 0 && compared > Steps ? 0 : 1;
}
