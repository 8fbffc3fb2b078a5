"""heapx about: what was looked at, and how each thing was found."""

from __future__ import annotations

import sys

from .. import __version__
from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table
from ..snapshots.take import Snapshot
from ._columns import LIBC

ABOUT_COLUMNS = (
    Column("what", Kind.TEXT),
    Column("value", Kind.TEXT),
    Column("how", Kind.TEXT),
    LIBC,
)


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
