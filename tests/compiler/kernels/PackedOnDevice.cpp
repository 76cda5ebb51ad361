// PackedOnDevice.cpp - linear and embed for packed types on the Vulkan device: the values are the
// definition's, bit for bit, and a row has the same bits in a block of 8 rows as alone. LORAC_TEST_BLOCKS
// sets how many random blocks a type embed decodes.
#include "bench/KernelRunner.h"
#include "bench/Random.h"
#include "tests/shaders/Packed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace lorac::bench {
namespace {

using shader::PackedMatrix;
using shader::PackedType;

class PackedOnDevice : public testing::TestWithParam<const char *> {
protected:
  static std::map<std::string, int64_t> constants(const PackedType &type) {
    return {{"WEIGHT", type.weight},      {"GROUP", type.group},          {"HAS_SCALES", type.hasScales},
            {"HAS_PAIRS", type.hasPairs}, {"ZERO_POINT", type.zeroPoint}, {"NESTED", type.nested}};
  }
  void addPlanes(const PackedMatrix &w, std::vector<KernelRunner::View> &views) {
    if (w.type.hasScales)
      views.push_back(runner.upload(w.scales));
    if (w.type.hasPairs)
      views.push_back(runner.upload(w.pairs));
    if (w.type.nested) {
      views.push_back(runner.upload(w.nested));
      views.push_back(runner.upload(w.map));
    }
  }
  /// y of `rows` rows of x, in blocks of `blockRows`.
  std::vector<float> linear(const PackedMatrix &w, const std::vector<float> &x, uint32_t blockRows,
                            uint32_t tiles) {
    KernelRequest request = {"linear", constants(w.type), {}};
    request.constants.insert({{"ROWS", blockRows},
                              {"TILES", tiles},
                              {"TAIL", w.type.tail(w.k)},
                              {"COMBINE", 1},
                              {"HAS_BIAS", 0},
                              {"HAS_OPERAND0", 0},
                              {"HAS_OPERAND1", 0},
                              {"ADAPTERS", 0},
                              {"GATHERED", 0},
                              {"T_PARTS", 1},
                              {"HEAD", 0}});
    const uint32_t rows = uint32_t(x.size() / w.k), none = ~0u;
    const KernelRunner::Buffer *y = runner.buffer(size_t(rows) * w.rows * 4);
    std::memset(y->data, 0xff, y->bytes);
    std::vector<KernelRunner::View> views = {runner.upload(w.codes), runner.upload(x), y};
    addPlanes(w, views);
    const KernelRunner::Dispatch dispatch = {
        runner.kernel(request, "texel"),
        views,
        {rows, w.k, w.k / 4, w.rows, w.rows / 8, none, none, none, 0, 0, 0, 0, 0, 0},
        (w.rows + 8 * tiles - 1) / (8 * tiles),
        (rows + blockRows - 1) / blockRows};
    runner.run(runner.record({&dispatch, 1}));
    std::vector<float> result(y->bytes / 4);
    std::memcpy(result.data(), y->data, y->bytes);
    return result;
  }

  KernelRunner runner;
  Random random{7};
};
INSTANTIATE_TEST_SUITE_P(Types, PackedOnDevice,
                         testing::Values("bf16", "int8-row", "int8", "int4", "int4-offset", "int4-zero",
                                         "nf4", "fp4", "nf4-double"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(PackedOnDevice, UnitVectorsGiveTheDefinedValuesInAnyBlock) {
  const PackedType &type = shader::packedType(GetParam());
  // NESTED: 21 groups, so that rows begin within 256 blocks and end within four groups.
  const uint32_t k = type.nested ? 21 * type.group : 192, outputs = 72;
  const PackedMatrix w = shader::randomPacked(type, outputs, k, random);
  std::vector<float> x(size_t(k) * k, 0.0f);
  for (uint32_t row = 0; row < k; ++row)
    x[row * k + row] = 1.0f;
  for (uint32_t row = k; row < k + 11; ++row) // and rows of any values
    for (uint32_t i = 0; i < k; ++i)
      x.push_back(float(int64_t(random.next() >> 40) - (1 << 23)) * 0x1p-23f);
  const std::vector<float> alone = linear(w, x, 1, 4), blocks = linear(w, x, 8, 4);
  for (uint32_t row = 0; row < k; ++row)
    for (uint32_t o = 0; o < outputs; ++o)
      ASSERT_EQ(alone[row * outputs + o], w.value(o, row)) << "output " << o << " k " << row;
  EXPECT_EQ(std::memcmp(alone.data(), blocks.data(), alone.size() * sizeof(float)), 0)
      << "a row's bits differ between blocks of 1 and of 8 rows";
}

TEST_P(PackedOnDevice, RandomBlocksAreExact) {
  const PackedType &type = shader::packedType(GetParam());
  const char *asked = std::getenv("LORAC_TEST_BLOCKS");
  const size_t blocks = asked ? std::strtoul(asked, nullptr, 10) : 32768;
  const uint32_t group = type.group == 0 ? 32 : type.group, k = 64 * group, rows = 512;
  const KernelRunner::Kernel *kernel = runner.kernel({"embed", constants(type), {}}, "texel");
  std::vector<uint32_t> records;
  for (uint32_t row = 0; row < rows; ++row)
    records.insert(records.end(), {row, 0, 0, 0});
  const KernelRunner::Buffer *y = runner.buffer(size_t(rows) * k * 4), *tokens = runner.upload(records);
  for (size_t done = 0; done < blocks; done += size_t(rows) * 64) {
    const PackedMatrix w = shader::randomPacked(type, rows, k, random);
    std::memset(y->data, 0xff, y->bytes);
    std::vector<KernelRunner::View> views = {runner.upload(w.codes), tokens, y};
    addPlanes(w, views);
    const KernelRunner::Dispatch dispatch = {kernel, views, {w.pieces(), k / 4, 0, rows}, 1, rows};
    runner.run(runner.record({&dispatch, 1}));
    const auto *got = reinterpret_cast<const float *>(y->data);
    for (uint32_t row = 0; row < rows; ++row)
      for (uint32_t i = 0; i < k; ++i)
        ASSERT_EQ(got[size_t(row) * k + i], w.value(row, i)) << "row " << row << " k " << i;
  }
}

} // namespace
} // namespace lorac::bench
