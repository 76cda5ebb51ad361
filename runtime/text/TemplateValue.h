//===- TemplateValue.h - what a chat template computes with -----*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_TEMPLATEVALUE_H
#define LORAC_RUNTIME_TEXT_TEMPLATEVALUE_H

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lorac::jinja {

struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Statement;

using TextRef = std::shared_ptr<const std::string>;
using ListRef = std::shared_ptr<const List>;
using DictRef = std::shared_ptr<const Dict>;

enum class Kind : uint8_t { Undefined, None, Bool, Int, Float, Text, List, Dict, Namespace, Loop, Macro };

/// Texts, lists and dicts are shared and never change, so a copy is cheap and no value can hold itself.
class Value {
public:
  struct Undefined {
    TextRef name; ///< what was not there, for messages; may be null
  };
  struct None {};
  // In the order of Kind.
  using Payload = std::variant<Undefined, None, bool, int64_t, double, TextRef, ListRef, DictRef,
                               std::shared_ptr<Namespace>, std::shared_ptr<Loop>, const Statement *>;

  Value() = default;
  Value(bool value) : payload(value) {}
  Value(int64_t value) : payload(value) {}
  Value(double value) : payload(value) {}
  Value(TextRef value) : payload(std::move(value)) {}
  Value(ListRef value) : payload(std::move(value)) {}
  Value(DictRef value) : payload(std::move(value)) {}
  Value(std::shared_ptr<Namespace> value) : payload(std::move(value)) {}
  Value(std::shared_ptr<Loop> value) : payload(std::move(value)) {}
  Value(const Statement *macro) : payload(macro) {}
  /// Without this a string literal would become a bool.
  Value(const char *) = delete;
  static Value none();
  static Value text(std::string value);
  static Value undefined(std::string_view name);

  Kind kind() const { return Kind(payload.index()); }
  bool is(Kind wanted) const { return kind() == wanted; }
  bool asBool() const { return std::get<bool>(payload); }
  int64_t asInt() const { return std::get<int64_t>(payload); }
  double asFloat() const { return std::get<double>(payload); }
  const std::string &asText() const { return *std::get<TextRef>(payload); }
  const List &asList() const { return *std::get<ListRef>(payload); }
  const ListRef &asListRef() const { return std::get<ListRef>(payload); }
  const Dict &asDict() const { return *std::get<DictRef>(payload); }
  Namespace &asNamespace() const { return *std::get<std::shared_ptr<Namespace>>(payload); }
  Loop &asLoop() const { return *std::get<std::shared_ptr<Loop>>(payload); }
  std::shared_ptr<Namespace> asNamespaceRef() const { return std::get<std::shared_ptr<Namespace>>(payload); }
  const Statement &asMacro() const { return *std::get<const Statement *>(payload); }
  /// "'name'", or "a value" where there is none.
  std::string undefinedName() const;

  /// A name for messages.
  std::string_view kindName() const;
  /// Python's truth.
  bool isTrue() const;
  bool isNumber() const { return is(Kind::Int) || is(Kind::Float) || is(Kind::Bool); }
  /// Of a number.
  double toDouble() const;
  /// Of an Int or Bool.
  int64_t toInt() const { return is(Kind::Bool) ? int64_t(asBool()) : asInt(); }
  /// 0, or 1 more than the deepest value inside a list or dict.
  uint32_t depth() const;

private:
  Payload payload;
};

struct List {
  std::vector<Value> items;
  bool tuple = false; ///< only its printed form differs
  uint32_t depth = 1;
};

struct Dict {
  std::vector<std::pair<std::string, Value>> entries; ///< in order of insertion
  uint32_t depth = 1;
  const Value *find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

/// The only thing that changes. It may not be put into another value, so nothing is circular.
struct Namespace {
  Dict attributes;
};

/// The variable `loop`.
struct Loop {
  ListRef items;
  size_t index = 0;
};

/// As Python prints it: the shortest digits that read back to the same number.
std::string floatText(double value);

/// What Python's str.isspace and the \s of its re module call space: White_Space and U+001C to U+001F.
bool isPythonSpace(char32_t codePoint);
/// `text` without such characters at its ends.
std::string_view stripLeft(std::string_view text);
std::string_view stripRight(std::string_view text);

} // namespace lorac::jinja

#endif // LORAC_RUNTIME_TEXT_TEMPLATEVALUE_H
