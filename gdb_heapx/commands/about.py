"""heapx about: what was looked at, and how each thing was found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .. import __version__
from ..cli.command import command
from ..heap.states import Search
from ..report.model import Report
from ..report.schema import Column, Kind, Schema
from ._columns import LIBC

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot
    from ..target.facts import Facts

ABOUT = Schema(
    "about",
    (Column("what", Kind.TEXT), Column("value", Kind.TEXT), Column("how", Kind.TEXT), LIBC),
)


class _Fact(NamedTuple):
    what: str
    value: str | None
    how: str | None
    libc: str | None = None


@command("heapx about", whole=True, tables=(ABOUT,), search=Search.NONE)
def about(snapshot: Snapshot) -> Report:
    """Say what was looked at, and how each thing was found.

    Example:

        heapx about  which libc, and was it found by symbols?
    """
    of_malloc = [_Fact(*found, each.libc) for each in snapshot.mallocs for found in each.found]
    of_heapx = (
        _Fact("heapx", __version__, "Python " + sys.version.split()[0]),
        _Fact("walk", *snapshot.walker),
    )
    facts = (*of_heapx, *_of_target(snapshot.target), *of_malloc)
    return Report((ABOUT.of(facts),), snapshot.problems)


def _of_target(target: Facts) -> Iterator[_Fact]:
    yield _Fact("target", target.name, "stopped by gdb" if target.live else "as it was dumped")
    yield _Fact("program", target.exe, target.exe_how)
    bits = f"{8 * target.word} bits, {target.page} B pages"
    yield _Fact("architecture", target.architecture, bits)
    known = "unknown" if target.no_residency else "known"
    yield _Fact("residency", known, target.no_residency or "/proc/PID/pagemap")
