#!/usr/bin/env python3
"""Perplexity of SmolLM2 on a paragraph for each type that weights can be stored in: perplexity.py --lorac PROGRAM [--type T]...

Compiles the demo's model with --quantize T, has `lorac run --logits` write the logits of the paragraph's tokens (bench/perplexity.json has
them, and what transformers computes over the dequantized weights), and writes docs/perplexity.md. With --type only those are measured and
nothing is written. Exits 1 where as-stored is further than 0.5 % from the reference."""
import argparse
import array
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GGUF = ROOT / ".cache" / "SmolLM2-135M-Instruct.Q4_1.gguf"
REFERENCE = json.loads((ROOT / "bench" / "perplexity.json").read_text())
PAGE = ROOT / "docs" / "perplexity.md"
# Groups that divide SmolLM2's width of 576.
TYPES = ["as-stored", "f32", "f16", "bf16", "int8-row", "int8", "int8-g64", "int4", "int4-g64", "int4-offset", "int4-g64-offset", "int4-zero",
         "int4-g64-zero", "nf4", "nf4-g32", "nf4-double", "fp4", "fp4-double"]
BOUND = 0.005


class Refused(Exception):
    pass


def call(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip().splitlines()[0])
    return done.stdout


def rows_of(path):
    """Rows of a float32 .npy matrix."""
    raw = path.read_bytes()
    size = struct.unpack_from("<H", raw, 8)[0]
    shape = raw[10:10 + size].decode("ascii").split("(")[1].split(")")[0].split(",")
    width = int(shape[1])
    values = array.array("f")
    values.frombytes(raw[10 + size:])
    return [values[i * width:(i + 1) * width] for i in range(int(shape[0]))]


def mean_loss(rows, tokens):
    losses = []
    for row, token in zip(rows, tokens[1:]):
        largest = max(row)
        losses.append(math.log(math.fsum(math.exp(value - largest) for value in row)) + largest - row[token])
    return math.fsum(losses) / len(losses)


def measure(lorac, kind, folder):
    model, logits = folder / "m.lorac", folder / "l.npy"
    call(lorac, "compile", GGUF, "-o", model, "--quantize", kind, "--max-rows", 1)  # compiles the fewest kernels; bits are the same in all
    inspected = json.loads(call(lorac, "inspect", model, "--json"))
    call(lorac, "run", model, "--tokens", ",".join(map(str, REFERENCE["tokens"])), "--max-tokens", 0, "--logits", logits)
    return inspected["weight_bytes"], math.exp(mean_loss(rows_of(logits), REFERENCE["tokens"]))


def page(measured):
    lines = ["<!-- Made by bench/perplexity.py. -->", "# Perplexity by stored type", "",
             f"{REFERENCE['model']} on a paragraph of {len(REFERENCE['tokens'])} tokens (bench/perplexity.json). The reference,",
             f"{REFERENCE['computed']}, is **{REFERENCE['perplexity']:.4f}**.", "",
             "The checkpoint is already a 4-bit one: `as-stored` keeps its blocks, `f32` and the others start from their exact values, so that a",
             "4-bit type here is a second quantization, and of so small a model. All weights are stored in the type, the table that embedding and",
             "head share too; norms stay f32. One short text: differences of a percent say little.", "",
             "    python3 bench/perplexity.py --lorac build/dev/bin/lorac", "",
             "| `--quantize` | weights, MiB | perplexity | to the reference |", "| --- | --- | --- | --- |"]
    lines += [f"| `{kind}` | {size / 2**20:.1f} | {value:.4f} | {100 * (value / REFERENCE['perplexity'] - 1):+.2f} % |"
              for kind, (size, value) in measured.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--type", action="append", choices=TYPES)
    arguments = parser.parse_args()
    if not GGUF.exists():
        sys.exit(f"perplexity.py: {GGUF} is not there; scripts/demo.sh fetches it")
    measured, refused = {}, {}
    with tempfile.TemporaryDirectory(prefix="lorac-perplexity-") as folder:
        for kind in arguments.type or TYPES:
            try:
                measured[kind] = measure(arguments.lorac, kind, pathlib.Path(folder))
            except Refused as why:
                refused[kind] = str(why)
                print(f"{kind}: {why}", file=sys.stderr, flush=True)
                continue
            print(f"{kind}: {measured[kind][1]:.4f}", file=sys.stderr, flush=True)
    text = page(measured)
    if not arguments.type:
        PAGE.write_text(text)
    print(text)
    if refused:
        sys.exit(f"perplexity.py: not measured: {', '.join(refused)}")
    if "as-stored" in measured and abs(measured["as-stored"][1] / REFERENCE["perplexity"] - 1) > BOUND:
        sys.exit(f"perplexity.py: as-stored is {measured['as-stored'][1]:.4f}, further than {100 * BOUND} % from {REFERENCE['perplexity']:.4f}")


main()
