// Sweeps.cpp - what a file may hold, edited everywhere: every length, a bit in every byte, every number of
// the metadata. As an edit leaves them, files are refused by their digests
// (ModelFile.RejectsEveryFlippedBit); with the digests made anew the checks have to: refused, or loaded and
// run to an end over a device that gives finite logits. Nothing allocates more than the file, what its
// metadata decompresses to and 64 MiB. The large file's numbers are sampled; LORAC_SWEEP=all takes all of
// them, LORAC_SWEEP=SEED another sample.
#include "runtime/engine/Engine.h"
#include "runtime/engine/ModelText.h"
#include "runtime/files/AdapterFile.h"
#include "runtime/files/Container.h"
#include "runtime/files/Expression.h"
#include "runtime/files/ModelFile.h"
#include "runtime/files/ModelVerifier.h"
#include "schemas/Header.h"
#include "support/Checked.h"
#include "support/Fingerprint.h"
#include "tests/runtime/files/TinyModel.h"
#include "tests/support/StatusTest.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <malloc.h>
#include <map>
#include <new>
#include <random>
#include <string_view>

// ---- what is allocated
// -----------------------------------------------------------------------------------------

namespace {
std::atomic<size_t> liveBytes = 0, peakBytes = 0;

void *allocate(size_t size) {
  void *memory = std::malloc(size == 0 ? 1 : size);
  if (!memory)
    throw std::bad_alloc();
  const size_t live = liveBytes += malloc_usable_size(memory);
  size_t peak = peakBytes;
  while (peak < live && !peakBytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}
void release(void *memory) noexcept {
  if (memory)
    liveBytes -= malloc_usable_size(memory);
  std::free(memory);
}
} // namespace

void *operator new(size_t size) { return allocate(size); }
void *operator new[](size_t size) { return allocate(size); }
void operator delete(void *memory) noexcept { release(memory); }
void operator delete[](void *memory) noexcept { release(memory); }
void operator delete(void *memory, size_t) noexcept { release(memory); }
void operator delete[](void *memory, size_t) noexcept { release(memory); }

namespace lorac {
namespace {

using namespace test;

constexpr size_t Allowance = 64 << 20;

/// Bytes that `work` held at once.
size_t heldBy(const std::function<void()> &work) {
  const size_t before = liveBytes;
  peakBytes = before;
  work();
  return peakBytes - before;
}

/// Refused, as files are: by their content or because they are too new.
bool isRefusal(Code code) { return code == Code::CorruptFile || code == Code::Unsupported; }

// ---- digests made anew
// -----------------------------------------------------------------------------------------

void store(const fbs::Hash &place, const Digest &digest) {
  // It lies in the copy of the metadata that is being sealed.
  std::copy(digest.begin(), digest.end(), const_cast<uint8_t *>(place.bytes()->Data()));
}

void resealSegments(const Bytes &file, const container::Segments &segments) {
  if (!container::isAligned(segments))
    return;
  for (const fbs::Segment *segment : segments)
    if (rangeInside(segment->offset(), segment->size(), file.size()))
      store(segment->hash(), sha256(container::segmentBytes(file, *segment)));
}

/// Puts `metadata` in, with every digest made anew: of segments, of the base, of the metadata.
void sealModel(Bytes &file, Bytes metadata) {
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata);
  if (hasBoundedNames(metadata) && fbs::VerifyModelBuffer(verifier)) {
    const fbs::Model &model = *fbs::GetModel(metadata.data());
    resealSegments(file, *model.segments());
    const auto aligned = [](const fbs::BaseTensor *tensor) { return container::isAligned(*tensor->shape()); };
    if (std::all_of(model.base()->begin(), model.base()->end(), aligned)) {
      FingerprintHash hash;
      for (const fbs::BaseTensor *tensor : *model.base())
        hash.add({container::view(*tensor->name()),
                  {tensor->shape()->data(), tensor->shape()->size()},
                  container::digestOf(*tensor->hash())});
      store(*model.fingerprint(), hash.finish());
    }
  }
  replaceMetadata(file, metadata);
}

void sealAdapter(Bytes &file, Bytes metadata) {
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata);
  if (fbs::VerifyAdapterBuffer(verifier))
    resealSegments(file, *fbs::GetAdapter(metadata.data())->segments());
  replaceMetadata(file, metadata);
}

// ---- use of what loads
// -----------------------------------------------------------------------------------------

/// Each buffer in memory of its own, exactly as long as the file says: a write past it shows. Logits are 0.
class PlainDevice final : public DeviceModel {
public:
  PlainDevice(const ModelFile &model, const LoadSymbols &load) : model(model) {
    symbols.assign(model.metadata().symbols()->size(), 0);
    const std::pair<const char *, uint64_t> values[] = {{"pages", load.pages},
                                                        {"max_pages", load.maxPages},
                                                        {"max_items", load.maxItems},
                                                        {"max_entries", load.maxEntries},
                                                        {"pool_bytes", load.poolBytes}};
    for (const auto &[name, value] : values)
      symbols[model.symbolIndex(name)] = value;
    poolBytes = load.poolBytes;
  }
  /// OutOfMemory, as a device says it, where a program's step and out buffers do not fit.
  Status fits() const {
    for (const fbs::Program *program : *model.metadata().programs())
      for (const fbs::Buffer *buffer : *program->buffers())
        if (buffer->space() == fbs::Space::Step || buffer->space() == fbs::Space::Out)
          if (evaluate(model.metadata(), buffer->size(), symbols).value_or(UINT64_MAX) > Memory)
            return Status(Code::OutOfMemory) << "the device has " << Memory << " bytes";
    return Status::ok();
  }

  Status writePool(uint64_t offset, std::span<const uint8_t> bytes) override {
    EXPECT_TRUE(rangeInside(offset, bytes.size(), poolBytes));
    return Status::ok();
  }
  std::span<uint8_t> stepBuffer(size_t program, size_t buffer) override { return memory(program, buffer); }
  Status run(size_t, const StepSymbols &, uint64_t) override { return Status::ok(); }
  std::span<const float> outBuffer(size_t program, size_t buffer) override {
    const std::span<uint8_t> bytes = memory(program, buffer);
    return {reinterpret_cast<const float *>(bytes.data()), bytes.size() / sizeof(float)};
  }
  DeviceCounters counters() const override { return {}; }
  std::string description() const override { return "plain:0"; }

private:
  static constexpr uint64_t Memory = 4 << 20;

  std::span<uint8_t> memory(size_t program, size_t buffer) {
    const fbs::Buffer &entry =
        *model.metadata().programs()->Get(uint32_t(program))->buffers()->Get(uint32_t(buffer));
    Bytes &bytes = buffers[{program, buffer}];
    bytes.resize(*evaluate(model.metadata(), entry.size(), symbols));
    return bytes;
  }

  const ModelFile &model;
  std::vector<uint64_t> symbols;
  uint64_t poolBytes = 0;
  std::map<std::pair<size_t, size_t>, Bytes> buffers;
};

/// A few steps of one sequence, with the adapter where there is one.
Status runModel(const std::shared_ptr<const ModelFile> &model, const AdapterFile *adapter) {
  EngineOptions options;
  options.context = std::min<uint64_t>(model->metadata().max_context(), 32);
  options.poolBytes = 16 << 10;
  options.maxEntries = options.maxItems = 8;
  LORAC_ASSIGN(EnginePlan plan, planEngine(*model, options));
  auto device = std::make_unique<PlainDevice>(*model, plan.symbols);
  LORAC_TRY(model->checkSizes([&] {
    std::vector<uint64_t> values(model->metadata().symbols()->size(), 0);
    values[model->symbolIndex("pages")] = plan.symbols.pages;
    values[model->symbolIndex("max_pages")] = plan.symbols.maxPages;
    values[model->symbolIndex("max_items")] = plan.symbols.maxItems;
    values[model->symbolIndex("max_entries")] = plan.symbols.maxEntries;
    values[model->symbolIndex("pool_bytes")] = plan.symbols.poolBytes;
    return values;
  }()));
  LORAC_TRY(device->fits());
  LORAC_ASSIGN(std::shared_ptr<Engine> engine, Engine::create(model, options, std::move(device)));
  Stack stack;
  if (adapter) {
    LORAC_ASSIGN(std::shared_ptr<const LoadedAdapter> loaded, engine->loadAdapter(*adapter));
    stack.push_back({loaded, 1.0f});
  }
  LORAC_ASSIGN(std::shared_ptr<Sequence> sequence, engine->createSequence(stack));
  StepOutput output;
  for (size_t count : {3, 1}) {
    const std::vector<StepRow> rows(count, {sequence.get(), 0, true});
    LORAC_TRY(engine->step(rows, output));
  }
  return Status::ok();
}

Status useText(const ModelFile &model) {
  LORAC_ASSIGN(std::shared_ptr<const ModelText> text, ModelText::create(model));
  LORAC_ASSIGN(std::vector<uint32_t> ids, text->encode("<s>abc ab cd", true));
  (void)text->decode(ids, false);
  const ChatMessage messages[] = {{"user", "abc"}};
  return text->renderChat(messages, true).status();
}

struct Outcome {
  size_t refused = 0, loaded = 0, ran = 0;
};

/// Parses the edited file, whose metadata has that many bytes, and uses what loads.
void tryModel(const Bytes &file, size_t metadataBytes, Outcome &outcome) {
  Status loaded, text, ran;
  const size_t held = heldBy([&] {
    auto model = ModelFile::parse(file, "x.lorac");
    loaded = model.status();
    if (!model)
      return;
    std::vector<uint64_t> maxima;
    for (const fbs::Symbol *symbol : *(*model)->metadata().symbols())
      maxima.push_back(symbol->maximum());
    ASSERT_OK((*model)->checkSizes(maxima));
    ran = runModel(*model, nullptr);
    text = useText(**model);
  });
  ASSERT_LE(held, file.size() + metadataBytes + Allowance);
  ASSERT_TRUE(loaded.isOk() || isRefusal(loaded.code())) << loaded.message();
  ASSERT_NE(ran.code(), Code::Internal) << ran.message();
  ASSERT_NE(text.code(), Code::Internal) << text.message();
  ++(loaded.isOk() ? outcome.loaded : outcome.refused);
  outcome.ran += loaded.isOk() && ran.isOk();
}

void tryAdapter(const std::shared_ptr<const ModelFile> &model, const Bytes &file, size_t metadataBytes,
                Outcome &outcome) {
  Status loaded, ran;
  const size_t held = heldBy([&] {
    auto adapter = AdapterFile::parse(file, "x.lora");
    loaded = adapter.status();
    if (adapter)
      ran = runModel(model, adapter->get());
  });
  ASSERT_LE(held, file.size() + metadataBytes + Allowance);
  ASSERT_TRUE(loaded.isOk() || isRefusal(loaded.code())) << loaded.message();
  ASSERT_NE(ran.code(), Code::Internal) << ran.message();
  ++(loaded.isOk() ? outcome.loaded : outcome.refused);
  outcome.ran += loaded.isOk() && ran.isOk();
}

// ---- the sweeps
// ------------------------------------------------------------------------------------------------

constexpr uint64_t Numbers[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, uint64_t(1) << 31, uint64_t(1) << 32};

/// Calls `visit(metadata)` for each number of the metadata set to each value: at multiples of 4 a u32, at
/// multiples of 8 a u64 too. Of all these, about one in `every`.
void sweepNumbers(const Bytes &original, uint32_t every, const std::function<void(const Bytes &)> &visit) {
  const char *wish = std::getenv("LORAC_SWEEP");
  const bool all = wish && std::string_view(wish) == "all";
  const uint32_t seed = wish && !all ? uint32_t(std::strtoul(wish, nullptr, 10)) : std::random_device()();
  std::mt19937 random(seed);
  if (every > 1 && !all)
    std::printf("LORAC_SWEEP=%u takes this sample, one in %u\n", seed, every);
  size_t visited = 0;
  for (size_t width : {sizeof(uint32_t), sizeof(uint64_t)})
    for (size_t at = 0; at + width <= original.size(); at += width)
      for (uint64_t value : Numbers) {
        if (width == sizeof(uint32_t) && value == uint64_t(1) << 32)
          continue;
        if (every > 1 && !all && random() % every != 0)
          continue;
        Bytes edited = original;
        std::memcpy(edited.data() + at, &value, width);
        if (edited == original)
          continue;
        ++visited;
        ASSERT_NO_FATAL_FAILURE(visit(edited)) << width << " bytes at " << at << " set to " << value;
      }
  std::printf("%zu edits\n", visited);
}

void report(const Outcome &outcome) {
  std::printf("%zu refused, %zu loaded, %zu of them ran\n", outcome.refused, outcome.loaded, outcome.ran);
  EXPECT_GT(outcome.refused, 0u);
  EXPECT_GT(outcome.loaded, 0u); // names, provenance and limits are free to differ
}

void sweepModelNumbers(const Bytes &file, uint32_t every, bool runs) {
  Outcome outcome;
  sweepNumbers(metadataOf(file), every, [&](const Bytes &metadata) {
    Bytes sealed = file;
    sealModel(sealed, metadata);
    tryModel(sealed, metadata.size(), outcome);
  });
  report(outcome);
  EXPECT_EQ(outcome.ran > 0, runs);
}

TEST(Sweeps, NumbersOfASmallModel) { sweepModelNumbers(minimalModel().bytes(), 1, false); }
TEST(Sweeps, NumbersOfAModel) { sweepModelNumbers(tinyModel().bytes(), 40, true); }

TEST(Sweeps, NumbersOfABundle) {
  const Bytes modelBytes = tinyModel().bytes();
  auto model = ModelFile::parse(modelBytes, "tiny.lorac");
  ASSERT_OK(model);
  const Bytes file = tinyAdapter().bytes();
  ASSERT_OK(AdapterFile::parse(file, "tiny.lora"));
  Outcome outcome;
  sweepNumbers(metadataOf(file), 1, [&](const Bytes &metadata) {
    Bytes sealed = file;
    sealAdapter(sealed, metadata);
    tryAdapter(*model, sealed, metadata.size(), outcome);
  });
  report(outcome);
  EXPECT_GT(outcome.ran, 0u);
}

// ModelFile.RejectsEveryTruncation and AdapterFile.RejectsEveryTruncation leave the digests alone. Here the
// metadata follows wherever the file is cut, and is cut itself.
TEST(Sweeps, LengthsUnderAFreshDigest) {
  for (const Bytes &file : {minimalModel().bytes(), tinyAdapter().bytes()}) {
    const bool isModel = file[3] == format::ModelMagic[3];
    const Bytes metadata = metadataOf(file);
    const auto refuse = [&](Bytes &cut, const Bytes &part) {
      isModel ? sealModel(cut, part) : sealAdapter(cut, part);
      Status status;
      const size_t held = heldBy([&] {
        status = isModel ? ModelFile::parse(cut, "x").status() : AdapterFile::parse(cut, "x").status();
      });
      ASSERT_EQ(status.code(), Code::CorruptFile) << cut.size() << ": " << status.message();
      ASSERT_LE(held, cut.size() + part.size() + Allowance);
    };
    uint64_t end;
    std::memcpy(&end, file.data() + offsetof(format::Header, metadataOffset), sizeof(end));
    for (uint64_t size = sizeof(format::Header); size < end; ++size) {
      Bytes cut(file.begin(), file.begin() + ptrdiff_t(size));
      std::memcpy(cut.data() + offsetof(format::Header, metadataOffset), &size, sizeof(size));
      ASSERT_NO_FATAL_FAILURE(refuse(cut, metadata));
    }
    for (size_t size = 0; size + 8 < metadata.size(); ++size) { // its last bytes may be padding
      Bytes cut = file;
      ASSERT_NO_FATAL_FAILURE(refuse(cut, Bytes(metadata.begin(), metadata.begin() + ptrdiff_t(size))));
    }
  }
}

TEST(Sweeps, BitsUnderFreshDigests) {
  Outcome models, adapters;
  const Bytes modelBytes = tinyModel().bytes();
  auto model = ModelFile::parse(modelBytes, "tiny.lorac");
  ASSERT_OK(model);
  // Of the metadata and of what lies before it.
  const auto sweep = [&](const Bytes &file, const std::function<void(Bytes &, Bytes &)> &use) {
    const Bytes metadata = metadataOf(file);
    uint64_t end;
    std::memcpy(&end, file.data() + offsetof(format::Header, metadataOffset), sizeof(end));
    for (size_t i = 0; i < end + metadata.size(); ++i) {
      if (i >= offsetof(format::Header, metadataOffset) && i < sizeof(format::Header))
        continue; // replaceMetadata sets them
      Bytes flipped = file, content = metadata;
      (i < end ? flipped[i] : content[i - end]) ^= uint8_t(1u << (i % 8));
      ASSERT_NO_FATAL_FAILURE(use(flipped, content)) << "bit " << i % 8 << " of byte " << i;
    }
  };
  sweep(minimalModel().bytes(), [&](Bytes &file, Bytes &metadata) {
    sealModel(file, metadata);
    tryModel(file, metadata.size(), models);
  });
  report(models);
  sweep(tinyAdapter().bytes(), [&](Bytes &file, Bytes &metadata) {
    sealAdapter(file, metadata);
    tryAdapter(*model, file, metadata.size(), adapters);
  });
  report(adapters);
}

} // namespace
} // namespace lorac
