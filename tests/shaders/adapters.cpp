// adapters.cpp - shrink, then linear: y = W0 x + sum of c (B A x + b) over each row's stack, against float64.
#include "tests/shaders/LinearCase.h"
#include "tests/shaders/ShrinkCase.h"

namespace lorac::shader {
namespace {

#define VARIANT shrinkForm
#define LANES 8
#define SUBGROUP 1
#define GATHERED 0
#define SEGMENTS 2
#include "tests/shaders/ShrinkVariant.inc"
#define VARIANT one
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"
#define VARIANT eight
#define ROWS 8
#define TILES 2
#define ADAPTERS 1
#include "tests/shaders/LinearVariant.inc"

TEST(Adapters, ShrinkThenExpand) {
  const uint32_t in = 72, rows = 9, outs[] = {32, 24};
  Random random(11);
  std::vector<std::vector<SitePart>> slots;
  std::vector<uint32_t> bases;
  Pool pool;
  const uint32_t ranks[] = {1, 8, 70};
  for (uint32_t i = 0; i < 3; ++i) {
    slots.push_back({randomPart(random, ranks[i], i == 1, i == 2, in, outs[0]),
                     randomPart(random, i == 0 ? 0 : ranks[i], i == 1, i == 2, in, outs[1])});
    bases.push_back(pool.add(slots.back(), {in, in}, {outs[0], outs[1]}));
  }
  std::vector<float> x = random.uniforms(rows * in), w = random.uniforms((outs[0] + outs[1]) * in);
  for (float &value : w)
    value = stored(value, false);

  ShrinkBuffers shrink;
  LinearBuffers linear;
  shrink.inFeatures = linear.inFeatures = in;
  shrink.xStride = linear.xStride = roundUp(in, 32);
  shrink.x = linear.x = strided(x, rows, in, linear.xStride);
  shrink.pool = linear.pool = pool.words;
  shrink.sites[1] = linear.sites[1] = 1;
  linear.rows = rows;
  linear.weight = tiled(w, outs[0] + outs[1], in, false);
  linear.tiles = (outs[0] + outs[1]) / 8;
  linear.segments[0] = outs[0] / 8;
  linear.yStride = roundUp(linear.tiles * 8, 32);

  struct Entry {
    uint32_t slot;
    float strength;
  };
  std::vector<std::vector<Entry>> stacks = {
      {{0, 1.0f}}, {}, {{1, 0.5f}, {2, -1.25f}}, {{2, 1.0f}, {0, 2.0f}, {1, 1.0f}}};
  for (uint32_t row = 0; row < rows; ++row) {
    const std::vector<Entry> &stack = stacks[row % stacks.size()];
    uint32_t firstItem = linear.items;
    for (const Entry &entry : stack)
      for (uint32_t tile = 0; tile < slots[entry.slot][0].tiles(); ++tile, ++linear.items)
        shrink.table.insert(shrink.table.end(),
                            {row, bases[entry.slot],
                             tile | (slots[entry.slot][0].tiles() << step::EntryTilesShift),
                             std::bit_cast<uint32_t>(entry.strength)});
    linear.stacks.insert(linear.stacks.end(), {Poison, uint32_t(stack.size()), firstItem,
                                               (linear.items - firstItem) | step::StepFloat32Bit});
  }
  linear.itemTable = shrink.table;
  shrink.items = linear.items;
  shrink.t = poisoned(size_t(2) * shrink.items * 8);
  shrinkForm::run(shrink);
  linear.t = shrink.t;

  for (const LinearVariant *variant : {&one::variant, &eight::variant}) {
    SCOPED_TRACE(variant->name);
    linear.y = poisoned(size_t(rows) * linear.yStride);
    variant->run(linear);
    expectNoFaults();
    for (uint32_t row = 0; row < rows; ++row)
      for (uint32_t column = 0; column < outs[0] + outs[1]; ++column) {
        uint32_t site = column < outs[0] ? 0 : 1, o = column - site * outs[0];
        double want = 0.0, size = 0.0;
        auto add = [&](double term) {
          want += term;
          size += std::abs(term);
        };
        for (uint32_t k = 0; k < in; ++k)
          add(double(w[column * in + k]) * x[row * in + k]);
        for (const Entry &entry : stacks[row % stacks.size()]) {
          const SitePart &part = slots[entry.slot][site];
          double c = double(entry.strength) * part.scaling;
          for (uint32_t r = 0; part.rank != 0 && r < part.ranks(); ++r)
            for (uint32_t k = 0; k < in; ++k) {
              if (r < part.rank)
                add(c * part.b[o * part.ranks() + r] * part.a[r * in + k] * x[row * in + k]);
              else if (k == 0)
                add(c * part.b[o * part.ranks() + r]);
            }
        }
        EXPECT_NEAR(linear.y[row * linear.yStride + column], want, 1e-6 * size)
            << "row " << row << " column " << column;
      }
  }
}

} // namespace
} // namespace lorac::shader
