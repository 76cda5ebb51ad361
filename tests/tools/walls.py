#!/usr/bin/env python3
"""The rules of dependency, over the source and over what was built: walls.py [--build FOLDER]

runtime/, schemas/ and support/ include no MLIR, LLVM, shaderc, SPIRV-Tools or CUDA header; compiler/ and dialect/ include nothing of
runtime/; no file under runtime/ names a model family, a layer's role or an activation function. With --build, a Ninja folder: no
object of runtime/ or support/, nor of their tests, was made from a header of the first kind or from one of compiler/ or dialect/; the
runtime's objects call nothing that prints or ends the process; liblorac_runtime.so needs the C and C++ libraries alone and exports the
functions that lorac.h declares, no more and no less."""
import argparse
import pathlib
import re
import subprocess
import sys

import harness

FORBIDDEN_HEADER = re.compile(r"^(mlir|llvm|clang|shaderc|spirv-tools|glslang|nvrtc|cuda_runtime|dialect/|compiler/|shaders/)")
FORBIDDEN_PATH = re.compile(r"/(mlir|llvm|llvm-c|shaderc|spirv-tools|glslang)/|/llvm-\d+/|nvrtc\.h|cuda_runtime")
FORBIDDEN_LIBRARY = re.compile(r"libMLIR|libLLVM|libshaderc|libSPIRV|libglslang|libcuda|libnvrtc")
# What a program that links the library must have on its machine, and no more. The loader of Vulkan is opened at run time.
ALLOWED_LIBRARY = re.compile(r"(libstdc\+\+|libm|libgcc_s|libc|libdl|libpthread|ld-linux-[\w-]+)\.so\.\d+")
# What prints or ends the process, as nm spells it. __assert_fail, of builds without NDEBUG, is for our own mistakes.
BAD_MANNERS = re.compile(r"(__)?(v?f?printf|v?dprintf|puts|fputs|putchar|putc|fputc|fwrite|perror|syslog)(_chk|_unlocked)?"
                         r"|std(out|err)|_ZSt4c(out|err|log)|(_|quick_)?exit|_Exit|abort|raise|kill|system|signal|sigaction|setlocale")
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


def check_objects(build, report):
    """What Ninja's depfiles say that objects were made from, and what the objects of the library call. Returns how many were seen."""
    output = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    own = tuple(f"{harness.ROOT}/{folder}/" for folder in ("compiler", "dialect", "tools"))
    objects, current = [], None
    for line in output.splitlines():
        if line and not line[0].isspace():
            target = line.split(":")[0]
            wanted = target.startswith(("runtime/", "support/", "tests/runtime/", "tests/support/", "tests/shaders/"))
            current = target if wanted and (pathlib.Path(build) / target).exists() else None
            if current:
                objects.append(current)
        elif current and (FORBIDDEN_PATH.search(line) or line.strip().startswith(own)):
            report(f"{current}: made from {line.strip()}")
    library = [pathlib.Path(build) / target for target in objects if not target.startswith("tests/")]
    if library:
        output = subprocess.run(["nm", "-A", "-u", *library], capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            name, _, symbol = line.rpartition(" ")
            if BAD_MANNERS.fullmatch(symbol.split("@")[0]):
                report(f"{name.split(':')[0]}: calls {symbol}")
    return len(library)


def needed(path):
    dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[([^]]+)\]", dynamic)


def declared():
    """The functions of lorac.h."""
    text = (harness.ROOT / "runtime/include/lorac/lorac.h").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/|^#.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    return set(re.findall(r"\b(lorac_\w+)\([^()]*\);", text))


def check_library(build, report):
    """What the shared library needs and shows."""
    path = pathlib.Path(build) / "runtime/liblorac_runtime.so"
    if not path.exists():
        return report(f"{path}: not built")
    for library in needed(path):
        if not ALLOWED_LIBRARY.fullmatch(library):
            report(f"{path}: needs {library}")
    output = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    # The version node itself (type A) is no symbol that anything could link.
    exported = {line.split()[2].split("@")[0] for line in output.splitlines() if line.split()[1] != "A"}
    for symbol in sorted(exported - declared()):
        report(f"{path}: exports {symbol}, which lorac.h does not declare")
    for symbol in sorted(declared() - exported):
        report(f"{path}: lacks {symbol}, which lorac.h declares")
    tests = pathlib.Path(build) / "bin/unit_tests"
    for library in needed(tests) if tests.exists() else []:
        if FORBIDDEN_LIBRARY.search(library):
            report(f"{tests}: needs {library}")


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
    for symbol, bad in [("printf", True), ("__fprintf_chk", True), ("stderr", True), ("_ZSt4cerr", True), ("exit", True), ("abort", True),
                        ("snprintf", False), ("vsnprintf", False), ("__cxa_atexit", False), ("fopen64", False)]:
        if bool(BAD_MANNERS.fullmatch(symbol)) != bad:
            problems.append(f"the search takes {symbol} for {'good' if bad else 'bad'} manners")
    check_includes(problems.append)
    check_words(problems.append)
    check_links(problems.append)
    checked = len(list(sources("runtime", "schemas", "support", "compiler", "dialect")))
    if arguments.build:
        objects = check_objects(arguments.build, problems.append)
        check_library(arguments.build, problems.append)
        if objects == 0:
            problems.append(f"{arguments.build}: no object of runtime/ or support/ was built there")
        print(f"{objects} objects and {len(declared())} functions of lorac.h looked at")
    for problem in problems:
        print("FAIL", problem)
    print(f"{checked} files looked at, {len(problems)} problems")
    sys.exit(1 if problems or checked == 0 else 0)


main()
