#include "compiler/import/ModuleText.h"

#include "tests/support/StatusTest.h"

namespace lorac::test {
namespace {

std::string times(uint32_t count, std::string_view text) {
  std::string all;
  for (uint32_t i = 0; i < count; ++i)
    all += text;
  return all;
}

/// `module attributes {a = ` opens one bracket more.
std::string nested(uint32_t depth, std::string_view open, std::string_view close) {
  return "module attributes {a = " + times(depth - 1, open) + times(depth - 1, close) + "} {}\n";
}

TEST(ModuleText, TakesTheLimitAndRefusesOneMore) {
  for (auto [open, close] : {std::pair("[", "]"), std::pair("{a = ", "}"), std::pair("tuple<", ">"),
                             std::pair("dense<", ">"), std::pair("(", ")")}) {
    EXPECT_OK(checkModuleText(nested(kMaxModuleNesting, open, close), "m.mlir")) << open;
    EXPECT_STATUS(checkModuleText("\n" + nested(kMaxModuleNesting + 1, open, close), "m.mlir"),
                  Code::CorruptFile, "m.mlir:2: opens more than 64 brackets in each other");
  }
}

TEST(ModuleText, CountsNeitherStringsNorCommentsNorArrows) {
  const std::string many = times(100, "[");
  EXPECT_OK(checkModuleText("\"" + many + "\\\"" + many + "\"", "m.mlir"));
  EXPECT_OK(checkModuleText("// " + many + "\nmodule {}", "m.mlir"));
  EXPECT_OK(checkModuleText(times(100, "(f32) -> (f32) "), "m.mlir"));
  // An arrow closes nothing: what it stands in goes on nesting.
  EXPECT_STATUS(checkModuleText(times(65, "(-> "), "m.mlir"), Code::CorruptFile, "brackets");
  // But after a name the minus belongs to it, and the other half closes.
  EXPECT_OK(checkModuleText(times(100, "<#a->"), "m.mlir"));
  EXPECT_STATUS(checkModuleText(times(65, "<%0->"), "m.mlir"), Code::CorruptFile, "brackets");
  // A string that its line ends hides nothing of the next line; a closing bracket too many buys no depth.
  EXPECT_STATUS(checkModuleText("\"\n" + times(65, "["), "m.mlir"), Code::CorruptFile, "m.mlir:2: opens");
  EXPECT_STATUS(checkModuleText(times(50, "]") + times(65, "["), "m.mlir"), Code::CorruptFile, "brackets");
}

TEST(ModuleText, RefusesAliases) {
  for (const char *text : {"#a = [1]\nmodule {}", "!t = f32", "#a // why\n = 1", "#a-b.c = 1", "#0=1"})
    EXPECT_STATUS(checkModuleText(text, "m.mlir"), Code::CorruptFile, "defines an alias");
  EXPECT_OK(checkModuleText("module attributes {a = #lora.packed<f16>, b = 1} {}", "m.mlir"));
}

TEST(ModuleText, RefusesAffineMapsAndSets) {
  EXPECT_STATUS(checkModuleText("module attributes {a = affine_map<(d0) -> (d0 + d0)>} {}", "m.mlir"),
                Code::CorruptFile, "m.mlir:1: has an affine map or set");
  EXPECT_STATUS(checkModuleText("a = affine_set<(d0) : (d0 >= 0)>", "m.mlir"), Code::CorruptFile, "affine");
  EXPECT_OK(checkModuleText("lora.weight @affine_map.weight", "m.mlir"));
}

} // namespace
} // namespace lorac::test
