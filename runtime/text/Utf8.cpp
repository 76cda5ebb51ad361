//===- Utf8.cpp - UTF-8 checked, walked and repaired ----------------------===//
#include "runtime/text/Utf8.h"

namespace lorac {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd"; // U+FFFD

/// What a first byte asks for: how many bytes follow, and the range of the next one.
struct Lead {
  uint8_t needed;
  uint8_t lowest;
  uint8_t highest;
};

/// False for a byte that starts no character. ASCII needs no further byte.
bool leadOf(uint8_t byte, Lead &lead) {
  if (byte < 0x80)
    lead = {0, 0x80, 0xbf};
  else if (byte >= 0xc2 && byte <= 0xdf)
    lead = {1, 0x80, 0xbf};
  else if (byte >= 0xe0 && byte <= 0xef) // e0: no overlong forms; ed: no surrogates
    lead = {2, uint8_t(byte == 0xe0 ? 0xa0 : 0x80), uint8_t(byte == 0xed ? 0x9f : 0xbf)};
  else if (byte >= 0xf0 && byte <= 0xf4) // f0: no overlong forms; f4: nothing above U+10FFFF
    lead = {3, uint8_t(byte == 0xf0 ? 0x90 : 0x80), uint8_t(byte == 0xf4 ? 0x8f : 0xbf)};
  else
    return false;
  return true;
}

} // namespace

size_t firstInvalidUtf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    Lead lead;
    if (!leadOf(uint8_t(text[position]), lead) || lead.needed >= text.size() - position)
      return position;
    for (size_t i = 1; i <= lead.needed; ++i) {
      uint8_t byte = uint8_t(text[position + i]);
      if (byte < lead.lowest || byte > lead.highest)
        return position;
      lead.lowest = 0x80;
      lead.highest = 0xbf;
    }
    position += 1u + lead.needed;
  }
  return std::string_view::npos;
}

char32_t nextCodePoint(std::string_view text, size_t &position) {
  uint8_t first = uint8_t(text[position++]);
  if (first < 0x80)
    return first;
  size_t count = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  char32_t value = first & (0x3fu >> count);
  for (; count > 0 && position < text.size(); --count)
    value = (value << 6) | (uint8_t(text[position++]) & 0x3fu);
  return value;
}

char32_t previousCodePoint(std::string_view text, size_t &end) {
  do
    --end;
  while (end > 0 && (uint8_t(text[end]) & 0xc0u) == 0x80u);
  size_t position = end;
  return nextCodePoint(text, position);
}

void appendUtf8(std::string &out, char32_t codePoint) {
  if (codePoint < 0x80) {
    out += char(codePoint);
  } else if (codePoint < 0x800) {
    out += char(0xc0u | (codePoint >> 6));
    out += char(0x80u | (codePoint & 0x3fu));
  } else if (codePoint < 0x10000) {
    out += char(0xe0u | (codePoint >> 12));
    out += char(0x80u | ((codePoint >> 6) & 0x3fu));
    out += char(0x80u | (codePoint & 0x3fu));
  } else {
    out += char(0xf0u | (codePoint >> 18));
    out += char(0x80u | ((codePoint >> 12) & 0x3fu));
    out += char(0x80u | ((codePoint >> 6) & 0x3fu));
    out += char(0x80u | (codePoint & 0x3fu));
  }
}

size_t countCodePoints(std::string_view text) {
  size_t count = 0;
  for (char c : text)
    count += (uint8_t(c) & 0xc0u) != 0x80u;
  return count;
}

bool isWhiteSpace(char32_t codePoint) {
  switch (codePoint) {
  case 0x20:
  case 0x85:
  case 0xa0:
  case 0x1680:
  case 0x2028:
  case 0x2029:
  case 0x202f:
  case 0x205f:
  case 0x3000:
    return true;
  default:
    return (codePoint >= 0x09 && codePoint <= 0x0d) || (codePoint >= 0x2000 && codePoint <= 0x200a);
  }
}

void Utf8Repair::feed(std::string_view bytes, std::string &out) {
  for (char c : bytes) {
    uint8_t byte = uint8_t(c);
    if (needed > 0) {
      if (byte >= lowest && byte <= highest) {
        held[heldCount++] = c;
        lowest = 0x80;
        highest = 0xbf;
        if (--needed == 0) {
          out.append(held, heldCount);
          heldCount = 0;
        }
        continue;
      }
      // The held run is broken; this byte may start the next character.
      out += kReplacement;
      needed = heldCount = 0;
    }
    Lead lead;
    if (!leadOf(byte, lead)) {
      out += kReplacement;
    } else if (lead.needed == 0) {
      out += c;
    } else {
      held[0] = c;
      heldCount = 1;
      needed = lead.needed;
      lowest = lead.lowest;
      highest = lead.highest;
    }
  }
}

void Utf8Repair::finish(std::string &out) {
  if (needed > 0)
    out += kReplacement;
  needed = heldCount = 0;
}

} // namespace lorac
