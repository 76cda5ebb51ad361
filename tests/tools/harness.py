"""What the tests of the command line share: calling lorac, reading tensors, editing files. Standard library only."""
import array
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens"
EXAMPLES = ROOT / "examples" / "adapters"


class Lorac:
    """The program, with the validation layers on unless the environment says otherwise."""

    def __init__(self, program):
        self.program = str(program)
        self.environment = dict(os.environ)
        self.environment.setdefault("LORAC_VULKAN_VALIDATION", "1")
        self.environment.setdefault("LORAC_PIPELINE_CACHE", "")  # no test leaves anything in the user's cache

    def call(self, *arguments, environment=None):
        """Runs it; returncode, stdout, stderr."""
        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8",
                              env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL, timeout=600)

    def ok(self, *arguments, environment=None):
        """stdout of a call that must succeed."""
        result = self.call(*arguments, environment=environment)
        if result.returncode != 0:
            raise AssertionError(f"lorac {' '.join(map(str, arguments))}: exit {result.returncode}: {result.stderr.strip()}")
        return result.stdout

    def run_json(self, *arguments):
        return json.loads(self.ok("run", *arguments, "--json"))


def temporary_folder():
    return tempfile.TemporaryDirectory(prefix="lorac-test-")


def copy_tree(source, target):
    """A copy whose files may be edited."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return pathlib.Path(target)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    data = memoryview(raw)[8 + size:]
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_safetensors(path, tensors, metadata=None):
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def floats(dtype, data):
    """Values of a little-endian F64, F32 or F16 tensor, or of a BF16 one."""
    count = len(data) // {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}[dtype]
    if dtype == "BF16":
        return [struct.unpack("<f", b"\0\0" + bytes(data[2 * i:2 * i + 2]))[0] for i in range(count)]
    return list(struct.unpack(f"<{count}{ {'F64': 'd', 'F32': 'f', 'F16': 'e'}[dtype] }", data))


def read_npy(path):
    """(rows, columns, values) of a float32 matrix as `--logits` writes it."""
    raw = pathlib.Path(path).read_bytes()
    if raw[:8] != b"\x93NUMPY\x01\x00":
        raise AssertionError(f"{path}: not a .npy file of format 1.0")
    size = struct.unpack_from("<H", raw, 8)[0]
    if (10 + size) % 64:
        raise AssertionError(f"{path}: data are not aligned to 64")
    header = eval(raw[10:10 + size].decode("ascii"), {"__builtins__": {}})  # a literal, as the format defines it
    if header["descr"] != "<f4" or header["fortran_order"] or len(header["shape"]) != 2:
        raise AssertionError(f"{path}: unexpected header {header}")
    values = array.array("f")
    values.frombytes(raw[10 + size:])
    rows, columns = header["shape"]
    if len(values) != rows * columns:
        raise AssertionError(f"{path}: {len(values)} values for {rows} x {columns}")
    return rows, columns, values


class Checks:
    """Checks that a test makes one after another. One that fails is printed and the others follow; finish() ends the test."""

    def __init__(self):
        self.count, self.failed = 0, 0

    def expect(self, holds, what):
        self.count += 1
        if not holds:
            self.failed += 1
            print("FAIL", what, flush=True)

    def finish(self):
        print(f"{self.count - self.failed} of {self.count} checks hold")
        sys.exit(1 if self.failed or self.count == 0 else 0)
