// packed.cpp - linear and embed for every packed type: the values are the definition's, bit for bit, sums are
// right to f32, and a row's bits do not depend on the blocking.
#include "tests/shaders/Packed.h"
#include "tests/shaders/LinearCase.h"

namespace lorac::shader {
namespace {

struct PackedKernels {
  PackedType type;
  std::vector<const LinearVariant *> variants, combined;
  void (*runEmbed)(PackedMatrix &table, std::vector<uint32_t> &records, std::vector<float> &y, uint32_t lanes,
                   uint32_t firstRow, uint32_t tableRows);
};

#define TYPE bf16
#define WEIGHT 2
#include "tests/shaders/PackedVariants.inc"
#define TYPE int8Row
#define WEIGHT 3
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE int8
#define WEIGHT 3
#define GROUP 32
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE int8Wide
#define WEIGHT 3
#define GROUP 64
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE int4
#define WEIGHT 4
#define GROUP 32
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE int4Wide
#define WEIGHT 4
#define GROUP 128
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE offset
#define WEIGHT 4
#define GROUP 32
#define HAS_PAIRS 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE offsetWide
#define WEIGHT 4
#define GROUP 64
#define HAS_PAIRS 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE zero
#define WEIGHT 4
#define GROUP 32
#define HAS_PAIRS 1
#define ZERO_POINT 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE nf4
#define WEIGHT 5
#define GROUP 64
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE fp4
#define WEIGHT 6
#define GROUP 32
#define HAS_SCALES 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE nf4Double
#define WEIGHT 5
#define GROUP 32
#define HAS_SCALES 1
#define NESTED 1
#include "tests/shaders/PackedVariants.inc"
#define TYPE fp4Double
#define WEIGHT 6
#define GROUP 64
#define HAS_SCALES 1
#define NESTED 1
#include "tests/shaders/PackedVariants.inc"

struct Named {
  const char *name;
  const PackedKernels *kernels;
};
const Named All[] = {
    {"bf16", &bf16::kernels},
    {"int8Row", &int8Row::kernels},
    {"int8", &int8::kernels},
    {"int8Wide", &int8Wide::kernels},
    {"int4", &int4::kernels},
    {"int4Wide", &int4Wide::kernels},
    {"offset", &offset::kernels},
    {"offsetWide", &offsetWide::kernels},
    {"zero", &zero::kernels},
    {"nf4", &nf4::kernels},
    {"fp4", &fp4::kernels},
    {"nf4Double", &nf4Double::kernels},
    {"fp4Double", &fp4Double::kernels},
};

/// What the kernel binds for this matrix; x and y as given.
LinearBuffers buffersOf(const PackedMatrix &w, bool combine, const std::vector<float> &x, uint32_t rows) {
  LinearBuffers b;
  b.weight = w.codes;
  b.scales = w.scales;
  b.pairs = w.pairs;
  b.nested = w.nested;
  b.map = w.map;
  b.rows = rows;
  b.inFeatures = w.k;
  b.xStride = roundUp(w.k, 32);
  b.x = strided(x, rows, w.k, b.xStride);
  for (size_t s = 1; s < w.starts.size(); ++s)
    b.segments[s - 1] = w.starts[s] / 8;
  b.tiles = combine ? (w.rows - w.starts[1]) / 8 : w.rows / 8;
  b.yStride = roundUp(b.tiles * 8, 32);
  b.y = poisoned(size_t(rows) * b.yStride);
  return b;
}

std::vector<float> run(const LinearVariant &variant, LinearBuffers buffers) {
  variant.run(buffers);
  return buffers.y;
}

/// Shapes that the type can have: odd numbers of groups, several segments, cut pieces where there are no
/// groups.
struct Shape {
  uint32_t rows, k;
  std::vector<uint32_t> starts;
  uint32_t weightRows;
};
std::vector<Shape> shapesOf(const PackedType &type) {
  const uint32_t g = type.group == 0 ? 32 : type.group;
  std::vector<Shape> shapes = {{1, g, {0}, 8}, {9, 3 * g, {0, 32, 64}, 104}, {2, 2 * g, {0}, 40}};
  if (type.group == 0)
    shapes.insert(shapes.end(), {{3, 45, {0}, 16}, {8, 33, {0, 32}, 72}, {1, 7, {0}, 8}});
  if (type.nested) // ends within four groups whose codes are one load; rows begin within 256 blocks
    shapes.push_back({2, 21 * g, {0}, 16});
  return shapes;
}

class Packed : public testing::TestWithParam<Named> {};
INSTANTIATE_TEST_SUITE_P(Types, Packed, testing::ValuesIn(All),
                         [](const auto &info) { return std::string(info.param.name); });

TEST_P(Packed, LinearIsRightInAnyBlocking) {
  const PackedKernels &kernels = *GetParam().kernels;
  for (const Shape &shape : shapesOf(kernels.type)) {
    SCOPED_TRACE(testing::Message() << shape.rows << " rows, K " << shape.k << ", " << shape.weightRows
                                    << " outputs");
    Random random(shape.k);
    const PackedMatrix w = randomPacked(kernels.type, shape.weightRows, shape.k, random, shape.starts);
    const std::vector<float> x = random.uniforms(size_t(shape.rows) * shape.k);
    const LinearBuffers buffers = buffersOf(w, false, x, shape.rows);
    std::vector<float> first;
    for (const LinearVariant *variant : kernels.variants) {
      SCOPED_TRACE(variant->name);
      const std::vector<float> y = run(*variant, buffers);
      expectNoFaults();
      if (first.empty())
        first = y;
      EXPECT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(float)), 0)
          << "bits differ from the first variant's";
    }
    for (uint32_t row = 0; row < shape.rows; ++row)
      for (uint32_t o = 0; o < w.rows; ++o) {
        double want = 0.0, size = 0.0;
        for (uint32_t k = 0; k < shape.k; ++k) {
          const double value = double(x[row * shape.k + k]);
          want += value * w.value(o, k);
          // The sums that the kernel makes of an offset or a zero point are of larger terms.
          size += std::abs(value) * (std::abs(w.value(o, k)) + (kernels.type.hasPairs ? 17.0 : 0.0));
        }
        ASSERT_NEAR(first[row * buffers.yStride + o], want, 1e-6 * size) << "row " << row << " output " << o;
      }
  }
}

TEST_P(Packed, UnitVectorsGiveTheDefinedValues) {
  const PackedKernels &kernels = *GetParam().kernels;
  for (const Shape &shape : shapesOf(kernels.type)) {
    SCOPED_TRACE(testing::Message() << "K " << shape.k);
    Random random(shape.k + 1);
    const PackedMatrix w = randomPacked(kernels.type, shape.weightRows, shape.k, random, shape.starts);
    for (const LinearVariant *variant : kernels.variants) {
      SCOPED_TRACE(variant->name);
      // One lane: every column. More: some, since fibers that exchange values take their time.
      const uint32_t step = variant->lanes == 1 ? 1 : 29, rows = ceilDiv(shape.k, step);
      std::vector<float> x(size_t(rows) * shape.k, 0.0f);
      for (uint32_t row = 0; row < rows; ++row)
        x[row * shape.k + row * step] = 1.0f;
      const LinearBuffers buffers = buffersOf(w, false, x, rows);
      const std::vector<float> y = run(*variant, buffers);
      expectNoFaults();
      for (uint32_t row = 0; row < rows; ++row)
        for (uint32_t o = 0; o < w.rows; ++o)
          ASSERT_EQ(y[row * buffers.yStride + o], w.value(o, row * step))
              << "output " << o << " k " << row * step;
    }
  }
}

TEST_P(Packed, CombinedSegmentsHaveTheirOwnScales) {
  const PackedKernels &kernels = *GetParam().kernels;
  const uint32_t k = kernels.type.group == 0 ? 40 : 3 * kernels.type.group, rows = 9;
  Random random(k + 2);
  const PackedMatrix w =
      randomPacked(kernels.type, 64 + 40, k, random, {0, 64}); // segment 0 has 40 rows, then a gap
  const std::vector<float> x = random.uniforms(size_t(rows) * k);
  const LinearBuffers buffers = buffersOf(w, true, x, rows);
  std::vector<float> first;
  for (const LinearVariant *variant : kernels.combined) {
    SCOPED_TRACE(variant->name);
    const std::vector<float> y = run(*variant, buffers);
    expectNoFaults();
    if (first.empty())
      first = y;
    EXPECT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(float)), 0)
        << "bits differ from the first variant's";
  }
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t o = 0; o < 40; ++o) {
      double sums[2] = {0.0, 0.0}, sizes[2] = {0.0, 0.0};
      for (uint32_t s = 0; s < 2; ++s)
        for (uint32_t i = 0; i < k; ++i) {
          const double value = double(x[row * k + i]);
          sums[s] += value * w.value(s * 64 + o, i);
          sizes[s] +=
              std::abs(value) * (std::abs(w.value(s * 64 + o, i)) + (kernels.type.hasPairs ? 17.0 : 0.0));
        }
      const double want = sums[0] / (1.0 + std::exp(-sums[0])) * sums[1];
      ASSERT_NEAR(first[row * buffers.yStride + o], want,
                  1e-6 * (sizes[0] * (std::abs(sums[1]) + 1.0) + sizes[1] * (std::abs(sums[0]) + 1.0) + 3.0))
          << "row " << row << " output " << o;
    }
}

TEST_P(Packed, WindowsGiveTheSameBits) {
  const PackedKernels &kernels = *GetParam().kernels;
  const uint32_t k = kernels.type.group == 0 ? 40 : 3 * kernels.type.group, most = 8;
  Random random(k + 3);
  const PackedMatrix w =
      randomPacked(kernels.type, 136, k, random, {0, 32, 96}); // a window ends within segment 1
  const std::vector<float> x = random.uniforms(k);
  const LinearBuffers buffers = buffersOf(w, false, x, 1);
  const std::vector<float> whole = run(*kernels.variants[0], buffers);
  const size_t tiles = w.rows / 8;
  for (uint32_t first = 0; first < tiles; first += most) {
    LinearBuffers part = buffers;
    part.firstTile = first;
    part.tiles = std::min<uint32_t>(most, uint32_t(tiles) - first);
    auto cut = [&](auto &plane, size_t entries) {
      plane.erase(plane.begin(), plane.begin() + long(first * entries));
      plane.resize(part.tiles * entries);
    };
    cut(part.weight, w.codes.size() / tiles);
    cut(part.pairs, w.pairs.size() / tiles);
    cut(part.scales, w.scales.size() / tiles);
    const std::vector<float> y = run(*kernels.variants[0], part);
    expectNoFaults();
    EXPECT_EQ(std::memcmp(y.data(), whole.data() + first * 8, part.tiles * 32), 0)
        << "window at tile " << first;
  }
}

TEST_P(Packed, EmbedGivesTheDefinedValues) {
  const PackedKernels &kernels = *GetParam().kernels;
  for (const Shape &shape : shapesOf(kernels.type))
    for (uint32_t lanes : {1u, 8u}) {
      SCOPED_TRACE(testing::Message() << "K " << shape.k << ", " << lanes << " lanes");
      Random random(shape.k + 4);
      PackedMatrix w = randomPacked(kernels.type, 24, shape.k, random);
      const uint32_t tokens[] = {23, 0, 7, 8, 16, 23}, stride = roundUp(shape.k, 32);
      std::vector<uint32_t> records;
      for (uint32_t token : tokens)
        records.insert(records.end(), {token, 3, 0, 0});
      std::vector<float> y = poisoned(std::size(tokens) * stride);
      for (uint32_t firstRow : {8u, 0u, 16u}) // windows of 8 rows
        kernels.runEmbed(w, records, y, lanes, firstRow, 8);
      expectNoFaults();
      for (size_t row = 0; row < std::size(tokens); ++row)
        for (uint32_t k = 0; k < shape.k; ++k)
          ASSERT_EQ(y[row * stride + k], w.value(tokens[row], k)) << "token " << tokens[row] << " k " << k;
    }
}

TEST_P(Packed, ManyRandomBlocksAreExact) {
  const PackedKernels &kernels = *GetParam().kernels;
  const uint32_t g = kernels.type.group == 0 ? 32 : kernels.type.group, k = 8 * g, tokens = 1024;
  Random random(g);
  PackedMatrix w = randomPacked(kernels.type, tokens, k, random);
  std::vector<uint32_t> records;
  for (uint32_t token = 0; token < tokens; ++token)
    records.insert(records.end(), {token, 0, 0, 0});
  std::vector<float> y = poisoned(size_t(tokens) * k);
  kernels.runEmbed(w, records, y, 1, 0, tokens);
  expectNoFaults();
  for (uint32_t token = 0; token < tokens; ++token)
    for (uint32_t i = 0; i < k; ++i)
      ASSERT_EQ(y[size_t(token) * k + i], w.value(token, i)) << token << " " << i;
}

} // namespace
} // namespace lorac::shader
