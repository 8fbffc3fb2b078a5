"""heapx threads: each thread's arena and tcache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..cli.command import command
from ..heap.states import Search
from ..report.model import Note, Notes, Report
from ..report.notes import note
from ..report.schema import Column, Kind, Schema, within
from ._columns import LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..snapshots.malloc import Malloc, MallocThread
    from ..snapshots.take import Snapshot


class _Thread(NamedTuple):
    malloc: Malloc
    thread: MallocThread

    @property
    def address(self) -> int | None:
        return self.thread.tcache.address if self.thread.tcache else None

    @property
    def chunks(self) -> int | None:
        return self.thread.tcache.chunks if self.thread.tcache else self._empty

    @property
    def bytes(self) -> int | None:
        return self.thread.tcache.amount.bytes if self.thread.tcache else self._empty

    @property
    def _empty(self) -> int | None:
        return 0 if self.thread.found else None


THREADS = Schema(
    "threads",
    (
        Column("thread", Kind.INDEX, of="thread.lwp"),
        *within("thread", Column("name", Kind.TEXT), Column("arena", Kind.INDEX, absent="-")),
        Column("address", Kind.ADDRESS, rank=2, title="tcache at", absent="-"),
        Column("tcache_chunks", Kind.COUNT, title="tcache #", of="chunks"),
        Column("tcache", Kind.BYTES, of="bytes"),
        *within("malloc", LIBC),
    ),
    adds=("tcache_chunks",),
)


@command("heapx threads", tables=(THREADS,), search=Search.NONE)
def threads(snapshot: Snapshot) -> Report:
    """List the threads: the arena each allocates from, and what its tcache holds.

    A thread that has called malloc keeps to one arena, and shares it where there are more threads
    than arenas. Its tcache (at address) holds # chunks, which may be of any arena. A thread without
    an arena or a tcache has not needed one yet. heapx tcache lists what each tcache holds, by size.

    Example:

        heapx threads --sort tcache --limit 10  the ten that keep most to themselves
    """
    found = [_Thread(malloc, each) for malloc in snapshot.mallocs for each in malloc.threads]
    notes = Notes((*_sharing(snapshot), *usual_notes(snapshot)))
    return Report((THREADS.of(found), notes), snapshot.problems)


def _sharing(snapshot: Snapshot) -> Iterator[Note]:
    """Tell how many threads share an arena, where some do."""
    for malloc in snapshot.mallocs:
        attached = [thread.arena for thread in malloc.threads if thread.arena is not None]
        used = set(attached)
        if len(used) < len(attached):
            most = max(attached.count(arena) for arena in used)
            yield note("threads_share", threads=len(attached), arenas=len(used), most=most)
