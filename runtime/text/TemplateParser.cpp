//===- TemplateParser.cpp - the part of Jinja2 that chat templates use ----===//
#include "runtime/text/TemplateParser.h"

#include "runtime/text/Utf8.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <unordered_set>

namespace lorac::jinja {
namespace {

constexpr size_t kMaxSource = 1u << 20;

/// `parameters`, separated by commas: '!' marks one that must be given, '*' one that is given by name only.
struct Signature {
  std::string_view name;
  uint8_t id;
  std::string_view parameters;
};
template <typename Id>
constexpr Signature entry(std::string_view name, Id id, std::string_view parameters = "") {
  return {name, uint8_t(id), parameters};
}

constexpr Signature kFilters[] = {
    entry("capitalize", Filter::Capitalize),
    entry("count", Filter::Length),
    entry("d", Filter::Default, "default_value,boolean"),
    entry("default", Filter::Default, "default_value,boolean"),
    entry("first", Filter::First),
    entry("int", Filter::Int, "default"),
    entry("items", Filter::Items),
    entry("join", Filter::Join, "d,attribute"),
    entry("last", Filter::Last),
    entry("length", Filter::Length),
    entry("list", Filter::List),
    entry("lower", Filter::Lower),
    entry("map", Filter::Map, "filter,*attribute,*default"),
    entry("reject", Filter::Reject, "test,argument"),
    entry("rejectattr", Filter::RejectAttr, "!attribute,test,argument"),
    entry("replace", Filter::Replace, "!old,!new,count"),
    entry("reverse", Filter::Reverse),
    entry("safe", Filter::Safe),
    entry("select", Filter::Select, "test,argument"),
    entry("selectattr", Filter::SelectAttr, "!attribute,test,argument"),
    entry("string", Filter::String),
    entry("title", Filter::Title),
    entry("tojson", Filter::ToJson, "*indent"),
    entry("trim", Filter::Trim, "chars"),
    entry("upper", Filter::Upper),
};

constexpr Signature kMethods[] = {
    entry("capitalize", Method::Capitalize),
    entry("endswith", Method::EndsWith, "!suffix"),
    entry("get", Method::Get, "!key,default"),
    entry("items", Method::Items),
    entry("keys", Method::Keys),
    entry("lower", Method::Lower),
    entry("lstrip", Method::LStrip, "chars"),
    entry("replace", Method::Replace, "!old,!new,count"),
    entry("rstrip", Method::RStrip, "chars"),
    entry("split", Method::Split, "sep,maxsplit"),
    entry("startswith", Method::StartsWith, "!prefix"),
    entry("strip", Method::Strip, "chars"),
    entry("title", Method::Title),
    entry("upper", Method::Upper),
    entry("values", Method::Values),
};

constexpr Signature kTests[] = {
    entry("boolean", Test::Boolean),
    entry("defined", Test::Defined),
    entry("divisibleby", Test::DivisibleBy, "!num"),
    entry("eq", Test::Equal, "!other"),
    entry("equalto", Test::Equal, "!other"),
    entry("==", Test::Equal, "!other"),
    entry("even", Test::Even),
    entry("false", Test::False),
    entry("float", Test::Float),
    entry("ge", Test::GreaterEqual, "!other"),
    entry(">=", Test::GreaterEqual, "!other"),
    entry("greaterthan", Test::Greater, "!other"),
    entry("gt", Test::Greater, "!other"),
    entry(">", Test::Greater, "!other"),
    entry("in", Test::In, "!seq"),
    entry("integer", Test::Integer),
    entry("iterable", Test::Iterable),
    entry("le", Test::LessEqual, "!other"),
    entry("<=", Test::LessEqual, "!other"),
    entry("lessthan", Test::Less, "!other"),
    entry("lt", Test::Less, "!other"),
    entry("<", Test::Less, "!other"),
    entry("mapping", Test::Mapping),
    entry("ne", Test::NotEqual, "!other"),
    entry("!=", Test::NotEqual, "!other"),
    entry("none", Test::None),
    entry("number", Test::Number),
    entry("odd", Test::Odd),
    entry("sequence", Test::Sequence),
    entry("string", Test::String),
    entry("true", Test::True),
    entry("undefined", Test::Undefined),
};

/// namespace() and dict() take keywords of any name.
constexpr Signature kFunctions[] = {
    entry("dict", Function::Dict),
    entry("namespace", Function::Namespace),
    entry("raise_exception", Function::RaiseException, "!message"),
    entry("range", Function::Range, "!start,stop,step"),
    entry("strftime_now", Function::StrftimeNow, "!format"),
};

const Signature *find(std::span<const Signature> table, std::string_view name) {
  for (const Signature &signature : table)
    if (signature.name == name)
      return &signature;
  return nullptr;
}

struct Parameter {
  std::string_view name;
  bool required = false;
  bool byNameOnly = false;
};

std::vector<Parameter> parametersOf(std::string_view list) {
  std::vector<Parameter> result;
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    Parameter parameter{list.substr(0, comma)};
    parameter.required = parameter.name.starts_with('!');
    parameter.byNameOnly = parameter.name.starts_with('*');
    if (parameter.required || parameter.byNameOnly)
      parameter.name.remove_prefix(1);
    result.push_back(parameter);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return result;
}

Status unsupported(uint32_t line, std::string_view what, std::string_view name) {
  return templateError(Code::Unsupported, line) << what << " '" << name << "' is not supported";
}

Status malformed(uint32_t line) { return templateError(Code::InvalidArgument, line); }

// ---- tokens
// ----------------------------------------------------------------------------------------------------

enum class TokenKind : uint8_t {
  Text,
  OutputBegin,
  OutputEnd,
  BlockBegin,
  BlockEnd,
  Name,
  String,
  Int,
  Float,
  Op,
  End
};

struct Token {
  TokenKind kind;
  uint32_t line;
  std::string text;
};

bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// Cuts a template as Jinja2's lexer does. The rules on white space stand at their places.
class Lexer {
public:
  explicit Lexer(std::string_view given) {
    // Every kind of line end is "\n", and one at the very end is dropped.
    for (size_t i = 0; i < given.size(); ++i) {
      if (given[i] != '\r') {
        source += given[i];
        continue;
      }
      source += '\n';
      if (i + 1 < given.size() && given[i + 1] == '\n')
        ++i;
    }
    if (source.ends_with('\n'))
      source.pop_back();
  }

  Result<std::vector<Token>> run() {
    while (position < source.size()) {
      size_t tag = findTag();
      if (tag == std::string::npos) {
        add(TokenKind::Text, source.substr(position));
        break;
      }
      LORAC_TRY(readTag(tag));
    }
    add(TokenKind::End, "");
    return std::move(tokens);
  }

private:
  std::string source;
  size_t position = 0;
  uint32_t line = 1;
  bool lineStarting = true; ///< the last tag took the line end before `position`
  std::vector<Token> tokens;

  bool at(std::string_view what) const { return std::string_view(source).substr(position).starts_with(what); }

  void add(TokenKind kind, std::string text) {
    if (kind != TokenKind::Text || !text.empty())
      tokens.push_back({kind, line, std::move(text)});
  }

  /// Moves to `to`, counting lines.
  void advance(size_t to) {
    line += uint32_t(
        std::count(source.begin() + std::ptrdiff_t(position), source.begin() + std::ptrdiff_t(to), '\n'));
    position = to;
  }

  void skipSpace() {
    std::string_view rest = std::string_view(source).substr(position);
    advance(position + (rest.size() - stripLeft(rest).size()));
  }

  size_t findTag() const {
    for (size_t brace = source.find('{', position); brace != std::string::npos;
         brace = source.find('{', brace + 1))
      if (brace + 1 < source.size() &&
          (source[brace + 1] == '{' || source[brace + 1] == '%' || source[brace + 1] == '#'))
        return brace;
    return std::string::npos;
  }

  /// Past the end of a tag: '-' takes all white space that follows, else a block or comment takes one line
  /// end.
  void closeTag(size_t end, bool strips, bool takesLineEnd) {
    advance(end);
    size_t before = position;
    if (strips)
      skipSpace();
    else if (takesLineEnd && at("\n"))
      advance(position + 1);
    lineStarting = position > before && source[position - 1] == '\n';
  }

  Status readTag(size_t tag) {
    std::string_view text = std::string_view(source).substr(position, tag - position);
    char type = source[tag + 1];
    char sign = tag + 2 < source.size() ? source[tag + 2] : '\0';
    bool hasSign = sign == '-' || sign == '+';
    if (sign == '-') {
      text = stripRight(text);
    } else if (sign != '+' && type != '{') {
      // lstrip_blocks: indentation before a block or comment goes.
      size_t lineStart = text.rfind('\n') + 1; // npos + 1 is 0
      if ((lineStart > 0 || lineStarting) && stripLeft(text.substr(lineStart)).empty())
        text = text.substr(0, lineStart);
    }
    add(TokenKind::Text, std::string(text));
    uint32_t tagLine = line + uint32_t(std::count(source.begin() + std::ptrdiff_t(position),
                                                  source.begin() + std::ptrdiff_t(tag), '\n'));
    advance(tag + 2 + (hasSign ? 1 : 0));
    lineStarting = false;
    if (type == '#') {
      size_t end = source.find("#}", position);
      if (end == std::string::npos)
        return malformed(tagLine) << "comment without an end";
      char last = end > position ? source[end - 1] : '\0';
      closeTag(end + 2, last == '-', last != '+');
      return {};
    }
    add(type == '%' ? TokenKind::BlockBegin : TokenKind::OutputBegin, "");
    return readExpression(type == '%', tagLine);
  }

  Status readExpression(bool block, uint32_t tagLine) {
    std::vector<char> open; // brackets
    std::string_view end = block ? "%}" : "}}";
    while (true) {
      skipSpace();
      if (position >= source.size())
        return malformed(tagLine) << "tag without an end, '" << end << "' is missing";
      if (open.empty()) {
        bool strips = at(block ? "-%}" : "-}}");
        bool keeps = block && at("+%}");
        if (strips || keeps || at(end)) {
          add(block ? TokenKind::BlockEnd : TokenKind::OutputEnd, "");
          closeTag(position + (strips || keeps ? 3 : 2), strips, block && !keeps);
          return {};
        }
      }
      LORAC_TRY(readToken(open));
    }
  }

  Status readToken(std::vector<char> &open) {
    char c = source[position];
    size_t end = position;
    if (isNameStart(c)) {
      while (end < source.size() && (isNameStart(source[end]) || isDigit(source[end])))
        ++end;
      add(TokenKind::Name, source.substr(position, end - position));
      advance(end);
      return {};
    }
    if (isDigit(c))
      return readNumber();
    if (c == '\'' || c == '"')
      return readString();
    static constexpr std::string_view kOperators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (std::string_view op : kOperators) {
      if (!at(op))
        continue;
      if (c == '(' || c == '[' || c == '{')
        open.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
      if (c == ')' || c == ']' || c == '}') {
        if (open.empty() || open.back() != c)
          return malformed(line) << "unexpected '" << op << "'";
        open.pop_back();
      }
      add(TokenKind::Op, std::string(op));
      advance(position + op.size());
      return {};
    }
    std::string shown;
    size_t next = position;
    appendUtf8(shown, nextCodePoint(source, next));
    return malformed(line) << "unexpected character '" << shown << "'";
  }

  Status readNumber() {
    size_t end = position;
    auto digits = [&] {
      while (end < source.size() && (isDigit(source[end]) || (source[end] == '_' && end + 1 < source.size() &&
                                                              isDigit(source[end + 1]))))
        ++end;
    };
    auto digitAt = [&](size_t place) { return place < source.size() && isDigit(source[place]); };
    digits();
    bool isFloat = false;
    // a.0.1 is two subscripts.
    bool afterDot = !tokens.empty() && tokens.back().kind == TokenKind::Op && tokens.back().text == ".";
    if (!afterDot) {
      if (end < source.size() && source[end] == '.' && digitAt(end + 1)) {
        ++end;
        digits();
        isFloat = true;
      }
      if (end < source.size() && (source[end] == 'e' || source[end] == 'E')) {
        size_t sign = end + 1 < source.size() && (source[end + 1] == '+' || source[end + 1] == '-') ? 1 : 0;
        if (digitAt(end + 1 + sign)) {
          end += 1 + sign;
          digits();
          isFloat = true;
        }
      }
    }
    if (end < source.size() && (isNameStart(source[end]) || isDigit(source[end])))
      return unsupported(line, "number", source.substr(position, end + 1 - position));
    std::string text = source.substr(position, end - position);
    std::erase(text, '_');
    if (!isFloat && text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos)
      return unsupported(line, "number", text);
    add(isFloat ? TokenKind::Float : TokenKind::Int, std::move(text));
    advance(end);
    return {};
  }

  /// Escapes as in Python's string literals.
  Status readString() {
    uint32_t first = line;
    char quote = source[position];
    std::string text;
    size_t place = position + 1;
    auto hex = [&](size_t count) -> std::optional<char32_t> {
      char32_t value = 0;
      for (size_t i = 0; i < count; ++i) {
        char c = place + i < source.size() ? source[place + i] : '\0';
        char lower = char(c | 0x20);
        if (isDigit(c))
          value = value * 16 + char32_t(c - '0');
        else if (lower >= 'a' && lower <= 'f')
          value = value * 16 + char32_t(lower - 'a' + 10);
        else
          return std::nullopt;
      }
      place += count;
      return value;
    };
    while (true) {
      if (place >= source.size())
        return malformed(first) << "string without an end";
      char c = source[place++];
      if (c == quote)
        break;
      if (c != '\\') {
        text += c;
        continue;
      }
      if (place >= source.size())
        return malformed(first) << "string without an end";
      char kind = source[place++];
      switch (kind) {
      case '\n':
        break;
      case '\\':
      case '\'':
      case '"':
        text += kind;
        break;
      case 'a':
        text += '\a';
        break;
      case 'b':
        text += '\b';
        break;
      case 'f':
        text += '\f';
        break;
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case 't':
        text += '\t';
        break;
      case 'v':
        text += '\v';
        break;
      case 'x':
      case 'u':
      case 'U': {
        std::optional<char32_t> value = hex(kind == 'x' ? 2 : kind == 'u' ? 4 : 8);
        if (!value || *value > 0x10ffff || (*value >= 0xd800 && *value <= 0xdfff))
          return malformed(first) << "string with a broken escape '\\" << kind << "'";
        appendUtf8(text, *value);
        break;
      }
      case 'N':
        return unsupported(first, "escape", "\\N");
      default:
        if (kind >= '0' && kind <= '7') {
          char32_t value = char32_t(kind - '0');
          for (int i = 0; i < 2 && place < source.size() && source[place] >= '0' && source[place] <= '7'; ++i)
            value = value * 8 + char32_t(source[place++] - '0');
          appendUtf8(text, value);
        } else {
          text += '\\';
          text += kind;
        }
      }
    }
    add(TokenKind::String, std::move(text));
    advance(place);
    return {};
  }
};

// ---- grammar
// ---------------------------------------------------------------------------------------------------

class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  Result<Block> run() {
    LORAC_ASSIGN(Block block, parseBlock({}));
    if (!is(TokenKind::End))
      return malformed(here()) << "unexpected " << shown();
    for (const auto &[name, line] : calledMacros)
      if (!macros.contains(name))
        return unsupported(line, "function", name);
    return block;
  }

private:
  std::vector<Token> tokens;
  size_t next = 0;
  uint32_t nesting = 0;
  uint32_t loops = 0; ///< around this place, in this macro
  std::unordered_set<std::string> macros;
  std::vector<std::pair<std::string, uint32_t>> calledMacros;

  /// Counts a level while it lives.
  struct Level {
    explicit Level(uint32_t &count) : count(count) { ++count; }
    ~Level() { --count; }
    uint32_t &count;
  };
  Status checkLevel() const {
    if (nesting > kMaxDepth)
      return malformed(here()) << "nested more than " << kMaxDepth << " deep";
    return {};
  }

  const Token &token() const { return tokens[next]; }
  uint32_t here() const { return token().line; }
  bool is(TokenKind kind) const { return token().kind == kind; }
  bool isOp(std::string_view op) const { return is(TokenKind::Op) && token().text == op; }
  bool isName(std::string_view name) const { return is(TokenKind::Name) && token().text == name; }
  bool takeOp(std::string_view op) { return isOp(op) && (++next, true); }
  bool takeName(std::string_view name) { return isName(name) && (++next, true); }

  std::string shown() const {
    switch (token().kind) {
    case TokenKind::End:
      return "the end of the template";
    case TokenKind::BlockEnd:
      return "'%}'";
    case TokenKind::OutputEnd:
      return "'}}'";
    case TokenKind::String:
      return "a string";
    default:
      return "'" + token().text + "'";
    }
  }
  Status expected(std::string_view what) const {
    return malformed(here()) << "expected " << what << ", found " << shown();
  }
  Status expectOp(std::string_view op) {
    if (!takeOp(op))
      return expected("'" + std::string(op) + "'");
    return {};
  }
  Result<std::string> expectName() {
    if (!is(TokenKind::Name))
      return expected("a name");
    return tokens[next++].text;
  }
  /// A name that may be given a value.
  Result<std::string> expectTarget() {
    static const std::unordered_set<std::string_view> reserved = {"true", "false", "none", "True", "False",
                                                                  "None", "and",   "or",   "not",  "in",
                                                                  "is",   "if",    "else", "elif", "loop"};
    if (is(TokenKind::Name) && reserved.contains(token().text))
      return malformed(here()) << "cannot assign to '" << token().text << "'";
    return expectName();
  }
  Status expectBlockEnd() {
    if (!is(TokenKind::BlockEnd))
      return expected("'%}'");
    ++next;
    return {};
  }
  /// The name after `{%`, where the next token is `{%`.
  std::string_view peekName() const {
    return tokens[next + 1].kind == TokenKind::Name ? std::string_view(tokens[next + 1].text) : "";
  }

  ExprRef make(ExprKind kind, uint32_t line) const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    return expr;
  }
  /// Chains (a + b + …) grow to the left without recursion here, but are walked with it.
  Result<ExprRef> finish(ExprRef expr) const {
    for (const ExprRef &arg : expr->args)
      if (arg)
        expr->depth = std::max(expr->depth, arg->depth + 1);
    if (expr->depth > kMaxDepth)
      return malformed(expr->line) << "nested more than " << kMaxDepth << " deep";
    return expr;
  }
  template <typename... Args>
  Result<ExprRef> makeWith(ExprKind kind, uint8_t id, uint32_t line, Args... args) const {
    ExprRef expr = make(kind, line);
    expr->id = id;
    (expr->args.push_back(std::move(args)), ...);
    return finish(std::move(expr));
  }

  // -- statements --

  /// Up to a `{% NAME` with a name of `ends`, which stays, or to the end of the template.
  Result<Block> parseBlock(std::initializer_list<std::string_view> ends) {
    Level level(nesting);
    LORAC_TRY(checkLevel());
    Block block;
    while (true) {
      auto statement = std::make_unique<Statement>();
      statement->line = here();
      if (is(TokenKind::Text)) {
        statement->kind = StatementKind::Text;
        statement->text = tokens[next++].text;
      } else if (is(TokenKind::OutputBegin)) {
        ++next;
        statement->kind = StatementKind::Output;
        LORAC_ASSIGN(ExprRef expr, parseExpression());
        statement->exprs.push_back(std::move(expr));
        if (isOp(","))
          return templateError(Code::Unsupported, here()) << "a tuple without parentheses is not supported";
        if (!is(TokenKind::OutputEnd))
          return expected("'}}'");
        ++next;
      } else if (is(TokenKind::BlockBegin)) {
        if (std::find(ends.begin(), ends.end(), peekName()) != ends.end())
          return block;
        LORAC_TRY(parseStatement(*statement));
      } else {
        if (ends.size() > 0)
          return malformed(here()) << "'" << *(ends.end() - 1) << "' is missing";
        return block;
      }
      block.push_back(std::move(statement));
    }
  }

  /// The body of a statement and its `{% END %}`.
  Status parseBody(Statement &statement, std::string_view end) {
    LORAC_TRY(expectBlockEnd());
    LORAC_ASSIGN(Block body, parseBlock({end}));
    statement.blocks.push_back(std::move(body));
    next += 2;
    return expectBlockEnd();
  }

  Status parseStatement(Statement &statement) {
    ++next;
    if (!is(TokenKind::Name))
      return expected("a statement");
    uint32_t line = here();
    std::string name = tokens[next++].text;
    if (name == "if")
      return parseIf(statement);
    if (name == "for")
      return parseFor(statement);
    if (name == "set")
      return parseSet(statement);
    if (name == "macro")
      return parseMacro(statement);
    if (name == "generation") {
      statement.kind = StatementKind::Group;
      return parseBody(statement, "endgeneration");
    }
    if (name == "break" || name == "continue") {
      if (loops == 0)
        return malformed(line) << "'" << name << "' outside of a loop";
      statement.kind = name == "break" ? StatementKind::Break : StatementKind::Continue;
      return expectBlockEnd();
    }
    if (name == "else" || name == "elif" || name.starts_with("end"))
      return malformed(line) << "unexpected '" << name << "'";
    return unsupported(line, "statement", name);
  }

  Status parseIf(Statement &statement) {
    statement.kind = StatementKind::If;
    while (true) {
      LORAC_ASSIGN(ExprRef condition, parseExpression());
      statement.exprs.push_back(std::move(condition));
      LORAC_TRY(expectBlockEnd());
      LORAC_ASSIGN(Block body, parseBlock({"elif", "else", "endif"}));
      statement.blocks.push_back(std::move(body));
      std::string_view end = peekName();
      next += 2;
      if (end == "elif")
        continue;
      if (end == "else")
        return parseBody(statement, "endif");
      return expectBlockEnd();
    }
  }

  Status parseFor(Statement &statement) {
    statement.kind = StatementKind::For;
    bool parentheses = takeOp("(");
    do {
      LORAC_ASSIGN(std::string target, expectTarget());
      statement.names.push_back(std::move(target));
    } while (takeOp(","));
    if (parentheses)
      LORAC_TRY(expectOp(")"));
    if (!takeName("in"))
      return expected("'in'");
    LORAC_ASSIGN(ExprRef walked, parseOr()); // an `if` that follows is the loop's filter
    statement.exprs.push_back(std::move(walked));
    statement.exprs.emplace_back();
    if (takeName("if")) {
      LORAC_ASSIGN(statement.exprs[1], parseExpression());
    }
    if (isName("recursive"))
      return unsupported(here(), "loop modifier", "recursive");
    LORAC_TRY(expectBlockEnd());
    {
      Level inLoop(loops);
      LORAC_ASSIGN(Block body, parseBlock({"else", "endfor"}));
      statement.blocks.push_back(std::move(body));
    }
    std::string_view end = peekName();
    next += 2;
    if (end == "else")
      return parseBody(statement, "endfor");
    return expectBlockEnd();
  }

  Status parseSet(Statement &statement) {
    LORAC_ASSIGN(std::string name, expectTarget());
    statement.names.push_back(std::move(name));
    if (isOp(","))
      return templateError(Code::Unsupported, here()) << "'set' with several names is not supported";
    if (is(TokenKind::BlockEnd)) {
      statement.kind = StatementKind::SetBlock;
      return parseBody(statement, "endset");
    }
    if (isOp("|"))
      return templateError(Code::Unsupported, here()) << "'set' block with a filter is not supported";
    statement.kind = StatementKind::Set;
    if (takeOp(".")) {
      LORAC_ASSIGN(std::string attribute, expectName());
      statement.names.push_back(std::move(attribute));
    }
    LORAC_TRY(expectOp("="));
    LORAC_ASSIGN(ExprRef value, parseExpression());
    statement.exprs.push_back(std::move(value));
    if (isOp(","))
      return templateError(Code::Unsupported, here()) << "a tuple without parentheses is not supported";
    return expectBlockEnd();
  }

  Status parseMacro(Statement &statement) {
    statement.kind = StatementKind::Macro;
    LORAC_ASSIGN(statement.text, expectTarget());
    if (find(kFunctions, statement.text))
      return unsupported(statement.line, "a macro with the name of the function", statement.text);
    macros.insert(statement.text);
    LORAC_TRY(expectOp("("));
    while (!takeOp(")")) {
      if (!statement.names.empty())
        LORAC_TRY(expectOp(","));
      LORAC_ASSIGN(std::string parameter, expectTarget());
      if (std::find(statement.names.begin(), statement.names.end(), parameter) != statement.names.end())
        return malformed(here()) << "parameter '" << parameter << "' is there twice";
      statement.names.push_back(std::move(parameter));
      statement.exprs.emplace_back();
      if (takeOp("=")) {
        LORAC_ASSIGN(statement.exprs.back(), parseExpression());
      } else if (statement.exprs.size() > 1 && statement.exprs[statement.exprs.size() - 2]) {
        return malformed(here()) << "parameter '" << statement.names.back()
                                 << "' without a default follows one with";
      }
    }
    uint32_t outerLoops = std::exchange(loops, 0);
    Status status = parseBody(statement, "endmacro");
    loops = outerLoops;
    return status;
  }

  // -- expressions, loosest first --

  Result<ExprRef> parseExpression() {
    Level level(nesting);
    LORAC_TRY(checkLevel());
    LORAC_ASSIGN(ExprRef value, parseOr());
    while (isName("if")) {
      uint32_t line = here();
      ++next;
      LORAC_ASSIGN(ExprRef condition, parseOr());
      ExprRef otherwise;
      if (takeName("else")) {
        LORAC_ASSIGN(otherwise, parseExpression());
      }
      LORAC_ASSIGN(value, makeWith(ExprKind::Choose, 0, line, std::move(value), std::move(condition),
                                   std::move(otherwise)));
    }
    return value;
  }

  Result<ExprRef> parseOr() {
    LORAC_ASSIGN(ExprRef left, parseAnd());
    while (isName("or")) {
      uint32_t line = here();
      ++next;
      LORAC_ASSIGN(ExprRef right, parseAnd());
      LORAC_ASSIGN(left, makeWith(ExprKind::Or, 0, line, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprRef> parseAnd() {
    LORAC_ASSIGN(ExprRef left, parseNot());
    while (isName("and")) {
      uint32_t line = here();
      ++next;
      LORAC_ASSIGN(ExprRef right, parseNot());
      LORAC_ASSIGN(left, makeWith(ExprKind::And, 0, line, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprRef> parseNot() {
    if (!isName("not"))
      return parseCompare();
    Level level(nesting);
    LORAC_TRY(checkLevel());
    uint32_t line = here();
    ++next;
    LORAC_ASSIGN(ExprRef operand, parseNot());
    return makeWith(ExprKind::Not, 0, line, std::move(operand));
  }

  std::optional<Comparison> takeComparison() {
    static constexpr std::pair<std::string_view, Comparison> kOps[] = {
        {"==", Comparison::Equal},     {"!=", Comparison::NotEqual}, {"<", Comparison::Less},
        {"<=", Comparison::LessEqual}, {">", Comparison::Greater},   {">=", Comparison::GreaterEqual}};
    for (const auto &[op, comparison] : kOps)
      if (takeOp(op))
        return comparison;
    if (takeName("in"))
      return Comparison::In;
    if (isName("not") && tokens[next + 1].kind == TokenKind::Name && tokens[next + 1].text == "in") {
      next += 2;
      return Comparison::NotIn;
    }
    return std::nullopt;
  }

  Result<ExprRef> parseCompare() {
    LORAC_ASSIGN(ExprRef first, parseSum());
    uint32_t line = here();
    std::optional<Comparison> comparison = takeComparison();
    if (!comparison)
      return first;
    ExprRef expr = make(ExprKind::Compare, line);
    expr->args.push_back(std::move(first));
    for (; comparison; comparison = takeComparison()) {
      expr->comparisons.push_back(*comparison);
      LORAC_ASSIGN(ExprRef right, parseSum());
      expr->args.push_back(std::move(right));
    }
    return finish(std::move(expr));
  }

  Result<ExprRef> parseSum() {
    LORAC_ASSIGN(ExprRef left, parseConcat());
    while (isOp("+") || isOp("-")) {
      uint32_t line = here();
      Operator op = tokens[next++].text == "+" ? Operator::Add : Operator::Sub;
      LORAC_ASSIGN(ExprRef right, parseConcat());
      LORAC_ASSIGN(left, makeWith(ExprKind::Binary, uint8_t(op), line, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprRef> parseConcat() {
    LORAC_ASSIGN(ExprRef left, parseProduct());
    while (isOp("~")) {
      uint32_t line = here();
      ++next;
      LORAC_ASSIGN(ExprRef right, parseProduct());
      LORAC_ASSIGN(left, makeWith(ExprKind::Binary, uint8_t(Operator::Concat), line, std::move(left),
                                  std::move(right)));
    }
    return left;
  }

  Result<ExprRef> parseProduct() {
    LORAC_ASSIGN(ExprRef left, parseUnary(true));
    while (isOp("*") || isOp("/") || isOp("//") || isOp("%")) {
      uint32_t line = here();
      const std::string &text = tokens[next++].text;
      Operator op = text == "*"    ? Operator::Mul
                    : text == "/"  ? Operator::Div
                    : text == "//" ? Operator::FloorDiv
                                   : Operator::Mod;
      LORAC_ASSIGN(ExprRef right, parseUnary(true));
      LORAC_ASSIGN(left, makeWith(ExprKind::Binary, uint8_t(op), line, std::move(left), std::move(right)));
    }
    if (isOp("**"))
      return unsupported(here(), "operator", "**");
    return left;
  }

  /// A sign binds looser than calls and subscripts, tighter than filters: -x|abs is (-x)|abs.
  Result<ExprRef> parseUnary(bool withFilters) {
    Level level(nesting);
    LORAC_TRY(checkLevel());
    uint32_t line = here();
    ExprRef value;
    if (isOp("-") || isOp("+")) {
      bool negate = tokens[next++].text == "-";
      LORAC_ASSIGN(ExprRef operand, parseUnary(false));
      LORAC_ASSIGN(value, makeWith(negate ? ExprKind::Negate : ExprKind::Plus, 0, line, std::move(operand)));
    } else {
      LORAC_ASSIGN(value, parsePrimary());
    }
    LORAC_ASSIGN(value, parsePostfix(std::move(value)));
    while (withFilters && (isOp("|") || isName("is"))) {
      LORAC_ASSIGN(value, isOp("|") ? parseFilter(std::move(value)) : parseTest(std::move(value)));
    }
    return value;
  }

  ExprRef literal(Value value, uint32_t line) const {
    ExprRef expr = make(ExprKind::Literal, line);
    expr->literal = std::move(value);
    return expr;
  }

  Result<ExprRef> parsePrimary() {
    uint32_t line = here();
    const Token &first = token();
    switch (first.kind) {
    case TokenKind::String: {
      std::string text; // neighbours are one string
      while (is(TokenKind::String))
        text += tokens[next++].text;
      return literal(Value::text(std::move(text)), line);
    }
    case TokenKind::Int: {
      int64_t value = 0;
      auto [end, error] = std::from_chars(first.text.data(), first.text.data() + first.text.size(), value);
      if (error != std::errc())
        return unsupported(line, "number", first.text);
      ++next;
      return literal(Value(value), line);
    }
    case TokenKind::Float: {
      double value = 0;
      auto [end, error] = std::from_chars(first.text.data(), first.text.data() + first.text.size(), value);
      if (error != std::errc())
        return unsupported(line, "number", first.text);
      ++next;
      return literal(Value(value), line);
    }
    case TokenKind::Name:
      return parseName();
    case TokenKind::Op:
      if (first.text == "(" || first.text == "[")
        return parseList();
      if (first.text == "{")
        return parseDict();
      break;
    default:
      break;
    }
    return expected("an expression");
  }

  Result<ExprRef> parseName() {
    uint32_t line = here();
    std::string name = tokens[next++].text;
    if (name == "true" || name == "True")
      return literal(Value(true), line);
    if (name == "false" || name == "False")
      return literal(Value(false), line);
    if (name == "none" || name == "None")
      return literal(Value::none(), line);
    for (std::string_view word : {"and", "or", "not", "in", "is", "if", "else", "elif"})
      if (name == word)
        return malformed(line) << "expected an expression, found '" << name << "'";
    const Signature *function = find(kFunctions, name);
    if (isOp("(")) {
      std::vector<ExprRef> args;
      std::vector<std::string> names;
      LORAC_TRY(parseArguments(args, names));
      if (!function) {
        calledMacros.emplace_back(name, line);
        ExprRef call = make(ExprKind::CallMacro, line);
        call->name = std::move(name);
        call->args = std::move(args);
        call->names = std::move(names);
        return finish(std::move(call));
      }
      ExprRef call = make(ExprKind::Call, line);
      call->id = function->id;
      if (Function(call->id) == Function::Namespace || Function(call->id) == Function::Dict) {
        if (args.size() != names.size())
          return templateError(Code::Unsupported, line)
                 << "function '" << name << "' with a positional argument is not supported";
        call->args = std::move(args);
        call->names = std::move(names);
        return finish(std::move(call));
      }
      return bind(std::move(call), "function", *function, std::move(args), std::move(names));
    }
    // strftime_now is not there for `is defined`, so that a template takes the branch without it.
    if (function && Function(function->id) != Function::StrftimeNow)
      return unsupported(line, "as a value, the function", name);
    ExprRef expr = make(ExprKind::Name, line);
    expr->name = std::move(name);
    return expr;
  }

  /// `(a)` is a; `(a,)`, `(a, b)` and `()` are tuples; `[…]` is a list.
  Result<ExprRef> parseList() {
    uint32_t line = here();
    bool brackets = tokens[next++].text == "[";
    std::string_view close = brackets ? "]" : ")";
    ExprRef list = make(brackets ? ExprKind::List : ExprKind::Tuple, line);
    bool comma = false;
    while (!takeOp(close)) {
      if (!list->args.empty()) {
        if (!takeOp(","))
          return expected("',' or '" + std::string(close) + "'");
        comma = true;
        if (takeOp(close))
          break;
      }
      LORAC_ASSIGN(ExprRef item, parseExpression());
      list->args.push_back(std::move(item));
    }
    if (!brackets && list->args.size() == 1 && !comma)
      return std::move(list->args[0]);
    return finish(std::move(list));
  }

  Result<ExprRef> parseDict() {
    ExprRef dict = make(ExprKind::Dict, here());
    ++next;
    while (!takeOp("}")) {
      if (!dict->args.empty()) {
        if (!takeOp(","))
          return expected("',' or '}'");
        if (takeOp("}"))
          break;
      }
      LORAC_ASSIGN(ExprRef key, parseExpression());
      dict->args.push_back(std::move(key));
      LORAC_TRY(expectOp(":"));
      LORAC_ASSIGN(ExprRef value, parseExpression());
      dict->args.push_back(std::move(value));
    }
    return finish(std::move(dict));
  }

  Status parseArguments(std::vector<ExprRef> &args, std::vector<std::string> &names) {
    LORAC_TRY(expectOp("("));
    while (!takeOp(")")) {
      if (!args.empty()) {
        if (!takeOp(","))
          return expected("',' or ')'");
        if (takeOp(")"))
          break;
      }
      if (isOp("*") || isOp("**"))
        return unsupported(here(), "argument", token().text);
      if (is(TokenKind::Name) && tokens[next + 1].kind == TokenKind::Op && tokens[next + 1].text == "=") {
        if (std::find(names.begin(), names.end(), token().text) != names.end())
          return malformed(here()) << "argument '" << token().text << "' is there twice";
        names.push_back(token().text);
        next += 2;
      } else if (!names.empty()) {
        return malformed(here()) << "a positional argument follows a named one";
      }
      LORAC_ASSIGN(ExprRef value, parseExpression());
      args.push_back(std::move(value));
    }
    return {};
  }

  /// Puts arguments into the order of the parameters, after what `call` has in its args.
  Result<ExprRef> bind(ExprRef call, std::string_view what, const Signature &signature,
                       std::vector<ExprRef> args, std::vector<std::string> names) const {
    std::vector<Parameter> parameters = parametersOf(signature.parameters);
    size_t base = call->args.size();
    call->args.resize(base + parameters.size());
    size_t positional = args.size() - names.size();
    for (size_t i = 0; i < args.size(); ++i) {
      size_t place = i;
      if (i >= positional) {
        std::string_view name = names[i - positional];
        place = size_t(std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter &parameter) { return parameter.name == name; }) -
                       parameters.begin());
        if (place == parameters.size())
          return templateError(Code::Unsupported, call->line)
                 << what << " '" << signature.name << "' with argument '" << name << "' is not supported";
      } else if (i >= parameters.size() || parameters[i].byNameOnly) {
        return templateError(Code::Unsupported, call->line)
               << what << " '" << signature.name << "' with " << positional << " arguments is not supported";
      }
      if (call->args[base + place])
        return malformed(call->line) << "argument '" << parameters[place].name << "' is there twice";
      call->args[base + place] = std::move(args[i]);
    }
    for (size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].required && !call->args[base + i])
        return malformed(call->line) << what << " '" << signature.name << "' needs argument '"
                                     << parameters[i].name << "'";
    return finish(std::move(call));
  }

  Result<ExprRef> parsePostfix(ExprRef value) {
    while (true) {
      uint32_t line = here();
      if (takeOp(".")) {
        if (is(TokenKind::Int)) {
          LORAC_ASSIGN(ExprRef index, parsePrimary());
          LORAC_ASSIGN(value, makeWith(ExprKind::Subscript, 0, line, std::move(value), std::move(index)));
          continue;
        }
        LORAC_ASSIGN(std::string name, expectName());
        if (!isOp("(")) {
          ExprRef attribute = make(ExprKind::Attribute, line);
          attribute->name = std::move(name);
          attribute->args.push_back(std::move(value));
          LORAC_ASSIGN(value, finish(std::move(attribute)));
          continue;
        }
        const Signature *method = find(kMethods, name);
        if (!method)
          return unsupported(line, "method", name);
        std::vector<ExprRef> args;
        std::vector<std::string> names;
        LORAC_TRY(parseArguments(args, names));
        ExprRef call = make(ExprKind::CallMethod, line);
        call->id = method->id;
        call->name = std::move(name);
        call->args.push_back(std::move(value));
        LORAC_ASSIGN(value, bind(std::move(call), "method", *method, std::move(args), std::move(names)));
      } else if (isOp("[")) {
        LORAC_ASSIGN(value, parseSubscript(std::move(value)));
      } else if (isOp("(")) {
        return templateError(Code::Unsupported, line) << "calling a value is not supported";
      } else {
        return value;
      }
    }
  }

  Result<ExprRef> parseSubscript(ExprRef value) {
    uint32_t line = here();
    ++next;
    ExprRef parts[3];
    size_t colons = 0;
    for (; colons < 3; ++colons) {
      if (!isOp(":") && !isOp("]")) {
        LORAC_ASSIGN(parts[colons], parseExpression());
      }
      if (colons == 2 || !takeOp(":"))
        break;
    }
    if (isOp(","))
      return templateError(Code::Unsupported, here()) << "a subscript of several parts is not supported";
    LORAC_TRY(expectOp("]"));
    if (colons == 0) {
      if (!parts[0])
        return malformed(line) << "subscript without an index";
      return makeWith(ExprKind::Subscript, 0, line, std::move(value), std::move(parts[0]));
    }
    return makeWith(ExprKind::Slice, 0, line, std::move(value), std::move(parts[0]), std::move(parts[1]),
                    std::move(parts[2]));
  }

  Result<ExprRef> parseFilter(ExprRef value) {
    ++next;
    uint32_t line = here();
    LORAC_ASSIGN(std::string name, expectName());
    const Signature *filter = find(kFilters, name);
    if (!filter)
      return unsupported(line, "filter", name);
    std::vector<ExprRef> args;
    std::vector<std::string> names;
    if (isOp("("))
      LORAC_TRY(parseArguments(args, names));
    ExprRef call = make(ExprKind::Filter, line);
    call->id = filter->id;
    call->name = std::move(name);
    call->args.push_back(std::move(value));
    LORAC_ASSIGN(call, bind(std::move(call), "filter", *filter, std::move(args), std::move(names)));
    LORAC_TRY(resolveInner(*call));
    return call;
  }

  /// map, select and their kin name a filter or test in a string, which must be known here.
  Status resolveInner(Expr &call) const {
    size_t place;
    bool isTest = true;
    switch (Filter(call.id)) {
    case Filter::Map:
      if (bool(call.args[1]) == bool(call.args[2]))
        return malformed(call.line) << "filter 'map' needs either a filter's name or attribute=";
      if (call.args[3] && !call.args[2])
        return malformed(call.line) << "filter 'map' has a default but no attribute";
      place = 1;
      isTest = false;
      break;
    case Filter::Select:
    case Filter::Reject:
      place = 1;
      break;
    case Filter::SelectAttr:
    case Filter::RejectAttr:
      place = 2;
      break;
    default:
      return {};
    }
    const Expr *inner = call.args[place].get();
    if (!inner)
      return {};
    if (inner->kind != ExprKind::Literal || !inner->literal.is(Kind::Text))
      return templateError(Code::Unsupported, call.line)
             << "filter '" << call.name << "' with a name that is not a string literal is not supported";
    const std::string &name = inner->literal.asText();
    const Signature *signature = isTest ? find(kTests, name) : find(kFilters, name);
    if (!signature)
      return unsupported(call.line, isTest ? "test" : "filter", name);
    size_t needed = 0;
    for (const Parameter &parameter : parametersOf(signature->parameters))
      needed += parameter.required;
    size_t given = isTest && call.args[place + 1] ? 1 : 0;
    bool nested =
        !isTest && (Filter(signature->id) == Filter::Map || Filter(signature->id) == Filter::Select ||
                    Filter(signature->id) == Filter::Reject);
    if (needed != given || nested)
      return templateError(Code::Unsupported, call.line)
             << "filter '" << call.name << "' with '" << name << "' and " << given
             << " arguments is not supported";
    call.other = signature->id;
    return {};
  }

  Result<ExprRef> parseTest(ExprRef value) {
    uint32_t line = here();
    ++next;
    bool negated = takeName("not");
    LORAC_ASSIGN(std::string name, expectName());
    const Signature *test = find(kTests, name);
    if (!test)
      return unsupported(line, "test", name);
    std::vector<ExprRef> args;
    std::vector<std::string> names;
    static const std::unordered_set<std::string_view> ends = {"else", "or", "and", "if", "is", "in", "not"};
    bool startsPrimary = is(TokenKind::String) || is(TokenKind::Int) || is(TokenKind::Float) || isOp("[") ||
                         isOp("{") || (is(TokenKind::Name) && !ends.contains(token().text));
    if (isName("is"))
      return malformed(here()) << "tests cannot be chained with 'is'";
    if (isOp("(")) {
      LORAC_TRY(parseArguments(args, names));
    } else if (startsPrimary) { // x is divisibleby 3
      LORAC_ASSIGN(ExprRef argument, parsePrimary());
      LORAC_ASSIGN(argument, parsePostfix(std::move(argument)));
      args.push_back(std::move(argument));
    }
    ExprRef call = make(ExprKind::Test, line);
    call->id = test->id;
    call->name = std::move(name);
    call->args.push_back(std::move(value));
    LORAC_ASSIGN(call, bind(std::move(call), "test", *test, std::move(args), std::move(names)));
    if (negated)
      return makeWith(ExprKind::Not, 0, line, std::move(call));
    return call;
  }
};

} // namespace

Status templateError(Code code, uint32_t line) {
  return Status(code) << "chat template line " << line << ": ";
}

Result<Block> parseTemplate(std::string_view source) {
  if (source.size() > kMaxSource)
    return Status(Code::InvalidArgument)
           << "chat template has " << source.size() << " bytes, at most " << kMaxSource << " are read";
  if (size_t bad = firstInvalidUtf8(source); bad != std::string_view::npos)
    return Status(Code::InvalidArgument) << "chat template is not UTF-8 at byte " << bad;
  Lexer lexer(source);
  LORAC_ASSIGN(std::vector<Token> tokens, lexer.run());
  return Parser(std::move(tokens)).run();
}

} // namespace lorac::jinja
