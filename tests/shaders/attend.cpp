// attend.cpp - softmax attention over a paged cache against float64. Everything past a row's position is
// poison, in the cache and in the page table.
#include "tests/shaders/KernelTest.h"

#include <optional>

namespace lorac::shader {
namespace {

struct AttendBuffers {
  std::vector<float> q, y, t;
  std::vector<uint32_t> rows, pages, cache, stacks, pool, table; ///< table: the items
  uint32_t qStride, yStride, kvHeads, group, rowCount, items, site;
  float scale;
};

struct AttendVariant {
  uint32_t head, heads, isF32, segments;
  void (*run)(AttendBuffers &);
};

#define VARIANT half18
#define LANES 8
#define SUBGROUP 1
#define HEAD 18
#define HEADS 3
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
#define VARIANT half64
#define LANES 8
#define SUBGROUP 1
#define HEAD 64
#define HEADS 1
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
#define VARIANT half64nosubgroup
#define LANES 8
#define SUBGROUP 0
#define HEAD 64
#define HEADS 3
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
#define VARIANT half16lanes1
#define LANES 1
#define SUBGROUP 0
#define HEAD 16
#define HEADS 3
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
#define VARIANT half32lanes32
#define LANES 32
#define SUBGROUP 0
#define HEAD 32
#define HEADS 1
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
#define VARIANT float18
#define LANES 8
#define SUBGROUP 1
#define HEAD 18
#define HEADS 1
#define CACHE_F32 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT float64lanes16
#define LANES 16
#define SUBGROUP 1
#define HEAD 64
#define HEADS 3
#define CACHE_F32 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT half160
#define LANES 8
#define SUBGROUP 1
#define HEAD 160
#define HEADS 1
#define CACHE_F32 0
#include "tests/shaders/AttendVariant.inc"
// ---- shrink rides
#define VARIANT shrinksFloat64
#define LANES 8
#define SUBGROUP 1
#define HEAD 64
#define HEADS 3
#define CACHE_F32 1
#define SEGMENTS 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT shrinksHalf64
#define LANES 8
#define SUBGROUP 1
#define HEAD 64
#define HEADS 1
#define CACHE_F32 0
#define SEGMENTS 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT shrinksHalf32nosubgroup
#define LANES 8
#define SUBGROUP 0
#define HEAD 32
#define HEADS 3
#define CACHE_F32 0
#define SEGMENTS 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT shrinksFloat32lanes1
#define LANES 1
#define SUBGROUP 0
#define HEAD 32
#define HEADS 1
#define CACHE_F32 1
#define SEGMENTS 1
#include "tests/shaders/AttendVariant.inc"
#define VARIANT shrinksFloat64lanes16
#define LANES 16
#define SUBGROUP 1
#define HEAD 64
#define HEADS 3
#define CACHE_F32 1
#define SEGMENTS 1
#include "tests/shaders/AttendVariant.inc"

/// An item of a step: of which row, adapter and rank tile.
struct Item {
  uint32_t row, slot, tile;
  float strength;
};

/// Rows with 0, 1, 2 and 3 adapters on their stacks in turn: f16 with a bias at rank 5, f32 of two tiles, and
/// one that leaves the site alone.
struct Stacks {
  std::vector<SitePart> slots;
  std::vector<Item> items;

  Stacks(AttendBuffers &b, Random &random, uint32_t width, uint32_t parts) {
    slots = {randomPart(random, 5, true, false, width, 8), randomPart(random, 12, false, true, width, 8),
             randomPart(random, 0, false, false, width, 8)};
    Pool pool;
    std::vector<uint32_t> bases;
    for (const SitePart &part : slots)
      bases.push_back(pool.add({randomPart(random, 3, false, false, 8, 8), part}, {8, width}, {8, 8}));
    b.pool = pool.words;
    b.site = 1;
    for (uint32_t row = 0; row < b.rowCount; ++row) {
      const auto first = uint32_t(items.size());
      for (uint32_t slot = 0; slot < row % 4; ++slot)
        for (uint32_t tile = 0; tile < std::max(slots[slot].tiles(), 1u); ++tile)
          items.push_back({row, slot, tile, 0.5f + 0.25f * float(slot)});
      b.stacks.insert(b.stacks.end(), {Poison, row % 4, first, uint32_t(items.size()) - first});
    }
    for (const Item &item : items)
      b.table.insert(b.table.end(), {item.row, bases[item.slot], item.tile | (2u << step::EntryTilesShift),
                                     std::bit_cast<uint32_t>(item.strength)});
    b.items = uint32_t(items.size());
    b.t = poisoned(size_t(parts) * items.size() * 8);
  }

  /// Each part of t against float64 sums over its part of y.
  void check(const AttendBuffers &b, uint32_t width, uint32_t parts) const {
    const uint32_t each = width / parts;
    for (uint32_t p = 0; p < parts; ++p)
      for (uint32_t i = 0; i < b.items; ++i) {
        const Item &item = items[i];
        const SitePart &part = slots[item.slot];
        const float factor = item.strength * part.scaling;
        for (uint32_t lane = 0; lane < 8; ++lane) {
          const float got = b.t[(size_t(p) * b.items + i) * 8 + lane];
          const uint32_t r = item.tile * 8 + lane;
          double want = 0.0, size = 0.0;
          for (uint32_t k = p * each; k < (p + 1) * each && r < part.rank; ++k) {
            const double term = double(part.a[size_t(r) * width + k]) * b.y[item.row * b.yStride + k];
            want += term;
            size += std::abs(term);
          }
          if (item.tile >= part.tiles())
            EXPECT_TRUE(isPoison(got));
          else if (part.hasBias && r == part.rank)
            EXPECT_EQ(got, p == 0 ? factor : 0.0f);
          else
            EXPECT_NEAR(got, want * factor, 1e-6 * size) << "part " << p << " item " << i << " lane " << lane;
        }
      }
  }
};

void check(const char *name, const AttendVariant &variant, const std::vector<uint32_t> &positions) {
  SCOPED_TRACE(name);
  const uint32_t head = variant.head;
  const bool isF32 = variant.isF32 != 0;
  Random random(head);
  const uint32_t kvHeads = 2, group = 3, qHeads = kvHeads * group, qHead = roundUp(head, 32);
  uint32_t D = roundUp(head, 8), c = isF32 ? 4 : 8, rowCount = uint32_t(positions.size());
  AttendBuffers b{};
  b.qStride = qHeads * qHead + 32;
  b.yStride = roundUp(qHeads * head, 32);
  b.kvHeads = kvHeads;
  b.group = group;
  b.rowCount = rowCount;
  b.scale = 1.0f / std::sqrt(float(head));
  b.q = poisoned(rowCount * b.qStride);
  for (uint32_t row = 0; row < rowCount; ++row)
    for (uint32_t h = 0; h < qHeads; ++h)
      for (uint32_t d = 0; d < qHead; ++d)
        b.q[row * b.qStride + h * qHead + d] = d < head ? 4.0f * random.uniform() : 0.0f;
  // Every row is a sequence of its own with pages of its own, scattered.
  uint32_t pageTotal = 1;
  for (uint32_t position : positions)
    pageTotal += position / 16 + 1;
  uint32_t used = 0;
  for (uint32_t position : positions) {
    b.rows.insert(b.rows.end(), {0, position, uint32_t(b.pages.size()), 0});
    for (uint32_t page = 0; page <= position / 16; ++page)
      b.pages.push_back((used++ * 7 + 3) % pageTotal);
  }
  size_t cacheValues = size_t(pageTotal) * kvHeads * 2 * 16 * D;
  b.cache.assign(isF32 ? cacheValues : cacheValues / 2, isF32 ? Poison : 0x7e017c00u); // NaN, infinity
  auto put = [&](size_t index, float value) {
    if (isF32) {
      b.cache[index] = std::bit_cast<uint32_t>(value);
    } else {
      uint32_t shift = 16 * (index % 2);
      b.cache[index / 2] = (b.cache[index / 2] & ~(0xffffu << shift)) | uint32_t(floatToHalf(value)) << shift;
    }
  };
  std::vector<std::vector<float>> keys(rowCount), values(rowCount); // [token][kv head][head]
  for (uint32_t row = 0; row < rowCount; ++row)
    for (uint32_t token = 0; token <= positions[row]; ++token)
      for (uint32_t h = 0; h < kvHeads; ++h) {
        uint32_t page = b.pages[b.rows[row * 4 + 2] + token / 16];
        size_t base = size_t(page * kvHeads + h) * 2 * 16 * D;
        for (uint32_t d = 0; d < D; ++d) {
          float key = d < head ? stored(random.uniform(), isF32) : 0.0f,
                value = d < head ? stored(random.uniform(), isF32) : 0.0f;
          put(base + (d / c * 16 + token % 16) * c + d % c, key);
          put(base + 16 * D + token % 16 * D + d, value);
          if (d < head) {
            keys[row].push_back(key);
            values[row].push_back(value);
          }
        }
      }
  b.y = poisoned(rowCount * b.yStride);
  const uint32_t parts = qHeads / variant.heads;
  std::optional<Stacks> stacks;
  if (variant.segments != 0)
    stacks.emplace(b, random, qHeads * head, parts);
  variant.run(b);
  expectNoFaults();
  if (stacks)
    stacks->check(b, qHeads * head, parts);

  for (uint32_t row = 0; row < rowCount; ++row) {
    for (uint32_t h = 0; h < qHeads; ++h) {
      const float *q = &b.q[row * b.qStride + h * qHead];
      std::vector<double> weights;
      double largest = -1e300, total = 0.0;
      for (uint32_t token = 0; token <= positions[row]; ++token) {
        double score = 0.0;
        for (uint32_t d = 0; d < head; ++d)
          score += double(q[d]) * keys[row][(token * kvHeads + h / group) * head + d];
        weights.push_back(score * b.scale);
        largest = std::max(largest, weights.back());
      }
      for (double &weight : weights)
        total += weight = std::exp(weight - largest);
      for (uint32_t d = 0; d < head; ++d) {
        double want = 0.0;
        for (uint32_t token = 0; token <= positions[row]; ++token)
          want += weights[token] / total * values[row][(token * kvHeads + h / group) * head + d];
        float got = b.y[row * b.yStride + h * head + d];
        ASSERT_NEAR(got, want, 3e-6) << "row " << row << " head " << h << " dimension " << d;
      }
    }
    for (uint32_t i = qHeads * head; i < b.yStride; ++i)
      EXPECT_TRUE(isPoison(b.y[row * b.yStride + i]));
  }
}

TEST(AttendKernel, MatchesFloat64) {
  const std::vector<uint32_t> positions = {0, 7, 8, 15, 16, 17, 33, 50};
  check("half18", half18::variant, positions);
  check("half64", half64::variant, positions);
  check("half64nosubgroup", half64nosubgroup::variant, positions);
  check("half16lanes1", half16lanes1::variant, positions);
  check("half32lanes32", half32lanes32::variant, positions);
  check("float18", float18::variant, positions);
  check("float64lanes16", float64lanes16::variant, positions);
  check("half160", half160::variant, {0, 21});
}
TEST(AttendKernel, TakesShrinkAlong) {
  const std::vector<uint32_t> positions = {0, 7, 8, 33, 50};
  check("shrinksFloat64", shrinksFloat64::variant, positions);
  check("shrinksHalf64", shrinksHalf64::variant, positions);
  check("shrinksHalf32nosubgroup", shrinksHalf32nosubgroup::variant, positions);
  check("shrinksFloat32lanes1", shrinksFloat32lanes1::variant, positions);
  check("shrinksFloat64lanes16", shrinksFloat64lanes16::variant, positions);
}

} // namespace
} // namespace lorac::shader
