"""Why what was free could not serve a request that made malloc grow: as heapx fit tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..errors import MemoryFault
from ..fit.unusable import BEHIND, FAST, IDLE, OTHERS, OWN_TCACHE, SMALL, TCACHES
from ..glibc.layout import FLAGS, SIZE, Layout
from .free import MOST_AT_ONCE, Free, Read, free_by, free_in, total


class Requested(NamedTuple):
    """Who asks which arena for a chunk of which size."""

    thread: int
    arena: int
    chunk_size: int


class KnownCaches(NamedTuple):
    """Where each thread's tcache lies, by LWP, and how many chunks a bin of one takes
    (mp_.tcache_count).
    """

    places: Mapping[int, int]
    fill: int


NONE_KNOWN = KnownCaches({}, 0)


def by_reason(
    read: Read, layout: Layout, asked: Requested, caches: KnownCaches, arenas: Iterable[int]
) -> dict[str, Free]:
    """Return what is free anywhere, by the reason why it can't serve. OSError if the process is
    gone.
    """
    found = (*near(read, layout, asked, caches), *far(read, layout, asked, arenas))
    return {why: part for why, part in found if part.bytes}


def near(
    read: Read, layout: Layout, asked: Requested, caches: KnownCaches
) -> Iterator[tuple[str, Free]]:
    """Yield what is free in the arena that is asked, and in tcaches, by the reason why it can't
    serve: quickly, since a thread stands still.
    """
    needed = asked.chunk_size

    def reason(size: int, fast: bool) -> str:
        return FAST if fast else BEHIND if size >= needed else SMALL

    parts = free_by(read, layout, asked.arena, reason)
    parts[SMALL] = total((parts.get(SMALL, Free()), _top(read, layout, asked.arena)))
    yield from parts.items()
    if layout.tcache is not None:
        for own, why in ((True, OWN_TCACHE), (False, TCACHES)):
            places = [at for lwp, at in caches.places.items() if (lwp == asked.thread) == own]
            yield why, total(_cached(read, layout, at, caches.fill) for at in places)


def far(
    read: Read, layout: Layout, asked: Requested, arenas: Iterable[int]
) -> Iterator[tuple[str, Free]]:
    """Yield what is free in the other arenas: up to a bound, since that takes long."""
    found: dict[str, list[Free]] = {OTHERS: [], IDLE: []}
    most = MOST_AT_ONCE
    for arena in arenas:
        if arena != asked.arena:
            free = free_in(read, layout, arena, most)
            most -= free.chunks
            whose = OTHERS if _has_threads(read, layout, arena) else IDLE
            found[whose] += (free, _top(read, layout, arena))
    yield from ((why, total(parts)) for why, parts in found.items())


def _word(read: Read, layout: Layout, address: int) -> int:
    return int.from_bytes(read(address, layout.word), "little")


def _top(read: Read, layout: Layout, arena: int) -> Free:
    """Return an arena's top chunk; nothing before its first request, when that is a bin."""
    try:
        top = _word(read, layout, arena + layout.state["top"].offset)
        if top == layout.bin_at(arena, 1):
            return Free()
        size = _word(read, layout, top + SIZE * layout.word) & ~FLAGS
    except (MemoryFault, OSError):
        return Free(whole=False)
    return Free(size, 1, size)


def _has_threads(read: Read, layout: Layout, arena: int) -> bool:
    """Tell whether an arena has threads; releases that don't count them say so of all."""
    if "attached_threads" not in layout.state:
        return True
    return _word(read, layout, arena + layout.state["attached_threads"].offset) > 0


def _cached(read: Read, layout: Layout, tcache: int, fill: int) -> Free:
    """Return what a tcache holds by its counters; of bins for several sizes at least that."""
    struct = layout.tcache
    assert struct is not None
    bins = struct["entries"].size // layout.word
    left = "num_slots" in struct  # 2.42: how many more it takes
    start, length = struct["num_slots" if left else "counts"]
    size, found = length // bins, Free()
    try:
        data = read(tcache + start, length)
    except (MemoryFault, OSError):
        return Free(whole=False)
    for index in range(bins):
        number = int.from_bytes(data[index * size : (index + 1) * size], "little")
        number = max(fill - number, 0) if left else number
        if number:
            smallest, largest = layout.tcache_range(index)
            part = Free(number * smallest, number, smallest, largest is not None)
            found = total((found, part))
    return found
