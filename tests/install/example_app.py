#!/usr/bin/env python3
"""The example in C answers as `lorac run` does: example_app.py --lorac PROGRAM --work FOLDER --model tokens|demo

tokens: a golden checkpoint without a tokenizer, all of the programs that install.py built. demo: the demo's model with one of its
adapters and its chat template, in words; exits with 77 where scripts/demo.sh has not made them."""
import argparse
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import harness

NEW_TOKENS = 48  # the program's own limit


def answers(app, *arguments):
    """Of one run of the program: its answers in order, and the numbers of its last line."""
    result = subprocess.run([app, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8", timeout=280)
    if result.returncode != 0 or result.stderr:
        raise AssertionError(f"{app} {arguments}: exit {result.returncode}: {result.stderr}")
    parts = re.split(r"^--- (.*)\n", result.stdout, flags=re.MULTILINE)
    names, texts = parts[1::2], parts[2::2]
    return list(zip(names[:-1], texts[:-1])), [int(number) for number in re.findall(r"\d+", names[-1])]


def reference(lorac, model, prompt, stacks, folder):
    """What `lorac run --batch` gives for the same prompt and stacks."""
    requests = pathlib.Path(folder) / "requests.jsonl"
    requests.write_text("".join(json.dumps({**prompt, "max_tokens": NEW_TOKENS, "adapters": [
        {"path": str(path), "strength": strength} for path, strength in stack]}) + "\n" for stack in stacks), encoding="utf-8")
    return [json.loads(line) for line in lorac.ok("run", model, "--batch", requests).splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", choices=["tokens", "demo"], required=True)
    arguments = parser.parse_args()
    lorac, work = harness.Lorac(arguments.lorac), pathlib.Path(arguments.work)
    checks = harness.Checks()

    with harness.temporary_folder() as folder:
        folder = pathlib.Path(folder)
        if arguments.model == "demo":
            demo = harness.ROOT / ".cache/demo"
            model, bundles = demo / "smollm2.lorac", [(demo / "support.lora", 1.0)]
            if not all(path.exists() for path in [model, *(path for path, _ in bundles)]):
                print("not run: scripts/demo.sh makes the model and the bundles that this compares")
                sys.exit(77)
            question = "What is the capital of France?"
            prompt, words, apps = {"chat": question}, [question], [work / "cmake/app"]
        else:
            golden, model = harness.GOLDENS / "llama-tied", folder / "model.lorac"
            lorac.ok("compile", golden, "-o", model, "--quantize", "f16", "--max-rows", "8")
            bundles = [(folder / "all-r8.lora", 1.0), (folder / "qv-r4.lora", 0.5)]
            for bundle, _ in bundles:
                lorac.ok("adapter", golden / "adapters" / bundle.stem, "--base", model, "-o", bundle)
            tokens = [259, 129, 92, 249, 14, 124, 59]
            prompt, words = {"tokens": tokens}, ["--tokens", ",".join(map(str, tokens))]
            apps = [work / "cmake/app", work / "pkg-config-app"]
        stacks, names = [[], *([bundle] for bundle in bundles)], ["base", *(str(path) for path, _ in bundles)]
        if len(bundles) > 1:
            stacks, names = [*stacks, bundles], [*names, "all adapters"]
        want = reference(lorac, model, prompt, stacks, folder)
        weight_bytes = json.loads(lorac.ok("inspect", model, "--json"))["weight_bytes"]
        for app in apps:
            got, numbers = answers(app, model, *words, *(f"{path}={strength}" for path, strength in bundles))
            checks.expect([name for name, _ in got] == names, f"{app}: answers {got}")
            for (name, text), result in zip(got, want):
                expected = ",".join(map(str, result["tokens"])) if arguments.model == "tokens" else result["text"]
                checks.expect(result["finish"] != "error" and text == expected + "\n", f"{app}: {name}: {text!r}, lorac run gives {result}")
            checks.expect(len({text for _, text in got}) == len(got), f"{app}: two stacks give one answer, so they show nothing: {got}")
            # steps, dispatches, of them for adapters, bytes of weights (0 where the device reads the mapped file), bytes of adapters
            steps, dispatches, adapters, weights, pool = numbers
            checks.expect(steps and dispatches > adapters > 0 and weights in (0, weight_bytes) and pool, f"{app}: counts {numbers}")
        if arguments.model == "tokens":
            # The program in C++: base and first adapter, generated and by hand.
            (path, strength), count = bundles[0], 8
            result = subprocess.run([str(word) for word in [work / "wrapper", model, path, strength, *tokens]], capture_output=True,
                                    text=True, timeout=280)
            checks.expect((result.returncode, result.stderr) == (0, ""), f"wrapper: {result}")
            checks.expect(result.stdout.splitlines()[:-1] == [f"{how} {' '.join(map(str, want[i]['tokens'][:count]))}"
                                                       for i in (0, 1) for how in ("generated", "stepped")], f"wrapper: {result.stdout}")
            checks.expect(int(result.stdout.split()[-1]) >= 1, f"wrapper lists no device: {result.stdout}")
            # Errors, through the program: its one line, and not a word of the library's own.
            bad = subprocess.run([apps[0], model, *words, f"{path}=abc"], capture_output=True, text=True, timeout=280)
            checks.expect((bad.returncode, bad.stdout, bad.stderr) == (1, "", "app: INVALID_ARGUMENT: not a strength: abc\n"), f"bad strength: {bad}")
            bad = subprocess.run([apps[0], model, *words, model], capture_output=True, text=True, timeout=280)
            checks.expect(bad.returncode == 1 and bad.stdout == "" and re.fullmatch(r"app: INVALID_ARGUMENT: [^\n]+ is no Lorac bundle but a model file[^\n]+\n", bad.stderr),
                   f"a model as bundle: {bad}")
    checks.finish()


main()
