"""heapx check: whether the figures agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.command import command
from ..report.model import Column, Kind, Notes, Report, Schema, within
from ..report.notes import note
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
            Column("check", Kind.TEXT, of="name"),
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


@command("heapx check", tables=(CHECKS,))
def check(snapshot: Snapshot) -> Report:
    """Check that glibc's figures and the chunks agree.

    Each arena's chunks must add up to its system_mem, its free chunks must be those in its bins,
    and each tcache must hold as many chunks as it counts. Exit status 1 (in scripts) means damage.

    Example:

        heapx check  before you trust figures of a damaged heap
    """
    checks = [
        _Checked(malloc, each)
        for malloc in snapshot.mallocs
        for each in sorted(malloc.checks, key=lambda check: check.ok)
    ]
    failed = sum(not each.check.ok for each in checks)
    damaged = any(problem.damage for problem in snapshot.problems)
    verdict = note("checks", number=len(checks), failed=failed, damaged=damaged)
    table = CHECKS.but("check", flows=len(snapshot.mallocs) > 1)
    return Report((table.of(checks), Notes((verdict,))), snapshot.problems)
