//===- Import.cpp - checkpoints to the lora dialect ---------------------------===//
#include "compiler/import/Import.h"

#include "compiler/import/Family.h"
#include "compiler/import/TensorSource.h"
#include "dialect/lora/Lora.h"
#include "support/Fingerprint.h"
#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <functional>
#include <map>

using namespace lorac;
using namespace lorac::test;

namespace {

/// A module with the checkpoint at `path` in it.
struct Imported {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  Status status;
  std::string warnings;

  explicit Imported(const std::string &path, const ImportOptions &options = {}) {
    context.getDiagEngine().registerHandler(
        [&](mlir::Diagnostic &diagnostic) { warnings += diagnostic.str(); });
    status = importCheckpoint(*module, path, options);
  }
  std::string text() {
    std::string out;
    llvm::raw_string_ostream stream(out);
    module->print(stream);
    return out;
  }
  template <typename Op> std::vector<Op> all() {
    std::vector<Op> ops;
    module->walk([&](Op op) { ops.push_back(op); });
    return ops;
  }
  std::map<std::string, lora::WeightOp> weights() {
    std::map<std::string, lora::WeightOp> byName;
    for (lora::WeightOp weight : all<lora::WeightOp>())
      byName[weight.getSymName().str()] = weight;
    return byName;
  }
  Digest fingerprint() {
    std::vector<std::string> names;
    std::vector<std::vector<uint64_t>> shapes;
    std::vector<Digest> digests;
    for (lora::WeightOp weight : all<lora::WeightOp>()) {
      names.push_back(weight.getSymName().str());
      auto shape = weight.getTensorType().getShape();
      shapes.emplace_back(shape.begin(), shape.end());
      digests.push_back(
          *digestFromHex(std::string_view(weight.getDigest().data(), weight.getDigest().size())));
    }
    std::vector<BaseTensorView> views;
    for (size_t i = 0; i < names.size(); ++i)
      views.push_back({names[i], shapes[i], digests[i]});
    return baseFingerprint(views);
  }
};

std::vector<std::string> sitesOf(Imported &imported) {
  std::vector<std::string> sites;
  for (lora::LinearOp linear : imported.all<lora::LinearOp>())
    for (lora::SegmentAttr segment : linear.getSegmentList()) {
      EXPECT_TRUE(segment.getOpen());
      sites.push_back(segment.getSite().str());
    }
  return sites;
}

std::vector<double> frequenciesOf(Imported &imported) {
  std::vector<double> frequencies;
  for (lora::RopeTableOp table : imported.all<lora::RopeTableOp>())
    for (double value : mlir::cast<mlir::DenseFPElementsAttr>(table.getFrequencies()).getValues<double>())
      frequencies.push_back(value);
  return frequencies;
}

// ---- Hugging Face ----------------------------------------------------------------------------------------

TEST(ImportHuggingFace, TiedHeadIsTheEmbedding) {
  Imported imported(goldens("llama-tied"));
  ASSERT_OK(imported.status);
  lora::ModelOp model = imported.all<lora::ModelOp>().at(0);
  EXPECT_EQ(model.getArchitecture(), "llama");
  EXPECT_EQ(model.getSource(), "hf");
  EXPECT_EQ(model.getVocab(), 320u);
  EXPECT_EQ(model.getMaxPositions(), 512u);
  EXPECT_EQ(model.getEos(), (llvm::ArrayRef<int64_t>{2}));
  EXPECT_TRUE(imported.all<lora::TokenizerOp>().empty());
  EXPECT_EQ(imported.weights().size(), 29u);
  EXPECT_EQ(imported.weights().count("lm_head.weight"), 0u);
  std::vector<std::string> sites = sitesOf(imported);
  ASSERT_EQ(sites.size(), 22u);
  EXPECT_EQ(sites[0], "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(sites[6], "model.layers.0.mlp.down_proj");
  EXPECT_EQ(sites[21], "lm_head");
  lora::LinearOp head = imported.all<lora::LinearOp>().back();
  EXPECT_EQ(head.getSegmentList()[0].getWeight().getValue(), "model.embed_tokens.weight");
  std::vector<double> frequencies = frequenciesOf(imported);
  ASSERT_EQ(frequencies.size(), 8u);
  for (size_t i = 0; i < 8; ++i)
    EXPECT_NEAR(frequencies[i] * std::pow(10000.0, double(2 * i) / 16.0), 1.0, 1e-15);
  lora::AttendOp attend = imported.all<lora::AttendOp>().at(2);
  EXPECT_EQ(attend.getLayer(), 2u);
  EXPECT_EQ(attend.getHeads(), 4u);
  EXPECT_EQ(attend.getKvHeads(), 2u);
  EXPECT_EQ(attend.getScale().convertToDouble(), 0.25);
  EXPECT_EQ(imported.all<lora::RmsNormOp>().at(0).getEpsilon().convertToDouble(), 1e-6);
}

TEST(ImportHuggingFace, BiasesShardsAndLlama3Rope) {
  Imported imported(goldens("llama-bias-rope3"));
  ASSERT_OK(imported.status);
  EXPECT_EQ(imported.all<lora::ModelOp>().at(0).getEos(), (llvm::ArrayRef<int64_t>{2, 3}));
  EXPECT_EQ(imported.weights().size(), 51u);
  for (lora::LinearOp linear : imported.all<lora::LinearOp>()) {
    lora::SegmentAttr segment = linear.getSegmentList()[0];
    if (segment.getSite() == "lm_head")
      EXPECT_FALSE(segment.getBias());
    else
      EXPECT_EQ(segment.getBias().getValue().str(), segment.getSite().str() + ".bias");
  }
  std::vector<double> frequencies = frequenciesOf(imported);
  ASSERT_EQ(frequencies.size(), 16u);
  auto plain = [](double i) { return std::pow(500000.0, -i / 16.0); };
  EXPECT_DOUBLE_EQ(frequencies[0], 1.0);
  EXPECT_DOUBLE_EQ(frequencies[1], plain(1));         // wave 14.3 < 64 / 4: kept
  EXPECT_DOUBLE_EQ(frequencies[15], plain(15) / 4.0); // wave above 64 / 1: stretched
  double wave = 2.0 * M_PI / plain(2), keep = (64.0 / wave - 1.0) / 3.0;
  EXPECT_DOUBLE_EQ(frequencies[2], (1.0 - keep) * plain(2) / 4.0 + keep * plain(2));
}

TEST(ImportHuggingFace, TheStepIsWrittenInOrder) {
  Imported imported(goldens("llama-odd"));
  ASSERT_OK(imported.status);
  std::string names;
  int left = 16;
  for (mlir::Operation &op : imported.all<lora::StepOp>().at(0).getBody().front())
    if (left-- > 0)
      names += op.getName().stripDialect().str() + " ";
  EXPECT_EQ(names, "embed rms_norm linear linear linear rope rope attend linear map rms_norm linear linear "
                   "map linear map ");
  std::string text = imported.text();
  EXPECT_NE(text.find("math.exp"), std::string::npos);
  EXPECT_NE(text.find("lora.gather_rows"), std::string::npos);
}

TEST(ImportHuggingFace, OptionsStandInTheModel) {
  ImportOptions options;
  options.quantize = {"f32", "lm_head=f16"};
  options.maxContext = 128;
  options.maxRows = 16;
  Imported imported(goldens("llama-tied"), options);
  ASSERT_OK(imported.status);
  EXPECT_NE(imported.text().find("max_context(128) max_rows(16) {quantize = [\"f32\", \"lm_head=f16\"]}"),
            std::string::npos);
  options.maxContext = 513;
  EXPECT_STATUS(Imported(goldens("llama-tied"), options).status, Code::InvalidArgument,
                "--max-context 513 is outside 1 to 512");
  options.maxContext = 128;
  options.maxRows = 4097;
  EXPECT_STATUS(Imported(goldens("llama-tied"), options).status, Code::InvalidArgument, "--max-rows 4097");
}

TEST(ImportHuggingFace, ProgressReachesTheEnd) {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  uint64_t last = 0, all = 0;
  ASSERT_OK(importCheckpoint(*module, goldens("llama-tied"), {}, [&](uint64_t done, uint64_t total) {
    last = done;
    all = total;
  }));
  EXPECT_EQ(last, 599808u / 4);
  EXPECT_EQ(all, last);
}

struct EditedCheckpoint : testing::Test {
  TempFolder folder;
  std::string path = folder.path("m");

  void SetUp() override { reset(); }
  void reset(const std::string &golden = "llama-tied") {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    for (const auto &entry : std::filesystem::directory_iterator(goldens(golden)))
      if (entry.is_regular_file() && entry.path().filename() != "logits.safetensors")
        std::filesystem::copy(entry.path(), path + "/" + entry.path().filename().string());
  }
  void edit(const std::string &from, const std::string &to) {
    replaceInFile(path + "/config.json", from, to);
  }
  Status import() {
    Imported imported(path);
    EXPECT_EQ(imported.module->getBody()->empty(), !imported.status.isOk());
    return imported.status;
  }
};

TEST_F(EditedCheckpoint, RejectsOneEditOfTheConfiguration) {
  struct Case {
    const char *from, *to;
    Code code;
    const char *part;
  };
  const char *rope = R"("rope_type": "default")";
  for (const Case &c : {
           Case{R"("model_type": "llama")", R"("model_type": "mistral")", Code::Unsupported,
                "model_type is \"mistral\""},
           Case{R"("LlamaForCausalLM")", R"("LlamaForSequenceClassification")", Code::Unsupported,
                "architectures is"},
           Case{R"("hidden_act": "silu")", R"("hidden_act": "gelu")", Code::Unsupported,
                "hidden_act is \"gelu\""},
           Case{R"("pretraining_tp": 1)", R"("pretraining_tp": 2)", Code::Unsupported, "pretraining_tp is 2"},
           Case{R"("use_cache": true)", R"("sliding_window": 128)", Code::Unsupported,
                "sliding_window is 128"},
           Case{R"("use_cache": true)",
                R"("layer_types": ["full_attention", "sliding_attention", "full_attention"])",
                Code::Unsupported, "layer_types is \"sliding_attention\""},
           Case{R"("use_cache": true)", R"("layer_types": ["full_attention", "full_attention"])",
                Code::Unsupported,
                "layer_types is [\"full_attention\", \"full_attention\"], supported is a list of 3"},
           Case{R"("use_cache": true)", R"("layer_types": "sliding_attention")", Code::Unsupported,
                "layer_types is \"sliding_attention\", supported is a list of 3"},
           Case{R"("use_cache": true)", R"("quantization_config": {"quant_method": "gptq"})",
                Code::Unsupported, "quantization_config is \"gptq\""},
           Case{R"("use_cache": true)", R"("partial_rotary_factor": 0.5)", Code::Unsupported,
                "partial_rotary_factor is 0.5"},
           Case{R"("use_cache": true)", R"("rope_theta": 5)", Code::CorruptFile, "rope_theta is 5 and"},
           Case{rope, R"("rope_type": "yarn", "factor": 2.0)", Code::Unsupported, "rope_type is yarn"},
           Case{rope, R"("rope_type": "linear")", Code::CorruptFile, "factor is absent"},
           Case{rope,
                R"("rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4, "high_freq_factor": 1, )"
                R"("original_max_position_embeddings": 64)",
                Code::CorruptFile, "0 < low < high"},
           Case{R"("hidden_size": 64)", R"("hidden_size": "64")", Code::CorruptFile, "hidden_size is \"64\""},
           Case{R"("hidden_size": 64)", R"("hidden_size": 96)", Code::CorruptFile,
                "tensor model.embed_tokens.weight has shape [320, 64], the configuration says [320, 96]"},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4)", Code::CorruptFile,
                "tensor model.layers.3.input_layernorm.weight is missing"},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 2)", Code::Unsupported,
                "tensor model.layers.2."},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 100000)", Code::Unsupported,
                "has 100000 layers"},
           Case{R"("num_key_value_heads": 2)", R"("num_key_value_heads": 3)", Code::CorruptFile,
                "3 key heads do not divide 4"},
           Case{R"("head_dim": 16)", R"("head_dim": 15)", Code::Unsupported, "heads have 15 values"},
           Case{R"("attention_bias": false)", R"("attention_bias": true)", Code::CorruptFile,
                "tensor model.layers.0.self_attn.q_proj.bias is missing"},
           Case{R"("tie_word_embeddings": true)", R"("tie_word_embeddings": 1)", Code::CorruptFile,
                "tie_word_embeddings is 1"},
           Case{R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": -1)", Code::CorruptFile, "epsilon is -1"},
           Case{R"("vocab_size": 320)", R"("vocab_size": 320, "vocab_size": 320)", Code::CorruptFile,
                "stands twice"},
           Case{R"("model_type": "llama")", R"("model_type": null)", Code::Unsupported,
                "model_type is absent"},
           Case{R"("model_type": "llama")", R"("model_type": ["llama"])", Code::Unsupported,
                "model_type is [\"llama\"]"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": 0)", Code::CorruptFile,
                "num_attention_heads is 0, a number from 1"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": -4)", Code::CorruptFile,
                "num_attention_heads is -4"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": 4.0)", Code::CorruptFile,
                "num_attention_heads is 4"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": 2147483648)", Code::CorruptFile,
                "num_attention_heads is 2147483648"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": 18446744073709551615)",
                Code::CorruptFile, "num_attention_heads is 1.8"},
           Case{R"("num_attention_heads": 4)", R"("n_heads": 4)", Code::CorruptFile,
                "has no num_attention_heads"},
           Case{R"("num_attention_heads": 4)", R"("num_attention_heads": 2147483647)", Code::Unsupported,
                "has rows of 34359738352 values, at most 1048576"},
           Case{R"("num_key_value_heads": 2)", R"("num_key_value_heads": 0)", Code::CorruptFile,
                "num_key_value_heads is 0"},
           Case{R"("num_key_value_heads": 2)", R"("num_key_value_heads": 8)", Code::CorruptFile,
                "8 key heads do not divide 4"},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 0)", Code::CorruptFile,
                "num_hidden_layers is 0"},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4096)", Code::CorruptFile,
                "tensor model.layers.3.input_layernorm.weight is missing"},
           Case{R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4097)", Code::Unsupported,
                "has 4097 layers, at most 4096"},
           Case{R"("head_dim": 16)", R"("head_dim": 0)", Code::CorruptFile, "head_dim is 0"},
           Case{R"("head_dim": 16)", R"("head_dim": -16)", Code::CorruptFile, "head_dim is -16"},
           Case{R"("head_dim": 16)", R"("head_dim": 4096)", Code::CorruptFile,
                "the configuration says [16384, 64]"},
           Case{R"("head_dim": 16)", R"("head_dim": 4098)", Code::Unsupported,
                "heads have 4098 values, at most 4096"},
           Case{R"("head_dim": 16)", R"("head_dim": 2147483646)", Code::Unsupported,
                "heads have 2147483646 values, at most 4096"},
           Case{R"("hidden_size": 64)", R"("hidden_size": 1048576)", Code::CorruptFile,
                "the configuration says [320, 1048576]"},
           Case{R"("hidden_size": 64)", R"("hidden_size": 1048577)", Code::Unsupported,
                "has rows of 1048577 values, at most 1048576"},
           Case{R"("intermediate_size": 160)", R"("intermediate_size": 1048577)", Code::Unsupported,
                "has rows of 1048577 values"},
           Case{R"("vocab_size": 320)", R"("vocab_size": 2147483647)", Code::CorruptFile,
                "the configuration says [2147483647, 64]"},
           Case{R"("vocab_size": 320)", R"("vocab_size": 2147483648)", Code::CorruptFile,
                "vocab_size is 2147483648, a number from 1 to 2^31 - 1"},
           Case{R"("vocab_size": 320)", R"("vocab_size": 319)", Code::CorruptFile,
                "has shape [320, 64], the configuration says [319, 64]"},
           Case{R"("max_position_embeddings": 512)", R"("max_position_embeddings": 0)", Code::CorruptFile,
                "max_position_embeddings is 0"},
           Case{R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": NaN)", Code::CorruptFile,
                "NaN and Infinity are no JSON"},
           Case{R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": 1e999)", Code::CorruptFile, "not valid JSON"},
           Case{R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": 1e300)", Code::CorruptFile,
                "epsilon is 1e+300, 0 to 1 was expected"},
           Case{R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": "1e-6")", Code::CorruptFile,
                "rms_norm_eps is \"1e-6\", a number"},
           Case{R"("rope_theta": 10000.0)", R"("rope_theta": 0)", Code::CorruptFile,
                "rope_theta is 0, it must"},
           Case{R"("rope_theta": 10000.0)", R"("rope_theta": -1)", Code::CorruptFile,
                "rope_theta is -1, it must"},
           Case{R"("rope_theta": 10000.0)", R"("rope_theta": "x")", Code::CorruptFile, "rope_theta is \"x\""},
           Case{R"("rope_theta": 10000.0)", R"("rope_theta": 1e-300)", Code::CorruptFile,
                "the rope parameters give a frequency of"},
           Case{rope, R"("rope_type": "linear", "factor": 0)", Code::CorruptFile, "the rope factor is 0"},
           Case{rope, R"("rope_type": "linear", "factor": -2)", Code::CorruptFile, "the rope factor is -2"},
           Case{rope, R"("rope_type": "linear", "factor": 1e-320)", Code::CorruptFile,
                "give a frequency of inf, 0 to 1e+06"},
           Case{rope, R"("rope_type": "linear", "factor": "2")", Code::CorruptFile, "factor is \"2\""},
           Case{rope, R"("rope_type": 3)", Code::Unsupported, "rope_type is 3"},
           Case{rope, R"("rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1, "high_freq_factor": 4)",
                Code::CorruptFile, "original_max_position_embeddings is absent"},
           Case{rope,
                R"("rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1, "high_freq_factor": 4, )"
                R"("original_max_position_embeddings": 0)",
                Code::CorruptFile, "0 < low < high and a positive length"},
           Case{R"("use_cache": true)", R"("rope_scaling": {"rope_type": "linear", "factor": 2.0})",
                Code::CorruptFile, "rope_parameters and rope_scaling say different things"},
           Case{R"("use_cache": true)", R"("rope_scaling": 2)", Code::CorruptFile, "rope parameters are 2"},
       }) {
    SCOPED_TRACE(c.to);
    reset();
    edit(c.from, c.to);
    EXPECT_STATUS(import(), c.code, c.part);
  }
}

TEST_F(EditedCheckpoint, LimitsOfNumbersThatAreNoSizes) {
  edit(R"("rms_norm_eps": 1e-06)", R"("rms_norm_eps": 1.0)");
  EXPECT_OK(import());
  edit(R"("rms_norm_eps": 1.0)", R"("rms_norm_eps": 1.0000001)");
  EXPECT_STATUS(import(), Code::CorruptFile, "epsilon is 1, 0 to 1 was expected");
  reset();
  edit(R"("rope_type": "default")", R"("rope_type": "linear", "factor": 1e-6)");
  Imported imported(path);
  ASSERT_OK(imported.status);
  EXPECT_EQ(frequenciesOf(imported).at(0), kMaxRopeFrequency);
  edit("1e-6", "9.9e-7");
  EXPECT_STATUS(import(), Code::CorruptFile, "the rope parameters give a frequency of 1.0101e+06");
}
TEST_F(EditedCheckpoint, LimitOfConfigurations) {
  for (std::string name : {"config.json", "generation_config.json"}) {
    const std::string text = readFile(path + "/" + name);
    writeFile(path + "/" + name, text + std::string(kMaxModelConfigBytes - text.size(), ' '));
    EXPECT_OK(import());
    writeFile(path + "/" + name, text + std::string(kMaxModelConfigBytes - text.size() + 1, ' '));
    EXPECT_STATUS(import(), Code::InvalidArgument, name + ": has 16777217 bytes, at most 16777216");
    writeFile(path + "/" + name, text);
  }
}
TEST_F(EditedCheckpoint, RejectsConfigurationsThatAreNoFiles) {
  for (const char *name : {"config.json", "generation_config.json", "model.safetensors"}) {
    reset();
    std::filesystem::remove(path + "/" + name);
    std::filesystem::create_directory(path + "/" + name);
    EXPECT_STATUS(import(), Code::InvalidArgument, std::string(name) + ": is not a regular file");
  }
  reset();
  writeFile(path + "/config.json", std::string());
  EXPECT_STATUS(import(), Code::CorruptFile, "config.json: not valid JSON");
  reset();
  writeFile(path + "/generation_config.json", std::string("[]"));
  EXPECT_STATUS(import(), Code::CorruptFile, "generation_config.json: is not a JSON object");
}
TEST_F(EditedCheckpoint, LimitOfEndTokens) {
  std::string list = "[0";
  for (size_t i = 1; i < kMaxEndTokens; ++i)
    list += ", " + std::to_string(i);
  std::filesystem::remove(path + "/generation_config.json");
  edit(R"("eos_token_id": 2)", "\"eos_token_id\": " + list + "]");
  {
    Imported imported(path);
    ASSERT_OK(imported.status);
    EXPECT_EQ(imported.all<lora::ModelOp>().at(0).getEos().size(), kMaxEndTokens);
  }
  edit(list, list + ", 256");
  EXPECT_STATUS(import(), Code::Unsupported, "eos_token_id lists 257 tokens, at most 256");
}
TEST_F(EditedCheckpoint, RejectsEndTokensThatAreNone) {
  std::filesystem::remove(path + "/generation_config.json");
  const std::string text = readFile(path + "/config.json");
  for (auto [value, code, part] :
       {std::tuple("-1", Code::Incompatible, "end token -1 is outside the vocabulary of 320"),
        std::tuple("[2, 320]", Code::Incompatible, "end token 320 is outside"),
        std::tuple("9223372036854775807", Code::Incompatible, "end token 9223372036854775807 is outside"),
        std::tuple("[2, [3]]", Code::CorruptFile, "eos_token_id is [2, [3]], a token id or a list"),
        std::tuple("2.5", Code::CorruptFile, "eos_token_id is 2.5"),
        std::tuple("true", Code::CorruptFile, "eos_token_id is true"),
        std::tuple("{}", Code::CorruptFile, "eos_token_id is {}")}) {
    edit(R"("eos_token_id": 2)", "\"eos_token_id\": " + std::string(value));
    EXPECT_STATUS(import(), code, part);
    writeFile(path + "/config.json", text);
  }
}
TEST_F(EditedCheckpoint, RejectsOneEditOfTheTensors) {
  struct Case {
    const char *what;
    std::function<void(SafetensorsFile &)> edit;
    Code code;
    const char *part;
  };
  const std::string norm = "model.norm.weight", up = "model.layers.1.mlp.up_proj.weight";
  FileCache files;
  Result<SafetensorsTable> table = readSafetensorsCheckpoint(files, path);
  ASSERT_OK(table);
  SafetensorsFile whole;
  for (const auto &[name, entry] : *table) {
    std::span<const uint8_t> bytes = (*files.open(entry.file))->bytes().subspan(entry.offset, entry.size);
    whole.tensors.push_back({name, entry.dtype, entry.shape, Bytes(bytes.begin(), bytes.end())});
  }
  for (const Case &c : {
           Case{"missing", [&](auto &t) { t.remove(up); }, Code::CorruptFile,
                "tensor model.layers.1.mlp.up_proj.weight is missing"},
           Case{"no bias",
                [&](auto &t) { t.add("model.layers.1.mlp.up_proj.bias", {160}, std::vector<float>(160)); },
                Code::Unsupported, "tensor model.layers.1.mlp.up_proj.bias is not one that a Llama"},
           Case{"a layer more",
                [&](auto &t) {
                  t.add("model.layers.3.mlp.up_proj.weight", {160, 64}, std::vector<float>(10240));
                },
                Code::Unsupported, "tensor model.layers.3.mlp.up_proj.weight is not one that a Llama"},
           Case{"an unknown one", [&](auto &t) { t.add("model.vision.weight", {}, {1}); }, Code::Unsupported,
                "tensor model.vision.weight is not one that a Llama"},
           Case{"transposed", [&](auto &t) { t.at(up).shape = {64, 160}; }, Code::CorruptFile,
                "has shape [64, 160], the configuration says [160, 64]"},
           Case{"flat", [&](auto &t) { t.at(up).shape = {10240}; }, Code::CorruptFile,
                "has shape [10240], the configuration says [160, 64]"},
           Case{"three dimensions", [&](auto &t) { t.at(up).shape = {1, 160, 64}; }, Code::Unsupported,
                "has shape [1, 160, 64], a vector or matrix was expected"},
           Case{"a matrix for a vector", [&](auto &t) { t.at(norm).shape = {1, 64}; }, Code::CorruptFile,
                "tensor model.norm.weight has shape [1, 64], the configuration says [64]"},
           Case{"a scalar", [&](auto &t) { t.at(norm) = {norm, "F32", {}, Bytes(4)}; }, Code::Unsupported,
                "tensor model.norm.weight has shape [], a vector or matrix"},
           Case{"empty", [&](auto &t) { t.at(norm) = {norm, "F32", {0}, {}}; }, Code::CorruptFile,
                "tensor model.norm.weight has shape [0], the configuration says [64]"},
           Case{"integers", [&](auto &t) { t.at(norm).dtype = "I32"; }, Code::Unsupported,
                "tensor model.norm.weight is I32, F32, F16 and BF16 are supported"},
           Case{"doubles", [&](auto &t) { t.at(norm) = {norm, "F64", {64}, Bytes(512)}; }, Code::Unsupported,
                "tensor model.norm.weight is F64"},
           Case{"eight bits", [&](auto &t) { t.at(norm) = {norm, "F8_E4M3", {64}, Bytes(64)}; },
                Code::Unsupported, "tensor model.norm.weight is F8_E4M3"},
       }) {
    SCOPED_TRACE(c.what);
    SafetensorsFile edited = whole;
    writeFile(path + "/model.safetensors", edited.bytes());
    c.edit(edited);
    writeFile(path + "/model.safetensors", edited.bytes());
    EXPECT_STATUS(import(), c.code, c.part);
  }
  writeFile(path + "/model.safetensors", whole.bytes());
  EXPECT_OK(import());
  whole.add("model.layers.0.self_attn.rotary_emb.inv_freq", {8}, std::vector<float>(8)); // of old checkpoints
  writeFile(path + "/model.safetensors", whole.bytes());
  EXPECT_OK(import());
}

TEST_F(EditedCheckpoint, HeadSizeMayBeAbsent) {
  edit(R"("head_dim": 16,)", "");
  EXPECT_OK(import());
  reset();
  edit(R"("head_dim": 16)", R"("head_dim": null)");
  EXPECT_OK(import());
}
TEST_F(EditedCheckpoint, LinearRopeDividesFrequencies) {
  edit(R"("rope_type": "default")", R"("rope_type": "linear", "factor": 4.0)");
  Imported imported(path);
  ASSERT_OK(imported.status);
  EXPECT_EQ(frequenciesOf(imported).at(0), 0.25);
}
TEST_F(EditedCheckpoint, OldKeysGiveTheSame) {
  edit(R"("rope_parameters": {
    "rope_theta": 10000.0,
    "rope_type": "default"
  })",
       R"("rope_theta": 10000.0, "rope_scaling": null)");
  Imported old(path), current(goldens("llama-tied"));
  ASSERT_OK(old.status);
  EXPECT_EQ(frequenciesOf(old), frequenciesOf(current));
  EXPECT_EQ(old.fingerprint(), current.fingerprint());
}
TEST_F(EditedCheckpoint, WithoutHeadItIsTied) {
  edit(R"("tie_word_embeddings": true)", R"("tie_word_embeddings": false)");
  EXPECT_OK(import());
}
TEST_F(EditedCheckpoint, EndTokensOfTheConfigurationWhereThereIsNoOther) {
  std::filesystem::remove(path + "/generation_config.json");
  edit(R"("eos_token_id": 2)", R"("eos_token_id": [5, 6])");
  Imported imported(path);
  ASSERT_OK(imported.status);
  EXPECT_EQ(imported.all<lora::ModelOp>().at(0).getEos(), (llvm::ArrayRef<int64_t>{5, 6}));
  replaceInFile(path + "/config.json", "[5, 6]", "[5, 320]");
  EXPECT_STATUS(import(), Code::Incompatible, "end token 320 is outside the vocabulary of 320");
  replaceInFile(path + "/config.json", "[5, 320]", "\"x\"");
  EXPECT_STATUS(import(), Code::CorruptFile, "eos_token_id is \"x\"");
}
TEST_F(EditedCheckpoint, TokenizerBesideItIsRead) {
  writeFile(
      path + "/tokenizer.json",
      std::string(R"({"pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}, "model": )"
                  R"({"type": "BPE", "vocab": {"a": 0, "e": 9}, "merges": []}})"));
  writeFile(path + "/tokenizer_config.json", std::string(R"({"eos_token": "e"})"));
  writeFile(path + "/chat_template.jinja", std::string("x"));
  {
    Imported imported(path);
    ASSERT_OK(imported.status);
    lora::TokenizerOp tokenizer = imported.all<lora::TokenizerOp>().at(0);
    EXPECT_EQ(tokenizer.getKind(), "hf");
    EXPECT_TRUE(tokenizer.getConfig()->ends_with("tokenizer_config.json"));
    EXPECT_TRUE(tokenizer.getChatTemplate()->ends_with("chat_template.jinja"));
    EXPECT_EQ(imported.all<lora::ModelOp>().at(0).getEos(),
              (llvm::ArrayRef<int64_t>{2, 9})); // and the tokenizer's own
  }
  replaceInFile(path + "/tokenizer.json", "\"e\": 9", "\"e\": 320");
  EXPECT_STATUS(import(), Code::Incompatible, "has token 320, the model's embedding has rows 0 to 319");
  replaceInFile(path + "/tokenizer.json", "BPE", "WordPiece");
  EXPECT_STATUS(import(), Code::Unsupported, "model WordPiece");
}
TEST_F(EditedCheckpoint, SentencePieceAloneIsSaidAloud) {
  writeFile(path + "/tokenizer.model", std::string("x"));
  Imported imported(path);
  ASSERT_OK(imported.status);
  EXPECT_NE(imported.warnings.find("this model will have no tokenizer"), std::string::npos);
}
TEST_F(EditedCheckpoint, RejectsNaNByTensor) {
  std::string bytes = readFile(path + "/model.safetensors");
  float nan = NAN;
  std::memcpy(bytes.data() + bytes.size() - 4, &nan, 4);
  writeFile(path + "/model.safetensors", bytes);
  EXPECT_STATUS(import(), Code::Unsupported, "tensor model.norm.weight holds a value that is NaN");
}
TEST_F(EditedCheckpoint, HeadBesideATiedEmbedding) {
  reset("llama-odd");
  edit(R"("tie_word_embeddings": false)", R"("tie_word_embeddings": true)");
  EXPECT_STATUS(import(), Code::Unsupported, "lm_head.weight differs from model.embed_tokens.weight");
  // The same values twice: one is enough.
  std::string bytes = readFile(path + "/model.safetensors");
  uint64_t header;
  std::memcpy(&header, bytes.data(), 8);
  std::memcpy(bytes.data() + 8 + header, bytes.data() + 8 + header + 74448, 74448);
  writeFile(path + "/model.safetensors", bytes);
  Imported imported(path);
  ASSERT_OK(imported.status);
  EXPECT_EQ(imported.weights().count("lm_head.weight"), 0u);
}
TEST_F(EditedCheckpoint, RejectsPlacesWithoutCheckpoint) {
  EXPECT_STATUS(Imported(folder.path("nowhere")).status, Code::NotFound, "does not exist");
  EXPECT_STATUS(Imported(folder.path("")).status, Code::NotFound, "has no config.json");
  EXPECT_STATUS(Imported(goldens("llama-tied/adapters/all-r8")).status, Code::NotFound, "this is an adapter");
  std::filesystem::remove(path + "/model.safetensors");
  EXPECT_STATUS(import(), Code::NotFound, "has neither model.safetensors");
}

// ---- GGUF ------------------------------------------------------------------------------------------------

/// A small Llama with a tensor of every encoding, and what its values are, computed here in Hugging Face's
/// row order.
struct SmallGguf {
  static constexpr uint64_t kHidden = 64, kHeads = 4, kKvHeads = 2, kHeadSize = 16, kInner = 96, kVocab = 40,
                            kLayers = 2;
  GgufBuilder gguf;
  SafetensorsFile plain;
  uint32_t state = 12345;

  uint32_t random() {
    state = state * 1664525u + 1013904223u;
    return state >> 8;
  }

  /// `heads`: how many heads' rows the file interleaves.
  void add(const std::string &stored, const std::string &name, uint64_t rows, uint64_t cols, uint32_t type,
           uint64_t heads = 0) {
    Bytes data;
    std::vector<float> values(rows * cols);
    for (uint64_t row = 0; row < rows; ++row) {
      uint64_t target = row;
      if (heads) {
        uint64_t h = rows / heads, in = row % h;
        target = row - in + (in % 2) * (h / 2) + in / 2;
      }
      float *out = values.data() + target * cols;
      switch (type) {
      case 0:
        for (uint64_t k = 0; k < cols; ++k)
          append(data, out[k] = float(int(random() % 2001) - 1000) / 977.0f);
        break;
      case 1:
      case 30:
        for (uint64_t k = 0; k < cols; ++k) {
          float value = float(int(random() % 2001) - 1000) / 977.0f;
          uint16_t bits = type == 1 ? floatToHalf(value) : floatToBfloat(value);
          append(data, bits);
          out[k] = type == 1 ? halfToFloat(bits) : bfloatToFloat(bits);
        }
        break;
      default:
        for (uint64_t block = 0; block < cols / 32; ++block, out += 32) {
          uint16_t d = floatToHalf(float(random() % 1000 + 1) / 50000.0f),
                   m = floatToHalf(float(random() % 100) / -900.0f);
          append(data, d);
          if (type == 3)
            append(data, m);
          if (type == 8) {
            for (uint64_t i = 0; i < 32; ++i) {
              int8_t q = int8_t(random());
              append(data, q);
              out[i] = halfToFloat(d) * float(q);
            }
            continue;
          }
          for (uint64_t i = 0; i < 16; ++i) {
            uint8_t pair = uint8_t(random());
            append(data, pair);
            for (uint64_t half = 0; half < 2; ++half) {
              int q = half ? pair >> 4 : pair & 15;
              out[i + 16 * half] =
                  type == 2 ? halfToFloat(d) * float(q - 8) : halfToFloat(d) * float(q) + halfToFloat(m);
            }
          }
        }
      }
    }
    bool vector = rows == 1 && (type == 0);
    gguf.tensors.push_back(
        {stored, vector ? std::vector<uint64_t>{cols} : std::vector<uint64_t>{cols, rows}, type, data});
    plain.add(name, vector ? std::vector<uint64_t>{cols} : std::vector<uint64_t>{rows, cols}, values);
  }

  SmallGguf() {
    gguf.text("general.architecture", "llama");
    gguf.text("general.type", "model");
    gguf.u32("llama.block_count", kLayers);
    gguf.u32("llama.context_length", 256);
    gguf.u32("llama.embedding_length", kHidden);
    gguf.u32("llama.feed_forward_length", kInner);
    gguf.u32("llama.attention.head_count", kHeads);
    gguf.u32("llama.attention.head_count_kv", kKvHeads);
    gguf.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf.f32("llama.rope.freq_base", 10000.0f);
    gguf.u32("llama.rope.dimension_count", kHeadSize);
    gguf.u32("llama.vocab_size", kVocab);
    add("token_embd.weight", "model.embed_tokens.weight", kVocab, kHidden, 8);
    for (uint64_t layer = 0; layer < kLayers; ++layer) {
      std::string from = "blk." + std::to_string(layer) + ".",
                  to = "model.layers." + std::to_string(layer) + ".";
      add(from + "attn_norm.weight", to + "input_layernorm.weight", 1, kHidden, 0);
      add(from + "attn_q.weight", to + "self_attn.q_proj.weight", kHeads * kHeadSize, kHidden, 3, kHeads);
      add(from + "attn_k.weight", to + "self_attn.k_proj.weight", kKvHeads * kHeadSize, kHidden, 2, kKvHeads);
      add(from + "attn_v.weight", to + "self_attn.v_proj.weight", kKvHeads * kHeadSize, kHidden, 1);
      add(from + "attn_output.weight", to + "self_attn.o_proj.weight", kHidden, kHeads * kHeadSize, 30);
      add(from + "ffn_norm.weight", to + "post_attention_layernorm.weight", 1, kHidden, 0);
      add(from + "ffn_gate.weight", to + "mlp.gate_proj.weight", kInner, kHidden, 2);
      add(from + "ffn_up.weight", to + "mlp.up_proj.weight", kInner, kHidden, 3);
      add(from + "ffn_down.weight", to + "mlp.down_proj.weight", kHidden, kInner, 8);
    }
    add("output_norm.weight", "model.norm.weight", 1, kHidden, 0);
  }

  static std::string config() {
    return R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, )"
           R"("num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 256, )"
           R"("rms_norm_eps": 9.999999747378752e-06, "rope_theta": 10000.0, "tie_word_embeddings": true})";
  }
};

struct ImportGguf : testing::Test {
  TempFolder folder;
  SmallGguf small;

  std::string path() {
    writeFile(folder.path("m.gguf"), small.gguf.bytes());
    return folder.path("m.gguf");
  }
  Status import() {
    Imported imported(path());
    return imported.status;
  }
};

// Quantized, permuted, renamed: after import it is the same base.
TEST_F(ImportGguf, HasTheFingerprintOfItsDequantizedCopy) {
  Imported gguf(path());
  ASSERT_OK(gguf.status);
  std::filesystem::create_directory(folder.path("hf"));
  writeFile(folder.path("hf/config.json"), SmallGguf::config());
  writeFile(folder.path("hf/model.safetensors"), small.plain.bytes());
  Imported hf(folder.path("hf"));
  ASSERT_OK(hf.status);
  std::map<std::string, lora::WeightOp> a = gguf.weights(), b = hf.weights();
  ASSERT_EQ(a.size(), b.size());
  for (auto &[name, weight] : a) {
    ASSERT_EQ(b.count(name), 1u) << name;
    EXPECT_EQ(weight.getDigest(), b[name].getDigest()) << name;
    EXPECT_EQ(weight.getTensorType().getShape(), b[name].getTensorType().getShape()) << name;
  }
  EXPECT_EQ(gguf.fingerprint(), hf.fingerprint());
  EXPECT_EQ(frequenciesOf(gguf), frequenciesOf(hf));
  EXPECT_EQ(sitesOf(gguf), sitesOf(hf));
  EXPECT_EQ(gguf.all<lora::ModelOp>().at(0).getSource(), "gguf");
  EXPECT_EQ(a["model.layers.1.self_attn.k_proj.weight"].getSource().getInterleavedHeads(), 2u);
  EXPECT_EQ(a["model.layers.1.self_attn.v_proj.weight"].getSource().getInterleavedHeads(), 0u);
}
TEST_F(ImportGguf, OneOtherValueIsAnotherBase) {
  Imported before(path());
  ASSERT_OK(before.status);
  small.gguf.at("blk.1.ffn_up.weight").data[7] ^= 1;
  Imported after(path());
  ASSERT_OK(after.status);
  EXPECT_NE(before.fingerprint(), after.fingerprint());
}
TEST_F(ImportGguf, HeadOfItsOwnAndBiases) {
  small.add("output.weight", "lm_head.weight", SmallGguf::kVocab, SmallGguf::kHidden, 8);
  small.add("blk.0.attn_v.bias", "", 1, 32, 0);
  Imported imported(path());
  ASSERT_OK(imported.status);
  EXPECT_EQ(imported.weights().count("lm_head.weight"), 1u);
  lora::SegmentAttr v = imported.all<lora::LinearOp>().at(2).getSegmentList()[0];
  EXPECT_EQ(v.getBias().getValue(), "model.layers.0.self_attn.v_proj.bias");
  EXPECT_FALSE(imported.all<lora::LinearOp>().at(9).getSegmentList()[0].getBias());
}
TEST_F(ImportGguf, RopeFactorsDivideFrequencies) {
  std::vector<float> factors = {1, 1, 1, 2, 4, 8, 8, 8};
  small.gguf.tensors.push_back({"rope_freqs.weight", {8}, 0, bytesOf(factors)});
  Imported imported(path());
  ASSERT_OK(imported.status);
  std::vector<double> frequencies = frequenciesOf(imported);
  for (size_t i = 0; i < 8; ++i)
    EXPECT_DOUBLE_EQ(frequencies[i], std::pow(10000.0, -double(i) / 8.0) / double(factors[i]));
  EXPECT_EQ(imported.weights().size(), 20u); // no tensor of the base
  small.gguf.at("rope_freqs.weight").data = bytesOf({1, 1, 1, 0, 1, 1, 1, 1});
  EXPECT_STATUS(import(), Code::CorruptFile, "rope_freqs.weight holds 0");
}
TEST_F(ImportGguf, LinearRopeScaling) {
  small.gguf.text("llama.rope.scaling.type", "linear");
  EXPECT_STATUS(import(), Code::CorruptFile, "needs a positive llama.rope.scaling.factor");
  small.gguf.f32("llama.rope.scaling.factor", 2.0f);
  Imported imported(path());
  ASSERT_OK(imported.status);
  EXPECT_EQ(frequenciesOf(imported).at(0), 0.5);
}
TEST_F(ImportGguf, RejectsOneEdit) {
  struct Case {
    const char *what;
    std::function<void(GgufBuilder &)> edit;
    Code code;
    const char *part;
  };
  for (const Case &c : {
           Case{"architecture", [](GgufBuilder &g) { g.text("general.architecture", "gemma"); },
                Code::Unsupported, "general.architecture is gemma, supported is llama"},
           Case{"an adapter", [](GgufBuilder &g) { g.text("general.type", "adapter"); }, Code::Unsupported,
                "general.type is adapter"},
           Case{"experts", [](GgufBuilder &g) { g.u32("llama.expert_count", 8); }, Code::Unsupported,
                "key llama.expert_count is not known"},
           Case{"parts", [](GgufBuilder &g) { g.u32("split.count", 3); }, Code::Unsupported,
                "split.count is 3"},
           Case{"yarn", [](GgufBuilder &g) { g.text("llama.rope.scaling.type", "yarn"); }, Code::Unsupported,
                "llama.rope.scaling.type is yarn"},
           Case{"part of a head", [](GgufBuilder &g) { g.u32("llama.rope.dimension_count", 8); },
                Code::Unsupported, "llama.rope.dimension_count is 8, supported is the head size, 16"},
           Case{"vocabulary", [](GgufBuilder &g) { g.u32("llama.vocab_size", 41); }, Code::CorruptFile,
                "llama.vocab_size is 41, token_embd.weight has 40 rows"},
           Case{"no layers", [](GgufBuilder &g) { g.remove("llama.block_count"); }, Code::CorruptFile,
                "llama.block_count is absent"},
           Case{"no epsilon", [](GgufBuilder &g) { g.remove("llama.attention.layer_norm_rms_epsilon"); },
                Code::CorruptFile, "has no llama.attention.layer_norm_rms_epsilon"},
           Case{"more layers", [](GgufBuilder &g) { g.u32("llama.block_count", 3); }, Code::CorruptFile,
                "tensor model.layers.2.input_layernorm.weight is missing"},
           Case{"fewer layers", [](GgufBuilder &g) { g.u32("llama.block_count", 1); }, Code::Unsupported,
                "tensor blk.1."},
           Case{"missing", [](GgufBuilder &g) { g.remove("blk.1.ffn_up.weight"); }, Code::CorruptFile,
                "tensor model.layers.1.mlp.up_proj.weight is missing"},
           Case{"unknown",
                [](GgufBuilder &g) { g.tensors.push_back({"blk.0.attn_q_norm.weight", {16}, 0, Bytes(64)}); },
                Code::Unsupported, "tensor blk.0.attn_q_norm.weight is not one that a Llama"},
           Case{"unknown global",
                [](GgufBuilder &g) { g.tensors.push_back({"rope_factors_long.weight", {8}, 0, Bytes(32)}); },
                Code::Unsupported, "tensor rope_factors_long.weight is not one"},
           Case{"width", [](GgufBuilder &g) { g.u32("llama.feed_forward_length", 64); }, Code::CorruptFile,
                "tensor model.layers.0.mlp.gate_proj.weight has shape [96, 64], the configuration says [64, "
                "64]"},
           Case{"type",
                [](GgufBuilder &g) {
                  g.at("blk.0.ffn_up.weight") = {"blk.0.ffn_up.weight", {64, 96}, 10, Bytes(4096)};
                },
                Code::Unsupported, "tensor blk.0.ffn_up.weight is Q2_K"},
           Case{"bias of q",
                [](GgufBuilder &g) { g.tensors.push_back({"blk.0.attn_q.bias", {64}, 0, Bytes(256)}); },
                Code::Unsupported, "tensor blk.0.attn_q.bias is a bias of rotary-interleaved rows"},
           Case{"heads", [](GgufBuilder &g) { g.u32("llama.attention.head_count_kv", 3); }, Code::CorruptFile,
                "3 key heads do not divide 4 heads"},
           Case{"heads of each layer",
                [](GgufBuilder &g) { g.integers("llama.attention.head_count_kv", {2, 2}); },
                Code::CorruptFile, "key llama.attention.head_count_kv is not an integer"},
           Case{"no heads", [](GgufBuilder &g) { g.u32("llama.attention.head_count", 0); }, Code::CorruptFile,
                "llama.attention.head_count is 0, a number from 1 to 2^31 - 1"},
           Case{"negative heads",
                [](GgufBuilder &g) {
                  g.set({"llama.attention.head_count", 5, GgufBuilder::raw(int32_t(-4))});
                },
                Code::CorruptFile, "key llama.attention.head_count is not an integer that is not negative"},
           Case{"heads without end",
                [](GgufBuilder &g) {
                  g.set({"llama.attention.head_count", 10, GgufBuilder::raw(uint64_t(INT64_MAX))});
                },
                Code::CorruptFile, "llama.attention.head_count is 9223372036854775807"},
           Case{"odd heads", [](GgufBuilder &g) { g.u32("llama.attention.key_length", 15); },
                Code::Unsupported, "heads have 15 values, rotary embeddings need an even number"},
           Case{"large heads", [](GgufBuilder &g) { g.u32("llama.attention.key_length", 2147483646); },
                Code::Unsupported, "heads have 2147483646 values, at most 4096"},
           Case{"other values", [](GgufBuilder &g) { g.u32("llama.attention.value_length", 8); },
                Code::Unsupported, "llama.attention.value_length is 8, supported is the head size, 16"},
           Case{"wide", [](GgufBuilder &g) { g.u32("llama.feed_forward_length", 1048577); },
                Code::Unsupported, "has rows of 1048577 values, at most 1048576"},
           Case{"deep", [](GgufBuilder &g) { g.u32("llama.block_count", 4097); }, Code::Unsupported,
                "has 4097 layers, at most 4096"},
           Case{"no context", [](GgufBuilder &g) { g.u32("llama.context_length", 0); }, Code::CorruptFile,
                "llama.context_length is 0"},
           Case{"epsilon", [](GgufBuilder &g) { g.f32("llama.attention.layer_norm_rms_epsilon", NAN); },
                Code::CorruptFile, "epsilon is nan, 0 to 1 was expected"},
           Case{"negative epsilon",
                [](GgufBuilder &g) { g.f32("llama.attention.layer_norm_rms_epsilon", -1e-5f); },
                Code::CorruptFile, "epsilon is -1e-05"},
           Case{"epsilon as integer",
                [](GgufBuilder &g) { g.u32("llama.attention.layer_norm_rms_epsilon", 0); }, Code::CorruptFile,
                "is not a floating-point number"},
           Case{"both ways", [](GgufBuilder &g) { g.boolean("llama.attention.causal", false); },
                Code::Unsupported, "llama.attention.causal is false"},
           Case{"base NaN", [](GgufBuilder &g) { g.f32("llama.rope.freq_base", NAN); }, Code::CorruptFile,
                "llama.rope.freq_base is nan"},
           Case{"base 0", [](GgufBuilder &g) { g.f32("llama.rope.freq_base", 0); }, Code::CorruptFile,
                "llama.rope.freq_base is 0"},
           Case{"base of almost nothing", [](GgufBuilder &g) { g.f32("llama.rope.freq_base", 1e-38f); },
                Code::CorruptFile, "the rope parameters give a frequency of"},
           Case{"factor alone", [](GgufBuilder &g) { g.f32("llama.rope.scaling.factor", 2); },
                Code::CorruptFile, "has llama.rope.scaling.factor but no llama.rope.scaling.type"},
           Case{"architecture as number", [](GgufBuilder &g) { g.u32("general.architecture", 1); },
                Code::CorruptFile, "key general.architecture is not a text"},
           Case{"embedding gone", [](GgufBuilder &g) { g.remove("token_embd.weight"); }, Code::CorruptFile,
                "tensor token_embd.weight is missing or no matrix"},
           Case{"embedding flat", [](GgufBuilder &g) { g.at("token_embd.weight").dims = {64 * 40}; },
                Code::CorruptFile, "tensor token_embd.weight is missing or no matrix"},
           Case{"transposed", [](GgufBuilder &g) { g.at("blk.0.ffn_up.weight").dims = {96, 64}; },
                Code::CorruptFile, "has shape [64, 96], the configuration says [96, 64]"},
           Case{"three dimensions", [](GgufBuilder &g) { g.at("blk.0.ffn_up.weight").dims = {64, 96, 1}; },
                Code::Unsupported, "has shape [1, 96, 64], a vector or matrix"},
           Case{"unknown type", [](GgufBuilder &g) { g.at("output_norm.weight").type = 40; },
                Code::Unsupported, "tensor output_norm.weight is of ggml type 40"},
           Case{"integers", [](GgufBuilder &g) { g.at("output_norm.weight").type = 26; }, Code::Unsupported,
                "tensor output_norm.weight is I32"},
           Case{"a layer written otherwise",
                [](GgufBuilder &g) { g.at("blk.1.ffn_up.weight").name = "blk.01.ffn_up.weight"; },
                Code::Unsupported, "tensor blk.01.ffn_up.weight is not one"},
           Case{"a layer without end",
                [](GgufBuilder
                       &g) { g.at("blk.1.ffn_up.weight").name = "blk.18446744073709551617.ffn_up.weight"; },
                Code::Unsupported, "tensor blk.18446744073709551617.ffn_up.weight is not one"},
           Case{"bad factors' shape",
                [](GgufBuilder &g) { g.tensors.push_back({"rope_freqs.weight", {7}, 0, Bytes(28)}); },
                Code::CorruptFile, "rope_freqs.weight has shape [7], expected [8]"},
           Case{
               "NaN",
               [](GgufBuilder &g) { g.at("output_norm.weight").data = bytesOf(std::vector<float>(64, NAN)); },
               Code::Unsupported, "tensor model.norm.weight holds a value that is NaN"},
       }) {
    SCOPED_TRACE(c.what);
    small = SmallGguf();
    c.edit(small.gguf);
    EXPECT_STATUS(import(), c.code, c.part);
  }
}
TEST_F(ImportGguf, TokenizerInsideIsRead) {
  small.gguf.text("tokenizer.ggml.model", "t5");
  EXPECT_STATUS(import(), Code::Unsupported, "tokenizer.ggml.model is t5");
  small.gguf.text("tokenizer.ggml.model", "gpt2");
  small.gguf.text("tokenizer.ggml.pre", "gpt-2");
  small.gguf.texts("tokenizer.ggml.tokens", {"a", "e"});
  small.gguf.integers("tokenizer.ggml.token_type", {1, 3});
  small.gguf.texts("tokenizer.ggml.merges", {});
  small.gguf.u32("tokenizer.ggml.eos_token_id", 1);
  Imported imported(path());
  ASSERT_OK(imported.status);
  EXPECT_EQ(imported.all<lora::TokenizerOp>().at(0).getKind(), "gguf");
  EXPECT_EQ(imported.all<lora::ModelOp>().at(0).getEos(), (llvm::ArrayRef<int64_t>{1}));
}

} // namespace
