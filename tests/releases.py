"""Programs on other glibc releases and architectures, which scripts/fetch_glibc brings."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from live import ROOT

from gdb_heapx.target.elf import Elf

FETCH = ROOT / "scripts" / "fetch_glibc"
SOURCES = Path(__file__).parent / "inferiors"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", "-fno-builtin")
HOST = "host"


def missing(what: str) -> NoReturn:
    """Skip, and say what is missing; CI installs it, so there it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def need(**packages: str) -> None:
    """Skip where a command is missing; the packages by command, - for _ in its name."""
    for command, package in packages.items():
        if shutil.which(command.replace("_", "-")) is None:
            missing(f"needs Debian's package {package}")


@dataclass(frozen=True)
class Glibc:
    """A glibc to build for: the compiler with its flags, and where the debug symbols are."""

    suite: str
    compiler: tuple[str, ...]
    debug: Path | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The words that make gdb find the debug symbols."""
        return ("-iex", f"set debug-file-directory {self.debug}") if self.debug else ()

    @property
    def libc(self) -> tuple[Path, ...]:
        """libc.so.6 and its debug file; () for the host's own."""
        if self.debug is None:
            return ()
        (file, *_) = (self.debug.parents[2]).glob("**/*-linux-gnu/libc.so.6")
        build_id = Elf.open(str(file)).build_id() or ""
        return file, self.debug / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"

    def build(self, name: str, out: Path, *flags: str) -> Path:
        """Compile a program of tests/inferiors; return it."""
        out.mkdir(parents=True, exist_ok=True)
        end = ("-o", out / name, "-ldl", "-lrt")
        command = [*self.compiler, *FLAGS, *flags, SOURCES / f"{name}.c", *end]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        return out / name


def glibc_of(suite: str, arch: str = "amd64") -> Glibc:
    """Return a suite's glibc, fetched unless it is there; HOST is this machine's own."""
    if suite == HOST:
        return Glibc(HOST, ("gcc",))
    tree = Path(_fetch(suite, arch)[0])
    flags = tuple(f for f in _fetch(suite, arch, "--gcc-flags") if f not in FLAGS)
    return Glibc(suite, ("gcc", *flags), tree / "usr/lib/debug")


def _fetch(*words: str) -> Sequence[str]:
    done = subprocess.run([FETCH, *words], capture_output=True, text=True)
    if done.returncode:
        missing(f"{FETCH.name} {shlex.join(words)}: {done.stderr.strip()[-200:]}")
    return shlex.split(done.stdout)
