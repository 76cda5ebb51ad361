//===- TokenizerReader.cpp - a closed table of tokenizers --------------------===//
#include "compiler/import/TokenizerReader.h"

#include "tests/compiler/import/TestFiles.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cmath>
#include <functional>

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
  const TokenizerSource &t = data->tokenizer;
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

TEST_F(HuggingFaceTokenizer, WhatAMergeNamesStaysAWord) {
  edit(R"({"id": 6, "content": "<s>", "special": true})", R"({"id": 2, "content": "ab", "special": true})");
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.kinds[2], fbs::TokenKind::Normal);
  EXPECT_TRUE(data->tokenizer.added[0]->special);
}

// ---- tokens over characters ------------------------------------------------------------------------------

const std::string kReplace = R"({"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"})";
const std::string kPrepend = R"({"type": "Prepend", "prepend": "\u2581"})";
const std::string kTextDecoder =
    R"({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, )"
    R"({"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
const std::string kTextJson =
    R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true, "normalized": false}], )"
    R"("normalizer": {"type": "Sequence", "normalizers": [)" +
    kPrepend + ", " + kReplace + R"(]}, "pre_tokenizer": null, "decoder": )" + kTextDecoder +
    R"(, "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, )"
    R"("vocab": {"<unk>": 0, "<0x0A>": 1, "\u2581": 2, "a": 3, "\u2581a": 4}, "merges": ["\u2581 a"]}})";

struct TextTokenizer : HuggingFaceTokenizer {
  TextTokenizer() { json = kTextJson; }
  void rules(const std::string &normalizer, const std::string &preTokenizer) {
    json = kTextJson;
    edit(R"({"type": "Sequence", "normalizers": [)" + kPrepend + ", " + kReplace + "]}", normalizer);
    edit(R"("pre_tokenizer": null)", "\"pre_tokenizer\": " + preTokenizer);
  }
};

TEST_F(TextTokenizer, ReadsAll) {
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  const TokenizerSource &t = data->tokenizer;
  EXPECT_EQ(t.alphabet, fbs::Alphabet::Text);
  EXPECT_EQ(t.normalizer, fbs::Normalizer::MarksInFront);
  EXPECT_EQ(t.pre_tokenizer, fbs::PreTokenizer::None);
  EXPECT_TRUE(t.byte_fallback && t.fuse_unknown && t.strip_leading_space);
  EXPECT_EQ(t.kinds[0], fbs::TokenKind::Unknown);
  EXPECT_EQ(t.kinds[1], fbs::TokenKind::Byte);
  EXPECT_EQ(t.kinds[4], fbs::TokenKind::Normal);
  EXPECT_EQ(t.merges, (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(t.unk_id, 0);
}

TEST_F(TextTokenizer, KnowsWhereTheMarkComesFrom) {
  auto metaspace = [](const std::string &rest) {
    return R"({"type": "Metaspace", "replacement": "\u2581")" + rest + "}";
  };
  struct Case {
    std::string normalizer, preTokenizer;
    fbs::Normalizer first;
    fbs::PreTokenizer second;
    bool prefix, firstOnly;
  };
  using N = fbs::Normalizer;
  using P = fbs::PreTokenizer;
  for (const Case &c : {
           Case{kReplace, "null", N::Marks, P::None, false, false},
           Case{kReplace,
                R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})",
                N::Marks, P::None, false, false},
           Case{"null", metaspace(""), N::None, P::MarkedWords, true, false},
           Case{"null", metaspace(R"(, "add_prefix_space": false)"), N::None, P::MarkedWords, false, false},
           Case{"null", metaspace(R"(, "prepend_scheme": "always", "split": false)"), N::None, P::Marked,
                true, false},
           Case{"null", metaspace(R"(, "prepend_scheme": "first", "split": false)"), N::None, P::Marked, true,
                true},
           Case{"null", metaspace(R"(, "prepend_scheme": "never", "split": true)"), N::None, P::MarkedWords,
                false, false},
       }) {
    SCOPED_TRACE(c.preTokenizer);
    rules(c.normalizer, c.preTokenizer);
    Result<TokenizerData> data = read();
    ASSERT_OK(data);
    EXPECT_EQ(data->tokenizer.normalizer, c.first);
    EXPECT_EQ(data->tokenizer.pre_tokenizer, c.second);
    EXPECT_EQ(data->tokenizer.add_prefix_space, c.prefix);
    EXPECT_EQ(data->tokenizer.prefix_first_only, c.firstOnly);
  }
}

TEST_F(TextTokenizer, RefusesOtherRulesByName) {
  for (auto [normalizer, preTokenizer, part] :
       {std::tuple(std::string("null"), "null", "pre_tokenizer null without a normalizer"),
        std::tuple(kPrepend, "null", "normalizer Prepend without a Replace"),
        std::tuple(kReplace, R"({"type": "Metaspace", "replacement": "\u2581"})",
                   "Metaspace after a normalizer that marks spaces"),
        std::tuple(std::string("null"), R"({"type": "Metaspace", "replacement": "_"})",
                   "Metaspace with replacement _"),
        std::tuple(std::string("null"),
                   R"({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "last"})",
                   "prepend_scheme \"last\""),
        std::tuple(kReplace, R"({"type": "Split", "pattern": {"String": "x"}})", "pre_tokenizer Split"),
        std::tuple(kReplace,
                   R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Digits"}]})",
                   "Sequence of 2 parts without a ByteLevel"),
        std::tuple(std::string(R"({"type": "NFKC"})"), "null", "normalizer NFKC is not supported"),
        std::tuple(std::string(R"({"type": "Prepend", "prepend": "x"})"), "null", "normalizer {")}) {
    rules(normalizer, preTokenizer);
    EXPECT_STATUS(read(), Code::Unsupported, part);
  }
}

TEST_F(TextTokenizer, RejectsOneEditOfTheDecoder) {
  for (auto [from, to, part] :
       {std::tuple(R"("String": "\u2581"}, "content": " ")", R"("String": "\u2581"}, "content": "")",
                   "decoder {\"type\": \"Replace\""),
        std::tuple(R"({"type": "ByteFallback"}, )", "",
                   "byte_fallback = true without a decoder ByteFallback"),
        std::tuple(R"({"type": "Fuse"}, )", "", "decoder Strip at place 3"),
        std::tuple(R"("start": 1)", R"("start": 2)", "decoder {\"type\": \"Strip\""),
        std::tuple(R"("stop": 0)", R"("stop": 1)", "decoder {\"type\": \"Strip\""),
        std::tuple(R"({"type": "Fuse"})", R"({"type": "CTC"})", "decoder CTC at place 3")}) {
    json = kTextJson;
    ASSERT_OK(read());
    edit(from, to);
    EXPECT_STATUS(read(), Code::Unsupported, part);
  }
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
           Case{R"("a b")", R"("c b")", Code::CorruptFile, "merge 0 (c b) names text that is no token"},
           Case{R"(["ab", "Ġ"])", R"(["a", "b"])", Code::CorruptFile, "merge 1 (a b) stands twice"},
           Case{R"("merges")", R"("merge")", Code::CorruptFile, "has no merges"},
           Case{R"(["a b", ["ab", "Ġ"]])", R"({"a": "b"})", Code::CorruptFile, "has no merges"},
           Case{R"("model")", R"("models")", Code::CorruptFile, "has no model"},
           Case{R"("b": 1)", R"("": 1)", Code::CorruptFile, "token 1 is empty"},
           Case{R"("b": 1)", R"("b": 1.0)", Code::CorruptFile, "token b has id 1"},
           Case{R"("b": 1)", R"("b": 1e999)", Code::CorruptFile, "not valid JSON"},
           Case{R"("b": 1)", R"("b": 18446744073709551615)", Code::CorruptFile, "token b has id 1.8"},
           Case{R"("b": 1)", R"("b": 9223372036854775807)", Code::Unsupported, "has id 9223372036854775807"},
           Case{R"("b": 1)", R"("b": 1, "b": 1)", Code::CorruptFile, "the key \"b\" stands twice"},
           Case{R"("special": true)", R"("special": "yes")", Code::CorruptFile,
                "special is \"yes\", true or false was expected"},
           Case{R"("ignore_merges": true)", R"("ignore_merges": 1)", Code::CorruptFile,
                "ignore_merges is 1, true or false was expected"},
           Case{R"("use_regex": true)", R"("use_regex": 0)", Code::CorruptFile,
                "use_regex is 0, true or false"},
           Case{R"("content": "<s>")", R"("content": "")", Code::CorruptFile, "has no id or no content"},
           Case{R"("id": 6)", R"("id": -6)", Code::CorruptFile, "has no id or no content"},
           Case{R"("id": 6)", R"("id": 1048576)", Code::Unsupported, "token <s> has id 1048576"},
       }) {
    SCOPED_TRACE(c.to);
    json = kJson;
    edit(c.from, c.to);
    EXPECT_STATUS(read(), c.code, c.part);
  }
}

TEST_F(HuggingFaceTokenizer, LimitsOfTokens) {
  auto last = [&](const std::string &text, const std::string &id) {
    json = kJson;
    edit(R"("abĠ": 4}, "merges": ["a b", ["ab", "Ġ"]])", "\"" + text + "\": " + id + R"(}, "merges": [])");
    return read();
  };
  EXPECT_OK(last("x", std::to_string(kMaxTokens - 1)));
  EXPECT_STATUS(last("x", std::to_string(kMaxTokens)), Code::Unsupported, "has id 1048576, at most 1048575");
  EXPECT_OK(last(std::string(MaxTokenBytes, 'x'), "4"));
  EXPECT_STATUS(last(std::string(MaxTokenBytes + 1, 'x'), "4"), Code::Unsupported,
                "token 4 has 4097 bytes, at most 4096");
  for (size_t more : {size_t(0), size_t(1)}) {
    json = kJson;
    edit("<s>", std::string(kMaxAddedTokenBytes + more, 's'));
    if (more == 0)
      EXPECT_OK(read());
    else
      EXPECT_STATUS(read(), Code::Unsupported, "has 1025 bytes, at most 1024");
  }
}
TEST_F(HuggingFaceTokenizer, LimitsOfTokensAroundAText) {
  const std::string token = R"({"SpecialToken": {"id": "<s>", "type_id": 0}}, )";
  auto around = [&](size_t pieces, size_t ids) {
    std::string single, list;
    for (size_t i = 0; i < pieces; ++i)
      single += token;
    for (size_t i = 0; i < ids; ++i)
      list += i ? ", 6" : "6";
    json = kJson;
    edit(R"("post_processor": null)", R"("post_processor": {"type": "TemplateProcessing", "single": [)" +
                                          single +
                                          R"({"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": )" +
                                          R"({"<s>": {"ids": [)" + list + "]}}}");
    return read();
  };
  EXPECT_EQ(around(1, kMaxTemplateTokens)->tokenizer.prefix_ids.size(), kMaxTemplateTokens);
  EXPECT_STATUS(around(1, kMaxTemplateTokens + 1), Code::Unsupported, "with 65 tokens around a text");
  EXPECT_EQ(around(kMaxTemplateTokens - 1, 1)->tokenizer.prefix_ids.size(), kMaxTemplateTokens - 1);
  EXPECT_STATUS(around(kMaxTemplateTokens, 1), Code::Unsupported, "template of 65 parts");
}
TEST_F(HuggingFaceTokenizer, RejectsOneEditOfThePostProcessor) {
  const std::string whole =
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, )"
      R"({"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"ids": [6]}}})";
  struct Case {
    const char *from, *to;
    Code code;
    const char *part;
  };
  for (const Case &c : {
           Case{"\"ids\": [6]", "\"ids\": [-1]", Code::CorruptFile, "has token -1, which the vocabulary"},
           Case{"\"ids\": [6]", "\"ids\": [8]", Code::CorruptFile, "has token 8, which the vocabulary"},
           Case{"\"ids\": [6]", "\"ids\": 6", Code::CorruptFile, "which special_tokens does not have"},
           Case{"{\"<s>\"", "{\"<q>\"", Code::CorruptFile, "which special_tokens does not have"},
           Case{"\"A\"", "\"B\"", Code::Unsupported, "post_processor template"},
           Case{", {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}", "", Code::Unsupported,
                "post_processor template"},
           Case{"\"single\"", "\"double\"", Code::CorruptFile, "has no single"},
           Case{"{\"type\": \"TemplateProcessing\"", "[{\"type\": \"TemplateProcessing\"", Code::CorruptFile,
                "not valid JSON"},
           Case{"\"type\": \"TemplateProcessing\"", "\"type\": \"Sequence\"", Code::CorruptFile,
                "post_processor Sequence has no processors"},
       }) {
    SCOPED_TRACE(c.to);
    std::string text = whole;
    json = kJson;
    edit(R"("post_processor": null)", "\"post_processor\": " + whole);
    ASSERT_OK(read());
    edit(c.from, c.to);
    EXPECT_STATUS(read(), c.code, c.part);
  }
}
TEST_F(HuggingFaceTokenizer, RejectsOneEditOfTheConfiguration) {
  for (auto [text, part] :
       {std::pair("[]", "is not a JSON object"),
        std::pair(R"({"bos_token": 6})", "bos_token is 6, a token's text was expected"),
        std::pair(R"({"eos_token": {"id": 6}})", "eos_token is {\"id\": 6}, a token's text"),
        std::pair(R"({"eos_token": "<s>)", "not valid JSON")}) {
    config = text;
    EXPECT_STATUS(read(), Code::CorruptFile, part);
  }
  config = R"({"bos_token": null, "eos_token": null, "chat_template": null})";
  EXPECT_EQ(read()->tokenizer.eos_id, -1);
}
TEST_F(HuggingFaceTokenizer, LimitsOfFiles) {
  ASSERT_OK(read());
  const std::string path = folder.path("tokenizer.json");
  json = kJson + std::string(kMaxTokenizerConfigBytes - kJson.size(), ' ');
  ASSERT_OK(read());
  std::filesystem::resize_file(path, kMaxTokenizerBytes); // sparse: zeros, which are no JSON
  EXPECT_STATUS(readTokenizer("hf", path, "", ""), Code::CorruptFile, "not valid JSON");
  std::filesystem::resize_file(path, kMaxTokenizerBytes + 1);
  EXPECT_STATUS(readTokenizer("hf", path, "", ""), Code::InvalidArgument,
                "has 134217729 bytes, at most 134217728 are read");
  json = kJson;
  config = "{" + std::string(kMaxTokenizerConfigBytes - 2, ' ') + "}";
  EXPECT_OK(read());
  config += ' ';
  EXPECT_STATUS(read(), Code::InvalidArgument, "at most 16777216 are read");
}
TEST_F(HuggingFaceTokenizer, LimitsOfTemplates) {
  jinja = std::string(kMaxChatTemplateBytes, 'x');
  EXPECT_EQ(read()->chatTemplate.size(), kMaxChatTemplateBytes);
  config = R"({"chat_template": ")" + jinja + "\"}";
  jinja.clear();
  EXPECT_EQ(read()->chatTemplate.size(), kMaxChatTemplateBytes);
  config.insert(config.size() - 2, "x");
  EXPECT_STATUS(read(), Code::Unsupported, "the chat template has 1048577 bytes, at most 1048576");
  jinja = std::string(kMaxChatTemplateBytes + 1, 'x');
  EXPECT_STATUS(read(), Code::InvalidArgument, "at most 1048576 are read");
  jinja = "\xff";
  EXPECT_STATUS(read(), Code::CorruptFile, "the chat template is not UTF-8");
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
  const TokenizerSource &t = data->tokenizer;
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
  builder.text("tokenizer.ggml.model", "bert");
  EXPECT_STATUS(read(), Code::Unsupported, "tokenizer.ggml.model is bert, supported are gpt2");
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
TEST_F(GgufTokenizer, RejectsOneEdit) {
  struct Case {
    const char *what;
    std::function<void(GgufBuilder &)> edit;
    Code code;
    const char *part;
  };
  using Words = std::vector<std::string>;
  for (const Case &c : {
           Case{"no tokens", [](auto &g) { g.remove("tokenizer.ggml.tokens"); }, Code::CorruptFile,
                "needs tokenizer.ggml.tokens, merges"},
           Case{"empty tokens", [](auto &g) { g.texts("tokenizer.ggml.tokens", Words()); }, Code::CorruptFile,
                "needs tokenizer.ggml.tokens, merges"},
           Case{"tokens of another type", [](auto &g) { g.integers("tokenizer.ggml.tokens", {1}); },
                Code::CorruptFile, "needs tokenizer.ggml.tokens, merges"},
           Case{"no merges", [](auto &g) { g.remove("tokenizer.ggml.merges"); }, Code::CorruptFile,
                "needs tokenizer.ggml.tokens, merges"},
           Case{"no types", [](auto &g) { g.remove("tokenizer.ggml.token_type"); }, Code::CorruptFile,
                "needs tokenizer.ggml.tokens, merges"},
           Case{"a merge of no token", [](auto &g) { g.texts("tokenizer.ggml.merges", Words{"a c"}); },
                Code::CorruptFile, "merge 0 (a c) names text that is no token"},
           Case{"a merge to no token", [](auto &g) { g.texts("tokenizer.ggml.merges", Words{"b a"}); },
                Code::CorruptFile, "merge 0 (b a) names text that is no token"},
           Case{"a merge of one", [](auto &g) { g.texts("tokenizer.ggml.merges", Words{"ab"}); },
                Code::CorruptFile, "merge 0 (ab) is not two texts"},
           Case{"a merge of three", [](auto &g) { g.texts("tokenizer.ggml.merges", Words{"a b c"}); },
                Code::CorruptFile, "merge 0 (a b c) is not two texts"},
           Case{"a merge twice", [](auto &g) { g.texts("tokenizer.ggml.merges", Words{"a b", "a b"}); },
                Code::CorruptFile, "merge 1 (a b) stands twice"},
           Case{"an empty token",
                [](auto &g) { g.texts("tokenizer.ggml.tokens", Words{"<s>", "a", "b", "ab", ""}); },
                Code::CorruptFile, "token 4 is empty"},
           Case{"bytes that are no text",
                [](auto &g) { g.texts("tokenizer.ggml.tokens", Words{"<s>", "a", "b", "ab", "\xff\n"}); },
                Code::CorruptFile, "token ?? (id 4) is not UTF-8"},
           Case{"type 0", [](auto &g) { g.integers("tokenizer.ggml.token_type", {0, 1, 1, 1, 4}); },
                Code::CorruptFile, "token 0 has type 0"},
           Case{"type 7", [](auto &g) { g.integers("tokenizer.ggml.token_type", {7, 1, 1, 1, 4}); },
                Code::CorruptFile, "token 0 has type 7"},
           Case{"bos outside", [](auto &g) { g.u32("tokenizer.ggml.bos_token_id", ~0u); }, Code::CorruptFile,
                "tokenizer.ggml.bos_token_id is 4294967295 of 5 tokens"},
           Case{"end of turn outside", [](auto &g) { g.u32("tokenizer.ggml.eot_token_id", 5); },
                Code::CorruptFile, "tokenizer.ggml.eot_token_id is 5 of 5 tokens"},
           Case{"bos as text", [](auto &g) { g.text("tokenizer.ggml.bos_token_id", "0"); }, Code::CorruptFile,
                "key tokenizer.ggml.bos_token_id is not an integer"},
           Case{"add_bos as number", [](auto &g) { g.u32("tokenizer.ggml.add_bos_token", 1); },
                Code::CorruptFile, "key tokenizer.ggml.add_bos_token is not true or false"},
           Case{"rule as number", [](auto &g) { g.u32("tokenizer.ggml.pre", 1); }, Code::CorruptFile,
                "key tokenizer.ggml.pre is not a text"},
           Case{"a template of bytes", [](auto &g) { g.text("tokenizer.chat_template", "\xc3("); },
                Code::CorruptFile, "the chat template is not UTF-8"},
           Case{"a template too long",
                [](auto &g) {
                  g.text("tokenizer.chat_template", std::string(kMaxChatTemplateBytes + 1, 'x'));
                },
                Code::Unsupported, "the chat template has 1048577 bytes"},
           Case{"an added token too long",
                [](auto &g) {
                  g.texts("tokenizer.ggml.tokens",
                          Words{std::string(kMaxAddedTokenBytes + 1, 's'), "a", "b", "ab", "<t>"});
                },
                Code::Unsupported, "has 1025 bytes, at most 1024"},
       }) {
    SCOPED_TRACE(c.what);
    builder = GgufBuilder();
    SetUp();
    ASSERT_OK(read());
    c.edit(builder);
    EXPECT_STATUS(read(), c.code, c.part);
  }
}
TEST_F(GgufTokenizer, RejectsDoubleTokens) {
  builder.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab", "a"});
  EXPECT_STATUS(read(), Code::CorruptFile, "token a (id 4) stands twice");
}

struct ScoredTokenizer : testing::Test {
  TempFolder folder;
  GgufBuilder builder;

  void SetUp() override {
    builder.text("tokenizer.ggml.model", "llama");
    builder.texts("tokenizer.ggml.tokens",
                  {"<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "aa", "ab", "aab", "\u2581"});
    builder.integers("tokenizer.ggml.token_type", {2, 3, 3, 6, 1, 1, 1, 1, 1, 1});
    builder.reals("tokenizer.ggml.scores", {0, 0, 0, 0, -5, -6, -1, -0.5f, -3, -7});
    builder.u32("tokenizer.ggml.bos_token_id", 1);
    builder.u32("tokenizer.ggml.eos_token_id", 2);
    builder.u32("tokenizer.ggml.unknown_token_id", 0);
  }
  Result<TokenizerData> read() {
    writeFile(folder.path("m.gguf"), builder.bytes());
    return readTokenizer("gguf", folder.path("m.gguf"), "", "");
  }
};

TEST_F(ScoredTokenizer, ListsMergesByScoreThenByTheLongestLeftHalf) {
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  const TokenizerSource &t = data->tokenizer;
  // ab, aa, then aab of aa + b and of a + ab.
  EXPECT_EQ(t.merges, (std::vector<uint32_t>{4, 5, 4, 4, 6, 5, 4, 7}));
  EXPECT_EQ(t.alphabet, fbs::Alphabet::Text);
  EXPECT_EQ(t.normalizer, fbs::Normalizer::MarksInFront);
  EXPECT_TRUE(t.byte_fallback && t.fuse_unknown && t.strip_leading_space);
  EXPECT_EQ(t.kinds[3], fbs::TokenKind::Byte);
  EXPECT_EQ(t.unk_id, 0);
  EXPECT_EQ(t.prefix_ids, std::vector<uint32_t>{1}); // where add_bos_token is absent
  EXPECT_EQ(t.added.size(), 3u);                     // the unknown token is found in a text as well
}
TEST_F(ScoredTokenizer, SpacePrefixIsOptional) {
  builder.boolean("tokenizer.ggml.add_space_prefix", false);
  builder.boolean("tokenizer.ggml.add_bos_token", false);
  Result<TokenizerData> data = read();
  ASSERT_OK(data);
  EXPECT_EQ(data->tokenizer.normalizer, fbs::Normalizer::Marks);
  EXPECT_FALSE(data->tokenizer.strip_leading_space);
  EXPECT_TRUE(data->tokenizer.prefix_ids.empty());
}
TEST_F(ScoredTokenizer, LimitOfScoredTokens) {
  for (size_t more : {size_t(0), size_t(1)}) {
    builder.texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "aa", "ab",
                                            std::string(kMaxScoredTokenBytes + more, 'x'), "\u2581"});
    if (more == 0)
      EXPECT_OK(read());
    else
      EXPECT_STATUS(read(), Code::Unsupported, "token 8 has 1025 bytes, at most 1024");
  }
}
TEST_F(ScoredTokenizer, RejectsOneEdit) {
  ASSERT_OK(read());
  builder.reals("tokenizer.ggml.scores", {0, 0, 0, 0, -5, -6, -1, -0.5f, -3});
  EXPECT_STATUS(read(), Code::CorruptFile, "needs a tokenizer.ggml.scores for each token");
  builder.reals("tokenizer.ggml.scores", {0, 0, 0, 0, -5, -6, std::nanf(""), -0.5f, -3, -7});
  EXPECT_STATUS(read(), Code::CorruptFile, "the score of token 6 is not finite");
  builder.remove("tokenizer.ggml.scores");
  EXPECT_STATUS(read(), Code::CorruptFile, "needs a tokenizer.ggml.scores for each token");
}
TEST_F(ScoredTokenizer, RefusesWhatItDoesNotKnowByName) {
  builder.text("tokenizer.ggml.pre", "default");
  ASSERT_OK(read());
  builder.text("tokenizer.ggml.pre", "tekken");
  EXPECT_STATUS(read(), Code::Unsupported, "tokenizer.ggml.pre is tekken with tokenizer.ggml.model llama");
  builder.remove("tokenizer.ggml.pre");
  builder.boolean("tokenizer.ggml.remove_extra_whitespaces", true);
  EXPECT_STATUS(read(), Code::Unsupported, "remove_extra_whitespaces = true");
  builder.remove("tokenizer.ggml.remove_extra_whitespaces");
  builder.integers("tokenizer.ggml.precompiled_charsmap", {1});
  EXPECT_STATUS(read(), Code::Unsupported, "precompiled_charsmap");
}

} // namespace
