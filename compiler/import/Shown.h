//===- Shown.h - text out of a file, fit for a message ----------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_SHOWN_H
#define LORAC_COMPILER_IMPORT_SHOWN_H

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lorac {

/// A name out of a file as messages show it: on one line, and not endless.
inline std::string shown(std::string_view name) {
  constexpr size_t limit = 200;
  std::string out;
  for (char c : name.substr(0, limit))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (name.size() > limit)
    out += "...";
  return out;
}

/// [320, 64]
inline std::string shownShape(std::span<const uint64_t> shape) {
  std::string out = "[";
  for (uint64_t size : shape)
    out += (out.size() > 1 ? ", " : "") + std::to_string(size);
  return out + "]";
}

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_SHOWN_H
