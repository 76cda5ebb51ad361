//===- TokenizerReader.cpp - a closed table of tokenizers --------------------===//
#include "compiler/import/TokenizerReader.h"

#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

using namespace lorac;
using namespace lorac::test;

namespace {

const std::string kVocabulary = R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "abĠ": 4})";
const std::string kTail =
    R"( "post_processor": null, "decoder": {"type": "ByteLevel"}, )"
    R"("model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", )"
    R"("end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": true, )"
    R"("vocab": )" +
    kVocabulary + R"(, "merges": ["a b", ["ab", "Ġ"]]}})";
const std::string kJson =
    R"({"version": "1.0", "added_tokens": [{"id": 6, "content": "<s>", "special": true}, )"
    R"({"id": 7, "content": "<t>", "lstrip": true, "normalized": true, "special": false}], "normalizer": null, )"
    R"("pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},)" +
    kTail;

struct HuggingFaceTokenizer : testing::Test {
  TempFolder folder;
  std::string json = kJson, config, jinja;

  Result<TokenizerData> read() {
    writeFile(folder.path("tokenizer.json"), json);
    auto optional = [&](const std::string &name, const std::string &text) {
      if (text.empty())
        return std::string();
      writeFile(folder.path(name), text);
      return folder.path(name);
    };
    return readTokenizer("hf", folder.path("tokenizer.json"), optional("tokenizer_config.json", config),
                         optional("chat_template.jinja", jinja));
  }
  void edit(const std::string &from, const std::string &to) {
    size_t at = json.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    json.replace(at, from.size(), to);
  }
  /// kJson with another pre-tokenizer.
  fbs::PreTokenizer rule(const std::string &preTokenizer) {
    json = R"({"added_tokens": [], "normalizer": null, "pre_tokenizer": )" + preTokenizer + "," + kTail;
    Result<TokenizerData> data = read();
    EXPECT_OK(data);
    return data ? data->tokenizer.pre_tokenizer : fbs::PreTokenizer::None;
  }
};

TEST_F(HuggingFaceTokenizer, ReadsTokensAndMerges) {
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  const fbs::TokenizerT &t = data->tokenizer;
  EXPECT_EQ(t.tokens, (std::vector<std::string>{"a", "b", "ab", "Ġ", "abĠ", "", "<s>", "<t>"}));
  EXPECT_EQ(t.merges, (std::vector<uint32_t>{0, 1, 2, 3})); // both spellings
  EXPECT_EQ(t.kinds[6], fbs::TokenKind::Control);
  EXPECT_EQ(t.kinds[7], fbs::TokenKind::UserDefined);
  EXPECT_EQ(t.kinds[0], fbs::TokenKind::Normal);
  ASSERT_EQ(t.added.size(), 2u);
  EXPECT_TRUE(t.added[0]->special);
  EXPECT_FALSE(t.added[0]->normalized);
  EXPECT_TRUE(t.added[1]->lstrip);
  EXPECT_TRUE(t.added[1]->normalized);
  EXPECT_EQ(t.pre_tokenizer, fbs::PreTokenizer::Classic);
  EXPECT_EQ(t.normalizer, fbs::Normalizer::None);
  EXPECT_TRUE(t.ignore_merges);
  EXPECT_FALSE(t.add_prefix_space);
  EXPECT_EQ(t.bos_id, -1);
  EXPECT_TRUE(t.prefix_ids.empty());
  EXPECT_TRUE(data->chatTemplate.empty());
}

TEST_F(HuggingFaceTokenizer, KnowsPreTokenizers) {
  auto split = [](const std::string &numbers) {
    return R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": )"
           R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|)" +
           numbers +
           R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, )"
           R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
  };
  EXPECT_EQ(rule(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})"),
            fbs::PreTokenizer::None);
  EXPECT_EQ(rule(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, )"
                 R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]})"),
            fbs::PreTokenizer::ClassicDigits);
  EXPECT_EQ(rule(split(R"(\\p{N}{1,3})")), fbs::PreTokenizer::ModernTriples);
  EXPECT_EQ(rule(split(R"(\\p{N})")), fbs::PreTokenizer::ModernDigits);
}

TEST_F(HuggingFaceTokenizer, RefusesOtherPreTokenizersByName) {
  for (
      auto [value, part] :
      {std::pair(R"(null)", "pre_tokenizer null"),
       std::pair(R"({"type": "Metaspace"})", "pre_tokenizer Metaspace"),
       std::pair(R"({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "ByteLevel"}]})",
                 "pre_tokenizer Whitespace is not supported"),
       std::pair(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]})",
                 "Digits with individual_digits = false"),
       std::pair(
           R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "x+"}, "behavior": )"
           R"("Isolated"}, {"type": "ByteLevel", "use_regex": false}]})",
           "Split by \"x+\""),
       std::pair(
           R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "x+"}, "behavior": )"
           R"("Removed"}, {"type": "ByteLevel", "use_regex": false}]})",
           "Split with behavior \"Removed\"")}) {
    json = R"({"normalizer": null, "pre_tokenizer": )" + std::string(value) + "," + kTail;
    EXPECT_STATUS(read(), Code::Unsupported, part);
  }
}

TEST_F(HuggingFaceTokenizer, KnowsNormalizers) {
  edit(R"("normalizer": null)", R"("normalizer": {"type": "NFC"})");
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.normalizer, fbs::Normalizer::Nfc);
  json = kJson;
  edit(R"("normalizer": null)", R"("normalizer": {"type": "Lowercase"})");
  EXPECT_STATUS(read(), Code::Unsupported, "normalizer Lowercase is not supported");
}

TEST_F(HuggingFaceTokenizer, ReadsTemplatesOfSpecialTokens) {
  edit(
      R"("post_processor": null)",
      R"("post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", )"
      R"("single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, )"
      R"({"SpecialToken": {"id": "<t>", "type_id": 0}}], "pair": [], "special_tokens": )"
      R"({"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}, "<t>": {"id": "<t>", "ids": [7], "tokens": ["<t>"]}}}]})");
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.prefix_ids, std::vector<uint32_t>{6});
  EXPECT_EQ(data->tokenizer.suffix_ids, std::vector<uint32_t>{7});
  edit("\"ids\": [6]", "\"ids\": [8]");
  EXPECT_STATUS(read(), Code::CorruptFile, "post_processor has token 8");
}

TEST_F(HuggingFaceTokenizer, ReadsConfiguration) {
  config = R"({"bos_token": {"content": "<s>"}, "eos_token": "<t>", "chat_template": "{{ 1 }}"})";
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.bos_id, 6);
  EXPECT_EQ(data->tokenizer.eos_id, 7);
  EXPECT_EQ(data->bosToken, "<s>");
  EXPECT_EQ(data->eosToken, "<t>");
  EXPECT_EQ(data->eosIds, std::vector<uint32_t>{7});
  EXPECT_EQ(data->chatTemplate, "{{ 1 }}");
  jinja = "{{ 2 }}"; // a file beside it goes first
  EXPECT_EQ(read()->chatTemplate, "{{ 2 }}");
  jinja.clear();
  config =
      R"({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "y"}]})";
  EXPECT_EQ(read()->chatTemplate, "y");
  config = R"({"chat_template": [{"name": "tool_use", "template": "x"}]})";
  EXPECT_STATUS(read(), Code::Unsupported, "neither a text nor a list with one named default");
  config = R"({"eos_token": "<nowhere>"})";
  EXPECT_STATUS(read(), Code::CorruptFile, "eos_token <nowhere> is no token");
}

TEST_F(HuggingFaceTokenizer, RejectsOneEdit) {
  struct Case {
    const char *from, *to;
    Code code;
    const char *part;
  };
  for (const Case &c : {
           Case{R"("type": "BPE")", R"("type": "Unigram")", Code::Unsupported,
                "model Unigram is not supported"},
           Case{R"("dropout": null)", R"("dropout": 0.1)", Code::Unsupported, "dropout = 0.1"},
           Case{R"("byte_fallback": false)", R"("byte_fallback": true)", Code::Unsupported,
                "byte_fallback = true"},
           Case{R"("end_of_word_suffix": "")", R"("end_of_word_suffix": "</w>")", Code::Unsupported,
                "end_of_word_suffix"},
           Case{R"("decoder": {"type": "ByteLevel"})", R"("decoder": {"type": "Metaspace"})",
                Code::Unsupported, "decoder Metaspace"},
           Case{R"("decoder": {"type": "ByteLevel"})", R"("decoder": null)", Code::Unsupported,
                "decoder null"},
           Case{R"("post_processor": null)", R"("post_processor": {"type": "BertProcessing"})",
                Code::Unsupported, "post_processor BertProcessing"},
           Case{R"("abĠ": 4)", R"("abĠ": 1048576)", Code::Unsupported, "has id 1048576"},
           Case{R"("abĠ": 4)", R"("abĠ": 1)", Code::CorruptFile, "token abĠ (id 1) stands twice"},
           Case{R"("abĠ": 4)", R"("abĠ": -1)", Code::CorruptFile, "has id -1"},
           Case{R"("a b")", R"("a  b")", Code::CorruptFile, "merge 0 (a  b)"},
           Case{R"("a b")", R"("b a")", Code::CorruptFile, "merge 0 (b a) names text that is no token"},
           Case{R"(["ab", "Ġ"])", R"(["ab"])", Code::CorruptFile, "is not a pair of texts"},
           Case{R"("id": 6, "content": "<s>")", R"("id": 6, "content": "a")", Code::CorruptFile,
                "added token a has id 6 and the vocabulary says 0"},
           Case{R"("id": 7,)", R"("id": 6,)", Code::CorruptFile, "stands twice"},
           Case{R"("unk_token": null)", R"("unk_token": "?")", Code::CorruptFile,
                "unk_token \"?\" is no token"},
           Case{R"("vocab")", R"("vocabulary")", Code::CorruptFile, "has no vocabulary"},
       }) {
    SCOPED_TRACE(c.to);
    json = kJson;
    edit(c.from, c.to);
    EXPECT_STATUS(read(), c.code, c.part);
  }
}

TEST(Tokenizer, RejectsUnknownKind) {
  EXPECT_STATUS(readTokenizer("spm", "f", "", ""), Code::InvalidArgument, "kind spm is unknown");
  EXPECT_STATUS(readTokenizer("gguf", "f", "c", ""), Code::InvalidArgument,
                "holds its own tokenizer configuration");
}

// ---- GGUF ------------------------------------------------------------------------------------------------

struct GgufTokenizer : testing::Test {
  TempFolder folder;
  GgufBuilder builder;

  void SetUp() override {
    builder.text("tokenizer.ggml.model", "gpt2");
    builder.text("tokenizer.ggml.pre", "smollm");
    builder.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab", "<t>"});
    builder.integers("tokenizer.ggml.token_type", {3, 1, 1, 1, 4});
    builder.texts("tokenizer.ggml.merges", {"a b"});
    builder.u32("tokenizer.ggml.bos_token_id", 0);
    builder.u32("tokenizer.ggml.eos_token_id", 4);
    builder.text("tokenizer.chat_template", "{{ 1 }}");
  }
  Result<TokenizerData> read() {
    writeFile(folder.path("m.gguf"), builder.bytes());
    return readTokenizer("gguf", folder.path("m.gguf"), "", "");
  }
};

TEST_F(GgufTokenizer, ReadsAll) {
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  const fbs::TokenizerT &t = data->tokenizer;
  EXPECT_EQ(t.tokens, (std::vector<std::string>{"<s>", "a", "b", "ab", "<t>"}));
  EXPECT_EQ(t.merges, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(t.kinds[0], fbs::TokenKind::Control);
  EXPECT_EQ(t.kinds[4], fbs::TokenKind::UserDefined);
  ASSERT_EQ(t.added.size(), 2u);
  EXPECT_TRUE(t.added[0]->special);
  EXPECT_FALSE(t.added[1]->special);
  EXPECT_EQ(t.pre_tokenizer, fbs::PreTokenizer::ClassicDigits);
  EXPECT_EQ(t.bos_id, 0);
  EXPECT_EQ(t.eos_id, 4);
  EXPECT_TRUE(t.prefix_ids.empty());
  EXPECT_EQ(data->bosToken, "<s>");
  EXPECT_EQ(data->eosToken, "<t>");
  EXPECT_EQ(data->chatTemplate, "{{ 1 }}");
  EXPECT_EQ(data->eosIds, std::vector<uint32_t>{4});
}
TEST_F(GgufTokenizer, AddsBosAndEos) {
  builder.boolean("tokenizer.ggml.add_bos_token", true);
  builder.boolean("tokenizer.ggml.add_eos_token", true);
  builder.u32("tokenizer.ggml.eot_token_id", 3);
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.prefix_ids, std::vector<uint32_t>{0});
  EXPECT_EQ(data->tokenizer.suffix_ids, std::vector<uint32_t>{4});
  EXPECT_EQ(data->eosIds, (std::vector<uint32_t>{4, 3}));
}
TEST_F(GgufTokenizer, KnowsRulesByName) {
  for (auto [name, rule, prefix] : {std::tuple("gpt-2", fbs::PreTokenizer::Classic, false),
                                    std::tuple("llama-bpe", fbs::PreTokenizer::ModernTriples, true),
                                    std::tuple("qwen2", fbs::PreTokenizer::ModernDigits, false)}) {
    builder.text("tokenizer.ggml.pre", name);
    Result<TokenizerData> data = read();
    ASSERT_OK(data);
    EXPECT_EQ(data->tokenizer.pre_tokenizer, rule);
    EXPECT_EQ(data->tokenizer.ignore_merges, prefix);
    EXPECT_EQ(!data->tokenizer.prefix_ids.empty(), prefix);
  }
}
TEST_F(GgufTokenizer, RejectsOtherModels) {
  builder.text("tokenizer.ggml.model", "llama");
  EXPECT_STATUS(read(), Code::Unsupported, "tokenizer.ggml.model is llama, supported is gpt2");
}
TEST_F(GgufTokenizer, RejectsOtherRules) {
  builder.text("tokenizer.ggml.pre", "default");
  EXPECT_STATUS(read(), Code::Unsupported, "tokenizer.ggml.pre is default");
  builder.remove("tokenizer.ggml.pre");
  EXPECT_STATUS(read(), Code::Unsupported, "tokenizer.ggml.pre is absent");
}
TEST_F(GgufTokenizer, RejectsTypesThatDoNotFit) {
  builder.integers("tokenizer.ggml.token_type", {3, 1, 1, 1});
  EXPECT_STATUS(read(), Code::CorruptFile, "a token_type for each token");
  builder.integers("tokenizer.ggml.token_type", {3, 1, 1, 1, 9});
  EXPECT_STATUS(read(), Code::CorruptFile, "token 4 has type 9");
}
TEST_F(GgufTokenizer, RejectsIdsOutside) {
  builder.u32("tokenizer.ggml.eos_token_id", 5);
  EXPECT_STATUS(read(), Code::CorruptFile, "tokenizer.ggml.eos_token_id is 5 of 5 tokens");
}
TEST_F(GgufTokenizer, RejectsBosWithoutId) {
  builder.boolean("tokenizer.ggml.add_bos_token", true);
  builder.remove("tokenizer.ggml.bos_token_id");
  EXPECT_STATUS(read(), Code::CorruptFile, "asks to add a bos token");
}
TEST_F(GgufTokenizer, RejectsDoubleTokens) {
  builder.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab", "a"});
  EXPECT_STATUS(read(), Code::CorruptFile, "token a (id 4) stands twice");
}

} // namespace
