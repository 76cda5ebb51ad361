#!/usr/bin/env python3
"""Writes tests/fuzz/corpus anew, from the repository's goldens and tests: seeds.py --lorac LORAC --fuzz-seeds FUZZ_SEEDS

LORAC is the driver (its dumps are seeds of MLIR text), FUZZ_SEEDS the program of that name in the preset fuzz. What fuzzing found stays:
files whose name begins with "found-" are left as they are."""
import argparse
import json
import math
import pathlib
import re
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
MAX_MLIR = 6000  # bytes of one seed taken from a test


def write(corpus, name, content):
    path = corpus / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def safetensors(tensors, metadata=None):
    """tensors: (name, dtype, shape, bytes)"""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, values in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds(corpus):
    f32 = struct.pack("<8f", *range(8))
    write(corpus, "safetensors/f32", safetensors([("a.weight", "F32", [2, 4], f32)], {"format": "pt"}))
    write(corpus, "safetensors/types", safetensors([
        ("a", "F16", [4], struct.pack("<4e", 1, 2, 3, 4)), ("b", "BF16", [2, 2], bytes(8)), ("c", "I64", [1], bytes(8)),
        ("d", "BOOL", [3], bytes(3)), ("e", "F4", [2], bytes(1)), ("f", "F32", [], bytes(4)), ("g", "F32", [0, 7], b"")]))
    golden = TESTS / "goldens/llama-odd/adapters/trainable-tokens/adapter_model.safetensors"
    size = struct.unpack("<Q", golden.read_bytes()[:8])[0]
    header = json.loads(golden.read_bytes()[8:8 + size])
    header.pop("__metadata__", None)
    # The names and types of an adapter as PEFT saved it; one row of each tensor.
    rows = [(name, "F32", [1, 2], bytes(8)) for name in list(header)[:6]]
    write(corpus, "safetensors/adapter", safetensors(rows))


def checkpoint_seeds(corpus):
    """Of the shards and the model that SafetensorsIndex.cpp and Config.cpp have."""
    shards = {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}
    write(corpus, "safetensors-index/two-shards", json.dumps({"metadata": {"total_size": 48}, "weight_map": shards}))
    write(corpus, "safetensors-index/one-shard", json.dumps({"weight_map": {"c": "2.safetensors"}}))
    write(corpus, "safetensors-index/missing-shard", json.dumps({"weight_map": {**shards, "d": "3.safetensors"}}))
    write(corpus, "safetensors-index/elsewhere", json.dumps({"weight_map": {"a": "../1.safetensors"}}))
    model = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "num_hidden_layers": 1, "hidden_size": 8,
             "intermediate_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5, "max_position_embeddings": 64,
             "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "eos_token_id": [1, 2], "layer_types": ["full_attention"]}
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    write(corpus, "config/plain", json.dumps(model))
    write(corpus, "config/rope-of-4", json.dumps(dict(model, head_dim=4, rope_theta=500000.0, rope_scaling=scaling)))
    write(corpus, "config/rope-of-5", json.dumps(dict(model, rope_parameters=dict(scaling, rope_theta=10000.0))))
    write(corpus, "config/linear", json.dumps(dict(model, rope_scaling={"type": "linear", "factor": 2.0}, eos_token_id=1)))
    write(corpus, "config/biased", json.dumps(dict(model, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)))
    for path in sorted(TESTS.glob("goldens/llama-*/config.json")):
        write(corpus, f"config/{path.parent.name}", path.read_bytes())


def gguf_string(text):
    text = text.encode()
    return struct.pack("<Q", len(text)) + text


def gguf(keys, tensors, version=3):
    """keys: (name, type, packed value); tensors: (name, shape innermost first, ggml type, bytes)"""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, value in keys:
        out += gguf_string(name) + struct.pack("<I", kind) + value
    data = b""
    for name, shape, kind, values in tensors:
        out += gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", kind, len(data))
        data += values + bytes(-len(values) % 32)
    return out + bytes(-len(out) % 32) + data


U32, F32, STRING, ARRAY, BOOL, I32 = 4, 6, 8, 9, 7, 5


def strings(values):
    return struct.pack("<IQ", STRING, len(values)) + b"".join(gguf_string(value) for value in values)


def byte_letters():
    """The letters that stand for the 256 bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {byte: chr(byte) for byte in plain}, 256
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(extra)
            extra += 1
    return letters


def tiny_gguf(kind=0, tokenizer=True):
    """A Llama of one layer: hidden size 32, two heads, 24 tokens. kind: ggml's number of the matrices' type, F32 or Q8_0."""
    def matrix(rows, cols, at):
        values = [math.sin(at + i) * 0.1 for i in range(rows * cols)]
        if kind == 0:
            return struct.pack(f"<{len(values)}f", *values)
        blocks = b""
        for begin in range(0, len(values), 32):
            blocks += struct.pack("<e32b", 0.001, *(round(value * 1000) for value in values[begin:begin + 32]))
        return blocks
    hidden, vocab, inner = 32, 24, 32
    ones = struct.pack(f"<{hidden}f", *[1.0] * hidden)
    tensors = [("token_embd.weight", [hidden, vocab], kind, matrix(vocab, hidden, 0)),
               ("output_norm.weight", [hidden], 0, ones), ("blk.0.attn_norm.weight", [hidden], 0, ones),
               ("blk.0.ffn_norm.weight", [hidden], 0, ones)]
    for index, name in enumerate(["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]):
        tensors.append((f"blk.0.{name}.weight", [hidden, inner], kind, matrix(inner, hidden, 100 * index)))
    keys = [("general.architecture", STRING, gguf_string("llama"))]
    for name, value in [("block_count", 1), ("context_length", 64), ("embedding_length", hidden), ("feed_forward_length", inner),
                        ("attention.head_count", 2), ("attention.head_count_kv", 2), ("rope.dimension_count", 16), ("vocab_size", vocab)]:
        keys.append((f"llama.{name}", U32, struct.pack("<I", value)))
    keys += [("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", 1e-5)),
             ("llama.rope.freq_base", F32, struct.pack("<f", 10000.0))]
    if tokenizer:
        letters = ["<s>", "</s>", *"abcdefghij", "\u0120", "ab", "cd", "\u0120a", "abcd", *"klmnopq"]
        assert len(letters) == vocab
        keys += [("tokenizer.ggml.model", STRING, gguf_string("gpt2")), ("tokenizer.ggml.pre", STRING, gguf_string("smollm")),
                 ("tokenizer.ggml.tokens", ARRAY, strings(letters)),
                 ("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{vocab}i", I32, vocab, 3, 3, *[1] * (vocab - 2))),
                 ("tokenizer.ggml.merges", ARRAY, strings(["a b", "c d", "\u0120 a", "ab cd"])),
                 ("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 0)), ("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 1)),
                 ("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
                 ("tokenizer.chat_template", STRING, gguf_string("{{ messages[0].content }}"))]
    return gguf(keys, tensors)


def gguf_seeds(corpus):
    write(corpus, "gguf/q8_0", tiny_gguf(8))
    write(corpus, "gguf/no-tokenizer", tiny_gguf(8, tokenizer=False))
    kinds = [(0, "<B", 7), (1, "<b", -7), (2, "<H", 7), (3, "<h", -7), (4, "<I", 7), (5, "<i", -7), (6, "<f", 0.5), (7, "<B", 1),
             (10, "<Q", 7), (11, "<q", -7), (12, "<d", 0.5)]
    keys = [(f"k{kind}", kind, struct.pack(form, value)) for kind, form, value in kinds]
    keys += [(f"a{kind}", ARRAY, struct.pack("<IQ", kind, 2) + struct.pack(form, value) * 2) for kind, form, value in kinds]
    write(corpus, "gguf/keys", gguf(keys, [("t", [2, 2], 1, bytes(8)), ("u", [3], 30, bytes(6))], version=2))


def tokenizer_seeds(corpus):
    golden = json.loads((TESTS / "goldens/text/tokenizer.json").read_text(encoding="utf-8"))
    letters = byte_letters()

    def cut(bytes_kept, merges_kept, added):
        """The golden with few letters, the merges among them, and some added tokens."""
        tokens = ["<|endoftext|>", *(letters[byte] for byte in bytes_kept)]
        merges = []
        for left, right in golden["model"]["merges"]:
            if left in tokens and right in tokens and len(merges) < merges_kept:
                merges.append([left, right])
                if left + right not in tokens:
                    tokens.append(left + right)
        tree = json.loads(json.dumps({key: value for key, value in golden.items() if key != "model"}))
        tree["model"] = dict(golden["model"], vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
        tree["added_tokens"] = golden["added_tokens"][:1]
        for item in added:
            tree["added_tokens"].append(dict(item, id=len(tree["model"]["vocab"]) + len(tree["added_tokens"]) - 1))
        return tree

    def put(name, tree):
        write(corpus, f"tokenizer/{name}", json.dumps(tree, ensure_ascii=False, separators=(",", ":")))

    added = json.loads((TESTS / "goldens/text/added_cases.json").read_text(encoding="utf-8"))["added"]
    few = [*b" aehinoprst"]
    put("small", cut(few, 12, []))
    put("added", cut(few, 4, added[:5]))
    put("all-bytes", cut(range(256), 40, added[5:7]))
    prefix = cut(few, 4, [])
    prefix["pre_tokenizer"]["add_prefix_space"] = True
    prefix["post_processor"]["single"].insert(0, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}})
    prefix["post_processor"]["special_tokens"] = {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}
    put("prefix", prefix)
    digits = cut(few, 4, [])
    digits["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                     digits["pre_tokenizer"]]}
    put("digits", digits)


def chat_template_seeds(corpus):
    write(corpus, "chat-template/smollm2", (TESTS / "goldens/text/chat_template.jinja").read_bytes())
    forms = json.loads((TESTS / "goldens/text/chat_forms.json").read_text(encoding="utf-8"))
    for form in forms["forms"]:
        write(corpus, f"chat-template/{form['name']}", form["template"])
    # The snippets try one construct each: joined, they make a few seeds and not hundreds.
    snippets = [snippet.get("template", "") if isinstance(snippet, dict) else str(snippet) for snippet in forms["snippets"]]
    short = [snippet for snippet in snippets if len(snippet) < 400]
    for begin in range(0, len(short), 8):
        write(corpus, f"chat-template/snippets-{begin // 8:02}", "\n".join(short[begin:begin + 8]))


def adapter_config_seeds(corpus):
    for path in sorted(TESTS.glob("goldens/llama-odd/adapters/*/adapter_config.json")):
        write(corpus, f"adapter-config/{path.parent.name}", path.read_bytes())
    plain = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj", "lm_head"]}
    write(corpus, "adapter-config/binds", json.dumps(plain))
    write(corpus, "adapter-config/patterns", json.dumps(dict(
        plain, r=2, target_modules=r".*\.(q_proj|up_proj)|lm_head", rank_pattern={"^model.*proj": 4, "lm_head": 4},
        alpha_pattern={r"layers\.1\..*": 16}, use_rslora=True, init_lora_weights="gaussian", exclude_modules="gate_proj")))
    write(corpus, "adapter-config/layers", json.dumps(dict(plain, layers_to_transform=[0, 1], layers_pattern="layers")))


def mlir_seeds(corpus, lorac):
    for path in sorted([*TESTS.glob("dialect/*/*.mlir"), *TESTS.glob("compiler/passes/*.mlir")]):
        cases = re.split(r"^// -----.*\n", path.read_text(), flags=re.M)
        step = 1 if len(cases) < 20 else 4  # refusals differ in a word
        for index, case in list(enumerate(cases))[::step]:
            text = re.sub(r"^\s*//.*\n", "", case, flags=re.M).strip() + "\n"
            if len(text) <= MAX_MLIR:
                write(corpus, f"mlir/{path.parent.name}-{path.stem}-{index:02}", text)
    stages = ["import", "fuse", "quantize", "select", "plan-memory", "barriers", "chain"]
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "tiny.gguf"
        model.write_bytes(tiny_gguf(0))
        options = [option for stage in stages for option in ("--dump-ir-after", stage)]
        dumps = subprocess.run([lorac, "compile", str(model), "-o", str(model) + ".lorac", "--max-rows", "1", *options],
                               check=True, capture_output=True, text=True).stdout.replace(folder + "/", "")
    for stage, text in zip(stages, re.split(r"^// ----- after .*\n", dumps, flags=re.M)[1:], strict=True):
        write(corpus, f"mlir/dump-{stage}", text)


def request_seeds(corpus):
    write(corpus, "requests/all", "\n".join(map(json.dumps, [
        {"prompt": "Once", "max_tokens": 8},
        {"chat": "Hi", "system": "Be brief.", "temperature": 0.7, "top_p": 0.9, "top_k": 40, "seed": 7},
        {"tokens": [1, 2, 3], "adapters": [{"path": "a.lora", "strength": 0.5}, {"path": "b.lora"}], "ignore_eos": True}])))
    write(corpus, "requests/tokens", "1,2, 3,4294967295")
    write(corpus, "requests/adapter", "folder/a.lora=-0.25")
    write(corpus, "requests/wrong", "\n".join(['{"prompt": "a", "chat": "b"}', "[]", '{"tokens": [-1]}', '{"seed": 1e99, "prompt": ""}']))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--fuzz-seeds", required=True)
    arguments = parser.parse_args()
    corpus = HERE / "corpus"
    for path in corpus.glob("*/*"):
        if not path.name.startswith("found-"):
            path.unlink()
    safetensors_seeds(corpus)
    checkpoint_seeds(corpus)
    gguf_seeds(corpus)
    tokenizer_seeds(corpus)
    chat_template_seeds(corpus)
    adapter_config_seeds(corpus)
    mlir_seeds(corpus, arguments.lorac)
    request_seeds(corpus)
    subprocess.run([arguments.fuzz_seeds, str(corpus)], check=True)
    files = [path for path in corpus.glob("*/*")]
    print(f"{len(files)} seeds, {sum(path.stat().st_size for path in files)} bytes")


if __name__ == "__main__":
    main()
