#!/usr/bin/env python3
"""The command line's own contracts: usage errors, what goes to stdout and what to stderr, --json, --batch. cli.py --lorac PROGRAM"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import harness

LORAC = None
BIAS = harness.GOLDENS / "llama-bias-rope3"


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = harness.temporary_folder()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        cls.model = cls.folder / "m.lorac"
        LORAC.ok("compile", BIAS, "-o", cls.model, "--max-context", 96)
        cls.bundles = {}
        for name in "all-r8", "qv-r4", "rslora-patterns":
            cls.bundles[name] = cls.folder / f"{name}.lora"
            LORAC.ok("adapter", BIAS / "adapters" / name, "--base", cls.model, "-o", cls.bundles[name])

    def run_tokens(self, *options):
        return LORAC.run_json(self.model, "--tokens", "5,6,7,8", "--max-tokens", 12, "--ignore-eos", *options)["tokens"]


class Usage(Case):
    def misuse(self, *arguments):
        result = LORAC.call(*arguments)
        lines = result.stderr.splitlines()
        told = f"lorac {' '.join(map(str, arguments))}: exit {result.returncode}, {result.stderr}"
        self.assertEqual((result.returncode, result.stdout), (2, ""), told)
        self.assertTrue(lines[0].startswith("lorac: error: "), told)
        self.assertTrue(lines[1].startswith("note: see lorac"), told)
        return lines[0]

    def test_commands(self):
        self.misuse()
        self.misuse("fly")
        self.misuse("run")
        self.misuse("run", self.model)
        self.misuse("compile", BIAS)
        self.misuse("adapter", BIAS, "-o", self.folder / "x.lora")
        self.misuse("run", self.model, "--tokens", "1", "--sideways")
        self.misuse("inspect", self.model, "--plan", "--json")

    def test_values(self):
        run = ["run", self.model, "--tokens", "1"]
        for strength in "nan", "inf", "-inf", "1e99", "much", "", "1.5x":
            with self.subTest(strength=strength):
                self.misuse(*run, "--adapter", f"{self.bundles['all-r8']}={strength}")
        for options in (["--temperature", "-1"], ["--temperature", "nan"], ["--top-p", "0"], ["--top-p", "1.5"], ["--top-k", "-1"],
                        ["--max-tokens", "-1"], ["--max-tokens", "many"], ["--seed", "-1"], ["--context", "-1"], ["--max-rows", "-1"], ["--device", "abacus"],
                        ["--device", "vulkan,deny=luck"], ["--prompt", "both"], ["--system", "x"], ["--batch", "x"],
                        ["--json", "--print-tokens"]):
            with self.subTest(options=options):
                self.misuse(*run, *options)
        for tokens in "", "a", "1,", ",1", "1,,2", "-1", "1.5", "4294967296":
            with self.subTest(tokens=tokens):
                self.misuse("run", self.model, "--tokens", tokens)
        self.misuse("run", self.model, "--batch", "x", "--logits", "y")
        for option, number in (("--max-rows", "0"), ("--context", "0"), ("--seed", "18446744073709551616"), ("--max-rows", "4294967296"),
                               ("--max-tokens", "1.5"), ("--max-tokens", "")):
            with self.subTest(option=option, number=number):
                self.assertIn(f"{option}: '{number}' is no whole number ", self.misuse(*run, option, number))
        for option in "--batch", "--prompt-length", "--new-tokens", "--repetitions", "--max-rows", "--read-bytes":
            for number in "0", "-1", "x":
                with self.subTest(option=option, number=number):
                    self.assertIn(f"{option}: '{number}' is no whole number ", self.misuse("bench", self.model, option, number))
        for options in ["--dump-ir-after", "lunch"], ["--skip-pass", "lunch"], ["--skip-pass", "select"], ["--target", "abacus"], ["--max-context", "-1"]:
            with self.subTest(options=options):
                self.misuse("compile", BIAS, "-o", self.folder / "x.lorac", *options)
        self.misuse("adapter", BIAS, "--base", self.model, "-o", self.folder / "x.lora", "--dtype", "int8")

    def test_options_that_come_too_late(self):
        for stage, options in (("quantize", [["--quantize", "int8"]]),
                               ("select", [["--max-rows", "8"], ["--cache", "f16"], ["--skip-pass", "fuse"]])):
            dump = self.folder / f"{stage}.mlir"
            dump.write_text(LORAC.ok("compile", BIAS, "-o", self.folder / "late.lorac", "--dump-ir-after", stage))
            for option in options:
                with self.subTest(stage=stage, option=option):
                    self.assertIn(f"{option[0]}: comes too late, since {dump} is a dump of {stage} or a later stage",
                                  self.misuse("compile", dump, "-o", self.folder / "x.lorac", *option))
        LORAC.ok("compile", self.folder / "quantize.mlir", "-o", self.folder / "late.lorac", "--max-rows", "8", "--cache", "f16")

    def test_stages(self):
        """The help names them all; each has a dump."""
        stages = re.search(r"one of the stages (.*?) to +stdout", " ".join(LORAC.ok("compile", "--help").split())).group(1).split(", ")
        self.assertEqual((stages[0], stages[-1]), ("import", "chain"))
        dumps = LORAC.ok("compile", BIAS, "-o", self.folder / "stages.lorac", *(word for stage in stages for word in ("--dump-ir-after", stage)))
        self.assertEqual(re.findall("^// ----- after (.*)$", dumps, re.MULTILINE), stages)

    def test_help(self):
        for command in [], ["compile"], ["adapter"], ["run"], ["bench"], ["inspect"], ["devices"]:
            with self.subTest(command=command):
                result = LORAC.call(*command, "--help")
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertIn("Examples:", result.stdout)
        self.assertRegex(LORAC.ok("--version"), r"^lorac \d+\.\d+\.\d+\n$")


class Output(Case):
    def test_tokens_alone_on_the_last_line(self):
        result = LORAC.call("run", self.model, "--tokens", "5,6,7,8", "--max-tokens", 12, "--ignore-eos", "--print-tokens", "--stats")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([int(token) for token in result.stdout.splitlines()[-1].split(",")], self.run_tokens())
        self.assertIn("dispatches: ", result.stderr)
        self.assertNotIn("dispatches", result.stdout)

    def test_no_new_tokens(self):
        logits = self.folder / "none.npy"
        output = LORAC.run_json(self.model, "--tokens", "5,6,7", "--max-tokens", 0, "--logits", logits)
        self.assertEqual((output["tokens"], output["finish"], output["prompt_tokens"]), ([], "length", 3))
        self.assertEqual(harness.read_npy(logits)[:2], (3, 384))

    def test_logits_of_each_position_fed(self):
        logits = self.folder / "fed.npy"
        tokens = LORAC.run_json(self.model, "--tokens", "5,6,7", "--max-tokens", 5, "--ignore-eos", "--logits", logits)["tokens"]
        rows, columns, values = harness.read_npy(logits)
        self.assertEqual((rows, columns), (3 + 5 - 1, 384))
        for step, token in enumerate(tokens):
            row = values[(2 + step) * columns:(3 + step) * columns]
            self.assertEqual(row.index(max(row)), token)

    def test_stops_at_an_eos_id(self):
        # Long enough that the random model says one of its eos ids somewhere; where, --ignore-eos tells.
        free = LORAC.run_json(self.model, "--tokens", "5", "--max-tokens", 96, "--ignore-eos", "--temperature", 3, "--seed", 11)["tokens"]
        held = LORAC.run_json(self.model, "--tokens", "5", "--max-tokens", 96, "--temperature", 3, "--seed", 11)
        ends = [index for index, token in enumerate(free) if token in (2, 3)]
        expected = free[:ends[0] + 1] if ends else free
        self.assertEqual(held["tokens"], expected)
        self.assertEqual(held["finish"], "stop" if ends else "length")

    def test_seeds(self):
        first = self.run_tokens("--temperature", 1.5, "--seed", 1)
        self.assertEqual(first, self.run_tokens("--temperature", 1.5, "--seed", 1))
        self.assertNotEqual(first, self.run_tokens("--temperature", 1.5, "--seed", 2))
        greedy = self.run_tokens()
        self.assertEqual(greedy, self.run_tokens("--seed", 5))
        self.assertEqual(greedy, self.run_tokens("--temperature", 1.5, "--top-k", 1, "--seed", 5))
        self.assertEqual(greedy, self.run_tokens("--temperature", 1.5, "--top-p", 1e-9, "--seed", 5))

    def test_strengths(self):
        bundle = self.bundles["all-r8"]
        base = self.run_tokens()
        self.assertEqual(base, self.run_tokens("--adapter", f"{bundle}=0"))
        whole = LORAC.run_json(self.model, "--tokens", "5,6,7,8", "--max-tokens", 12, "--ignore-eos", "--adapter", bundle,
                               "--logits", self.folder / "whole.npy")
        twice = LORAC.run_json(self.model, "--tokens", "5,6,7,8", "--max-tokens", 12, "--ignore-eos", "--adapter", f"{bundle}=0.25",
                               "--adapter", f"{bundle}=0.75", "--logits", self.folder / "twice.npy")
        self.assertEqual(harness.read_npy(self.folder / "whole.npy"), harness.read_npy(self.folder / "twice.npy"))
        self.assertEqual(whole["tokens"], twice["tokens"])

    def test_variants_agree(self):
        bundle = self.bundles["all-r8"]
        logits = []
        for device in "vulkan", "vulkan,deny=texel", "vulkan,deny=subgroup", "vulkan,deny=texel,deny=subgroup":
            path = self.folder / "variant.npy"
            LORAC.run_json(self.model, "--tokens", "5,6,7,8,9,10,11,12,13,14", "--max-tokens", 4, "--ignore-eos", "--adapter", bundle,
                           "--logits", path, "--device", device)
            logits.append(harness.read_npy(path)[2])
        scale = max(map(abs, logits[0]))
        for other in logits[1:]:
            self.assertLess(max(abs(a - b) for a, b in zip(logits[0], other)) / scale, 1e-3)

    def test_cache_of_half_the_bytes(self):
        small = self.folder / "small.lorac"
        LORAC.ok("compile", BIAS, "-o", small, "--max-context", 96, "--cache", "f16")
        bytes_of = [json.loads(LORAC.ok("inspect", file, "--json"))["cache_bytes"] for file in (self.model, small)]
        self.assertEqual(bytes_of[0], 2 * bytes_of[1])
        logits = []
        for file in self.model, small:
            LORAC.run_json(file, "--tokens", "5,6,7,8,9,10,11,12", "--max-tokens", 0, "--logits", self.folder / "cache.npy")
            logits.append(harness.read_npy(self.folder / "cache.npy")[2])
        error = max(abs(a - b) for a, b in zip(*logits)) / max(map(abs, logits[0]))
        self.assertTrue(0 < error < 2e-2, error)

    def test_full_stdout(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([LORAC.program, "run", self.model, "--tokens", "5", "--max-tokens", "2", "--print-tokens"],
                                    stdout=full, stderr=subprocess.PIPE, text=True, env=LORAC.environment)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith("lorac: error: standard output: "), result.stderr)

    def test_inspect(self):
        model = json.loads(LORAC.ok("inspect", self.model, "--json"))
        self.assertEqual((model["kind"], model["max_context"], model["eos_ids"], model["tokenizer"]), ("model", 96, [2, 3], False))
        overhead = model["code_bytes"] + model["metadata_bytes"]
        padding = model["file_bytes"] - model["weight_bytes"] - overhead
        self.assertEqual(model["file_bytes"], self.model.stat().st_size)
        self.assertTrue(0 <= padding < 4096, padding)  # the header, and zeros up to a page of weights
        # A count that gates: it was 420 KiB while each kernel numbered its ids by itself and the metadata lay uncompressed.
        self.assertLess(overhead + padding, model["file_bytes"] / 1000 + (64 << 10))
        bundle = json.loads(LORAC.ok("inspect", self.bundles["all-r8"], "--json"))
        self.assertEqual(bundle["fingerprints"], [model["fingerprint"]])
        self.assertEqual((bundle["name"], bundle["bound_by_user"]), ("all-r8", True))
        self.assertIn("verified: ", LORAC.ok("inspect", self.model, "--verify"))
        plan = LORAC.ok("inspect", self.model, "--plan")
        for program in model["programs"]:
            self.assertIn(program["name"], plan)

    def test_adapter_says_how_each_part_was_treated(self):
        arguments = ["adapter", BIAS / "adapters" / "rslora-patterns", "--base", self.model, "-o", self.folder / "t.lora"]
        told = json.loads(LORAC.ok(*arguments, "--json", "--name", "mine", "--version", "7"))
        # As it was saved, unless asked.
        self.assertEqual((told["name"], told["version"], told["type"]), ("mine", "7", "f32"))
        self.assertEqual(json.loads(LORAC.ok(*arguments, "--json", "--dtype", "f16"))["type"], "f16")
        config = json.loads((BIAS / "adapters" / "rslora-patterns" / "adapter_config.json").read_text())
        items = " ".join(treatment["item"] for treatment in told["treatments"])
        for key in config:
            self.assertIn(key, items)
        for name in harness.read_safetensors(BIAS / "adapters" / "rslora-patterns" / "adapter_model.safetensors"):
            self.assertIn(name, items)
        self.assertLessEqual({treatment["verdict"] for treatment in told["treatments"]}, {"honoured", "folded", "dropped"})
        self.assertIn("bound by your word", LORAC.ok(*arguments))

    def test_devices(self):
        for device in json.loads(LORAC.ok("devices", "--json"))["devices"]:
            self.assertRegex(device["device"], r"^vulkan:\d+$")
        self.assertIn("vulkan:0", LORAC.ok("devices"))


    def test_a_link_is_followed(self):
        target, link = self.folder / "target.npy", self.folder / "link.npy"
        link.symlink_to("target.npy")
        for _ in range(2):  # made, then replaced
            self.run_tokens("--logits", link)
            self.assertTrue(link.is_symlink())
            self.assertEqual(target.read_bytes()[:6], b"\x93NUMPY")

    def test_tokens_without_a_tokenizer(self):
        result = LORAC.call("run", self.model, "--tokens", "1,2", "--max-tokens", 2)
        self.assertEqual((result.returncode, result.stdout), (0, ""))
        self.assertIn("has no tokenizer, so the new tokens are no text; --print-tokens prints their ids", result.stderr)


class Json(Case):
    def check(self, object, command):
        """Every key of an object is one that the command's help names."""
        told = LORAC.ok(command, "--help")

        def keys(value, outer):
            if isinstance(value, dict):
                for key, inner in value.items():
                    self.assertTrue(outer == "dispatches_by_kernel" or f'"{key}"' in told, f"{command}: {key}")
                    keys(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    keys(inner, outer)
        self.assertGreater(len(object), 0)
        keys(object, "")

    def test_help_names_the_keys(self):
        bundle = self.folder / "json.lora"
        self.check(json.loads(LORAC.ok("compile", BIAS, "-o", self.folder / "json.lorac", "--json")), "compile")
        self.check(json.loads(LORAC.ok("adapter", BIAS / "adapters" / "all-r8", "--base", self.model, "-o", bundle, "--json")), "adapter")
        self.check(json.loads(LORAC.ok("inspect", self.model, "--json")), "inspect")
        self.check(json.loads(LORAC.ok("inspect", bundle, "--json")), "inspect")
        self.check(json.loads(LORAC.ok("devices", "--json")), "devices")
        self.check(LORAC.run_json(self.model, "--adapter", bundle, "--tokens", "1,2", "--max-tokens", 2, "--stats"), "run")


class Batch(Case):
    def requests(self, lines, *options):
        path = self.folder / "requests.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
        output = LORAC.ok("run", self.model, "--batch", path, *options)
        return [json.loads(line) for line in output.splitlines()]

    def test_rows_of_the_same_steps_give_what_each_gives_alone(self):
        stacks = [[], [("all-r8", 1)], [("qv-r4", 2)], [("all-r8", 0.5), ("rslora-patterns", -0.75)]]
        lines, alone = [], []
        for length in 1, 7, 40:
            for stack in stacks:
                tokens = [(11 * length + 7 * i) % 384 for i in range(length)]
                lines.append({"tokens": tokens, "max_tokens": 20, "ignore_eos": True,
                              "adapters": [{"path": str(self.bundles[name]), "strength": strength} for name, strength in stack]})
                flags = [flag for name, strength in stack for flag in ("--adapter", f"{self.bundles[name]}={strength}")]
                alone.append(LORAC.run_json(self.model, "--tokens", ",".join(map(str, tokens)), "--max-tokens", 20, "--ignore-eos",
                                            *flags)["tokens"])
        for options in [], ["--max-rows", 16], ["--max-rows", 3]:
            results = self.requests(lines, *options)
            self.assertEqual([result["index"] for result in results], list(range(len(lines))))
            self.assertEqual([result["tokens"] for result in results], alone)
            self.assertEqual({result["finish"] for result in results}, {"length"})

    def test_a_bad_request_stops_no_other(self):
        good = {"tokens": [5, 6], "max_tokens": 3, "ignore_eos": True}
        bad = ["not JSON", "[1]", {}, {"tokens": []}, {"tokens": [384]}, {"tokens": [1], "prompt": "x"}, {"tokens": [1], "colour": 1},
               {"tokens": [1], "max_tokens": -1}, {"tokens": [1.5]}, {"tokens": [1], "temperature": -1}, {"prompt": "no tokenizer"},
               {"chat": "no template"}, {"tokens": [1] * 200}, {"tokens": [1], "max_tokens": 1000}, {"tokens": [1], "system": "x"},
               {"tokens": [1], "adapters": [{"path": str(self.folder / "nowhere.lora")}]}, {"tokens": [1], "adapters": [{"strength": 1}]},
               {"tokens": [1], "adapters": [{"path": str(self.model)}]}, '{"tokens": [1], "adapters": [{"path": "x", "strength": 1e999}]}', '{"tokens": [1], "temperature": 1e400}']
        lines = [good] + [line for request in bad for line in (request, good)]
        results = self.requests(lines)
        self.assertEqual([result["index"] for result in results], list(range(len(lines))))
        for index, result in enumerate(results):
            if index % 2 == 0:
                self.assertEqual((result["tokens"], result["finish"]), (results[0]["tokens"], "length"))
            else:
                self.assertEqual((result["tokens"], result["finish"]), ([], "error"), lines[index])
                self.assertTrue(result["error"], lines[index])
        self.assertEqual(len(results[0]["tokens"]), 3)
        self.assertIn("holds a number beyond f64", results[-2]["error"])

    def test_options_are_the_defaults_of_lines(self):
        results = self.requests([{"tokens": [5, 6, 7, 8]}, {"tokens": [5, 6, 7, 8], "max_tokens": 2}, "", {"tokens": [5, 6, 7, 8], "adapters": []}],
                                "--max-tokens", 12, "--ignore-eos", "--adapter", self.bundles["all-r8"])
        stacked = self.run_tokens("--adapter", self.bundles["all-r8"])
        self.assertEqual([result["tokens"] for result in results], [stacked, stacked[:2], self.run_tokens()])

    def test_start_and_pipeline_cache(self):
        """Where the time to the first token goes; where pipelines are kept."""
        def run(*options, **environment):
            result = LORAC.call("run", self.model, "--tokens", "5,6", "--max-tokens", 2, "--ignore-eos", "--stats", "--json", *options,
                                environment=environment)
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)["stats"]
        chosen = self.folder / "chosen"
        stats = run("--pipeline-cache", chosen)
        start = stats["start_seconds"]
        self.assertEqual(sorted(start), ["driver", "file", "own", "pipelines", "tokenizer", "total", "weights"])
        self.assertTrue(all(seconds >= 0 for seconds in start.values()), start)
        self.assertGreater(start["pipelines"], 0)
        self.assertAlmostEqual(start["total"], start["file"] + start["driver"] + start["pipelines"] + start["own"], places=6)
        self.assertGreaterEqual(start["own"], start["tokenizer"] + start["weights"])
        self.assertEqual(stats["pipeline_cache_bytes"], 0)
        self.assertEqual(len(list(chosen.iterdir())), 1)
        self.assertGreater(run("--pipeline-cache", chosen)["pipeline_cache_bytes"], 0)
        for variable, place in (("LORAC_PIPELINE_CACHE", "a"), ("XDG_CACHE_HOME", "b/lorac"), ("HOME", "c/.cache/lorac")):
            folder = self.folder / "caches"
            without = {name: value for name, value in LORAC.environment.items() if name not in ("LORAC_PIPELINE_CACHE", "XDG_CACHE_HOME")}
            kept, LORAC.environment = LORAC.environment, without
            try:
                run(**{variable: str(folder / place.split("/")[0])})
                self.assertEqual([path.relative_to(folder / place).name[:7] for path in (folder / place).iterdir()], ["vulkan-"])
                shutil.rmtree(folder)
                run("--pipeline-cache", "", **{variable: str(folder / place.split("/")[0])})
                run(**{"LORAC_PIPELINE_CACHE": "", **({variable: str(folder / place.split("/")[0])} if variable[0] != "L" else {})})
                self.assertFalse(folder.exists())
            finally:
                LORAC.environment = kept

    def test_stats(self):
        path = self.folder / "requests.jsonl"
        path.write_text('{"tokens": [5, 6, 7], "max_tokens": 4, "ignore_eos": true}\n' * 5)
        result = LORAC.call("run", self.model, "--batch", path, "--stats", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        stats = json.loads(result.stderr)["stats"]
        self.assertEqual((stats["requests"], stats["prompt_tokens"], stats["new_tokens"], stats["steps"]), (5, 15, 20, 4))

    def test_nothing_to_run(self):
        self.assertEqual(self.requests([]), [])
        self.assertEqual(self.requests(["x"])[0]["finish"], "error")


def main():
    global LORAC
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    arguments, rest = parser.parse_known_args()
    LORAC = harness.Lorac(arguments.lorac)
    unittest.main(argv=[sys.argv[0], *rest])


main()
