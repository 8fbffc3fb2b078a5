"""Above which size requests make an arena grow, although much is free there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import MemoryFault
from ..glibc.layout import UNSORTED
from ..heap.bins import regular_heads
from ..heap.states import State
from ..records import dataclass
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading
from ..snapshots.take import Snapshot
from .fits import source_beyond
from .unsorted import MAX_ITERS

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
    """Return these of the arenas that have a thread, and much free memory, as far as they are
    certain. One without a thread, such as a forked child has of its parent's, no request reaches.
    """
    found: list[Ceiling] = []
    for reading, malloc in zip(opened.mallocs, snapshot.mallocs):
        used = (each for each in malloc.arenas if each.threads != 0)
        much = [each for each in used if each.fast + each.binned >= MUCH]
        much.sort(key=lambda each: -(each.fast + each.binned))
        for arena in much[:MOST]:
            found += _ceiling(reading, malloc, arena)
    return tuple(found)


class _Merged(NamedTuple):
    """An arena's largest free piece and top, once the fast chunks have merged with what is free
    beside them; `topped` bytes of top are such.
    """

    piece: int
    top: int
    topped: int


def _ceiling(reading: MallocReading, malloc: Malloc, arena: ArenaFigures) -> Iterator[Ceiling]:
    """Yield an arena's, if it has one below mmap_threshold.

    malloc merges the fast chunks, and sorts all unsorted ones in, before it takes a piece that is
    larger than asked for, or grows. So the request that just fits into the largest one is served,
    and one byte more isn't: no replay of that is needed, which takes long where much is free.
    """
    layout, merged = reading.libc.layout, _merged(reading, arena)
    until = malloc.parameters["mmap_threshold"] - layout.word - layout.alignment
    if until <= layout.min_size or merged is None:
        return
    in_piece, in_top = merged.piece - layout.word, merged.top - layout.word - layout.min_size
    served, at_top = max(in_piece, in_top), in_top > in_piece
    if not 0 < served < until:
        return
    for request in (served + 1, until):
        if source_beyond(reading, request, arena.index, merged.topped) not in GROWS:
            return
    largest = merged.top if at_top else merged.piece
    free, served = arena.fast + arena.binned, max(served, _largest_cached(reading))
    yield Ceiling(arena, free, served, largest, at_top, until)


def _merged(reading: MallocReading, arena: ArenaFigures) -> _Merged | None:
    """Return this of an arena; None where it isn't sure, or malloc may not come to the largest
    piece, since it goes through MAX_ITERS unsorted chunks only.
    """
    if arena.trim is None:
        return None
    fast, unsorted = arena.chunks.get(State.FAST, 0), _unsorted(reading, arena.index)
    if unsorted is None or fast + unsorted >= MAX_ITERS:
        return None
    own = reading.arenas[arena.index]
    holes = reading.walks.over(own, own.heaps).holes
    topped = holes.into_top.bytes
    return _Merged(holes.largest, arena.top + topped, topped)


def _unsorted(reading: MallocReading, index: int) -> int | None:
    """Return how many chunks are in an arena's unsorted bin; None if that are MAX_ITERS, or they
    can't be followed.
    """
    arena, links = reading.arenas[index], reading.outline.links
    found = regular_heads(reading.space, reading.libc.layout, arena)
    head = next((each for each in found if each.index == UNSORTED), None)
    if head is None:
        return 0
    chunk = head.fd
    with suppress(MemoryFault):
        for number in range(MAX_ITERS):
            if chunk == head.pseudo:
                return number
            _, chunk, _ = links.chunk(chunk)
    return None


def _largest_cached(reading: MallocReading) -> int:
    """Return the largest request that a tcache may serve (from 2.42 it knows the chunk behind)."""
    layout, parameters = reading.libc.layout, reading.libc.parameters
    cached = parameters.get("tcache_max_bytes")
    return cached if layout.release < (2, 42) else max(cached - layout.word, 0)
