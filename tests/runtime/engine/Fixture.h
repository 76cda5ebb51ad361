//===- Fixture.h - an engine over the tiny model ----------------*- C++ -*-===//
#ifndef LORAC_TESTS_RUNTIME_ENGINE_FIXTURE_H
#define LORAC_TESTS_RUNTIME_ENGINE_FIXTURE_H

#include "runtime/engine/Engine.h"
#include "tests/runtime/engine/FakeDevice.h"
#include "tests/runtime/files/TinyModel.h"
#include "tests/support/TempFolder.h"

#include "support/Checked.h"

#include <gtest/gtest.h>

#include <list>

namespace lorac::test {

#define ASSERT_STATUS_OK(EXPRESSION)                                                                         \
  do {                                                                                                       \
    ::lorac::Status okStatus = (EXPRESSION);                                                                 \
    ASSERT_TRUE(okStatus.isOk()) << ::lorac::codeName(okStatus.code()) << ": " << okStatus.message();        \
  } while (false)

#define EXPECT_FAILURE(EXPRESSION, CODE, TEXT)                                                               \
  do {                                                                                                       \
    ::lorac::Status failureStatus = (EXPRESSION);                                                            \
    EXPECT_EQ(failureStatus.code(), CODE) << failureStatus.message();                                        \
    EXPECT_NE(failureStatus.message().find(TEXT), std::string::npos) << failureStatus.message();             \
  } while (false)

/// An f16 bundle for tinyModel() that targets "block.q" alone with `rank`.
inline TinyAdapter rankAdapter(const std::string &name, uint32_t rank, uint8_t seed = 1) {
  TinyAdapter tiny = tinyAdapter(name, seed);
  tiny.adapter.sites.resize(1);
  fbs::AdapterSiteT &site = *tiny.adapter.sites[0];
  site.rank = rank;
  site.rank_tiles = uint32_t(lorac::ceilDiv(rank, 8));
  site.a_offset = 0;
  site.b_offset = uint64_t(site.rank_tiles) * 128; // K = 8 features of 2 bytes, 8 ranks a tile
  tiny.image.assign(site.b_offset * 2, 0);         // out = 8 as well
  for (uint32_t r = 0; r < rank; ++r)
    for (uint32_t i = 0; i < 8; ++i) {
      tiny.image[(r * 8 + i) * 2] = uint8_t(seed + r + i);
      tiny.image[site.b_offset + (size_t(r / 8) * 64 + i * 8 + r % 8) * 2] = uint8_t(seed * 3 + r + i);
    }
  return tiny;
}

class EngineTest : public ::testing::Test {
protected:
  void SetUp() override {
    modelBytes = tinyModel().bytes();
    Result<std::shared_ptr<const ModelFile>> parsed = ModelFile::parse(modelBytes, "tiny.lorac");
    ASSERT_STATUS_OK(parsed.status());
    model = *parsed;
    options.sequences = 4;
    options.poolBytes = 16384;
  }
  /// `device` keeps an observer of what the engine owns.
  void open() {
    Result<EnginePlan> plan = planEngine(*model, options);
    ASSERT_STATUS_OK(plan.status());
    auto made = std::make_unique<FakeDevice>(*model, plan->symbols);
    device = made.get();
    Result<std::shared_ptr<Engine>> created = Engine::create(model, options, std::move(made));
    ASSERT_STATUS_OK(created.status());
    engine = *created;
  }
  std::shared_ptr<const AdapterFile> file(TinyAdapter adapter) {
    adapterBytes.push_back(adapter.bytes());
    Result<std::shared_ptr<const AdapterFile>> parsed =
        AdapterFile::parse(adapterBytes.back(), adapter.adapter.name + ".lora");
    EXPECT_TRUE(parsed.isOk()) << parsed.status().message();
    return parsed ? *parsed : nullptr;
  }
  std::shared_ptr<const LoadedAdapter> load(TinyAdapter adapter, const LoadAdapterOptions &loadOptions = {}) {
    Result<std::shared_ptr<const LoadedAdapter>> loaded =
        engine->loadAdapter(*file(std::move(adapter)), loadOptions);
    EXPECT_TRUE(loaded.isOk()) << loaded.status().message();
    return loaded ? *loaded : nullptr;
  }
  std::shared_ptr<Sequence> sequence(const Stack &stack = {}) {
    Result<std::shared_ptr<Sequence>> made = engine->createSequence(stack);
    EXPECT_TRUE(made.isOk()) << made.status().message();
    return made ? *made : nullptr;
  }
  /// Feeds tokens, asks for the logits of the last.
  std::vector<float> feed(Sequence &target, const std::vector<uint32_t> &tokens) {
    std::vector<StepRow> rows;
    for (size_t i = 0; i < tokens.size(); ++i)
      rows.push_back({&target, tokens[i], i + 1 == tokens.size()});
    StepOutput output;
    Status status = engine->step(rows, output);
    EXPECT_TRUE(status.isOk()) << status.message();
    std::span<const float> row = output.row(tokens.size() - 1);
    return {row.begin(), row.end()};
  }

  Bytes modelBytes;
  std::list<Bytes> adapterBytes; // files point into them
  std::shared_ptr<const ModelFile> model;
  EngineOptions options;
  std::shared_ptr<Engine> engine;
  FakeDevice *device = nullptr;
};

/// With a folder for the files that the C interface opens.
class EngineFilesTest : public EngineTest {
protected:
  /// The file's path.
  std::string write(std::string_view name, const Bytes &bytes) {
    folder.write(name, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    return folder.path(name);
  }
  TempFolder folder;
};

} // namespace lorac::test

#endif // LORAC_TESTS_RUNTIME_ENGINE_FIXTURE_H
