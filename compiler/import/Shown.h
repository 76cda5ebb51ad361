//===- Shown.h - text out of a file, fit for a message ----------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_SHOWN_H
#define LORAC_COMPILER_IMPORT_SHOWN_H

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lorac {

constexpr size_t kMaxShownBytes = 200;
constexpr size_t kMaxShownDimensions = 8;

/// Bytes of the UTF-8 character (RFC 3629) that `text` begins with; 0 where it begins with none.
inline size_t utf8Length(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto follows = [&](size_t i, unsigned least = 0x80, unsigned most = 0xbf) {
    return byte(i) >= least && byte(i) <= most;
  };
  const unsigned first = byte(0);
  if (first < 0x80)
    return text.empty() ? 0 : 1;
  if (first >= 0xc2 && first <= 0xdf)
    return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) // no surrogates, nothing that fewer bytes could say
    return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  if (first >= 0xf0 && first <= 0xf4)
    return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3)
               ? 4
               : 0;
  return 0;
}

inline bool isUtf8(std::string_view text) {
  while (!text.empty()) {
    size_t length = utf8Length(text);
    if (length == 0)
      return false;
    text.remove_prefix(length);
  }
  return true;
}

/// A name out of a file as messages show it: on one line, in UTF-8, without a terminal's commands, and not
/// endless.
inline std::string shown(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    if (out.size() >= kMaxShownBytes)
      return out + "...";
    const size_t length = utf8Length(name);
    const unsigned char first = static_cast<unsigned char>(name[0]);
    const bool control = first < 0x20 || first == 0x7f ||
                         (length == 2 && first == 0xc2 && static_cast<unsigned char>(name[1]) < 0xa0);
    if (length == 0 || control)
      out += '?';
    else
      out += name.substr(0, length);
    name.remove_prefix(std::max<size_t>(1, length));
  }
  return out;
}

/// [320, 64]
inline std::string shownShape(std::span<const uint64_t> shape) {
  std::string out = "[";
  for (uint64_t size : shape.first(std::min(shape.size(), kMaxShownDimensions)))
    out += (out.size() > 1 ? ", " : "") + std::to_string(size);
  return out + (shape.size() > kMaxShownDimensions ? ", ...]" : "]");
}

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_SHOWN_H
