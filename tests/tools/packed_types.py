#!/usr/bin/env python3
"""Packed types end to end: packed_types.py --lorac PROGRAM

Two models hold every kind of packed type, site by site. Their logits match those of an f32 model over the dequantized weights, which this
script computes itself from the types' definitions (docs/formats/packed.md); the table of
`compile --json` tells bits a weight and the error that the definitions give; what cannot be packed is refused in one line."""
import argparse
import array
import json
import math
import pathlib
import re
import struct

import harness

BOUND = 2e-2  # of the largest logit, as for f16; what is measured lies far below
PROMPT = "259,129,92,249,14,124,59,7,300"
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495,
       0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
       0.7229568362236023, 1.0]
FP4 = [sign * twelfth / 12 for sign in (1, -1) for twelfth in (0, 0.0625, 8, 12, 4, 6, 2, 3)]
MODELS = {
    "integers": ["int8", "model.embed_tokens=int8-row", "model.layers.0.*=int4", "model.layers.1.*=int4-offset", "layers.2.mlp.*=int4-zero", "lm_head=int8"],
    "tables": ["nf4-g32", "model.layers.1.*=nf4-g32-double", "model.layers.2.self_attn.*=fp4-g32", "model.embed_tokens=fp4", "lm_head=bf16"],
}


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def f16(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def bf16(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16))[0]


def away(value):
    """The nearest whole number, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def clamp(value, low, high):
    return max(low, min(high, value))


def nearest(table, values, scale):
    order = sorted(range(16), key=lambda i: table[i])
    middles = [f32((f32(table[a]) + f32(table[b])) / 2) for a, b in zip(order, order[1:])]
    return [f32(table[order[sum(f32(v / scale) > m for m in middles)]]) if scale else 0.0 for v in values]


def dynamic_map(goldens):
    dtype, _, data = harness.read_safetensors(goldens / "packed" / "packed.safetensors")["bnb.nf4.64x128.b64.double.nested_map"]
    return harness.floats(dtype, data)


def dequantized(name, values, columns, mapped):
    """The values that `values`, rows of `columns`, become as the type of that name."""
    code, _, rest = name.partition("-")
    if code == "bf16":
        return [bf16(v) for v in values]
    group = columns if rest == "row" else next((int(word[1:]) for word in rest.split("-") if word.startswith("g")), {"nf4": 64, "fp4": 64}.get(code, 32))
    out, blocks = [], []
    for at in range(0, len(values), group):
        part = values[at:at + group]
        largest = max(map(abs, part))
        if code in ("nf4", "fp4"):
            blocks.append((f32(largest), nearest(NF4 if code == "nf4" else FP4, part, largest)))
            continue
        if code == "int8":
            d = f32(largest / 127)
            codes = [clamp(away(f32(v * f32(1 / d))), -127, 127) for v in part]
            d = d if rest == "row" else f16(d)
            out += [f32(d * q) for q in codes]
        elif "offset" in rest:
            low = min(part)
            d = f32(f32(max(part) - low) / 15)
            codes = [clamp(int(f32(f32(f32(v - low) * f32(1 / d)) + 0.5)), 0, 15) for v in part]
            out += [f32(f16(d) * q + f16(low)) for q in codes]
        elif "zero" in rest:
            low, high = min(0, *part), max(0, *part)
            d = f16(f32(f32(high - low) / 15))
            zero = clamp(away(f32(-low * f32(1 / d))), 0, 15)
            out += [f32(d * (clamp(away(f32(v * f32(1 / d))) + zero, 0, 15) - zero)) for v in part]
        else:
            d = f32(max(part, key=abs) / -8)
            out += [f32(f16(d) * (clamp(int(v * f32(1 / d) + 8.5), 0, 15) - 8)) for v in part]
    scales = [scale for scale, _ in blocks]
    if "double" in rest:
        offset = f32(sum(scales) / len(scales))
        for at in range(0, len(scales), 256):
            part = [f32(s - offset) for s in scales[at:at + 256]]
            most = max(map(abs, part))
            coded = [min(mapped, key=lambda m: abs(m - f32(s / most))) for s in part]
            scales[at:at + 256] = [f32(f32(m * most) + offset) for m in coded]
    for scale, (_, entries) in zip(scales, blocks):
        out += [f32(scale * entry) for entry in entries]
    return out


def covers(row, site):
    """Whether a row of the table is of a site: its numbers may be * or a list such as 0-3,7."""
    parts, names = row.split("."), site.split(".")
    numbers = lambda text: [range(int(a), int(b or a) + 1) for a, _, b in (item.partition("-") for item in text.split(","))]
    return len(parts) == len(names) and all(
        part == name or name.isdigit() and (part == "*" or any(int(name) in span for span in numbers(part)))
        for part, name in zip(parts, names))


class PackedTypes(harness.Checks):
    def __init__(self, lorac, folder):
        self.lorac, self.folder = lorac, pathlib.Path(folder)
        super().__init__()

    def logits(self, model, *options):
        path = self.folder / "logits.npy"
        tokens = self.lorac.run_json(model, "--tokens", PROMPT, "--max-tokens", 6, "--ignore-eos", "--logits", path, *options)["tokens"]
        return tokens, harness.read_npy(path)[2]

    def rule_of(self, rules, site):
        """As the command line has it: the last rule that matches the site, or the weight that it ties."""
        names, chosen = [site] + (["model.embed_tokens"] if site == "lm_head" else []), None
        for rule in rules:
            pattern, _, name = rule.rpartition("=")
            wanted = re.compile(r"(?:.*\.)?" + re.escape(pattern or "*").replace(r"\*", ".*"))
            if any(wanted.fullmatch(n) for n in names):
                chosen = name
        return chosen

    def compare(self, name, rules, mapped):
        source = harness.GOLDENS / "llama-tied"
        model, plain = self.folder / f"{name}.lorac", self.folder / f"{name}.f32.lorac"
        options = [option for rule in rules for option in ("--quantize", rule)]
        report = json.loads(self.lorac.ok("compile", source, "-o", model, "--max-rows", 1, *options, "--json"))

        # The dequantized copy is untied, as the packed model is.
        copy = harness.copy_tree(source, self.folder / name)
        config = json.loads((copy / "config.json").read_text())
        config["tie_word_embeddings"] = False
        (copy / "config.json").write_text(json.dumps(config))
        tensors, errors = {}, {}
        stored = harness.read_safetensors(source / "model.safetensors")
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
        for tensor, (dtype, shape, data) in stored.items():
            values = harness.floats(dtype, data)
            if len(shape) == 2:
                site = tensor.removesuffix(".weight")
                made = dequantized(self.rule_of(rules, site), values, shape[1], mapped)
                errors[site] = math.sqrt(sum((a - b) ** 2 for a, b in zip(values, made)) / sum(v * v for v in values))
                values = made
            tensors[tensor] = ("F32", shape, array.array("f", values).tobytes())
        harness.write_safetensors(copy / "model.safetensors", tensors)
        self.lorac.ok("compile", copy, "-o", plain, "--max-rows", 1, "--quantize", "f32")

        tokens, got = self.logits(model)
        wanted_tokens, wanted = self.logits(plain)
        error = max(abs(a - b) for a, b in zip(got, wanted)) / max(map(abs, wanted))
        print(f"{name}: logits within {error:.1e} of f32 over the dequantized weights")
        self.expect(error <= BOUND, f"{name}: logits differ by {error:.2e} from f32 over the dequantized weights")
        self.expect(error <= 1e-4, f"{name}: the kernels' values are not the definition's: {error:.2e}")
        self.expect(tokens == wanted_tokens, f"{name}: other tokens than over the dequantized weights")
        for site, error in errors.items():
            rows = [row for row in report["storage"] if covers(row["matrices"], site)]
            self.expect(len(rows) == 1 and abs(rows[0]["relative_error"] - error) <= 0.3 * error,
                        f"{name}: {site} has error {error:.3e}, the table says {rows}")
        [table] = [row for row in report["storage"] if row["matrices"] == "model.embed_tokens"]
        self.expect(table["bits_per_weight"] == (8.5 if name == "integers" else 4.5), f"{name}: {table}")

    def refuse(self, rules, message):
        """One line, and nothing is written."""
        output = self.folder / "refused.lorac"
        options = [option for rule in rules for option in ("--quantize", rule)]
        result = self.lorac.call("compile", harness.GOLDENS / "llama-tied", "-o", output, *options)
        lines = result.stderr.strip().splitlines()
        self.expect(result.returncode == 1 and len(lines) == 1 and message in lines[0], f"{rules}: exit {result.returncode}: {lines}")
        self.expect(not output.exists(), f"{rules}: something was written")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lorac", required=True)
    arguments = parser.parse_args()
    lorac = harness.Lorac(arguments.lorac)
    with harness.temporary_folder() as folder:
        checks = PackedTypes(lorac, folder)
        mapped = dynamic_map(harness.GOLDENS)
        for name, rules in MODELS.items():
            checks.compare(name, rules, mapped)
        checks.refuse(["nf4"], "groups of 64 do not divide rows of 160 values; groups that do: 32")
        checks.refuse(["int4-g256"], "groups of 256 are not possible, int4 has 32, 64, and 128")
        checks.refuse(["int3"], "unknown type 'int3', expected f32, f16")
        checks.refuse(["nothing.*=int8"], "the pattern matches no site and no matrix of the model, which are named like model.embed_tokens, lm_head, "
                      "model.layers.0.self_attn.q_proj, ")
        checks.refuse(["int8-double"], "double quantization belongs to nf4 and fp4")
        checks.finish()


if __name__ == "__main__":
    main()
