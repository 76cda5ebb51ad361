#include "compiler/packed/Storage.h"

#include <gtest/gtest.h>

namespace lorac::packed {
namespace {

TEST(Storage, GroupsLayersByRole) {
  const StoredMatrix matrices[] = {
      {"model.layers.0.q_proj.weight", "f32", true, *parse("int4"), 8, 32, 1, 4},
      {"model.layers.11.q_proj.weight", "f32", true, *parse("int4"), 8, 32, 3, 12},
      {"model.layers.1.q_proj.weight", "f32", true, *parse("f16"), 8, 32, 0, 0},
      {"lm_head.weight", "q8_0", true, *parse("int8"), 9, 32, 0, 0}};
  const std::vector<StorageRow> rows = storageTable(matrices);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].sites, "model.layers.0,11.q_proj"); // a role of two rows: which layers each has
  EXPECT_EQ(rows[0].matrices, 2u);
  EXPECT_EQ(rows[0].values, 512u);
  EXPECT_EQ(rows[0].bytes, 2 * 8 * (16 + 4u)); // one group, whose word of scales has room for two
  EXPECT_DOUBLE_EQ(rows[0].error, 0.5);        // sqrt((1 + 3) / (4 + 12))
  EXPECT_EQ(rows[1].sites, "model.layers.1.q_proj");
  EXPECT_EQ(rows[1].error, 0);
  EXPECT_EQ(rows[2].sites, "lm_head");
  EXPECT_EQ(rows[2].bytes, 16 * (32 + 4u)); // rows are padded to tiles
  EXPECT_DOUBLE_EQ(rows[2].bitsPerWeight, 16 * 36 * 8 / (9.0 * 32));
}

TEST(Storage, NamesLayersOnlyWhereARoleHasSeveralRows) {
  std::vector<StoredMatrix> matrices;
  for (int layer = 0; layer < 12; ++layer)
    for (const char *name : {"up", "down"})
      matrices.push_back({"layers." + std::to_string(layer) + "." + name + ".weight", "f32", true,
                          *parse(layer == 4 && name[0] == 'u' ? "f16" : "int8"), 8, 32, 0, 0});
  const std::vector<StorageRow> rows = storageTable(matrices);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].sites, "layers.0-3,5-11.up");
  EXPECT_EQ(rows[1].sites, "layers.*.down");
  EXPECT_EQ(rows[2].sites, "layers.4.up");
}

} // namespace
} // namespace lorac::packed
