#!/usr/bin/env python3
"""Counts are gates: counters.py --lorac PROGRAM

Without adapters: no adapter dispatch and no adapter byte. With any stack: at most 2 more dispatches a layer, the
shrinks of o and down (those of q/k/v, gate/up and the head ride on norms); one where heads are multiples of 32, since
o's rides on attend there, but for the last layer, whose rows are gathered in between. The base: 8 a layer, 7 where the
linear of q, k and v rotates them, beside what stands outside the layers (embedding, two gathers, last norm, head). A
program with adapters has the head twice, of which a step runs one.

These are the dispatches as they stand in the programs. Where a device runs chains, the same steps take fewer."""
import argparse
import json
import pathlib

import harness

OUTSIDE = 5          # embed, two gathers, the last norm, the head
BASE_A_LAYER = 8
ADAPTERS_A_LAYER = 2
SECOND_HEAD = 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    lorac = harness.Lorac(parser.parse_args().lorac)
    checks = harness.Checks()

    with harness.temporary_folder() as name:
        folder = pathlib.Path(name)
        for golden in "llama-tied", "llama-bias-rope3", "llama-odd":
            checkpoint, model = harness.GOLDENS / golden, folder / f"{golden}.lorac"
            config = json.loads((checkpoint / "config.json").read_text())
            layers = config["num_hidden_layers"]
            rotates = (config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]) % 32 == 0
            base_most = (BASE_A_LAYER - rotates) * layers + OUTSIDE
            adapters_most = (ADAPTERS_A_LAYER - rotates) * layers + rotates
            lorac.ok("compile", checkpoint, "-o", model)
            bundles = []
            for adapter in "all-r8", "qv-r4", "rslora-patterns":
                bundles.append(folder / f"{golden}-{adapter}.lora")
                lorac.ok("adapter", checkpoint / "adapters" / adapter, "--base", model, "-o", bundles[-1])

            programs = {}
            for program in json.loads(lorac.ok("inspect", model, "--json"))["programs"]:
                programs[program["rows_min"], program["rows_max"], program["adapters"]] = program["dispatches"]
            checks.expect(len(programs) >= 6, f"{golden}: {len(programs)} programs, expected one, few and many rows, adapters off and on")
            for (low, high, adapters), count in programs.items():
                off = programs.get((low, high, False), 0)
                checks.expect(off <= base_most,
                       f"{golden} rows {low} to {high}: {off} dispatches for {layers} layers")
                if adapters:
                    checks.expect(off < count <= off + adapters_most + SECOND_HEAD,
                           f"{golden} rows {low} to {high}: adapters cost {count - off} dispatches for {layers} layers")

            for prompt in "5", "5,6,7", ",".join(map(str, range(3, 43))):
                def stats(*options):
                    return lorac.run_json(model, "--tokens", prompt, "--max-tokens", 4, "--ignore-eos", "--stats", *options)["stats"]

                def plain(*options):
                    return stats("--device", "auto,deny=chains", *options)

                base = plain()
                checks.expect(base["adapter_dispatches"] == 0, f"{golden}: the base makes {base['adapter_dispatches']} adapter dispatches")
                checks.expect(base["adapter_bytes"] == 0, f"{golden}: the base moves {base['adapter_bytes']} adapter bytes")
                checks.expect(base["dispatches"] <= base["steps"] * base_most,
                       f"{golden}: {base['dispatches']} dispatches in {base['steps']} steps of {layers} layers")
                for stack in bundles[:1], bundles[1:2], bundles:
                    with_stack = plain(*[flag for bundle in stack for flag in ("--adapter", bundle)])
                    more = with_stack["dispatches"] - base["dispatches"]
                    checks.expect(with_stack["steps"] == base["steps"] and
                           0 < more <= base["steps"] * adapters_most,
                           f"{golden}: a stack of {len(stack)} makes {more} more dispatches in {base['steps']} steps")
                    checks.expect(0 < with_stack["adapter_dispatches"] <= more, f"{golden}: {with_stack['adapter_dispatches']} adapter dispatches")
                    checks.expect(with_stack["adapter_bytes"] > 0, f"{golden}: a stack moves no adapter byte")
                    checks.expect(with_stack["weight_bytes"] == base["weight_bytes"], f"{golden}: a stack moves weight bytes")
                out = plain("--adapter", f"{bundles[0]}=0")
                checks.expect(out["adapter_dispatches"] == 0, f"{golden}: strength 0 makes {out['adapter_dispatches']} adapter dispatches")
                for options in [], ["--adapter", bundles[0]]:
                    chained, apart = stats(*options), plain(*options)
                    chains = chained["dispatches_by_kernel"].get("chain", 0)
                    checks.expect(chained["dispatches"] < apart["dispatches"] if chains else chained["dispatches"] == apart["dispatches"],
                           f"{golden}: {chained['dispatches']} dispatches, {chains} of them chains, in place of {apart['dispatches']}")
    checks.finish()


main()
