//===- Json.h - JSON as checkpoints and adapters use it ---------*- C++ -*-===//
// A tree that keeps the order of keys (PEFT's patterns mean the first that matches) and a reader that refuses
// what different readers would read differently: keys that stand twice, and nesting without end.
#ifndef LORAC_COMPILER_IMPORT_JSON_H
#define LORAC_COMPILER_IMPORT_JSON_H

#include "support/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorac {

/// Far above what any file needs; a tree of them stays on every thread's stack.
constexpr size_t kMaxJsonDepth = 64;
/// Values and keys of a text. The largest in use, the vocabulary and merges of a tokenizer.json, are some two
/// millions. A value takes some hundred bytes of memory and may take two of the text, so the text's size
/// alone does not bound it.
constexpr size_t kMaxJsonValues = size_t(1) << 22;

class JsonValue {
public:
  enum class Kind : uint8_t { Null, Bool, Integer, Real, String, Array, Object };
  using Member = std::pair<std::string, JsonValue>;

  /// Defined below: made inside the class it would need Member whole, which clang then takes it not to be.
  JsonValue();

  Kind kind = Kind::Null;
  bool boolean = false;
  int64_t integer = 0;
  double real = 0; // of Integer too
  std::string string;
  std::vector<JsonValue> items;
  std::vector<Member> members;

  bool isNull() const { return kind == Kind::Null; }
  bool isBool() const { return kind == Kind::Bool; }
  bool isInteger() const { return kind == Kind::Integer; }
  bool isNumber() const { return kind == Kind::Integer || kind == Kind::Real; }
  bool isString() const { return kind == Kind::String; }
  bool isArray() const { return kind == Kind::Array; }
  bool isObject() const { return kind == Kind::Object; }
  /// Null, false, "", [] or {}: what a writer puts where a feature is not used.
  bool isUnset() const;

  /// The member of an object, or null. Walks the members: not for vocabularies.
  const JsonValue *find(std::string_view key) const;
  /// As find, and null where the member is JSON's null.
  const JsonValue *findSet(std::string_view key) const;
  bool operator==(const JsonValue &) const = default;
  /// The value as one line of JSON for messages, cut where it gets long.
  std::string text() const;
};

inline JsonValue::JsonValue() = default;

/// `source` names the text in messages (a path). NaN and Infinity, which Python writes, are no JSON.
Result<JsonValue> parseJson(std::string_view text, const std::string &source);
/// A JSON file of at most `limit` bytes.
Result<JsonValue> readJsonFile(const std::string &path, uint64_t limit);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_JSON_H
