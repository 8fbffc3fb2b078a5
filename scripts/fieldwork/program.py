"""Say of a program how it is started, loaded and looked at."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

LOADS = Path(__file__).resolve().parent / "loads"


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Wait until this is true; an error if it isn't in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.05)


@dataclass(frozen=True)
class Place:
    """Where one run of a program happens: an empty directory, which is its working directory."""

    directory: Path
    python: str  # of the venv that has packages from PyPI
    user: str = ""  # who runs the program, where it isn't the one who runs the script

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def wait_for(self, name: str, seconds: float = 60) -> None:
        """Wait until a file is there."""
        eventually((self.directory / name).exists, f"{name} is there", seconds)

    def run(self, *words: str, text: str | None = None) -> str:
        """Run a command that prepares or loads, as the program's user; return what it prints."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            words,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.directory,
            env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.directory)},
            timeout=60,
            **self.identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def identity(self) -> dict[str, Any]:
        """Return what tells subprocess who the program is."""
        if not self.user:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


@dataclass(frozen=True)
class Program:
    """A program, how it is started, and its load.

    It is ready for being looked at when `load` has returned; without one, when it has written the
    file `ready` in its directory. With `hold` it is kept where it would end.
    """

    name: str
    what: str  # the load, in words
    packages: tuple[str, ...]  # Debian's
    command: Callable[[Place], Sequence[str]]
    version: tuple[str, ...]  # a command; what it prints has the version
    wheels: tuple[str, ...] = ()  # PyPI's
    prepare: Callable[[Place], None] | None = None
    serves: Callable[[Place], Any] | None = None  # the address that it then listens on
    load: Callable[[Place, subprocess.Popen[bytes]], Any] | None = None
    pick: Callable[[Place, int], int] | None = None  # the process to look at, from the started
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""  # for root: who runs it, since it refuses root
    hold: bool = False
    deaf: bool = False  # it takes all signals itself, and can't be told to call malloc_trim
    tools: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)  # by a remedy's words

    def version_text(self, python: str) -> str:
        words = [python if word == "PYTHON" else word for word in self.version]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = re.search(r"\d+\.\d+[\w.]*", done.stdout)
        return found.group() if found else "?"


def script(name: str, *interpreter: str) -> Callable[[Place], Sequence[str]]:
    """Return the command of an interpreter that runs a file of loads/."""
    return lambda place: [
        *(place.python if word == "PYTHON" else word for word in interpreter),
        str(LOADS / name),
    ]


def complain(text: str) -> None:
    print(f"field: {text}", file=sys.stderr, flush=True)
