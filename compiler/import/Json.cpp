//===- Json.cpp - JSON as checkpoints and adapters use it ------------------===//
#include "compiler/import/Json.h"

#include "compiler/import/Shown.h"
#include "support/Files.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace lorac {
namespace {

constexpr size_t kMaxTextShown = 120;

/// Builds the tree from the parser's events; returning false stops the parser.
class TreeBuilder final : public nlohmann::json_sax<nlohmann::json> {
public:
  explicit TreeBuilder(JsonValue &root) : root(root) {}

  std::string problem;

  bool null() override { return add({}) != nullptr; }
  bool boolean(bool value) override {
    JsonValue item;
    item.kind = JsonValue::Kind::Bool;
    item.boolean = value;
    return add(std::move(item)) != nullptr;
  }
  bool number_integer(int64_t value) override {
    JsonValue item;
    item.kind = JsonValue::Kind::Integer;
    item.integer = value;
    item.real = double(value);
    return add(std::move(item)) != nullptr;
  }
  bool number_unsigned(uint64_t value) override {
    if (value <= uint64_t(INT64_MAX))
      return number_integer(int64_t(value));
    return number_float(double(value), {});
  }
  bool number_float(double value, const std::string &) override {
    JsonValue item;
    item.kind = JsonValue::Kind::Real;
    item.real = value;
    return add(std::move(item)) != nullptr;
  }
  bool string(std::string &value) override {
    JsonValue item;
    item.kind = JsonValue::Kind::String;
    item.string = std::move(value);
    return add(std::move(item)) != nullptr;
  }
  bool binary(nlohmann::json::binary_t &) override { return false; }
  bool start_object(size_t) override { return open(JsonValue::Kind::Object); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(JsonValue::Kind::Array); }
  bool end_array() override { return close(); }
  bool key(std::string &value) override {
    if (!count())
      return false;
    stack.back()->members.emplace_back(std::move(value), JsonValue());
    return true;
  }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &) override {
    problem = "not valid JSON at byte " + std::to_string(position) + " (NaN and Infinity are no JSON either)";
    return false;
  }

private:
  /// Puts a value where the next one belongs. Containers stay where they are until they are closed, because
  /// only the innermost one grows.
  JsonValue *add(JsonValue &&item) {
    if (!count())
      return nullptr;
    if (stack.empty()) {
      root = std::move(item);
      return &root;
    }
    JsonValue *parent = stack.back();
    if (parent->isArray())
      return &parent->items.emplace_back(std::move(item));
    parent->members.back().second = std::move(item);
    return &parent->members.back().second;
  }
  bool open(JsonValue::Kind kind) {
    if (stack.size() == kMaxJsonDepth) {
      problem = "nested more than " + std::to_string(kMaxJsonDepth) + " deep";
      return false;
    }
    JsonValue item;
    item.kind = kind;
    stack.push_back(add(std::move(item)));
    return stack.back() != nullptr;
  }
  bool close() {
    const JsonValue &closed = *stack.back();
    stack.pop_back();
    // Sorted, not hashed: a file can choose names that meet in one bucket.
    std::vector<std::string_view> keys;
    for (const JsonValue::Member &member : closed.members)
      keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    if (auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end()) {
      problem = "the key \"" + shown(*twice) + "\" stands twice in one object";
      return false;
    }
    return true;
  }
  bool count() {
    if (values++ < kMaxJsonValues)
      return true;
    problem = "holds more than " + std::to_string(kMaxJsonValues) + " values";
    return false;
  }

  JsonValue &root;
  std::vector<JsonValue *> stack;
  size_t values = 0;
};

void appendText(const JsonValue &value, std::string &out) {
  if (out.size() > kMaxTextShown)
    return;
  switch (value.kind) {
  case JsonValue::Kind::Null:
    out += "null";
    break;
  case JsonValue::Kind::Bool:
    out += value.boolean ? "true" : "false";
    break;
  case JsonValue::Kind::Integer:
    out += std::to_string(value.integer);
    break;
  case JsonValue::Kind::Real: {
    std::ostringstream text;
    text << value.real;
    out += text.str();
    break;
  }
  case JsonValue::Kind::String:
    out += '"' + value.string.substr(0, kMaxTextShown + 1) + '"';
    break;
  case JsonValue::Kind::Array: {
    out += '[';
    const char *separator = "";
    for (const JsonValue &item : value.items) {
      if (out.size() > kMaxTextShown)
        return;
      out += std::exchange(separator, ", ");
      appendText(item, out);
    }
    out += ']';
    break;
  }
  case JsonValue::Kind::Object: {
    out += '{';
    const char *separator = "";
    for (const auto &[key, item] : value.members) {
      if (out.size() > kMaxTextShown)
        return;
      out += std::exchange(separator, ", ");
      out += '"' + key.substr(0, kMaxTextShown + 1) + "\": ";
      appendText(item, out);
    }
    out += '}';
    break;
  }
  }
}

} // namespace

bool JsonValue::isUnset() const {
  switch (kind) {
  case Kind::Null:
    return true;
  case Kind::Bool:
    return !boolean;
  case Kind::String:
    return string.empty();
  case Kind::Array:
    return items.empty();
  case Kind::Object:
    return members.empty();
  case Kind::Integer:
  case Kind::Real:
    return false;
  }
  return false;
}

const JsonValue *JsonValue::find(std::string_view key) const {
  for (const Member &member : members)
    if (member.first == key)
      return &member.second;
  return nullptr;
}

const JsonValue *JsonValue::findSet(std::string_view key) const {
  const JsonValue *value = find(key);
  return value && !value->isNull() ? value : nullptr;
}

std::string JsonValue::text() const {
  std::string out;
  appendText(*this, out);
  for (char &c : out) // messages are one line
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = ' ';
  if (out.size() > kMaxTextShown) {
    size_t cut = kMaxTextShown;
    while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xc0) == 0x80) // never inside a character
      --cut;
    out.resize(cut);
    out += "...";
  }
  return out;
}

Result<JsonValue> parseJson(std::string_view text, const std::string &source) {
  // The parser takes a zero byte for the end of the text, whatever comes after it.
  if (size_t zero = text.find('\0'); zero != std::string_view::npos)
    return Status(Code::CorruptFile) << source << ": not valid JSON at byte " << zero + 1
                                     << "; fetch or write the file again";
  JsonValue root;
  TreeBuilder builder(root);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
    return Status(Code::CorruptFile) << source << ": "
                                     << (builder.problem.empty() ? "not valid JSON" : builder.problem)
                                     << "; fetch or write the file again";
  return root;
}

Result<JsonValue> readJsonFile(const std::string &path, uint64_t limit) {
  LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
  std::span<const uint8_t> bytes = file.bytes();
  if (bytes.size() > limit)
    return Status(Code::InvalidArgument) << path << ": has " << bytes.size() << " bytes, at most " << limit
                                         << " are read; is this the right file?";
  return parseJson({reinterpret_cast<const char *>(bytes.data()), bytes.size()}, path);
}

} // namespace lorac
