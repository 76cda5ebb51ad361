//===- ModuleText.cpp - .mlir text before MLIR's parser sees it -----------===//
// Counts as MLIR's lexer does: a string ends at its quote or its line, a comment at its line, and the arrow
// is no bracket. Wherever the two could disagree, MLIR has met an error before.
#include "compiler/import/ModuleText.h"

#include <algorithm>

namespace lorac {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || isDigit(c) || c == '_' || c == '$' || c == '.';
}

class Scanner {
public:
  Scanner(std::string_view text, const std::string &path) : text(text), path(path) {}

  Status scan() {
    while (at < text.size()) {
      const char c = text[at];
      if (c == '\n')
        ++line;
      if (c == '/' && text.substr(at, 2) == "//") {
        at = std::min(text.find('\n', at), text.size());
      } else if (c == '"') {
        skipString();
        maybeAlias = false;
      } else if (isWord(c) || c == '#' || c == '!' || c == '@' || c == '%' || c == '^') {
        LORAC_TRY(word());
      } else {
        LORAC_TRY(punctuation(c));
      }
    }
    return Status::ok();
  }

private:
  Status refuse(std::string_view what) const {
    return Status(Code::CorruptFile) << path << ":" << line << ": " << what
                                     << "; no module that Lorac writes has that, dump it again";
  }

  void skipString() {
    for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at)
      if (text[at] == '\\' && at + 1 < text.size() && text[at + 1] != '\n')
        ++at;
    if (at < text.size() && text[at] == '"')
      ++at;
  }

  Status word() {
    const size_t begin = at++;
    const bool prefixed = !isWord(text[begin]), numbered = prefixed && at < text.size() && isDigit(text[at]);
    while (at < text.size() &&
           (numbered ? isDigit(text[at]) : isWord(text[at]) || (prefixed && text[at] == '-')))
      ++at;
    const std::string_view whole = text.substr(begin, at - begin);
    maybeAlias = whole.front() == '#' || whole.front() == '!';
    if (whole.front() != '@' && whole.front() != '%' &&
        (whole.find("affine_map") != std::string_view::npos ||
         whole.find("affine_set") != std::string_view::npos))
      return refuse("has an affine map or set");
    return Status::ok();
  }

  Status punctuation(char c) {
    if (c == '=' && maybeAlias)
      return refuse("defines an alias");
    maybeAlias = maybeAlias && (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    if (c == '-' && text.substr(at, 2) == "->")
      ++at;
    else if (c == '(' || c == '[' || c == '{' || c == '<')
      ++depth;
    else if ((c == ')' || c == ']' || c == '}' || c == '>') && depth > 0)
      --depth;
    ++at;
    if (depth > kMaxModuleNesting)
      return refuse("opens more than " + std::to_string(kMaxModuleNesting) + " brackets in each other");
    return Status::ok();
  }

  std::string_view text;
  const std::string &path;
  size_t at = 0;
  uint64_t line = 1;
  uint32_t depth = 0;
  bool maybeAlias = false; ///< a word that names an alias was the last but spaces and comments
};

} // namespace

Status checkModuleText(std::string_view text, const std::string &path) { return Scanner(text, path).scan(); }

} // namespace lorac
