#!/usr/bin/env python3
"""Chat templates against Jinja2, configured as transformers does: chat_templates.py --program text_server --packages FOLDER
    [--conversations N] [--seed S] [--store]

Every form of tests/goldens/text/chat_forms.json with random conversations of odd shapes: the text must be the same, or the template
must raise the same. The case filters over all characters. --store renders the stored cases again and writes the file."""
import argparse
import json
import pathlib
import random
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path = [folder for folder in sys.path if pathlib.Path(folder or ".").resolve() != HERE]
STORED = HERE.parent / "goldens" / "text" / "chat_forms.json"
CONTENTS = ["", " ", "\n", "Hi", " Hello there \n", "ÄÖÜ straße ΣΊΣΥΦΟΣ", "日本語 🙂👩‍👩‍👧", "{{ messages }}{% raw %}", "a\r\nb\tc", "<|im_end|></s>[/INST]",
            "x</think>\n\ny", "'\"\\", "\u2028\u00a0", "1 < 2 & 3", "é\u0301", "<tool>", "line one\nline two\n"]
ROLES = ["user", "assistant", "system", "tool", "developer", "", "User"]


class Raised(Exception):
    """What raise_exception raises."""


def environment():
    from jinja2 import ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message):
        raise Raised(message)

    class Generation(ext.Extension):
        """{% generation %} only marks its body."""
        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
    jinja.filters["tojson"] = tojson
    jinja.globals["raise_exception"] = raise_exception
    return jinja


def render(template, messages, generation, bos, eos):
    """(text, None) or (None, what it raised)."""
    import jinja2
    try:
        return template.render(messages=messages, add_generation_prompt=generation, bos_token=bos, eos_token=eos, tools=None, documents=None), None
    except Raised as error:
        return None, str(error)
    except (jinja2.exceptions.TemplateError, TypeError) as error:
        return None, f"{type(error).__name__}"


def conversation(rng):
    """Most in the order that templates ask for; some in none."""
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(CONTENTS)})
    for turn in range(rng.choice([0, 1, 1, 2, 3, 4, 7])):
        role = rng.choice(ROLES) if rng.random() < 0.08 else ("user", "assistant")[turn % 2]
        messages.append({"role": role, "content": "".join(rng.choice(CONTENTS) for _ in range(rng.randint(0, 3)))})
    if rng.random() < 0.05:
        messages.append({"role": "system", "content": "late"})
    return messages


def store(jinja, golden):
    for form in golden["forms"]:
        template = jinja.from_string(form["template"])
        for case in form["cases"]:
            text, error = render(template, case["messages"], case["add_generation_prompt"], case["bos_token"], case["eos_token"])
            case.pop("text", None), case.pop("error", None)
            case.update({"text": text} if error is None else {"error": error})
    STORED.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def compare_forms(server, jinja, golden, rng, count):
    differences, renders, raised = [], 0, 0
    forms = golden["forms"]
    for form in forms:
        template = jinja.from_string(form["template"])
        server.ask(template=form["template"])
        cases = [(case["messages"], case["add_generation_prompt"], case["bos_token"], case["eos_token"]) for case in form["cases"]]
        cases += [(conversation(rng), rng.random() < 0.5, "<s>", "</s>") for _ in range(count // len(forms))]
        answers = server.ask_all([{"messages": m, "generation": g, "bos": b, "eos": e} for m, g, b, e in cases])
        for case, answer in zip(cases, answers):
            text, error = render(template, *case)
            renders += 1
            raised += error is not None
            # What Jinja2 itself refuses has another wording here.
            same = answer.get("text") == text if error is None else "error" in answer and (
                error in answer["error"] or error.endswith("Error"))
            if not same:
                differences.append(f"{form['name']} of {case}: ours {answer}, Jinja2 {text if error is None else error!r}")
    return differences, renders, raised


def compare_cases(server, jinja, rng):
    """upper, lower, title and capitalize, as filters and as methods."""
    snippet = "".join("{%% for m in messages %%}{{ m.content%s }}\x01{%% endfor %%}" % use for use in (
        "|upper", "|lower", "|title", "|capitalize", ".upper()", ".lower()", ".title()", ".capitalize()"))
    template = jinja.from_string(snippet)
    server.ask(template=snippet)
    points = [code for code in range(1, 0x1F000) if not 0xD800 <= code < 0xE000 and chr(code) not in "\r\n\x01"]
    cased = [chr(code) for code in points if chr(code).lower() != chr(code).upper()] + ["Σ", "Σ", "σ", "ß", "ŉ", "İ", "\u0345", "\u00ad", "'", ".", "-", " ", "("]
    texts = ["".join(chr(code) for code in points[i:i + 64]) for i in range(0, len(points), 64)]
    texts += ["x" + chr(code) + "x" for code in points if chr(code).lower() != chr(code).upper()]
    texts += ["".join(rng.choice(cased) for _ in range(rng.randint(0, 12))) for _ in range(3000)]
    differences = []
    for i in range(0, len(texts), 200):
        messages = [{"role": "user", "content": text} for text in texts[i:i + 200]]
        ours = server.ask(messages=messages, generation=False, bos="", eos="")["text"].split("\x01")
        theirs = render(template, messages, False, "", "")[0].split("\x01")
        for index, (one, other) in enumerate(zip(ours, theirs)):
            if one != other:
                differences.append(f"case {index // len(messages)} of {messages[index % len(messages)]['content']!r}: ours {one!r}, Python {other!r}")
        if len(ours) != len(theirs):
            differences.append(f"{len(ours)} texts, not {len(theirs)}")
    return differences, len(texts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--packages", required=True, help="folder for the packages that are compared with")
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2 ** 32))
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    sys.path.append(str(HERE))
    from pypi import packages
    from text_server import Server
    sys.path.pop()
    packages(options.packages, "jinja2==3.1.6", "markupsafe==3.0.3")
    print(f"chat templates: seed {options.seed}", flush=True)
    begun = time.monotonic()
    rng = random.Random(options.seed)
    jinja = environment()
    golden = json.loads(STORED.read_text(encoding="utf-8"))
    if options.store:
        store(jinja, golden)
    server = Server(options.program)
    differences, renders, raised = compare_forms(server, jinja, golden, rng, options.conversations)
    more, texts = compare_cases(server, jinja, rng)
    differences += more
    for difference in differences[:20]:
        print(difference)
    print(f"chat templates: {len(golden['forms'])} forms, {renders} renders of which {raised} raise, {texts} texts in 8 cases, "
          f"{len(differences)} differences, {time.monotonic() - begun:.1f} s")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
