"""heapx check, heapx about: whether the figures agree, and where they come from."""

from __future__ import annotations

import sys

from .. import __version__
from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table
from ..snapshots.take import Snapshot
from .arenas import LIBC

CHECK_COLUMNS = (
    Column("check", Kind.TEXT),
    Column("arena", Kind.INDEX, absent=""),
    Column("expected", Kind.COUNT),
    Column("found", Kind.COUNT),
    Column("ok", Kind.BOOL),
    LIBC,
)
ABOUT_COLUMNS = (
    Column("what", Kind.TEXT),
    Column("value", Kind.TEXT),
    Column("how", Kind.TEXT),
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


@command("heapx about", whole=True)
def about(snapshot: Snapshot) -> Report:
    """Say what was looked at, and how each thing was found.

    Example:

        heapx about  which libc, and was it found by symbols?
    """
    target = snapshot.target
    rows: list[Row] = [
        {"what": what, "value": value, "how": how, "libc": None}
        for what, value, how in (
            ("heapx", __version__, "Python " + sys.version.split()[0]),
            ("target", target.name, "stopped by gdb" if target.live else "as it was dumped"),
            ("program", target.exe, target.exe_how),
            ("architecture", target.architecture, f"{8 * target.word} bits, {target.page} B pages"),
            (
                "residency",
                "unknown" if target.no_residency else "known",
                target.no_residency or "/proc/PID/pagemap",
            ),
        )
    ]
    for malloc in snapshot.mallocs:
        rows += (
            {"what": found.what, "value": found.value, "how": found.how, "libc": malloc.libc}
            for found in malloc.found
        )
    return Report((Table("about", ABOUT_COLUMNS, rows),), snapshot.problems)
