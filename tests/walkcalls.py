"""Calls of compiled code as plain values, made by ctypes or by a program of tests/walk_harness.c.

Such a program runs it under sanitizers, or on a machine without Python.
"""

from __future__ import annotations

import ctypes
import io
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from live import ROOT, environment
from once import once
from releases import missing, need

HARNESS = Path(__file__).parent / "walk_harness.c"
SOURCES = sorted((ROOT / "gdb_heapx").glob("*/*.c"))
HEADERS = sorted((ROOT / "gdb_heapx").glob("*/*.h"))
BUILD = ROOT / "scripts" / "build_walk"
STRICT = ("-Wall", "-Wextra", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CROSS = "aarch64-linux-gnu-gcc"
ON_AARCH64 = (CROSS, "clang --target=aarch64-linux-gnu")
COMPILERS = ("gcc", "clang", *ON_AARCH64)
WALK = f"walk-{os.uname().machine}.so"
POINTER = 8  # bytes

Program = tuple[str | Path, ...]


def have(compiler: str) -> None:
    """Skip where a compiler is missing, or what it needs to link for another machine."""
    for command in {compiler.split()[0], *([CROSS] if "aarch64" in compiler else [])}:
        package = "gcc-aarch64-linux-gnu" if command == CROSS else command
        if shutil.which(command) is None:
            missing(f"needs Debian's package {package}")


def build(file: Path, compiler: str, *flags: str | Path) -> tuple[int, str]:
    """Compile the walk; return what scripts/build_walk ended with, and what it said."""
    words, environ = (BUILD, file, *flags), environment(CC=compiler)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def walk_by(compiler: str, shared: Path) -> Path:
    """Return the walk that a compiler has made without a warning, once for all tests."""
    have(compiler)

    def make(directory: Path) -> None:
        assert build(directory / "libwalk.so", compiler, *STRICT) == (0, "")

    return once(shared / f"walk-by-{compiler.replace(' ', '')}", make) / "libwalk.so"


def native(shared: Path) -> ctypes.CDLL:
    """Return the walk for this machine, loaded."""
    return ctypes.CDLL(str(walk_by("gcc", shared)))


def sanitized_walk(shared: Path) -> Path:
    """Return the walk under AddressSanitizer and UBSan, made once for all tests.

    Both come with gcc. Debian's clang needs a package of its release's name for them. Optimised, it
    would take thrice as long to compile, and the calls less than a second.
    """
    have("gcc")
    flags = ("-std=c11", "-O0", "-g", "-fPIC", "-shared", "-fno-builtin", *SANITIZED)

    def make(directory: Path) -> None:
        words = ("gcc", *flags, "-o", directory / WALK, *SOURCES)
        subprocess.run(words, check=True, timeout=120)

    return once(shared / "walk-sanitized", make) / WALK


def _harness(walk: Path, compiler: str, *flags: str) -> Path:
    """Return the harness with a library of the functions that it calls."""
    command = (*shlex.split(compiler), "-std=gnu11", "-g", "-O1", *STRICT, *flags, HARNESS)

    def make(directory: Path) -> None:
        words = (*command, "-Wl,--no-as-needed", walk, "-ldl", "-o", directory / "harness")
        subprocess.run(words, check=True, timeout=120)

    return once(walk.parent / "with-harness", make) / "harness"


def sanitized(shared: Path) -> Program:
    """Return the harness with the walk, both under AddressSanitizer and UBSan."""
    return (_harness(sanitized_walk(shared), "gcc", *SANITIZED),)


def on_aarch64(shared: Path, compiler: str) -> Program:
    """Return the harness with the compiled walk for aarch64, which qemu-user runs."""
    need(qemu_aarch64_static="qemu-user-static")
    program = _harness(walk_by(compiler, shared), CROSS)
    return "qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", program


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


def made_by(program: Program, many: Iterable[Calls]) -> list[Made]:
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
    stream, found = io.BytesIO(said), []
    for each in many:
        returned = [int(stream.readline().removeprefix(b"returned ")) for _ in each.calls]
        buffers = [stream.read(len(buffer)) for buffer in each.buffers]
        found.append(Made(tuple(returned), tuple(buffers)))
    assert not stream.read()
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
