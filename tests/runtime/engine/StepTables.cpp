#include "runtime/engine/StepTables.h"
#include "schemas/StepTable.h"
#include "tests/runtime/engine/Fixture.h"

#include <bit>
#include <cmath>

namespace lorac::test {
namespace {

class StepTablesTest : public EngineTest {};

using U32 = std::vector<uint32_t>;

U32 words(const auto &records) {
  U32 result(records.size() * sizeof records[0] / 4);
  if (!result.empty())
    std::memcpy(result.data(), records.data(), result.size() * 4);
  return result;
}

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

// One step with a base row far into its text, two rows of one sequence and a stack of two: every table,
// literally.
TEST_F(StepTablesTest, MixedBatchLiterally) {
  open();
  auto tiny = load(tinyAdapter("tiny")), deep = load(rankAdapter("deep", 20));
  ASSERT_EQ(tiny->offset(), 0u);
  ASSERT_EQ(deep->offset(), 1024u); // 64 units of 16 bytes
  std::shared_ptr<Sequence> a = sequence();
  feed(*a, U32(17, 2));
  std::shared_ptr<Sequence> b = sequence({{tiny, 0.5f}}), c = sequence({{deep, 2.0f}, {tiny, -1.0f}});
  device->runs.clear();

  std::vector<StepRow> rows = {
      {a.get(), 5, true}, {b.get(), 6, false}, {b.get(), 7, true}, {c.get(), 8, true}};
  StepOutput output;
  ASSERT_STATUS_OK(engine->step(rows, output));
  ASSERT_EQ(device->runs.size(), 1u);
  const RecordedRun &run = device->runs[0];
  EXPECT_EQ(run.program, "few+");
  EXPECT_EQ(run.symbols.rows, 4u);
  EXPECT_EQ(run.symbols.outRows, 3u);
  EXPECT_EQ(run.symbols.items, 9u);
  // token, position, first page, place among OutRows
  EXPECT_EQ(words(run.rows), (U32{5, 17, 0, 0, 6, 0, 2, step::NoOutRow, 7, 1, 2, 1, 8, 0, 3, 2}));
  EXPECT_EQ(run.outRows, (U32{0, 2, 3}));
  EXPECT_EQ(run.pages, (U32{0, 1, 2, 3}));
  // first entry, count, first item, count
  EXPECT_EQ(words(run.stacks), (U32{0, 0, 0, 0, 0, 1, 0, 2, 1, 1, 2, 2, 2, 2, 4, 5}));
  // slot, first item
  EXPECT_EQ(words(run.entries), (U32{0, 0, 0, 0, 0, 2, 0, 0, 64, 4, 0, 0, 0, 7, 0, 0}));
  // row, slot, tile and how many, strength
  constexpr uint32_t Of2 = 2 << 16, Of3 = 3 << 16;
  EXPECT_EQ(words(run.items),
            (U32{1, 0,  Of2,     bits(0.5f), 1, 0,  Of2 | 1, bits(0.5f),  2, 0,  Of2,     bits(0.5f),
                 2, 0,  Of2 | 1, bits(0.5f), 3, 64, Of3,     bits(2.0f),  3, 64, Of3 | 1, bits(2.0f),
                 3, 64, Of3 | 2, bits(2.0f), 3, 0,  Of2,     bits(-1.0f), 3, 0,  Of2 | 1, bits(-1.0f)}));
  // cosines of both frequencies, then sines
  std::vector<float> angles;
  for (double position : {17.0, 0.0, 1.0, 0.0})
    for (double value :
         {std::cos(position), std::cos(position * 0.01), std::sin(position), std::sin(position * 0.01)})
      angles.push_back(float(value));
  EXPECT_EQ(run.angles, angles);
  // With the margins: Rows 128, OutRows 48, Pages 80, Angles 64, Stacks 128, Entries 64, Items 144.
  EXPECT_EQ(run.stepBytes, 656u);
  EXPECT_EQ(output.row(0).size(), 32u);
  EXPECT_TRUE(output.row(1).empty());
}

TEST_F(StepTablesTest, ProgramFollowsRowsAndStacks) {
  open();
  auto tiny = load(tinyAdapter("tiny"));
  std::shared_ptr<Sequence> base = sequence(), adapted = sequence({{tiny, 1.0f}}),
                            off = sequence({{tiny, 0.0f}});
  auto programOf = [&](Sequence &target, size_t rows) {
    device->runs.clear();
    feed(target, U32(rows, 3));
    EXPECT_EQ(device->runs.size(), 1u);
    return device->runs.at(0).program;
  };
  EXPECT_EQ(programOf(*base, 1), "one");
  EXPECT_EQ(programOf(*base, 2), "few");
  EXPECT_EQ(programOf(*base, 8), "few");
  EXPECT_EQ(programOf(*base, 9), "many");
  EXPECT_EQ(programOf(*base, 16), "many");
  EXPECT_EQ(programOf(*adapted, 1), "one+");
  EXPECT_EQ(programOf(*adapted, 8), "few+");
  EXPECT_EQ(programOf(*adapted, 16), "many+");
  EXPECT_EQ(programOf(*off, 1), "one"); // strength 0 is the base, and as cheap
}

TEST_F(StepTablesTest, LongStepsAreCutAtTheRows) {
  open();
  std::shared_ptr<Sequence> a = sequence();
  std::vector<float> once = feed(*a, U32(40, 3));
  ASSERT_EQ(device->runs.size(), 3u);
  EXPECT_EQ(device->runs[0].symbols.rows, 16u);
  EXPECT_EQ(device->runs[1].symbols.rows, 16u);
  EXPECT_EQ(device->runs[2].symbols.rows, 8u);
  EXPECT_EQ(device->runs[1].rows[0].position, 16u);
  EXPECT_EQ(device->runs[1].symbols.outRows, 0u);
  // The same in other pieces gives the same bits.
  std::shared_ptr<Sequence> b = sequence();
  for (size_t piece : {1, 7, 16, 15})
    feed(*b, U32(piece, 3));
  EXPECT_EQ(feed(*b, {3}), once);
}

TEST_F(StepTablesTest, StepsAreCutAtItemsAndEntries) {
  options.maxItems = 7; // "deep" takes 3 a row
  open();
  auto deep = load(rankAdapter("deep", 20));
  std::shared_ptr<Sequence> a = sequence({{deep, 1.0f}}), base = sequence();
  std::vector<StepRow> rows;
  for (uint32_t i = 0; i < 5; ++i) {
    rows.push_back({a.get(), i, true});
    rows.push_back({base.get(), i, true});
  }
  StepOutput output;
  ASSERT_STATUS_OK(engine->step(rows, output));
  std::vector<uint64_t> items;
  for (const RecordedRun &run : device->runs)
    items.push_back(run.symbols.items);
  EXPECT_EQ(items, (std::vector<uint64_t>{6, 6, 3}));
  // Every row has its own logits, whichever run it fell into.
  std::shared_ptr<Sequence> alone = sequence({{deep, 1.0f}}), baseAlone = sequence();
  for (uint32_t i = 0; i < 5; ++i) {
    std::span<const float> row = output.row(2 * i), baseRow = output.row(2 * i + 1);
    EXPECT_EQ(feed(*alone, {i}), std::vector<float>(row.begin(), row.end()));
    EXPECT_EQ(feed(*baseAlone, {i}), std::vector<float>(baseRow.begin(), baseRow.end()));
  }
}

TEST_F(StepTablesTest, PlanCutsAtEveryLimit) {
  open();
  auto deep = load(rankAdapter("deep", 20)); // 3 tiles
  Stack stack = {{deep, 1.0f}}, none;
  U32 pages(4, 0);
  auto row = [&](uint32_t number, uint32_t position, bool want, const Stack &of) {
    return PlannedRow{1, position, number, want, pages, &of};
  };
  StepLimits limits{.rows = 8, .outRows = 8, .entries = 8, .items = 24, .pages = 8, .pageTokens = 16};
  auto counts = [](const Result<std::vector<PlannedRun>> &runs) {
    std::vector<size_t> result;
    for (const PlannedRun &run : *runs)
      result.push_back(run.count);
    return result;
  };
  std::vector<PlannedRow> rows(6, row(0, 0, true, stack));
  EXPECT_EQ(counts(planRuns(rows, limits)), (std::vector<size_t>{6}));
  StepLimits few = limits;
  few.outRows = 4;
  EXPECT_EQ(counts(planRuns(rows, few)), (std::vector<size_t>{4, 2}));
  few = limits;
  few.entries = 5;
  EXPECT_EQ(counts(planRuns(rows, few)), (std::vector<size_t>{5, 1}));
  few = limits;
  few.items = 6;
  EXPECT_EQ(counts(planRuns(rows, few)), (std::vector<size_t>{2, 2, 2}));
  // Page lists: three sequences of 2 pages each, room for 5.
  few = limits;
  few.pages = 5;
  std::vector<PlannedRow> wide = {row(0, 17, false, none), row(1, 17, false, none), row(1, 18, false, none),
                                  row(2, 17, false, none)};
  EXPECT_EQ(counts(planRuns(wide, few)), (std::vector<size_t>{3, 1}));
  // What no run can hold is refused.
  few = limits;
  few.items = 2;
  EXPECT_FAILURE(planRuns(rows, few).status(), Code::Exhausted, "takes 3 rank tiles");
}

TEST_F(StepTablesTest, TablesNeverGoPastTheirBuffer) {
  open();
  U32 pages = {0};
  Stack none;
  std::vector<PlannedRow> rows(3, PlannedRow{1, 0, 0, true, pages, &none});
  std::vector<uint8_t> buffer(47);
  Result<uint64_t> bytes = writeTable({0, fbs::StepInput::Rows, 0}, rows, 16, {}, buffer);
  EXPECT_FAILURE(bytes.status(), Code::Internal, "Rows");
}

} // namespace
} // namespace lorac::test
