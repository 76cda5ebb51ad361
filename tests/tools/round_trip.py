#!/usr/bin/env python3
"""The IR says all: round_trip.py --lorac PROGRAM

A second compilation and the compilation of each stage's dump give the same model file, byte for byte; --skip-pass fuse gives the same
logits within the storage type's bound, in more dispatches; a GGUF and its Hugging Face copy have one fingerprint and one result."""
import argparse
import array
import json
import pathlib
import struct

import harness

STAGES = ["import", "merge", "fuse", "quantize", "select", "plan-memory", "barriers"]
PROMPT = "259,129,92,249,14,124,59,7,300"


def gguf_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def write_gguf(path, folder):
    """llama-tied as a GGUF of F32 tensors: q and k rows permuted as llama.cpp's converter does, everything else as it stands."""
    config = json.loads((folder / "config.json").read_text())
    hidden, heads, kv_heads = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    u32, f32, text = 4, 6, 8
    keys = [("general.architecture", text, "llama"),
            ("llama.block_count", u32, config["num_hidden_layers"]),
            ("llama.context_length", u32, config["max_position_embeddings"]),
            ("llama.embedding_length", u32, hidden),
            ("llama.feed_forward_length", u32, config["intermediate_size"]),
            ("llama.attention.head_count", u32, heads),
            ("llama.attention.head_count_kv", u32, kv_heads),
            ("llama.attention.layer_norm_rms_epsilon", f32, config["rms_norm_eps"]),
            ("llama.rope.freq_base", f32, config["rope_parameters"]["rope_theta"]),
            ("llama.rope.dimension_count", u32, config["head_dim"]),
            ("llama.vocab_size", u32, config["vocab_size"])]
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
             "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for layer in range(config["num_hidden_layers"]):
        for source, target in parts.items():
            names[f"model.layers.{layer}.{source}.weight"] = f"blk.{layer}.{target}.weight"
    tensors = []
    for name, (dtype, shape, data) in harness.read_safetensors(folder / "model.safetensors").items():
        values = array.array("f", harness.floats(dtype, data))
        count = {"q_proj": heads, "k_proj": kv_heads}.get(name.split(".")[-2])
        if count:
            size, width = shape[0] // count, shape[1]
            permuted = array.array("f", bytes(len(values) * 4))
            for head in range(count):
                for i in range(size // 2):
                    for j in range(2):
                        target, source = head * size + 2 * i + j, head * size + j * size // 2 + i
                        permuted[target * width:(target + 1) * width] = values[source * width:(source + 1) * width]
            values = permuted
        tensors.append((names[name], shape, values.tobytes()))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, kind, value in keys:
        encoded = gguf_string(value) if kind == text else struct.pack({u32: "<I", f32: "<f"}[kind], value)
        head += gguf_string(key) + struct.pack("<I", kind) + encoded
    offset = 0
    for name, shape, data in tensors:
        head += gguf_string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", 0, offset)
        offset += (len(data) + 31) // 32 * 32
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % 32))
        for _, _, data in tensors:
            file.write(data + b"\0" * (-len(data) % 32))


class RoundTrip(harness.Checks):
    def __init__(self, lorac, folder):
        self.lorac, self.folder = harness.Lorac(lorac), pathlib.Path(folder)
        super().__init__()

    def compile(self, source, name, *options):
        target = self.folder / f"{name}.lorac"
        self.lorac.ok("compile", source, "-o", target, *options)
        return target

    def run(self, model, *options):
        """(tokens, logits, stats)"""
        logits = self.folder / "logits.npy"
        output = self.lorac.run_json(model, "--tokens", PROMPT, "--max-tokens", 8, "--ignore-eos", "--logits", logits, "--stats",
                                     *options)
        return output["tokens"], harness.read_npy(logits)[2], output["stats"]

    def dumps(self, name, stages, *options):
        checkpoint = harness.GOLDENS / name
        first = self.compile(checkpoint, "first", *options)
        second = self.folder / "second.lorac"
        flags = [flag for stage in stages for flag in ("--dump-ir-after", stage)]
        # The first took kernels from the tests' cache where it had them; this one compiles each.
        text = self.lorac.ok("compile", checkpoint, "-o", second, *options, *flags, environment={"LORAC_KERNEL_CACHE": ""})
        self.expect(first.read_bytes() == second.read_bytes(), f"{name} {options}: two compilations differ")
        parts = text.split("// ----- after ")[1:]
        self.expect([part.split("\n")[0] for part in parts] == stages, f"{name} {options}: not one dump a stage, in order")
        for stage, part in zip(stages, parts):
            dump = self.folder / f"{stage}.mlir"
            dump.write_text(part.split("\n", 1)[1], encoding="utf-8")
            # What the command line said stands in the dump.
            again = self.compile(dump, "again")
            self.expect(again.read_bytes() == first.read_bytes(), f"{name} {options}: the dump after {stage} gives another model")

    def unfused(self, name, storage, bound):
        fused = self.compile(harness.GOLDENS / name, "fused", "--quantize", storage)
        plain = self.compile(harness.GOLDENS / name, "plain", "--quantize", storage, "--skip-pass", "fuse")
        bundle = self.folder / "bundle.lora"
        self.lorac.ok("adapter", harness.GOLDENS / name / "adapters" / "all-r8", "--base", fused, "-o", bundle)
        for options in [], ["--adapter", bundle]:
            _, fused_logits, fused_stats = self.run(fused, *options)
            # The bundle was bound to the fused file: one bundle fits every file of its base.
            _, plain_logits, plain_stats = self.run(plain, *options)
            scale = max(map(abs, fused_logits))
            error = max(abs(a - b) for a, b in zip(fused_logits, plain_logits)) / scale
            self.expect(error <= bound, f"{name} {storage}: --skip-pass fuse changes logits by {error:.2e}")
            self.expect(plain_stats["dispatches"] > fused_stats["dispatches"], f"{name}: fuse saves no dispatch")

    def gguf(self):
        checkpoint = harness.GOLDENS / "llama-tied"
        source = self.folder / "tied.gguf"
        write_gguf(source, checkpoint)
        files = [self.compile(path, name, "--quantize", "f32", "--max-rows", "1") for name, path in [("hf", checkpoint), ("gguf", source)]]
        seen = [json.loads(self.lorac.ok("inspect", file, "--json")) for file in files]
        self.expect(seen[0]["fingerprint"] == seen[1]["fingerprint"], "a GGUF and its Hugging Face copy have two fingerprints")
        runs = [self.run(file) for file in files]
        self.expect(runs[0][1] == runs[1][1], "a GGUF and its Hugging Face copy give different logits")
        bundle = self.folder / "from-hf.lora"
        self.lorac.ok("adapter", checkpoint / "adapters" / "all-r8", "--base", files[0], "-o", bundle)
        stacked = [self.run(file, "--adapter", bundle) for file in files]
        self.expect(stacked[0][1] == stacked[1][1], "one bundle gives different logits over a GGUF and its copy")
        self.expect(stacked[0][1] != runs[0][1], "the bundle changes nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    arguments = parser.parse_args()
    with harness.temporary_folder() as folder:
        test = RoundTrip(arguments.lorac, folder)
        # One row at most: few kernels to compile, and every stage all the same.
        test.dumps("llama-tied", STAGES, "--max-rows", "1")
        test.dumps("llama-bias-rope3", ["import", "quantize", "barriers"], "--quantize", "f32", "--max-context", "128", "--max-rows", "16")
        test.unfused("llama-odd", "f16", 2e-2)
        test.unfused("llama-bias-rope3", "f32", 1e-4)
        test.gguf()
    test.finish()


if __name__ == "__main__":
    main()
