// shrink.cpp - t against float64; all variants bit for bit alike; nothing written where an adapter has
// nothing.
#include "tests/shaders/ShrinkCase.h"

namespace lorac::shader {
namespace {

#define VARIANT lanes8
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT nosubgroup
#define LANES 8
#define SUBGROUP 0
#define GATHERED 0
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT lanes1
#define LANES 1
#define SUBGROUP 0
#define GATHERED 0
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT lanes16
#define LANES 16
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT gathered
#define LANES 8
#define SUBGROUP 1
#define GATHERED 1
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"

void check(uint32_t in, bool gather) {
  SCOPED_TRACE(testing::Message() << "K " << in);
  Random random(in);
  const uint32_t stepRows = 4, xRows = gather ? 2 : 4;
  const std::vector<uint32_t> outRows = {1, step::NoOutRow, 0, step::NoOutRow}; // of the step's rows
  ShrinkBuffers b;
  b.inFeatures = in;
  b.xStride = roundUp(in, 32);
  std::vector<float> x = random.uniforms(size_t(xRows) * in);
  b.x = strided(x, xRows, in, b.xStride);
  for (uint32_t row = 0; row < stepRows; ++row)
    b.rows.insert(b.rows.end(), {9, 9, 9, outRows[row]});

  // Sites 0 and 1 are the segments 1 and 0; ranks 1, 8 with a bias (a tile of its own), 5 with a bias, 70;
  // site 1 misses in one.
  struct Kind {
    uint32_t rank0, rank1;
    bool bias, isF32;
  };
  const Kind kinds[] = {{1, 1, false, false},
                        {8, 0, true, true},
                        {5, 8, true, false},
                        {70, 5, false, true},
                        {0, 70, true, false}};
  std::vector<std::vector<SitePart>> slots;
  std::vector<uint32_t> bases;
  Pool pool;
  for (const Kind &kind : kinds) {
    slots.push_back({randomPart(random, kind.rank0, kind.rank0 != 0 && kind.bias, kind.isF32, in, 9),
                     randomPart(random, kind.rank1, kind.rank1 != 0 && kind.bias, kind.isF32, in, 17)});
    bases.push_back(pool.add(slots.back(), {in, in}, {9, 17}));
  }
  b.pool = pool.words;
  b.sites[0] = 1;
  b.sites[1] = 0;
  struct Item {
    uint32_t row, slot, tile;
    float strength;
  };
  std::vector<Item> items;
  for (uint32_t row = 0; row < stepRows; ++row)
    for (uint32_t slot = 0; slot < slots.size(); ++slot)
      for (uint32_t tile = 0; tile < std::max(slots[slot][0].tiles(), slots[slot][1].tiles()); ++tile)
        items.push_back({row, slot, tile, 0.5f + 0.25f * float(slot)});
  for (const Item &item : items) {
    uint32_t tiles = std::max(slots[item.slot][0].tiles(), slots[item.slot][1].tiles());
    b.table.insert(b.table.end(), {item.row, bases[item.slot], item.tile | (tiles << step::EntryTilesShift),
                                   std::bit_cast<uint32_t>(item.strength)});
  }
  b.items = uint32_t(items.size());

  std::vector<void (*)(ShrinkBuffers &)> runs;
  if (gather)
    runs = {gathered::run};
  else
    runs = {lanes8::run, nosubgroup::run, lanes1::run, lanes16::run};
  std::vector<float> first;
  for (auto run : runs) {
    b.t = poisoned(size_t(2) * b.items * 8);
    run(b);
    expectNoFaults();
    if (first.empty())
      first = b.t;
    EXPECT_EQ(std::memcmp(first.data(), b.t.data(), first.size() * sizeof(float)), 0)
        << "bits differ between variants";
  }
  for (uint32_t segment = 0; segment < 2; ++segment)
    for (uint32_t i = 0; i < b.items; ++i) {
      const Item &item = items[i];
      const SitePart &part = slots[item.slot][b.sites[segment]];
      uint32_t xRow = gather ? outRows[item.row] : item.row;
      for (uint32_t lane = 0; lane < 8; ++lane) {
        float got = first[(size_t(segment) * b.items + i) * 8 + lane];
        uint32_t r = item.tile * 8 + lane;
        if (item.tile >= part.tiles() || xRow == step::NoOutRow) {
          EXPECT_TRUE(isPoison(got));
          continue;
        }
        float factor = item.strength * part.scaling;
        if (part.hasBias && r == part.rank) {
          EXPECT_EQ(got, factor);
          continue;
        }
        double want = 0.0, size = 0.0;
        for (uint32_t k = 0; k < in && r < part.rank; ++k) {
          double term = double(part.a[size_t(r) * in + k]) * x[size_t(xRow) * in + k];
          want += term;
          size += std::abs(term);
        }
        EXPECT_NEAR(got, want * factor, 1e-6 * size)
            << "segment " << segment << " item " << i << " lane " << lane;
      }
    }
}

TEST(ShrinkKernel, MatchesFloat64) {
  for (uint32_t in : {8u, 33u, 64u, 72u, 200u})
    check(in, false);
}
TEST(ShrinkKernel, GatheredRows) {
  for (uint32_t in : {33u, 72u})
    check(in, true);
}

} // namespace
} // namespace lorac::shader
