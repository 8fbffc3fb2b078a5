"""heapx heaps: the regions that arenas carve into chunks."""

from __future__ import annotations

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.figures import select_arenas
from ..snapshots.take import Snapshot
from ._columns import LIBC, PRESENCE, presence_of
from ._notes import usual_notes

HEAP_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES),
    Column("committed", Kind.BYTES, rank=3),
    Column("reserved", Kind.BYTES, rank=2),
    Column("in_use", Kind.BYTES),
    Column("free", Kind.BYTES),
    *PRESENCE,
    LIBC,
)


@command("heapx heaps", ARENA, NO_WALK)
def heaps(snapshot: Snapshot, arena: int | None) -> Report:
    """List the heaps, the regions that arenas carve into chunks.

    size is what malloc uses of a heap, committed what is readable (a heap that shrank keeps it),
    reserved the address space. free is tcache, fast and binned chunks, and top.

    Examples:

        heapx heaps 1                       those of arena 1
        heapx heaps --sort free --limit 10  the ten with most free memory
    """
    rows: list[Row] = [
        {
            "arena": heap.arena,
            "address": heap.address,
            "size": heap.size,
            "committed": heap.committed,
            "reserved": heap.reserved,
            "in_use": heap.in_use,
            "free": heap.free,
            **presence_of(heap.presence),
            "libc": each.libc,
        }
        for each in select_arenas(snapshot.arenas(), arena)
        for heap in each.heaps
    ]
    table = Table("heaps", HEAP_COLUMNS, rows, total(HEAP_COLUMNS, rows))
    return Report((table,), snapshot.problems, notes=usual_notes(snapshot))
