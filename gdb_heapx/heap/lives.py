"""The chunks of a run that malloc_trim doesn't merge with free ones, and the pages between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import field
from itertools import accumulate, repeat
from operator import rshift
from typing import NamedTuple

from ..glibc.layout import SIZE
from ..records import dataclass
from .runs import Run
from .told import GRAIN, GRAIN_BITS


class Live(NamedTuple):
    """A chunk that malloc_trim doesn't merge with free ones: in use, or `cached` in a tcache."""

    address: int
    size: int
    cached: bool

    @property
    def end(self) -> int:
        return self.address + self.size


Lives = Sequence[Live]  # the chunks of a place, in the order of their addresses


@dataclass
class View:
    """The live chunks of a run by place, with those before it that its pages may touch."""

    run: Run
    before: Lives
    free: list[int] = field(init=False)  # the index of each chunk that malloc_trim merges
    grains: list[int] = field(init=False)  # their sizes

    def __post_init__(self) -> None:
        run = self.run
        self.free = run.free
        if run.fast:  # malloc_trim merges those, too (malloc.c, malloc_consolidate)
            self.free = sorted([*run.free, *run.fast])
        self.grains = [*map(rshift, run.of(self.free, SIZE), repeat(GRAIN_BITS))]

    def lives(self, low: int, high: int) -> list[Live]:
        """Return the live chunks that touch [low, high)."""
        run, free, sizes, cached = self.run, self.free, self.run.fields[SIZE], self.run.cached
        start, begin = run.start, (low - run.start) // GRAIN
        end = (min(high, run.end) - start) // GRAIN
        following = max(bisect_right(free, begin) - 1, 0)
        index = free[following] if free and free[following] <= begin else 0
        found = [live for live in self.before if low < live.end and live.address < high]
        while index < end:
            size = sizes[index] >> GRAIN_BITS
            if following < len(free) and free[following] == index:
                following += 1
            elif index + size > begin:
                address = start + index * GRAIN
                found.append(Live(address, size * GRAIN, address in cached))
            index += size
        return found

    def mostly_free(self, page: int, head: int, first: int, stop: int) -> list[int]:
        """Return the pages in [first, stop) of which half is free, or more.

        It costs as many steps as there are pages, or free chunks where those are fewer.
        """
        size, free, grains = page // GRAIN, self.free, self.grains
        shift = (first - self.run.start) // GRAIN
        marks: Sequence[int] = range((stop - first) // page + 1)
        if len(free) < len(marks):
            edges = {
                (at - shift) // size
                for index, grain in zip(free, grains)
                for at in (index, index + head // GRAIN, index + grain - 1)
            }
            marks = sorted({n for edge in edges for n in (edge, edge + 1) if n in marks})
        places = [number * size + shift for number in marks]
        sums = [*accumulate(grains, initial=0)]
        numbers = map(bisect_left, repeat(free), places)
        below = [  # bytes that are free before each place
            sums[n] - max(free[n - 1] + grains[n - 1] - place, 0) if n else 0
            for n, place in zip(numbers, places)
        ]
        pairs = zip(marks, marks[1:], below, below[1:])
        return [
            first + this * page
            for this, following, low, high in pairs
            if 2 * (high - low) >= size and following == this + 1
        ]
