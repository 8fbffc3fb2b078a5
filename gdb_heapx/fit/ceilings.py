"""Above which size requests make an arena grow, although much is free there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading
from ..snapshots.take import Snapshot
from .fits import fit
from .overlay import Source
from .unusable import BEHIND, SMALL, unusable

MUCH = 1 << 20  # bytes that are free in an arena: what makes it grow is looked for
MOST = 4  # arenas, those with most free bytes
GROWS = ("extend", "new_heap")


@dataclass(frozen=True)
class Ceiling:
    """What free memory of an arena can serve: requests of up to `served` bytes, since its `largest`
    piece has so many, or since a tcache may have them. Larger ones make it grow, up to `until`
    bytes, where mappings begin. That piece may be `at_top`, which `free` has not.
    """

    arena: ArenaFigures
    free: int
    served: int
    largest: int
    at_top: bool
    until: int


def ceilings(opened: Opened, snapshot: Snapshot) -> tuple[Ceiling, ...]:
    """Return these of the arenas that have much free memory, as far as they are certain."""
    found: list[Ceiling] = []
    for reading, malloc in zip(opened.mallocs, snapshot.mallocs):
        much = [each for each in malloc.arenas if each.fast + each.binned >= MUCH]
        much.sort(key=lambda each: -(each.fast + each.binned))
        for arena in much[:MOST]:
            found += _ceiling(reading, malloc, arena)
    return tuple(found)


def _ceiling(reading: MallocReading, malloc: Malloc, arena: ArenaFigures) -> Iterator[Ceiling]:
    """Yield an arena's, if it has one below mmap_threshold.

    What is asked for last before a mapping makes it grow, and no free piece is too far away: then
    all are as small as they were counted, once the fast chunks have merged. The request that just
    fits into the largest one is served, and one byte more isn't.
    """
    layout, source = reading.libc.layout, Source(reading.space)
    until = malloc.parameters["mmap_threshold"] - layout.word - layout.alignment
    if until <= layout.min_size:
        return
    last = fit(reading, until, arena=arena.index, source=source)
    rows = {row.reason: row for row in unusable(reading, malloc, last)}
    small = rows.get(SMALL)
    if last.source not in GROWS or BEHIND in rows or small is None or not small.largest:
        return
    at_top = small.largest == arena.top + (last.merging.topped if last.merging else 0)
    served = small.largest - layout.word - (layout.min_size if at_top else 0)
    fits = fit(reading, served, arena=arena.index, source=source)
    above = fit(reading, served + 1, arena=arena.index, source=source)
    if fits.grows == 0 and above.source in GROWS:
        served = max(served, _largest_cached(reading))
        free = arena.fast + arena.binned
        yield Ceiling(arena, free, served, small.largest, at_top, until)


def _largest_cached(reading: MallocReading) -> int:
    """Return the largest request that a tcache may serve (from 2.42 it knows the chunk behind)."""
    layout, parameters = reading.libc.layout, reading.libc.parameters
    cached = parameters.get("tcache_max_bytes")
    return cached if layout.release < (2, 42) else max(cached - layout.word, 0)
