#!/usr/bin/env python3
"""Compiles golden models and their adapters and gives them to the program mixed_batches (MixedBatches.cpp):
mixed_batches.py --lorac PROGRAM --program MIXED_BATCHES"""
import argparse
import pathlib
import subprocess

import harness

ADAPTERS = ["all-r8", "qv-r4", "rslora-patterns", "odd-r5-lora-bias", "layer1-only-r16", "regex-target-r70"]
ON_THE_HEAD = "head-r4"  # steps with it compute the head by another dispatch than steps without; a tied golden has none
RUNS = [("llama-bias-rope3", "f16", []), ("llama-odd", "f32", []), ("llama-tied", "f16", ["texel"]), ("llama-odd", "f16", ["subgroup"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--program", required=True)
    arguments = parser.parse_args()
    lorac, checks = harness.Lorac(arguments.lorac), harness.Checks()
    with harness.temporary_folder() as name:
        folder = pathlib.Path(name)
        for golden, storage, denied in RUNS:
            model = folder / "model.lorac"
            lorac.ok("compile", harness.GOLDENS / golden, "-o", model, "--quantize", storage)
            bundles = []
            for adapter in ADAPTERS + [ON_THE_HEAD] * (harness.GOLDENS / golden / "adapters" / ON_THE_HEAD).is_dir():
                bundles.append(folder / f"{adapter}.lora")
                lorac.ok("adapter", harness.GOLDENS / golden / "adapters" / adapter, "--base", model, "-o", bundles[-1])
            flags = [flag for feature in denied for flag in ("--deny", feature)]
            run = subprocess.run([arguments.program, *flags, model, *bundles], capture_output=True, text=True, env=lorac.environment)
            print(golden, storage, *denied)
            print("\n".join(run.stdout.splitlines()[-10:]), run.stderr)
            checks.expect(run.returncode == 0, f"{golden} {storage} {denied}: exit {run.returncode}")
    checks.finish()


main()
