"""heapx threads: each thread's arena and tcache."""

from __future__ import annotations

from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.malloc import Malloc, MallocThread
from ..snapshots.take import Snapshot
from ._columns import LIBC
from ._notes import usual_notes

THREAD_COLUMNS = (
    Column("thread", Kind.INDEX),
    Column("name", Kind.TEXT),
    Column("arena", Kind.INDEX, absent="-"),
    Column("address", Kind.ADDRESS, rank=2, title="tcache at", absent="-"),
    Column("tcache_chunks", Kind.COUNT, title="tcache #"),
    Column("tcache", Kind.BYTES),
    LIBC,
)


@command("heapx threads")
def threads(snapshot: Snapshot) -> Report:
    """List the threads: the arena each allocates from, and what its tcache holds.

    A thread that has called malloc keeps to one arena, and shares it where there are more threads
    than arenas. Its tcache (at address) holds # chunks, which may be of any arena. A thread without
    an arena or a tcache has not needed one yet. heapx tcache lists what each tcache holds, by size.

    Example:

        heapx threads --sort tcache --limit 10  the ten that keep most to themselves
    """
    rows = [_row(malloc, thread) for malloc in snapshot.mallocs for thread in malloc.threads]
    table = Table("threads", THREAD_COLUMNS, rows, total(THREAD_COLUMNS, rows, "tcache_chunks"))
    return Report((table,), snapshot.problems, notes=(*_sharing(snapshot), *usual_notes(snapshot)))


def _row(malloc: Malloc, thread: MallocThread) -> Row:
    tcache, empty = thread.tcache, 0 if thread.found else None
    return {
        "thread": thread.lwp,
        "name": thread.name,
        "arena": thread.arena,
        "address": tcache.address if tcache else None,
        "tcache_chunks": tcache.chunks if tcache else empty,
        "tcache": tcache.bytes if tcache else empty,
        "libc": malloc.libc,
    }


def _sharing(snapshot: Snapshot) -> tuple[str, ...]:
    """Say how many threads share an arena, where some do."""
    sentences = []
    for malloc in snapshot.mallocs:
        attached = [thread.arena for thread in malloc.threads if thread.arena is not None]
        used = set(attached)
        if len(used) < len(attached):
            most = max(attached.count(arena) for arena in used)
            sentences.append(
                f"{len(attached)} threads share {len(used)} arenas, {most} at most in one."
            )
    return tuple(sentences)
