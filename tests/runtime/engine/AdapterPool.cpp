#include "runtime/engine/AdapterPool.h"
#include "schemas/StepTable.h"
#include "tests/runtime/engine/Fixture.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace lorac::test {
namespace {

class AdapterPoolTest : public EngineTest {};

TEST_F(AdapterPoolTest, SlotIsDirectoryThenImage) {
  TinyAdapter tiny = tinyAdapter();
  Result<SlotImage> slot = buildSlot(*model, *file(tiny), false);
  ASSERT_STATUS_OK(slot.status());
  EXPECT_EQ(slot->tiles, 2u);
  EXPECT_FALSE(slot->otherBase);
  // Sites q, k, v, o and the null record: 5 of 16 bytes, then the image.
  ASSERT_EQ(slot->bytes.size(), 80 + tiny.image.size());
  EXPECT_EQ(std::memcmp(slot->bytes.data() + 80, tiny.image.data(), tiny.image.size()), 0);
  step::SiteRecord records[5];
  std::memcpy(records, slot->bytes.data(), sizeof records);
  // block.q: rank 3, one tile, A at image byte 0, B at 128, scaling 2.
  EXPECT_EQ(records[0].aOffset, 5u);
  EXPECT_EQ(records[0].bOffset, 13u);
  EXPECT_EQ(records[0].tiles, 1u);
  EXPECT_EQ(std::bit_cast<float>(records[0].scalingBits), 2.0f);
  for (int untouched : {1, 2, 4}) {
    EXPECT_EQ(records[untouched].tiles, 0u);
    EXPECT_EQ(records[untouched].scalingBits, 0u);
  }
  // block.o: rank 8 and the bias at rank 8: two tiles, A at 256, B at 512.
  EXPECT_EQ(records[3].aOffset, 5u + 16u);
  EXPECT_EQ(records[3].bOffset, 5u + 32u);
  EXPECT_EQ(records[3].tiles, 2u | (9u << 16));
  EXPECT_EQ(std::bit_cast<float>(records[3].scalingBits), 0.5f);
}

TEST_F(AdapterPoolTest, Float32SitesSaySo) {
  TinyAdapter tiny = rankAdapter("wide", 8);
  tiny.adapter.type = fbs::AdapterType::F32;
  tiny.adapter.sites[0]->b_offset = 256; // 8 ranks of 8 features of 4 bytes
  tiny.image.assign(512, 0);
  Result<SlotImage> slot = buildSlot(*model, *file(tiny), false);
  ASSERT_STATUS_OK(slot.status());
  step::SiteRecord record;
  std::memcpy(&record, slot->bytes.data(), sizeof record);
  EXPECT_EQ(record.tiles, 1u | step::Float32Bit);
}

TEST_F(AdapterPoolTest, RejectsAnotherBaseUnlessAccepted) {
  open();
  TinyAdapter tiny = tinyAdapter();
  fbs::Hash other = tiny.adapter.fingerprints[0];
  const_cast<flatbuffers::Array<uint8_t, 32> *>(other.bytes())->Mutate(0, uint8_t(other.bytes()->Get(0) ^ 1));
  tiny.adapter.fingerprints = {other};
  Result<std::shared_ptr<const LoadedAdapter>> refused = engine->loadAdapter(*file(tiny));
  EXPECT_FAILURE(refused.status(), Code::Incompatible, "made for base ");
  EXPECT_FAILURE(refused.status(), Code::Incompatible,
                 "this model is " + shortHex(model->fingerprint()) +
                     "; rebuild it with: lorac adapter --base tiny.lorac");
  EXPECT_TRUE(device->poolWrites.empty());
  std::shared_ptr<const LoadedAdapter> accepted = load(tiny, {.name = "", .acceptBase = true});
  ASSERT_TRUE(accepted);
  EXPECT_TRUE(accepted->acceptedBase());
  EXPECT_FALSE(load(tinyAdapter("right"))->acceptedBase());
}

TEST_F(AdapterPoolTest, RejectsUnknownSiteByName) {
  open();
  TinyAdapter tiny = rankAdapter("stranger", 4);
  tiny.adapter.sites[0]->name = "block.x";
  EXPECT_FAILURE(engine->loadAdapter(*file(tiny)).status(), Code::Incompatible,
                 "site 'block.x' does not exist in tiny.lorac");
}

TEST_F(AdapterPoolTest, RejectsOtherWidthsByName) {
  open();
  TinyAdapter tiny = rankAdapter("narrow", 4);
  tiny.adapter.sites[0]->out_features = 7;
  EXPECT_FAILURE(engine->loadAdapter(*file(tiny)).status(), Code::Incompatible,
                 "site 'block.q' is 7 x 8 here and 8 x 8");
}

TEST_F(AdapterPoolTest, OneWriteALoadAndSlotsFreeWithTheirLastUser) {
  options.poolBytes = 4096;
  open();
  std::shared_ptr<const LoadedAdapter> first = load(tinyAdapter("a"));
  ASSERT_EQ(device->poolWrites.size(), 1u);
  EXPECT_EQ(device->poolWrites[0].offset, first->offset());
  EXPECT_EQ(engine->pool().freeBytes(), 4096u - 1024u); // 848 bytes take 1024
  std::shared_ptr<Sequence> user = sequence({{first, 1.0f}});
  ASSERT_STATUS_OK(engine->unloadAdapter("a"));
  EXPECT_FAILURE(engine->unloadAdapter("a"), Code::NotFound, "'a'");
  EXPECT_EQ(engine->findAdapter("a"), nullptr);
  first.reset();
  EXPECT_EQ(engine->pool().slots(), 1u); // the sequence still uses it
  user.reset();
  EXPECT_EQ(engine->pool().slots(), 0u);
  EXPECT_EQ(engine->pool().freeBytes(), 4096u);
}

TEST_F(AdapterPoolTest, ANameGivesItsNewestVersionAndSequencesKeepTheirs) {
  open();
  std::shared_ptr<const LoadedAdapter> old = load(tinyAdapter("a", 1));
  std::shared_ptr<Sequence> before = sequence({{engine->findAdapter("a"), 1.0f}});
  std::vector<float> oldLogits = feed(*before, {3});
  std::shared_ptr<const LoadedAdapter> fresh = load(tinyAdapter("a", 9));
  EXPECT_EQ(engine->findAdapter("a"), fresh);
  EXPECT_GT(fresh->load(), old->load());
  engine->unloadAdapter(old); // no longer what the name gives: nothing happens
  EXPECT_EQ(engine->findAdapter("a"), fresh);
  uint64_t slots = engine->pool().slots();
  EXPECT_EQ(slots, 2u);
  std::shared_ptr<Sequence> after = sequence({{engine->findAdapter("a"), 1.0f}});
  EXPECT_NE(feed(*after, {3}), oldLogits);
  ASSERT_STATUS_OK(before->truncate(0));
  EXPECT_EQ(feed(*before, {3}), oldLogits); // still the version that it started with
  old.reset();
  before.reset();
  EXPECT_EQ(engine->pool().slots(), 1u);
}

TEST_F(AdapterPoolTest, ExhaustedPoolNamesSizesAndFailedWritesLeaveNothing) {
  options.poolBytes = 4096;
  open();
  std::vector<std::shared_ptr<const LoadedAdapter>> held;
  for (int i = 0; i < 4; ++i)
    held.push_back(load(tinyAdapter("a" + std::to_string(i))));
  EXPECT_FAILURE(engine->loadAdapter(*file(tinyAdapter("b"))).status(), Code::Exhausted, "needs 848 bytes");
  ASSERT_STATUS_OK(engine->unloadAdapter("a2"));
  held[2].reset();
  device->failAfter = 0;
  EXPECT_FAILURE(engine->loadAdapter(*file(tinyAdapter("b"))).status(), Code::OutOfMemory, "fake failure");
  EXPECT_EQ(engine->pool().freeBytes(), 1024u);
  EXPECT_EQ(engine->findAdapter("b"), nullptr);
  EXPECT_EQ(load(tinyAdapter("b"))->offset(), 2048u); // the hole
}

TEST_F(AdapterPoolTest, SlotBytesSaysWhatALoadTakes) {
  open();
  uint64_t before = engine->pool().freeBytes();
  std::shared_ptr<const AdapterFile> bundle = file(rankAdapter("r", 20));
  ASSERT_STATUS_OK(engine->loadAdapter(*bundle).status());
  EXPECT_EQ(before - engine->pool().freeBytes(), Engine::slotBytes(*model, *bundle));
}

TEST_F(AdapterPoolTest, StacksAddDoublesAndDropZeros) {
  open();
  auto a = load(tinyAdapter("a")), b = load(rankAdapter("b", 4));
  Result<Stack> stack = normaliseStack({{a, 0.5f}, {b, 0.0f}, {a, 0.25f}});
  ASSERT_STATUS_OK(stack.status());
  ASSERT_EQ(stack->size(), 1u);
  EXPECT_EQ((*stack)[0].adapter, a);
  EXPECT_EQ((*stack)[0].strength, 0.75f);
  Result<Stack> nothing = normaliseStack({{a, 1.0f}, {b, 2.0f}, {a, -1.0f}, {b, -2.0f}});
  ASSERT_STATUS_OK(nothing.status());
  EXPECT_TRUE(nothing->empty());
  EXPECT_FAILURE(normaliseStack({{a, NAN}}).status(), Code::InvalidArgument, "strength");
  EXPECT_FAILURE(normaliseStack({{a, 3e38f}, {a, 3e38f}}).status(), Code::InvalidArgument, "add up");
  EXPECT_FAILURE(normaliseStack({{nullptr, 1.0f}}).status(), Code::InvalidArgument, "no adapter");
}

TEST_F(AdapterPoolTest, RejectsAdaptersOfAnotherSession) {
  open();
  std::shared_ptr<Engine> first = engine;
  auto foreign = load(tinyAdapter("a"));
  open();
  EXPECT_FAILURE(engine->createSequence({{foreign, 1.0f}}).status(), Code::InvalidArgument,
                 "another session");
}

} // namespace
} // namespace lorac::test
