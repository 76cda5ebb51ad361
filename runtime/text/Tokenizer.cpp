//===- Tokenizer.cpp - byte-level BPE -------------------------------------===//
// Sennrich, Haddow, Birch: "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes
// as GPT-2 has it. Token strings come in GPT-2's alphabet, which gives each byte a printable character; here
// they are kept as bytes. Added tokens are found as Hugging Face's tokenizers finds them: leftmost, then
// longest; first those that are matched in the text as it stands, then, in what is left, those that are
// matched in normalized text.
#include "runtime/text/Tokenizer.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace lorac {
namespace {

// Bounds the work that a hostile file can ask for; the longest tokens in use have some hundred bytes.
constexpr size_t kMaxTokenBytes = 4096;
constexpr size_t kMaxAddedBytes = 1024;

/// GPT-2's alphabet, as character to byte: printable characters of Latin-1 stand for themselves, the other
/// bytes, in order, are U+0100 and up.
const std::array<int16_t, 0x144> &alphabet() {
  static const std::array<int16_t, 0x144> table = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      bytes[size_t(printable ? byte : next++)] = int16_t(byte);
    }
    return bytes;
  }();
  return table;
}

/// The bytes of a token string; nothing where a character is outside the alphabet.
std::optional<std::string> fromAlphabet(std::string_view text) {
  std::string bytes;
  for (size_t position = 0; position < text.size();) {
    char32_t c = nextCodePoint(text, position);
    if (c >= alphabet().size() || alphabet()[c] < 0)
      return std::nullopt;
    bytes += char(alphabet()[c]);
  }
  return bytes;
}

/// The byte of "<0x0A>" and its like.
std::optional<uint8_t> fromHexToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>')
    return std::nullopt;
  unsigned value = 0;
  for (char c : text.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0)
      return std::nullopt;
    value = value * 16 + unsigned(digit);
  }
  return uint8_t(value);
}

/// The finalizer of splitmix64: neighbouring ids must not meet in neighbouring buckets, and a file must not
/// choose where.
struct MixHash {
  size_t operator()(uint64_t x) const {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return size_t(x ^ (x >> 31));
  }
};

uint64_t pairKey(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }

struct Merge {
  uint32_t rank;
  uint32_t id;
};

struct AddedToken {
  std::string content;
  uint32_t id;
  bool singleWord, leftStrip, rightStrip, special;
};

/// Texts of added tokens by their bytes.
class AddedTrie {
public:
  AddedTrie() : nodes(1) {}
  bool empty() const { return nodes.size() == 1; }

  /// False where `content` is there already.
  bool insert(std::string_view content, size_t token) {
    uint32_t node = 0;
    for (char c : content) {
      uint32_t next = child(node, uint8_t(c));
      if (next == 0) {
        next = uint32_t(nodes.size());
        auto &edges = nodes[node].edges;
        auto place = std::lower_bound(edges.begin(), edges.end(), Edge{uint8_t(c), 0});
        edges.insert(place, Edge{uint8_t(c), next});
        nodes.emplace_back();
      }
      node = next;
    }
    if (nodes[node].token >= 0)
      return false;
    nodes[node].token = int64_t(token);
    return true;
  }

  /// The longest token at the start of `text`: its number, or -1.
  int64_t longest(std::string_view text) const {
    int64_t token = -1;
    uint32_t node = 0;
    for (char c : text) {
      node = child(node, uint8_t(c));
      if (node == 0)
        break;
      if (nodes[node].token >= 0)
        token = nodes[node].token;
    }
    return token;
  }

private:
  struct Edge {
    uint8_t byte;
    uint32_t node;
    bool operator<(const Edge &other) const { return byte < other.byte; }
  };
  struct Node {
    std::vector<Edge> edges;
    int64_t token = -1;
  };

  uint32_t child(uint32_t node, uint8_t byte) const {
    const auto &edges = nodes[node].edges;
    auto place = std::lower_bound(edges.begin(), edges.end(), Edge{byte, 0});
    return place != edges.end() && place->byte == byte ? place->node : 0;
  }

  std::vector<Node> nodes;
};

Status corrupt() { return Status(Code::CorruptFile) << "tokenizer: "; }

} // namespace

struct Tokenizer::Part {
  std::string_view text;
  int64_t id; ///< -1 for text
};

struct Tokenizer::Tables {
  std::unordered_map<uint64_t, Merge, MixHash> merges;
  /// Normal tokens by their bytes, in the pool. Used for merges while reading, and for ignore_merges.
  std::unordered_map<std::string_view, uint32_t> words;
  std::vector<AddedToken> added;
  AddedTrie exact;
  AddedTrie normalized;
  std::optional<Regex> wordCharacter;

  Result<bool> isWordCharacter(std::string_view character) const {
    return wordCharacter->matchesStart(character);
  }
  Status split(const AddedTrie &trie, std::string_view text, bool parseSpecial,
               std::vector<Part> &parts) const;
};

/// Appends the parts of `text`, which may be no token's.
Status Tokenizer::Tables::split(const AddedTrie &trie, std::string_view text, bool parseSpecial,
                                std::vector<Part> &parts) const {
  size_t done = 0;
  size_t spaceBegin = 0, spaceEnd = 0; // the last run of white space that was looked through
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    int64_t found = trie.longest(text.substr(at));
    if (found < 0) {
      ++at;
      continue;
    }
    const AddedToken &token = added[size_t(found)];
    size_t start = at;
    size_t stop = at + token.content.size();
    at = stop; // a match that is refused below is passed over whole
    if (token.special && !parseSpecial)
      continue;
    if (token.singleWord) {
      bool joined = false;
      if (start > 0) {
        size_t before = start;
        (void)previousCodePoint(text, before);
        LORAC_ASSIGN(joined, isWordCharacter(text.substr(before, start - before)));
      }
      if (!joined && stop < text.size()) {
        LORAC_ASSIGN(joined, isWordCharacter(text.substr(stop)));
      }
      if (joined)
        continue;
    }
    if (token.leftStrip) {
      // No further back than the last part's end: what it took is gone, and each space is looked at once.
      while (start > done) {
        size_t before = start;
        if (!isWhiteSpace(previousCodePoint(text, before)))
          break;
        start = std::max(before, done);
      }
    }
    if (token.rightStrip) {
      size_t run = stop;
      if (stop >= spaceBegin && stop < spaceEnd) // a token of white space may be found many times in one run
        stop = spaceEnd;
      while (stop < text.size()) {
        size_t after = stop;
        if (!isWhiteSpace(nextCodePoint(text, after)))
          break;
        stop = after;
      }
      spaceBegin = run;
      spaceEnd = stop;
    }
    if (done < start)
      parts.push_back({text.substr(done, start - done), -1});
    parts.push_back({{}, int64_t(token.id)});
    done = stop;
  }
  if (done < text.size())
    parts.push_back({text.substr(done), -1});
  return {};
}

Tokenizer::Tokenizer() : tables(std::make_unique<Tables>()) { byteIds.fill(-1); }
Tokenizer::Tokenizer(Tokenizer &&) noexcept = default;
Tokenizer &Tokenizer::operator=(Tokenizer &&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::string_view Tokenizer::bytes(uint32_t id) const {
  if (id >= ends.size())
    return {};
  uint64_t begin = id == 0 ? 0 : ends[id - 1];
  return std::string_view(pool.data() + begin, size_t(ends[id] - begin));
}

Result<Tokenizer> Tokenizer::create(const fbs::Tokenizer &table) {
  switch (table.normalizer()) {
  case fbs::Normalizer::None:
    break;
  case fbs::Normalizer::Nfc:
    return Status(Code::Unsupported)
           << "tokenizer: normalizer NFC is not supported (it needs the tables of a Unicode "
              "library); give token ids instead of text";
  default:
    return corrupt() << "normalizer " << unsigned(table.normalizer())
                     << " is not in the table; build the file again";
  }
  Tokenizer result;
  result.ignoreMerges = table.ignore_merges();
  LORAC_ASSIGN(result.preTokenizer,
               PreTokenizer::create(table.pre_tokenizer(), table.digits_alone(), table.add_prefix_space()));
  // Rust's \w, which decides what single_word means.
  LORAC_ASSIGN(result.tables->wordCharacter,
               Regex::compile("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]"));
  LORAC_TRY(result.readTokens(table));
  LORAC_TRY(result.readMerges(table));
  LORAC_TRY(result.readAdded(table));
  LORAC_TRY(result.readIds(table));
  if (!result.ignoreMerges)
    result.tables->words = {};
  // Plain text never becomes a special token.
  std::erase_if(result.tables->words, [&](const auto &word) { return result.isSpecial(word.second); });
  return result;
}

Status Tokenizer::readTokens(const fbs::Tokenizer &table) {
  const auto &tokens = *table.tokens();
  const auto &kinds = *table.kinds();
  if (tokens.size() == 0)
    return corrupt() << "has no tokens; build the file again";
  if (kinds.size() != tokens.size())
    return corrupt() << "has " << tokens.size() << " tokens but " << kinds.size()
                     << " kinds; build the file again";
  if (table.added()) // their texts stand for themselves, in no alphabet
    for (const fbs::AddedToken *token : *table.added())
      if (token->id() >= tokens.size())
        return corrupt() << "added token '" << token->content()->string_view() << "' has id " << token->id()
                         << ", of " << tokens.size() << " tokens; build the file again";
  std::vector<std::string_view> addedText(tokens.size());
  if (table.added())
    for (const fbs::AddedToken *token : *table.added())
      addedText[token->id()] = token->content()->string_view();

  ends.reserve(tokens.size());
  special.assign(tokens.size(), 0);
  std::vector<uint8_t> isWord(tokens.size(), 0); // made of the alphabet, so that BPE can reach it
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    std::string_view text = tokens.Get(id)->string_view();
    fbs::TokenKind kind = fbs::TokenKind(kinds.Get(id));
    if (text.size() > kMaxTokenBytes)
      return corrupt() << "token " << id << " has " << text.size() << " bytes, at most " << kMaxTokenBytes
                       << " are read; build the file again";
    if (size_t bad = firstInvalidUtf8(text); bad != std::string_view::npos)
      return corrupt() << "token " << id << " is not UTF-8 at byte " << bad << "; build the file again";
    std::optional<std::string> raw;
    switch (kind) {
    case fbs::TokenKind::Normal:
    case fbs::TokenKind::Unknown:
    case fbs::TokenKind::UserDefined:
      raw = fromAlphabet(text);
      isWord[id] = raw && !raw->empty() && kind == fbs::TokenKind::Normal;
      break;
    case fbs::TokenKind::Control: // not text: its name is written as it stands
      special[id] = 1;
      break;
    case fbs::TokenKind::Byte: {
      std::optional<uint8_t> byte = fromHexToken(text);
      if (!byte)
        return corrupt() << "token " << id << " is of kind Byte, but '" << text
                         << "' is not of the form <0x0A>; build the file again";
      raw = std::string(1, char(*byte));
      break;
    }
    default:
      return corrupt() << "token " << id << " has kind " << unsigned(kind)
                       << ", which is not in the table; build the file again";
    }
    std::string_view bytes = raw ? std::string_view(*raw) : text;
    if (addedText[id].data()) // an added token's word may still be reached by merges, under the same bytes
      bytes = isWord[id] && *raw != addedText[id] ? bytes : addedText[id];
    pool.insert(pool.end(), bytes.begin(), bytes.end());
    ends.push_back(pool.size());
  }
  // Only now, for the pool has moved while it grew.
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    if (!isWord[id])
      continue;
    auto [place, isNew] = tables->words.emplace(bytes(id), id);
    if (!isNew)
      return corrupt() << "tokens " << place->second << " and " << id
                       << " are the same; build the file again";
    if (bytes(id).size() == 1)
      byteIds[uint8_t(bytes(id)[0])] = id;
  }
  return {};
}

Status Tokenizer::readMerges(const fbs::Tokenizer &table) {
  const auto &ids = *table.merges();
  if (ids.size() % 2 != 0)
    return corrupt() << "merges hold " << ids.size() << " ids, not pairs; build the file again";
  tables->merges.reserve(ids.size() / 2);
  std::string joined;
  for (uint32_t rank = 0; rank < ids.size() / 2; ++rank) {
    uint32_t left = ids.Get(2 * rank);
    uint32_t right = ids.Get(2 * rank + 1);
    if (left >= size() || right >= size())
      return corrupt() << "merge " << rank << " names token " << (left >= size() ? left : right) << ", of "
                       << size() << " tokens; build the file again";
    joined.assign(bytes(left));
    joined += bytes(right);
    auto product = tables->words.find(joined);
    if (bytes(left).empty() || bytes(right).empty() || product == tables->words.end())
      return corrupt() << "merge " << rank << " of tokens " << left << " and " << right
                       << " gives no token; build the file again";
    if (!tables->merges.emplace(pairKey(left, right), Merge{rank, product->second}).second)
      return corrupt() << "merge " << rank << " of tokens " << left << " and " << right
                       << " is there twice; build the file again";
  }
  return {};
}

Status Tokenizer::readAdded(const fbs::Tokenizer &table) {
  if (!table.added())
    return {};
  for (const fbs::AddedToken *entry : *table.added()) {
    std::string_view content = entry->content()->string_view();
    if (content.empty() || content.size() > kMaxAddedBytes)
      return corrupt() << "the text of added token " << entry->id() << " has " << content.size()
                       << " bytes, not 1 to " << kMaxAddedBytes << "; build the file again";
    if (firstInvalidUtf8(content) != std::string_view::npos)
      return corrupt() << "the text of added token " << entry->id() << " is not UTF-8; build the file again";
    if (entry->special())
      special[entry->id()] = 1;
    AddedToken token{std::string(content), entry->id(),     entry->single_word(),
                     entry->lstrip(),      entry->rstrip(), bool(special[entry->id()])};
    // With no normalizer, normalized text is the text; the order of the two searches remains.
    AddedTrie &trie = entry->normalized() ? tables->normalized : tables->exact;
    if (!trie.insert(content, tables->added.size()))
      return corrupt() << "added token '" << content << "' is there twice; build the file again";
    tables->added.push_back(std::move(token));
  }
  return {};
}

Status Tokenizer::readIds(const fbs::Tokenizer &table) {
  struct Single {
    const char *name;
    int64_t value;
    int64_t *to;
  };
  for (const Single &id : {Single{"bos_id", table.bos_id(), &bos}, Single{"eos_id", table.eos_id(), &eos},
                           Single{"unk_id", table.unk_id(), &unknown}}) {
    if (id.value < -1 || id.value >= int64_t(size()))
      return corrupt() << id.name << " is " << id.value << ", of " << size()
                       << " tokens; build the file again";
    *id.to = id.value;
  }
  struct Many {
    const char *name;
    const flatbuffers::Vector<uint32_t> *values;
    std::vector<uint32_t> *to;
  };
  for (const Many &ids :
       {Many{"prefix_ids", table.prefix_ids(), &prefix}, Many{"suffix_ids", table.suffix_ids(), &suffix}}) {
    if (!ids.values)
      continue;
    for (uint32_t id : *ids.values) {
      if (id >= size())
        return corrupt() << ids.name << " hold " << id << ", of " << size()
                         << " tokens; build the file again";
      ids.to->push_back(id);
    }
  }
  return {};
}

void Tokenizer::appendWord(std::string_view word, std::vector<uint32_t> &ids) const {
  if (ignoreMerges)
    if (auto whole = tables->words.find(word); whole != tables->words.end()) {
      ids.push_back(whole->second);
      return;
    }
  // A list of symbols in one array; a merge kills the right one and keeps the left one's place, so places
  // stay in order.
  struct Symbol {
    uint32_t id;
    uint32_t previous, next;
    bool alive;
  };
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (char c : word) {
    int64_t id = byteIds[uint8_t(c)];
    if (id < 0)
      id = unknown;
    if (id < 0)
      continue;
    uint32_t place = uint32_t(symbols.size());
    symbols.push_back({uint32_t(id), place - 1, place + 1, true}); // place 0's previous is kNone
  }
  if (symbols.empty())
    return;
  symbols.back().next = kNone;

  // The best pair first: lowest rank, then leftmost. An entry whose pair is gone is skipped when it comes up.
  struct Candidate {
    uint32_t rank, place, left, right, id;
    bool operator<(const Candidate &other) const { // std::push_heap keeps the largest in front
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  std::vector<Candidate> heap;
  auto consider = [&](uint32_t place) {
    uint32_t next = symbols[place].next;
    if (next == kNone)
      return;
    auto merge = tables->merges.find(pairKey(symbols[place].id, symbols[next].id));
    if (merge == tables->merges.end())
      return;
    heap.push_back({merge->second.rank, place, symbols[place].id, symbols[next].id, merge->second.id});
    std::push_heap(heap.begin(), heap.end());
  };
  for (uint32_t place = 0; place + 1 < symbols.size(); ++place)
    consider(place);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    Candidate best = heap.back();
    heap.pop_back();
    Symbol &left = symbols[best.place];
    if (!left.alive || left.id != best.left || left.next == kNone || symbols[left.next].id != best.right)
      continue;
    Symbol &right = symbols[left.next];
    right.alive = false;
    left.id = best.id;
    left.next = right.next;
    if (left.next != kNone)
      symbols[left.next].previous = best.place;
    if (left.previous != kNone)
      consider(left.previous);
    consider(best.place);
  }
  for (uint32_t place = 0; place != kNone; place = symbols[place].next)
    ids.push_back(symbols[place].id);
}

Result<std::vector<uint32_t>> Tokenizer::encode(std::string_view utf8, bool parseSpecial,
                                                bool addPrefixSuffix) const {
  if (utf8.size() >= INT32_MAX)
    return Status(Code::InvalidArgument)
           << "text has " << utf8.size() << " bytes; give less than 2 GiB at a time";
  if (size_t bad = firstInvalidUtf8(utf8); bad != std::string_view::npos)
    return Status(Code::InvalidArgument) << "text is not UTF-8 at byte " << bad << "; convert it to UTF-8";
  std::vector<uint32_t> ids;
  if (addPrefixSuffix)
    ids = prefix;
  std::vector<Part> exact;
  LORAC_TRY(tables->split(tables->exact, utf8, parseSpecial, exact));
  std::vector<Part> parts;
  for (const Part &part : exact) {
    if (part.id >= 0)
      parts.push_back(part);
    else
      LORAC_TRY(tables->split(tables->normalized, part.text, parseSpecial, parts));
  }
  for (const Part &part : parts) {
    if (part.id >= 0) {
      ids.push_back(uint32_t(part.id));
      continue;
    }
    LORAC_TRY(preTokenizer.split(part.text, [&](std::string_view word) {
      appendWord(word, ids);
      return Status();
    }));
  }
  if (addPrefixSuffix)
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const uint32_t> ids, bool skipSpecial) const {
  std::string text;
  Utf8Repair repair;
  for (uint32_t id : ids)
    if (!skipSpecial || !isSpecial(id))
      repair.feed(bytes(id), text);
  repair.finish(text);
  return text;
}

std::string Detokenizer::push(uint32_t id) {
  std::string text;
  if (!skipSpecial || !tokenizer->isSpecial(id))
    repair.feed(tokenizer->bytes(id), text);
  return text;
}

std::string Detokenizer::flush() {
  std::string text;
  repair.finish(text);
  return text;
}

} // namespace lorac
