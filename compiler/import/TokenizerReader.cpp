//===- TokenizerReader.cpp - tokenizers of checkpoints ---------------------===//
// Two files, one result. A rule that this table does not know would make other ids from the same text, and
// the model would talk on without anybody noticing: so everything unknown is refused by name.
#include "compiler/import/TokenizerReader.h"

#include "compiler/import/Gguf.h"
#include "compiler/import/Json.h"
#include "compiler/import/Shown.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

namespace lorac {
namespace {

constexpr const char *kRemedy =
    "; use a checkpoint with another tokenizer, or compile without tokenizer files "
    "and give tokens as numbers";

Status checkAddedToken(const std::string &path, std::string_view text) {
  if (text.size() <= kMaxAddedTokenBytes)
    return Status::ok();
  return Status(Code::Unsupported) << path << ": added token " << shown(text) << " has " << text.size()
                                   << " bytes, at most " << kMaxAddedTokenBytes << " are supported"
                                   << kRemedy;
}

Status checkTemplate(const std::string &path, std::string_view text) {
  if (text.size() > kMaxChatTemplateBytes)
    return Status(Code::Unsupported) << path << ": the chat template has " << text.size()
                                     << " bytes, at most " << kMaxChatTemplateBytes
                                     << " are supported; use a checkpoint with another template";
  if (!isUtf8(text))
    return Status(Code::CorruptFile) << path << ": the chat template is not UTF-8; fetch the file again";
  return Status::ok();
}

/// Collects tokens by id and by text.
class VocabularyReader {
public:
  VocabularyReader(const std::string &path, TokenizerSource &out) : path(path), out(out) {}

  Status add(std::string_view text, uint64_t id, fbs::TokenKind kind) {
    if (id >= kMaxTokens)
      return Status(Code::Unsupported) << path << ": token " << shown(text) << " has id " << id
                                       << ", at most " << kMaxTokens - 1 << " is supported";
    if (text.empty())
      return Status(Code::CorruptFile) << path << ": token " << id << " is empty; fetch the file again";
    if (text.size() > MaxTokenBytes)
      return Status(Code::Unsupported) << path << ": token " << id << " has " << text.size()
                                       << " bytes, at most " << MaxTokenBytes << " are supported" << kRemedy;
    if (!isUtf8(text))
      return Status(Code::CorruptFile)
             << path << ": token " << shown(text) << " (id " << id << ") is not UTF-8; fetch the file again";
    if (id >= out.tokens.size()) {
      out.tokens.resize(id + 1);
      out.kinds.resize(id + 1, fbs::TokenKind::Normal);
    }
    if (!out.tokens[id].empty() || !ids.emplace(std::string(text), uint32_t(id)).second)
      return Status(Code::CorruptFile)
             << path << ": token " << shown(text) << " (id " << id << ") stands twice; fetch the file again";
    out.tokens[id] = text;
    out.kinds[id] = kind;
    return Status::ok();
  }

  const uint32_t *find(std::string_view text) const {
    auto found = ids.find(text);
    return found == ids.end() ? nullptr : &found->second;
  }

  /// Both halves must be tokens, and so must the whole: else the merge could never be made.
  Status addMerge(std::string_view left, std::string_view right) {
    const uint32_t *a = find(left), *b = find(right);
    std::string whole = std::string(left) + std::string(right);
    if (!a || !b || !find(whole))
      return Status(Code::CorruptFile)
             << path << ": merge " << out.merges.size() / 2 << " (" << shown(left) << ' ' << shown(right)
             << ") names text that is no token; fetch the file again";
    if (!merged.emplace(*a, *b).second)
      return Status(Code::CorruptFile) << path << ": merge " << out.merges.size() / 2 << " (" << shown(left)
                                       << ' ' << shown(right) << ") stands twice; fetch the file again";
    out.merges.push_back(*a);
    out.merges.push_back(*b);
    return Status::ok();
  }

  /// "left right": byte-level tokens hold no space, so there is exactly one.
  Status addMerge(std::string_view pair) {
    size_t space = pair.find(' ');
    if (space == std::string_view::npos || pair.find(' ', space + 1) != std::string_view::npos)
      return Status(Code::CorruptFile) << path << ": merge " << out.merges.size() / 2 << " (" << shown(pair)
                                       << ") is not two texts with a space between; fetch the file again";
    return addMerge(pair.substr(0, space), pair.substr(space + 1));
  }

private:
  const std::string &path;
  TokenizerSource &out;
  // Trees, not hash tables: a file can choose texts that meet in one bucket.
  std::map<std::string, uint32_t, std::less<>> ids;
  std::set<std::pair<uint32_t, uint32_t>> merged;
};

/// U+2581, written for a space in tokens of the alphabet Text.
constexpr std::string_view kMark = "\xe2\x96\x81";

/// "<0x0A>" and its like.
bool isByteToken(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
         text.find_first_not_of("0123456789ABCDEFabcdef", 3) == 5;
}

/// What a merge names is made of symbols, whatever else it is.
void keepMergeable(TokenizerSource &out) {
  std::map<std::string_view, size_t> special;
  for (size_t id = 0; id < out.tokens.size(); ++id)
    if (out.kinds[id] != fbs::TokenKind::Normal)
      special.emplace(out.tokens[id], id);
  std::string whole;
  for (size_t i = 0; i + 1 < out.merges.size(); i += 2) {
    const size_t left = out.merges[i], right = out.merges[i + 1];
    out.kinds[left] = out.kinds[right] = fbs::TokenKind::Normal;
    whole = out.tokens[left] + out.tokens[right];
    if (auto found = special.find(whole); found != special.end())
      out.kinds[found->second] = fbs::TokenKind::Normal;
  }
}

// ---- tokenizer.json -------------------------------------------------------------------------------

// The two patterns as the tokenizer.json files of Llama 3 and Qwen 2 hold them; they are compared, never run.
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class HuggingFaceReader {
public:
  HuggingFaceReader(const std::string &path, const JsonValue &root, TokenizerData &data)
      : path(path), root(root), data(data), out(data.tokenizer), vocabulary(path, out) {}

  Status read() {
    LORAC_TRY(readModel());
    LORAC_TRY(readAddedTokens());
    LORAC_TRY(readMerges());
    keepMergeable(out);
    LORAC_ASSIGN(auto cutters, flatten(root.findSet("pre_tokenizer"), "pretokenizers", "pre_tokenizer"));
    LORAC_ASSIGN(auto normalizers, flatten(root.findSet("normalizer"), "normalizers", "normalizer"));
    if (!cutters.empty() && typeOf(*cutters.back()) == "ByteLevel") {
      LORAC_TRY(readNormalForm(normalizers));
      LORAC_TRY(readByteLevel(cutters));
      LORAC_TRY(checkByteLevelDecoder());
    } else {
      LORAC_TRY(readMarked(normalizers, cutters));
      LORAC_TRY(readMarkedDecoder());
    }
    LORAC_TRY(readPostProcessor());
    return wrongFlag.empty() ? Status::ok() : corrupt(wrongFlag + ", true or false was expected");
  }

  const uint32_t *find(std::string_view text) const { return vocabulary.find(text); }

private:
  Status unsupported(std::string_view part, std::string_view what) const {
    return Status(Code::Unsupported) << path << ": " << part << ' ' << what << " is not supported" << kRemedy;
  }
  Status corrupt(std::string_view what) const {
    return Status(Code::CorruptFile) << path << ": " << what << "; fetch the file again";
  }

  static std::string typeOf(const JsonValue &value) {
    const JsonValue *type = value.find("type");
    return type && type->isString() ? type->string : std::string("without a type");
  }
  /// A flag that is neither true, false nor null is noted in `wrongFlag`.
  bool flag(const JsonValue &value, std::string_view key, bool fallback) {
    const JsonValue *found = value.findSet(key);
    if (found && !found->isBool())
      wrongFlag = std::string(key) + " is " + found->text();
    return found && found->isBool() ? found->boolean : fallback;
  }

  Status readModel() {
    model = root.findSet("model");
    if (!model || !model->isObject())
      return corrupt("has no model");
    if (const JsonValue *type = model->find("type"); type && (!type->isString() || type->string != "BPE"))
      return unsupported("model", typeOf(*model));
    for (std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const JsonValue *value = model->find(key); value && !value->isUnset())
        return unsupported("model", std::string(key) + " = " + value->text());
    if (const JsonValue *dropout = model->findSet("dropout");
        dropout && (!dropout->isNumber() || dropout->real != 0))
      return unsupported("model", "dropout = " + dropout->text());
    out.ignore_merges = flag(*model, "ignore_merges", false);
    out.byte_fallback = flag(*model, "byte_fallback", false);
    out.fuse_unknown = flag(*model, "fuse_unk", false);
    const JsonValue *vocab = model->find("vocab");
    if (!vocab || !vocab->isObject() || vocab->members.empty())
      return corrupt("has no vocabulary");
    for (const auto &[text, id] : vocab->members) {
      if (!id.isInteger() || id.integer < 0)
        return corrupt("token " + shown(text) + " has id " + id.text());
      LORAC_TRY(vocabulary.add(text, uint64_t(id.integer), fbs::TokenKind::Normal));
    }
    if (const JsonValue *unknown = model->findSet("unk_token")) {
      const uint32_t *id = unknown->isString() ? find(unknown->string) : nullptr;
      if (!id)
        return corrupt("unk_token " + unknown->text() + " is no token");
      out.unk_id = *id;
      out.kinds[*id] = fbs::TokenKind::Unknown;
    }
    return Status::ok();
  }

  Status readMerges() {
    const JsonValue *merges = model->find("merges");
    if (!merges || !merges->isArray())
      return corrupt("has no merges");
    for (const JsonValue &merge : merges->items) {
      if (merge.isString())
        LORAC_TRY(vocabulary.addMerge(merge.string));
      else if (merge.isArray() && merge.items.size() == 2 && merge.items[0].isString() &&
               merge.items[1].isString())
        LORAC_TRY(vocabulary.addMerge(merge.items[0].string, merge.items[1].string));
      else
        return corrupt("merge " + merge.text() + " is not a pair of texts");
    }
    return Status::ok();
  }

  Status readAddedTokens() {
    const JsonValue *added = root.findSet("added_tokens");
    if (!added)
      return Status::ok();
    if (!added->isArray())
      return corrupt("has added_tokens that is not a list");
    std::set<uint32_t> seen;
    for (const JsonValue &item : added->items) {
      const JsonValue *id = item.find("id"), *content = item.find("content");
      if (!id || !id->isInteger() || id->integer < 0 || !content || !content->isString() ||
          content->string.empty())
        return corrupt("added token " + item.text() + " has no id or no content");
      LORAC_TRY(checkAddedToken(path, content->string));
      const bool special = flag(item, "special", false);
      const auto kind = special ? fbs::TokenKind::Control : fbs::TokenKind::UserDefined;
      if (const uint32_t *known = find(content->string)) {
        if (*known != uint64_t(id->integer))
          return corrupt("added token " + shown(content->string) + " has id " + id->text() +
                         " and the vocabulary says " + std::to_string(*known));
        // One that is no special token stays a word that merges may reach.
        if (special && out.kinds[*known] != fbs::TokenKind::Unknown)
          out.kinds[*known] = kind;
      } else {
        LORAC_TRY(vocabulary.add(content->string, uint64_t(id->integer), kind));
      }
      auto token = std::make_unique<fbs::AddedTokenT>();
      token->id = uint32_t(id->integer);
      token->content = content->string;
      token->single_word = flag(item, "single_word", false);
      token->lstrip = flag(item, "lstrip", false);
      token->rstrip = flag(item, "rstrip", false);
      token->normalized = flag(item, "normalized", !special);
      token->special = special;
      if (!seen.insert(token->id).second)
        return corrupt("added token " + shown(token->content) + " stands twice");
      out.added.push_back(std::move(token));
    }
    return Status::ok();
  }

  /// A component and, where it is a Sequence, what it is made of.
  Result<std::vector<const JsonValue *>> flatten(const JsonValue *value, std::string_view listKey,
                                                 std::string_view part) const {
    std::vector<const JsonValue *> flat;
    std::vector<const JsonValue *> pending;
    if (value)
      pending.push_back(value);
    while (!pending.empty()) {
      const JsonValue *next = pending.back();
      pending.pop_back();
      if (!next->isObject())
        return corrupt(std::string(part) + " is not an object");
      if (typeOf(*next) != "Sequence") {
        flat.push_back(next);
        continue;
      }
      const JsonValue *list = next->find(listKey);
      if (!list || !list->isArray())
        return corrupt(std::string(part) + " Sequence has no " + std::string(listKey));
      for (auto item = list->items.rbegin(); item != list->items.rend(); ++item)
        pending.push_back(&*item);
    }
    return flat;
  }

  Status readNormalForm(const std::vector<const JsonValue *> &parts) {
    for (const JsonValue *part : parts) {
      if (typeOf(*part) != "NFC")
        return unsupported("normalizer", typeOf(*part));
      out.normalizer = fbs::Normalizer::Nfc;
    }
    return Status::ok();
  }

  Status readByteLevel(std::vector<const JsonValue *> parts) {
    if (out.byte_fallback)
      return unsupported("model", "byte_fallback = true with pre_tokenizer ByteLevel");
    const JsonValue &byteLevel = *parts.back();
    const bool splits = flag(byteLevel, "use_regex", true);
    out.add_prefix_space = flag(byteLevel, "add_prefix_space", true);
    out.pre_tokenizer = splits ? fbs::PreTokenizer::Classic : fbs::PreTokenizer::None;
    parts.pop_back();
    if (parts.empty())
      return Status::ok();
    if (parts.size() > 1)
      return unsupported("pre_tokenizer", "Sequence of " + std::to_string(parts.size() + 1) + " parts");
    const JsonValue &first = *parts.front();
    if (typeOf(first) == "Digits") {
      if (!flag(first, "individual_digits", false))
        return unsupported("pre_tokenizer", "Digits with individual_digits = false");
      out.digits_alone = true;
      if (splits)
        out.pre_tokenizer = fbs::PreTokenizer::ClassicDigits;
      return Status::ok();
    }
    if (typeOf(first) != "Split")
      return unsupported("pre_tokenizer", typeOf(first));
    const JsonValue *pattern = first.find("pattern"), *behavior = first.find("behavior");
    const JsonValue *regex = pattern ? pattern->find("Regex") : nullptr;
    if (!regex || !regex->isString())
      return unsupported("pre_tokenizer", "Split by " + (pattern ? pattern->text() : std::string("nothing")));
    if (!behavior || !behavior->isString() || behavior->string != "Isolated" ||
        flag(first, "invert", false) || splits)
      return unsupported("pre_tokenizer", "Split with behavior " +
                                              (behavior ? behavior->text() : std::string("null")) +
                                              ", invert or a second split after it");
    if (regex->string == kLlama3Pattern)
      out.pre_tokenizer = fbs::PreTokenizer::ModernTriples;
    else if (regex->string == kQwen2Pattern)
      out.pre_tokenizer = fbs::PreTokenizer::ModernDigits;
    else
      return unsupported("pre_tokenizer", "Split by " + regex->text());
    if (out.add_prefix_space)
      return unsupported("pre_tokenizer", "Split with add_prefix_space = true");
    return Status::ok();
  }

  Status readPostProcessor() {
    LORAC_ASSIGN(auto parts, flatten(root.findSet("post_processor"), "processors", "post_processor"));
    for (const JsonValue *part : parts) {
      if (typeOf(*part) == "ByteLevel") // trims offsets, which nobody asks for here
        continue;
      if (typeOf(*part) != "TemplateProcessing")
        return unsupported("post_processor", typeOf(*part));
      LORAC_TRY(readTemplate(*part));
    }
    return Status::ok();
  }

  /// `single` says what stands around a text: [special tokens] A [special tokens]. A later template goes
  /// around an earlier one.
  Status readTemplate(const JsonValue &part) {
    const JsonValue *single = part.find("single"), *specials = part.find("special_tokens");
    if (!single || !single->isArray())
      return corrupt("post_processor TemplateProcessing has no single");
    if (single->items.size() > kMaxTemplateTokens) // each is looked up
      return unsupported("post_processor", "template of " + std::to_string(single->items.size()) + " parts");
    std::vector<uint32_t> before, after;
    unsigned sequences = 0;
    for (const JsonValue &piece : single->items) {
      if (const JsonValue *sequence = piece.find("Sequence")) {
        const JsonValue *id = sequence->find("id");
        if (!id || !id->isString() || id->string != "A" || ++sequences > 1)
          return unsupported("post_processor", "template " + single->text());
        continue;
      }
      const JsonValue *special = piece.find("SpecialToken");
      const JsonValue *name = special ? special->find("id") : nullptr;
      const JsonValue *known = name && name->isString() && specials ? specials->find(name->string) : nullptr;
      const JsonValue *ids = known ? known->find("ids") : nullptr;
      if (!ids || !ids->isArray())
        return corrupt("post_processor template names " + piece.text() +
                       ", which special_tokens does not have");
      for (const JsonValue &id : ids->items) {
        if (!id.isInteger() || id.integer < 0 || uint64_t(id.integer) >= out.tokens.size())
          return corrupt("post_processor has token " + id.text() + ", which the vocabulary does not have");
        (sequences ? after : before).push_back(uint32_t(id.integer));
      }
    }
    if (sequences != 1)
      return unsupported("post_processor", "template " + single->text());
    out.prefix_ids.insert(out.prefix_ids.begin(), before.begin(), before.end());
    out.suffix_ids.insert(out.suffix_ids.end(), after.begin(), after.end());
    if (size_t count = out.prefix_ids.size() + out.suffix_ids.size(); count > kMaxTemplateTokens)
      return unsupported("post_processor", "with " + std::to_string(count) + " tokens around a text");
    return Status::ok();
  }

  Status checkByteLevelDecoder() const {
    LORAC_ASSIGN(auto parts, flatten(root.findSet("decoder"), "decoders", "decoder"));
    if (parts.size() != 1 || typeOf(*parts.front()) != "ByteLevel")
      return unsupported("decoder", parts.empty() ? std::string("null") : typeOf(*parts.front()));
    return Status::ok();
  }

  static std::string stringOf(const JsonValue &value, std::string_view key) {
    const JsonValue *found = value.find(key);
    return found && found->isString() ? found->string : std::string();
  }
  /// Whether `part` is a Replace or Split whose pattern is this very text.
  static bool hasPattern(const JsonValue &part, std::string_view text) {
    const JsonValue *pattern = part.find("pattern");
    return pattern && stringOf(*pattern, "String") == text;
  }

  /// A normalizer that writes each space as the mark, with or without a mark in front; or a pre-tokenizer
  /// Metaspace, which does the same later.
  Status readMarked(const std::vector<const JsonValue *> &normalizers,
                    const std::vector<const JsonValue *> &cutters) {
    out.alphabet = fbs::Alphabet::Text;
    bool marks = false, inFront = false;
    for (const JsonValue *part : normalizers) {
      if (typeOf(*part) == "Prepend" && stringOf(*part, "prepend") == kMark && !inFront)
        inFront = true;
      else if (typeOf(*part) == "Replace" && hasPattern(*part, " ") && stringOf(*part, "content") == kMark)
        marks = true;
      else
        return unsupported("normalizer", typeOf(*part) == "Prepend" || typeOf(*part) == "Replace"
                                             ? part->text()
                                             : typeOf(*part));
    }
    if (inFront && !marks)
      return unsupported("normalizer", "Prepend without a Replace of spaces");
    if (marks)
      out.normalizer = inFront ? fbs::Normalizer::MarksInFront : fbs::Normalizer::Marks;
    if (cutters.empty())
      return marks ? Status::ok()
                   : unsupported("pre_tokenizer", "null without a normalizer that marks spaces");
    const JsonValue &cutter = *cutters.front();
    if (cutters.size() > 1)
      return unsupported("pre_tokenizer", "Sequence of " + std::to_string(cutters.size()) +
                                              " parts without a ByteLevel at its end");
    if (typeOf(cutter) == "Split" && hasPattern(cutter, " ") && marks)
      return Status::ok(); // no space is left to cut at
    if (typeOf(cutter) != "Metaspace")
      return unsupported("pre_tokenizer", typeOf(cutter) + " (last must stand ByteLevel or Metaspace)");
    if (marks)
      return unsupported("pre_tokenizer", "Metaspace after a normalizer that marks spaces");
    if (stringOf(cutter, "replacement") != kMark)
      return unsupported("pre_tokenizer",
                         "Metaspace with replacement " + shown(stringOf(cutter, "replacement")));
    out.pre_tokenizer =
        flag(cutter, "split", true) ? fbs::PreTokenizer::MarkedWords : fbs::PreTokenizer::Marked;
    const JsonValue *scheme = cutter.findSet("prepend_scheme");
    if (scheme && !(scheme->isString() &&
                    (scheme->string == "always" || scheme->string == "first" || scheme->string == "never")))
      return unsupported("pre_tokenizer", "Metaspace with prepend_scheme " + scheme->text());
    // Files of before 2024 have a flag instead.
    out.add_prefix_space = scheme ? scheme->string != "never" : flag(cutter, "add_prefix_space", true);
    out.prefix_first_only = scheme && scheme->string == "first";
    return Status::ok();
  }

  /// Replace of the mark, then where they are ByteFallback, Fuse and Strip of one leading space, in this
  /// order.
  Status readMarkedDecoder() {
    LORAC_ASSIGN(auto parts, flatten(root.findSet("decoder"), "decoders", "decoder"));
    size_t at = 0;
    auto next = [&](std::string_view type) {
      if (at == parts.size() || typeOf(*parts[at]) != type)
        return false;
      ++at;
      return true;
    };
    auto number = [](const JsonValue &part, std::string_view key) {
      const JsonValue *found = part.find(key);
      return found && found->isInteger() ? found->integer : -1;
    };
    if (!next("Replace") || !hasPattern(*parts[0], kMark) || stringOf(*parts[0], "content") != " ")
      return unsupported("decoder", parts.empty()                         ? std::string("null")
                                    : typeOf(*parts.front()) == "Replace" ? parts.front()->text()
                                                                          : typeOf(*parts.front()));
    const bool bytes = next("ByteFallback");
    const bool fused = next("Fuse");
    if (fused && next("Strip")) {
      const JsonValue &strip = *parts[at - 1];
      if (stringOf(strip, "content") != " " || number(strip, "start") != 1 || number(strip, "stop") != 0)
        return unsupported("decoder", strip.text());
      out.strip_leading_space = true;
    }
    if (at != parts.size())
      return unsupported("decoder", typeOf(*parts[at]) + " at place " + std::to_string(at + 1));
    if (out.byte_fallback && !bytes)
      return unsupported("model", "byte_fallback = true without a decoder ByteFallback");
    for (size_t id = 0; bytes && id < out.tokens.size(); ++id)
      if (out.kinds[id] == fbs::TokenKind::Normal && isByteToken(out.tokens[id]))
        out.kinds[id] = fbs::TokenKind::Byte;
    return Status::ok();
  }

  const std::string &path;
  const JsonValue &root;
  TokenizerData &data;
  TokenizerSource &out;
  VocabularyReader vocabulary;
  const JsonValue *model = nullptr;
  std::string wrongFlag;
};

/// The text of bos_token or eos_token: null, a string, or an added token written out.
Result<std::string> tokenText(const std::string &path, const JsonValue &config, std::string_view key) {
  const JsonValue *value = config.findSet(key), *text = value;
  if (value && value->isObject())
    text = value->findSet("content");
  if (value && (!text || !text->isString()))
    return Status(Code::CorruptFile) << path << ": " << key << " is " << value->text()
                                     << ", a token's text was expected; fetch the file again";
  return value ? text->string : std::string();
}

/// A string, or a list of {name, template} of which "default" is taken.
Result<std::string> templateOf(const std::string &path, const JsonValue &config) {
  const JsonValue *value = config.findSet("chat_template");
  if (!value)
    return std::string();
  if (value->isString())
    return value->string;
  for (const JsonValue &item : value->items) {
    const JsonValue *name = item.find("name"), *text = item.find("template");
    if (name && name->isString() && name->string == "default" && text && text->isString())
      return text->string;
  }
  return Status(Code::Unsupported)
         << path
         << ": chat_template is neither a text nor a list with one named default; name "
            "the one to use \"default\"";
}

Result<TokenizerData> readHuggingFace(const std::string &file, const std::string &configFile,
                                      const std::string &chatTemplateFile) {
  TokenizerData data;
  LORAC_ASSIGN(JsonValue root, readJsonFile(file, kMaxTokenizerBytes));
  HuggingFaceReader reader(file, root, data);
  LORAC_TRY(reader.read());
  if (!configFile.empty()) {
    LORAC_ASSIGN(JsonValue config, readJsonFile(configFile, kMaxTokenizerConfigBytes));
    if (!config.isObject())
      return Status(Code::CorruptFile) << configFile << ": is not a JSON object; fetch the file again";
    LORAC_ASSIGN(data.bosToken, tokenText(configFile, config, "bos_token"));
    LORAC_ASSIGN(data.eosToken, tokenText(configFile, config, "eos_token"));
    // A template that stands beside it goes before this one, so an odd one here is no error then.
    if (chatTemplateFile.empty()) {
      LORAC_ASSIGN(data.chatTemplate, templateOf(configFile, config));
    }
  }
  if (!chatTemplateFile.empty()) {
    LORAC_ASSIGN(data.chatTemplate, readTextFile(chatTemplateFile, kMaxChatTemplateBytes));
  }
  LORAC_TRY(checkTemplate(chatTemplateFile.empty() ? configFile : chatTemplateFile, data.chatTemplate));
  for (auto [text, id, what] : {std::tuple(&data.bosToken, &data.tokenizer.bos_id, "bos_token"),
                                std::tuple(&data.eosToken, &data.tokenizer.eos_id, "eos_token")}) {
    if (text->empty())
      continue;
    const uint32_t *found = reader.find(*text);
    if (!found)
      return Status(Code::CorruptFile) << configFile << ": " << what << " " << shown(*text)
                                       << " is no token of " << file << "; fetch both files again";
    *id = *found;
  }
  if (data.tokenizer.eos_id >= 0)
    data.eosIds.push_back(uint32_t(data.tokenizer.eos_id));
  return data;
}

// ---- GGUF -----------------------------------------------------------------------------------------

/// What the names of tokenizer.ggml.pre stand for.
struct GgufRule {
  std::string_view name;
  fbs::PreTokenizer rule;
  fbs::Normalizer normalizer;
  bool ignoreMerges;
  bool addBos; // where add_bos_token is absent
};
constexpr GgufRule kGgufRules[] = {
    {"gpt-2", fbs::PreTokenizer::Classic, fbs::Normalizer::None, false, false},
    {"gpt2", fbs::PreTokenizer::Classic, fbs::Normalizer::None, false, false},
    {"smollm", fbs::PreTokenizer::ClassicDigits, fbs::Normalizer::None, false, false},
    {"llama-bpe", fbs::PreTokenizer::ModernTriples, fbs::Normalizer::None, true, true},
    {"llama-v3", fbs::PreTokenizer::ModernTriples, fbs::Normalizer::None, true, true},
    {"llama3", fbs::PreTokenizer::ModernTriples, fbs::Normalizer::None, true, true},
    {"qwen2", fbs::PreTokenizer::ModernDigits, fbs::Normalizer::Nfc, false, false}};

Result<int64_t> tokenKey(const GgufFile &gguf, const std::string &key, size_t tokens) {
  LORAC_ASSIGN(std::optional<uint64_t> id, gguf.unsignedKey(key));
  if (!id)
    return int64_t(-1);
  if (*id >= tokens)
    return Status(Code::CorruptFile) << gguf.path() << ": " << key << " is " << *id << " of " << tokens
                                     << " tokens; convert the checkpoint again";
  return int64_t(*id);
}

Status missingTables(const GgufFile &gguf) {
  return Status(Code::CorruptFile) << gguf.path()
                                   << ": needs tokenizer.ggml.tokens, merges (model gpt2) or a score for "
                                      "each token (model llama), and a "
                                      "token_type for each token; convert the checkpoint again";
}

Status readGgufTokens(const GgufFile &gguf, TokenizerSource &out, VocabularyReader &vocabulary) {
  const GgufValue *tokens = gguf.find("tokenizer.ggml.tokens"),
                  *types = gguf.find("tokenizer.ggml.token_type");
  if (!tokens || tokens->kind != GgufValue::Kind::Strings || tokens->strings.empty() || !types ||
      types->kind != GgufValue::Kind::Integers || types->integers.size() != tokens->strings.size())
    return missingTables(gguf);
  const bool ofText = out.alphabet == fbs::Alphabet::Text;
  for (size_t id = 0; id < tokens->strings.size(); ++id) {
    fbs::TokenKind kind;
    switch (types->integers[id]) {
    case 1:
    case 5: // unused: a place in the table
      kind = fbs::TokenKind::Normal;
      break;
    case 2:
      kind = fbs::TokenKind::Unknown;
      break;
    case 3:
      kind = fbs::TokenKind::Control;
      break;
    case 4:
      kind = fbs::TokenKind::UserDefined;
      break;
    case 6:
      kind = fbs::TokenKind::Byte;
      break;
    default:
      return Status(Code::CorruptFile)
             << gguf.path() << ": token " << id << " has type " << types->integers[id]
             << ", 1 to 6 are known; convert the checkpoint again";
    }
    LORAC_TRY(vocabulary.add(tokens->strings[id], id, kind));
    // In files of the alphabet Text the unknown token is found in a text as well, as tokenizer.json has it.
    if (kind == fbs::TokenKind::Control || kind == fbs::TokenKind::UserDefined ||
        (kind == fbs::TokenKind::Unknown && ofText)) {
      LORAC_TRY(checkAddedToken(gguf.path(), tokens->strings[id]));
      auto token = std::make_unique<fbs::AddedTokenT>();
      token->id = uint32_t(id);
      token->content = tokens->strings[id];
      token->special = kind != fbs::TokenKind::UserDefined;
      out.added.push_back(std::move(token));
    }
  }
  return Status::ok();
}

Status readGgufMerges(const GgufFile &gguf, TokenizerSource &out, VocabularyReader &vocabulary) {
  const GgufValue *merges = gguf.find("tokenizer.ggml.merges");
  if (!merges || merges->kind != GgufValue::Kind::Strings)
    return missingTables(gguf);
  for (std::string_view merge : merges->strings)
    LORAC_TRY(vocabulary.addMerge(merge));
  keepMergeable(out);
  return Status::ok();
}

/// Merges as tokenizer.json of the same model lists them: each way to make a token of two others; first the
/// products of the highest score, of equal ones the longest left half, then the longest right half.
Status readGgufScores(const GgufFile &gguf, TokenizerSource &out, const VocabularyReader &vocabulary) {
  const GgufValue *scores = gguf.find("tokenizer.ggml.scores");
  if (!scores || scores->kind != GgufValue::Kind::Reals || scores->reals.size() != out.tokens.size())
    return Status(Code::CorruptFile) << gguf.path()
                                     << ": needs a tokenizer.ggml.scores for each token; convert the "
                                        "checkpoint again";
  struct Merge {
    double score;
    size_t leftLength, rightLength; // in characters
    uint32_t left, right;
  };
  std::vector<Merge> merges;
  for (uint32_t id = 0; id < out.tokens.size(); ++id) {
    const double score = scores->reals[id];
    if (!std::isfinite(score))
      return Status(Code::CorruptFile) << gguf.path() << ": the score of token " << id
                                       << " is not finite; convert the checkpoint again";
    const std::string &text = out.tokens[id];
    if (out.kinds[id] != fbs::TokenKind::Normal)
      continue;
    if (text.size() > kMaxScoredTokenBytes)
      return Status(Code::Unsupported)
             << gguf.path() << ": token " << id << " has " << text.size() << " bytes, at most "
             << kMaxScoredTokenBytes << " are supported" << kRemedy;
    auto starts = [&](size_t at) { return (uint8_t(text[at]) & 0xc0u) != 0x80u; };
    const size_t length =
        size_t(std::count_if(text.begin(), text.end(), [](char c) { return (uint8_t(c) & 0xc0u) != 0x80u; }));
    const size_t first = merges.size();
    size_t leftLength = 1;
    for (size_t at = 1; at < text.size(); ++at) {
      if (!starts(at))
        continue;
      const uint32_t *left = vocabulary.find(std::string_view(text).substr(0, at)),
                     *right = vocabulary.find(std::string_view(text).substr(at));
      if (left && right && out.kinds[*left] == fbs::TokenKind::Normal &&
          out.kinds[*right] == fbs::TokenKind::Normal)
        merges.push_back({score, leftLength, length - leftLength, *left, *right});
      ++leftLength;
    }
    std::sort(merges.begin() + ptrdiff_t(first), merges.end(), [](const Merge &a, const Merge &b) {
      return std::pair(a.left, a.right) < std::pair(b.left, b.right);
    });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge &a, const Merge &b) {
    return std::tuple(a.score, a.leftLength, a.rightLength) >
           std::tuple(b.score, b.leftLength, b.rightLength);
  });
  for (const Merge &merge : merges) {
    out.merges.push_back(merge.left);
    out.merges.push_back(merge.right);
  }
  return Status::ok();
}

/// tokenizer.ggml.model = "gpt2".
Status readGgufBytes(const GgufFile &gguf, TokenizerSource &out, VocabularyReader &vocabulary,
                     bool &addsBos) {
  LORAC_ASSIGN(std::optional<std::string_view> pre, gguf.stringKey("tokenizer.ggml.pre"));
  const GgufRule *rule = nullptr;
  for (const GgufRule &candidate : kGgufRules)
    if (pre && candidate.name == *pre)
      rule = &candidate;
  if (!rule)
    return Status(Code::Unsupported) << gguf.path() << ": tokenizer.ggml.pre is "
                                     << shown(pre.value_or("absent"))
                                     << ", supported are gpt-2, smollm, llama-bpe and qwen2" << kRemedy;
  out.pre_tokenizer = rule->rule;
  out.normalizer = rule->normalizer;
  out.ignore_merges = rule->ignoreMerges;
  out.digits_alone = rule->rule == fbs::PreTokenizer::ClassicDigits;
  addsBos = rule->addBos;
  LORAC_TRY(readGgufTokens(gguf, out, vocabulary));
  LORAC_TRY(readGgufMerges(gguf, out, vocabulary));
  LORAC_ASSIGN(std::optional<bool> prefixSpace, gguf.boolKey("tokenizer.ggml.add_space_prefix"));
  out.add_prefix_space = prefixSpace.value_or(false);
  if (out.add_prefix_space && rule->rule != fbs::PreTokenizer::Classic &&
      rule->rule != fbs::PreTokenizer::ClassicDigits)
    return Status(Code::Unsupported) << gguf.path()
                                     << ": tokenizer.ggml.add_space_prefix with tokenizer.ggml.pre "
                                     << rule->name << " is not supported" << kRemedy;
  return Status::ok();
}

/// tokenizer.ggml.model = "llama": characters that fall back to bytes.
Status readGgufText(const GgufFile &gguf, TokenizerSource &out, VocabularyReader &vocabulary) {
  LORAC_ASSIGN(std::optional<std::string_view> pre, gguf.stringKey("tokenizer.ggml.pre"));
  if (pre && *pre != "default")
    return Status(Code::Unsupported) << gguf.path() << ": tokenizer.ggml.pre is " << shown(*pre)
                                     << " with tokenizer.ggml.model llama, supported is default" << kRemedy;
  LORAC_ASSIGN(std::optional<bool> shortens, gguf.boolKey("tokenizer.ggml.remove_extra_whitespaces"));
  if (shortens.value_or(false))
    return Status(Code::Unsupported) << gguf.path()
                                     << ": tokenizer.ggml.remove_extra_whitespaces = true is not supported"
                                     << kRemedy;
  if (gguf.find("tokenizer.ggml.precompiled_charsmap"))
    return Status(Code::Unsupported)
           << gguf.path() << ": tokenizer.ggml.precompiled_charsmap (a normalizer) is not supported"
           << kRemedy;
  out.alphabet = fbs::Alphabet::Text;
  out.byte_fallback = true;
  out.fuse_unknown = true;
  LORAC_TRY(readGgufTokens(gguf, out, vocabulary));
  LORAC_TRY(readGgufScores(gguf, out, vocabulary));
  LORAC_ASSIGN(std::optional<bool> prefixSpace, gguf.boolKey("tokenizer.ggml.add_space_prefix"));
  out.strip_leading_space = prefixSpace.value_or(true);
  out.normalizer = out.strip_leading_space ? fbs::Normalizer::MarksInFront : fbs::Normalizer::Marks;
  return Status::ok();
}

Result<TokenizerData> readGguf(const std::string &file) {
  FileCache files;
  LORAC_ASSIGN(GgufFile gguf, GgufFile::open(files, file));
  TokenizerData data;
  TokenizerSource &out = data.tokenizer;
  LORAC_ASSIGN(std::optional<std::string_view> model, gguf.stringKey("tokenizer.ggml.model"));
  VocabularyReader vocabulary(file, out);
  bool addsBos = false; // where add_bos_token is absent
  if (model == "llama") {
    LORAC_TRY(readGgufText(gguf, out, vocabulary));
    addsBos = true;
  } else if (model == "gpt2") {
    LORAC_TRY(readGgufBytes(gguf, out, vocabulary, addsBos));
  } else {
    return Status(Code::Unsupported) << file << ": tokenizer.ggml.model is "
                                     << shown(model.value_or("absent"))
                                     << ", supported are gpt2 (bytes) and llama (text with scores)"
                                     << kRemedy;
  }
  LORAC_ASSIGN(out.bos_id, tokenKey(gguf, "tokenizer.ggml.bos_token_id", out.tokens.size()));
  LORAC_ASSIGN(out.eos_id, tokenKey(gguf, "tokenizer.ggml.eos_token_id", out.tokens.size()));
  LORAC_ASSIGN(int64_t unknown, tokenKey(gguf, "tokenizer.ggml.unknown_token_id", out.tokens.size()));
  if (out.alphabet == fbs::Alphabet::Text) // a byte that is no token is left out, whatever the file names
    out.unk_id = unknown;
  LORAC_ASSIGN(std::optional<bool> addBos, gguf.boolKey("tokenizer.ggml.add_bos_token"));
  LORAC_ASSIGN(std::optional<bool> addEos, gguf.boolKey("tokenizer.ggml.add_eos_token"));
  for (auto [wanted, id, ids, what] :
       {std::tuple(addBos.value_or(addsBos), out.bos_id, &out.prefix_ids, "bos"),
        std::tuple(addEos.value_or(false), out.eos_id, &out.suffix_ids, "eos")}) {
    if (!wanted)
      continue;
    if (id < 0)
      return Status(Code::CorruptFile)
             << file << ": asks to add a " << what << " token but has no tokenizer.ggml." << what
             << "_token_id; convert the checkpoint again";
    ids->push_back(uint32_t(id));
  }
  if (out.bos_id >= 0)
    data.bosToken = out.tokens[size_t(out.bos_id)];
  if (out.eos_id >= 0)
    data.eosToken = out.tokens[size_t(out.eos_id)];
  // The end of a turn and of a message end a generation as well.
  for (const char *key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    LORAC_ASSIGN(int64_t id, tokenKey(gguf, key, out.tokens.size()));
    if (id >= 0 && std::find(data.eosIds.begin(), data.eosIds.end(), uint32_t(id)) == data.eosIds.end())
      data.eosIds.push_back(uint32_t(id));
  }
  LORAC_ASSIGN(std::optional<std::string_view> chatTemplate, gguf.stringKey("tokenizer.chat_template"));
  data.chatTemplate = chatTemplate.value_or("");
  LORAC_TRY(checkTemplate(file, data.chatTemplate));
  return data;
}

} // namespace

Result<TokenizerData> readTokenizer(const std::string &kind, const std::string &file,
                                    const std::string &config, const std::string &chatTemplateFile) {
  TokenizerData data;
  if (kind == "hf") {
    LORAC_ASSIGN(data, readHuggingFace(file, config, chatTemplateFile));
  } else if (kind == "gguf") {
    if (!config.empty() || !chatTemplateFile.empty())
      return Status(Code::InvalidArgument) << file << ": a GGUF file holds its own tokenizer configuration";
    LORAC_ASSIGN(data, readGguf(file));
  } else {
    return Status(Code::InvalidArgument)
           << file << ": tokenizer kind " << shown(kind) << " is unknown, \"hf\" and \"gguf\" are known";
  }
  TokenizerSource &out = data.tokenizer;
  Result<PackedVocabulary> packed = packVocabulary(out.tokens, out.merges);
  if (!packed)
    return Status(Code::Unsupported) << file << ": " << packed.status().message() << kRemedy;
  out.token_lengths = std::move(packed->lengths);
  out.token_texts = std::move(packed->texts);
  out.merge_planes = std::move(packed->merges);
  return data;
}

} // namespace lorac
