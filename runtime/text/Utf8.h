//===- Utf8.h - UTF-8 checked, walked and repaired --------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_TEXT_UTF8_H
#define LORAC_RUNTIME_TEXT_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lorac {

/// Where the first byte stands that is not part of well-formed UTF-8 (Unicode 15, table 3-7: no surrogates,
/// no overlong forms, nothing above U+10FFFF); npos where all is well.
size_t firstInvalidUtf8(std::string_view text);

/// The code point at `position` of well-formed UTF-8, which moves past it. `position` < text.size().
char32_t nextCodePoint(std::string_view text, size_t &position);

/// The code point that ends before `end` > 0 of well-formed UTF-8, which moves to its first byte.
char32_t previousCodePoint(std::string_view text, size_t &end);

void appendUtf8(std::string &out, char32_t codePoint);

/// How many code points well-formed UTF-8 has.
size_t countCodePoints(std::string_view text);

/// Unicode's White_Space property.
bool isWhiteSpace(char32_t codePoint);

/// Makes well-formed UTF-8 of any bytes that come in pieces: each longest broken run (Unicode 15, 3.9,
/// "substitution of maximal subparts") becomes U+FFFD. Bytes of an unfinished character are held back until
/// it is whole or broken.
class Utf8Repair {
public:
  void feed(std::string_view bytes, std::string &out);
  /// Ends the text: an unfinished character becomes U+FFFD. Then it is as new.
  void finish(std::string &out);

private:
  char held[4] = {};
  uint8_t heldCount = 0;
  uint8_t needed = 0; ///< continuation bytes that the held character still lacks
  uint8_t lowest = 0x80;
  uint8_t highest = 0xbf;
};

} // namespace lorac

#endif // LORAC_RUNTIME_TEXT_UTF8_H
