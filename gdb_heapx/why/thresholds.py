"""What free() would return to the kernel by itself, and what stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..glibc.systrim import Cut, Limits, at_break, heap_trim, systrim
from ..report.notes import note
from .sources import Environment, source_of

if TYPE_CHECKING:
    from ..report.model import Note
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc
    from ..target.facts import Facts


class FreeTrim(NamedTuple):
    """How many bytes of top the next free of 64 KiB or more would return, and why not more."""

    bytes: int
    reason: str


def free_would_trim(facts: Facts, malloc: Malloc, arena: ArenaFigures) -> FreeTrim:
    """Return what the next free of a large enough chunk would give back from top's end.

    That merges the fast chunks first. malloc.c: _int_free, systrim; arena.c: heap_trim.
    """
    limits = Limits.of(malloc.layout, facts.page, malloc.parameters)
    if not arena.top:
        return FreeTrim(0, "nothing allocated")
    if arena.main and not at_break(arena.top_end, malloc.program_break, arena.contiguous):
        return FreeTrim(0, "foreign brk" if arena.contiguous else "not contiguous")
    heaps = [heap.ending for heap in arena.heaps]
    holds_top = (heap for heap in heaps if heap.address <= arena.top_address < heap.end)
    top = next(holds_top, None)
    if top is None:
        return FreeTrim(0, "its heap isn't known")
    size = top.end - top.free
    cut = Cut(0, systrim(limits, size)) if arena.main else heap_trim(limits, heaps)
    if gone := cut.bytes + sum(heap.end - heap.address for heap in heaps[len(heaps) - cut.heaps :]):
        return FreeTrim(gone, "waits for a free")
    below = limits.too_small(size, arena.main)
    return FreeTrim(0, "below trim_threshold" if below else "top_pad is kept")


def thresholds(malloc: Malloc, environment: Environment | None) -> Note:
    """Tell which limits are in force, and who set them."""
    limits = [
        (name, malloc.parameters[name], source_of(malloc, name, environment))
        for name in ("trim_threshold", "top_pad")
    ]
    return note("thresholds", limits=limits)
