"""Chunks by size as a file has them: of the free ones, what tcaches don't tell again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..heap.census import Census

if TYPE_CHECKING:
    from ..snapshots.malloc import Malloc


class FiledCensus(NamedTuple):
    """A census. Free are so many chunks of a size `beyond` those in the tcaches of the arena's
    threads: less than none where these hold chunks of other arenas.
    """

    in_use: Mapping[int, int]
    beyond: Mapping[int, int]


def filed_censuses(malloc: Malloc) -> tuple[FiledCensus | None, ...]:
    """Return the census of each arena for a file."""
    cached = _cached(malloc)
    return tuple(
        a.census and FiledCensus(a.census.in_use, _sum(a.census.free, cached.get(a.index, {}), -1))
        for a in malloc.arenas
    )


def with_censuses(malloc: Malloc, censuses: tuple[FiledCensus | None, ...]) -> Malloc:
    """Return a malloc, which has its tcaches, with the census of each arena; ValueError where there
    are more, or fewer.
    """
    if len(censuses) != len(malloc.arenas):
        raise ValueError(f"censuses of {len(censuses)} arenas, there are {len(malloc.arenas)}")
    cached = _cached(malloc)
    arenas = (
        replace(a, census=c and Census(c.in_use, _sum(c.beyond, cached.get(a.index, {}), 1)))
        for a, c in zip(malloc.arenas, censuses)
    )
    return replace(malloc, arenas=tuple(arenas))


def _cached(malloc: Malloc) -> Mapping[int, Counter[int]]:
    """Return how many chunks of each size the tcaches of each arena's threads hold."""
    found: dict[int, Counter[int]] = {}
    for thread in malloc.threads:
        if thread.tcache is None or thread.arena is None:
            continue
        counts = found.setdefault(thread.arena, Counter())
        for each in thread.tcache.bins:
            if each.min_size == each.max_size:
                counts[each.min_size] += each.chunks
    return found


def _sum(counts: Mapping[int, int], others: Mapping[int, int], sign: int) -> dict[int, int]:
    sizes = {*counts, *others}
    found = {size: counts.get(size, 0) + sign * others.get(size, 0) for size in sizes}
    return {size: number for size, number in sorted(found.items()) if number}
