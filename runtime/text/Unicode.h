//===- Unicode.h - normal form C and letter case ----------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_UNICODE_H
#define LORAC_RUNTIME_TEXT_UNICODE_H

#include <string>
#include <string_view>

namespace lorac::unicode {

/// `utf8`, which must be well formed, in normal form C (Unicode Standard Annex 15). O(n log n) whatever the
/// text: marks may stand in any number and order.
std::string normalFormC(std::string_view utf8);

/// Appends the full mapping of one character, of up to three: no language, and no look at what stands around.
void appendUpper(std::string &out, char32_t codePoint);
void appendLower(std::string &out, char32_t codePoint);
void appendTitle(std::string &out, char32_t codePoint);

} // namespace lorac::unicode

#endif // LORAC_RUNTIME_TEXT_UNICODE_H
