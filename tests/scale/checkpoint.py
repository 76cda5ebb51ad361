"""Synthetic Llama checkpoints of any size: a Hugging Face folder whose tensors are seeded values or holes of a sparse file.

A hole is a tensor of zeros that takes no room on the disk: a layer of holes passes its input on, costs what any other costs, and lets
an independent model of the few real layers say what the whole must give. Run alone, it writes one shape of SHAPES:
    checkpoint.py --shape llama-1.1b --out FOLDER [--dtype F16|BF16|F32] [--layers N] [--real-layers 0,11,21]"""
import argparse
import dataclasses
import json
import os
import pathlib
import struct
import zlib

from packages import numpy

PERIOD = 1048573  # prime, so no two rows of a matrix are the same values
AMPLITUDE = 0.035  # values are uniform in +-AMPLITUDE: a deviation of 0.02, as such models are initialised with


@dataclasses.dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    positions: int = 2048
    tied: bool = False
    theta: float = 10000.0
    epsilon: float = 1e-5

    def tensors(self):
        """{name: shape}, in the order of the file."""
        head = self.hidden // self.heads
        table = {"model.embed_tokens.weight": (self.vocab, self.hidden)}
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            table[at + "input_layernorm.weight"] = (self.hidden,)
            table[at + "self_attn.q_proj.weight"] = (self.hidden, self.hidden)
            table[at + "self_attn.k_proj.weight"] = (self.kv_heads * head, self.hidden)
            table[at + "self_attn.v_proj.weight"] = (self.kv_heads * head, self.hidden)
            table[at + "self_attn.o_proj.weight"] = (self.hidden, self.hidden)
            table[at + "post_attention_layernorm.weight"] = (self.hidden,)
            table[at + "mlp.gate_proj.weight"] = (self.intermediate, self.hidden)
            table[at + "mlp.up_proj.weight"] = (self.intermediate, self.hidden)
            table[at + "mlp.down_proj.weight"] = (self.hidden, self.intermediate)
        table["model.norm.weight"] = (self.hidden,)
        if not self.tied:
            table["lm_head.weight"] = (self.vocab, self.hidden)
        return table

    def parameters(self):
        return sum(numpy.prod(shape, dtype=numpy.int64) for shape in self.tensors().values())


SHAPES = {
    "llama-1.1b": Shape(hidden=2048, layers=22, heads=32, kv_heads=4, intermediate=5632, vocab=32000),
    "head-128k": Shape(hidden=2048, layers=2, heads=32, kv_heads=4, intermediate=5632, vocab=128256, tied=True),
}


class Checkpoint:
    """What was written, and its values again for a reference: nothing of it is kept in memory."""

    def __init__(self, folder, shape, dtype, real_layers, amplitude=AMPLITUDE):
        self.folder, self.shape, self.dtype = pathlib.Path(folder), shape, dtype
        self.real_layers, self.amplitude = sorted(real_layers), amplitude

    def is_real(self, name):
        return not name.startswith("model.layers.") or int(name.split(".")[2]) in self.real_layers

    def values(self, name):
        """float32 values of a real tensor, as the file holds them."""
        shape = self.shape.tensors()[name]
        if len(shape) == 1:
            return numpy.ones(shape, dtype=numpy.float32)
        generator = numpy.random.Generator(numpy.random.PCG64(zlib.crc32(name.encode())))
        block = generator.uniform(-self.amplitude, self.amplitude, PERIOD).astype(numpy.float32)
        if self.dtype == "F16":
            block = block.astype(numpy.float16).astype(numpy.float32)
        elif self.dtype == "BF16":
            block = (block.view(numpy.uint32) & 0xffff0000).view(numpy.float32)
        return numpy.resize(block, shape)

    def stored(self, name):
        values = self.values(name)
        if self.dtype == "F16":
            return values.astype("<f2")
        if self.dtype == "BF16":
            return (values.view(numpy.uint32) >> 16).astype("<u2")
        return values.astype("<f4")


def write(folder, shape, dtype="F16", real_layers=(0,), amplitude=AMPLITUDE):
    """Writes config.json and model.safetensors into `folder`, which it makes."""
    checkpoint = Checkpoint(folder, shape, dtype, real_layers, amplitude)
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": shape.hidden,
              "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
              "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocab, "max_position_embeddings": shape.positions,
              "rms_norm_eps": shape.epsilon, "rope_theta": shape.theta, "tie_word_embeddings": shape.tied,
              "bos_token_id": 1, "eos_token_id": 2}
    (checkpoint.folder / "config.json").write_text(json.dumps(config, indent=1))
    width = {"F16": 2, "BF16": 2, "F32": 4}[dtype]
    header, end = {}, 0
    for name, size in shape.tensors().items():
        begin, end = end, end + int(numpy.prod(size, dtype=numpy.int64)) * width
        header[name] = {"dtype": dtype, "shape": list(size), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(checkpoint.folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        start = file.tell()
        os.truncate(file.fileno(), start + end)
        for name in filter(checkpoint.is_real, header):
            file.seek(start + header[name]["data_offsets"][0])
            file.write(memoryview(checkpoint.stored(name)).cast("B"))
    return checkpoint


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--dtype", choices=["F16", "BF16", "F32"], default="F16")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--real-layers", default="0")
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    if arguments.layers:
        shape = dataclasses.replace(shape, layers=arguments.layers)
    write(arguments.out, shape, arguments.dtype, {int(layer) for layer in arguments.real_layers.split(",")})
    print(f"{arguments.out}: {shape.parameters()} parameters as {arguments.dtype}")


if __name__ == "__main__":
    main()
