//===- Tokenizer.cpp - BPE over bytes or characters -----------------------===//
// Sennrich, Haddow, Birch: "Neural Machine Translation of Rare Words with Subword Units" (2016), over bytes
// as GPT-2 has it, or over characters that fall back to bytes. Token strings of the alphabet Bytes give each
// byte a printable character, those of the alphabet Text have U+2581 for a space; here they are kept as the
// bytes that they decode to. Added tokens are found as Hugging Face's tokenizers finds them: leftmost, then
// longest; first those that are matched in the text as it stands, then, in what is left, those that are
// matched in normalized text.
#include "runtime/text/Tokenizer.h"

#include <algorithm>
#include <memory_resource>
#include <optional>
#include <unordered_map>

namespace lorac {
namespace {

// Bounds the work that a hostile file can ask for.
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

/// Appends the bytes of a token string to `bytes`; false, with some of them there, where a character is
/// outside the alphabet.
bool appendFromAlphabet(std::string_view text, std::vector<char> &bytes) {
  for (size_t position = 0; position < text.size();) {
    char32_t c = nextCodePoint(text, position);
    if (c >= alphabet().size() || alphabet()[c] < 0)
      return false;
    bytes.push_back(char(alphabet()[c]));
  }
  return true;
}

/// Appends the bytes that a token string of the alphabet Text decodes to.
void appendFromMarked(std::string_view text, std::vector<char> &bytes) {
  while (true) {
    size_t mark = text.find(kSpaceMark);
    std::string_view front = text.substr(0, mark);
    bytes.insert(bytes.end(), front.begin(), front.end());
    if (mark == std::string_view::npos)
      return;
    bytes.push_back(' ');
    text.remove_prefix(mark + kSpaceMark.size());
  }
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

Status corrupt() { return Status(Code::CorruptFile); }

} // namespace

struct Tokenizer::Part {
  std::string_view text;
  int64_t id; ///< -1 for text
};

/// A map that is filled once: its nodes lie back to back and go together, since some ten thousand calls of
/// malloc and free are what making a tokenizer would cost most.
template <typename Key, typename Value, typename Hash> class FilledMap {
public:
  void reserve(size_t count) { map.reserve(count); }
  auto emplace(const Key &key, const Value &value) { return map.emplace(key, value); }
  auto find(const Key &key) const { return map.find(key); }
  auto end() const { return map.end(); }
  template <typename Predicate> void eraseIf(Predicate predicate) { std::erase_if(map, predicate); }

private:
  std::pmr::monotonic_buffer_resource memory;
  std::pmr::unordered_map<Key, Value, Hash> map{&memory};
};

struct Tokenizer::Tables {
  using Words = FilledMap<std::string_view, uint32_t, std::hash<std::string_view>>;
  FilledMap<uint64_t, Merge, MixHash> merges;
  /// With ignore_merges, normal tokens by their symbols: bytes, in the tokenizer's pool, or text, in
  /// `vocabulary`; else empty.
  Words words;
  Vocabulary vocabulary; ///< with ignore_merges and the alphabet Text; else empty
  std::unordered_map<char32_t, uint32_t, MixHash> characters; ///< alphabet Text only: tokens of one character
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
  Tokenizer result;
  LORAC_TRY(result.readRules(table));
  Result<Vocabulary> vocabulary = Vocabulary::unpack(table);
  if (!vocabulary)
    return corrupt() << vocabulary.status().message() << "; build the file again";
  LORAC_TRY(result.readTokens(table, *vocabulary));
  LORAC_TRY(result.readAdded(table));
  LORAC_TRY(result.readIds(table));
  // Plain text never becomes a special token.
  result.tables->words.eraseIf([&](const auto &word) { return result.isSpecial(word.second); });
  return result;
}

Status Tokenizer::readRules(const fbs::Tokenizer &table) {
  if (table.alphabet() > fbs::Alphabet::MAX)
    return corrupt() << "alphabet " << unsigned(table.alphabet())
                     << " is not in the table; build the file again";
  ofCharacters = table.alphabet() == fbs::Alphabet::Text;
  byteFallback = table.byte_fallback();
  fuseUnknown = table.fuse_unknown();
  stripLeadingSpace = table.strip_leading_space();
  ignoreMerges = table.ignore_merges();
  LORAC_ASSIGN(normalizer, Normalizer::create(table.normalizer()));
  LORAC_ASSIGN(preTokenizer, PreTokenizer::create(table.pre_tokenizer(), table.digits_alone(),
                                                  table.add_prefix_space(), table.prefix_first_only()));
  const bool marksSpaces =
      table.normalizer() == fbs::Normalizer::Marks || table.normalizer() == fbs::Normalizer::MarksInFront;
  const bool cutsMarked = table.pre_tokenizer() == fbs::PreTokenizer::Marked ||
                          table.pre_tokenizer() == fbs::PreTokenizer::MarkedWords;
  // Spaces must become marks for one alphabet, and must not for the other.
  if (ofCharacters
          ? marksSpaces == cutsMarked || !(cutsMarked || table.pre_tokenizer() == fbs::PreTokenizer::None)
          : marksSpaces || cutsMarked)
    return corrupt() << "normalizer " << fbs::EnumNameNormalizer(table.normalizer()) << " and pre-tokenizer "
                     << fbs::EnumNamePreTokenizer(table.pre_tokenizer()) << " do not fit alphabet "
                     << fbs::EnumNameAlphabet(table.alphabet()) << "; build the file again";
  if (!ofCharacters && (byteFallback || stripLeadingSpace))
    return corrupt() << (byteFallback ? "byte_fallback" : "strip_leading_space")
                     << " has no meaning with alphabet Bytes; build the file again";
  // Rust's \w, which decides what single_word means.
  LORAC_ASSIGN(tables->wordCharacter,
               Regex::compile("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]"));
  return {};
}

Status Tokenizer::readTokens(const fbs::Tokenizer &table, Vocabulary &vocabulary) {
  const auto &kinds = *table.kinds();
  const auto count = uint32_t(vocabulary.size());
  if (count == 0)
    return corrupt() << "has no tokens; build the file again";
  if (kinds.size() != count)
    return corrupt() << "has " << count << " tokens but " << kinds.size() << " kinds; build the file again";
  // What an added token decodes to: its text as it is looked for, in no alphabet.
  std::unordered_map<uint32_t, std::string, MixHash> addedText;
  for (uint32_t i = 0; table.added() && i < table.added()->size(); ++i) {
    const fbs::AddedToken *entry = table.added()->Get(i);
    std::string_view content = entry->content()->string_view();
    if (entry->id() >= count)
      return corrupt() << "added token '" << content << "' has id " << entry->id() << ", of " << count
                       << " tokens; build the file again";
    if (content.empty() || content.size() > kMaxAddedBytes)
      return corrupt() << "the text of added token " << entry->id() << " has " << content.size()
                       << " bytes, not 1 to " << kMaxAddedBytes << "; build the file again";
    if (firstInvalidUtf8(content) != std::string_view::npos)
      return corrupt() << "the text of added token " << entry->id() << " is not UTF-8; build the file again";
    addedText[entry->id()] = entry->normalized() ? normalizer.apply(content) : std::string(content);
  }

  ends.reserve(count);
  special.assign(count, 0);
  std::vector<uint8_t> isWord(count, 0); // made of the alphabet, so that BPE can reach it
  for (uint32_t id = 0; id < count; ++id) {
    std::string_view text = vocabulary.text(id);
    fbs::TokenKind kind = fbs::TokenKind(kinds.Get(id));
    if (size_t bad = firstInvalidUtf8(text); bad != std::string_view::npos)
      return corrupt() << "token " << id << " is not UTF-8 at byte " << bad << "; build the file again";
    const size_t begin = pool.size();
    const auto replace = [&](std::string_view bytes) {
      pool.resize(begin);
      pool.insert(pool.end(), bytes.begin(), bytes.end());
    };
    switch (kind) {
    case fbs::TokenKind::Normal:
    case fbs::TokenKind::Unknown:
    case fbs::TokenKind::UserDefined: {
      bool isMade = true;
      if (ofCharacters)
        appendFromMarked(text, pool);
      else
        isMade = appendFromAlphabet(text, pool);
      isWord[id] = isMade && !text.empty() && kind == fbs::TokenKind::Normal;
      if (!isMade)
        replace(text);
      break;
    }
    case fbs::TokenKind::Control: // not text: its name is written as it stands
      special[id] = 1;
      if (ofCharacters)
        appendFromMarked(text, pool);
      else
        replace(text);
      break;
    case fbs::TokenKind::Byte: {
      std::optional<uint8_t> byte = fromHexToken(text);
      if (!byte)
        return corrupt() << "token " << id << " is of kind Byte, but '" << text
                         << "' is not of the form <0x0A>; build the file again";
      pool.push_back(char(*byte));
      // The reference looks for capital digits only, and decodes both.
      if (ofCharacters && text.find_first_of("abcdef") == std::string_view::npos)
        byteIds[*byte] = id;
      break;
    }
    default:
      return corrupt() << "token " << id << " has kind " << unsigned(kind)
                       << ", which is not in the table; build the file again";
    }
    // An added token's word may still be reached by merges, under the same bytes.
    if (auto added = addedText.find(id); added != addedText.end()) {
      const std::string_view own(pool.data() + begin, pool.size() - begin);
      if (ofCharacters || !isWord[id] || own == added->second) {
        pool.resize(begin);
        if (ofCharacters)
          appendFromMarked(added->second, pool);
        else
          replace(added->second);
      }
    }
    ends.push_back(pool.size());
  }
  LORAC_TRY(readMerges(vocabulary, isWord));
  return readWords(vocabulary, isWord);
}

Status Tokenizer::readMerges(const Vocabulary &vocabulary, std::span<const uint8_t> isWord) {
  tables->merges.reserve(vocabulary.merges().size());
  uint32_t rank = 0;
  for (const Vocabulary::Merge &merge : vocabulary.merges()) {
    if (!isWord[merge.product])
      return corrupt() << "merge " << rank << " makes token " << merge.product
                       << ", which no text becomes; build the file again";
    if (!tables->merges.emplace(pairKey(merge.left, merge.right), Merge{rank, merge.product}).second)
      return corrupt() << "merge " << rank << " of tokens " << merge.left << " and " << merge.right
                       << " is there twice; build the file again";
    ++rank;
  }
  return {};
}

/// What a text's symbols are, and with ignore_merges whole words. Takes the vocabulary where words lie in it.
Status Tokenizer::readWords(Vocabulary &vocabulary, std::span<const uint8_t> isWord) {
  const auto same = [](int64_t a, uint32_t b) {
    return corrupt() << "tokens " << a << " and " << b << " are the same; build the file again";
  };
  for (uint32_t id = 0; id < isWord.size(); ++id) {
    if (!isWord[id])
      continue;
    if (ofCharacters) {
      size_t end = 0;
      char32_t first = nextCodePoint(vocabulary.text(id), end);
      if (end < vocabulary.text(id).size())
        continue;
      if (auto [place, isNew] = tables->characters.emplace(first, id); !isNew)
        return same(place->second, id);
    } else if (std::string_view symbols = bytes(id); symbols.size() == 1) {
      int64_t &known = byteIds[uint8_t(symbols[0])];
      if (known >= 0)
        return same(known, id);
      known = id;
    }
  }
  if (!ignoreMerges)
    return {};
  if (ofCharacters)
    tables->vocabulary = std::move(vocabulary);
  tables->words.reserve(isWord.size());
  for (uint32_t id = 0; id < isWord.size(); ++id) {
    if (!isWord[id])
      continue;
    auto [place, isNew] = tables->words.emplace(ofCharacters ? tables->vocabulary.text(id) : bytes(id), id);
    if (!isNew)
      return same(place->second, id);
  }
  return {};
}

Status Tokenizer::readAdded(const fbs::Tokenizer &table) {
  if (!table.added())
    return {};
  for (const fbs::AddedToken *entry : *table.added()) {
    std::string_view content = entry->content()->string_view();
    if (entry->special())
      special[entry->id()] = 1;
    AddedToken token{std::string(content), entry->id(),     entry->single_word(),
                     entry->lstrip(),      entry->rstrip(), bool(special[entry->id()])};
    // The two searches go one after the other, even where normalized text is the text.
    if (entry->normalized())
      token.content = normalizer.apply(content);
    AddedTrie &trie = entry->normalized() ? tables->normalized : tables->exact;
    if (!trie.insert(token.content, tables->added.size()))
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
  auto push = [&](int64_t id) {
    uint32_t place = uint32_t(symbols.size());
    symbols.push_back({uint32_t(id), place - 1, place + 1, true}); // place 0's previous is kNone
  };
  // An unknown symbol waits for the next one that is known or, where they are not fused, for the next unknown
  // one; bytes go past it, as they do in the reference.
  bool unknownWaits = false;
  for (size_t position = 0; position < word.size();) {
    size_t begin = position;
    int64_t id = -1;
    if (ofCharacters) {
      auto found = tables->characters.find(nextCodePoint(word, position));
      id = found == tables->characters.end() ? -1 : int64_t(found->second);
    } else {
      id = byteIds[uint8_t(word[position++])];
    }
    if (id >= 0) {
      if (unknownWaits)
        push(unknown);
      unknownWaits = false;
      push(id);
      continue;
    }
    std::string_view symbol = word.substr(begin, position - begin);
    if (byteFallback && std::ranges::all_of(symbol, [&](char c) { return byteIds[uint8_t(c)] >= 0; })) {
      for (char c : symbol)
        push(byteIds[uint8_t(c)]);
      continue;
    }
    if (unknown < 0)
      continue;
    if (unknownWaits && !fuseUnknown)
      push(unknown);
    unknownWaits = true;
  }
  if (unknownWaits)
    push(unknown);
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
  bool atBeginning = true;
  for (const Part &part : exact) {
    if (part.id >= 0) {
      ids.push_back(uint32_t(part.id));
      atBeginning = false;
      continue;
    }
    std::string normalized;
    std::string_view text = part.text;
    if (!normalizer.isIdentity())
      text = normalized = normalizer.apply(part.text);
    parts.clear();
    LORAC_TRY(tables->split(tables->normalized, text, parseSpecial, parts));
    for (const Part &piece : parts) {
      if (piece.id >= 0)
        ids.push_back(uint32_t(piece.id));
      else
        LORAC_TRY(preTokenizer.split(piece.text, atBeginning, [&](std::string_view word) {
          appendWord(word, ids);
          return Status();
        }));
      atBeginning = false;
    }
  }
  if (addPrefixSuffix)
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const uint32_t> ids, bool skipSpecial) const {
  std::string text;
  Detokenizer detokenizer(*this, skipSpecial);
  for (uint32_t id : ids)
    detokenizer.append(id, text);
  detokenizer.finish(text);
  return text;
}

void Detokenizer::append(uint32_t id, std::string &out) {
  if (skipSpecial && tokenizer->isSpecial(id))
    return;
  size_t begin = out.size();
  repair.feed(tokenizer->bytes(id), out);
  if (hasBegun || out.size() == begin)
    return;
  hasBegun = true;
  if (tokenizer->stripLeadingSpace && out[begin] == ' ')
    out.erase(begin, 1);
}

void Detokenizer::finish(std::string &out) {
  repair.finish(out);
  hasBegun = false;
}

std::string Detokenizer::push(uint32_t id) {
  std::string text;
  append(id, text);
  return text;
}

std::string Detokenizer::flush() {
  std::string text;
  finish(text);
  return text;
}

} // namespace lorac
