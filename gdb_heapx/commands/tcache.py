"""heapx tcache: what each thread's cache holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.command import command
from ..heap.states import Search
from ..report.model import Notes, Report, Steps
from ..report.schema import Column, Kind, Schema, within
from ._columns import BIN_COLUMNS, LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..heap.bins import Bin
    from ..heap.tcaches import ThreadCache
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot

TCACHE_BINS = Schema(
    "tcache",
    (
        Column("thread", Kind.INDEX, of="cache.tcache.lwp"),
        Column("name", Kind.TEXT, absent="", of="cache.name"),
        Column("bin", Kind.INDEX, of="bin.index"),
        *within("bin", *BIN_COLUMNS),
        *within("malloc", LIBC),
    ),
    adds=("chunks",),
)
SHOWN = 40  # rows of tcaches
NEXT = (("heapx threads", "what each thread's cache holds in all"),)


class _TcacheBin(NamedTuple):
    malloc: Malloc
    cache: ThreadCache
    bin: Bin


@command("heapx tcache", limit=SHOWN, tables=(TCACHE_BINS,), search=Search.NONE)
def tcache(snapshot: Snapshot) -> Report:
    """List what each thread's cache holds, by bin.

    A tcache belongs to its thread: no other thread can use these chunks, and malloc_trim doesn't
    give them back. The thread is its LWP, as ps -L and top -H show it.

    Example:

        heapx tcache --sort bytes --limit 10  the ten bins that hold most
    """
    found = [
        _TcacheBin(malloc, cache, b)
        for malloc in snapshot.mallocs
        for cache in malloc.caches
        for b in cache.tcache.bins
    ]
    notes = Notes(usual_notes(snapshot))
    return Report((TCACHE_BINS.of(found), notes, Steps(NEXT)), snapshot.problems)
