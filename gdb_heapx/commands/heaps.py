"""heapx heaps: the regions that arenas carve into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import Search
from ..report.model import Notes, Report
from ..report.schema import DATA_ONLY, Column, Kind, Schema, within
from ._columns import IN_MEMORY, LIBC
from ._lanes import FREE
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures, HeapFigures
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount

HEAPS = Schema(
    "heaps",
    (
        *within(
            "heap",
            Column("arena", Kind.INDEX),
            Column("address", Kind.ADDRESS),
            Column("size", Kind.BYTES),
            Column("committed", Kind.BYTES, rank=4),
            Column("reserved", Kind.BYTES, rank=3),
            Column("in_use", Kind.BYTES),
            Column("free", Kind.BYTES),
        ),
        Column("free_resident", Kind.BYTES, rank=1, title="free in RAM"),
        Column("free_absent", Kind.BYTES, DATA_ONLY),
        *within("heap.amount", *IN_MEMORY),
        *within("arena", LIBC),
    ),
    adds=(),
    bars=("in_use", "free_resident", "free_absent"),
)


class _Heap(NamedTuple):
    """A heap of an arena, and what is free in it; None where that isn't known."""

    arena: ArenaFigures
    heap: HeapFigures
    free: Amount | None

    @property
    def free_resident(self) -> int | None:
        return self.free.resident if self.free else None

    @property
    def free_absent(self) -> int | None:
        """What of the free memory is not in RAM."""
        known = self.free is not None and self.free.resident is not None
        return self.free.bytes - self.free.in_ram if self.free and known else None


@command("heapx heaps", ARENA, NO_WALK, tables=(HEAPS,), search=Search.NONE, strips=True)
def heaps(snapshot: Snapshot, arena: int | None) -> Report:
    """List the heaps, the regions that arenas carve into chunks.

    size is what malloc uses of a heap, committed what is readable (a heap that shrank keeps it),
    reserved the address space. free is tcache, fast and binned chunks, and top; what of it is not
    in RAM costs nothing. Where the terminal has room, a bar beside each heap is as long as it has
    bytes: in use, free in RAM, and free but not there.

    Examples:

        heapx heaps 1                               those of arena 1
        heapx heaps --sort free_resident --limit 5  the five with most of it in RAM
    """
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    found = [heap for each in chosen for heap in _heaps(each)]
    known = any(each.free_resident is not None for each in found)
    table = HEAPS if known else replace(HEAPS, bars=("in_use", "free"))
    return Report((table.of(found), Notes(usual_notes(snapshot))), snapshot.problems)


def _heaps(arena: ArenaFigures) -> Iterator[_Heap]:
    """Yield the heaps of an arena, with what is free in each as its strip tells."""
    from ..target.amounts import sum_of

    amounts = {strip.address: strip.amounts() for strip in arena.strips or ()}
    for heap in arena.heaps:
        filled = amounts.get(heap.address) if heap.free is not None else None
        yield _Heap(arena, heap, sum_of(filled[state] for state in FREE) if filled else None)
