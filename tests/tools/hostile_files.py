#!/usr/bin/env python3
"""Files that someone made, through the command line: hostile_files.py --lorac PROGRAM [--inspect N] [--run N|all] [--seed S] [--jobs J] [--keep DIR]

`lorac inspect --verify` on N fuzzed model files and bundles, most edits in what the metadata's frame holds, with their digests left as the edit leaves them or made anew: exit 0, or exit 1 with
one line that says why. `lorac run` on N files with one number of the metadata changed and every digest made anew: refused, or logits that are all
finite, or a typed error. No crash, no hang, no more memory than --memory beyond what the unharmed file takes. The seed is printed;
--run all takes every number of the metadata, which is hours. Kernel code is left alone: it is code, and a model file is opened like a program."""
import argparse
import concurrent.futures
import math
import os
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

import harness
import model_reader

NUMBERS = [0, 1, 2**64 - 1, 2**64 - 2, 2**31, 2**32]
ADDRESS_SPACE = 16 << 30  # lavapipe reserves much and touches little; what is touched is measured


class Hostile(harness.Checks):
    def __init__(self, arguments, folder):
        super().__init__()
        self.lorac = harness.Lorac(arguments.lorac)
        self.lorac.environment["LORAC_VULKAN_VALIDATION"] = "0"  # what no layer would let pass must end all the same
        self.folder, self.keep = folder, arguments.keep
        self.limit, self.timeout = arguments.memory << 20, arguments.timeout
        golden = harness.GOLDENS / "llama-odd"
        self.model, self.bundle = folder / "odd.lorac", folder / "odd.lora"
        self.lorac.ok("compile", golden, "-o", self.model, "--max-rows", 1)
        self.lorac.ok("adapter", golden / "adapters" / "all-r8", "--base", self.model, "-o", self.bundle)
        self.pages = model_reader.Pages(*((harness.ROOT / "docs" / "formats" / name) for name in ("model.md", "adapter.md")))
        self.files = {path: path.read_bytes() for path in (self.model, self.bundle)}
        self.metadata = {path: model_reader.metadata(data) for path, data in self.files.items()}
        self.lock = threading.Lock()
        self.counts, self.slowest, self.largest = {}, 0.0, 0

    # ---- edits

    def fuzz(self, source, rng):
        """A fuzzed file and what was done."""
        data, edits = bytearray(self.files[source]), []
        count = rng.choice((1, 1, 1, 2, 4, 16))
        inside = sum(rng.random() < 0.8 for _ in range(count))
        if inside:
            content = bytearray(self.metadata[source])
            edits += [f"metadata.{self.edit(content, [(0, len(self.metadata[source]))], rng)}" for _ in range(inside)]
            data = bytearray(model_reader.replace_metadata(data, content))
            data[32:64] = self.files[source][32:64]  # whether digests are made anew is decided below
        offset, size = model_reader.frame_range(data)
        spans = [(0, 64), (offset, len(data)), (0, len(data))]
        edits += [self.edit(data, spans, rng) for _ in range(count - inside)]
        sealed = rng.random() < 0.6 and len(data) >= 64
        if sealed and rng.random() < 0.5 and len(data) >= 64 + size:  # the magic as it was, and the metadata wherever it has moved
            data[:32] = self.files[source][:16] + struct.pack("<QQ", len(data) - size, size)
        return (model_reader.reseal(self.pages, data) if sealed else bytes(data)), f"{source.name} {'sealed ' if sealed else ''}{' '.join(edits)}"

    def edit(self, data, spans, rng):
        """One edit in place, at a position in one of the spans; what was done."""
        at, other = rng.randrange(*rng.choice(spans)), rng.randrange(*rng.choice(spans))
        kind = rng.choice(("bit", "byte", "number", "copy", "cut", "insert", "swap"))
        done = f"{kind}@{at}"
        if kind == "bit":
            data[at:at + 1] = bytes((b ^ 1 << rng.randrange(8) for b in data[at:at + 1]))
        elif kind == "byte":
            data[at:at + 1] = bytes((rng.randrange(256),))
        elif kind == "number":
            width = rng.choice((4, 8))
            at -= at % width
            data[at:at + width] = (rng.choice(NUMBERS) % 2**(8 * width)).to_bytes(width, "little")
        elif kind == "copy":
            size = rng.choice((4, 8, 16, 64, 256))
            data[at:at + size] = data[other:other + size]
        elif kind == "swap":
            size = rng.choice((4, 8, 16))
            data[at:at + size], data[other:other + size] = data[other:other + size], data[at:at + size]
        elif kind == "cut" and rng.random() < 0.3:
            del data[at:]
        elif kind == "cut":
            del data[at:at + rng.choice((1, 4, 8, 4096))]
        else:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 8, 4096)))
        return done

    def numbers(self, source):
        """(position, width, value) of every edit of one number of the metadata."""
        for width in 4, 8:
            for at in range(0, len(self.metadata[source]) - width + 1, width):
                for value in NUMBERS:
                    if value < 2**(8 * width) or value >= 2**64 - 2:
                        yield at, width, value % 2**(8 * width)

    def with_number(self, source, at, width, value):
        content = bytearray(self.metadata[source])
        content[at:at + width] = value.to_bytes(width, "little")
        return model_reader.reseal(self.pages, model_reader.replace_metadata(self.files[source], content))

    # ---- calls

    def call(self, arguments, what, path):
        """Runs lorac with limits; its exit code, or None where a limit was passed."""
        def limits():
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            begin = time.monotonic()
            process = subprocess.Popen([self.lorac.program, *map(str, arguments)], stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                       env=self.lorac.environment, preexec_fn=limits)
            timer = threading.Timer(self.timeout, process.kill)
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            took = time.monotonic() - begin
            err.seek(0)
            stderr = err.read().decode("utf-8", "backslashreplace")
        memory = usage.ru_maxrss * 1024
        problem = None
        if took > self.timeout:
            problem = f"still ran after {self.timeout} s"
        elif process.returncode not in (0, 1):
            problem = f"exit {process.returncode}: {stderr.strip()[-300:]}"
        elif process.returncode == 1 and (not stderr.startswith("lorac: error: ") or "\n" in stderr.split("\nlorac: note: ")[0].strip()):
            problem = f"says {stderr!r}"
        elif memory > self.baseline(arguments[0]) + self.limit:
            problem = f"took {memory >> 20} MiB of memory, the unharmed file {self.baseline(arguments[0]) >> 20}"
        elif process.returncode == 1 and "; report" in stderr:
            problem = f"blames itself: {stderr.strip()}"
        with self.lock:
            self.slowest, self.largest = max(self.slowest, took), max(self.largest, memory)
        self.check(not problem, f"{what}: {' '.join(map(str, arguments))}: {problem}", path)
        return None if problem else process.returncode

    def baseline(self, command):
        return self.baselines.get(command, 1 << 62)

    def check(self, holds, what, path):
        """expect(), from any thread; keeps the file of what fails."""
        with self.lock:
            self.expect(holds, what)
            if not holds and self.keep:
                self.keep.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.keep / f"{self.failed}{path.suffix}")

    def measure(self):
        """What the unharmed files take; they have to pass."""
        self.baselines = {}
        peaks = {}
        for command in (("inspect", self.model, "--verify"), ("inspect", self.bundle, "--verify"),
                        self.run_arguments(self.model, None, self.folder / "plain.npy"),
                        self.run_arguments(self.model, self.bundle, self.folder / "plain.npy")):
            self.largest = 0
            if self.call(command, "unharmed", self.model) != 0:
                raise AssertionError("the unharmed file does not pass")
            peaks[command[0]] = max(peaks.get(command[0], 0), self.largest)
        self.baselines, self.largest, self.slowest = peaks, 0, 0.0

    def run_arguments(self, model, bundle, logits):
        adapter = ["--adapter", bundle] if bundle else []
        return ["run", model, *adapter, "--tokens", "1,2,3", "--max-tokens", "2", "--ignore-eos", "--logits", logits]

    def tally(self, key):
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1

    def inspect_one(self, number, seed):
        rng = random.Random(f"{seed}.{number}")
        source = self.bundle if number % 4 == 0 else self.model
        data, what = self.fuzz(source, rng)
        path = self.folder / f"fuzzed-{number}{source.suffix}"
        path.write_bytes(data)
        code = self.call(["inspect", path, "--verify"], what, path)
        self.tally("inspect: passed" if code == 0 else "inspect: refused" if code == 1 else "inspect: failed")
        path.unlink()

    def run_one(self, number, source, at, width, value):
        what = f"{source.name}: {width} bytes of the metadata at {at} set to {value}"
        path, logits = self.folder / f"edited-{number}{source.suffix}", self.folder / f"logits-{number}.npy"
        data = self.with_number(source, at, width, value)
        if model_reader.metadata(data) == self.metadata[source]:
            return
        path.write_bytes(data)
        if self.call(["inspect", path, "--verify"], what, path) == 0:  # what is refused here is refused by run: they open files alike
            bundle = source is self.bundle
            code = self.call(self.run_arguments(self.model if bundle else path, path if bundle else None, logits), what, path)
            if code == 0:
                _, _, values = harness.read_npy(logits)
                self.check(all(map(math.isfinite, values)), f"{what}: logits that are not finite", path)
            self.tally("run: finite logits" if code == 0 else "run: typed error" if code == 1 else "run: failed")
        else:
            self.tally("run: refused when opened")
        path.unlink()
        logits.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--inspect", type=int, default=0)
    parser.add_argument("--run", default="0")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--memory", type=int, default=96, help="MiB beyond what the unharmed file takes; a frame may say that it holds 64")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the files that failed")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"--seed {seed}", flush=True)
    with harness.temporary_folder() as folder:
        hostile = Hostile(arguments, pathlib.Path(folder))
        hostile.measure()
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            work = [pool.submit(hostile.inspect_one, number, seed) for number in range(arguments.inspect)]
            edits = [(source, *edit) for source in (hostile.model, hostile.bundle) for edit in hostile.numbers(source)]
            if arguments.run != "all":
                edits = random.Random(seed).sample(edits, min(int(arguments.run), len(edits)))
            work += [pool.submit(hostile.run_one, number, *edit) for number, edit in enumerate(edits)]
            for job in work:
                job.result()
        for key, count in sorted(hostile.counts.items()):
            print(f"{count:6} {key}")
        print(f"slowest {hostile.slowest:.1f} s, at most {hostile.largest >> 20} MiB; unharmed: " +
              ", ".join(f"{command} {size >> 20} MiB" for command, size in hostile.baselines.items()))
        hostile.finish()


if __name__ == "__main__":
    main()
