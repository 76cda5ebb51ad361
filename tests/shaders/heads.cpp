// heads.cpp - a linear that rotates q and k itself and writes the cache (HEAD), bit for bit against the same
// linear without it followed by the rope kernel, each of which other tests hold against float64.
#include "tests/shaders/LinearCase.h"
#include "tests/shaders/RopeCase.h"

#include <algorithm>

namespace lorac::shader {
namespace {

constexpr uint32_t QueryHeads = 3, KvHeads = 2, In = 40;

// ---- the linear and rope apart
#define VARIANT apart
#include "tests/shaders/LinearVariant.inc"
#define VARIANT apartFull
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"

#define VARIANT rope32
#define LANES 8
#define HEAD 32
#define ROTATE 1
#define CACHE_F32 1
#include "tests/shaders/RopeVariant.inc"
#define VARIANT rope64
#define LANES 8
#define HEAD 64
#define ROTATE 1
#define CACHE_F32 1
#include "tests/shaders/RopeVariant.inc"

// ---- both in one
#define VARIANT heads32_r1_t4
#define HEAD 32
#include "tests/shaders/LinearVariant.inc"
#define VARIANT heads32_r8_t4
#define HEAD 32
#define ROWS 8
#include "tests/shaders/LinearVariant.inc"
#define VARIANT heads32_r2_t2_nosubgroup
#define HEAD 32
#define SUBGROUP 0
#define ROWS 2
#define TILES 2
#include "tests/shaders/LinearVariant.inc"
#define VARIANT heads32_r3_t4_lanes1
#define HEAD 32
#define LANES 1
#define ROWS 3
#include "tests/shaders/LinearVariant.inc"
#define VARIANT heads64_r1_t4_full
#define HEAD 64
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT heads64_r8_t2_full
#define HEAD 64
#define ROWS 8
#define TILES 2
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"

/// Random q, k and v, a step of rows at several positions, and room for the result; with `full` a bias and an
/// adapter on every other row.
LinearBuffers build(uint32_t rows, uint32_t head, bool full) {
  Random random(rows * 100 + head + full);
  LinearBuffers b;
  const uint32_t heads = QueryHeads + 2 * KvHeads,
                 outs[] = {QueryHeads * head, KvHeads * head, KvHeads * head};
  b.rows = rows;
  b.inFeatures = In;
  b.xStride = roundUp(In, 32);
  b.tiles = heads * head / 8;
  b.segments[0] = outs[0] / 8;
  b.segments[1] = b.segments[0] + outs[1] / 8;
  b.x = strided(random.uniforms(size_t(rows) * In), rows, In, b.xStride);
  b.weight = tiled(random.uniforms(size_t(heads) * head * In), heads * head, In, false);
  if (full) {
    b.bias = random.uniforms(size_t(heads) * head);
    std::vector<SitePart> parts;
    for (uint32_t s = 0; s < 3; ++s) {
      parts.push_back(randomPart(random, 5, false, false, In, outs[s]));
      b.sites[s] = s;
    }
    Pool pool;
    const uint32_t slot = pool.add(parts, {In, In, In}, {outs[0], outs[1], outs[2]});
    b.pool = pool.words;
    for (uint32_t row = 0; row < rows; ++row) {
      b.stacks.insert(b.stacks.end(), {Poison, row % 2, b.items, row % 2});
      if (row % 2 == 1) {
        b.itemTable.insert(b.itemTable.end(), {row, slot, 1u << step::EntryTilesShift, Poison});
        ++b.items;
      }
    }
    if (b.items == 0) // the table is never empty where it is bound
      b.itemTable.assign(4, 0);
    b.t = random.uniforms(size_t(3) * std::max(b.items, 1u) * 8);
  }
  const uint32_t positions[] = {37, 0, 15, 16, 3, 4, 5, 6, 31};
  for (uint32_t row = 0; row < rows; ++row) { // two rows share a page, the first one has two pages of its own
    b.rowTable.insert(b.rowTable.end(), {0, positions[row], row == 0 ? 2u : 0u, 0});
    for (uint32_t i = 0; i < head; ++i)
      b.angles.push_back(random.uniform());
  }
  b.pages = {3, 1, 4, 0, 2};
  b.cache.assign(size_t(5) * KvHeads * 2 * 16 * head, Poison);
  b.yStride = outs[0] + 4;
  b.y = poisoned(size_t(rows) * b.yStride);
  return b;
}

/// What `linear` and then `rope` make of the case.
LinearBuffers runApart(const LinearVariant &linear, void (*rope)(RopeBuffers &), const LinearBuffers &given) {
  LinearBuffers joined = given;
  joined.yStride = given.tiles * 8;
  joined.y = poisoned(size_t(given.rows) * joined.yStride);
  linear.run(joined);
  RopeBuffers b{};
  b.q = b.k = b.v = joined.y;
  b.angles = given.angles;
  b.y = given.y;
  b.rows = given.rowTable;
  b.pages = given.pages;
  b.cache = given.cache;
  b.columns[1] = given.segments[0] * 8;
  b.columns[2] = given.segments[1] * 8;
  std::fill(std::begin(b.strides), std::end(b.strides), joined.yStride);
  b.yStride = given.yStride;
  b.qHeads = QueryHeads;
  b.kvHeads = KvHeads;
  b.rowCount = given.rows;
  rope(b);
  LinearBuffers made = given;
  made.y = b.y;
  made.cache = b.cache;
  return made;
}

void expectSame(const LinearVariant &variant, LinearBuffers given, const LinearBuffers &want) {
  SCOPED_TRACE(testing::Message() << variant.name << ", " << given.rows << " rows");
  variant.run(given);
  expectNoFaults();
  for (size_t i = 0; i < want.y.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(given.y[i]), std::bit_cast<uint32_t>(want.y[i])) << "y, value " << i;
  for (size_t i = 0; i < want.cache.size(); ++i)
    ASSERT_EQ(given.cache[i], want.cache[i]) << "cache, value " << i;
}

TEST(LinearKernel, RotatesHeadsAndFillsTheCache) {
  for (uint32_t rows : {1, 3, 9}) {
    const LinearBuffers plain = build(rows, 32, false);
    const LinearBuffers wanted = runApart(apart::variant, rope32::run, plain);
    expectNoFaults();
    for (const LinearVariant *variant : {&heads32_r1_t4::variant, &heads32_r8_t4::variant,
                                         &heads32_r2_t2_nosubgroup::variant, &heads32_r3_t4_lanes1::variant})
      expectSame(*variant, plain, wanted);
    const LinearBuffers full = build(rows, 64, true);
    const LinearBuffers wantedFull = runApart(apartFull::variant, rope64::run, full);
    expectNoFaults();
    for (const LinearVariant *variant : {&heads64_r1_t4_full::variant, &heads64_r8_t2_full::variant})
      expectSame(*variant, full, wantedFull);
  }
}

} // namespace
} // namespace lorac::shader
