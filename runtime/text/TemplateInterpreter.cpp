//===- TemplateInterpreter.cpp - renders a parsed chat template -----------===//
// Values behave as Python's, for that is what templates are written against. Everything that a template can
// make large is paid for in steps before it is made.
#include "runtime/text/TemplateInterpreter.h"

#include "runtime/text/Unicode.h"
#include "runtime/text/Utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_map>

namespace lorac::jinja {
namespace {

using Scope = std::unordered_map<std::string, Value>;
using Arguments = std::vector<std::optional<Value>>;

char upperAscii(char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; }
char lowerAscii(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
bool isLetterAscii(char c) { return lowerAscii(c) >= 'a' && lowerAscii(c) <= 'z'; }

/// std::string::find takes the product of both sizes where a text is made for it; memmem does not.
size_t findText(std::string_view text, std::string_view part, size_t from = 0) {
  if (part.empty())
    return from;
  if (from >= text.size())
    return std::string_view::npos;
  const void *place = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return place ? size_t(static_cast<const char *>(place) - text.data()) : std::string_view::npos;
}

/// Where each code point of `text` starts, and its end.
std::vector<uint32_t> starts(std::string_view text) {
  std::vector<uint32_t> result;
  for (size_t i = 0; i < text.size(); ++i)
    if ((uint8_t(text[i]) & 0xc0u) != 0x80u)
      result.push_back(uint32_t(i));
  result.push_back(uint32_t(text.size()));
  return result;
}

class Interpreter {
public:
  Interpreter(const CharacterClasses &classes, std::vector<std::pair<std::string, Value>> variables,
              uint64_t maxSteps)
      : classes(classes), maxSteps(maxSteps) {
    scopes.emplace_back();
    for (auto &[name, value] : variables)
      scopes.front().emplace(std::move(name), std::move(value));
  }

  Result<std::string> run(const Block &program) {
    std::string text;
    out = &text;
    LORAC_TRY(execute(program));
    return text;
  }

private:
  enum class Flow { Normal, Break, Continue };

  const CharacterClasses &classes;
  const uint64_t maxSteps;
  std::string *out = nullptr;
  std::vector<Scope> scopes; ///< the first is the template's own
  size_t frame = 0;          ///< scopes below it belong to what called this macro
  Flow flow = Flow::Normal;
  uint64_t steps = 0;
  uint32_t depth = 0;

  struct Level {
    explicit Level(uint32_t &count) : count(count) { ++count; }
    ~Level() { --count; }
    uint32_t &count;
  };

  // ---- bounds
  // --------------------------------------------------------------------------------------------------

  static Status failure(uint32_t line) { return templateError(Code::InvalidArgument, line); }

  Status spend(uint64_t amount, uint32_t line) {
    if (amount > maxSteps - steps)
      return failure(line) << "rendering takes more than " << maxSteps << " steps";
    steps += amount;
    return {};
  }
  Status enter(uint32_t line) {
    if (depth > kMaxDepth)
      return failure(line) << "nested more than " << kMaxDepth << " deep";
    return spend(1, line);
  }
  /// Before a text of `size` bytes is made.
  Status payText(uint64_t size, uint32_t line) {
    if (size > kMaxOutput)
      return failure(line) << "a text of more than " << kMaxOutput << " bytes";
    return spend(1 + size / 16, line);
  }
  /// Before `text` is looked through.
  Status payScan(std::string_view text, uint32_t line) { return spend(1 + text.size() / 64, line); }
  Result<Value> makeText(std::string text, uint32_t line) {
    LORAC_TRY(payText(text.size(), line));
    return Value::text(std::move(text));
  }
  /// Namespaces change and loops hold lists: neither may be inside another value, or values could be
  /// circular.
  static Status checkStorable(const Value &value, uint32_t line) {
    if (value.is(Kind::Namespace) || value.is(Kind::Loop) || value.is(Kind::Macro))
      return templateError(Code::Unsupported, line)
             << "a " << value.kindName() << " inside another value is not supported";
    if (value.depth() >= kMaxValueDepth)
      return failure(line) << "lists nested more than " << kMaxValueDepth << " deep";
    return {};
  }
  Result<Value> makeList(std::vector<Value> items, bool tuple, uint32_t line) {
    LORAC_TRY(spend(1 + 2 * items.size(), line));
    auto list = std::make_shared<List>();
    list->tuple = tuple;
    for (const Value &item : items) {
      LORAC_TRY(checkStorable(item, line));
      list->depth = std::max(list->depth, item.depth() + 1);
    }
    list->items = std::move(items);
    return Value(ListRef(std::move(list)));
  }
  Status append(std::string_view text, uint32_t line) {
    if (text.size() > kMaxOutput - out->size())
      return failure(line) << "the output has more than " << kMaxOutput << " bytes";
    LORAC_TRY(spend(text.size() / 16, line));
    out->append(text);
    return {};
  }

  // ---- statements
  // ----------------------------------------------------------------------------------------------

  Status execute(const Block &block) {
    Level level(depth);
    for (const auto &statement : block) {
      LORAC_TRY(enter(statement->line));
      LORAC_TRY(execute(*statement));
      if (flow != Flow::Normal)
        break;
    }
    return {};
  }

  Status execute(const Statement &statement) {
    switch (statement.kind) {
    case StatementKind::Text:
      return append(statement.text, statement.line);
    case StatementKind::Output:
      return output(statement);
    case StatementKind::If:
      return executeIf(statement);
    case StatementKind::For:
      return executeFor(statement);
    case StatementKind::Set:
      return executeSet(statement);
    case StatementKind::SetBlock: {
      LORAC_ASSIGN(Value text, capture(statement.blocks[0], statement.line));
      scopes.back().insert_or_assign(statement.names[0], std::move(text));
      return {};
    }
    case StatementKind::Macro:
      scopes.back().insert_or_assign(statement.text, Value(&statement));
      return {};
    case StatementKind::Group:
      return execute(statement.blocks[0]);
    case StatementKind::Break:
      flow = Flow::Break;
      return {};
    case StatementKind::Continue:
      flow = Flow::Continue;
      return {};
    }
    return {};
  }

  Status output(const Statement &statement) {
    LORAC_ASSIGN(Value value, evaluate(*statement.exprs[0]));
    if (value.is(Kind::Text))
      return append(value.asText(), statement.line);
    std::string text;
    LORAC_TRY(print(value, text, statement.line));
    return append(text, statement.line);
  }

  Status executeIf(const Statement &statement) {
    for (size_t i = 0; i < statement.blocks.size(); ++i) {
      bool taken = true;
      if (i < statement.exprs.size()) {
        LORAC_ASSIGN(Value condition, evaluate(*statement.exprs[i]));
        taken = condition.isTrue();
      }
      if (taken)
        return execute(statement.blocks[i]);
    }
    return {};
  }

  /// The text that a block writes.
  Result<Value> capture(const Block &block, uint32_t line) {
    std::string text;
    std::string *outer = std::exchange(out, &text);
    Status status = execute(block);
    out = outer;
    LORAC_TRY(std::move(status));
    return makeText(std::move(text), line);
  }

  Status executeSet(const Statement &statement) {
    LORAC_ASSIGN(Value value, evaluate(*statement.exprs[0]));
    if (statement.names.size() == 1) {
      scopes.back().insert_or_assign(statement.names[0], std::move(value));
      return {};
    }
    Value target = lookUp(statement.names[0]);
    if (!target.is(Kind::Namespace))
      return failure(statement.line) << "'" << statement.names[0]
                                     << "' is no namespace, its attributes cannot be set";
    LORAC_TRY(checkStorable(value, statement.line));
    target.asNamespace().attributes.set(statement.names[1], std::move(value));
    return {};
  }

  Status bindTargets(const Statement &statement, const Value &item) {
    Scope &scope = scopes.back();
    if (statement.names.size() == 1) {
      scope.insert_or_assign(statement.names[0], item);
      return {};
    }
    if (!item.is(Kind::List) || item.asList().items.size() != statement.names.size())
      return failure(statement.line) << "cannot unpack a " << item.kindName() << " into "
                                     << statement.names.size() << " names";
    for (size_t i = 0; i < statement.names.size(); ++i)
      scope.insert_or_assign(statement.names[i], item.asList().items[i]);
    return {};
  }

  Status executeFor(const Statement &statement) {
    LORAC_ASSIGN(Value walked, evaluate(*statement.exprs[0]));
    LORAC_ASSIGN(ListRef items, elements(walked, statement.line));
    if (statement.exprs[1]) {
      std::vector<Value> kept;
      for (const Value &item : items->items) {
        scopes.emplace_back();
        LORAC_TRY(bindTargets(statement, item));
        LORAC_ASSIGN(Value wanted, evaluate(*statement.exprs[1]));
        scopes.pop_back();
        if (wanted.isTrue())
          kept.push_back(item);
      }
      LORAC_ASSIGN(Value list, makeList(std::move(kept), false, statement.line));
      items = list.asListRef();
    }
    if (items->items.empty())
      return statement.blocks.size() > 1 ? execute(statement.blocks[1]) : Status();
    auto loop = std::make_shared<Loop>();
    loop->items = items;
    for (size_t i = 0; i < items->items.size() && flow != Flow::Break; ++i) {
      LORAC_TRY(spend(1, statement.line));
      flow = Flow::Normal;
      loop->index = i;
      scopes.emplace_back();
      LORAC_TRY(bindTargets(statement, items->items[i]));
      scopes.back().insert_or_assign("loop", Value(loop));
      LORAC_TRY(execute(statement.blocks[0]));
      scopes.pop_back();
    }
    flow = Flow::Normal;
    return {};
  }

  // ---- expressions
  // ---------------------------------------------------------------------------------------------

  Value lookUp(const std::string &name) const {
    for (size_t i = scopes.size(); i-- > frame;)
      if (auto found = scopes[i].find(name); found != scopes[i].end())
        return found->second;
    if (auto found = scopes.front().find(name); found != scopes.front().end())
      return found->second;
    return Value::undefined(name);
  }

  Result<Value> evaluate(const Expr &expr) {
    Level level(depth);
    LORAC_TRY(enter(expr.line));
    switch (expr.kind) {
    case ExprKind::Literal:
      return expr.literal;
    case ExprKind::Name:
      return lookUp(expr.name);
    case ExprKind::List:
    case ExprKind::Tuple:
      return evaluateList(expr);
    case ExprKind::Dict:
      return evaluateDict(expr);
    case ExprKind::Attribute:
      return evaluateAttribute(expr);
    case ExprKind::Subscript:
      return evaluateSubscript(expr);
    case ExprKind::Slice:
      return evaluateSlice(expr);
    case ExprKind::Call:
      return callFunction(expr);
    case ExprKind::CallMacro:
      return callMacro(expr);
    case ExprKind::CallMethod:
      return callMethod(expr);
    case ExprKind::Filter:
      return evaluateFilter(expr);
    case ExprKind::Test:
      return evaluateTest(expr);
    case ExprKind::Not:
    case ExprKind::Negate:
    case ExprKind::Plus:
      return evaluateUnary(expr);
    case ExprKind::Binary:
      return evaluateBinary(expr);
    case ExprKind::Compare:
      return evaluateCompare(expr);
    case ExprKind::And:
    case ExprKind::Or: {
      Result<Value> left = evaluate(*expr.args[0]);
      if (!left || left->isTrue() == (expr.kind == ExprKind::Or))
        return left;
      return evaluate(*expr.args[1]);
    }
    case ExprKind::Choose:
      return evaluateChoose(expr);
    }
    return failure(expr.line) << "unknown expression";
  }

  /// Those that were given, from number `first` on.
  Result<Arguments> evaluateArguments(const Expr &expr, size_t first) {
    Arguments values(expr.args.size() - first);
    for (size_t i = first; i < expr.args.size(); ++i)
      if (expr.args[i]) {
        LORAC_ASSIGN(values[i - first], evaluate(*expr.args[i]));
      }
    return values;
  }

  Result<Value> evaluateList(const Expr &expr) {
    std::vector<Value> items;
    for (const ExprRef &arg : expr.args) {
      LORAC_ASSIGN(Value item, evaluate(*arg));
      items.push_back(std::move(item));
    }
    return makeList(std::move(items), expr.kind == ExprKind::Tuple, expr.line);
  }

  Status setEntry(Dict &dict, std::string_view key, Value value, uint32_t line) {
    LORAC_TRY(checkStorable(value, line));
    LORAC_TRY(spend(2 + dict.entries.size() / 8, line));
    dict.depth = std::max(dict.depth, value.depth() + 1);
    dict.set(key, std::move(value));
    return {};
  }

  Result<Value> evaluateDict(const Expr &expr) {
    auto dict = std::make_shared<Dict>();
    for (size_t i = 0; i < expr.args.size(); i += 2) {
      LORAC_ASSIGN(Value key, evaluate(*expr.args[i]));
      if (!key.is(Kind::Text))
        return templateError(Code::Unsupported, expr.line)
               << "a mapping with a key of type " << key.kindName() << " is not supported";
      LORAC_ASSIGN(Value value, evaluate(*expr.args[i + 1]));
      LORAC_TRY(setEntry(*dict, key.asText(), std::move(value), expr.line));
    }
    return Value(DictRef(std::move(dict)));
  }

  static Status isUndefined(const Value &value, uint32_t line) {
    return failure(line) << value.undefinedName() << " is undefined";
  }

  Result<Value> attribute(const Value &object, const std::string &name, uint32_t line) {
    switch (object.kind()) {
    case Kind::Undefined:
      return isUndefined(object, line);
    case Kind::Dict:
    case Kind::Namespace: {
      const Dict &dict = object.is(Kind::Dict) ? object.asDict() : object.asNamespace().attributes;
      LORAC_TRY(spend(dict.entries.size() / 8, line));
      const Value *found = dict.find(name);
      return found ? *found : Value::undefined(name);
    }
    case Kind::Loop:
      return loopAttribute(object.asLoop(), name);
    default:
      return Value::undefined(name);
    }
  }

  static Value loopAttribute(const Loop &loop, const std::string &name) {
    const std::vector<Value> &items = loop.items->items;
    int64_t index = int64_t(loop.index);
    int64_t length = int64_t(items.size());
    if (name == "index")
      return index + 1;
    if (name == "index0")
      return index;
    if (name == "revindex")
      return length - index;
    if (name == "revindex0")
      return length - index - 1;
    if (name == "first")
      return index == 0;
    if (name == "last")
      return index + 1 == length;
    if (name == "length")
      return length;
    if (name == "depth") // of recursive loops, which are not here
      return int64_t(1);
    if (name == "depth0")
      return int64_t(0);
    if (name == "previtem" && index > 0)
      return items[loop.index - 1];
    if (name == "nextitem" && index + 1 < length)
      return items[loop.index + 1];
    return Value::undefined("loop." + name);
  }

  Result<Value> evaluateAttribute(const Expr &expr) {
    LORAC_ASSIGN(Value object, evaluate(*expr.args[0]));
    return attribute(object, expr.name, expr.line);
  }

  Result<Value> subscript(const Value &object, const Value &index, uint32_t line) {
    if (object.is(Kind::Undefined))
      return isUndefined(object, line);
    if (index.is(Kind::Text))
      return attribute(object, index.asText(), line);
    if (!index.is(Kind::Int) && !index.is(Kind::Bool))
      return Value::undefined("an element");
    int64_t place = index.toInt();
    if (object.is(Kind::List)) {
      const std::vector<Value> &items = object.asList().items;
      if (place < 0)
        place += int64_t(items.size());
      if (place >= 0 && place < int64_t(items.size()))
        return items[size_t(place)];
    } else if (object.is(Kind::Text)) {
      const std::string &text = object.asText();
      LORAC_TRY(payScan(text, line));
      int64_t count = int64_t(countCodePoints(text));
      if (place < 0)
        place += count;
      if (place >= 0 && place < count) {
        size_t begin = 0;
        for (int64_t i = 0; i < place; ++i)
          (void)nextCodePoint(text, begin);
        size_t end = begin;
        (void)nextCodePoint(text, end);
        return Value::text(text.substr(begin, end - begin));
      }
    }
    return Value::undefined("element " + std::to_string(index.toInt()));
  }

  Result<Value> evaluateSubscript(const Expr &expr) {
    LORAC_ASSIGN(Value object, evaluate(*expr.args[0]));
    LORAC_ASSIGN(Value index, evaluate(*expr.args[1]));
    return subscript(object, index, expr.line);
  }

  /// Python's slice.indices for a sequence of `length`.
  struct Range {
    int64_t begin, end, step;
  };
  Result<Range> sliceRange(const Expr &expr, int64_t length) {
    LORAC_ASSIGN(Arguments parts, evaluateArguments(expr, 1));
    for (const auto &part : parts)
      if (part && !part->is(Kind::Int) && !part->is(Kind::None))
        return failure(expr.line) << "a slice cannot start, end or step at a " << part->kindName();
    auto given = [&](size_t i) { return parts[i] && parts[i]->is(Kind::Int); };
    int64_t step = given(2) ? parts[2]->asInt() : 1;
    if (step == 0)
      return failure(expr.line) << "a slice cannot step by 0";
    // Further than the whole sequence is the same as just past it; and cannot overflow.
    step = std::clamp(step, -length - 1, length + 1);
    int64_t lowest = step > 0 ? 0 : -1;
    int64_t highest = step > 0 ? length : length - 1;
    auto bound = [&](size_t i, int64_t otherwise) {
      if (!given(i))
        return otherwise;
      int64_t value = parts[i]->asInt();
      if (value < 0)
        value += length;
      return std::clamp(value, lowest, highest);
    };
    return Range{bound(0, step > 0 ? lowest : highest), bound(1, step > 0 ? highest : lowest), step};
  }

  Result<Value> evaluateSlice(const Expr &expr) {
    LORAC_ASSIGN(Value object, evaluate(*expr.args[0]));
    auto more = [](const Range &range, int64_t i) { return range.step > 0 ? i < range.end : i > range.end; };
    if (object.is(Kind::List)) {
      const List &list = object.asList();
      LORAC_ASSIGN(Range range, sliceRange(expr, int64_t(list.items.size())));
      LORAC_TRY(spend(list.items.size(), expr.line));
      std::vector<Value> items;
      for (int64_t i = range.begin; more(range, i); i += range.step)
        items.push_back(list.items[size_t(i)]);
      return makeList(std::move(items), list.tuple, expr.line);
    }
    if (object.is(Kind::Text)) {
      const std::string &text = object.asText();
      LORAC_TRY(payText(text.size(), expr.line));
      std::vector<uint32_t> begins = starts(text);
      LORAC_ASSIGN(Range range, sliceRange(expr, int64_t(begins.size() - 1)));
      std::string result;
      for (int64_t i = range.begin; more(range, i); i += range.step)
        result.append(text, begins[size_t(i)], begins[size_t(i) + 1] - begins[size_t(i)]);
      return makeText(std::move(result), expr.line);
    }
    if (object.is(Kind::Undefined))
      return isUndefined(object, expr.line);
    return failure(expr.line) << "a " << object.kindName() << " cannot be sliced";
  }

  Result<Value> evaluateChoose(const Expr &expr) {
    LORAC_ASSIGN(Value condition, evaluate(*expr.args[1]));
    if (condition.isTrue())
      return evaluate(*expr.args[0]);
    if (expr.args[2])
      return evaluate(*expr.args[2]);
    return Value();
  }

  Result<Value> evaluateUnary(const Expr &expr) {
    LORAC_ASSIGN(Value operand, evaluate(*expr.args[0]));
    if (expr.kind == ExprKind::Not)
      return Value(!operand.isTrue());
    if (operand.is(Kind::Undefined))
      return isUndefined(operand, expr.line);
    if (!operand.isNumber())
      return failure(expr.line) << "a " << operand.kindName() << " has no sign";
    bool negate = expr.kind == ExprKind::Negate;
    if (operand.is(Kind::Float))
      return Value(negate ? -operand.asFloat() : operand.asFloat());
    if (negate && operand.toInt() == INT64_MIN)
      return failure(expr.line) << "an integer outside of 64 bits";
    return Value(negate ? -operand.toInt() : operand.toInt());
  }

  Result<Value> evaluateBinary(const Expr &expr) {
    LORAC_ASSIGN(Value left, evaluate(*expr.args[0]));
    LORAC_ASSIGN(Value right, evaluate(*expr.args[1]));
    Operator op = Operator(expr.id);
    if (op == Operator::Concat) {
      std::string text;
      LORAC_TRY(print(left, text, expr.line));
      LORAC_TRY(print(right, text, expr.line));
      return makeText(std::move(text), expr.line);
    }
    for (const Value *value : {&left, &right})
      if (value->is(Kind::Undefined))
        return isUndefined(*value, expr.line);
    if (left.isNumber() && right.isNumber())
      return left.is(Kind::Float) || right.is(Kind::Float) || op == Operator::Div
                 ? floatArithmetic(op, left.toDouble(), right.toDouble(), expr.line)
                 : intArithmetic(op, left.toInt(), right.toInt(), expr.line);
    if (op == Operator::Add && left.is(Kind::Text) && right.is(Kind::Text)) {
      LORAC_TRY(payText(left.asText().size() + right.asText().size(), expr.line));
      return Value::text(left.asText() + right.asText());
    }
    if (op == Operator::Add && left.is(Kind::List) && right.is(Kind::List) &&
        left.asList().tuple == right.asList().tuple) {
      LORAC_TRY(spend(left.asList().items.size() + right.asList().items.size(), expr.line));
      std::vector<Value> items = left.asList().items;
      items.insert(items.end(), right.asList().items.begin(), right.asList().items.end());
      return makeList(std::move(items), left.asList().tuple, expr.line);
    }
    if (op == Operator::Mul && right.is(Kind::Text) && left.is(Kind::Int))
      std::swap(left, right);
    if (op == Operator::Mul && left.is(Kind::Text) && right.is(Kind::Int))
      return repeat(left.asText(), right.asInt(), expr.line);
    if (op == Operator::Mod && left.is(Kind::Text))
      return templateError(Code::Unsupported, expr.line) << "formatting with operator '%' is not supported";
    static constexpr std::string_view kSigns[] = {"+", "-", "*", "/", "//", "%", "~"};
    return failure(expr.line) << "operator '" << kSigns[expr.id] << "' has no meaning for " << left.kindName()
                              << " and " << right.kindName();
  }

  Result<Value> repeat(const std::string &text, int64_t count, uint32_t line) {
    if (count <= 0 || text.empty())
      return Value::text("");
    if (uint64_t(count) > kMaxOutput)
      return failure(line) << "a text of more than " << kMaxOutput << " bytes";
    LORAC_TRY(payText(text.size() * uint64_t(count), line));
    std::string result;
    for (int64_t i = 0; i < count; ++i)
      result += text;
    return Value::text(std::move(result));
  }

  static Result<Value> floatArithmetic(Operator op, double a, double b, uint32_t line) {
    if (b == 0 && (op == Operator::Div || op == Operator::FloorDiv || op == Operator::Mod))
      return failure(line) << "division by zero";
    switch (op) {
    case Operator::Add:
      return Value(a + b);
    case Operator::Sub:
      return Value(a - b);
    case Operator::Mul:
      return Value(a * b);
    case Operator::Div:
      return Value(a / b);
    case Operator::FloorDiv:
      return Value(std::floor(a / b));
    default: {
      double rest = std::fmod(a, b); // Python's has the sign of b
      return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
    }
  }

  static Result<Value> intArithmetic(Operator op, int64_t a, int64_t b, uint32_t line) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
    case Operator::Add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::Sub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::Mul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    default: // FloorDiv and Mod, rounded down
      if (b == 0)
        return failure(line) << "division by zero";
      if (b == -1) { // INT64_MIN / -1 traps
        overflow = op == Operator::FloorDiv && __builtin_sub_overflow(int64_t(0), a, &result);
        break;
      }
      bool down = a % b != 0 && (a < 0) != (b < 0);
      result = op == Operator::FloorDiv ? a / b - down : a % b + (down ? b : 0);
    }
    if (overflow)
      return failure(line) << "an integer outside of 64 bits";
    return Value(result);
  }

  Result<bool> equal(const Value &a, const Value &b, uint32_t line) {
    LORAC_TRY(spend(1, line));
    if (a.isNumber() && b.isNumber())
      return a.is(Kind::Float) || b.is(Kind::Float) ? a.toDouble() == b.toDouble() : a.toInt() == b.toInt();
    if (a.kind() != b.kind())
      return false;
    switch (a.kind()) {
    case Kind::Text:
      LORAC_TRY(payScan(a.asText(), line));
      return a.asText() == b.asText();
    case Kind::List: {
      const List &left = a.asList();
      const List &right = b.asList();
      if (left.items.size() != right.items.size() || left.tuple != right.tuple)
        return false;
      for (size_t i = 0; i < left.items.size(); ++i) {
        LORAC_ASSIGN(bool same, equal(left.items[i], right.items[i], line));
        if (!same)
          return false;
      }
      return true;
    }
    case Kind::Dict: {
      const Dict &left = a.asDict();
      const Dict &right = b.asDict();
      if (left.entries.size() != right.entries.size())
        return false;
      for (const auto &[key, value] : left.entries) {
        LORAC_TRY(spend(right.entries.size() / 8, line));
        const Value *other = right.find(key);
        if (!other)
          return false;
        LORAC_ASSIGN(bool same, equal(value, *other, line));
        if (!same)
          return false;
      }
      return true;
    }
    case Kind::Namespace:
      return &a.asNamespace() == &b.asNamespace();
    case Kind::Loop:
      return &a.asLoop() == &b.asLoop();
    case Kind::Macro:
      return &a.asMacro() == &b.asMacro();
    default: // none and undefined
      return true;
    }
  }

  Result<bool> contains(const Value &container, const Value &value, uint32_t line) {
    switch (container.kind()) {
    case Kind::Undefined:
      return false;
    case Kind::Text:
      if (!value.is(Kind::Text))
        return failure(line) << "'in' a string needs a string, not a " << value.kindName();
      LORAC_TRY(payScan(container.asText(), line));
      LORAC_TRY(payScan(value.asText(), line));
      return findText(container.asText(), value.asText()) != std::string_view::npos;
    case Kind::List:
      for (const Value &item : container.asList().items) {
        LORAC_ASSIGN(bool same, equal(item, value, line));
        if (same)
          return true;
      }
      return false;
    case Kind::Dict:
      LORAC_TRY(spend(container.asDict().entries.size() / 8, line));
      return value.is(Kind::Text) && container.asDict().find(value.asText()) != nullptr;
    default:
      return failure(line) << "'in' has no meaning for a " << container.kindName();
    }
  }

  Result<bool> compare(Comparison comparison, const Value &a, const Value &b, uint32_t line) {
    switch (comparison) {
    case Comparison::Equal:
      return equal(a, b, line);
    case Comparison::NotEqual: {
      LORAC_ASSIGN(bool same, equal(a, b, line));
      return !same;
    }
    case Comparison::In:
      return contains(b, a, line);
    case Comparison::NotIn: {
      LORAC_ASSIGN(bool inside, contains(b, a, line));
      return !inside;
    }
    default:
      break;
    }
    for (const Value *value : {&a, &b})
      if (value->is(Kind::Undefined))
        return isUndefined(*value, line);
    // Less: a < b; the others by turning sides and answer.
    auto decide = [&](const auto &x, const auto &y) {
      switch (comparison) {
      case Comparison::Less:
        return x < y;
      case Comparison::LessEqual:
        return x <= y;
      case Comparison::Greater:
        return x > y;
      default:
        return x >= y;
      }
    };
    if (a.isNumber() && b.isNumber())
      return a.is(Kind::Float) || b.is(Kind::Float) ? decide(a.toDouble(), b.toDouble())
                                                    : decide(a.toInt(), b.toInt());
    if (a.is(Kind::Text) && b.is(Kind::Text)) { // the order of UTF-8's bytes is that of code points
      LORAC_TRY(payScan(a.asText(), line));
      return decide(a.asText(), b.asText());
    }
    return failure(line) << "a " << a.kindName() << " and a " << b.kindName() << " have no order";
  }

  Result<Value> evaluateCompare(const Expr &expr) {
    LORAC_ASSIGN(Value left, evaluate(*expr.args[0]));
    for (size_t i = 0; i < expr.comparisons.size(); ++i) {
      LORAC_ASSIGN(Value right, evaluate(*expr.args[i + 1]));
      LORAC_ASSIGN(bool holds, compare(expr.comparisons[i], left, right, expr.line));
      if (!holds)
        return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  // ---- texts
  // ---------------------------------------------------------------------------------------------------

  /// Python's str().
  Status print(const Value &value, std::string &text, uint32_t line) {
    switch (value.kind()) {
    case Kind::Undefined:
      return {};
    case Kind::Text:
      LORAC_TRY(payText(text.size() + value.asText().size(), line));
      text += value.asText();
      return {};
    default:
      return represent(value, text, line);
    }
  }

  /// Python's repr(). A list may hold the same list often: each place is paid for.
  Status represent(const Value &value, std::string &text, uint32_t line) {
    LORAC_TRY(spend(2, line));
    if (text.size() > kMaxOutput)
      return failure(line) << "a text of more than " << kMaxOutput << " bytes";
    switch (value.kind()) {
    case Kind::Undefined:
      text += "Undefined";
      return {};
    case Kind::None:
      text += "None";
      return {};
    case Kind::Bool:
      text += value.asBool() ? "True" : "False";
      return {};
    case Kind::Int:
      text += std::to_string(value.asInt());
      return {};
    case Kind::Float:
      text += floatText(value.asFloat());
      return {};
    case Kind::Text:
      return representText(value.asText(), text, line);
    case Kind::List: {
      const List &list = value.asList();
      text += list.tuple ? '(' : '[';
      for (size_t i = 0; i < list.items.size(); ++i) {
        if (i > 0)
          text += ", ";
        LORAC_TRY(represent(list.items[i], text, line));
      }
      if (list.tuple && list.items.size() == 1)
        text += ',';
      text += list.tuple ? ')' : ']';
      return {};
    }
    case Kind::Dict: {
      text += '{';
      bool first = true;
      for (const auto &[key, entry] : value.asDict().entries) {
        if (!std::exchange(first, false))
          text += ", ";
        LORAC_TRY(representText(key, text, line));
        text += ": ";
        LORAC_TRY(represent(entry, text, line));
      }
      text += '}';
      return {};
    }
    default:
      return templateError(Code::Unsupported, line)
             << "a " << value.kindName() << " as text is not supported";
    }
  }

  Status representText(std::string_view value, std::string &text, uint32_t line) {
    LORAC_TRY(payText(text.size() / 16 + value.size(), line));
    char quote = value.find('\'') != value.npos && value.find('"') == value.npos ? '"' : '\'';
    text += quote;
    static constexpr char kHex[] = "0123456789abcdef";
    for (size_t position = 0; position < value.size();) {
      size_t begin = position;
      char32_t c = nextCodePoint(value, position);
      std::string_view character = value.substr(begin, position - begin);
      if (c == '\n') {
        text += "\\n";
      } else if (c == '\t') {
        text += "\\t";
      } else if (c == '\r') {
        text += "\\r";
      } else if (c == '\\' || c == char32_t(quote)) {
        text += '\\';
        text += char(c);
      } else if (c >= 0x20 && c < 0x7f) {
        text += char(c);
      } else {
        LORAC_TRY(spend(1, line));
        LORAC_ASSIGN(bool escaped, classes.notPrintable.matchesStart(character));
        if (!escaped) {
          text += character;
          continue;
        }
        int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
        text += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
        for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
          text += kHex[(c >> shift) & 15u];
      }
    }
    text += quote;
    return {};
  }

  /// json.dumps with ensure_ascii off, as transformers has it.
  Status writeJson(const Value &value, std::optional<int64_t> indent, int64_t level, std::string &text,
                   uint32_t line) {
    LORAC_TRY(spend(2, line));
    if (text.size() > kMaxOutput)
      return failure(line) << "a text of more than " << kMaxOutput << " bytes";
    auto newLine = [&](int64_t at) -> Status {
      if (!indent)
        return {};
      LORAC_TRY(spend(uint64_t(*indent * at) / 16, line));
      text += '\n';
      text.append(size_t(*indent * at), ' ');
      return {};
    };
    std::string_view comma = indent ? "," : ", ";
    switch (value.kind()) {
    case Kind::None:
      text += "null";
      return {};
    case Kind::Bool:
      text += value.asBool() ? "true" : "false";
      return {};
    case Kind::Int:
      text += std::to_string(value.asInt());
      return {};
    case Kind::Float: {
      double number = value.asFloat();
      text += std::isfinite(number) ? floatText(number)
              : std::isnan(number)  ? "NaN"
              : number < 0          ? "-Infinity"
                                    : "Infinity";
      return {};
    }
    case Kind::Text:
      return writeJsonText(value.asText(), text, line);
    case Kind::List: {
      const std::vector<Value> &items = value.asList().items;
      text += '[';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0)
          text += comma;
        LORAC_TRY(newLine(level + 1));
        LORAC_TRY(writeJson(items[i], indent, level + 1, text, line));
      }
      if (!items.empty())
        LORAC_TRY(newLine(level));
      text += ']';
      return {};
    }
    case Kind::Dict: {
      text += '{';
      bool first = true;
      for (const auto &[key, entry] : value.asDict().entries) {
        if (!std::exchange(first, false))
          text += comma;
        LORAC_TRY(newLine(level + 1));
        LORAC_TRY(writeJsonText(key, text, line));
        text += ": ";
        LORAC_TRY(writeJson(entry, indent, level + 1, text, line));
      }
      if (!first)
        LORAC_TRY(newLine(level));
      text += '}';
      return {};
    }
    case Kind::Undefined:
      return isUndefined(value, line);
    default:
      return failure(line) << "a " << value.kindName() << " cannot be written as JSON";
    }
  }

  Status writeJsonText(std::string_view value, std::string &text, uint32_t line) {
    LORAC_TRY(payText(text.size() / 16 + value.size(), line));
    text += '"';
    static constexpr char kHex[] = "0123456789abcdef";
    for (char c : value) {
      switch (c) {
      case '"':
      case '\\':
        text += '\\';
        text += c;
        break;
      case '\n':
        text += "\\n";
        break;
      case '\r':
        text += "\\r";
        break;
      case '\t':
        text += "\\t";
        break;
      case '\b':
        text += "\\b";
        break;
      case '\f':
        text += "\\f";
        break;
      default:
        if (uint8_t(c) < 0x20) {
          text += "\\u00";
          text += kHex[uint8_t(c) >> 4];
          text += kHex[uint8_t(c) & 15u];
        } else {
          text += c;
        }
      }
    }
    text += '"';
    return {};
  }

  enum class Case { Upper, Lower, Capitalize, MethodTitle, FilterTitle };

  /// Of one class of characters; ASCII's answer is known.
  Result<bool> isOf(const Regex &characters, std::string_view character, bool ofAscii, uint32_t line) {
    if (uint8_t(character[0]) < 0x80)
      return ofAscii;
    LORAC_TRY(spend(1, line));
    return characters.matchesStart(character);
  }
  Result<bool> isCased(std::string_view character, uint32_t line) {
    return isOf(classes.cased, character, isLetterAscii(character[0]), line);
  }

  /// Whether the capital sigma at `begin` of `text`, which ends before `end`, ends a word: the next character
  /// that has a case, if ignorable ones are passed over, stands before it and not after it.
  Result<bool> endsWord(std::string_view text, size_t begin, size_t end, uint32_t line) {
    auto ignored = [&](std::string_view character) {
      return isOf(classes.caseIgnorable, character, std::strchr("'.:^`", character[0]) && character[0] != 0,
                  line);
    };
    bool after = false;
    for (size_t at = begin; at > 0 && !after;) {
      size_t stop = at;
      (void)previousCodePoint(text, at);
      LORAC_TRY(spend(1, line));
      LORAC_ASSIGN(bool skip, ignored(text.substr(at, stop - at)));
      if (skip)
        continue;
      LORAC_ASSIGN(after, isCased(text.substr(at, stop - at), line));
      break;
    }
    for (size_t at = end; after && at < text.size();) {
      size_t start = at;
      (void)nextCodePoint(text, at);
      LORAC_TRY(spend(1, line));
      LORAC_ASSIGN(bool skip, ignored(text.substr(start, at - start)));
      if (skip)
        continue;
      LORAC_ASSIGN(bool before, isCased(text.substr(start, at - start), line));
      return !before;
    }
    return after;
  }

  /// As Python changes it: without a language, and one character may become several.
  Result<Value> changeCase(const std::string &text, Case to, uint32_t line) {
    LORAC_TRY(payText(text.size(), line));
    std::string result;
    result.reserve(text.size());
    bool wordStarts = true;
    size_t piece = 0; // for the filter `title`: where what the lower() of its word sees begins
    for (size_t position = 0; position < text.size();) {
      size_t begin = position;
      char32_t c = nextCodePoint(text, position);
      std::string_view character = std::string_view(text).substr(begin, position - begin);
      bool upper = to == Case::Upper || (to != Case::Lower && wordStarts);
      if (c < 0x80) {
        result += upper ? upperAscii(char(c)) : lowerAscii(char(c));
      } else if (upper) {
        // Python's methods make title case of a word's first letter; the filter makes upper case of it.
        if (to == Case::Upper || to == Case::FilterTitle)
          unicode::appendUpper(result, c);
        else
          unicode::appendTitle(result, c);
      } else if (c == 0x3a3) {
        std::string_view seen = std::string_view(text).substr(piece);
        LORAC_ASSIGN(bool last, endsWord(seen, begin - piece, position - piece, line));
        appendUtf8(result, last ? 0x3c2 : 0x3c3);
      } else {
        unicode::appendLower(result, c);
      }
      if (to == Case::Capitalize) {
        wordStarts = false;
      } else if (to == Case::MethodTitle) { // each run of letters
        LORAC_ASSIGN(bool cased, isCased(character, line));
        wordStarts = !cased;
      } else if (to == Case::FilterTitle) {
        bool separates = separatesWords(c);
        if (separates || wordStarts)
          piece = position;
        wordStarts = separates;
      }
    }
    return makeText(std::move(result), line);
  }

  /// For the filter `title`: white space, -, (, {, [ and <.
  static bool separatesWords(char32_t c) {
    return isPythonSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  }

  /// `chars`: none for white space, else the set of characters that go.
  Result<Value> strip(std::string_view text, const std::optional<Value> &chars, bool left, bool right,
                      uint32_t line) {
    LORAC_TRY(payText(text.size(), line));
    if (!chars || chars->is(Kind::None)) {
      if (left)
        text = stripLeft(text);
      if (right)
        text = stripRight(text);
      return Value::text(std::string(text));
    }
    LORAC_ASSIGN(std::string_view set, wantText(*chars, "strip", line));
    auto goes = [&](size_t begin, size_t end) {
      // A whole character can only be found at a whole character's place.
      return findText(set, text.substr(begin, end - begin)) != std::string_view::npos;
    };
    LORAC_TRY(spend((1 + set.size() / 64) * (1 + text.size() / 16), line));
    size_t begin = 0;
    while (left && begin < text.size()) {
      size_t next = begin;
      (void)nextCodePoint(text, next);
      if (!goes(begin, next))
        break;
      begin = next;
    }
    size_t end = text.size();
    while (right && end > begin) {
      size_t before = end;
      (void)previousCodePoint(text, before);
      if (!goes(before, end))
        break;
      end = before;
    }
    return Value::text(std::string(text.substr(begin, end - begin)));
  }

  static Result<std::string_view> wantText(const Value &value, std::string_view what, uint32_t line) {
    if (value.is(Kind::Undefined))
      return isUndefined(value, line);
    if (!value.is(Kind::Text))
      return failure(line) << "'" << what << "' needs a string, not a " << value.kindName();
    return std::string_view(value.asText());
  }
  static Result<int64_t> wantInt(const Value &value, std::string_view what, uint32_t line) {
    if (!value.is(Kind::Int) && !value.is(Kind::Bool))
      return failure(line) << "'" << what << "' needs an integer, not a " << value.kindName();
    return value.toInt();
  }

  /// At most `count` places; all where it is below 0.
  Result<Value> replace(std::string_view text, std::string_view from, std::string_view to, int64_t count,
                        uint32_t line) {
    LORAC_TRY(payScan(text, line));
    uint64_t left = count < 0 ? UINT64_MAX : uint64_t(count);
    std::string result;
    size_t done = 0;
    // Up to `place`, then the new text for what ends at `next`.
    auto put = [&](size_t place, size_t next) -> Status {
      LORAC_TRY(spend(1 + (place - done + to.size()) / 16, line));
      result += text.substr(done, place - done);
      result += to;
      done = next;
      if (result.size() > kMaxOutput)
        return failure(line) << "a text of more than " << kMaxOutput << " bytes";
      return {};
    };
    if (from.empty()) { // before each character, and at the end
      for (size_t place = 0; left > 0; --left) {
        LORAC_TRY(put(place, place));
        if (place == text.size())
          break;
        (void)nextCodePoint(text, place);
      }
    } else {
      for (; left > 0; --left) {
        size_t place = findText(text, from, done);
        if (place == std::string_view::npos)
          break;
        LORAC_TRY(put(place, place + from.size()));
      }
    }
    result += text.substr(done);
    return makeText(std::move(result), line);
  }

  Result<Value> split(std::string_view text, const std::optional<Value> &separator, int64_t most,
                      uint32_t line) {
    LORAC_TRY(payText(text.size(), line));
    std::vector<Value> parts;
    auto add = [&](std::string_view part) -> Status {
      LORAC_TRY(spend(4, line));
      parts.push_back(Value::text(std::string(part)));
      return {};
    };
    if (!separator || separator->is(Kind::None)) {
      text = stripLeft(text);
      while (!text.empty()) {
        size_t end = 0;
        while (end < text.size() && (most < 0 || int64_t(parts.size()) < most)) {
          size_t next = end;
          if (isPythonSpace(nextCodePoint(text, next)))
            break;
          end = next;
        }
        if (most >= 0 && int64_t(parts.size()) >= most)
          end = text.size();
        LORAC_TRY(add(text.substr(0, end)));
        text = stripLeft(text.substr(end));
      }
      return makeList(std::move(parts), false, line);
    }
    LORAC_ASSIGN(std::string_view sep, wantText(*separator, "split", line));
    if (sep.empty())
      return failure(line) << "'split' with an empty separator";
    while (most < 0 || int64_t(parts.size()) < most) {
      size_t place = findText(text, sep);
      if (place == std::string_view::npos)
        break;
      LORAC_TRY(add(text.substr(0, place)));
      text.remove_prefix(place + sep.size());
    }
    LORAC_TRY(add(text));
    return makeList(std::move(parts), false, line);
  }

  // ---- calls
  // ---------------------------------------------------------------------------------------------------

  /// What `for` walks.
  Result<ListRef> elements(const Value &value, uint32_t line) {
    std::vector<Value> items;
    switch (value.kind()) {
    case Kind::List:
      return value.asListRef();
    case Kind::Undefined:
      break;
    case Kind::Dict:
      for (const auto &entry : value.asDict().entries) {
        LORAC_TRY(payText(entry.first.size(), line));
        items.push_back(Value::text(entry.first));
      }
      break;
    case Kind::Text: {
      const std::string &text = value.asText();
      LORAC_TRY(spend(4 * text.size(), line));
      for (size_t position = 0; position < text.size();) {
        size_t begin = position;
        (void)nextCodePoint(text, position);
        items.push_back(Value::text(text.substr(begin, position - begin)));
      }
      break;
    }
    default:
      return failure(line) << "a " << value.kindName() << " has no elements";
    }
    LORAC_ASSIGN(Value list, makeList(std::move(items), false, line));
    return list.asListRef();
  }

  Result<Value> dictPart(const Value &value, Method part, std::string_view name, uint32_t line) {
    if (!value.is(Kind::Dict))
      return value.is(Kind::Undefined)
                 ? isUndefined(value, line)
                 : failure(line) << "'" << name << "' needs a mapping, not a " << value.kindName();
    std::vector<Value> items;
    for (const auto &[key, entry] : value.asDict().entries) {
      LORAC_TRY(payText(key.size(), line));
      if (part == Method::Keys) {
        items.push_back(Value::text(key));
      } else if (part == Method::Values) {
        items.push_back(entry);
      } else {
        LORAC_ASSIGN(Value pair, makeList({Value::text(key), entry}, true, line));
        items.push_back(std::move(pair));
      }
    }
    return makeList(std::move(items), false, line);
  }

  Result<Value> callMethod(const Expr &expr) {
    LORAC_ASSIGN(Value object, evaluate(*expr.args[0]));
    LORAC_ASSIGN(Arguments args, evaluateArguments(expr, 1));
    Method method = Method(expr.id);
    uint32_t line = expr.line;
    if (method == Method::Items || method == Method::Keys || method == Method::Values)
      return dictPart(object, method, expr.name, line);
    if (method == Method::Get) {
      if (!object.is(Kind::Dict))
        return object.is(Kind::Undefined)
                   ? isUndefined(object, line)
                   : failure(line) << "'get' needs a mapping, not a " << object.kindName();
      LORAC_TRY(spend(object.asDict().entries.size() / 8, line));
      const Value *found = args[0]->is(Kind::Text) ? object.asDict().find(args[0]->asText()) : nullptr;
      return found ? *found : args[1] ? *args[1] : Value::none();
    }
    LORAC_ASSIGN(std::string_view view, wantText(object, expr.name, line));
    const std::string &text = object.asText();
    switch (method) {
    case Method::Capitalize:
      return changeCase(text, Case::Capitalize, line);
    case Method::Lower:
      return changeCase(text, Case::Lower, line);
    case Method::Upper:
      return changeCase(text, Case::Upper, line);
    case Method::Title:
      return changeCase(text, Case::MethodTitle, line);
    case Method::Strip:
      return strip(view, args[0], true, true, line);
    case Method::LStrip:
      return strip(view, args[0], true, false, line);
    case Method::RStrip:
      return strip(view, args[0], false, true, line);
    case Method::StartsWith:
    case Method::EndsWith: {
      std::vector<Value> wanted;
      if (args[0]->is(Kind::List) && args[0]->asList().tuple)
        wanted = args[0]->asList().items;
      else
        wanted.push_back(*args[0]);
      LORAC_TRY(spend(wanted.size(), line));
      for (const Value &part : wanted) {
        LORAC_ASSIGN(std::string_view end, wantText(part, expr.name, line));
        LORAC_TRY(payScan(end, line));
        if (method == Method::StartsWith ? view.starts_with(end) : view.ends_with(end))
          return Value(true);
      }
      return Value(false);
    }
    case Method::Replace: {
      LORAC_ASSIGN(std::string_view from, wantText(*args[0], expr.name, line));
      LORAC_ASSIGN(std::string_view to, wantText(*args[1], expr.name, line));
      int64_t count = -1;
      if (args[2]) {
        LORAC_ASSIGN(count, wantInt(*args[2], expr.name, line));
      }
      return replace(view, from, to, count, line);
    }
    default: { // Split
      int64_t most = -1;
      if (args[1]) {
        LORAC_ASSIGN(most, wantInt(*args[1], expr.name, line));
      }
      return split(view, args[0], most, line);
    }
    }
  }

  Result<Value> callFunction(const Expr &expr) {
    LORAC_ASSIGN(Arguments args, evaluateArguments(expr, 0));
    switch (Function(expr.id)) {
    case Function::Namespace: {
      auto space = std::make_shared<Namespace>();
      for (size_t i = 0; i < expr.names.size(); ++i)
        LORAC_TRY(setEntry(space->attributes, expr.names[i], *args[i], expr.line));
      return Value(std::move(space));
    }
    case Function::Dict: {
      auto dict = std::make_shared<Dict>();
      for (size_t i = 0; i < expr.names.size(); ++i)
        LORAC_TRY(setEntry(*dict, expr.names[i], *args[i], expr.line));
      return Value(DictRef(std::move(dict)));
    }
    case Function::RaiseException: {
      std::string text;
      LORAC_TRY(print(*args[0], text, expr.line));
      std::replace(text.begin(), text.end(), '\n', ' ');
      return failure(expr.line) << text;
    }
    case Function::StrftimeNow:
      return templateError(Code::Unsupported, expr.line)
             << "function 'strftime_now' is not supported: the prompt would depend on the time";
    case Function::Range:
      return range(args, expr.line);
    }
    return failure(expr.line) << "unknown function";
  }

  Result<Value> range(const Arguments &args, uint32_t line) {
    int64_t values[3] = {0, 0, 1};
    for (size_t i = 0; i < 3; ++i)
      if (args[i]) {
        LORAC_ASSIGN(values[i], wantInt(*args[i], "range", line));
      }
    auto [start, stop, step] = values;
    if (!args[1]) {
      stop = start;
      start = 0;
    }
    if (step == 0)
      return failure(line) << "range() cannot step by 0";
    __int128 distance = step > 0 ? __int128(stop) - start : __int128(start) - stop;
    __int128 width = step > 0 ? __int128(step) : -__int128(step);
    __int128 count = distance > 0 ? (distance + width - 1) / width : 0;
    if (count > __int128(kMaxSteps))
      count = kMaxSteps; // more than can be paid for
    LORAC_TRY(spend(2 * uint64_t(count), line));
    std::vector<Value> items;
    for (int64_t i = 0; i < int64_t(count); ++i)
      items.emplace_back(start + i * step);
    return makeList(std::move(items), false, line);
  }

  Result<Value> callMacro(const Expr &expr) {
    Value callee = lookUp(expr.name);
    if (!callee.is(Kind::Macro))
      return callee.is(Kind::Undefined)
                 ? isUndefined(callee, expr.line)
                 : failure(expr.line) << "'" << expr.name << "' is a " << callee.kindName() << ", no macro";
    const Statement &macro = callee.asMacro();
    LORAC_ASSIGN(Arguments args, evaluateArguments(expr, 0));
    size_t positional = args.size() - expr.names.size();
    if (positional > macro.names.size())
      return failure(expr.line) << "macro '" << expr.name << "' takes " << macro.names.size()
                                << " arguments, not " << positional;
    Scope local;
    for (size_t i = 0; i < args.size(); ++i) {
      const std::string &name = i < positional ? macro.names[i] : expr.names[i - positional];
      if (std::find(macro.names.begin(), macro.names.end(), name) == macro.names.end())
        return failure(expr.line) << "macro '" << expr.name << "' has no parameter '" << name << "'";
      if (!local.emplace(name, std::move(*args[i])).second)
        return failure(expr.line) << "macro '" << expr.name << "' is given '" << name << "' twice";
    }
    size_t outerFrame = std::exchange(frame, scopes.size());
    scopes.push_back(std::move(local));
    for (size_t i = 0; i < macro.names.size(); ++i) {
      if (scopes.back().contains(macro.names[i]))
        continue;
      Value value = Value::undefined(macro.names[i]);
      if (macro.exprs[i]) {
        LORAC_ASSIGN(value, evaluate(*macro.exprs[i]));
      }
      scopes.back().insert_or_assign(macro.names[i], std::move(value));
    }
    LORAC_ASSIGN(Value text, capture(macro.blocks[0], expr.line));
    scopes.pop_back();
    frame = outerFrame;
    return text;
  }

  // ---- filters and tests
  // ---------------------------------------------------------------------------------------

  Result<Value> evaluateFilter(const Expr &expr) {
    LORAC_ASSIGN(Value value, evaluate(*expr.args[0]));
    LORAC_ASSIGN(Arguments args, evaluateArguments(expr, 1));
    switch (Filter(expr.id)) {
    case Filter::Map:
      return mapFilter(expr, value, args);
    case Filter::Select:
    case Filter::Reject:
      return selectFilter(expr, value, std::nullopt, args[1]);
    case Filter::SelectAttr:
    case Filter::RejectAttr:
      return selectFilter(expr, value, args[0], args[2]);
    default:
      return applyFilter(Filter(expr.id), expr.name, value, args, expr.line);
    }
  }

  /// An attribute's name, "a.b", or an index.
  Result<Value> path(const Value &value, const Value &attributePath, uint32_t line) {
    if (!attributePath.is(Kind::Text))
      return subscript(value, attributePath, line);
    Value at = value;
    std::string_view rest = attributePath.asText();
    while (true) {
      size_t dot = std::min(rest.find('.'), rest.size());
      std::string part(rest.substr(0, dot));
      int64_t index = 0;
      auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      bool isIndex = error == std::errc() && end == part.data() + part.size() && !part.empty();
      LORAC_ASSIGN(at, isIndex ? subscript(at, Value(index), line) : attribute(at, part, line));
      if (dot == rest.size())
        return at;
      rest.remove_prefix(dot + 1);
    }
  }

  Result<Value> mapFilter(const Expr &expr, const Value &value, const Arguments &args) {
    LORAC_ASSIGN(ListRef items, elements(value, expr.line));
    std::vector<Value> results;
    for (const Value &item : items->items) {
      LORAC_TRY(spend(1, expr.line));
      if (args[1]) {
        LORAC_ASSIGN(Value result, path(item, *args[1], expr.line));
        if (result.is(Kind::Undefined) && args[2])
          result = *args[2];
        results.push_back(std::move(result));
      } else {
        LORAC_ASSIGN(Value result,
                     applyFilter(Filter(expr.other), args[0]->asText(), item, Arguments(3), expr.line));
        results.push_back(std::move(result));
      }
    }
    return makeList(std::move(results), false, expr.line);
  }

  Result<Value> selectFilter(const Expr &expr, const Value &value, const std::optional<Value> &attributePath,
                             const std::optional<Value> &argument) {
    bool wanted = Filter(expr.id) == Filter::Select || Filter(expr.id) == Filter::SelectAttr;
    LORAC_ASSIGN(ListRef items, elements(value, expr.line));
    std::vector<Value> results;
    for (const Value &item : items->items) {
      LORAC_TRY(spend(1, expr.line));
      Value tested = item;
      if (attributePath) {
        LORAC_ASSIGN(tested, path(item, *attributePath, expr.line));
      }
      bool holds = tested.isTrue();
      if (expr.other >= 0) {
        LORAC_ASSIGN(holds, test(Test(expr.other), tested, argument, expr.line));
      }
      if (holds == wanted)
        results.push_back(item);
    }
    return makeList(std::move(results), false, expr.line);
  }

  Result<std::string> textOf(const Value &value, uint32_t line) {
    std::string text;
    LORAC_TRY(print(value, text, line));
    return text;
  }

  Result<Value> applyFilter(Filter filter, std::string_view name, const Value &value, const Arguments &args,
                            uint32_t line) {
    switch (filter) {
    case Filter::Default: {
      bool replaced = value.is(Kind::Undefined) || (args[1] && args[1]->isTrue() && !value.isTrue());
      return !replaced ? value : args[0] ? *args[0] : Value::text("");
    }
    case Filter::First:
    case Filter::Last: {
      if (value.is(Kind::Text) && !value.asText().empty())
        return subscript(value, Value(int64_t(filter == Filter::First ? 0 : -1)), line);
      LORAC_ASSIGN(ListRef items, elements(value, line));
      if (items->items.empty())
        return Value::undefined(std::string(name) + " of nothing");
      return filter == Filter::First ? items->items.front() : items->items.back();
    }
    case Filter::Int:
      return toInteger(value, args[0], line);
    case Filter::Items:
      if (value.is(Kind::Undefined))
        return makeList({}, false, line);
      return dictPart(value, Method::Items, name, line);
    case Filter::Join:
      return join(value, args[0], args[1], line);
    case Filter::Length:
      switch (value.kind()) {
      case Kind::Text:
        LORAC_TRY(payScan(value.asText(), line));
        return Value(int64_t(countCodePoints(value.asText())));
      case Kind::Dict:
        return Value(int64_t(value.asDict().entries.size()));
      case Kind::List:
        return Value(int64_t(value.asList().items.size()));
      case Kind::Undefined:
        return Value(int64_t(0));
      default:
        return failure(line) << "a " << value.kindName() << " has no length";
      }
    case Filter::List: {
      LORAC_ASSIGN(ListRef items, elements(value, line));
      return makeList(items->items, false, line);
    }
    case Filter::Reverse: {
      if (value.is(Kind::Text)) {
        const std::string &text = value.asText();
        LORAC_TRY(payText(text.size(), line));
        std::string result;
        for (size_t end = text.size(); end > 0;) {
          size_t begin = end;
          (void)previousCodePoint(text, begin);
          result.append(text, begin, end - begin);
          end = begin;
        }
        return Value::text(std::move(result));
      }
      LORAC_ASSIGN(ListRef items, elements(value, line));
      return makeList({items->items.rbegin(), items->items.rend()}, false, line);
    }
    case Filter::ToJson: {
      std::optional<int64_t> indent;
      if (args[0] && !args[0]->is(Kind::None)) {
        LORAC_ASSIGN(indent, wantInt(*args[0], name, line));
        if (*indent < 0 || *indent > 100)
          return failure(line) << "'tojson' with an indent of " << *indent << ", expected 0 to 100";
      }
      std::string text;
      LORAC_TRY(writeJson(value, indent, 0, text, line));
      return makeText(std::move(text), line);
    }
    case Filter::Replace: {
      LORAC_ASSIGN(std::string text, textOf(value, line));
      LORAC_ASSIGN(std::string from, textOf(*args[0], line));
      LORAC_ASSIGN(std::string to, textOf(*args[1], line));
      int64_t count = -1;
      if (args[2] && !args[2]->is(Kind::None)) {
        LORAC_ASSIGN(count, wantInt(*args[2], name, line));
      }
      return replace(text, from, to, count, line);
    }
    default:
      break;
    }
    // The rest works on texts, and makes them of what is none.
    LORAC_ASSIGN(std::string text, textOf(value, line));
    switch (filter) {
    case Filter::Capitalize:
      return changeCase(text, Case::Capitalize, line);
    case Filter::Lower:
      return changeCase(text, Case::Lower, line);
    case Filter::Upper:
      return changeCase(text, Case::Upper, line);
    case Filter::Title:
      return changeCase(text, Case::FilterTitle, line);
    case Filter::Trim:
      return strip(text, args[0], true, true, line);
    default: // String and Safe
      return makeText(std::move(text), line);
    }
  }

  static Result<Value> toInteger(const Value &value, const std::optional<Value> &otherwise, uint32_t line) {
    if (value.is(Kind::Undefined))
      return isUndefined(value, line);
    Value fallback = otherwise ? *otherwise : Value(int64_t(0));
    double number = 0;
    if (value.is(Kind::Int) || value.is(Kind::Bool))
      return Value(value.toInt());
    if (value.is(Kind::Float)) {
      number = value.asFloat();
    } else if (value.is(Kind::Text)) {
      std::string_view text = stripRight(stripLeft(value.asText()));
      if (text.starts_with('+') && !text.starts_with("+-"))
        text.remove_prefix(1);
      int64_t whole = 0;
      const char *end = text.data() + text.size();
      if (auto read = std::from_chars(text.data(), end, whole); read.ec == std::errc() && read.ptr == end)
        return Value(whole);
      auto read = std::from_chars(text.data(), end, number);
      if (read.ec != std::errc() || read.ptr != end || text.empty())
        return fallback;
    } else {
      return fallback;
    }
    if (!(number > -0x1p63 && number < 0x1p63))
      return fallback;
    return Value(int64_t(number));
  }

  Result<Value> join(const Value &value, const std::optional<Value> &separator,
                     const std::optional<Value> &attributePath, uint32_t line) {
    LORAC_ASSIGN(ListRef items, elements(value, line));
    std::string between;
    if (separator)
      LORAC_TRY(print(*separator, between, line));
    std::string text;
    for (size_t i = 0; i < items->items.size(); ++i) {
      LORAC_TRY(spend(1 + between.size() / 16, line));
      if (i > 0)
        text += between;
      Value item = items->items[i];
      if (attributePath) {
        LORAC_ASSIGN(item, path(item, *attributePath, line));
      }
      std::string part;
      LORAC_TRY(print(item, part, line));
      if (text.size() + part.size() > kMaxOutput)
        return failure(line) << "a text of more than " << kMaxOutput << " bytes";
      text += part;
    }
    return makeText(std::move(text), line);
  }

  Result<Value> evaluateTest(const Expr &expr) {
    LORAC_ASSIGN(Value value, evaluate(*expr.args[0]));
    std::optional<Value> argument;
    if (expr.args.size() > 1 && expr.args[1]) {
      LORAC_ASSIGN(argument, evaluate(*expr.args[1]));
    }
    LORAC_ASSIGN(bool holds, test(Test(expr.id), value, argument, expr.line));
    return Value(holds);
  }

  Result<bool> test(Test test, const Value &value, const std::optional<Value> &argument, uint32_t line) {
    switch (test) {
    case Test::Boolean:
      return value.is(Kind::Bool);
    case Test::Defined:
      return !value.is(Kind::Undefined);
    case Test::Undefined:
      return value.is(Kind::Undefined);
    case Test::None:
      return value.is(Kind::None);
    case Test::True:
      return value.is(Kind::Bool) && value.asBool();
    case Test::False:
      return value.is(Kind::Bool) && !value.asBool();
    case Test::String:
      return value.is(Kind::Text);
    case Test::Mapping:
      return value.is(Kind::Dict);
    case Test::Number:
      return value.isNumber();
    case Test::Integer:
      return value.is(Kind::Int);
    case Test::Float:
      return value.is(Kind::Float);
    case Test::Iterable:
    case Test::Sequence:
      return value.is(Kind::List) || value.is(Kind::Text) || value.is(Kind::Dict) ||
             value.is(Kind::Undefined);
    case Test::Even:
    case Test::Odd:
    case Test::DivisibleBy: {
      Value divisor = argument ? *argument : Value(int64_t(2));
      if (value.is(Kind::Undefined))
        return isUndefined(value, line);
      if (!value.isNumber() || !divisor.isNumber())
        return failure(line) << "a " << value.kindName() << " divided by a " << divisor.kindName();
      LORAC_ASSIGN(Value rest,
                   value.is(Kind::Float) || divisor.is(Kind::Float)
                       ? floatArithmetic(Operator::Mod, value.toDouble(), divisor.toDouble(), line)
                       : intArithmetic(Operator::Mod, value.toInt(), divisor.toInt(), line));
      return test == Test::Odd ? rest.toDouble() == 1 : rest.toDouble() == 0;
    }
    case Test::Equal:
      return compare(Comparison::Equal, value, *argument, line);
    case Test::NotEqual:
      return compare(Comparison::NotEqual, value, *argument, line);
    case Test::Less:
      return compare(Comparison::Less, value, *argument, line);
    case Test::LessEqual:
      return compare(Comparison::LessEqual, value, *argument, line);
    case Test::Greater:
      return compare(Comparison::Greater, value, *argument, line);
    case Test::GreaterEqual:
      return compare(Comparison::GreaterEqual, value, *argument, line);
    case Test::In:
      return compare(Comparison::In, value, *argument, line);
    }
    return failure(line) << "unknown test";
  }
};

} // namespace

Result<CharacterClasses> CharacterClasses::create() {
  LORAC_ASSIGN(Regex cased, Regex::compile("\\p{Cased}"));
  LORAC_ASSIGN(Regex caseIgnorable, Regex::compile("\\p{Case_Ignorable}"));
  LORAC_ASSIGN(Regex notPrintable, Regex::compile("[\\p{C}\\p{Z}]"));
  return CharacterClasses{std::move(cased), std::move(caseIgnorable), std::move(notPrintable)};
}

Result<std::string> render(const Block &program, const CharacterClasses &classes,
                           std::vector<std::pair<std::string, Value>> variables, uint64_t maxSteps) {
  return Interpreter(classes, std::move(variables), maxSteps).run(program);
}

} // namespace lorac::jinja
