"""A heap in a process of its own: started, asked how long it stood still, dumped, ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .heaps import Wanted
from .measuring import FailedError

ROOT = Path(__file__).resolve().parents[2]
GDB = os.environ.get("HEAPX_GDB", "gdb")
SETTINGS = ("debuginfod enabled off", "auto-load off", "confirm off", "pagination off")
QUIET = ("-nx", "-q", "-batch", *(word for each in SETTINGS for word in ("-iex", f"set {each}")))
COUNTS = ("in_use_chunks", "tcache_chunks", "fast_chunks", "binned_chunks")
SMALLEST = 1 << 20  # bytes of a mapping with mmapped chunks; stacks are smaller


@dataclass(frozen=True)
class Facts:
    """What a heap consists of."""

    chunks: int
    size: int
    spans: tuple[tuple[int, int], ...]  # address and size of all of it
    walk: str = "Python"  # what walks over it, as `heapx about` says


@dataclass(frozen=True)
class Server:
    """A process with a heap."""

    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def stood_still(self) -> float:
        """Return the seconds of the longest standstill since this was asked last."""
        os.kill(self.pid, signal.SIGUSR1)
        line = _line(self.process, 60)
        if not line:
            raise FailedError("the heap has ended: is there memory enough?")
        return int(line) / 1e6

    def let_run(self) -> None:
        """Let it run on, should a tool that had to be ended have left it stopped."""
        os.kill(self.pid, signal.SIGCONT)

    def facts(self) -> Facts:
        """Return what heapx says of the heap."""
        about, arenas, heaps = self._ask("about", "arenas", "heaps")
        spans = [(int(row["address"], 16), row["size"]) for row in heaps[0]["rows"]]
        mmapped = arenas[1]["rows"][0]
        chunks = sum(row[name] for row in arenas[0]["rows"] for name in COUNTS)
        walk = [row["value"] for row in about[0]["rows"] if row["what"] == "walk"]
        size = sum(size for _, size in spans) + mmapped["bytes"]
        if mmapped["bytes"] >= SMALLEST:
            spans += _other_spans(self.pid, spans)
        return Facts(chunks + mmapped["chunks"], size, tuple(spans), *walk)

    def _ask(self, *commands: str) -> list[Any]:
        """Return the tables of heapx's commands, all of one attach."""
        files = [self.directory / f"{command}.json" for command in commands]
        lines = [f"source {ROOT / 'gdb_heapx.py'}"]
        lines += [f"heapx {c} --format json --output {f}" for c, f in zip(commands, files)]
        _gdb("-p", str(self.pid), *(word for line in lines for word in ("-ex", line)))
        for file in files:
            if not file.exists():
                raise FailedError(f"heapx {file.stem} gave no answer")
        tables = [json.loads(file.read_text())["tables"] for file in files]
        for file in files:
            file.unlink()  # none is taken for the next heap's
        return tables

    def dump(self) -> Path:
        """Write its core, once; FailedError if there is no room for it."""
        room, needed = shutil.disk_usage(self.directory).free, _dumped(self.pid)
        if needed > room:
            raise FailedError(
                f"its core may take {needed / 2**30:.1f} GiB, and {self.directory.parent} has "
                f"{room / 2**30:.1f}: set TMPDIR"
            )
        core = self.directory / "core"
        _gdb("-p", str(self.pid), "-ex", f"gcore {core}")
        if not core.exists():
            raise FailedError("gdb could not write its core")
        return core


def build(directory: Path) -> Path:
    """Compile the program that makes the heaps."""
    program = directory / "bench_heaps"
    source = ROOT / "scripts" / "bench_heaps.c"
    subprocess.run(
        ["gcc", "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-pthread", "-o", program, source],
        check=True,
    )
    return program


@contextlib.contextmanager
def serving(program: Path, wanted: Wanted) -> Iterator[Server]:
    """Start a heap, wait until it stands, and end it at last."""
    foreign = re.compile(r"MALLOC_|GLIBC_TUNABLES|LD_PRELOAD")
    process = subprocess.Popen(
        [str(program), wanted.heap.name, str(wanted.number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not foreign.match(name)},
        start_new_session=True,
    )
    try:
        if _line(process, 600) != b"ready\n":
            raise FailedError(f"{wanted.heap.name}={wanted.number} could not be made")
        yield Server(process, program.parent)
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[bytes], limit: float) -> bytes:
    """Return the next line that a heap says, nothing if it has ended."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], limit)[0]:
        raise FailedError(f"the heap said nothing for {limit:g} s")
    return process.stdout.readline()


def _gdb(*words: str) -> None:
    done = subprocess.run(
        [GDB, *QUIET, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise FailedError(f"{GDB} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def _mappings(pid: int) -> Iterator[tuple[int, int, str, list[str]]]:
    """Yield each mapping: address, size, permissions, and its name, if it has one."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        ends, permissions, _, _, _, *name = line.split(maxsplit=5)
        start, end = (int(each, 16) for each in ends.split("-"))
        yield start, end - start, permissions, name


def _other_spans(pid: int, spans: Any) -> list[tuple[int, int]]:
    """Return the mappings where mmapped chunks lie: large, anonymous, and no heap in them."""
    return [
        (start, size)
        for start, size, permissions, name in _mappings(pid)
        if permissions == "rw-p" and not name and size >= SMALLEST
        if not any(start <= address < start + size for address, _ in spans)
    ]


def _dumped(pid: int) -> int:
    """Return the bytes of a core, at most: gdb also writes what heaps have only reserved."""
    return sum(
        size for _, size, permissions, name in _mappings(pid) if "w" in permissions or not name
    )
