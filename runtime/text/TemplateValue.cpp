//===- TemplateValue.cpp - what a chat template computes with -------------===//
#include "runtime/text/TemplateValue.h"

#include "runtime/text/Utf8.h"

#include <charconv>
#include <cmath>

namespace lorac::jinja {

Value Value::none() {
  Value value;
  value.payload = None();
  return value;
}

Value Value::text(std::string value) { return Value(std::make_shared<const std::string>(std::move(value))); }

Value Value::undefined(std::string_view name) {
  Value value;
  value.payload = Undefined{std::make_shared<const std::string>(name)};
  return value;
}

std::string Value::undefinedName() const {
  const auto *undefined = std::get_if<Undefined>(&payload);
  return undefined && undefined->name ? "'" + *undefined->name + "'" : "a value";
}

std::string_view Value::kindName() const {
  switch (kind()) {
  case Kind::Undefined:
    return "undefined";
  case Kind::None:
    return "none";
  case Kind::Bool:
    return "boolean";
  case Kind::Int:
    return "integer";
  case Kind::Float:
    return "float";
  case Kind::Text:
    return "string";
  case Kind::List:
    return "list";
  case Kind::Dict:
    return "mapping";
  case Kind::Namespace:
    return "namespace";
  case Kind::Loop:
    return "loop";
  case Kind::Macro:
    return "macro";
  }
  return "value";
}

bool Value::isTrue() const {
  switch (kind()) {
  case Kind::Undefined:
  case Kind::None:
    return false;
  case Kind::Bool:
    return asBool();
  case Kind::Int:
    return asInt() != 0;
  case Kind::Float:
    return asFloat() != 0;
  case Kind::Text:
    return !asText().empty();
  case Kind::List:
    return !asList().items.empty();
  case Kind::Dict:
    return !asDict().entries.empty();
  case Kind::Namespace:
  case Kind::Loop:
  case Kind::Macro:
    return true;
  }
  return false;
}

double Value::toDouble() const { return is(Kind::Float) ? asFloat() : double(toInt()); }

uint32_t Value::depth() const {
  return is(Kind::List) ? asList().depth : is(Kind::Dict) ? asDict().depth : 0;
}

const Value *Dict::find(std::string_view key) const {
  for (const auto &entry : entries)
    if (entry.first == key)
      return &entry.second;
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto &entry : entries)
    if (entry.first == key) {
      entry.second = std::move(value);
      return;
    }
  entries.emplace_back(std::string(key), std::move(value));
}

std::string floatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  // Digits and exponent apart: Python writes an exponent below 1e-4 and from 1e16 on.
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view shortest(buffer, size_t(end - buffer));
  size_t e = shortest.find('e');
  int exponent = 0;
  size_t sign = shortest[e + 1] == '+' ? 1 : 0; // from_chars reads no plus
  std::from_chars(shortest.data() + e + 1 + sign, shortest.data() + shortest.size(), exponent);
  if (exponent < -4 || exponent >= 16)
    return std::string(shortest);
  end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string text(buffer, size_t(end - buffer));
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

bool isPythonSpace(char32_t codePoint) {
  return isWhiteSpace(codePoint) || (codePoint >= 0x1c && codePoint <= 0x1f);
}

std::string_view stripLeft(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t next = begin;
    if (!isPythonSpace(nextCodePoint(text, next)))
      break;
    begin = next;
  }
  return text.substr(begin);
}

std::string_view stripRight(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t before = end;
    if (!isPythonSpace(previousCodePoint(text, before)))
      break;
    end = before;
  }
  return text.substr(0, end);
}

} // namespace lorac::jinja
