//===- Peft.cpp - adapters that are read, and those that are refused ----------===//
#include "compiler/import/Peft.h"

#include "compiler/import/Pattern.h"
#include "compiler/import/Safetensors.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <algorithm>
#include <cmath>

using namespace lorac;
using namespace lorac::test;

namespace {

/// What a tool would take from the model file of a golden checkpoint.
BaseDescription baseOf(const std::string &name, uint64_t layers, uint64_t hidden, uint64_t q, uint64_t kv,
                       uint64_t inner, uint64_t vocab) {
  BaseDescription base;
  base.file = name + ".lorac";
  for (uint64_t layer = 0; layer < layers; ++layer) {
    std::string prefix = "model.layers." + std::to_string(layer) + ".";
    base.sites.push_back({prefix + "self_attn.q_proj", hidden, q});
    base.sites.push_back({prefix + "self_attn.k_proj", hidden, kv});
    base.sites.push_back({prefix + "self_attn.v_proj", hidden, kv});
    base.sites.push_back({prefix + "self_attn.o_proj", q, hidden});
    base.sites.push_back({prefix + "mlp.gate_proj", hidden, inner});
    base.sites.push_back({prefix + "mlp.up_proj", hidden, inner});
    base.sites.push_back({prefix + "mlp.down_proj", inner, hidden});
  }
  base.sites.push_back({"lm_head", hidden, vocab});
  FileCache files;
  Result<SafetensorsTable> table = readSafetensorsCheckpoint(files, goldens(name));
  EXPECT_OK(table);
  for (const auto &[tensor, entry] : *table)
    base.tensors.push_back(
        {tensor, entry.shape, *TensorSource::open(files, *locate(tensor, entry), tensor)->digest()});
  return base;
}
const BaseDescription &tied() {
  static const BaseDescription base = baseOf("llama-tied", 3, 64, 64, 32, 160, 320);
  return base;
}
const BaseDescription &odd() {
  static const BaseDescription base = baseOf("llama-odd", 2, 72, 72, 36, 200, 517);
  return base;
}
const BaseDescription &biased() {
  static const BaseDescription base = baseOf("llama-bias-rope3", 3, 96, 128, 32, 256, 384);
  return base;
}

const PeftSite *find(const PeftAdapter &adapter, const std::string &name) {
  for (const PeftSite &site : adapter.sites)
    if (site.name == name)
      return &site;
  ADD_FAILURE() << "no site " << name;
  return nullptr;
}
const PeftTreatment *treatmentOf(const PeftAdapter &adapter, const std::string &item) {
  for (const PeftTreatment &treatment : adapter.treatments)
    if (treatment.item == item)
      return &treatment;
  ADD_FAILURE() << "no treatment of " << item;
  return nullptr;
}

TEST(Peft, ReadsPlainAdapters) {
  Result<PeftAdapter> adapter = readPeft(goldens("llama-tied/adapters/all-r8/"), tied());
  ASSERT_OK(adapter);
  ASSERT_EQ(adapter->sites.size(), 21u);
  EXPECT_EQ(adapter->sites[0].name, "model.layers.0.self_attn.q_proj"); // the base's order, not the file's
  EXPECT_EQ(adapter->sites[20].name, "model.layers.2.mlp.down_proj");
  for (const PeftSite &site : adapter->sites) {
    EXPECT_EQ(site.rank, 8u);
    EXPECT_EQ(site.scaling, 2.0);
    EXPECT_EQ(site.a.rows(), 8u);
    EXPECT_EQ(site.a.cols(), site.in);
    EXPECT_EQ(site.b.rows(), site.out);
    EXPECT_FALSE(site.bias);
  }
  EXPECT_EQ(treatmentOf(*adapter, "lora_alpha")->verdict, "honoured");
  EXPECT_EQ(treatmentOf(*adapter, "lora_dropout")->verdict, "dropped");
  EXPECT_EQ(treatmentOf(*adapter, "use_dora")->reason, "not set");
  // Every key and every tensor has its line.
  EXPECT_EQ(adapter->treatments.size(), 41u + 42u);
}

TEST(Peft, ReadsPatternsInOrderUnderRsLora) {
  Result<PeftAdapter> adapter = readPeft(goldens("llama-tied/adapters/rslora-patterns"), tied());
  ASSERT_OK(adapter);
  // r 6, alpha 9; ranks: layers.1.mlp.down_proj 12, q_proj 3; alphas: q_proj of layer 0 2, o_proj 5.
  auto expect = [&](const char *site, uint32_t rank, double alpha) {
    EXPECT_EQ(find(*adapter, site)->rank, rank) << site;
    EXPECT_EQ(find(*adapter, site)->scaling, alpha / std::sqrt(double(rank))) << site;
  };
  expect("model.layers.0.self_attn.q_proj", 3, 2);
  expect("model.layers.1.self_attn.q_proj", 3, 9);
  expect("model.layers.0.self_attn.o_proj", 6, 5);
  expect("model.layers.0.mlp.down_proj", 6, 9);
  expect("model.layers.1.mlp.down_proj", 12, 9);
}

TEST(Peft, ReadsBiasesOfB) {
  Result<PeftAdapter> adapter = readPeft(goldens("llama-odd/adapters/odd-r5-lora-bias"), odd());
  ASSERT_OK(adapter);
  for (const PeftSite &site : adapter->sites) {
    ASSERT_TRUE(site.bias);
    EXPECT_EQ(site.bias->cols(), site.out);
    EXPECT_EQ(site.scaling, 7.0 / 5.0);
  }
}

TEST(Peft, ReadsLayersAndPatternsOfTargets) {
  EXPECT_EQ(readPeft(goldens("llama-tied/adapters/layer1-only-r16"), tied())->sites.size(), 7u);
  Result<PeftAdapter> adapter = readPeft(goldens("llama-tied/adapters/regex-target-r70"), tied());
  ASSERT_OK(adapter);
  EXPECT_EQ(adapter->sites.size(), 4u);
  EXPECT_EQ(adapter->sites[0].rank, 70u);
  EXPECT_EQ(adapter->sites[0].scaling, 0.5);
}

TEST(Peft, DropsACopyOfTheHead) {
  Result<PeftAdapter> adapter = readPeft(goldens("llama-odd/adapters/head-r4"), odd());
  ASSERT_OK(adapter);
  EXPECT_EQ(adapter->sites.back().name, "lm_head");
  const PeftTreatment *copy = treatmentOf(*adapter, "base_model.model.lm_head.base_layer.weight");
  EXPECT_EQ(copy->verdict, "dropped");
  EXPECT_NE(copy->reason.find("lm_head.weight"), std::string::npos);
  EXPECT_OK(readPeft(goldens("llama-bias-rope3/adapters/head-r4"), biased()));
}

// What the project cannot do, by the folders that PEFT itself wrote.
TEST(Peft, RefusesOtherKindsByName) {
  struct Case {
    const char *folder, *part;
  };
  for (const std::string golden : {"llama-odd", "llama-bias-rope3"})
    for (const Case &c : {Case{"dora-r4", "use_dora = true: DoRA is not supported"},
                          Case{"embed-r4", "embed_tokens.lora_embedding_A adapts an embedding"},
                          Case{"modules-to-save", "modules_to_save = [\"lm_head\"]"},
                          Case{"trainable-tokens", "trainable_token_indices = [5, 9, 11]"}})
      EXPECT_STATUS(
          readPeft(goldens(golden + "/adapters/" + c.folder), golden == "llama-odd" ? odd() : biased()),
          Code::Unsupported, c.part);
  EXPECT_STATUS(readPeft(goldens("llama-bias-rope3/adapters/bias-lora-only"), biased()), Code::Unsupported,
                "bias = \"lora_only\" is not supported; it trains the base's biases");
}

TEST(Peft, RefusesAnotherBase) {
  EXPECT_STATUS(readPeft(goldens("llama-tied/adapters/all-r8"), odd()), Code::Unsupported,
                "is for model.layers.2.mlp.down_proj, which is no site of llama-odd.lorac");
  EXPECT_STATUS(readPeft(goldens("llama-odd/adapters/all-r8"), tied()), Code::Incompatible,
                "the site has 64 inputs and 64 outputs, so [r, 64] was expected");
}

// ---- one edit --------------------------------------------------------------------------------------------

/// A small adapter of llama-tied: q_proj and v_proj of layer 0, rank 2.
struct EditedAdapter : testing::Test {
  TempFolder folder;
  SafetensorsFile tensors;
  std::string config =
      R"({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none", )"
      R"("target_modules": ["q_proj", "v_proj"], "use_rslora": false})";
  const std::string q = "base_model.model.model.layers.0.self_attn.q_proj.",
                    v = "base_model.model.model.layers.0.self_attn.v_proj.";

  void SetUp() override {
    tensors.add(q + "lora_A.weight", {2, 64}, std::vector<float>(128, 0.5f));
    tensors.add(q + "lora_B.weight", {64, 2}, std::vector<float>(128, 0.25f));
    tensors.add(v + "lora_A.weight", {2, 64}, std::vector<float>(128, 0.5f));
    tensors.add(v + "lora_B.weight", {32, 2}, std::vector<float>(64, 0.25f));
  }
  void resize(const std::string &name, std::vector<uint64_t> shape) {
    uint64_t values = 1;
    for (uint64_t size : shape)
      values *= size;
    tensors.at(name).shape = std::move(shape);
    tensors.at(name).data.resize(values * 4);
  }
  Result<PeftAdapter> read() {
    writeFile(folder.path("adapter_config.json"), config);
    writeFile(folder.path("adapter_model.safetensors"), tensors.bytes());
    return readPeft(folder.path(""), tied());
  }
  /// The configuration with one key more.
  Result<PeftAdapter> with(const std::string &member) {
    std::string before = config;
    config.insert(config.size() - 1, ", " + member);
    Result<PeftAdapter> adapter = read();
    config = before;
    return adapter;
  }
  Result<PeftAdapter> edited(const std::string &from, const std::string &to) {
    std::string before = config;
    size_t at = config.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    config.replace(at, from.size(), to);
    Result<PeftAdapter> adapter = read();
    config = before;
    return adapter;
  }
};

TEST_F(EditedAdapter, ReadsTheSmallestConfiguration) {
  config = R"({"peft_type": "LORA", "target_modules": null})";
  for (const std::string &stem : {q, v}) {
    resize(stem + "lora_A.weight", {8, 64});
    resize(stem + "lora_B.weight", {stem == q ? 64u : 32u, 8});
  }
  Result<PeftAdapter> adapter = read(); // r = 8, lora_alpha = 8
  ASSERT_OK(adapter);
  EXPECT_EQ(adapter->sites.size(), 2u);
  EXPECT_EQ(adapter->sites[0].scaling, 1.0);
}
TEST_F(EditedAdapter, ReadsHalfPrecision) {
  for (SafetensorsFile::Tensor &tensor : tensors.tensors) {
    Bytes halves;
    for (size_t i = 0; i < tensor.data.size() / 4; ++i)
      append(halves, tensor.shape[0] == 2 ? floatToHalf(0.5f) : floatToBfloat(0.25f));
    tensor.dtype = tensor.shape[0] == 2 ? "F16" : "BF16";
    tensor.data = halves;
  }
  Result<PeftAdapter> adapter = read();
  ASSERT_OK(adapter);
  float value[2];
  ASSERT_OK(adapter->sites[0].b.readRows(63, 1, value));
  EXPECT_EQ(value[1], 0.25f);
}
TEST_F(EditedAdapter, AcceptsWhatChangesNothing) {
  for (const char *member :
       {R"("lora_dropout": 0.1)", R"("some_future_key": null)", R"("some_future_key": false)",
        R"("some_future_key": [])", R"("some_future_key": {})", R"("init_lora_weights": "gaussian")",
        R"("init_lora_weights": false)", R"("use_dora": false)", R"("modules_to_save": [])",
        R"("fan_in_fan_out": false)", R"("megatron_core": "megatron.core")", R"("ensure_weight_tying": true)",
        R"("rank_pattern": {"k_proj": 77})", R"("exclude_modules": ["k_proj"])",
        R"("layers_to_transform": [0, 2])", R"("layers_to_transform": 0)",
        R"("layers_to_transform": [0], "layers_pattern": "layers")",
        R"("alpha_pattern": {".*\\.1\\..*": 5})"})
    EXPECT_OK(with(member)) << member;
  EXPECT_OK(edited(R"(["q_proj", "v_proj"])", R"("all-linear")"));
  EXPECT_OK(edited(R"(["q_proj", "v_proj"])", R"(".*_proj")"));
  EXPECT_OK(edited(R"(["q_proj", "v_proj"])", R"(["q_proj", "v_proj", "no_such_module"])"));
}
TEST_F(EditedAdapter, PatternsTakeTheFirstThatMatches) {
  Result<PeftAdapter> adapter =
      with(R"("alpha_pattern": {"layers.0.self_attn.q_proj": 10, "q_proj": 20, "v_.*": 30})");
  ASSERT_OK(adapter);
  EXPECT_EQ(adapter->sites[0].scaling, 5.0);
  EXPECT_EQ(adapter->sites[1].scaling, 15.0);
  // The name's end must match, not only a part of it.
  EXPECT_EQ(with(R"("alpha_pattern": {"q": 10})")->sites[0].scaling, 2.0);
}

TEST_F(EditedAdapter, RefusesKeysThatChangeInference) {
  struct Case {
    const char *member, *part;
  };
  for (const Case &c : {
           Case{R"("use_dora": true)", "use_dora = true: DoRA is not supported"},
           Case{R"("modules_to_save": ["lm_head"])", "modules_to_save = [\"lm_head\"]: whole modules"},
           Case{R"("trainable_token_indices": [1])",
                "trainable_token_indices = [1]: trained token embeddings"},
           Case{R"("target_parameters": ["w"])", "target_parameters = [\"w\"]"},
           Case{R"("alora_invocation_tokens": [1, 2])", "aLoRA"},
           Case{R"("layer_replication": [[0, 2], [1, 3]])", "layer_replication = [[0, 2], [1, 3]]"},
           Case{R"("fan_in_fan_out": true)", "fan_in_fan_out = true"},
           Case{R"("use_qalora": true)", "QA-LoRA"},
           Case{R"("use_bdlora": {"n": 2})", "block-diagonal"},
           Case{R"("arrow_config": {"k": 2})", "Arrow"},
           Case{R"("kasa_config": {"k": 2})", "KaSA"},
           Case{R"("velora_config": {"k": 2})", "VeLoRA"},
           Case{R"("monteclora_config": {"k": 2})", "MonteCLoRA"},
           Case{R"("megatron_config": {"k": 2})", "Megatron"},
           Case{R"("init_lora_weights": "pissa")",
                "init_lora_weights = \"pissa\" is not supported; it changes the base's weights"},
           Case{R"("init_lora_weights": "pissa_niter_4")", "pissa_niter_4"},
           Case{R"("init_lora_weights": "olora")", "olora"},
           Case{R"("init_lora_weights": "corda")", "corda"},
           Case{R"("init_lora_weights": "lora_ga")", "lora_ga"},
           Case{R"("init_lora_weights": "loftq")", "loftq"},
           Case{R"("some_future_key": true)", "key some_future_key = true is not known and may change"},
           Case{R"("some_future_key": 0)", "key some_future_key = 0 is not known"},
           Case{R"("some_future_key": "x")", "key some_future_key = \"x\" is not known"},
           Case{R"("init_lora_weights": 3)", "init_lora_weights = 3 is not supported"},
           Case{R"("exclude_modules": ["self_attn.q_proj"])",
                "leaves out (exclude_modules = [\"self_attn.q_proj\"])"},
           Case{R"("layers_to_transform": [99])", "leaves out (layers_to_transform = [99])"},
           Case{R"("layers_to_transform": -1)", "leaves out (layers_to_transform = -1)"},
           Case{R"("layers_to_transform": 9223372036854775807)", "leaves out (layers_to_transform = 922"},
           Case{R"("rank_pattern": {"q_proj": 1025})",
                "has rank 2, adapter_config.json says 1025 (rank_pattern \"q_proj\")"},
           Case{R"("rank_pattern": {"q_proj": 2.5})", "adapter_config.json says 2.5"},
           Case{R"("layers_pattern": ["h"], "layers_to_transform": [0])",
                "leaves out (layers_to_transform = [0])"},
       })
    EXPECT_STATUS(with(c.member), Code::Unsupported, c.part);
  EXPECT_STATUS(edited(R"("bias": "none")", R"("bias": "all")"), Code::Unsupported,
                "bias = \"all\" is not supported");
  EXPECT_STATUS(edited("CAUSAL_LM", "SEQ_CLS"), Code::Unsupported, "task_type = \"SEQ_CLS\"");
  EXPECT_STATUS(edited("\"LORA\"", "null"), Code::Unsupported, "peft_type is null, supported is \"LORA\"");
  EXPECT_STATUS(edited("\"LORA\"", "[\"LORA\"]"), Code::Unsupported, "peft_type is [\"LORA\"]");
  EXPECT_STATUS(edited("\"r\": 2, ", ""), Code::Unsupported, "has rank 2, adapter_config.json says 8 (r)");
  EXPECT_STATUS(edited("LORA", "IA3"), Code::Unsupported, "peft_type is \"IA3\", supported is \"LORA\"");
  EXPECT_STATUS(edited("\"peft_type\": \"LORA\", ", ""), Code::Unsupported, "peft_type is absent");
}

TEST_F(EditedAdapter, RefusesConfigurationThatContradictsTensors) {
  const std::string key = q + "lora_A.weight";
  EXPECT_STATUS(edited("\"r\": 2", "\"r\": 4"), Code::Unsupported,
                key + " has rank 2, adapter_config.json says 4 (r)");
  EXPECT_STATUS(with(R"("rank_pattern": {"q_proj": 3})"), Code::Unsupported,
                key + " has rank 2, adapter_config.json says 3 (rank_pattern \"q_proj\")");
  EXPECT_STATUS(edited("\"q_proj\", ", ""), Code::Unsupported,
                key + " is for a module that adapter_config.json leaves out (target_modules = [\"v_proj\"])");
  EXPECT_STATUS(with(R"("exclude_modules": "model.*q_proj")"), Code::Unsupported,
                "(exclude_modules = \"model.*q_proj\")");
  EXPECT_STATUS(with(R"("layers_to_transform": [1])"), Code::Unsupported, "(layers_to_transform = [1])");
  EXPECT_STATUS(with(R"("layers_to_transform": [0], "layers_pattern": ["h"])"), Code::Unsupported,
                "layers_to_transform");
  EXPECT_STATUS(with(R"("lora_bias": true)"), Code::Unsupported,
                "has no bias beside it, adapter_config.json says lora_bias = true");
  tensors.add(q + "lora_B.bias", {64}, std::vector<float>(64));
  EXPECT_STATUS(read(), Code::Unsupported,
                "lora_B.bias is there, adapter_config.json says lora_bias = false");
}

TEST_F(EditedAdapter, RejectsValuesOfTheWrongKind) {
  EXPECT_STATUS(edited("\"r\": 2", "\"r\": \"2\""), Code::CorruptFile, "r is \"2\", a number from 1 on");
  for (const char *r : {"0", "-1", "0.5", "[2]", "true", "{}"})
    EXPECT_STATUS(edited("\"r\": 2", "\"r\": " + std::string(r)), Code::CorruptFile,
                  "r is " + std::string(r) + ", a number from 1 on was expected");
  for (const char *number : {"NaN", "Infinity", "-Infinity", "1e999"}) {
    EXPECT_STATUS(edited("\"lora_alpha\": 4", "\"lora_alpha\": " + std::string(number)), Code::CorruptFile,
                  "NaN and Infinity are no JSON");
    EXPECT_STATUS(edited("\"r\": 2", "\"r\": " + std::string(number)), Code::CorruptFile, "not valid JSON");
    EXPECT_STATUS(with(R"("alpha_pattern": {"q_proj": )" + std::string(number) + "}"), Code::CorruptFile,
                  "not valid JSON");
  }
  EXPECT_STATUS(with(R"("alpha_pattern": {"q_proj": "8"})"), Code::CorruptFile,
                "alpha_pattern \"q_proj\" is \"8\", a number was expected");
  EXPECT_STATUS(with(R"("alpha_pattern": {"q_proj": null})"), Code::CorruptFile,
                "alpha_pattern \"q_proj\" is null");
  EXPECT_STATUS(with(R"("alpha_pattern": 8)"), Code::CorruptFile, "alpha_pattern is 8, an object");
  EXPECT_STATUS(with(R"("rank_pattern": {"k_proj": 0})"), Code::CorruptFile,
                "rank_pattern \"k_proj\" is 0, a number from 1 on");
  EXPECT_STATUS(with(R"("rank_pattern": {"k_proj": "4"})"), Code::CorruptFile,
                "rank_pattern \"k_proj\" is \"4\", a number from 1 on");
  EXPECT_STATUS(with(R"("rank_pattern": {"k_proj": 4, "k_proj": 4})"), Code::CorruptFile,
                "the key \"k_proj\" stands twice");
  EXPECT_STATUS(with(R"("lora_bias": 0)"), Code::CorruptFile, "lora_bias is 0, true or false");
  EXPECT_STATUS(with(R"("exclude_modules": 3)"), Code::CorruptFile,
                "exclude_modules is 3, a pattern or a list");
  EXPECT_STATUS(with(R"("exclude_modules": [3])"), Code::CorruptFile, "exclude_modules holds 3");
  EXPECT_STATUS(with(R"("exclude_modules": "*")"), Code::Unsupported, "pattern \"*\" cannot be read at byte");
  EXPECT_STATUS(with(R"("layers_to_transform": [0.5])"), Code::CorruptFile, "layers_to_transform is [0.5]");
  EXPECT_STATUS(with(R"("layers_pattern": [1])"), Code::CorruptFile, "layers_pattern is [1]");
  EXPECT_STATUS(with(R"("layers_pattern": "(")"), Code::Unsupported, "layers_pattern: pattern");
  EXPECT_STATUS(edited("\"lora_alpha\": 4", "\"lora_alpha\": []"), Code::CorruptFile, "lora_alpha is []");
  EXPECT_STATUS(edited("false", "\"no\""), Code::CorruptFile, "use_rslora is \"no\"");
  EXPECT_STATUS(with(R"("rank_pattern": [1])"), Code::CorruptFile, "rank_pattern is [1]");
  EXPECT_STATUS(with(R"("rank_pattern": {"(": 2})"), Code::Unsupported,
                "pattern \"(.*\\.)?(()$\" cannot be read");
  EXPECT_STATUS(with(R"("exclude_modules": "(.|.|.)*[xyz]")"), Code::Unsupported, "takes too long");
  EXPECT_STATUS(with(R"("layers_to_transform": "x")"), Code::CorruptFile, "layers_to_transform is \"x\"");
  EXPECT_STATUS(edited(R"(["q_proj", "v_proj"], "use_rslora": false)", R"(".*", "layers_to_transform": [0])"),
                Code::CorruptFile, "layers_to_transform goes with a list");
  EXPECT_STATUS(with(R"("r": 2)"), Code::CorruptFile, "the key \"r\" stands twice");
  config = "[]";
  EXPECT_STATUS(read(), Code::CorruptFile, "is not a JSON object");
  config = "";
  EXPECT_STATUS(read(), Code::CorruptFile, "adapter_config.json: not valid JSON");
}
TEST_F(EditedAdapter, LimitOfConfigurations) {
  config += std::string(kMaxAdapterConfigBytes - config.size(), ' ');
  EXPECT_OK(read());
  config += ' ';
  EXPECT_STATUS(read(), Code::InvalidArgument, "has 4194305 bytes, at most 4194304 are read");
}
TEST_F(EditedAdapter, LimitOfPatterns) {
  std::string patterns, list;
  for (size_t i = 0; i < kMaxAdapterPatterns; ++i) {
    patterns += (i ? ", \"x" : "\"x") + std::to_string(i) + "\": 2";
    list += i ? ", \"h\"" : "\"h\"";
  }
  EXPECT_OK(with("\"rank_pattern\": {" + patterns + "}"));
  EXPECT_STATUS(with("\"rank_pattern\": {" + patterns + ", \"y\": 2}"), Code::Unsupported,
                "rank_pattern has 32769 patterns, at most 32768");
  EXPECT_STATUS(with("\"alpha_pattern\": {" + patterns + ", \"y\": 2}"), Code::Unsupported,
                "alpha_pattern has 32769 patterns");
  EXPECT_OK(with("\"layers_to_transform\": [0], \"layers_pattern\": [\"layers\", " + list.substr(5) + "]"));
  EXPECT_STATUS(with("\"layers_to_transform\": [0], \"layers_pattern\": [\"layers\", " + list + "]"),
                Code::Unsupported, "layers_pattern has 32769 patterns");
  // The first that matches is as good as ever.
  EXPECT_EQ(with("\"alpha_pattern\": {" + patterns + "}")->sites[0].scaling, 2.0);
}
// Each pattern alone would be read to its end: they share one budget.
TEST_F(EditedAdapter, RejectsManyPatternsThatTakeLong) {
  std::string patterns;
  for (int i = 0; i < 30000; ++i)
    patterns += (i ? ", \".*.*.*.*x" : "\".*.*.*.*x") + std::to_string(i) + "\": 2";
  EXPECT_STATUS(with("\"alpha_pattern\": {" + patterns + "}"), Code::Unsupported,
                "takes too long on model.layers.0.self_attn.q_proj; simplify it");
}
TEST(Pattern, BudgetIsShared) {
  auto budget = std::make_shared<uint64_t>(1000);
  Result<Pattern> pattern = Pattern::compile("(a|b)+c", "f", budget);
  ASSERT_OK(pattern);
  EXPECT_TRUE(*pattern->matchesWhole("ababc"));
  const uint64_t once = 1000 - *budget;
  ASSERT_GT(once, 5u);
  *budget = once; // as much as it takes
  EXPECT_TRUE(*pattern->matchesWhole("ababc"));
  EXPECT_EQ(*budget, 0u);
  *budget = once - 1;
  EXPECT_STATUS(pattern->matchesWhole("ababc"), Code::Unsupported,
                "f: pattern \"(a|b)+c\" takes too long on ababc");
}
TEST(Pattern, LimitOfTexts) {
  auto budget = std::make_shared<uint64_t>(kMaxPatternSteps);
  EXPECT_OK(Pattern::compile("[" + std::string(kMaxPatternBytes - 2, 'a') + "]", "f", budget));
  EXPECT_STATUS(Pattern::compile("[" + std::string(kMaxPatternBytes - 1, 'a') + "]", "f", budget),
                Code::Unsupported, "f: has a pattern of 65537 bytes, at most 65536");
}
TEST(Pattern, RejectsWhatCannotBeRead) {
  auto budget = std::make_shared<uint64_t>(kMaxPatternSteps);
  for (const std::string &text :
       {std::string("("), std::string("a{2,1}"), std::string("[z-a]"), std::string("\\C"),
        std::string("(?<n>a)(?<n>b)"), std::string("\\9"), std::string(1000, '(') + std::string(1000, ')'),
        std::string("((((a{1,999}){1,999}){1,999}){1,999})")})
    EXPECT_STATUS(Pattern::compile(text, "f", budget), Code::Unsupported, "cannot be read at byte") << text;
}

TEST_F(EditedAdapter, RejectsHalfAPair) {
  tensors.remove(q + "lora_B.weight");
  EXPECT_STATUS(read(), Code::CorruptFile, q + "lora_B.weight is missing, its other half is there");
  tensors.tensors.clear();
  SetUp();
  tensors.remove(v + "lora_A.weight");
  EXPECT_STATUS(read(), Code::CorruptFile, v + "lora_A.weight is missing, its other half is there");
}
TEST_F(EditedAdapter, RejectsRanksOutside) {
  resize(q + "lora_A.weight", {0, 64});
  resize(q + "lora_B.weight", {64, 0});
  EXPECT_STATUS(read(), Code::Unsupported, "has rank 0, 1 to 1024 are supported");
  resize(q + "lora_A.weight", {1025, 64});
  resize(q + "lora_B.weight", {64, 1025});
  EXPECT_STATUS(read(), Code::Unsupported, "has rank 1025, 1 to 1024 are supported");
  for (uint64_t rank : {uint64_t(1), kMaxAdapterRank}) {
    resize(q + "lora_A.weight", {rank, 64});
    resize(q + "lora_B.weight", {64, rank});
    Result<PeftAdapter> adapter = with(R"("rank_pattern": {"q_proj": )" + std::to_string(rank) + "}");
    ASSERT_OK(adapter);
    EXPECT_EQ(adapter->sites[0].rank, rank);
  }
}
TEST_F(EditedAdapter, RejectsWrongShapes) {
  resize(q + "lora_A.weight", {2, 65});
  EXPECT_STATUS(read(), Code::Incompatible, "lora_A.weight has shape [2, 65], the site has 64 inputs");
  resize(q + "lora_A.weight", {2, 64});
  resize(q + "lora_B.weight", {2, 64});
  EXPECT_STATUS(read(), Code::Incompatible, "lora_B.weight has shape [2, 64]");
  resize(q + "lora_B.weight", {64, 3});
  EXPECT_STATUS(read(), Code::Incompatible, "so [64, 2] was expected");
  resize(q + "lora_B.weight", {64, 2});
  tensors.add(q + "lora_B.bias", {63}, std::vector<float>(63));
  EXPECT_STATUS(read(), Code::Incompatible, "lora_B.bias has shape [63]");
}
TEST_F(EditedAdapter, RejectsOtherDimensions) {
  resize(q + "lora_A.weight", {2, 64, 1});
  EXPECT_STATUS(read(), Code::Incompatible, "lora_A.weight has shape [2, 64, 1]");
  resize(q + "lora_A.weight", {});
  EXPECT_STATUS(read(), Code::Incompatible, "lora_A.weight has shape []");
  resize(q + "lora_A.weight", {2, 64});
  resize(q + "lora_B.weight", {128});
  EXPECT_STATUS(read(), Code::Incompatible, "lora_B.weight has shape [128]");
}
// An empty copy of the base's tensor would be read row by row for years.
TEST_F(EditedAdapter, RejectsEmptyCopiesAtOnce) {
  tensors.tensors.push_back({"base_model.model.model.norm.weight", "F32", {uint64_t(1) << 50, 0}, {}});
  EXPECT_STATUS(read(), Code::Unsupported,
                "norm.weight has shape [1125899906842624, 0], the base's has [64]");
  tensors.tensors.back().name = "base_model.model.lm_head.weight"; // tied: it has no tensor of its own
  EXPECT_STATUS(read(), Code::CorruptFile, "lm_head.weight has no values (1125899906842624 x 0)");
}
TEST_F(EditedAdapter, RejectsABiasAlone) {
  tensors.tensors.clear();
  tensors.add(q + "lora_B.bias", {64}, std::vector<float>(64));
  EXPECT_STATUS(read(), Code::CorruptFile, q + "lora_A.weight is missing, its other half is there");
}
TEST_F(EditedAdapter, RejectsNaNAndInfinity) {
  for (float bad : {NAN, INFINITY}) {
    std::memcpy(tensors.at(q + "lora_B.weight").data.data() + 100, &bad, 4);
    EXPECT_STATUS(read(), Code::Unsupported,
                  q + "lora_B.weight holds a value that is NaN or infinite in row 12");
  }
}
TEST_F(EditedAdapter, RefusesOtherTypes) {
  tensors.at(q + "lora_A.weight").dtype = "I32";
  EXPECT_STATUS(read(), Code::Unsupported, q + "lora_A.weight is I32, F32, F16 and BF16 are supported");
}
TEST_F(EditedAdapter, RefusesSitesThatTheBaseDoesNotHave) {
  tensors.at(q + "lora_A.weight").name = "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight";
  tensors.at(q + "lora_B.weight").name = "base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight";
  EXPECT_STATUS(read(), Code::Unsupported,
                "is for model.layers.9.self_attn.q_proj, which is no site of llama-tied.lorac");
}
TEST_F(EditedAdapter, RefusesTensorsOfOtherKinds) {
  struct Case {
    std::string name, part;
  };
  for (const Case &c : {
           Case{"model.layers.0.self_attn.q_proj.lora_A.weight", "does not begin with base_model.model."},
           Case{q + "lora_A.default.weight", "is of no known kind (lora_A.weight"},
           Case{q + "lora_magnitude_vector", "is DoRA's magnitude"},
           Case{q + "lora_diag", "is of no known kind"},
           Case{"base_model.model.model.embed_tokens.lora_embedding_A", "adapts an embedding"},
           Case{"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
                "holds trained token embeddings"},
           Case{"base_model.model.score.weight", "belongs to a module that llama-tied.lorac does not have"},
           Case{q + "base_layer.bias", "belongs to a module that llama-tied.lorac does not have"},
           Case{q + "base_layer.weight", "has shape [4], the base's has [64, 64]"},
           Case{"base_model.model.model.norm.weight", "has shape [4], the base's has [64]"},
           Case{q + "something", "is of no known kind"},
       }) {
    SCOPED_TRACE(c.name);
    tensors.tensors.clear();
    SetUp();
    tensors.add(c.name, {4}, {1, 2, 3, 4});
    EXPECT_STATUS(read(), Code::Unsupported, "tensor " + c.name + " " + c.part);
  }
}
TEST_F(EditedAdapter, CopiesOfBaseTensorsAreKnownByTheirValues) {
  FileCache files;
  Result<SafetensorsTable> table = readSafetensorsCheckpoint(files, goldens("llama-tied"));
  ASSERT_OK(table);
  const SafetensorsEntry &entry = table->at("model.embed_tokens.weight");
  Result<TensorSource> source = TensorSource::open(files, *locate("e", entry), "e");
  std::vector<float> values(320 * 64);
  ASSERT_OK(source->readRows(0, 320, values.data()));
  // For a tied head the embedding's values are the head's.
  for (const std::string name : {"lm_head.base_layer.weight", "lm_head.weight", "model.embed_tokens.weight",
                                 "model.embed_tokens.base_layer.weight"}) {
    SCOPED_TRACE(name);
    tensors.add("base_model.model." + name, {320, 64}, values);
    Result<PeftAdapter> adapter = read();
    ASSERT_OK(adapter);
    EXPECT_EQ(treatmentOf(*adapter, "base_model.model." + name)->reason,
              "its values are the base's own (model.embed_tokens.weight)");
    std::vector<float> others = values;
    others[5000] += 1.0f;
    tensors.at("base_model.model." + name).data = bytesOf(others);
    EXPECT_STATUS(read(), Code::Unsupported, name + " replaces a tensor of the base with other values");
    tensors.remove("base_model.model." + name);
  }
}
TEST_F(EditedAdapter, RefusesTrainedBiases) {
  writeFile(folder.path("adapter_config.json"),
            std::string(R"({"peft_type": "LORA", "target_modules": ["q_proj"], "r": 2})"));
  SafetensorsFile other;
  other.add(q + "base_layer.bias", {128}, std::vector<float>(128, 9.0f));
  writeFile(folder.path("adapter_model.safetensors"), other.bytes());
  EXPECT_STATUS(readPeft(folder.path(""), biased()), Code::Unsupported,
                "base_layer.bias is a trained bias of the base");
}
TEST_F(EditedAdapter, RefusesTiedHeadsThatMustStayTied) {
  config =
      R"({"peft_type": "LORA", "r": 2, "target_modules": ["lm_head", "q_proj", "v_proj"], "ensure_weight_tying": true})";
  tensors.add("base_model.model.lm_head.lora_A.weight", {2, 64}, std::vector<float>(128));
  tensors.add("base_model.model.lm_head.lora_B.weight", {320, 2}, std::vector<float>(640));
  EXPECT_STATUS(read(), Code::Unsupported, "ensure_weight_tying = true with an adapted lm_head");
}
TEST_F(EditedAdapter, RejectsEmptyAdapters) {
  tensors.tensors.clear();
  EXPECT_STATUS(read(), Code::CorruptFile, "holds no lora_A and lora_B");
}
TEST_F(EditedAdapter, RejectsMissingFiles) {
  EXPECT_STATUS(readPeft(folder.path("nowhere"), tied()), Code::NotFound, "is not a folder");
  EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::NotFound,
                "has no adapter_config.json; name the folder that PEFT saved");
  std::filesystem::create_directory(folder.path("style"));
  writeFile(folder.path("style/adapter_config.json"), config);
  EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::NotFound, "name the folder style in it");
  writeFile(folder.path("adapter_config.json"), config);
  EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::NotFound, "has no adapter_model.safetensors; save");
  writeFile(folder.path("adapter_model.bin"), std::string("x"));
  EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::Unsupported,
                "pickle (adapter_model.bin) is not read");
}
TEST_F(EditedAdapter, RejectsWhatIsNoFile) {
  ASSERT_OK(read());
  for (const char *name : {"adapter_config.json", "adapter_model.safetensors"}) {
    ASSERT_OK(read());
    std::filesystem::remove(folder.path(name));
    std::filesystem::create_directory(folder.path(name));
    EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::InvalidArgument,
                  std::string(name) + ": is not a regular file");
    std::filesystem::remove(folder.path(name));
  }
  ASSERT_OK(read());
  writeFile(folder.path("adapter_model.safetensors"), std::string());
  EXPECT_STATUS(readPeft(folder.path(""), tied()), Code::CorruptFile, "has 0 bytes");
}

} // namespace
