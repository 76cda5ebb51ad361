// linear.cpp - every variant of a case against float64, and bit for bit against each other: blocking, lanes,
// subgroups and the tail loop only choose which chains run side by side.
#include "tests/shaders/LinearCase.h"

namespace lorac::shader {
namespace {

// ---- f16, nothing but the sum
#define VARIANT plain_r1_t4
#define TAIL 0
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r1_t4_tail
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r8_t2_tail
#define ROWS 8
#define TILES 2
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r8_t2_nosubgroup
#define SUBGROUP 0
#define ROWS 8
#define TILES 2
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r3_t5_lanes1
#define LANES 1
#define ROWS 3
#define TILES 5
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r2_t3_notail
#define ROWS 2
#define TILES 3
#define TAIL 0
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r1_t1_lanes16
#define LANES 16
#define TILES 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT plain_r1_t8
#define TILES 8
#include "tests/shaders/LinearVariant.inc"
// ---- f32
#define VARIANT wide_r1_t4
#define WEIGHT 0
#include "tests/shaders/LinearVariant.inc"
#define VARIANT wide_r8_t2
#define WEIGHT 0
#define ROWS 8
#define TILES 2
#include "tests/shaders/LinearVariant.inc"
#define VARIANT wide_r1_t4_notail
#define WEIGHT 0
#define TAIL 0
#include "tests/shaders/LinearVariant.inc"
#define VARIANT wide_r4_t4_lanes1
#define WEIGHT 0
#define LANES 1
#define ROWS 4
#include "tests/shaders/LinearVariant.inc"
// ---- f16 with everything: bias, both operands, adapters
#define VARIANT full_r1_t4
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT full_r8_t2
#define ROWS 8
#define TILES 2
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT full_r8_t2_nosubgroup
#define SUBGROUP 0
#define ROWS 8
#define TILES 2
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT full_r4_t8_lanes1
#define LANES 1
#define ROWS 4
#define TILES 8
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT full_r1_t4_off
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT full_r8_t2_off
#define ROWS 8
#define TILES 2
#define HAS_BIAS 1
#define HAS_OPERAND0 1
#define HAS_OPERAND1 1
#include "tests/shaders/LinearVariant.inc"
// ---- two segments combined
#define VARIANT pair_r1_t2
#define TILES 2
#define COMBINE 2
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT pair_r8_t1
#define ROWS 8
#define TILES 1
#define COMBINE 2
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT pair_r2_t4_lanes1
#define LANES 1
#define ROWS 2
#define COMBINE 2
#define HAS_BIAS 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT pair_r1_t2_off
#define TILES 2
#define COMBINE 2
#define HAS_BIAS 1
#include "tests/shaders/LinearVariant.inc"
// ---- f32 pair with operand 1 alone
#define VARIANT widePair_r1_t2
#define TILES 2
#define WEIGHT 0
#define COMBINE 2
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT widePair_r3_t1
#define ROWS 3
#define TILES 1
#define WEIGHT 0
#define COMBINE 2
#define HAS_OPERAND1 1
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
// ---- t in three parts
#define VARIANT parted_r1_t4
#define ADAPTERS 1
#define T_PARTS 3
#include "tests/shaders/LinearVariant.inc"
#define VARIANT parted_r8_t2
#define ROWS 8
#define TILES 2
#define ADAPTERS 1
#define T_PARTS 3
#include "tests/shaders/LinearVariant.inc"
#define VARIANT whole_r1_t4
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
// ---- x holds the rows whose logits are asked for
#define VARIANT gathered_r1_t4
#define ADAPTERS 1
#define GATHERED 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT gathered_r8_t2
#define ROWS 8
#define TILES 2
#define ADAPTERS 1
#define GATHERED 1
#include "tests/shaders/LinearVariant.inc"

/// What to build: outputs by segment, and which features the variants of the case have.
struct Shape {
  uint32_t rows, in;
  std::vector<uint32_t> outs;
  bool isF32 = false, combine = false, bias = false, operand0 = false, operand1 = false, adapters = false,
       gathered = false;
};
std::ostream &operator<<(std::ostream &stream, const Shape &shape) {
  stream << shape.rows << " rows, K " << shape.in << ", outputs";
  for (uint32_t out : shape.outs)
    stream << " " << out;
  return stream;
}

/// A case with its float64 result and what error f32 may make of it.
struct Case {
  LinearBuffers buffers;
  std::vector<double> want; ///< [row][tiles * 8]
  std::vector<double> bound;
  std::vector<bool> counts;   ///< false for padding rows of the weight
  std::vector<bool> emptyRow; ///< its stack is empty
};

Case build(const Shape &shape, uint64_t seed) {
  Random random(seed);
  Case made;
  LinearBuffers &b = made.buffers;
  uint32_t segmentCount = uint32_t(shape.outs.size());
  std::vector<uint32_t> starts;
  uint32_t joinedTiles = 0;
  for (uint32_t out : shape.outs) {
    joinedTiles = roundUp(joinedTiles, 4);
    starts.push_back(joinedTiles);
    joinedTiles += ceilDiv(out, 8);
  }
  b.rows = shape.rows;
  b.inFeatures = shape.in;
  b.xStride = roundUp(shape.in, 32);
  b.tiles = shape.combine ? ceilDiv(shape.outs[0], 8) : joinedTiles;
  b.yStride = roundUp(b.tiles * 8, 32);
  for (uint32_t s = 1; s < segmentCount; ++s)
    b.segments[s - 1] = starts[s];

  std::vector<float> x = random.uniforms(size_t(shape.rows) * shape.in);
  b.x = strided(x, shape.rows, shape.in, b.xStride);
  std::vector<float> w(size_t(joinedTiles) * 8 * shape.in, 0.0f);
  if (shape.bias)
    b.bias.assign(size_t(joinedTiles) * 8, 0.0f);
  for (uint32_t s = 0; s < segmentCount; ++s)
    for (uint32_t o = 0; o < shape.outs[s]; ++o) {
      for (uint32_t k = 0; k < shape.in; ++k)
        w[size_t(starts[s] * 8 + o) * shape.in + k] = stored(random.uniform(), shape.isF32);
      if (shape.bias)
        b.bias[starts[s] * 8 + o] = random.uniform();
    }
  b.weight = tiled(w, joinedTiles * 8, shape.in, shape.isF32);
  size_t ySize = size_t(shape.rows) * b.yStride;
  if (shape.operand0)
    b.operand0 = random.uniforms(ySize);
  if (shape.operand1)
    b.operand1 = random.uniforms(ySize);
  b.y = poisoned(ySize);

  // Adapters: slots of several ranks, types and shapes; site 0 belongs to another layer, the last segment may
  // be closed (null record).
  std::vector<std::vector<SitePart>> slots;
  std::vector<uint32_t> slotBases;
  Pool pool;
  uint32_t stepRows = shape.gathered ? shape.rows + 3 : shape.rows;
  std::vector<uint32_t> stepRowOf(shape.rows);
  for (uint32_t row = 0; row < shape.rows; ++row)
    stepRowOf[row] = shape.gathered ? row + (row > 0) + 2 * (row > 2) : row; // ascending, with gaps
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> stackOf(stepRows); // (slot, first item)
  if (shape.adapters) {
    std::vector<uint32_t> siteIn{16}, siteOut{16};
    for (uint32_t s = 0; s < segmentCount; ++s) {
      siteIn.push_back(shape.in);
      siteOut.push_back(shape.outs[s]);
      b.sites[s] = s + 1;
    }
    struct Kind {
      uint32_t rank;
      bool bias, isF32;
    };
    const Kind kinds[] = {
        {1, false, false}, {8, true, true}, {5, true, false}, {70, false, false}, {16, false, true}};
    for (const Kind &kind : kinds) {
      std::vector<SitePart> parts{randomPart(random, 3, false, false, 16, 16)};
      for (uint32_t s = 0; s < segmentCount; ++s)
        parts.push_back(randomPart(random, (slots.size() == 1 && s == 1) ? 0 : kind.rank, kind.bias,
                                   kind.isF32, shape.in, shape.outs[s]));
      slotBases.push_back(pool.add(parts, siteIn, siteOut));
      slots.push_back(std::move(parts));
    }
    if (segmentCount == 3)
      b.sites[1] = segmentCount + 1; // the null record: closed to adapters
    uint32_t float32 = 0;
    for (uint32_t row = 0; row < stepRows; ++row) {
      uint32_t depth = row % 3 == 1 ? 0 : row % 4 + 1;
      const uint32_t firstItem = b.items;
      for (uint32_t e = 0; e < depth; ++e) {
        uint32_t slot = (row + 2 * e) % uint32_t(slots.size());
        stackOf[row].push_back({slot, b.items});
        float32 |= kinds[slot].isF32 ? step::StepFloat32Bit : 0;
        uint32_t tiles = 0; // of the slot's largest site
        for (const SitePart &part : slots[slot])
          tiles = std::max(tiles, part.tiles());
        for (uint32_t tile = 0; tile < tiles; ++tile, ++b.items)
          b.itemTable.insert(b.itemTable.end(),
                             {row, slotBases[slot], tile | (tiles << step::EntryTilesShift), Poison});
      }
      b.stacks.insert(b.stacks.end(), {Poison, depth, firstItem, b.items - firstItem});
    }
    for (uint32_t row = 0; row < stepRows; ++row)
      b.stacks[row * 4 + 3] |= float32;
    b.pool = pool.words;
    b.t = poisoned(size_t(segmentCount) * b.items * 8);
    for (uint32_t row = 0; row < stepRows; ++row)
      for (auto [slot, firstItem] : stackOf[row])
        for (uint32_t s = 0; s < segmentCount; ++s)
          for (uint32_t r = 0; r < slots[slot][s + 1].tiles() * 8; ++r)
            b.t[(size_t(s) * b.items + firstItem) * 8 + r] = random.uniform();
  }
  for (uint32_t row = 0; row < shape.rows; ++row)
    b.outs.insert(b.outs.end(), {stepRowOf[row], 0, 0, 0});

  // Sum, and the sum of magnitudes, of output `o` of segment `s`.
  auto linear = [&](uint32_t row, uint32_t s, uint32_t o) {
    double sum = 0.0, size = 0.0;
    auto add = [&](double term) {
      sum += term;
      size += std::abs(term);
    };
    for (uint32_t k = 0; k < shape.in; ++k)
      add(double(x[size_t(row) * shape.in + k]) * w[size_t(starts[s] * 8 + o) * shape.in + k]);
    if (shape.bias)
      add(b.bias[starts[s] * 8 + o]);
    if (o < shape.outs[s] && (shape.adapters && b.sites[s] == s + 1))
      for (auto [slot, firstItem] : stackOf[stepRowOf[row]]) {
        const SitePart &part = slots[slot][s + 1];
        for (uint32_t r = 0; part.rank != 0 && r < part.ranks(); ++r)
          add(double(b.t[(size_t(s) * b.items + firstItem) * 8 + r]) * part.b[size_t(o) * part.ranks() + r]);
      }
    return std::pair(sum, size);
  };
  size_t width = size_t(b.tiles) * 8;
  made.want.resize(shape.rows * width);
  made.bound.resize(shape.rows * width);
  made.counts.resize(width, false);
  for (uint32_t row = 0; row < shape.rows; ++row) {
    made.emptyRow.push_back(stackOf[stepRowOf[row]].empty());
    for (uint32_t s = 0; s < (shape.combine ? 1u : segmentCount); ++s)
      for (uint32_t o = 0; o < shape.outs[s]; ++o) {
        uint32_t column = starts[s] * 8 + o;
        made.counts[column] = true;
        auto [value, size] = linear(row, s, o);
        if (shape.combine) {
          auto [other, otherSize] = linear(row, 1, o);
          size = size * (std::abs(other) + 1.0) + otherSize * (std::abs(value) + 1.0);
          value = value / (1.0 + std::exp(-value)) * other;
        }
        double o0 = shape.operand0 ? b.operand0[row * b.yStride + column] : 0.0;
        double o1 = shape.operand1 ? b.operand1[row * b.yStride + column] : 0.0;
        made.want[row * width + column] = value + o0 - 2.0 * o1;
        made.bound[row * width + column] = 1e-6 * (size + 3.0);
      }
  }
  return made;
}

/// Runs the variant on a fresh y and gives it.
std::vector<float> runVariant(const LinearVariant &variant, Case &made) {
  made.buffers.y = poisoned(made.buffers.y.size());
  variant.run(made.buffers);
  return made.buffers.y;
}

void expectMatches(const Case &made, const std::vector<float> &y) {
  const LinearBuffers &b = made.buffers;
  size_t width = size_t(b.tiles) * 8;
  int reported = 0;
  for (uint32_t row = 0; row < b.rows && reported < 5; ++row)
    for (uint32_t column = 0; column < b.yStride && reported < 5; ++column) {
      float got = y[size_t(row) * b.yStride + column];
      if (column >= width) {
        reported += !isPoison(got);
        EXPECT_TRUE(isPoison(got)) << "row " << row << " column " << column << " is beyond the tiles";
      } else if (made.counts[column]) {
        double want = made.want[row * width + column], bound = made.bound[row * width + column];
        bool near = std::abs(got - want) <= bound; // false for NaN
        reported += !near;
        EXPECT_TRUE(near) << "row " << row << " column " << column << ": " << got << ", expected " << want
                          << " +- " << bound;
      }
    }
}

bool sameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// The same in windows of `most` tiles, each with views that begin where it does.
std::vector<float> runWindows(const LinearVariant &variant, const Case &made, uint32_t most) {
  const LinearBuffers &whole = made.buffers;
  const size_t tileWords = whole.weight.size() / whole.tiles;
  std::vector<float> y = poisoned(whole.y.size());
  for (uint32_t first = 0; first < whole.tiles; first += most) {
    LinearBuffers part = whole;
    part.firstTile = first;
    part.tiles = std::min(most, whole.tiles - first);
    part.weight.assign(whole.weight.begin() + long(first * tileWords),
                       whole.weight.begin() + long((first + part.tiles) * tileWords));
    for (std::vector<float> *values : {&part.bias, &part.operand0, &part.operand1})
      if (!values->empty())
        values->erase(values->begin(), values->begin() + long(first * 8));
    part.y.assign(y.begin() + long(first * 8), y.end());
    variant.run(part);
    std::copy(part.y.begin(), part.y.end(), y.begin() + long(first * 8));
  }
  return y;
}

/// All variants on all shapes; of one shape all give the same bits.
void checkAll(const std::vector<const LinearVariant *> &variants, const std::vector<Shape> &shapes) {
  for (const Shape &shape : shapes) {
    SCOPED_TRACE(testing::Message() << shape);
    Case made = build(shape, shape.in * 100 + shape.rows);
    std::vector<float> first;
    for (const LinearVariant *variant : variants) {
      if (!variant->tail && shape.in % 32 != 0)
        continue;
      SCOPED_TRACE(variant->name);
      ASSERT_EQ(variant->isF32, shape.isF32);
      ASSERT_EQ(variant->combine, shape.combine ? 2u : 1u);
      ASSERT_EQ(variant->bias, shape.bias);
      ASSERT_EQ(variant->operand0, shape.operand0);
      ASSERT_EQ(variant->operand1, shape.operand1);
      ASSERT_EQ(variant->adapters, shape.adapters);
      ASSERT_EQ(variant->gathered, shape.gathered);
      std::vector<float> y = runVariant(*variant, made);
      expectNoFaults();
      expectMatches(made, y);
      if (first.empty())
        first = y;
      EXPECT_TRUE(sameBits(first, y)) << "bits differ from the first variant's";
    }
  }
}

TEST(LinearKernel, F16AnyBlocking) {
  checkAll({&plain_r1_t4::variant, &plain_r1_t4_tail::variant, &plain_r8_t2_tail::variant,
            &plain_r8_t2_nosubgroup::variant, &plain_r3_t5_lanes1::variant, &plain_r2_t3_notail::variant,
            &plain_r1_t1_lanes16::variant, &plain_r1_t8::variant},
           {{1, 64, {40}},
            {9, 64, {72}},
            {5, 72, {33}},
            {2, 200, {24}},
            {8, 8, {8}},
            {3, 33, {64, 40}},
            {1, 35, {5}}});
}

TEST(LinearKernel, AddsThePartsOfT) {
  Shape shape = {9, 64, {72}};
  shape.adapters = true;
  Case made = build(shape, 5);
  const std::vector<float> want = runVariant(whole_r1_t4::variant, made);
  expectMatches(made, want);
  // Multiples of 2^-23 below 2: halves and quarters of them, and what they add up to, are exact.
  const std::vector<float> t = made.buffers.t;
  made.buffers.t.clear();
  for (float share : {0.5f, 0.25f, 0.25f})
    for (float value : t)
      made.buffers.t.push_back(isPoison(value) ? value : share * value);
  for (const LinearVariant *variant : {&parted_r1_t4::variant, &parted_r8_t2::variant})
    EXPECT_TRUE(sameBits(runVariant(*variant, made), want)) << variant->name;
  expectNoFaults();
}

TEST(LinearKernel, F32AnyBlocking) {
  checkAll(
      {&wide_r1_t4::variant, &wide_r8_t2::variant, &wide_r1_t4_notail::variant, &wide_r4_t4_lanes1::variant},
      {{1, 64, {40}, true},
       {9, 72, {72}, true},
       {4, 200, {9}, true},
       {7, 8, {8}, true},
       {3, 33, {64, 40}, true},
       {2, 37, {16}, true}});
}

TEST(LinearKernel, BiasOperandsAndAdapters) {
  std::vector<Shape> shapes = {{1, 72, {40}}, {9, 64, {64, 32, 40}}, {6, 33, {32, 16}}, {4, 8, {8}}};
  for (Shape &shape : shapes)
    shape.bias = shape.operand0 = shape.operand1 = shape.adapters = true;
  checkAll({&full_r1_t4::variant, &full_r8_t2::variant, &full_r8_t2_nosubgroup::variant,
            &full_r4_t8_lanes1::variant},
           shapes);
}

TEST(LinearKernel, TwoSegmentsCombined) {
  std::vector<Shape> shapes = {{1, 72, {40, 40}}, {9, 64, {32, 32}}, {3, 33, {17, 17}}};
  for (Shape &shape : shapes)
    shape.combine = shape.bias = shape.adapters = true;
  checkAll({&pair_r1_t2::variant, &pair_r8_t1::variant, &pair_r2_t4_lanes1::variant}, shapes);
  for (Shape &shape : shapes) {
    shape.bias = false;
    shape.isF32 = shape.operand1 = true;
  }
  checkAll({&widePair_r1_t2::variant, &widePair_r3_t1::variant}, shapes);
}

TEST(LinearKernel, WindowsGiveTheSameBits) {
  for (bool adapters : {false, true}) {
    Shape shape{9, 72, {64, 32, 104}}; // windows of 8 tiles end in the gap before segment 2 and within it
    shape.bias = shape.operand0 = shape.operand1 = true;
    shape.adapters = adapters;
    Case made = build(shape, 11);
    for (const LinearVariant *variant : {adapters ? &full_r1_t4::variant : &full_r1_t4_off::variant,
                                         adapters ? &full_r8_t2::variant : &full_r8_t2_off::variant}) {
      SCOPED_TRACE(variant->name);
      std::vector<float> whole = runVariant(*variant, made);
      for (uint32_t most : {4u, 8u, 16u})
        EXPECT_TRUE(sameBits(whole, runWindows(*variant, made, most))) << most << " tiles a window";
      expectNoFaults();
      expectMatches(made, whole);
    }
  }
}

TEST(LinearKernel, GatheredRowsHaveTheirOwnStacks) {
  std::vector<Shape> shapes = {{1, 72, {40}}, {9, 64, {72}}};
  for (Shape &shape : shapes)
    shape.adapters = shape.gathered = true;
  checkAll({&gathered_r1_t4::variant, &gathered_r8_t2::variant}, shapes);
}

/// A row without adapters has the bits of the program that knows none, whoever its neighbours are.
void checkEmptyRows(const LinearVariant &on, const LinearVariant &off, Shape shape) {
  SCOPED_TRACE(on.name);
  shape.adapters = true;
  Case made = build(shape, 5);
  std::vector<float> with = runVariant(on, made), without = runVariant(off, made);
  expectNoFaults();
  uint32_t stride = made.buffers.yStride;
  int empty = 0, stacked = 0;
  for (uint32_t row = 0; row < shape.rows; ++row) {
    bool same = std::memcmp(&with[row * stride], &without[row * stride], stride * sizeof(float)) == 0;
    EXPECT_EQ(same, bool(made.emptyRow[row])) << "row " << row;
    (made.emptyRow[row] ? empty : stacked) += 1;
  }
  EXPECT_GT(empty, 0);
  EXPECT_GT(stacked, 0);
}

TEST(LinearKernel, EmptyStacksGiveTheBaseBitForBit) {
  Shape full{9, 72, {40, 24}};
  full.bias = full.operand0 = full.operand1 = true;
  checkEmptyRows(full_r1_t4::variant, full_r1_t4_off::variant, full);
  checkEmptyRows(full_r8_t2::variant, full_r8_t2_off::variant, full);
  checkEmptyRows(full_r8_t2::variant, full_r1_t4_off::variant, full);
  Shape pair{9, 72, {40, 40}};
  pair.combine = pair.bias = true;
  checkEmptyRows(pair_r1_t2::variant, pair_r1_t2_off::variant, pair);
  checkEmptyRows(pair_r8_t1::variant, pair_r1_t2_off::variant, pair);
}

TEST(LinearKernel, InfiniteWeightsStayInTheirRow) {
  Case made = build({2, 72, {16}}, 3);
  made.buffers.weight[0] = 0x7c007c00u; // row 0, k 0 and 1
  std::vector<float> y = runVariant(plain_r1_t4_tail::variant, made);
  expectNoFaults();
  EXPECT_FALSE(std::isfinite(y[0]));
  for (uint32_t column = 1; column < 16; ++column)
    EXPECT_TRUE(std::isfinite(y[column])) << column;
}

} // namespace
} // namespace lorac::shader
