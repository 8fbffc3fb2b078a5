"""A process that grows and shrinks by known amounts, step by step (inferiors/changing.c)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from live import Inferior, at_rest, eventually, table, told

from gdb_heapx.compare.comparing import Comparison
from gdb_heapx.compare.look import Look
from gdb_heapx.saved.saved import read_saved


class Counts(NamedTuple):
    """What the process itself has counted: bytes of its chunks, their number, and other memory."""

    held: int
    chunks: int
    mapped: int


@dataclass
class Changing:
    """A process, and how many of its steps are done."""

    inferior: Inferior
    done: int = 0

    @property
    def pid(self) -> int:
        return self.inferior.pid

    @property
    def counts(self) -> Counts:
        return Counts(*(self._told(name) for name in Counts._fields))

    def step(self, number: int = 1) -> Counts:
        """Let it do the next steps; return what it has counted then."""
        for _ in range(number):
            os.kill(self.pid, signal.SIGUSR1)
            self.done += 1
            eventually(lambda: self._told("done") == self.done, f"step {self.done} is done")
        eventually(lambda: at_rest(self.pid), "it rests")
        return self.counts

    def save(self, file: Path, *options: str) -> Path:
        result = told("-p", self.pid, "save", file, *options)
        assert (result.status, result.err) == (0, "")
        return file

    def _told(self, name: str) -> int:
        file = self.inferior.oracle.directory / name
        return int(file.read_text()) if file.exists() else 0


def changing(start: Callable[..., Inferior], *steps: str) -> Changing:
    """Start the process; it does the steps when it is told to."""
    return Changing(start("changing", *steps))


def compared(old: Path, new: Path) -> Comparison:
    """Return what changed from one file to the other."""
    looks = (read_saved(file) for file in (old, new))
    return Comparison(*(Look(s.snapshot, s.taken.time, s.taken.host, s.tables) for s in looks))


def rows(report, name="compare"):
    """Return the rows of a table by their first column."""
    found = table(report, name)
    return {next(iter(row.values())): row for row in found}
