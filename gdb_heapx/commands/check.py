"""heapx check: whether the figures agree."""

from __future__ import annotations

from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table
from ..snapshots.take import Snapshot
from ._columns import LIBC

CHECK_COLUMNS = (
    Column("check", Kind.TEXT),
    Column("arena", Kind.INDEX, absent=""),
    Column("expected", Kind.COUNT),
    Column("found", Kind.COUNT),
    Column("ok", Kind.BOOL),
    LIBC,
)


@command("heapx check")
def check(snapshot: Snapshot) -> Report:
    """Check that glibc's figures and the chunks agree.

    Each arena's chunks must add up to its system_mem, its free chunks must be those in its bins,
    and each tcache must hold as many chunks as it counts. Exit status 1 (in scripts) means damage.

    Example:

        heapx check  before you trust figures of a damaged heap
    """
    rows: list[Row] = [
        {
            "check": each.name,
            "arena": each.arena,
            "expected": each.expected,
            "found": each.found,
            "ok": each.ok,
            "libc": malloc.libc,
        }
        for malloc in snapshot.mallocs
        for each in sorted(malloc.checks, key=lambda check: check.ok)
    ]
    failed = sum(not row["ok"] for row in rows)
    verdict = (
        f"{failed} of {len(rows)} checks failed." if failed else f"All {len(rows)} checks hold."
    )
    if not failed and any(problem.damage for problem in snapshot.problems):
        verdict = f"All {len(rows)} checks hold, and yet the heap is damaged: see the problems."
    return Report((Table("check", CHECK_COLUMNS, rows),), snapshot.problems, notes=(verdict,))
