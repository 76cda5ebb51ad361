#!/usr/bin/env python3
"""Bad input through the command line: bad_input.py --lorac PROGRAM

Each test makes one edit to an input that works and expects one line on stderr that begins with `lorac: error: ` and says what is wrong, exit
code 1, nothing on stdout and nothing written."""
import argparse
import json
import os
import pathlib
import re
import shutil
import struct
import sys
import unittest

import harness

LORAC = None
TIED = harness.GOLDENS / "llama-tied"


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared_folder = harness.temporary_folder()
        cls.addClassCleanup(cls.shared_folder.cleanup)
        shared = pathlib.Path(cls.shared_folder.name)
        cls.model, cls.bundle = shared / "tied.lorac", shared / "all-r8.lora"
        LORAC.ok("compile", TIED, "-o", cls.model, "--max-context", 64)
        LORAC.ok("adapter", TIED / "adapters" / "all-r8", "--base", cls.model, "-o", cls.bundle)

    def setUp(self):
        folder = harness.temporary_folder()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out"
        self.output.mkdir()

    def refuse(self, pattern, *arguments, environment=None):
        """The call fails as every bad input must; its line matches `pattern`."""
        result = LORAC.call(*arguments, environment=environment)
        lines = result.stderr.splitlines()
        told = f"\nlorac {' '.join(map(str, arguments))}\nexit {result.returncode}, stderr: {result.stderr}"
        self.assertEqual(result.returncode, 1, told)
        self.assertEqual(result.stdout, "", told)
        self.assertTrue(lines and lines[0].startswith("lorac: error: "), told)
        self.assertTrue(all(line.startswith("note: ") for line in lines[1:]), told)
        self.assertRegex(lines[0], pattern)
        self.assertEqual([path.name for path in self.output.iterdir()], [], "something was written")

    def refuse_compile(self, pattern, source, *options):
        self.refuse(pattern, "compile", source, "-o", self.output / "m.lorac", *options)

    def refuse_adapter(self, pattern, source, *options, base=None):
        self.refuse(pattern, "adapter", source, "--base", base or self.model, "-o", self.output / "a.lora", *options)

    def refuse_run(self, pattern, *options, model=None, environment=None):
        self.refuse(pattern, "run", model or self.model, "--tokens", "1,2,3", "--max-tokens", 2, "--logits", self.output / "l.npy",
                    *options, environment=environment)

    def checkpoint(self):
        return harness.copy_tree(TIED, self.folder / "checkpoint")

    def adapter(self, name="all-r8", golden=TIED):
        return harness.copy_tree(golden / "adapters" / name, self.folder / "adapter")

    def edit_config(self, folder, name="config.json", **changes):
        config = json.loads((folder / name).read_text())
        config.update(changes)
        (folder / name).write_text(json.dumps(config))

    def edit_tensors(self, path, edit):
        tensors = harness.read_safetensors(path)
        tensors = {name: (dtype, shape, bytes(data)) for name, (dtype, shape, data) in tensors.items()}
        edit(tensors)
        harness.write_safetensors(path, tensors)

    def edited(self, source, name, edit):
        """A copy of a file with its bytes edited."""
        data = bytearray(source.read_bytes())
        changed = edit(data)  # in place, or the new bytes
        data = data if changed is None else changed
        path = self.folder / name
        path.write_bytes(data)
        return path


def flip(offset):
    """An edit that flips one bit; negative offsets count from the end."""
    def edit(data):
        data[offset] ^= 0x10
    return edit


class Checkpoints(Case):
    def test_missing(self):
        self.refuse_compile("nowhere", self.folder / "nowhere")

    def test_empty_folder(self):
        (self.folder / "empty").mkdir()
        self.refuse_compile("empty", self.folder / "empty")

    def test_config_missing(self):
        checkpoint = self.checkpoint()
        (checkpoint / "config.json").unlink()
        self.refuse_compile("config.json", checkpoint)

    def test_config_not_json(self):
        checkpoint = self.checkpoint()
        (checkpoint / "config.json").write_text('{"model_type": ')
        self.refuse_compile("config.json", checkpoint)

    def test_weights_missing(self):
        checkpoint = self.checkpoint()
        (checkpoint / "model.safetensors").unlink()
        self.refuse_compile("safetensors", checkpoint)

    def test_weights_truncated(self):
        checkpoint = self.checkpoint()
        path = checkpoint / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        self.refuse_compile("model.safetensors", checkpoint)

    def test_weights_header_cut(self):
        checkpoint = self.checkpoint()
        path = checkpoint / "model.safetensors"
        path.write_bytes(path.read_bytes()[:200])
        self.refuse_compile("model.safetensors", checkpoint)

    def test_weights_header_larger_than_file(self):
        checkpoint = self.checkpoint()
        path = checkpoint / "model.safetensors"
        path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])
        self.refuse_compile("model.safetensors", checkpoint)

    def test_weights_empty(self):
        checkpoint = self.checkpoint()
        (checkpoint / "model.safetensors").write_bytes(b"")
        self.refuse_compile("model.safetensors", checkpoint)

    def test_tensor_missing(self):
        checkpoint = self.checkpoint()
        name = "model.layers.1.mlp.up_proj.weight"
        self.edit_tensors(checkpoint / "model.safetensors", lambda tensors: tensors.pop(name))
        self.refuse_compile(re.escape(name), checkpoint)

    def test_tensor_of_another_shape(self):
        checkpoint = self.checkpoint()
        name = "model.layers.1.mlp.up_proj.weight"

        def edit(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = dtype, [shape[0] // 2, shape[1] * 2], data
        self.edit_tensors(checkpoint / "model.safetensors", edit)
        self.refuse_compile(re.escape(name), checkpoint)

    def test_tensor_unknown(self):
        checkpoint = self.checkpoint()
        name = "model.layers.0.self_attn.gate_extra.weight"
        self.edit_tensors(checkpoint / "model.safetensors", lambda tensors: tensors.update({name: ("F32", [1], b"\0\0\0\0")}))
        self.refuse_compile(re.escape(name), checkpoint)

    def test_shard_missing(self):
        checkpoint = harness.copy_tree(harness.GOLDENS / "llama-bias-rope3", self.folder / "checkpoint")
        (checkpoint / "model-00002-of-00002.safetensors").unlink()
        self.refuse_compile("model-00002-of-00002.safetensors", checkpoint)

    def test_shards_elsewhere(self):
        checkpoint = harness.copy_tree(harness.GOLDENS / "llama-bias-rope3", self.folder / "checkpoint")
        index = checkpoint / "model.safetensors.index.json"
        text = index.read_text()
        shutil.copyfile(checkpoint / "model-00001-of-00002.safetensors", self.folder / "model-00001-of-00002.safetensors")
        for name in "../model-00001-of-00002.safetensors", str(self.folder / "model-00001-of-00002.safetensors"):
            with self.subTest(name=name):
                index.write_text(text.replace("model-00001-of-00002.safetensors", name))
                self.refuse_compile("shards must be files beside the index", checkpoint)

    def test_a_pipe_in_the_place_of_a_file(self):
        checkpoint = self.checkpoint()
        for name in "config.json", "generation_config.json", "model.safetensors":
            with self.subTest(name=name):
                data = (checkpoint / name).read_bytes()
                (checkpoint / name).unlink()
                os.mkfifo(checkpoint / name)  # nobody writes to it: who waits, waits for ever
                self.refuse_compile(rf"{name}: is not a regular file", checkpoint)
                (checkpoint / name).unlink()
                (checkpoint / name).write_bytes(data)
        os.mkfifo(self.folder / "pipe.gguf")
        self.refuse_compile(r"pipe\.gguf: is not a regular file", self.folder / "pipe.gguf")

    def test_a_head_of_gigabytes(self):
        checkpoint = self.checkpoint()
        self.edit_config(checkpoint, head_dim=2147483646)
        self.refuse_compile("heads have 2147483646 values, at most 4096", checkpoint)

    def test_unknown_architecture(self):
        checkpoint = self.checkpoint()
        self.edit_config(checkpoint, model_type="nautilus", architectures=["NautilusForCausalLM"])
        self.refuse_compile("(?i)nautilus", checkpoint)

    def test_unknown_activation(self):
        checkpoint = self.checkpoint()
        self.edit_config(checkpoint, hidden_act="snake")
        self.refuse_compile("snake", checkpoint)

    def test_overflow_in_f16_names_the_site(self):
        checkpoint = self.checkpoint()
        name = "model.layers.2.mlp.down_proj.weight"

        def edit(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = dtype, shape, struct.pack("<f", 1e6) + data[4:]
        self.edit_tensors(checkpoint / "model.safetensors", edit)
        self.refuse_compile(r"model\.layers\.2\.mlp\.down_proj", checkpoint, "--quantize", "f16")

    def test_gguf_truncated(self):
        import round_trip
        whole = self.folder / "whole.gguf"
        round_trip.write_gguf(whole, TIED)
        for size in 3, 20, 400, whole.stat().st_size - 40:
            with self.subTest(size=size):
                cut = self.edited(whole, "cut.gguf", lambda data, size=size: data[:size])
                self.refuse_compile("cut.gguf", cut)

    def test_gguf_of_something_else(self):
        path = self.folder / "text.gguf"
        path.write_text("This is no checkpoint.\n" * 10)
        self.refuse_compile("text.gguf", path)

    def test_a_model_file(self):
        self.refuse_compile("is a model file, which lorac compile has made already", self.model)

    def test_values_that_become_infinite(self):
        checkpoint = self.checkpoint()

        def edit(tensors):
            dtype, shape, data = tensors["model.layers.2.mlp.down_proj.weight"]
            tensors["model.layers.2.mlp.down_proj.weight"] = dtype, shape, struct.pack("<f", 3.4e38) + data[4:]
        self.edit_tensors(checkpoint / "model.safetensors", edit)
        self.refuse_compile(r"down_proj\.weight: row 0: value 3\.4e\+38 in column 0 is beyond what bf16 holds; store it wider: --quantize "
                            r"'model\.layers\.2\.mlp\.down_proj\.weight=f32'", checkpoint, "--quantize", "bf16")
        LORAC.ok("compile", checkpoint, "-o", self.folder / "m.lorac", "--quantize", "bf16",
                 "--quantize", "model.layers.2.mlp.down_proj.weight=f32")

    def test_gguf_unknown_architecture(self):
        import round_trip
        whole = self.folder / "whole.gguf"
        round_trip.write_gguf(whole, TIED)
        other = self.edited(whole, "other.gguf",
                            lambda data: data.replace(round_trip.gguf_string("llama"), round_trip.gguf_string("snail"), 1))
        self.refuse_compile("snail", other)

    def test_gguf_tensor_missing(self):
        import round_trip
        whole = self.folder / "whole.gguf"
        round_trip.write_gguf(whole, TIED)
        other = self.edited(whole, "other.gguf", lambda data: data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_Up.weight", 1))
        self.refuse_compile("blk.1.ffn_", other)

    def test_dump_of_something_else(self):
        path = self.folder / "dump.mlir"
        path.write_text("this is no IR\n")
        self.refuse_compile(r"dump\.mlir", path)

    def test_dump_without_a_model(self):
        path = self.folder / "dump.mlir"
        path.write_text("module {\n}\n")
        self.refuse_compile(r"dump\.mlir", path)

    def test_dump_whose_weights_moved(self):
        checkpoint = self.checkpoint()
        dump = self.folder / "dump.mlir"
        dump.write_text(LORAC.ok("compile", checkpoint, "-o", self.folder / "m.lorac", "--dump-ir-after", "import"))
        (checkpoint / "model.safetensors").unlink()
        self.refuse_compile("model.safetensors", dump)

    def test_dump_whose_weights_changed(self):
        checkpoint = self.checkpoint()
        dump = self.folder / "dump.mlir"
        dump.write_text(LORAC.ok("compile", checkpoint, "-o", self.folder / "m.lorac", "--dump-ir-after", "import"))
        path = checkpoint / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-4] ^= 1
        path.write_bytes(data)
        self.refuse_compile("model.safetensors|digest|model.norm", dump)

    def test_output_folder_missing(self):
        self.refuse("nowhere", "compile", TIED, "-o", self.output / "nowhere" / "m.lorac")

    def test_what_this_version_lacks(self):
        self.refuse_compile("cuda", TIED, "--target", "cuda")
        self.refuse_compile("--merge", TIED, "--merge", TIED / "adapters" / "all-r8")
        for command in "merge", "serve":
            with self.subTest(command=command):
                self.refuse(command, command, self.model, "--port", "1")


class Outputs(Case):
    """What stands where a result is to be written, and is no older result, stays."""

    def keep(self, path, *arguments):
        before = path.read_bytes()
        self.refuse(re.escape(str(path)) + ": is there and is not a", *arguments)
        self.assertEqual(path.read_bytes(), before)

    def test_inputs(self):
        import round_trip
        checkpoint, adapter, gguf, dump = self.checkpoint(), self.adapter(), self.folder / "whole.gguf", self.folder / "dump.mlir"
        round_trip.write_gguf(gguf, TIED)
        dump.write_text(LORAC.ok("compile", checkpoint, "-o", self.folder / "m.lorac", "--dump-ir-after", "import"))
        model = self.edited(self.model, "model.lorac", lambda data: None)
        self.keep(gguf, "compile", gguf, "-o", gguf)
        self.keep(dump, "compile", dump, "-o", dump)
        self.keep(checkpoint / "config.json", "compile", checkpoint, "-o", checkpoint / "config.json")
        self.keep(checkpoint / "model.safetensors", "compile", checkpoint, "-o", checkpoint / "model.safetensors")
        self.keep(model, "adapter", adapter, "--base", model, "-o", model)
        self.keep(adapter / "adapter_config.json", "adapter", adapter, "--base", model, "-o", adapter / "adapter_config.json")
        self.keep(model, "run", model, "--tokens", "1", "--max-tokens", 1, "--logits", model)

    def test_behind_a_link(self):
        checkpoint = self.checkpoint()
        link = self.folder / "link.lorac"
        link.symlink_to("checkpoint/config.json")
        self.keep(link, "compile", checkpoint, "-o", link)
        self.assertTrue(link.is_symlink())

    def test_no_regular_file(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for path in pipe, self.folder:
            with self.subTest(path=path):
                self.refuse("is no regular file", "compile", TIED, "-o", path)
                self.refuse("is no regular file", "adapter", TIED / "adapters" / "all-r8", "--base", self.model, "-o", path)
                self.refuse("is no regular file", "run", self.model, "--tokens", "1", "--max-tokens", 1, "--logits", path)
        self.assertTrue(pipe.is_fifo())

    def test_no_name(self):
        self.refuse("empty name", "compile", TIED, "-o", "")
        self.refuse("empty name", "run", self.model, "--tokens", "1", "--max-tokens", 1, "--logits", "")


class Adapters(Case):
    def test_missing(self):
        self.refuse_adapter("nowhere", self.folder / "nowhere")

    def test_config_missing(self):
        adapter = self.adapter()
        (adapter / "adapter_config.json").unlink()
        self.refuse_adapter("adapter_config.json", adapter)

    def test_weights_missing(self):
        adapter = self.adapter()
        (adapter / "adapter_model.safetensors").unlink()
        self.refuse_adapter("adapter_model.safetensors", adapter)

    def test_a_pipe_in_the_place_of_a_file(self):
        for name in "adapter_config.json", "adapter_model.safetensors":
            with self.subTest(name=name):
                adapter = harness.copy_tree(TIED / "adapters" / "all-r8", self.folder / name)
                (adapter / name).unlink()
                os.mkfifo(adapter / name)
                self.refuse_adapter(rf"{name}: is not a regular file", adapter)

    def test_alpha_that_is_no_number(self):
        adapter = self.adapter()
        self.edit_config(adapter, "adapter_config.json", lora_alpha=float("nan"))  # as Python writes it
        self.refuse_adapter("adapter_config.json: not valid JSON at byte [0-9]+ .NaN", adapter)
        self.edit_config(self.reset_config(adapter), "adapter_config.json", lora_alpha=1e300)
        self.refuse_adapter("scaling of 1.25e.299, which f32 cannot hold", adapter)

    def test_patterns_that_take_long(self):
        adapter = self.adapter()
        self.edit_config(adapter, "adapter_config.json", exclude_modules="(.|.|.)*[xyz]")
        self.refuse_adapter("takes too long", adapter)

    def reset_config(self, adapter):
        shutil.copyfile(TIED / "adapters" / "all-r8" / "adapter_config.json", adapter / "adapter_config.json")
        return adapter

    def test_pickle(self):
        adapter = self.adapter()
        (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
        self.refuse_adapter(r"adapter_model\.bin", adapter)

    def test_weights_truncated(self):
        adapter = self.adapter()
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-10])
        self.refuse_adapter("adapter_model.safetensors", adapter)

    def rename(self, old, new):
        adapter = self.adapter()

        def edit(tensors):
            for name in [name for name in tensors if old in name]:
                tensors[name.replace(old, new)] = tensors.pop(name)
        self.edit_tensors(adapter / "adapter_model.safetensors", edit)
        return adapter

    def test_unbound_tensor_of_a_layer_that_is_not_there(self):
        self.refuse_adapter(r"layers\.9\.", self.rename("layers.1.mlp.up_proj.", "layers.9.mlp.up_proj."))

    def test_unbound_tensor_of_a_module_that_is_not_there(self):
        self.refuse_adapter("sideways_proj", self.rename("layers.1.mlp.up_proj.", "layers.1.mlp.sideways_proj."))

    def test_unknown_tensor(self):
        adapter = self.adapter()
        name = "base_model.model.model.layers.0.mlp.up_proj.lora_C.weight"
        self.edit_tensors(adapter / "adapter_model.safetensors", lambda tensors: tensors.update({name: ("F32", [1], b"\0\0\0\0")}))
        self.refuse_adapter("lora_C", adapter)

    def test_half_a_pair(self):
        adapter = self.adapter()
        name = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
        self.edit_tensors(adapter / "adapter_model.safetensors", lambda tensors: tensors.pop(name))
        self.refuse_adapter(r"layers\.0\.mlp\.up_proj", adapter)

    def test_wrong_shape(self):
        adapter = self.adapter()
        name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"

        def edit(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = dtype, [shape[0], shape[1] - 1], data[:shape[0] * (shape[1] - 1) * (len(data) // (shape[0] * shape[1]))]
        self.edit_tensors(adapter / "adapter_model.safetensors", edit)
        self.refuse_adapter(r"layers\.0\.mlp\.up_proj", adapter)

    def poison(self, value):
        adapter = self.adapter()
        name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"

        def edit(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = dtype, shape, struct.pack({"F32": "<f", "F16": "<e"}[dtype], value) + data[{"F32": 4, "F16": 2}[dtype]:]
        self.edit_tensors(adapter / "adapter_model.safetensors", edit)
        return adapter

    def test_nan(self):
        self.refuse_adapter(r"layers\.1\.mlp\.down_proj", self.poison(float("nan")))

    def test_infinity(self):
        self.refuse_adapter(r"layers\.1\.mlp\.down_proj", self.poison(float("inf")))

    def test_shapes_of_another_base(self):
        self.refuse_adapter("adapter", self.adapter(golden=harness.GOLDENS / "llama-odd"))

    def test_config_key_that_changes_inference(self):
        adapter = self.adapter()
        self.edit_config(adapter, "adapter_config.json", use_sideways=True)
        self.refuse_adapter("use_sideways", adapter)

    def test_peft_type(self):
        adapter = self.adapter()
        self.edit_config(adapter, "adapter_config.json", peft_type="IA3")
        self.refuse_adapter("IA3", adapter)

    def test_base_is_a_checkpoint(self):
        import round_trip
        gguf = self.folder / "whole.gguf"
        round_trip.write_gguf(gguf, TIED)
        self.refuse_adapter("is no Lorac model file but a GGUF checkpoint", TIED / "adapters" / "all-r8", base=gguf)

    def test_base_is_no_model(self):
        self.refuse_adapter("adapter_config.json", TIED / "adapters" / "all-r8", base=TIED / "adapters" / "all-r8" / "adapter_config.json")


class Running(Case):
    def test_model_missing(self):
        self.refuse_run("nowhere", model=self.folder / "nowhere")

    def test_model_is_a_bundle(self):
        self.refuse_run("all-r8.lora", model=self.bundle)

    def test_bundle_is_a_model(self):
        self.refuse_run("tied.lorac", "--adapter", self.model)

    def test_model_truncated(self):
        size = self.model.stat().st_size
        for keep in 0, 10, 63, 64, 500, 5000, size // 2, size - 1:
            with self.subTest(keep=keep):
                cut = self.edited(self.model, "cut.lorac", lambda data, keep=keep: data[:keep])
                self.refuse_run(r"cut\.lorac", model=cut)
                self.refuse(r"cut\.lorac", "inspect", cut, "--verify")

    def test_model_bit_flipped(self):
        size = self.model.stat().st_size
        for offset in [0, 5, 9, 20, 40, 64, 4096, size // 3, size // 2, -1000, -70, -1]:
            with self.subTest(offset=offset):
                self.refuse_run(r"flipped\.lorac", model=self.edited(self.model, "flipped.lorac", flip(offset)))

    def test_model_with_a_byte_more(self):
        self.refuse_run(r"longer\.lorac", model=self.edited(self.model, "longer.lorac", lambda data: data + b"\0"))

    def test_bundle_truncated(self):
        size = self.bundle.stat().st_size
        for keep in 0, 63, 64, 300, size // 2, size - 1:
            with self.subTest(keep=keep):
                cut = self.edited(self.bundle, "cut.lora", lambda data, keep=keep: data[:keep])
                self.refuse_run(r"cut\.lora", "--adapter", cut)

    def test_bundle_bit_flipped(self):
        size = self.bundle.stat().st_size
        for offset in [0, 5, 9, 20, 40, 64, 4096, size // 2, -90, -1]:
            with self.subTest(offset=offset):
                self.refuse_run(r"flipped\.lora", "--adapter", self.edited(self.bundle, "flipped.lora", flip(offset)))

    def test_bundle_of_another_base(self):
        checkpoint = self.checkpoint()
        path = checkpoint / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-4] ^= 1
        path.write_bytes(data)
        other = self.folder / "other.lorac"
        LORAC.ok("compile", checkpoint, "-o", other)
        self.refuse_run(r"all-r8\.lora: made for base", "--adapter", self.bundle, model=other)
        accepted = LORAC.call("run", other, "--tokens", "1,2,3", "--max-tokens", 2, "--adapter", self.bundle, "--accept-base", "--json")
        self.assertEqual(accepted.returncode, 0, accepted.stderr)
        self.assertIn("note: ", accepted.stderr)
        self.assertTrue(json.loads(accepted.stdout)["adapters"][0]["accepted_base"])

    def test_prompt_longer_than_the_context(self):
        self.refuse("context of 64", "run", self.model, "--tokens", ",".join(["5"] * 65), "--logits", self.output / "l.npy")
        self.refuse("context of 32", "run", self.model, "--tokens", ",".join(["5"] * 33), "--context", 32)
        # As many as there is room for do run.
        fits = LORAC.run_json(self.model, "--tokens", ",".join(["5"] * 64), "--ignore-eos")
        self.assertEqual((len(fits["tokens"]), fits["finish"]), (1, "length"))

    def test_more_new_tokens_than_the_context_has(self):
        self.refuse("context of 64", "run", self.model, "--tokens", "1,2,3", "--max-tokens", 63)

    def test_context_that_the_model_lacks(self):
        self.refuse_run("context of 65", "--context", 65)

    def test_token_outside_the_vocabulary(self):
        self.refuse("320", "run", self.model, "--tokens", "1,320")

    def test_text_without_a_tokenizer(self):
        self.refuse("no tokenizer", "run", self.model, "--prompt", "Hello")
        self.refuse("no tokenizer", "run", self.model, "--chat", "Hello")

    def test_template_that_loops(self):
        checkpoint = self.checkpoint()
        alphabet = [chr(c) for c in (*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x144))]
        (checkpoint / "tokenizer.json").write_text(json.dumps({
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(alphabet)}, "merges": []}}))
        (checkpoint / "chat_template.jinja").write_text(
            "{% macro again() %}{{ again() }}{% endmacro %}{% set what = messages[-1].content %}"
            "{% if what == 'range' %}{% for i in range(1000000000000) %}{% endfor %}"
            "{% elif what == 'loops' %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
            "{% elif what == 'macro' %}{{ again() }}{% else %}{{ what }}{% endif %}")
        model = self.folder / "loops.lorac"
        LORAC.ok("compile", checkpoint, "-o", model, "--max-rows", 1, "--max-context", 64)
        LORAC.ok("run", model, "--chat", "plain", "--max-tokens", 1)
        for what, told in ("range", "more than 10000000 steps"), ("loops", "more than 10000000 steps"), ("macro", "nested more than 200 deep"):
            with self.subTest(what=what):
                self.refuse(told, "run", model, "--chat", what, "--max-tokens", 1)

    def test_logits_into_a_folder_that_is_not_there(self):
        self.refuse("nowhere", "run", self.model, "--tokens", "1", "--max-tokens", 1, "--logits", self.output / "nowhere" / "l.npy")

    def test_requests_missing(self):
        self.refuse("nowhere", "run", self.model, "--batch", self.folder / "nowhere")

    def test_no_vulkan_device(self):
        nothing = {"VK_ICD_FILENAMES": str(self.folder / "none.json"), "VK_DRIVER_FILES": str(self.folder / "none.json"),
                   "LORAC_VULKAN_VALIDATION": "0"}
        self.refuse_run("(?i)vulkan|device", "--device", "vulkan", environment=nothing)
        self.refuse_run("(?i)vulkan|device", environment=nothing)
        self.refuse("(?i)device", "devices", environment=nothing)

    def test_device_number_that_is_not_there(self):
        self.refuse_run("vulkan:99", "--device", "vulkan:99")

    def test_inspect_of_something_else(self):
        self.refuse(r"config\.json", "inspect", TIED / "config.json")
        self.refuse("nowhere", "inspect", self.folder / "nowhere")
        self.refuse(r"all-r8\.lora", "inspect", self.bundle, "--plan")


def main():
    global LORAC
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    arguments, rest = parser.parse_known_args()
    LORAC = harness.Lorac(arguments.lorac)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
