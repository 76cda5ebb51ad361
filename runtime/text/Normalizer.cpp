//===- Normalizer.cpp - what becomes of a text before it is cut -----------===//
#include "runtime/text/Normalizer.h"

#include "runtime/text/Unicode.h"

namespace lorac {

void appendMarked(std::string &out, std::string_view text) {
  out.reserve(out.size() + text.size());
  for (char c : text)
    if (c == ' ')
      out += kSpaceMark;
    else
      out += c;
}

Result<Normalizer> Normalizer::create(fbs::Normalizer rule) {
  if (rule > fbs::Normalizer::MAX)
    return Status(Code::CorruptFile) << "normalizer " << unsigned(rule)
                                     << " is not in the table; build the file again";
  Normalizer result;
  result.rule = rule;
  return result;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out;
  switch (rule) {
  case fbs::Normalizer::None:
    return std::string(text);
  case fbs::Normalizer::Nfc:
    return unicode::normalFormC(text);
  case fbs::Normalizer::MarksInFront:
    if (!text.empty())
      out = kSpaceMark;
    [[fallthrough]];
  case fbs::Normalizer::Marks:
    appendMarked(out, text);
  }
  return out;
}

} // namespace lorac
