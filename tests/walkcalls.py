"""Calls of walk.c as plain values, made by ctypes or by a program of tests/walk_harness.c."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from live import ROOT

HARNESS = Path(__file__).parent / "walk_harness.c"
SOURCE = ROOT / "gdb_heapx" / "heap" / "walk.c"
BUILD = ROOT / "scripts" / "build_walk"
POINTER = 8  # bytes


class At(NamedTuple):
    """An address: of a byte of a buffer, by its number."""

    buffer: int
    byte: int = 0


class Point(NamedTuple):
    """Where in a buffer a pointer lies, and where that leads."""

    at: At
    to: At


class Call(NamedTuple):
    name: str
    arguments: tuple[int | At, ...] = ()


@dataclass(frozen=True)
class Calls:
    """Calls one after the other on the same buffers, of which some hold pointers to others."""

    buffers: tuple[bytes, ...]
    calls: tuple[Call, ...]
    points: tuple[Point, ...] = ()

    def input(self) -> bytes:
        """What the harness reads."""
        lines = [b"buffer %d\n%b\n" % (len(buffer), buffer) for buffer in self.buffers]
        lines += [b"point %d %d %d %d\n" % (*each.at, *each.to) for each in self.points]
        for name, arguments in self.calls:
            words = [f"{a.buffer}+{a.byte}" if isinstance(a, At) else str(a) for a in arguments]
            lines.append(" ".join(("call", name, str(len(words)), *words, "\n")).encode())
        return b"".join((*lines, b"done\n"))


class Made(NamedTuple):
    """What each call returned, and the buffers afterwards, with zeros for pointers."""

    returned: tuple[int, ...]
    buffers: tuple[bytes, ...]


def made_by(program: Sequence[str | Path], many: Iterable[Calls]) -> list[Made]:
    """Make calls in one run of the harness. AssertionError with what it said where it fails."""
    listed = list(many)
    sent = b"".join(each.input() for each in listed)
    options = {"ASAN_OPTIONS": "detect_leaks=0"}  # LeakSanitizer can't run under a tracer
    done = subprocess.run(
        program, input=sent, capture_output=True, timeout=600, env={**os.environ, **options}
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return _parsed(done.stdout, listed)


def _parsed(said: bytes, many: Iterable[Calls]) -> list[Made]:
    found = []
    for each in many:
        returned = []
        for _ in each.calls:
            line, _, said = said.partition(b"\n")
            returned.append(int(line.removeprefix(b"returned ")))
        buffers = []
        for buffer in each.buffers:
            buffers.append(said[: len(buffer)])
            said = said[len(buffer) :]
        found.append(Made(tuple(returned), tuple(buffers)))
    assert not said
    return found


def made_here(code: ctypes.CDLL, calls: Calls) -> Made:
    """Make calls by ctypes."""
    buffers = [ctypes.create_string_buffer(buffer, len(buffer)) for buffer in calls.buffers]

    def address(at: At) -> int:
        return ctypes.addressof(buffers[at.buffer]) + at.byte

    def number(argument: int | At) -> ctypes.c_uint64:
        return ctypes.c_uint64(address(argument) if isinstance(argument, At) else argument)

    for (buffer, byte), to in calls.points:
        ctypes.c_uint64.from_buffer(buffers[buffer], byte).value = address(to)
    returned = []
    for name, arguments in calls.calls:
        function = code[name]  # a new one each time: what others declare of it doesn't count
        function.restype = ctypes.c_uint64
        returned.append(function(*map(number, arguments)))
    for (buffer, byte), _ in calls.points:
        ctypes.memset(ctypes.byref(buffers[buffer], byte), 0, POINTER)
    return Made(tuple(returned), tuple(buffer.raw for buffer in buffers))
