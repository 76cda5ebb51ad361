#!/usr/bin/env python3
"""Faults through the command line: commands.py --lorac PROGRAM --preload LIBRARY --shim LIBRARY

A process that is killed while it writes, a full disk, failing file calls, a model that is cut short while it is read, and a device that is
lost while four requests run."""
import argparse
import errno
import json
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import harness

SEED = 20250
ODD = harness.GOLDENS / "llama-odd"
LORAC = PRELOAD = SHIM = None


def knows_temporary_files(folder):
    """Whether the file system has files without a name, which a killed process does not leave behind."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
        return True
    except OSError:
        return False


def setUpModule():
    """One model and one bundle for all. Kernels are in the cache then, and a compilation mostly reads and writes."""
    folder = harness.temporary_folder()
    unittest.addModuleCleanup(folder.cleanup)
    Case.model, Case.bundle = pathlib.Path(folder.name) / "odd.lorac", pathlib.Path(folder.name) / "qv-r4.lora"
    LORAC.ok(*Case.compile_to(Case.model))
    started = time.monotonic()
    LORAC.ok(*Case.compile_to(Case.model))
    Case.compile_seconds = time.monotonic() - started
    started = time.monotonic()
    LORAC.ok(*Case.adapter_to(Case.bundle))
    Case.adapter_seconds = time.monotonic() - started


class Case(unittest.TestCase):
    @classmethod
    def compile_to(cls, path):
        return "compile", ODD, "-o", path, "--max-context", 64, "--max-rows", 4

    @classmethod
    def adapter_to(cls, path):
        return "adapter", ODD / "adapters" / "qv-r4", "--base", cls.model, "-o", path, "--name", "qv-r4"

    def setUp(self):
        folder = harness.temporary_folder()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def call(self, *arguments, **environment):
        return LORAC.call(*arguments, environment=environment)

    def faulty(self, fault, *arguments):
        """A call whose file calls fail as FileCalls.h says."""
        return self.call(*arguments, LD_PRELOAD=str(PRELOAD), LORAC_FILE_FAULT=fault)

    def refused(self, result, *parts):
        """One error line with these parts in it, exit code 1, nothing on stdout."""
        lines = result.stderr.splitlines()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertTrue(lines and lines[0].startswith("lorac: error: "), result.stderr)
        for part in parts:
            self.assertIn(str(part), lines[0])

    def names(self, folder):
        return sorted(path.name for path in folder.iterdir())

    def temporaries(self, folder, target):
        """Removes and counts what a killed writer left; anything else beside `target` is an error."""
        left = [name for name in self.names(folder) if name != target]
        for name in left:
            self.assertRegex(name, "^" + re.escape(target) + r"\.tmp-[0-9A-Za-z-]+$")
            (folder / name).unlink()
        return len(left)

    def old_or_whole(self, path, old, new):
        """One of the two, and as sound as it ever was."""
        data = path.read_bytes()
        self.assertIn(data, (old, new))
        if data == new:
            LORAC.ok("inspect", path, "--verify")
        return data == new


    def adapter_calls(self):
        """How many calls that write `lorac adapter` makes, and some of them: the first, the last and some between. The library's own
        tests (FileFaults.cpp) have each of them fail."""
        target = self.folder / "count.lora"
        low, high = 0, 1024
        while low < high:
            middle = (low + high) // 2
            if self.faulty(f"write:{middle}:kill", *self.adapter_to(target)).returncode == 0:
                high = middle
            else:
                low = middle + 1
        self.assertTrue(10 < low < 1024, low)
        for path in self.folder.iterdir():
            path.unlink()
        return low, sorted({0, 1, low - 6, low - 5, low - 4, low - 3, low - 2, low - 1, *random.Random(SEED).sample(range(low), 3)})


def old_file(name):
    """What lies where a result is to be written: an older one by its beginning, which alone is replaced."""
    return {".lorac": b"LRCM", ".lora": b"LRCA", ".npy": b"\x93NUMPY"}[pathlib.Path(name).suffix] + b" and an old file's end"


class Killed(Case):
    """SIGKILL while writing."""

    def kill_points(self, command, target, new, points):
        """Kills before each of these file calls; how often, and how often the new file was in its place already."""
        old = old_file(target)
        whole = leftovers = 0
        for point in points:
            target.write_bytes(old)
            result = self.faulty(f"write:{point}:kill", *command)
            self.assertEqual(result.returncode, -signal.SIGKILL, result.stderr)
            whole += self.old_or_whole(target, old, new)
            leftovers += self.temporaries(self.folder, target.name)
        if knows_temporary_files(self.folder):
            # Between its name and its place: the one moment at which a whole file can be left under another name.
            self.assertLessEqual(leftovers, 1)
        return whole

    def test_adapter_at_its_calls(self):
        target = self.folder / "a.lora"
        count, points = self.adapter_calls()
        whole = self.kill_points(self.adapter_to(target), target, self.bundle.read_bytes(), points)
        self.assertEqual(whole, 1, "only the flush of the folder comes after the new file is in its place")
        LORAC.ok(*self.adapter_to(target))
        self.assertEqual(self.names(self.folder), ["a.lora"])
        print(f"adapter: killed before {len(points)} of {count} calls that write (seed {SEED})")

    def test_compile_at_some_calls(self):
        target = self.folder / "m.lorac"
        points = sorted(random.Random(SEED).sample(range(30), 6))
        self.assertEqual(self.kill_points(self.compile_to(target), target, self.model.read_bytes(), points), 0)
        print(f"compile: killed before calls {points} that write (seed {SEED})")

    def test_at_random_moments(self):
        chance = random.Random(SEED)
        counts = {"old": 0, "new": 0}
        plans = [(self.adapter_to, "a.lora", self.bundle, self.adapter_seconds)] * 10
        plans += [(self.compile_to, "m.lorac", self.model, self.compile_seconds)] * 10
        for command, name, new, seconds in plans:
            target, old = self.folder / name, old_file(name)
            target.write_bytes(old)
            process = subprocess.Popen([LORAC.program, *map(str, command(target))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env=LORAC.environment)
            try:
                process.wait(timeout=chance.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            counts["new" if self.old_or_whole(target, old, new.read_bytes()) else "old"] += 1
            self.temporaries(self.folder, name)
            target.unlink()
        print(f"ended at random moments (seed {SEED}): {counts['old']} old files, {counts['new']} new ones")


class FailingCalls(Case):
    """Calls of `lorac adapter` that write fail."""

    def test_adapter(self):
        target = self.folder / "a.lora"
        old, new = old_file(target), self.bundle.read_bytes()
        count, points = self.adapter_calls()
        for fault, text, calls in (errno.ENOSPC, "No space left on device; free space", points), (errno.EIO, "Input/output error", points), \
                ("short", None, points[1:4]), (errno.EINTR, None, points[:3]):
            for call in calls:
                with self.subTest(fault=fault, call=call):
                    target.write_bytes(old)
                    result = self.faulty(f"write:{call}:{fault}", *self.adapter_to(target))
                    self.assertEqual(self.names(self.folder), ["a.lora"])
                    # Call 0 asks for a file without a name, and one with a name does as well; the last flushes the folder.
                    if text is None or call in (0, count - 1):
                        self.assertEqual(result.returncode, 0, result.stderr)
                        self.assertEqual(target.read_bytes(), new)
                    else:
                        self.refused(result, target, text)
                        self.assertEqual(target.read_bytes(), old)


class FullDisk(Case):
    """A small file system in a mount namespace."""

    def on_small_disk(self, size, target, *arguments):
        """Runs with `target` on a disk of that size, an old file in its place; result and what then lies there."""
        disk = self.folder / "disk"
        disk.mkdir(exist_ok=True)
        result_file = self.folder / "result.json"
        script = f"""import json, pathlib, subprocess, sys
disk = pathlib.Path({str(disk)!r})
target = disk / {target!r}
target.write_bytes({old_file(target)!r})
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=300)
pathlib.Path({str(result_file)!r}).write_text(json.dumps(
    [done.returncode, done.stdout, done.stderr, sorted(p.name for p in disk.iterdir()), target.read_bytes().hex()]))"""
        command = [LORAC.program, *map(str, arguments)]
        shell = (f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(disk))} && "
                 f"exec {shlex.join([sys.executable, '-c', script, *command])}")
        namespace = subprocess.run(["unshare", "-m", "sh", "-c", shell], capture_output=True, text=True, env=LORAC.environment, timeout=400)
        self.assertEqual(namespace.returncode, 0, namespace.stderr)
        code, out, err, names, content = json.loads(result_file.read_text())
        return subprocess.CompletedProcess(command, code, out, err), names, bytes.fromhex(content)

    def setUp(self):
        super().setUp()
        probe = self.folder / "probe"
        probe.mkdir()
        allowed = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(probe)], capture_output=True, text=True)
        if allowed.returncode != 0:
            reason = "no mount namespaces here: " + allowed.stderr.strip()
            print(reason)
            self.skipTest(reason)

    def check(self, size, name, *arguments):
        result, names, content = self.on_small_disk(size, name, *arguments)
        self.refused(result, self.folder / "disk" / name, "cannot write: No space left on device; free space on that disk")
        self.assertEqual(names, [name], "something beside the old file is left")
        self.assertEqual(content, old_file(name))

    def test_compile(self):
        size = self.model.stat().st_size // 2
        self.check(size, "m.lorac", *self.compile_to(self.folder / "disk" / "m.lorac"))

    def test_adapter(self):
        self.assertGreater(self.bundle.stat().st_size, 8192)
        self.check("8k", "a.lora", *self.adapter_to(self.folder / "disk" / "a.lora"))

    def test_logits(self):
        vocabulary = json.loads((ODD / "config.json").read_text())["vocab_size"]
        self.assertGreater(vocabulary * 30 * 4, 20000)
        self.check("16k", "l.npy", "run", self.model, "--tokens", ",".join(["1"] * 30), "--max-tokens", 2, "--ignore-eos",
                   "--logits", self.folder / "disk" / "l.npy")


class ShrinkingFile(Case):
    """A model that somebody cuts while it is read: no check beforehand can rule it out."""

    def test_run(self):
        model = self.folder / "cut.lorac"
        model.write_bytes(self.model.read_bytes())
        result = self.call("run", model, "--tokens", "1,2,3", LD_PRELOAD=str(PRELOAD), LORAC_FILE_SHRINK="cut.lorac")
        self.assertEqual(model.stat().st_size, 0)
        self.refused(result, model, "became shorter while it was read")
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertEqual(result.stdout, "")

    def test_adapter_leaves_nothing(self):
        model = self.folder / "cut.lorac"
        model.write_bytes(self.model.read_bytes())
        out = self.folder / "out"
        out.mkdir()
        result = self.call("adapter", ODD / "adapters" / "qv-r4", "--base", model, "-o", out / "a.lora", LD_PRELOAD=str(PRELOAD),
                           LORAC_FILE_SHRINK="cut.lorac")
        self.refused(result, model, "became shorter while it was read")
        self.assertEqual(self.names(out), [])


class LostDevice(Case):
    """The device goes away under `lorac run`. Without the validation layer: the shim stands above it, so that it would see submitted work that
    nobody waits for."""

    def lose(self, function, call, *arguments):
        report = self.folder / "report"
        result = self.call(*arguments, LD_LIBRARY_PATH=str(SHIM.parent), LORAC_SHIM_FAULT=f"{function}:{call}:-4",
                           LORAC_SHIM_REPORT=str(report), LORAC_VULKAN_VALIDATION="0")
        self.assertEqual(report.read_text(), "fired 1\nlive 0\n", result.stderr)
        return result

    def requests(self):
        lines = [{"tokens": [1, 2, 3], "max_tokens": 6, "ignore_eos": True},
                 {"tokens": [4], "max_tokens": 6, "ignore_eos": True, "adapters": [{"path": str(self.bundle)}]},
                 {"tokens": [5, 6], "max_tokens": 6, "ignore_eos": True},
                 {"tokens": [7, 8], "max_tokens": 6, "ignore_eos": True, "adapters": [{"path": str(self.bundle), "strength": 0.5}]}]
        path = self.folder / "requests.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def whole(self):
        result = self.call("run", self.model, "--batch", self.requests(), LORAC_VULKAN_VALIDATION="0")
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_every_request_ends_with_its_status(self):
        expected = self.whole()
        self.assertEqual([line["finish"] for line in expected], ["length"] * 4)
        for function, call in ("vkQueueSubmit", 3), ("vkWaitForFences", 4):
            with self.subTest(function=function):
                result = self.lose(function, call, "run", self.model, "--batch", self.requests())
                self.refused(result, f"{function} failed: the device stopped answering", "open a new session")
                lines = [json.loads(line) for line in result.stdout.splitlines()]
                self.assertEqual([line["index"] for line in lines], [0, 1, 2, 3])
                for line, sound in zip(lines, expected):
                    self.assertEqual(line["finish"], "error")
                    self.assertIn(f"{function} failed: the device stopped answering", line["error"])
                    # What was there before is told and right.
                    self.assertLess(len(line["tokens"]), 6)
                    self.assertEqual(line["tokens"], sound["tokens"][:len(line["tokens"])])
                self.assertEqual(self.whole(), expected, "a fresh session")

    def test_while_the_model_is_opened(self):
        result = self.lose("vkQueueSubmit", 0, "run", self.model, "--batch", self.requests())
        self.refused(result, "vkQueueSubmit failed: the device stopped answering")
        self.assertEqual(result.stdout, "")

    def test_one_prompt(self):
        logits = self.folder / "l.npy"
        result = self.lose("vkWaitForFences", 3, "run", self.model, "--tokens", "1,2,3", "--max-tokens", 8, "--ignore-eos",
                           "--logits", logits, "--print-tokens")
        self.refused(result, self.model, "vkWaitForFences failed: the device stopped answering", "open a new session")
        self.assertFalse(logits.exists())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--preload", required=True, type=pathlib.Path)
    parser.add_argument("--shim", required=True, type=pathlib.Path)
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    LORAC = harness.Lorac(options.lorac)
    LORAC.environment["LORAC_VULKAN_VALIDATION"] = "0"  # other tests look at that; here it only costs
    PRELOAD, SHIM = options.preload.resolve(), options.shim.resolve()
    unittest.main(argv=[sys.argv[0], "-v", *options.rest])
