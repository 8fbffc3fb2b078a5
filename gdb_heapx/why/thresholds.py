"""What free() would return to the kernel by itself, and what stops it."""

from __future__ import annotations

from typing import NamedTuple

from ..glibc.layout import Layout
from ..glibc.systrim import at_break, taken_off
from ..report.model import Note
from ..report.notes import note
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..target.facts import Facts
from .sources import Environment, source_of


class FreeTrim(NamedTuple):
    """How many bytes of top the next free of 64 KiB or more would return, and why not more."""

    bytes: int
    reason: str


def free_would_trim(facts: Facts, malloc: Malloc, arena: ArenaFigures) -> FreeTrim:
    """Return what the next free of a large enough chunk would give back from top's end.

    malloc.c: _int_free, systrim; arena.c: heap_trim (glibc 2.23 and later).
    """
    parameters, layout = malloc.parameters, malloc.layout
    if not arena.top:
        return FreeTrim(0, "nothing allocated")
    if arena.main and not at_break(arena.top_end, malloc.program_break, arena.contiguous):
        return FreeTrim(0, "foreign brk" if arena.contiguous else "not contiguous")
    pad, huge = parameters["top_pad"], parameters.get("thp_pagesize", 0) if arena.main else 0
    if _heap_can_go(layout, arena, pad + layout.min_size + facts.page):
        return FreeTrim(arena.heaps[-1].size, "waits for a free")
    if arena.top < parameters["trim_threshold"]:
        return FreeTrim(0, "below trim_threshold")
    extra = taken_off(layout, facts.page, arena.top, pad, huge)
    return FreeTrim(extra, "waits for a free") if extra else FreeTrim(0, "top_pad is kept")


def _heap_can_go(layout: Layout, arena: ArenaFigures, needed: int) -> bool:
    """Tell whether top is all of a non-main arena's newest heap, and the one before has room."""
    if arena.main or len(arena.heaps) < 2:
        return False
    previous, newest = arena.heaps[-2:]
    nothing_before_top = arena.top_address - newest.address <= layout.heap_info.size
    return nothing_before_top and previous.reserved - previous.size >= needed


def thresholds(malloc: Malloc, environment: Environment | None) -> Note:
    """Tell which limits are in force, and who set them."""
    limits = [
        (name, malloc.parameters[name], source_of(malloc, name, environment))
        for name in ("trim_threshold", "top_pad")
    ]
    return note("thresholds", limits=limits)
