"""Runs a program with its stderr on a terminal, and samples what memory it and its children hold beside mapped files."""
import dataclasses
import os
import pathlib
import pty
import subprocess
import threading
import time

INTERVAL = 0.02  # seconds between samples


def held(pid):
    """RssAnon + RssShmem of a process and of all that it started, in bytes; 0 for one that is gone."""
    total = 0
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) * 1024
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                total += held(child)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


@dataclasses.dataclass
class Watched:
    code: int
    stdout: str
    terminal: str  # what stderr showed
    seconds: float
    cpu_seconds: float
    peak: int      # bytes
    samples: int


def watch(*command, environment=None):
    master, slave = pty.openpty()
    started, before = time.monotonic(), os.times()
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
                               env={**os.environ, **(environment or {})})
    os.close(slave)
    peak, samples = 0, 0
    shown, printed = bytearray(), bytearray()

    def read_terminal():
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: the other end is closed
                return
            if not piece:
                return
            shown.extend(piece)

    readers = [threading.Thread(target=read_terminal), threading.Thread(target=lambda: printed.extend(process.stdout.read()))]
    for reader in readers:
        reader.start()
    while process.poll() is None:
        peak, samples = max(peak, held(process.pid)), samples + 1
        time.sleep(INTERVAL)
    seconds = time.monotonic() - started
    for reader in readers:
        reader.join()
    process.stdout.close()
    os.close(master)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Watched(process.returncode, printed.decode(), shown.decode(errors="replace"), seconds, cpu, peak, samples)
