//===- ChatTemplate.cpp - messages to a prompt ----------------------------===//
#include "runtime/text/ChatTemplate.h"

#include "runtime/text/TemplateInterpreter.h"
#include "tests/runtime/text/TextGoldens.h"
#include "tests/support/StatusTest.h"

#include <functional>

namespace lorac {
namespace {

using test::goldenJson;

std::vector<ChatMessage> messagesOf(const nlohmann::json &list) {
  std::vector<ChatMessage> messages;
  for (const auto &entry : list)
    messages.push_back({entry["role"], entry["content"]});
  return messages;
}

Result<std::string> render(std::string_view source, const std::vector<ChatMessage> &messages = {}) {
  LORAC_ASSIGN(ChatTemplate chat, ChatTemplate::parse(source));
  return chat.render(messages, false, "<s>", "</s>");
}

void expectText(std::string_view source, const std::string &text) {
  auto result = render(source);
  ASSERT_OK(result);
  EXPECT_EQ(*result, text) << source;
}

TEST(ChatTemplate, RendersAModelsOwnTemplateAsTheReference) {
  auto chat = ChatTemplate::parse(test::goldenText("chat_template.jinja"));
  ASSERT_OK(chat);
  nlohmann::json cases = goldenJson("chat_cases.json");
  ASSERT_EQ(cases.size(), 6u);
  for (const auto &entry : cases) {
    auto text = chat->render(messagesOf(entry["messages"]), entry["add_generation_prompt"], "<|im_start|>",
                             "<|im_end|>");
    ASSERT_OK(text);
    EXPECT_EQ(*text, entry["text"].get<std::string>());
  }
}

// A case has either the text, or what the template itself raises.
TEST(ChatTemplate, RendersEveryFormAsTheReference) {
  nlohmann::json golden = goldenJson("chat_forms.json");
  ASSERT_GE(golden["forms"].size(), 12u);
  for (const auto &form : golden["forms"]) {
    auto chat = ChatTemplate::parse(form["template"].get<std::string>());
    ASSERT_OK(chat);
    for (const auto &entry : form["cases"]) {
      auto text = chat->render(messagesOf(entry["messages"]), entry["add_generation_prompt"],
                               entry["bos_token"].get<std::string>(), entry["eos_token"].get<std::string>());
      if (entry.contains("error")) {
        EXPECT_STATUS(text, Code::InvalidArgument, entry["error"].get<std::string>());
        continue;
      }
      ASSERT_OK(text);
      EXPECT_EQ(*text, entry["text"].get<std::string>()) << form["name"];
    }
  }
}

TEST(ChatTemplate, RendersEverySnippetAsTheReference) {
  nlohmann::json golden = goldenJson("chat_forms.json");
  ASSERT_GE(golden["snippets"].size(), 70u);
  for (const auto &entry : golden["snippets"]) {
    auto chat = ChatTemplate::parse(entry["template"].get<std::string>());
    ASSERT_OK(chat) << entry["template"];
    auto text = chat->render(messagesOf(entry["messages"]), entry["add_generation_prompt"],
                             entry["bos_token"].get<std::string>(), entry["eos_token"].get<std::string>());
    ASSERT_OK(text) << entry["template"];
    EXPECT_EQ(*text, entry["text"].get<std::string>()) << entry["template"];
  }
}

TEST(ChatTemplate, EmptyTokensAreUndefined) {
  auto chat = ChatTemplate::parse("{{ bos_token is defined }}{{ eos_token is defined }}{{ bos_token }}");
  ASSERT_OK(chat);
  EXPECT_EQ(*chat->render({}, false, "", "</s>"), "FalseTrue");
}

TEST(ChatTemplate, MessagesAreNeverTemplates) {
  auto text = render("{{ messages[0].content }}", {{"user", "{{ 1 + 1 }}{% raw %}"}});
  ASSERT_OK(text);
  EXPECT_EQ(*text, "{{ 1 + 1 }}{% raw %}");
}

TEST(ChatTemplate, GenerationMarksNothingHere) {
  expectText("a{% generation %}b{% endgeneration %}c", "abc");
}

// A template that asks first takes its branch without a date.
TEST(ChatTemplate, TimeIsNotDefined) {
  expectText("{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}fixed{% endif %}", "fixed");
  EXPECT_STATUS(
      render("\n{{ strftime_now('%d') }}"), Code::Unsupported,
      "chat template line 2: function 'strftime_now' is not supported: the prompt would depend on the time");
}

TEST(ChatTemplate, RefusesByNameAndLineWhatItDoesNotKnow) {
  struct Case {
    std::string source, message;
  };
  for (const Case &test : {
           Case{"a\n\n{{ x|foo }}", "line 3: filter 'foo' is not supported"},
           Case{"\n{{ x is foo }}", "line 2: test 'foo' is not supported"},
           Case{"{{ x.foo() }}", "line 1: method 'foo' is not supported"},
           Case{"{{ foo(1) }}", "line 1: function 'foo' is not supported"},
           Case{"{{ messages.append(1) }}", "method 'append' is not supported"},
           Case{"{{ loop.cycle('a') }}", "method 'cycle' is not supported"},
           Case{"{{ 2 ** 3 }}", "operator '**' is not supported"},
           Case{"{% include 'x' %}", "statement 'include' is not supported"},
           Case{"{% extends 'x' %}", "statement 'extends' is not supported"},
           Case{"{% import 'x' as y %}", "statement 'import' is not supported"},
           Case{"{% block x %}", "statement 'block' is not supported"},
           Case{"{% with x = 1 %}{% endwith %}", "statement 'with' is not supported"},
           Case{"{% filter upper %}{% endfilter %}", "statement 'filter' is not supported"},
           Case{"{% call f() %}{% endcall %}", "statement 'call' is not supported"},
           Case{"{% do x %}", "statement 'do' is not supported"},
           Case{"{% raw %}{% endraw %}", "statement 'raw' is not supported"},
           Case{"{% for x in y recursive %}{% endfor %}", "loop modifier 'recursive' is not supported"},
           Case{"{% set a, b = x %}", "'set' with several names is not supported"},
           Case{"{% set a = 1, 2 %}", "a tuple without parentheses is not supported"},
           Case{"{{ 1, 2 }}", "a tuple without parentheses is not supported"},
           Case{"{% set a | trim %}{% endset %}", "'set' block with a filter is not supported"},
           Case{"{{ a[1, 2] }}", "a subscript of several parts is not supported"},
           Case{"{{ a[0](1) }}", "calling a value is not supported"},
           Case{"{{ range }}", "as a value, the function 'range' is not supported"},
           Case{"{{ x|join(sep='') }}", "filter 'join' with argument 'sep' is not supported"},
           Case{"{{ x|trim(1, 2) }}", "filter 'trim' with 2 arguments is not supported"},
           Case{"{{ x|tojson(2) }}", "filter 'tojson' with 1 arguments is not supported"},
           Case{"{{ x|map('nope') }}", "filter 'nope' is not supported"},
           Case{"{{ x|map(name) }}",
                "filter 'map' with a name that is not a string literal is not supported"},
           Case{"{{ x|map('replace') }}", "filter 'map' with 'replace' and 0 arguments is not supported"},
           Case{"{{ x|select('nope') }}", "test 'nope' is not supported"},
           Case{"{{ x|selectattr('a', 'equalto') }}", "'equalto' and 0 arguments is not supported"},
           Case{"{{ namespace({}) }}", "function 'namespace' with a positional argument is not supported"},
           Case{"{{ f(*x) }}", "argument '*' is not supported"},
           Case{"{{ 99999999999999999999 }}", "number '99999999999999999999' is not supported"},
           Case{"{{ 0x10 }}", "number '0x' is not supported"},
           Case{"{{ '\\N{DASH}' }}", "escape '\\N' is not supported"},
           Case{"{% macro range() %}{% endmacro %}",
                "a macro with the name of the function 'range' is not supported"},
       })
    EXPECT_STATUS(ChatTemplate::parse(test.source), Code::Unsupported, test.message) << test.source;
}

TEST(ChatTemplate, RejectsBrokenSyntax) {
  struct Case {
    std::string source, message;
  };
  for (const Case &test : {
           Case{"a\n{{ x", "line 2: tag without an end, '}}' is missing"},
           Case{"{% if x", "tag without an end, '%}' is missing"},
           Case{"{# x", "comment without an end"},
           Case{"{{ 'x }}", "string without an end"},
           Case{"{{ '\\u12' }}", "string with a broken escape '\\u'"},
           Case{"{{ '\\ud800' }}", "string with a broken escape '\\u'"},
           Case{"{{ }}", "expected an expression, found '}}'"},
           Case{"{{ 1 + }}", "expected an expression, found '}}'"},
           Case{"{{ 1 2 }}", "expected '}}', found '2'"},
           Case{"{{ (1 }}", "unexpected '}'"},
           Case{"{{ ) }}", "unexpected ')'"},
           Case{"{{ a ? b }}", "unexpected character '?'"},
           Case{"{{ ä }}", "unexpected character 'ä'"},
           Case{"{% %}", "expected a statement, found '%}'"},
           Case{"{% if 1 %}a", "'endif' is missing"},
           Case{"{% for x in y %}a", "'endfor' is missing"},
           Case{"{% set x %}a", "'endset' is missing"},
           Case{"{% endif %}", "unexpected 'endif'"},
           Case{"{% else %}", "unexpected 'else'"},
           Case{"{% if 1 %}{% endfor %}", "unexpected 'endfor'"},
           Case{"{% for x of y %}", "expected 'in', found 'of'"},
           Case{"{% for loop in y %}", "cannot assign to 'loop'"},
           Case{"{% set none = 1 %}", "cannot assign to 'none'"},
           Case{"{% set x 1 %}", "expected '=', found '1'"},
           Case{"{% break %}", "'break' outside of a loop"},
           Case{"{% for x in y %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}",
                "'continue' outside of a loop"},
           Case{"{% macro f(a, a) %}{% endmacro %}", "parameter 'a' is there twice"},
           Case{"{% macro f(a=1, b) %}{% endmacro %}", "parameter 'b' without a default follows one with"},
           Case{"{{ f(a=1, 2) }}", "a positional argument follows a named one"},
           Case{"{{ f(a=1, a=2) }}", "argument 'a' is there twice"},
           Case{"{{ range() }}", "function 'range' needs argument 'start'"},
           Case{"{{ x|replace('a') }}", "filter 'replace' needs argument 'new'"},
           Case{"{{ x|map }}", "filter 'map' needs either a filter's name or attribute="},
           Case{"{{ x is none is none2 }}", "tests cannot be chained with 'is'"},
           Case{"{{ x[] }}", "subscript without an index"},
           Case{"{{ not }}", "expected an expression, found '}}'"},
           Case{"{{ and }}", "expected an expression, found 'and'"},
           Case{"\xff", "chat template is not UTF-8 at byte 0"},
       })
    EXPECT_STATUS(ChatTemplate::parse(test.source), Code::InvalidArgument, test.message) << test.source;
}

TEST(ChatTemplate, RejectsWhatDoesNotFitTogether) {
  struct Case {
    std::string source, message;
  };
  for (const Case &test : {
           Case{"\n{{ raise_exception('no ' ~ 'way') }}", "chat template line 2: no way"},
           Case{"{{ a.b }}", "'a' is undefined"},
           Case{"{{ messages[0].role }}", "'element 0' is undefined"},
           Case{"{{ a + 1 }}", "'a' is undefined"},
           Case{"{{ 'a' + 1 }}", "operator '+' has no meaning for string and integer"},
           Case{"{{ 'a' + none }}", "operator '+' has no meaning for string and none"},
           Case{"{{ [] - [] }}", "operator '-' has no meaning for list and list"},
           Case{"{{ 1 // 0 }}", "division by zero"},
           Case{"{{ 1 % 0 }}", "division by zero"},
           Case{"{{ 1.0 / 0 }}", "division by zero"},
           Case{"{{ 9223372036854775807 + 1 }}", "an integer outside of 64 bits"},
           Case{"{{ (-9223372036854775807 - 1) // -1 }}", "an integer outside of 64 bits"},
           Case{"{{ -(-9223372036854775807 - 1) }}", "an integer outside of 64 bits"},
           Case{"{{ 9223372036854775807 * 2 }}", "an integer outside of 64 bits"},
           Case{"{{ 1 < 'a' }}", "a integer and a string have no order"},
           Case{"{{ 1 in 'a' }}", "'in' a string needs a string, not a integer"},
           Case{"{{ 1 in 2 }}", "'in' has no meaning for a integer"},
           Case{"{% for x in 5 %}{% endfor %}", "a integer has no elements"},
           Case{"{% for a, b in [1] %}{% endfor %}", "cannot unpack a integer into 2 names"},
           Case{"{{ 5|length }}", "a integer has no length"},
           Case{"{{ 'abc'[::0] }}", "a slice cannot step by 0"},
           Case{"{{ 5[1:] }}", "a integer cannot be sliced"},
           Case{"{{ 5.5.strip() }}", "'strip' needs a string, not a float"},
           Case{"{{ ''.split('') }}", "'split' with an empty separator"},
           Case{"{{ [].items() }}", "'items' needs a mapping, not a list"},
           Case{"{{ 'a'.get('b') }}", "'get' needs a mapping, not a string"},
           Case{"{% set x.y = 1 %}", "'x' is no namespace"},
           Case{"{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "macro 'f' takes 1 arguments, not 2"},
           Case{"{% macro f(a) %}{% endmacro %}{{ f(b=2) }}", "macro 'f' has no parameter 'b'"},
           Case{"{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}", "macro 'f' is given 'a' twice"},
           Case{"{{ f() }}{% macro f() %}{% endmacro %}", "'f' is undefined"},
           Case{"{{ x|tojson }}", "'x' is undefined"},
           Case{"{{ x|int }}", "'x' is undefined"},
           Case{"{{ range(1, 2, 0) }}", "range() cannot step by 0"},
           Case{"{{ 'x' is even }}", "a string divided by a integer"},
       })
    EXPECT_STATUS(render(test.source), Code::InvalidArgument, test.message) << test.source;
}

TEST(ChatTemplate, RefusesWhileRenderingWhatItCannotDo) {
  EXPECT_STATUS(render("{{ '%s' % 1 }}"), Code::Unsupported, "formatting with operator '%' is not supported");
  EXPECT_STATUS(render("{{ {1: 2} }}"), Code::Unsupported,
                "a mapping with a key of type integer is not supported");
  EXPECT_STATUS(render("{{ namespace() }}"), Code::Unsupported, "a namespace as text is not supported");
  EXPECT_STATUS(render("{% set n = namespace() %}{% set n.n = n %}"), Code::Unsupported,
                "a namespace inside another value is not supported");
  EXPECT_STATUS(render("{% for x in [1] %}{{ [loop] }}{% endfor %}"), Code::Unsupported,
                "a loop inside another value is not supported");
}

TEST(ChatTemplate, RejectsMessagesThatAreNotUtf8) {
  EXPECT_STATUS(render("", {{"user", "ok"}, {"user", "\xff"}}), Code::InvalidArgument,
                "message 1: its content is not UTF-8 at byte 0");
  EXPECT_STATUS(render("", {{"\xff", "ok"}}), Code::InvalidArgument, "message 0: its role is not UTF-8");
}

// ---- bounds: each of these would run for hours or eat all memory or stack
// ------------------------------------

TEST(ChatTemplate, BoundsSteps) {
  EXPECT_STATUS(render("{% for a in range(1000000000) %}{% endfor %}"), Code::InvalidArgument, "steps");
  EXPECT_STATUS(render("{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}"
                       "{% endfor %}{% endfor %}{% endfor %}"),
                Code::InvalidArgument, "rendering takes more than 10000000 steps");
  EXPECT_STATUS(render("{{ range(9223372036854775807)|length }}"), Code::InvalidArgument, "steps");
  EXPECT_STATUS(render("{{ range(-9223372036854775807, 9223372036854775807, 2)|length }}"),
                Code::InvalidArgument, "steps");
}

// Each limit at its last value and one past it.
TEST(ChatTemplate, LimitsAreWhereTheyAreSaidToBe) {
  auto many = [](const std::string &unit, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i)
      text += unit;
    return text;
  };
  auto range = [](uint64_t count) { return "{{ range(" + std::to_string(count) + ")|length }}"; };
  const uint64_t elements = jinja::kMaxSteps / 4 - 2; // four steps each, and the expressions themselves
  EXPECT_OK(render(range(elements)));
  EXPECT_STATUS(render(range(elements + 1)), Code::InvalidArgument,
                "rendering takes more than 10000000 steps");

  auto text = [](uint64_t size) { return "{{ 'x' * " + std::to_string(size) + " }}"; };
  auto whole = render(text(jinja::kMaxOutput));
  ASSERT_OK(whole);
  EXPECT_EQ(whole->size(), jinja::kMaxOutput);
  EXPECT_STATUS(render(text(jinja::kMaxOutput + 1)), Code::InvalidArgument,
                "a text of more than 16777216 bytes");
  EXPECT_STATUS(render(text(jinja::kMaxOutput) + "y"), Code::InvalidArgument,
                "the output has more than 16777216 bytes");

  // The statement or tag around them is a level, and so is what is innermost.
  auto blocks = [&](size_t count) { return many("{% if 1 %}", count) + many("{% endif %}", count); };
  auto sums = [&](size_t count) { return "{{ 1" + many(" + 1", count) + " }}"; };
  for (const auto &nest : {std::function(blocks), std::function(sums)}) {
    EXPECT_OK(render(nest(jinja::kMaxDepth - 2)));
    EXPECT_STATUS(render(nest(jinja::kMaxDepth - 1)), Code::InvalidArgument, "nested more than 200 deep");
  }
  auto calls = [](size_t count) {
    return "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(" + std::to_string(count) +
           ") }}";
  };
  EXPECT_OK(render(calls(jinja::kMaxDepth / 3 - 1))); // three levels a call
  EXPECT_STATUS(render(calls(jinja::kMaxDepth / 3)), Code::InvalidArgument, "nested more than 200 deep");

  auto lists = [](size_t count) {
    return "{% set n = namespace(x=[1]) %}{% for a in range(" + std::to_string(count) +
           ") %}{% set n.x = [n.x] %}{% endfor %}";
  };
  EXPECT_OK(render(lists(jinja::kMaxValueDepth - 2))); // one was there, and the namespace holds it
  EXPECT_STATUS(render(lists(jinja::kMaxValueDepth - 1)), Code::InvalidArgument,
                "lists nested more than 100 deep");

  EXPECT_OK(ChatTemplate::parse(std::string(1 << 20, 'x')));
  EXPECT_STATUS(ChatTemplate::parse(std::string((1 << 20) + 1, 'x')), Code::InvalidArgument,
                "chat template has 1048577 bytes, at most 1048576 are read");
}

TEST(ChatTemplate, LettersOutsideOfAsciiHaveCase) {
  // As Python has it: several letters for one, title case for a method's first letter, the sigma of a word's
  // end.
  expectText("{{ 'straße ŉ'|upper }} {{ 'ÄÖÜ İ'|lower }} {{ 'ǆ ﬃ'|capitalize }}", "STRASSE ʼN äöü i̇ ǅ ﬃ");
  expectText("{{ 'ΣΑΣ ΑΣ. ΑΣΑ Σ'|lower }}", "σας ας. ασα σ");
  expectText("{{ 'éa éa'.title() }} {{ 'ǆa-ǆa'.title() }} {{ 'ǆa-ǆa'|title }}", "Éa Éa ǅa-ǅa Ǆa-Ǆa");
  expectText("{{ '日本語 🙂'|upper }}", "日本語 🙂");
}

// Each sigma looks over all marks around it: quadratic, and so paid for.
TEST(ChatTemplate, BoundsSigmas) {
  EXPECT_STATUS(
      render("{% for i in range(100) %}{{ ('a' ~ ':' * 1000000 ~ 'Σ') | lower | length }}{% endfor %}"),
      Code::InvalidArgument, "steps");
}

TEST(ChatTemplate, BoundsOutput) {
  EXPECT_STATUS(render("{% for a in range(9000) %}{{ 'x' * 10000 }}{% endfor %}"), Code::InvalidArgument,
                "the output has more than 16777216 bytes");
}

TEST(ChatTemplate, BoundsTexts) {
  EXPECT_STATUS(render("{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for a in range(60) %}"
                       "{% set n.x = n.x ~ n.x %}{% endfor %}"),
                Code::InvalidArgument, "a text of more than 16777216 bytes");
  EXPECT_STATUS(render("{{ 'x' * 9223372036854775807 }}"), Code::InvalidArgument, "a text of more than");
  EXPECT_STATUS(render("{{ ('x' * 100000).replace('x', 'y' * 100000) }}"), Code::InvalidArgument,
                "a text of more than");
  EXPECT_STATUS(render("{{ ('x' * 100000).replace('', 'y' * 100000) }}"), Code::InvalidArgument,
                "a text of more than");
  EXPECT_STATUS(render("{{ range(100000)|join('y' * 100000) }}"), Code::InvalidArgument,
                "a text of more than");
}

// Lists that hold the same list twice, again and again: small to keep, 2^60 to print or compare.
TEST(ChatTemplate, BoundsWhatListsUnfoldTo) {
  std::string twice =
      "{% set n = namespace(x=[1]) %}{% for a in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}";
  for (const char *use : {"{{ n.x }}", "{{ n.x|tojson }}", "{{ n.x ~ '' }}", "{{ n.x|string|length }}"})
    EXPECT_FALSE(render(twice + use).isOk()) << use;
  std::string other =
      "{% set m = namespace(x=[1]) %}{% for a in range(60) %}{% set m.x = [m.x, m.x] %}{% endfor %}";
  EXPECT_STATUS(render(twice + other + "{{ n.x == m.x }}"), Code::InvalidArgument, "steps");
  EXPECT_STATUS(
      render("{% set n = namespace(x=[1]) %}{% for a in range(1000) %}{% set n.x = [n.x] %}{% endfor %}"),
      Code::InvalidArgument, "lists nested more than 100 deep");
}

TEST(ChatTemplate, BoundsNesting) {
  auto many = [](const std::string &unit, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i)
      text += unit;
    return text;
  };
  const size_t count = 100000;
  for (const std::string &source :
       {"{{ " + many("(", count) + "1" + many(")", count) + " }}",
        "{{ " + many("[", count) + many("]", count) + " }}", "{{ " + many("not ", count) + "1 }}",
        "{{ " + many("-", count) + "1 }}", "{{ 1" + many(" + 1", count) + " }}",
        "{{ 1" + many(" or 1", count) + " }}", "{{ a" + many(".a", count) + " }}",
        "{{ a" + many("[0]", count) + " }}", "{{ a" + many("|trim", count) + " }}",
        "{{ 1" + many(" if 1 else 1", count / 2) + " }}", many("{% if 1 %}", count / 2),
        many("{% for a in b %}", count / 2), "{{ " + many("{'a':", count) + " }}",
        "{{ a is eq(" + many("(", count) + " }}"})
    EXPECT_STATUS(ChatTemplate::parse(source), Code::InvalidArgument, "chat template line 1: ")
        << source.substr(0, 40);
  EXPECT_STATUS(render("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"), Code::InvalidArgument,
                "nested more than 200 deep");
  EXPECT_STATUS(ChatTemplate::parse(std::string((1 << 20) + 1, 'x')), Code::InvalidArgument,
                "chat template has 1048577 bytes");
  // What is in use nests far less than this.
  expectText("{{ " + many("(", 60) + "1" + many(")", 60) + " }}", "1");
  expectText(many("{% if 1 %}", 60) + "x" + many("{% endif %}", 60), "x");
  expectText("{{ 'a'" + many(" ~ 'a'", 150) + " }}", many("a", 151));
}

TEST(ChatTemplate, LongConversationsStayInBounds) {
  std::vector<ChatMessage> messages;
  for (int i = 0; i < 2000; ++i)
    messages.push_back({i % 2 ? "assistant" : "user", std::string(2000, char('a' + i % 26)) + " "});
  auto text =
      render("{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] | trim + '\n' }}{% endfor %}",
             messages);
  ASSERT_OK(text);
  EXPECT_EQ(text->size(), 1000 * (2000 + 7 + std::string("user").size() - 4) + 1000 * (2000 + 12));
}

} // namespace
} // namespace lorac
