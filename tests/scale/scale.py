#!/usr/bin/env python3
"""Models that are large in one way each: scale.py --lorac PROGRAM --lorac-opt PROGRAM [--cases A,B] [--folder FOLDER]

Small (seconds each, in ctest):
    sparse        22 layers of which 3 are no holes: progress on a terminal, memory, logits
    windows       every weight read through windows of 4 KiB gives the bits of one view, with adapters too
    long-context  8,192 positions of a tiny model: logits at late positions, the end of the context
Large (files of gigabytes in FOLDER, removed afterwards):
    llama-1.1b    1.1 billion parameters as f16: at most 1 GiB of memory to compile, weights over several allocations
    f32-3g        13 of its layers as f32: weights on both sides of 2 GiB
    head-128k     a vocabulary of 128,256 with texel buffers and without
    bits          four layers of its widths with SmolLM2's tokenizer: bits a weight in 8 bits, 4 bits and with double quantization, and what a file has beside its weights
    smollm2-8k    SmolLM2 with a context of 8,192 (--gguf: the model's file)

Logits are compared with an independent float64 model. Times and memory are printed; counts and bounds are gates."""
import argparse
import dataclasses
import json
import pathlib
import re
import shutil
import sys
import tempfile
import time

from packages import numpy
import checkpoint
import reference
import watch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import harness  # noqa: E402

MiB, GiB = 1 << 20, 1 << 30
COMPILE_MEMORY = 1 * GiB
# Bounds of the project: f16 storage 2e-2, f32 storage 1e-4 of the largest logit. The checkpoints hold f16 values already, so f16 rounds nothing.
BOUND = 1e-4


class Scale(harness.Checks):
    def __init__(self, arguments, folder):
        self.lorac, self.opt, self.gguf = harness.Lorac(arguments.lorac), arguments.lorac_opt, arguments.gguf
        self.folder = pathlib.Path(folder)
        super().__init__()

    # ---- pieces -------------------------------------------------------------------------------------

    def compile(self, name, source, *options):
        """Compiles on a terminal; the model's path."""
        model = self.folder / f"{name}.lorac"
        done = watch.watch(self.lorac.program, "compile", source, "-o", model, "--json", *options, environment=self.lorac.environment)
        self.expect(done.code == 0, f"{name}: compile: exit {done.code}: {done.terminal[-500:]}")
        if done.code != 0:
            raise AssertionError(f"{name} does not compile")
        shown = re.findall(r"\[([#.]{30})\] ([a-z ]+)", done.terminal)
        for work in "reading weights", "compiling kernels", "writing weights":
            bars = [bar.count("#") for bar, what in shown if what.strip() == work]
            self.expect(bars and bars == sorted(bars) and bars[-1] == 30, f"{name}: progress of '{work}' was {bars}")
        self.expect(done.terminal.endswith("\r\x1b[K"), f"{name}: progress is not wiped: {done.terminal[-40:]!r}")
        self.expect(done.peak <= COMPILE_MEMORY, f"{name}: compile held {done.peak} bytes, at most {COMPILE_MEMORY} are allowed")
        self.expect(done.samples >= 3, f"{name}: memory was sampled {done.samples} times")
        report = json.loads(done.stdout)
        print(f"{name}: {report['weight_bytes']} bytes of weights; compile {done.seconds:.1f} s ({done.cpu_seconds:.1f} s of CPU), "
              f"peak {done.peak / MiB:.0f} MiB in {done.samples} samples, {len(shown)} lines of progress", flush=True)
        return model

    def run(self, name, model, tokens, new_tokens, *options):
        """(new ids, logits of the positions fed, --stats) of one greedy request."""
        path = self.folder / "logits.npy"
        done = watch.watch(self.lorac.program, "run", model, "--tokens", ",".join(map(str, tokens)), "--max-tokens", new_tokens, "--ignore-eos",
                           "--json", "--stats", "--logits", path, *options, environment=self.lorac.environment)
        if done.code != 0:
            raise AssertionError(f"{name}: run: exit {done.code}: {done.terminal[-500:]}")
        result = json.loads(done.stdout)
        logits = numpy.load(path, mmap_mode="r")
        fed = len(tokens) + new_tokens - 1
        self.expect(len(result["tokens"]) == new_tokens and logits.shape[0] == fed,
                    f"{name}: {len(result['tokens'])} tokens for {new_tokens}, logits {logits.shape} for {fed} positions")
        self.expect(result["finish"] == "length", f"{name}: finish is {result['finish']}")
        self.expect(bool(numpy.isfinite(logits).all()), f"{name}: logits are not finite")
        stats, seconds = result["stats"], result["stats"]["seconds"]
        print(f"{name}: run {done.seconds:.1f} s (open {seconds['open']:.1f}, first token {seconds['first_token']:.1f}, "
              f"{stats['tokens_per_second']['decode']:.2f} tokens/s after it), peak {done.peak / MiB:.0f} MiB, "
              f"{stats['allocations']} allocations", flush=True)
        return result["tokens"], logits, stats

    def agrees(self, name, made, tokens, new_tokens, logits, positions):
        """Logits at `positions` against the float64 model, and the greedy tokens against the logits."""
        fed = (list(tokens) + list(new_tokens))[:logits.shape[0]]
        want = reference.logits(made, fed, positions)
        got = logits[list(positions)]
        scale = numpy.abs(want).max()
        error = numpy.abs(got - want).max() / scale
        self.expect(scale > 0.5, f"{name}: the reference's largest logit is {scale}: it tells nothing")
        self.expect(error <= BOUND, f"{name}: error {error:.2e} of the largest logit, at most {BOUND}")
        for position, row in zip(positions, want):
            if position < len(tokens) - 1:
                continue
            best = numpy.sort(row)[-2:]
            if best[1] - best[0] > 2 * BOUND * scale:
                token = new_tokens[position - len(tokens) + 1]
                self.expect(int(row.argmax()) == token, f"{name}: token {token} after position {position}, expected {row.argmax()}")
        print(f"{name}: error {error:.1e} of the largest logit {scale:.2f} at {len(positions)} positions", flush=True)

    def remove(self, *paths):
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    # ---- small cases --------------------------------------------------------------------------------

    def sparse(self):
        """llama-1.1b in every proportion but the size."""
        shape = checkpoint.Shape(hidden=256, layers=22, heads=8, kv_heads=2, intermediate=704, vocab=4000)
        made = checkpoint.write(self.folder / "sparse", shape, "BF16", {0, 11, 21})
        model = self.compile("sparse", made.folder, "--max-rows", 8, "--quantize", "f32")
        tokens = [5, 3999, 0, 17, 100, 2048, 77, 5, 5, 1]
        new, logits, _ = self.run("sparse", model, tokens, 3)
        self.agrees("sparse", made, tokens, new, logits, range(len(logits)))

    def windows(self):
        golden = "llama-bias-rope3"
        tokens = "259,129,92,249,14,124,59,7,300,1,2"
        plain, quantized, plan, cut = (self.folder / name for name in ("plain.lorac", "quantized.mlir", "plan.mlir", "cut.lorac"))
        self.lorac.ok("compile", harness.GOLDENS / golden, "-o", plain)
        quantized.write_text(self.lorac.ok("compile", harness.GOLDENS / golden, "-o", cut, "--dump-ir-after", "quantize"))
        done = watch.watch(self.opt, quantized, "--lora-select=window-bytes=4096", "--lora-plan-memory", "--lora-barriers")
        self.expect(done.code == 0, f"windows: lorac-opt: {done.terminal}")
        plan.write_text(done.stdout)
        self.lorac.ok("compile", plan, "-o", cut)
        for stack in (), ("all-r8", "qv-r4"), ("head-r4",):
            flags = []
            for adapter in stack:
                bundle = self.folder / f"{adapter}.lora"
                self.lorac.ok("adapter", harness.GOLDENS / golden / "adapters" / adapter, "--base", plain, "-o", bundle)
                flags += ["--adapter", bundle]
            for device in "vulkan", "vulkan,deny=texel":
                outputs = []
                for model in plain, cut:
                    logits = self.folder / f"{model.stem}.npy"
                    result = self.lorac.run_json(model, "--tokens", tokens, "--max-tokens", 4, "--ignore-eos", "--stats", "--device", device,
                                                 "--logits", logits, *flags)
                    outputs.append((result["tokens"], logits.read_bytes(), result["stats"]["dispatches_by_kernel"]))
                (tokens_whole, bits_whole, whole), (tokens_cut, bits_cut, pieces) = outputs
                name = f"windows: {golden} {'+'.join(stack) or 'base'} {device}"
                self.expect(tokens_whole == tokens_cut and bits_whole == bits_cut, f"{name}: bits differ from those of one view")
                self.expect(pieces["embed"] > whole["embed"] and pieces["linear"] > 2 * whole["linear"],
                            f"{name}: {pieces} dispatches in windows, {whole} in one view")
                self.expect(pieces["shrink"] == whole["shrink"], f"{name}: windows shrink anew: {pieces}, {whole}")

    def long_context(self):
        """The cache at 8,192 positions, by a model small enough for an exact comparison."""
        positions = 8192
        shape = checkpoint.Shape(hidden=64, layers=2, heads=2, kv_heads=1, intermediate=96, vocab=160, positions=positions)
        made = checkpoint.write(self.folder / "long", shape, "F32", {0, 1}, amplitude=0.3)
        model = self.compile("long-context", made.folder, "--quantize", "f32", "--max-context", positions, "--max-rows", 256)
        tokens = [int(token) for token in numpy.random.Generator(numpy.random.PCG64(7)).integers(0, shape.vocab, positions - 4)]
        # One token more than fits: the last one is never fed.
        new, logits, _ = self.run("long-context", model, tokens, 5)
        late = [0, 15, 16, 4095, 4096, 8000] + list(range(positions - 6, positions))
        self.agrees("long-context", made, tokens, new, logits, late)
        refused = self.lorac.call("run", model, "--tokens", ",".join(map(str, tokens)), "--max-tokens", 6)
        self.expect(refused.returncode == 1 and refused.stderr.count("lorac: error:") == 1 and
                    f"a prompt of {positions - 4} tokens and 6 new ones exceed the context of {positions}" in refused.stderr,
                    f"long-context: one past the end: exit {refused.returncode}: {refused.stderr}")
        refused = self.lorac.call("compile", made.folder, "-o", model, "--max-context", positions + 1)
        self.expect(refused.returncode == 1 and f"--max-context {positions + 1} is outside 1 to {positions}" in refused.stderr,
                    f"long-context: --max-context past the model's: exit {refused.returncode}: {refused.stderr}")

    # ---- large cases --------------------------------------------------------------------------------

    def llama_1_1b(self):
        made = checkpoint.write(self.folder / "llama-1.1b", checkpoint.SHAPES["llama-1.1b"], "F16", {0, 11, 21})
        model = self.compile("llama-1.1b", made.folder)
        tokens = [5, 6, 31999, 0, 16000, 9, 10, 11, 12, 13, 14]
        new, logits, stats = self.run("llama-1.1b", model, tokens, 4)
        self.spans("llama-1.1b", stats, 3)
        self.agrees("llama-1.1b", made, tokens, new, logits, range(len(logits)))
        self.remove(made.folder, model)

    def f32_3g(self):
        shape = dataclasses.replace(checkpoint.SHAPES["llama-1.1b"], layers=13)
        # 2 GiB are passed within layer 10, the head lies beyond.
        made = checkpoint.write(self.folder / "f32-3g", shape, "F32", {0, 9, 10, 11})
        model = self.compile("f32-3g", made.folder, "--quantize", "f32", "--max-rows", 8)
        tokens = [5, 31999, 0, 16384, 16383]
        new, logits, stats = self.run("f32-3g", model, tokens, 2)
        self.spans("f32-3g", stats, 3)
        self.agrees("f32-3g", made, tokens, new, logits, range(len(logits)))
        self.remove(made.folder, model)

    def spans(self, name, stats, allocations):
        """The device holds a buffer for each space, and for the weights as many as asked."""
        shape = checkpoint.Shape(hidden=64, layers=1, heads=2, kv_heads=1, intermediate=96, vocab=160)
        made = checkpoint.write(self.folder / "one", shape, "F16", {0})
        model = self.folder / "one.lorac"
        self.lorac.ok("compile", made.folder, "-o", model)
        one = self.lorac.run_json(model, "--tokens", "1,2", "--max-tokens", 1, "--stats")["stats"]["allocations"]
        self.expect(stats["allocated_bytes"] > 2 * GiB, f"{name}: the device's {stats['allocated_bytes']} bytes do not pass 2 GiB")
        self.expect(stats["allocations"] - one + 1 >= allocations,
                    f"{name}: {stats['allocations']} allocations, {one} of a small model: its weights do not span {allocations}")

    def head_128k(self):
        shape = checkpoint.SHAPES["head-128k"]
        made = checkpoint.write(self.folder / "head-128k", shape, "F16", {0, 1})
        model = self.compile("head-128k", made.folder, "--max-rows", 8)
        # Both ends of the vocabulary and of its windows of 32,768 rows.
        tokens = [0, shape.vocab - 1, shape.vocab - 2, 32767, 32768, 65535, 65536, 98303, 98304]
        bits = []
        for device in "vulkan", "vulkan,deny=texel":
            new, logits, _ = self.run(f"head-128k {device}", model, tokens, 2, "--device", device)
            bits.append((new, logits[:].tobytes()))
            self.expect(bits[0] == bits[-1], f"head-128k: the bits of {device} are not those of vulkan")
        self.agrees("head-128k", made, tokens, new, logits, range(len(logits)))
        self.remove(made.folder, model)

    def bits(self):
        """Its widths are multiples of 128, so that every type fits."""
        shape = dataclasses.replace(checkpoint.SHAPES["llama-1.1b"], layers=4, vocab=49152)
        made = checkpoint.write(self.folder / "bits", shape, "F16", {0})
        shutil.copy(harness.GOLDENS / "text" / "tokenizer.json", made.folder)
        model = self.folder / "bits.lorac"
        for storage, bits in (("int8", 8.5), ("int4-g128", 4.125), ("nf4-double", 4 + 8 / 64 + 32 / (64 * 256))):
            report = json.loads(self.lorac.ok("compile", made.folder, "-o", model, "--quantize", storage, "--json"))
            weights = sum(row["weights"] for row in report["storage"])
            size, held = model.stat().st_size, report["weight_bytes"]
            self.expect(weights == shape.parameters() - (2 * shape.layers + 1) * shape.hidden, f"bits: {storage}: {weights} weights")
            # The vectors are f32; planes begin at multiples of 256 bytes, and a nested one has two words more.
            vectors, extra = 4 * shape.hidden * (2 * shape.layers + 1), 264 * sum(row["count"] for row in report["storage"])
            found = (held - vectors) * 8 / weights
            self.expect(bits <= found <= bits + extra * 8 / weights, f"bits: {storage} has {found} bits a weight, expected {bits}")
            self.expect(size - held <= held / 1000 + 65536, f"bits: {storage} has {size - held} bytes beside its weights' {held}")
            print(f"bits: {storage}: {found:.4f} bits a weight, {size - held} bytes beside weights, {held // 1000 + 65536} allowed", flush=True)
        self.remove(made.folder, model)

    def smollm2_8k(self):
        context = 8192
        model = self.compile("smollm2-8k", self.gguf, "--max-context", context)
        text = "The quick brown fox jumps over the lazy dog, and the dog does not mind. "
        probe = self.lorac.run_json(model, "--prompt", text * 8, "--max-tokens", 1, "--stats")["stats"]["prompt_tokens"]
        each = probe / 8
        prompt = text * int((context - 60) / each)
        done = watch.watch(self.lorac.program, "run", model, "--prompt", prompt, "--ignore-eos", "--max-tokens", 32, "--json", "--stats",
                           environment=self.lorac.environment)
        self.expect(done.code == 0, f"smollm2-8k: exit {done.code}: {done.terminal[-500:]}")
        result = json.loads(done.stdout)
        stats = result["stats"]
        self.expect(stats["prompt_tokens"] > 8000 and len(result["tokens"]) == 32 and result["finish"] == "length",
                    f"smollm2-8k: {stats['prompt_tokens']} tokens of a prompt, {len(result['tokens'])} new, finish {result['finish']}")
        # A sentence heard 400 times goes on.
        self.expect(result["text"].strip()[:20] in text * 2, f"smollm2-8k: it goes on with {result['text']!r}")
        print(f"smollm2-8k: {stats['prompt_tokens']} tokens of a prompt and {len(result['tokens'])} new in {done.seconds:.0f} s "
              f"({stats['tokens_per_second']['prompt']:.1f} and {stats['tokens_per_second']['decode']:.1f} tokens/s), peak {done.peak / MiB:.0f} MiB: "
              f"{result['text']!r}", flush=True)
        room = context - stats["prompt_tokens"] + 1
        refused = self.lorac.call("run", model, "--prompt", prompt, "--max-tokens", room + 1)
        self.expect(refused.returncode == 1 and f"exceed the context of {context}" in refused.stderr,
                    f"smollm2-8k: one past the end: exit {refused.returncode}: {refused.stderr}")
        self.remove(model)


SMALL = {"sparse": Scale.sparse, "windows": Scale.windows, "long-context": Scale.long_context}
LARGE = {"llama-1.1b": Scale.llama_1_1b, "f32-3g": Scale.f32_3g, "head-128k": Scale.head_128k, "bits": Scale.bits,
         "smollm2-8k": Scale.smollm2_8k}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--lorac-opt", required=True)
    parser.add_argument("--cases", default=",".join(SMALL))
    parser.add_argument("--folder", help="where files are made and removed; default: a temporary folder")
    parser.add_argument("--gguf", default=harness.ROOT / ".cache" / "SmolLM2-135M-Instruct.Q4_1.gguf", help="of smollm2-8k")
    arguments = parser.parse_args()
    cases = arguments.cases.split(",")
    for case in cases:
        if case not in SMALL | LARGE:
            parser.error(f"case {case} does not exist; there are {', '.join(SMALL | LARGE)}")
    if arguments.folder:
        pathlib.Path(arguments.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lorac-scale-", dir=arguments.folder) as folder:
        scale = Scale(arguments, folder)
        for case in cases:
            started = time.monotonic()
            try:
                (SMALL | LARGE)[case](scale)
            except AssertionError as error:
                scale.expect(False, f"{case}: {error}")
            print(f"{case}: {time.monotonic() - started:.1f} s in all", flush=True)
    scale.finish()


main()
