#!/usr/bin/env python3
"""The rules of dependency, over the source and over what was built: walls.py [--build FOLDER]

runtime/, schemas/ and support/ include no MLIR, LLVM, shaderc, SPIRV-Tools or CUDA header; compiler/ and dialect/ include nothing of
runtime/; no file under runtime/ names a model family, a layer's role or an activation function. With --build, a Ninja folder: no
object of runtime/ or support/ was made from a header of the first kind, and no library or program that the runtime alone makes needs
a library of it."""
import argparse
import pathlib
import re
import subprocess
import sys

import harness

FORBIDDEN_HEADER = re.compile(r"^(mlir|llvm|clang|shaderc|spirv-tools|glslang|nvrtc|cuda_runtime|dialect/|compiler/|shaders/)")
FORBIDDEN_PATH = re.compile(r"/(mlir|llvm|llvm-c|shaderc|spirv-tools|glslang)/|/llvm-\d+/|nvrtc\.h|cuda_runtime")
FORBIDDEN_LIBRARY = re.compile(r"libMLIR|libLLVM|libshaderc|libSPIRV|libglslang|libcuda|libnvrtc")
# Whole words, whatever their case; names joined by underscores or CamelCase are cut into words first.
FAMILIES = "llama mistral mixtral qwen qwen2 qwen3 gemma phi falcon bloom opt gptneox mpt starcoder deepseek olmo granite"
ROLES = ("mlp ffn feedforward qproj kproj vproj oproj gateproj upproj downproj qkv selfattn lmhead embedtokens inputlayernorm "
         "postattentionlayernorm")
ACTIVATIONS = "silu swish swiglu gelu geglu relu relu2 sigmoid softplus mish"
WORDS = set(f"{FAMILIES} {ROLES} {ACTIVATIONS}".split())
SOURCES = {".h", ".cpp", ".c", ".def", ".fbs", ".hpp"}


def sources(*folders):
    for folder in folders:
        yield from sorted(path for path in (harness.ROOT / folder).rglob("*") if path.suffix in SOURCES)


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1)


def words(line):
    """Words of a line: identifiers as they stand, their parts, and neighbouring parts joined (q_proj is qproj)."""
    for identifier in re.findall(r"[A-Za-z0-9_]+", line):
        parts = [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", identifier)]
        for first in range(len(parts)):
            for last in range(first + 1, min(first + 3, len(parts)) + 1):
                yield "".join(parts[first:last])


def check_includes(report):
    for path in sources("runtime", "schemas", "support"):
        for number, header in includes(path):
            if FORBIDDEN_HEADER.match(header):
                report(f"{path.relative_to(harness.ROOT)}:{number}: includes {header}")
    for path in sources("compiler", "dialect"):
        for number, header in includes(path):
            if header.startswith(("runtime/", "lorac/")):
                report(f"{path.relative_to(harness.ROOT)}:{number}: includes {header}")


def check_words(report):
    for path in sources("runtime"):
        name = path.relative_to(harness.ROOT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for word in sorted(set(words(line)) & WORDS):
                report(f"{name}:{number}: names '{word}'")


def check_links(report):
    """What runtime's and support's CMake files link and look for."""
    for path in [file for folder in ("runtime", "support", "schemas") for file in (harness.ROOT / folder).rglob("CMakeLists.txt")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("#")[0]
            if re.search(r"\b(MLIR|LLVM|shaderc|SPIRV-Tools|CUDA\w*|lorac_(passes|import|emit|compiler|kernels|\w*dialect))\b", code):
                report(f"{path.relative_to(harness.ROOT)}:{number}: {code.strip()}")


def check_build(build, report):
    """Returns how many objects were seen."""
    output = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    seen, current = 0, None
    for line in output.splitlines():
        if line and not line[0].isspace():
            target = line.split(":")[0]
            current = target if target.startswith(("runtime/", "support/")) else None
            seen += current is not None
        elif current and FORBIDDEN_PATH.search(line):
            report(f"{current}: made from {line.strip()}")
    binaries = [path for path in pathlib.Path(build).rglob("liblorac*.so*") if path.is_file() and not path.is_symlink()]
    binaries += [path for path in [pathlib.Path(build) / "bin" / "unit_tests"] if path.exists()]
    for path in binaries:
        dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"\(NEEDED\).*\[([^]]+)\]", dynamic):
            if FORBIDDEN_LIBRARY.search(library):
                report(f"{path}: needs {library}")
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build")
    arguments = parser.parse_args()
    problems = []
    # The search itself is held to lines that it must find, and to one that it must not.
    for line, word in [("attn = q_proj(x)", "qproj"), ("class LlamaModel", "llama"), ("applySiLU(x)", "silu"), ("kGelu", "gelu")]:
        if word not in set(words(line.replace("SiLU", "Silu"))) & WORDS:
            problems.append(f"the search misses {word} in: {line}")
    if set(words("the optimal option is to operate")) & WORDS:
        problems.append("the search finds a word in a line that has none")
    check_includes(problems.append)
    check_words(problems.append)
    check_links(problems.append)
    checked = len(list(sources("runtime", "schemas", "support", "compiler", "dialect")))
    if arguments.build:
        objects = check_build(arguments.build, problems.append)
        if objects == 0:
            problems.append(f"{arguments.build}: no object of runtime/ or support/ was built there")
        print(f"{objects} objects looked at")
    for problem in problems:
        print("FAIL", problem)
    print(f"{checked} files looked at, {len(problems)} problems")
    sys.exit(1 if problems or checked == 0 else 0)


main()
