"""heapx heaps: the regions that arenas carve into chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import Search
from ..report.model import Notes, Report
from ..report.schema import Column, Kind, Schema, within
from ..snapshots.figures import ArenaFigures, HeapFigures, select_arenas
from ._columns import IN_MEMORY, LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot

HEAPS = Schema(
    "heaps",
    (
        *within(
            "heap",
            Column("arena", Kind.INDEX),
            Column("address", Kind.ADDRESS),
            Column("size", Kind.BYTES),
            Column("committed", Kind.BYTES, rank=3),
            Column("reserved", Kind.BYTES, rank=2),
            Column("in_use", Kind.BYTES),
            Column("free", Kind.BYTES),
            *within("amount", *IN_MEMORY),
        ),
        *within("arena", LIBC),
    ),
    adds=(),
    bars=("in_use", "free"),
)


class _Heap(NamedTuple):
    arena: ArenaFigures
    heap: HeapFigures


@command("heapx heaps", ARENA, NO_WALK, tables=(HEAPS,), search=Search.NONE)
def heaps(snapshot: Snapshot, arena: int | None) -> Report:
    """List the heaps, the regions that arenas carve into chunks.

    size is what malloc uses of a heap, committed what is readable (a heap that shrank keeps it),
    reserved the address space. free is tcache, fast and binned chunks, and top. Where the terminal
    has room, a bar beside each heap is as long as it has bytes in use and free.

    Examples:

        heapx heaps 1                       those of arena 1
        heapx heaps --sort free --limit 10  the ten with most free memory
    """
    chosen = select_arenas(snapshot.arenas(), arena)
    found = [_Heap(each, heap) for each in chosen for heap in each.heaps]
    return Report((HEAPS.of(found), Notes(usual_notes(snapshot))), snapshot.problems)
