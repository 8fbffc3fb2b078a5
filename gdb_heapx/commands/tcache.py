"""heapx tcache: what each thread's cache holds."""

from __future__ import annotations

from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.take import Snapshot
from ._columns import LIBC, PRESENCE, SIZES, TOTALS, presence_of
from ._notes import usual_notes

TCACHE_COLUMNS = (
    Column("thread", Kind.INDEX),
    Column("name", Kind.TEXT, absent=""),
    Column("bin", Kind.INDEX),
    *SIZES,
    *TOTALS,
    *PRESENCE,
    LIBC,
)
SHOWN = 40  # rows of tcaches


@command("heapx tcache", limit=SHOWN)
def tcache(snapshot: Snapshot) -> Report:
    """List what each thread's cache holds, by bin.

    A tcache belongs to its thread: no other thread can use these chunks, and malloc_trim doesn't
    give them back. The thread is its LWP, as ps -L and top -H show it.

    Example:

        heapx tcache --sort bytes --limit 10  the ten bins that hold most
    """
    rows: list[Row] = [
        {
            "thread": cache.tcache.lwp,
            "name": cache.name,
            "bin": b.index,
            "min_size": b.min_size,
            "max_size": b.max_size,
            "chunks": b.chunks,
            "bytes": b.bytes,
            **presence_of(b),
            "libc": malloc.libc,
        }
        for malloc in snapshot.mallocs
        for cache in malloc.caches
        for b in cache.tcache.bins
    ]
    table = Table(
        "tcache",
        TCACHE_COLUMNS,
        rows,
        total(TCACHE_COLUMNS, rows, "chunks"),
    )
    return Report(
        (table,),
        snapshot.problems,
        notes=usual_notes(snapshot),
        next_steps=(("heapx threads", "what each thread's cache holds in all"),) if rows else (),
    )
