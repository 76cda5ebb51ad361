#!/usr/bin/env python3
"""A chain gives the bits of its links: chains.py --lorac PROGRAM

Logits of prompts in steps of one, few and many rows and of what is decoded after them, with an adapter and without: the
same bytes whether chains are run or denied, whatever number of threads lavapipe has (0: each group runs to its end before
the next begins; 3: more than this test asks cores for). On a driver that runs no chains that is all the same, and says
so: which drivers do is checked too."""
import argparse
import json
import pathlib
import re

import harness

LONG = ",".join(map(str, range(3, 43)))
# A program that is to run less than 8 times runs no chain; steps of 3 rows are 13 of the long prompt.
PROMPTS = ("5",), ("5,6,7",), (LONG,), (LONG, "--max-rows", 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    lorac = harness.Lorac(parser.parse_args().lorac)
    checks = harness.Checks()

    with harness.temporary_folder() as name:
        folder = pathlib.Path(name)
        for golden in "llama-tied", "llama-bias-rope3", "llama-odd":
            checkpoint, model, bundle = harness.GOLDENS / golden, folder / f"{golden}.lorac", folder / f"{golden}.lora"
            layers = json.loads((checkpoint / "config.json").read_text())["num_hidden_layers"]
            lorac.ok("compile", checkpoint, "-o", model)
            lorac.ok("adapter", checkpoint / "adapters" / "all-r8", "--base", model, "-o", bundle)

            def logits(device, threads, prompt, options):
                file = folder / "logits.npy"
                lorac.environment.pop("LP_NUM_THREADS", None)
                if threads is not None:
                    lorac.environment["LP_NUM_THREADS"] = threads
                out = lorac.run_json(model, "--device", device, "--tokens", *prompt, "--max-tokens", 12, "--ignore-eos", "--stats",
                                     "--logits", file, *options)
                return file.read_bytes(), out["stats"]

            for options in [], ["--adapter", bundle]:
                for prompt in PROMPTS:
                    expected, apart = logits("auto,deny=chains", None, prompt, options)
                    checks.expect("chain" not in apart["dispatches_by_kernel"] or apart["dispatches_by_kernel"]["chain"] == 0,
                           f"{golden}: runs chains that are denied")
                    for threads in None, "0", "1", "3":
                        bits, stats = logits("auto", threads, prompt, options)
                        what = f"{golden}, prompt {' '.join(map(str, prompt))}, {len(options) // 2} adapters, threads {threads}"
                        checks.expect(bits == expected, f"{what}: other logits with chains than without")
                        version = re.search(r"llvmpipe.*Mesa (\d+)", stats["device"])
                        # The last layer gathers rows, so that two layers are no repeat.
                        runs = version and int(version[1]) >= 25 and layers > 2
                        checks.expect((stats["dispatches_by_kernel"]["chain"] > 0) == bool(runs),
                               f"{what}: {stats['dispatches_by_kernel']['chain']} chains on {stats['device']}")
    checks.finish()


main()
