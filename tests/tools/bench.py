#!/usr/bin/env python3
"""lorac bench on a tiny model: what it counts against what the files say, and what it refuses. bench.py --lorac PROGRAM

Times are news: only that they are there."""
import argparse
import json
import pathlib
import sys
import unittest

import harness

LORAC = None
MODEL = harness.GOLDENS / "llama-bias-rope3"
PROMPT, NEW, REPETITIONS = 8, 2, 2


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = harness.temporary_folder()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        cls.model = cls.folder / "m.lorac"
        LORAC.ok("compile", MODEL, "-o", cls.model, "--max-context", 96, "--max-rows", 8)  # compiles fewer kernels
        cls.inspected = json.loads(LORAC.ok("inspect", cls.model, "--json"))
        cls.layers = json.loads((MODEL / "config.json").read_text())["num_hidden_layers"]
        cls.config = json.loads((MODEL / "config.json").read_text())
        cls.bundles = []
        for name in "all-r8", "qv-r4":
            cls.bundles.append(cls.folder / f"{name}.lora")
            LORAC.ok("adapter", MODEL / "adapters" / name, "--base", cls.model, "-o", cls.bundles[-1], "--dtype", "f16")

    @classmethod
    def arguments(cls, *options):
        return ["bench", cls.model, "--prompt-length", PROMPT, "--new-tokens", NEW, "--repetitions", REPETITIONS,
                "--read-bytes", 1 << 20, *options]

    @classmethod
    def bench(cls, *options):
        return json.loads(LORAC.ok(*cls.arguments("--json", *options)))

    def kernel(self, phase, name, weights=""):
        lines = [line for line in phase["kernels"] if line["kernel"] == name and line["weights"] == weights]
        self.assertEqual(len(lines), 1, (name, weights, phase["kernels"]))
        return lines[0]


class Figures(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.told = cls.bench("--adapter", cls.bundles[0])

    def check_spread(self, spread):
        self.assertEqual(list(spread), ["median", "min", "max"])
        self.assertTrue(0 < spread["min"] <= spread["median"] <= spread["max"], spread)

    def test_base_and_adapters(self):
        told = self.told
        self.assertEqual([told[key] for key in ("prompt_length", "new_tokens", "batch", "distinct_adapters", "repetitions")],
                         [PROMPT, NEW, 1, 0, REPETITIONS])
        self.assertEqual(told["adapters"], [{"path": str(self.bundles[0]), "strength": 1}])
        self.assertIsNone(told["no_kernels"])
        self.assertEqual([(read["way"], read["lanes"], read["bytes"]) for read in told["raw_reads"]],
                         [("texel", 8, 1 << 20), ("texel", 64, 1 << 20), ("storage", 8, 1 << 20), ("storage", 64, 1 << 20)])
        self.assertEqual(told["best_raw_read"], max(read["bytes_per_second"]["median"] for read in told["raw_reads"]))
        for read in told["raw_reads"]:
            self.check_spread(read["bytes_per_second"])
        self.assertEqual([case["case"] for case in told["cases"]], ["base", "adapters"])
        for name in "prompt", "decode":
            self.check_spread(told["adapters_over_base"][name])
        programs = {(program["rows_max"], program["adapters"]): program for program in self.inspected["programs"]}
        for case, adapters in zip(told["cases"], (False, True)):
            for phase, rows, tokens in (case["prompt"], 8, PROMPT), (case["decode"], 1, 1):
                self.check_spread(phase["seconds"])
                self.check_spread(phase["tokens_per_second"])
                counts, program = phase["counts"], programs[rows, adapters]
                runs = program["dispatches"] - adapters  # of the head with adapters and the one without, a step runs one
                self.assertEqual((phase["tokens"], counts["steps"], counts["dispatches"]), (tokens, 1, runs))
                self.assertEqual(sum(counts["dispatches_by_kernel"].values()), counts["dispatches"])
                self.assertEqual(counts["adapter_dispatches"] > 0, adapters)
                # Every dispatch is timed, once.
                self.assertEqual(sum(line["calls"] for line in phase["kernels"]), counts["dispatches"])
                self.assertEqual({line["program"] for line in phase["kernels"]}, {program["name"]})
                for line in phase["kernels"]:
                    self.check_spread(line["seconds"])
                    self.assertAlmostEqual(line["bytes_per_second"], line["bytes"] / line["seconds"]["median"])
                    self.assertAlmostEqual(line["of_raw_read"], line["bytes_per_second"] / told["best_raw_read"])
        memory = told["memory"]
        # Nothing moves where the device reads weights from the mapped file.
        self.assertIn(memory["weight_bytes"], (0, memory["bytes_by_space"]["weight"]))
        self.assertLessEqual(sum(memory["bytes_by_space"].values()), memory["allocated_bytes"])
        self.assertEqual(memory["bytes_by_space"]["pool"] >= memory["adapter_bytes"] > 0, True)

    def test_bytes_of_kernels(self):
        """By hand from the configuration: what moves at least."""
        width, heads = self.config["hidden_size"], self.config["num_attention_heads"]
        kv_heads = self.config["num_key_value_heads"]
        head = self.config.get("head_dim") or width // heads
        kv = kv_heads * head
        base, adapters = self.told["cases"]
        up = lambda value, to: -(-value // to) * to
        for phase, tokens, attended in (base["prompt"], PROMPT, PROMPT * (PROMPT + 1) / 2), (base["decode"], 1, PROMPT + (NEW + 1) / 2):
            norm = self.kernel(phase, "rms_norm", "input_layernorm")
            self.assertEqual(norm["bytes"], self.layers * (4 * width + 2 * tokens * 4 * up(width, 32)))
            # q, K and V of what is attended to in f32 (an f32 cache is this model's default), y.
            attend = self.kernel(phase, "attend")
            expected = self.layers * (2 * tokens * 4 * heads * up(head, 32) + attended * 2 * 4 * kv_heads * up(head, 8))
            self.assertAlmostEqual(attend["bytes"] / expected, 1, delta=0.1)
        # With one row A and B of the adapter are what the adapter's kernels move more: f16, ranks of whole tiles.
        more = lambda name: sum(line["bytes"] for line in adapters["decode"]["kernels"] if line["kernel"] == name) - \
            sum(line["bytes"] for line in base["decode"]["kernels"] if line["kernel"] == name)
        sites = [(width, heads * head), (width, kv), (width, kv), (heads * head, width)]
        inner = self.config["intermediate_size"]
        sites += [(width, inner), (width, inner), (inner, width)]
        b_bytes = self.layers * sum(2 * 8 * out for _, out in sites)
        a_bytes = self.layers * sum(2 * 8 * columns for columns, _ in sites)
        self.assertAlmostEqual(more("linear") / b_bytes, 1, delta=0.1)
        # Shrink rides on norms: 2 sites of 7 have a dispatch of it.
        shrunk = more("shrink") + more("rms_norm")
        self.assertGreaterEqual(shrunk, a_bytes)
        self.assertLess(shrunk, 1.2 * a_bytes)  # and x, and t

    def test_distinct_adapters_are_copies(self):
        many = self.bench("--adapter", self.bundles[0], "--batch", 3, "--distinct-adapters", 3)
        self.assertEqual(many["distinct_adapters"], 3)
        self.assertEqual(many["memory"]["adapter_bytes"], 3 * self.told["memory"]["adapter_bytes"])
        self.assertEqual(many["cases"][1]["decode"]["tokens"], 3)
        shrunk = [sum(line["bytes"] for line in told["cases"][1]["decode"]["kernels"] if line["kernel"] == "shrink")
                  for told in (self.told, many)]
        self.assertGreater(shrunk[1], 2 * shrunk[0])

    def test_table(self):
        both = ["--adapter", f"{self.bundles[0]}=0.5", "--adapter", self.bundles[1]]
        text = LORAC.ok(*self.arguments("--batch", 2, *both))
        for part in ("2 sequences with a prompt of 8 and 2 new tokens", "strength 0.5", "strength 1\n", "tokens/s:", "raw read:", "time with adapters / base", "kernels of a decoding step, base:",
                     "kernels of all prompts, adapters:", "of raw read", "pipelines made: "):
            self.assertIn(part, text)


    def test_without_kernels(self):
        told = self.bench("--no-kernels")
        self.assertEqual((told["no_kernels"], told["raw_reads"], told["adapters_over_base"]), ("left out by --no-kernels", [], None))
        self.assertEqual([phase["kernels"] for case in told["cases"] for phase in (case["prompt"], case["decode"])], [[], []])


class Refusals(Case):
    def misuse(self, sentence, *options):
        result = LORAC.call(*self.arguments(*options))
        self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
        self.assertIn(sentence, result.stderr.splitlines()[0])

    def test_usage(self):
        bundle = ["--adapter", self.bundles[0]]
        self.misuse("--distinct-adapters needs at least one --adapter", "--distinct-adapters", 1)
        self.misuse("--distinct-adapters is 1, but 2 bundles are given", *bundle, *bundle, "--distinct-adapters", 1)
        self.misuse("--distinct-adapters is 2, but --batch is 1", *bundle, "--distinct-adapters", 2)
        self.misuse("strength 'much' is not a finite number", "--adapter", f"{self.bundles[0]}=much")
        for option in "--batch", "--repetitions", "--read-bytes":
            self.misuse(option, option, 0)

    def test_too_long(self):
        edge = ["bench", self.model, "--prompt-length", 94, "--new-tokens", 2, "--repetitions", 1, "--read-bytes", 1 << 20]
        LORAC.ok(*edge)
        edge[3] = 95
        result = LORAC.call(*edge)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{self.model}: a prompt of 95 and 2 new tokens exceed the context of 96; ask for fewer", result.stderr)

    def test_files(self):
        result = LORAC.call("bench", self.folder / "nowhere.lorac")
        self.assertEqual(result.returncode, 1)
        self.assertIn("nowhere.lorac", result.stderr)
        result = LORAC.call(*self.arguments("--adapter", self.model))
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(self.model), result.stderr)


def main():
    global LORAC
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    arguments, rest = parser.parse_known_args()
    LORAC = harness.Lorac(arguments.lorac)
    unittest.main(argv=[sys.argv[0], *rest])


main()
