#!/usr/bin/env python3
"""Measures lorac and its peers on one model, in turn: peers.py --lorac PROGRAM [--rounds N] [--only PREFIX]... [--name NAME]

    python3 bench/peers/peers.py --lorac build/dev/bin/lorac                                  # on the machine's own Vulkan driver
    scripts/mesa.sh python3 bench/peers/peers.py --lorac build/dev/bin/lorac --name mesa-25.0.7

The model is the demo's SmolLM2-135M-Instruct (GGUF, Q4_1) and its f16 conversion, the adapter examples/adapters/support (r 8 on all
linears). Peers: llama.cpp on the CPU and on the Vulkan device (the one that llama-cpp-python 0.3.7's source package vendors, built here),
transformers and PEFT (float32, CPU). All that is fetched, built or converted lies under .cache/peers; nothing else is touched, and no
test needs it. The first run builds llama.cpp, a quarter of an hour on two cores; it needs g++, cmake, libvulkan-dev and apt's lists.

A round measures every entry once, the next one in reverse order; a ratio is of the two entries' figures in one round. All use as many
threads as there are cores. lorac's single sequences are whole `lorac run` processes, whose prompt figure includes making pipelines; the
peers' models stay loaded and have run once before they are measured. Writes bench/results/peers-NAME.json and .md."""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "peers"
GGUF = ROOT / ".cache" / "SmolLM2-135M-Instruct.Q4_1.gguf"
ADAPTER = ROOT / "examples" / "adapters" / "support"
LLAMA_CPP = "llama-cpp-python==0.3.7"  # newer ones want newer Vulkan headers than Debian 12 has
TORCH = ["torch", "transformers", "peft", "gguf", "safetensors"]
THREADS = os.cpu_count()
LONG, SHORT, NEW = 128, 32, 12
BATCH = 8
VOCABULARY = 49152


def tokens(count):
    """No text, but the same for everyone."""
    return [1 + (7919 * i + 104729) % (VOCABULARY - 1) for i in range(count)]


# ---- what the measurements need, made once under .cache/peers

def run(*command, **options):
    print("$", *map(str, command), file=sys.stderr)
    subprocess.run(list(map(str, command)), check=True, **options)


def once(path, make):
    """Makes a file or folder under another name first: half of it is never taken for all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        if partial.is_dir():
            shutil.rmtree(partial)
        make(partial)
        partial.rename(path)
    return path


def environment_with(name, install):
    """A virtual environment; its Python. Scripts in one hold its path, so that it is made in place."""
    folder = CACHE / name
    marker = folder / "complete"
    if not marker.exists():
        run(sys.executable, "-m", "venv", folder)
        install(folder / "bin" / "pip")
        marker.touch()
    return folder / "bin" / "python"


def install_llama(pip):
    glslc = shutil.which("glslc")
    if not glslc:  # out of Debian's package, which is not installed
        folder = CACHE / "glslc"
        folder.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", "glslc", cwd=folder)
        run("dpkg-deb", "-x", next(folder.glob("glslc_*.deb")), folder)
        glslc = folder / "usr" / "bin" / "glslc"
    run("nice", "-n", "19", pip, "install", "--no-binary", "llama-cpp-python", LLAMA_CPP,
        env={**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "1",
             # Of its two CMake files one takes the variable, the other looks along PATH.
             "PATH": f"{pathlib.Path(glslc).parent}{os.pathsep}{os.environ['PATH']}",
             "CMAKE_ARGS": f"-DGGML_VULKAN=ON -DLLAVA_BUILD=OFF -DVulkan_GLSLC_EXECUTABLE={glslc}"})


def prepare(lorac):
    if not GGUF.exists():
        sys.exit(f"peers.py: {GGUF} is not there; scripts/demo.sh fetches it")
    made = {"llama": environment_with("venv", install_llama),
            "torch": environment_with("venv-torch", lambda pip: run("nice", "-n", "19", pip, "install", *TORCH))}
    made["f16.gguf"] = once(CACHE / "smollm2-f16.gguf", lambda path: run(made["llama"], __file__, "--worker", "convert-model", path))
    made["support.gguf"] = once(CACHE / "support.gguf", lambda path: run(made["torch"], __file__, "--worker", "convert-adapter", path))
    # What lorac makes changes with lorac: always anew.
    for name, quantize in ("f16", "f16"), ("stored", "as-stored"), ("nf4", "nf4"):
        made[name] = CACHE / f"{name}.lorac"
        done = subprocess.run([lorac, "compile", GGUF, "-o", made[name], "--quantize", quantize], capture_output=True, text=True)
        if done.returncode:
            print(f"without {name}: {done.stderr.strip()}", file=sys.stderr)
            made[name] = None
    made["support.lora"] = CACHE / "support.lora"
    base = next(made[name] for name in ("f16", "stored") if made[name])
    subprocess.run([lorac, "adapter", ADAPTER, "--base", base, "-o", made["support.lora"]], check=True, stdout=subprocess.DEVNULL)
    return made


# ---- workers: this file again, in a peer's own environment

def convert_model(target):
    from llama_cpp import llama_cpp as api
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype = api.LLAMA_FTYPE_MOSTLY_F16
    parameters.allow_requantize = True
    if api.llama_model_quantize(str(GGUF).encode(), target.encode(), parameters) != 0:
        sys.exit("llama.cpp did not convert the model")


def convert_adapter(target):
    """A PEFT folder as llama.cpp wants it: its names, and B's rows of q and k in the order of a GGUF's."""
    import gguf
    import numpy
    from safetensors.numpy import load_file
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    reader = gguf.GGUFReader(GGUF)
    heads = {"q_proj": int(reader.fields["llama.attention.head_count"].contents()),
             "k_proj": int(reader.fields["llama.attention.head_count_kv"].contents())}
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
             "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for key, values in load_file(ADAPTER / "adapter_model.safetensors").items():
        parts = key.split(".")  # base_model.model.model.layers.N.BLOCK.LINEAR.lora_X.weight
        layer, linear, side = parts[parts.index("layers") + 1], parts[-3], parts[-2]
        values = values.astype(numpy.float32)
        if side == "lora_B" and linear in heads:
            rows, rank = values.shape
            values = values.reshape(heads[linear], 2, rows // heads[linear] // 2, rank).swapaxes(1, 2).reshape(rows, rank)
        writer.add_tensor(f"blk.{layer}.{names[linear]}.weight.{side.lower()}", numpy.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(answer):
    """A JSON object a line, in and out."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def llama_worker(layers, adapter, *models):
    """All models in one process: making llama.cpp's pipelines on a CPU device takes minutes."""
    import ctypes
    import time
    from llama_cpp import llama_cpp as api
    api.llama_backend_init()
    opened = {}
    for path in models:
        model_parameters = api.llama_model_default_params()
        model_parameters.n_gpu_layers = int(layers)
        model = api.llama_model_load_from_file(path.encode(), model_parameters)
        parameters = api.llama_context_default_params()
        parameters.n_ctx = 512
        parameters.n_threads = parameters.n_threads_batch = THREADS
        opened[path] = api.llama_init_from_model(model, parameters), api.llama_adapter_lora_init(model, adapter.encode())

    def feed(context, ids):
        array = (api.llama_token * len(ids))(*ids)  # the batch only points at it
        if api.llama_decode(context, api.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")
        logits = api.llama_get_logits_ith(context, -1)  # waits
        row = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * VOCABULARY)).contents
        return max(range(0, VOCABULARY, 64), key=row.__getitem__)  # some token that depends on the result

    def measure(request):
        context, support = opened[request["model"]]
        api.llama_clear_adapter_lora(context)
        if request.get("adapter"):
            api.llama_set_adapter_lora(context, support, 1.0)
        api.llama_kv_cache_clear(context)
        began = time.perf_counter()
        token = feed(context, tokens(request["prompt"]))
        between = time.perf_counter()
        for _ in range(request["new"]):
            token = feed(context, [token])
        ended = time.perf_counter()
        return {"prompt": request["prompt"] / (between - began), "decode": request["new"] / (ended - between)}

    for path in models:  # each length and the adapter have pipelines of their own
        for request in {"prompt": LONG}, {"prompt": SHORT}, {"prompt": SHORT, "adapter": True}:
            measure({"model": path, "new": 2, **request})
    serve(measure)


def torch_worker(adapters):
    import time
    import torch
    import transformers
    from peft import PeftModel
    torch.set_num_threads(THREADS)
    model = transformers.AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32)
    adapters = int(adapters)
    names = [f"a{i}" for i in range(adapters)]
    for name in names:
        if name == "a0":
            model = PeftModel.from_pretrained(model, ADAPTER, adapter_name=name)
        else:
            model.load_adapter(ADAPTER, adapter_name=name)
    model.eval()

    def measure(request):
        rows = request.get("rows", 1)
        mixed = {"adapter_names": [names[i % adapters] for i in range(rows)]} if adapters > 1 else {}
        ids = torch.tensor([tokens(request["prompt"])] * rows)
        with torch.inference_mode():
            began = time.perf_counter()
            step = model(input_ids=ids, use_cache=True, logits_to_keep=1, **mixed)
            token = step.logits[:, -1].argmax(-1, keepdim=True)
            between = time.perf_counter()
            for _ in range(request["new"]):
                step = model(input_ids=token, past_key_values=step.past_key_values, use_cache=True, **mixed)
                token = step.logits[:, -1].argmax(-1, keepdim=True)
            ended = time.perf_counter()
        return {"prompt": rows * request["prompt"] / (between - began), "decode": rows * request["new"] / (ended - between)}

    measure({"prompt": SHORT, "new": 2})
    serve(measure)


WORKERS = {"convert-model": convert_model, "convert-adapter": convert_adapter, "llama": llama_worker, "torch": torch_worker}


class Worker:
    """A process that keeps a model; started at its first use."""

    def __init__(self, python, log, *arguments, hide_devices=False):
        self.command = [str(python), "-B", __file__, "--worker", *map(str, arguments)]
        self.environment = {**os.environ, **({"GGML_VK_VISIBLE_DEVICES": ""} if hide_devices else {})}
        self.log = CACHE / f"{log}.log"
        self.process = None

    def ask(self, **request):
        if not self.process:
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                                env=self.environment)
            line = self.process.stdout.readline()
            if line != "ready\n":
                sys.exit(f"peers.py: {self.log}: {self.log.read_text()[-2000:]}")
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"peers.py: {self.log}: {self.log.read_text()[-2000:]}")
        return json.loads(line)

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()


# ---- the entries

def entries(lorac, made):
    """name -> a function that measures it once and gives {"prompt": tokens/s, "decode": tokens/s}."""
    result, workers = {}, []

    def lorac_run(model, prompt, *options):
        # The rate is of the tokens after the second: the first step of a program makes its pipelines.
        told = json.loads(subprocess.run(
            [lorac, "run", model, "--tokens", ",".join(map(str, tokens(prompt))), "--max-tokens", str(NEW + 2), "--ignore-eos", "--json",
             "--stats", *options], capture_output=True, text=True, check=True).stdout)["stats"]
        return {"prompt": told["tokens_per_second"]["prompt"], "decode": told["tokens_per_second"]["decode"]}

    def lorac_batch(model):
        told = json.loads(subprocess.run(
            [lorac, "bench", model, "--adapter", made["support.lora"], "--batch", str(BATCH), "--distinct-adapters", str(BATCH),
             "--prompt-length", str(SHORT), "--new-tokens", str(NEW), "--repetitions", "1", "--no-kernels", "--json"],
            capture_output=True, text=True, check=True).stdout)
        return {case["case"]: {phase: case[phase]["tokens_per_second"]["median"] for phase in ("prompt", "decode")}
                for case in told["cases"]}

    def worker(*arguments, **options):
        workers.append(Worker(*arguments, **options))
        return workers[-1]

    adapter = ["--adapter", made["support.lora"]]
    for name in "f16", "stored", "nf4":
        model = made[name]
        if not model:
            continue
        result[f"lorac {name}"] = lambda model=model: lorac_run(model, LONG)
        result[f"lorac {name}, prompt {SHORT}"] = lambda model=model: lorac_run(model, SHORT)
        if name == "nf4":
            continue
        result[f"lorac {name}, support"] = lambda model=model: lorac_run(model, LONG, *adapter)
        result[f"lorac {name}, {BATCH} rows"] = lambda model=model: lorac_batch(model)
    for where, layers in ("Vulkan", 99), ("CPU", 0):
        serving = worker(made["llama"], f"llama.cpp-{where}", "llama", layers, made["support.gguf"], made["f16.gguf"], GGUF,
                         hide_devices=layers == 0)
        for name, model in ("f16", made["f16.gguf"]), ("Q4_1", GGUF):
            key = f"llama.cpp {where} {name}"
            ask = lambda serving=serving, model=str(model), **request: serving.ask(model=model, **request)
            result[key] = lambda ask=ask: ask(prompt=LONG, new=NEW)
            result[f"{key}, prompt {SHORT}"] = lambda ask=ask: ask(prompt=SHORT, new=NEW)
            result[f"{key}, support"] = lambda ask=ask: ask(prompt=SHORT, new=NEW, adapter=True)
    base, one, many = (worker(made["torch"], f"torch-{count}", "torch", count) for count in (0, 1, BATCH))
    result["transformers f32"] = lambda: base.ask(prompt=LONG, new=NEW)
    result["PEFT f32, support"] = lambda: one.ask(prompt=LONG, new=NEW)
    result[f"PEFT f32, {BATCH} rows"] = lambda: many.ask(prompt=SHORT, new=NEW, rows=BATCH)
    return result, workers


# What the issue of speed asks for: (what, entry, figure, over entry, figure).
RATIOS = [
    ("f16 decode, over llama.cpp Vulkan", "lorac f16", "decode", "llama.cpp Vulkan f16", "decode"),
    (f"f16 prompt {LONG}, over llama.cpp Vulkan", "lorac f16", "prompt", "llama.cpp Vulkan f16", "prompt"),
    (f"f16 prompt {SHORT}, over llama.cpp Vulkan", f"lorac f16, prompt {SHORT}", "prompt", f"llama.cpp Vulkan f16, prompt {SHORT}", "prompt"),
    ("as-stored decode, over llama.cpp Vulkan Q4_1", "lorac stored", "decode", "llama.cpp Vulkan Q4_1", "decode"),
    (f"as-stored prompt {LONG}, over llama.cpp Vulkan Q4_1", "lorac stored", "prompt", "llama.cpp Vulkan Q4_1", "prompt"),
    ("f16 decode, over llama.cpp CPU", "lorac f16", "decode", "llama.cpp CPU f16", "decode"),
    ("as-stored decode, over llama.cpp CPU Q4_1", "lorac stored", "decode", "llama.cpp CPU Q4_1", "decode"),
    ("f16 decode, over transformers f32", "lorac f16", "decode", "transformers f32", "decode"),
    ("as-stored decode, over f16", "lorac stored", "decode", "lorac f16", "decode"),
    ("nf4 decode, over f16", "lorac nf4", "decode", "lorac f16", "decode"),
    ("f16 decode with support, over base", "lorac f16, support", "decode", "lorac f16", "decode"),
    ("as-stored decode with support, over base", "lorac stored, support", "decode", "lorac stored", "decode"),
    ("llama.cpp CPU f16 decode with support, over base", "llama.cpp CPU f16, support", "decode", f"llama.cpp CPU f16, prompt {SHORT}", "decode"),
    ("llama.cpp CPU Q4_1 decode with support, over base", "llama.cpp CPU Q4_1, support", "decode", f"llama.cpp CPU Q4_1, prompt {SHORT}", "decode"),
    ("llama.cpp Vulkan f16 decode with support, over base", "llama.cpp Vulkan f16, support", "decode", f"llama.cpp Vulkan f16, prompt {SHORT}", "decode"),
    ("PEFT f32 decode with support, over transformers", "PEFT f32, support", "decode", "transformers f32", "decode"),
    (f"f16 decode, {BATCH} rows with {BATCH} adapters, over {BATCH} base rows", f"lorac f16, {BATCH} rows, adapters", "decode", f"lorac f16, {BATCH} rows, base", "decode"),
    (f"as-stored decode, {BATCH} rows with {BATCH} adapters, over {BATCH} base rows", f"lorac stored, {BATCH} rows, adapters", "decode", f"lorac stored, {BATCH} rows, base", "decode"),
    (f"f16 decode, {BATCH} rows with {BATCH} adapters, over PEFT's mixed batch", f"lorac f16, {BATCH} rows, adapters", "decode", f"PEFT f32, {BATCH} rows", "decode"),
    (f"as-stored decode, {BATCH} rows with {BATCH} adapters, over PEFT's mixed batch", f"lorac stored, {BATCH} rows, adapters", "decode", f"PEFT f32, {BATCH} rows", "decode"),
]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(rounds):
    """The spread of each entry's figures and of each ratio, over the rounds that have them."""
    figures = {}
    for measured in rounds:
        for name, rates in measured.items():
            for figure, value in rates.items():
                figures.setdefault(name, {}).setdefault(figure, []).append(value)
    ratios = {}
    for what, name, figure, over, over_figure in RATIOS:
        values = [measured[name][figure] / measured[over][over_figure] for measured in rounds if name in measured and over in measured]
        if values:
            ratios[what] = {**spread(values), "pairs": len(values)}
    return {name: {figure: spread(values) for figure, values in each.items()} for name, each in figures.items()}, ratios


def page(told):
    def text(value):
        return f"{value['median']:.3g} ({value['min']:.3g} to {value['max']:.3g})"
    lines = [f"# Peers on {told['device']}", "", "Made by", "", f"    {told['command']}", "",
             f"on {told['machine']}; {len(told['rounds'])} rounds; medians, in brackets the lowest and the highest. {told['versions']}. "
             f"Load of the machine at the start: {told['load']:.1f}; above the number of cores, others ran beside it and only ratios mean something.", "",
             "| ratio, by round | median (range) | pairs |", "| --- | --- | --- |"]
    lines += [f"| {what} | {text(value)} | {value['pairs']} |" for what, value in told["ratios"].items()]
    lines += ["", "| tokens/s | prompt | decode |", "| --- | --- | --- |"]
    lines += [f"| {name} | {text(value['prompt'])} | {text(value['decode'])} |" for name, value in told["figures"].items()]
    return "\n".join(lines) + "\n"


def versions(made):
    llama = subprocess.run([made["llama"], "-c", "import llama_cpp; print(llama_cpp.__version__)"], capture_output=True, text=True).stdout.strip()
    torch = subprocess.run([made["torch"], "-c", "import importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in ('torch', 'transformers', 'peft')))"],
                           capture_output=True, text=True).stdout.strip()
    return f"llama.cpp of llama-cpp-python {llama}, {torch}"


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    return f"{THREADS} cores of {model}"


def main():
    if sys.argv[1:2] == ["--worker"]:
        return WORKERS[sys.argv[2]](*sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", default=[], metavar="PREFIX", help="entries whose names begin so; repeatable")
    parser.add_argument("--name", default="own-driver", help="of the result's files")
    parser.add_argument("--prepare", action="store_true", help="only fetch, build and convert")
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    made = prepare(arguments.lorac)
    if arguments.prepare:
        return None
    chosen, workers = entries(arguments.lorac, made)
    if arguments.only:
        chosen = {name: measure for name, measure in chosen.items() if any(name.startswith(prefix) for prefix in arguments.only)}
    if not chosen:
        sys.exit("peers.py: no entry begins so")
    devices = json.loads(subprocess.run([arguments.lorac, "devices", "--json"], capture_output=True, text=True, check=True).stdout)["devices"]
    told = {"device": f"{devices[0]['name']}, {devices[0]['driver']}", "machine": machine(), "versions": versions(made),
            "command": ("scripts/mesa.sh " if "mesa-backports" in os.environ.get("VK_DRIVER_FILES", "") else "") +
            shlex.join(["python3", "bench/peers/peers.py", *sys.argv[1:]]), "load": os.getloadavg()[0], "rounds": []}
    for number in range(arguments.rounds):
        measured = {}
        for name in (list(chosen) if number % 2 == 0 else reversed(list(chosen))):
            rates = chosen[name]()
            if "prompt" in rates:
                measured[name] = rates
            else:  # one measurement of two cases
                measured.update({f"{name}, {case}": value for case, value in rates.items()})
            print(f"round {number + 1} of {arguments.rounds}: {name}: {rates}", file=sys.stderr, flush=True)
        told["rounds"].append(measured)
        told["figures"], told["ratios"] = summary(told["rounds"])
        results = ROOT / "bench" / "results" / f"peers-{arguments.name}"
        results.parent.mkdir(exist_ok=True)
        results.with_name(results.name + ".json").write_text(json.dumps(told, indent=1) + "\n")
        results.with_name(results.name + ".md").write_text(page(told))
    for each in workers:
        each.close()
    print(page(told))
    return None


main()
