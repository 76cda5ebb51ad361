//===- TemplateParser.h - the part of Jinja2 that chat templates use -*- C++ -*-===//
// {{ }}, {% %}, {# #} with -, + and the settings trim_blocks and lstrip_blocks.
// Statements: for (targets, a filter `if`, else), if/elif/else, set (a name, a namespace's attribute, a
// block), macro, break, continue, generation (which only marks its body). Expressions: literals, names,
// attributes, subscripts, slices, the calls listed in TemplateParser.cpp, filters, tests,
// + - * / // % ~, comparisons, in, and, or, not, `a if b else c`. What else Jinja2 has is refused by its
// name.
#ifndef LORAC_RUNTIME_TEXT_TEMPLATEPARSER_H
#define LORAC_RUNTIME_TEXT_TEMPLATEPARSER_H

#include "runtime/text/TemplateValue.h"
#include "support/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::jinja {

/// Expressions, statements and the calls of both while rendering may nest this deep; each level takes host
/// stack.
constexpr uint32_t kMaxDepth = 200;

enum class Filter : uint8_t {
  Capitalize,
  Default,
  First,
  Int,
  Items,
  Join,
  Last,
  Length,
  List,
  Lower,
  Map,
  Reject,
  RejectAttr,
  Replace,
  Reverse,
  Safe,
  Select,
  SelectAttr,
  String,
  Title,
  ToJson,
  Trim,
  Upper
};
enum class Method : uint8_t {
  Capitalize,
  EndsWith,
  Get,
  Items,
  Keys,
  Lower,
  LStrip,
  Replace,
  RStrip,
  Split,
  StartsWith,
  Strip,
  Title,
  Upper,
  Values
};
enum class Test : uint8_t {
  Boolean,
  Defined,
  DivisibleBy,
  Equal,
  Even,
  False,
  Float,
  Greater,
  GreaterEqual,
  In,
  Integer,
  Iterable,
  Less,
  LessEqual,
  Mapping,
  None,
  NotEqual,
  Number,
  Odd,
  Sequence,
  String,
  True,
  Undefined
};
enum class Function : uint8_t { Dict, Namespace, RaiseException, Range, StrftimeNow };
enum class Operator : uint8_t { Add, Sub, Mul, Div, FloorDiv, Mod, Concat };
enum class Comparison : uint8_t { Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, In, NotIn };

enum class ExprKind : uint8_t {
  Literal,    ///< literal
  Name,       ///< name
  List,       ///< args
  Tuple,      ///< args
  Dict,       ///< args: key, value, key, value, …
  Attribute,  ///< args[0].name
  Subscript,  ///< args[0][args[1]]
  Slice,      ///< args[0][args[1]:args[2]:args[3]]; those not written are null
  Call,       ///< id is a Function; args in the order of its parameters, or with names for keywords
  CallMacro,  ///< name; args, of which the last names.size() are keywords
  CallMethod, ///< id is a Method of args[0]
  Filter,     ///< id is a Filter of args[0]; other is the Filter or Test that it names
  Test,       ///< id is a Test of args[0]
  Not,
  Negate,
  Plus,
  Binary,  ///< id is an Operator
  Compare, ///< args[0] comparisons[0] args[1] comparisons[1] args[2] …
  And,
  Or,
  Choose ///< args[0] if args[1] else args[2], which may be null
};

struct Expr {
  ExprKind kind;
  uint8_t id = 0;
  int16_t other = -1;
  uint32_t line = 0;
  uint32_t depth = 1;
  Value literal;
  std::string name;
  std::vector<std::unique_ptr<Expr>> args; ///< null for a parameter that was not given
  std::vector<std::string> names;
  std::vector<Comparison> comparisons;
};
using ExprRef = std::unique_ptr<Expr>;

enum class StatementKind : uint8_t {
  Text,   ///< text
  Output, ///< exprs[0]
  If,     ///< exprs[i] guards blocks[i]; one block more is the else
  For,    ///< names are the targets, exprs[0] what is walked, exprs[1] the filter or null; blocks[1] the else
  Set,    ///< names[0], or attribute names[1] of the namespace names[0]; exprs[0]
  SetBlock, ///< names[0]; blocks[0]
  Macro,    ///< text is its name, names the parameters, exprs the defaults or null; blocks[0]
  Group,    ///< blocks[0]
  Break,
  Continue
};

using Block = std::vector<std::unique_ptr<Statement>>;
struct Statement {
  StatementKind kind;
  uint32_t line = 0;
  std::string text;
  std::vector<std::string> names;
  std::vector<ExprRef> exprs;
  std::vector<Block> blocks;
};

/// "chat template line 3: ", to be continued.
Status templateError(Code code, uint32_t line);

Result<Block> parseTemplate(std::string_view source);

} // namespace lorac::jinja

#endif // LORAC_RUNTIME_TEXT_TEMPLATEPARSER_H
