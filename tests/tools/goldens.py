#!/usr/bin/env python3
"""Logits, greedy tokens and refusals of a golden checkpoint, through the command line: goldens.py --lorac PROGRAM --model NAME
[--storage f16|f32] [--refused A,B] [--skip-pass PASS] [--device DEVICE] [--every N]

A case holds when max|logit - reference| <= bound * max|reference| over the stored rows, and the greedy tokens agree as far as the
reference's top-two gap exceeds twice the error. Exactly the adapters of --refused must be refused, each with one line that names
its folder. --every N takes each N-th case."""
import argparse
import json
import pathlib

import harness

# Bounds of the project: f16 storage 2e-2, f32 storage 1e-4 of the largest logit.
BOUND = {"f16": 2e-2, "f32": 1e-4}


class Goldens:
    def __init__(self, arguments, folder):
        self.lorac = harness.Lorac(arguments.lorac)
        self.golden = harness.GOLDENS / arguments.model
        self.folder = pathlib.Path(folder)
        self.device = arguments.device
        self.bound = BOUND[arguments.storage]
        self.model = self.folder / "model.lorac"
        skip = ["--skip-pass", arguments.skip_pass] if arguments.skip_pass else []
        self.lorac.ok("compile", self.golden, "-o", self.model, "--quantize", arguments.storage, *skip)
        self.reference = harness.read_safetensors(self.golden / "logits.safetensors")
        self.bundles, self.refused = {}, {}
        self.worst, self.worst_case = 0.0, None

    def bundle(self, name):
        """The adapter's bundle, or None where it is refused; made once."""
        if name not in self.bundles and name not in self.refused:
            target = self.folder / f"{name}.lora"
            result = self.lorac.call("adapter", self.golden / "adapters" / name, "--base", self.model, "-o", target)
            if result.returncode == 0:
                self.bundles[name] = target
            else:
                self.refused[name] = result.stderr
                if result.returncode != 1 or target.exists():
                    raise AssertionError(f"refusing {name}: exit {result.returncode}, bundle written: {target.exists()}")
        return self.bundles.get(name)

    def check(self, case):
        """What is wrong with one case, or None."""
        flags = []
        for name, strength in case["stack"]:
            flags += ["--adapter", f"{self.bundle(name)}={strength}"]
        greedy = case.get("greedy", [])
        logits = self.folder / "logits.npy"
        logits.unlink(missing_ok=True)
        new_tokens = max(len(greedy), 1)
        output = self.lorac.ok("run", self.model, *flags, "--device", self.device, "--tokens", ",".join(map(str, case["tokens"])),
                               "--max-tokens", new_tokens, "--ignore-eos", "--print-tokens", "--logits", logits)
        tokens = [int(token) for token in output.splitlines()[-1].split(",")]
        rows, columns, values = harness.read_npy(logits)
        fed = len(case["tokens"]) + new_tokens - 1
        if rows != fed or len(tokens) != new_tokens:
            return f"{rows} rows of logits for {fed} positions, {len(tokens)} tokens for {new_tokens}"
        dtype, shape, data = self.reference[case["key"]]
        want = harness.floats(dtype, data)
        first = len(case["tokens"]) - shape[0]
        got = values[first * columns:len(case["tokens"]) * columns]
        if len(got) != len(want):
            return f"logits [{rows}, {columns}] do not fit the reference's {shape}"
        scale = max(map(abs, want))
        error = max(abs(a - b) for a, b in zip(got, want)) / scale
        if error > self.worst:
            self.worst, self.worst_case = error, case
        if not error <= self.bound:  # also for NaN
            return f"error {error:.2e}"
        for step, (token, gap) in enumerate(zip(greedy, case.get("greedy_gap", []))):
            if gap <= 2 * max(error, 1e-6) * scale:
                break
            if tokens[step] != token:
                return f"greedy token {step} is {tokens[step]}, expected {token}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--storage", choices=sorted(BOUND), default="f16")
    parser.add_argument("--refused", default="")
    parser.add_argument("--skip-pass")
    parser.add_argument("--device", default="vulkan")
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    expected = set(filter(None, arguments.refused.split(",")))
    checks = harness.Checks()
    with harness.temporary_folder() as folder:
        goldens = Goldens(arguments, folder)
        for adapter in sorted(path.name for path in (goldens.golden / "adapters").iterdir()):
            accepted = goldens.bundle(adapter) is not None
            message = goldens.refused.get(adapter, "")
            checks.expect(accepted != (adapter in expected), f"{adapter}: {'accepted' if accepted else 'refused: ' + message}")
            checks.expect(accepted or (message.startswith("lorac: error: ") and adapter in message.splitlines()[0]),
                          f"{adapter}: refused without naming its folder: {message}")
        cases = json.loads((goldens.golden / "cases.json").read_text())["cases"]
        for case in cases[::arguments.every]:
            if any(name in goldens.refused for name, _ in case["stack"]):
                continue
            problem = goldens.check(case)
            checks.expect(not problem, f"{case['key']} {case['stack']} {len(case['tokens'])} tokens: {problem}")
        print(f"{arguments.model} {arguments.storage} {arguments.device}: worst error {goldens.worst:.2e} (bound {goldens.bound:.0e})"
              + (f" in {goldens.worst_case['key']} {goldens.worst_case['stack']}" if goldens.worst_case else ""))
    checks.finish()


main()
