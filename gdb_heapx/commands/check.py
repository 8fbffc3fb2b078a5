"""heapx check: whether the figures agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.command import command
from ..report.either import Either
from ..report.model import Notes, Report
from ..report.notes import note
from ..report.schema import NONE_KNOWN, Column, Kind, Schema, within
from ._columns import LIBC

if TYPE_CHECKING:
    from ..snapshots.figures import Check
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot

CHECKS = Schema(
    "check",
    (
        *within(
            "check",
            Column("check", Kind.TEXT, of="name", shrinks=True),
            Column("arena", Kind.INDEX, absent=""),
            Column("expected", Kind.COUNT),
            Column("found", Kind.COUNT),
            Column("ok", Kind.BOOL),
        ),
        *within("malloc", LIBC),
    ),
)


class _Checked(NamedTuple):
    malloc: Malloc
    check: Check


@command(
    "heapx check",
    Arg("--all", "show the checks that hold, too, as JSON and CSV always do"),
    tables=(CHECKS,),
)
def check(snapshot: Snapshot, all: bool) -> Report:
    """Check that glibc's figures and the chunks agree.

    Each arena's chunks must add up to its system_mem, its free chunks must be those in its bins,
    and each tcache must hold as many chunks as it counts. Exit status 1 (in scripts) means damage.
    Text lists the checks that fail; with --all, those that hold, too.

    Example:

        heapx check  before you trust figures of a damaged heap
    """
    checks = [
        _Checked(malloc, each)
        for malloc in snapshot.mallocs
        for each in sorted(malloc.checks, key=lambda check: check.ok)
    ]
    failed = [each for each in checks if not each.check.ok]
    number, bad = len(checks), len(failed)
    damaged = any(problem.damage for problem in snapshot.problems)
    verdict = Notes((note("checks", number=number, failed=bad, damaged=damaged),))
    schema = CHECKS.but("check", flows=len(snapshot.mallocs) > 1)
    if all:
        return Report((schema.of(checks), verdict), snapshot.problems)
    failing = replace(schema.of(failed), few=NONE_KNOWN)
    listed = Notes((note("checks_listed", number=number, failed=bad, damaged=damaged),))
    blocks = Either(schema.of(checks), (failing,)), Either(verdict, (listed,))
    return Report(blocks, snapshot.problems)
