"""Which of the mmapped chunks that were found are those that mp_ counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from ..errors import MemoryFault, Problem
from ..glibc.layout import Layout
from ..target.space import Space
from .mapsearch import Stretch, gaps
from .mmapped import MmappedChunk, MmappedChunks

BAD_MMAPPED = "bad_mmapped"
FEW, MOST_GAPS = 2, 500  # damaged chunks that are looked for, and the places tried
MOST_SUMS = 1 << 18  # of sizes that are added up to find a surplus


def are_all(found: MmappedChunks, number: int, total: int) -> bool:
    """Tell whether these are the mmapped chunks that mp_ counts."""
    return len(found) == number and found.mapped == total


def without_surplus(found: MmappedChunks, number: int, total: int) -> MmappedChunks:
    """Return the chunks without those that are too many, where there is only one choice of these:
    as many, with the bytes that are too many. All where there is none, or more than one.

    What looks like a chunk may be another malloc's, or a copy in memory of the program's own.
    """
    surplus, size = len(found) - number, found.mapped - total
    if not 0 < surplus < len(found) or size <= 0:
        return found
    sizes = Counter(found.mappings)
    drops = surplus <= number
    chosen = _only_choice(sizes, *((surplus, size) if drops else (number, total)))
    if chosen is None:
        return found
    return MmappedChunks.of(found.own, (c for c in found if (c.mapping in chosen) != drops))


class _Sums(NamedTuple):
    """One way to come to a sum, as the sizes that are in it; `others` tells whether there are more.

    Of chunks of one size all are in it or none: else it couldn't be told which of them.
    """

    sizes: tuple[int, ...]
    others: bool = False


def _only_choice(sizes: Counter[int], number: int, total: int) -> tuple[int, ...] | None:
    """Return the sizes whose chunks, all of them, are so many and have so many bytes together;
    None where no choice of chunks has, or more than one, or there are too many to try.
    """
    sums, tried = {(0, 0): _Sums(())}, 0
    for size, most in sorted(sizes.items(), reverse=True):
        for (taken, so_far), way in list(sums.items()):
            room, left = number - taken, total - so_far
            if room * size < left:  # what follows is smaller
                continue
            fit = min(most, room, left // size)
            tried += 1 + fit
            if tried > MOST_SUMS:
                return None
            for more in range(1, fit + 1):
                key = taken + more, so_far + more * size
                sums[key] = _Sums((*way.sizes, size), way.others or more < most or key in sums)
    found = sums.get((number, total))
    return None if found is None or found.others else found.sizes


def find_damaged(
    space: Space,
    layout: Layout,
    places: Sequence[Stretch],
    found: MmappedChunks,
    number: int,
    total: int,
) -> list[tuple[MmappedChunk, Problem]]:
    """Return the chunks that are missing among those found, each with the problem that its header
    is damaged; [] where it isn't certain which they are.

    They are the gaps between the others that have the bytes that are missing, if there is only one
    choice. A header that is swapped out or can't be read isn't damaged.
    """
    lacking, size = number - len(found), total - found.mapped
    if not 0 < lacking <= FEW or size <= 0:
        return []
    empty = {(gap.start, gap.end) for place in places for gap in gaps(place, found)}
    likely = sorted(gap for gap in empty if gap[1] - gap[0] <= size)[:MOST_GAPS]
    choices = [c for c in combinations(likely, lacking) if sum(e - s for s, e in c) == size]
    if len(choices) != 1:
        return []
    return [each for gap in choices[0] for each in _damaged(space, layout, *gap)]


def _damaged(
    space: Space, layout: Layout, start: int, end: int
) -> Iterator[tuple[MmappedChunk, Problem]]:
    """Yield the chunk whose mapping this is, with what is wrong."""
    address = layout.first_chunk(start)
    try:
        prev_size, word = space.words(address, 2)
    except MemoryFault:
        return
    chunk = MmappedChunk(address, end - address - layout.mmap_header, start, end)
    statement = (
        f"mmapped chunk {address:#x} has prev_size {prev_size:#x} and the size word {word:#x}; by "
        f"glibc's count its mapping has {end - start:,} bytes"
    )
    yield chunk, Problem(BAD_MMAPPED, statement, address)
