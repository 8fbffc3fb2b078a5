"""How chunks are reached, by their addresses: a byte for each grain of a heap."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from ..held.bits import digits
from ..held.index import CELL, CELL_WORDS, PIECE
from .states import PENDING

if TYPE_CHECKING:
    from ..held.index import Index

BEGINS = 0x10  # of a mark: a chunk in use begins there; its state is in the other bits
_STATES = bytes(mark & ~BEGINS for mark in range(256))
_UNREACHED = bytes(BEGINS if digit == ord("1") else 0 for digit in range(256))
_PENDING = re.compile(b"[%c-\xff]" % PENDING)


class MarkedStretch(NamedTuple):
    """Heaps that adjoin each other, by its number, or a `single` chunk with a mapping of its own.
    The mark of a chunk is at as many grains as its memory lies behind `origin`: at one of `places`.
    """

    number: int
    start: int
    end: int
    origin: int
    places: range
    single: int


class Marks:
    """A byte for each grain: 0 where no chunk in use begins, else BEGINS with its state.

    What an address leads to is found so with one look. The marks of a stretch lie behind one that
    is 0: before the memory of its first chunk no other one begins.
    """

    def __init__(self, index: Index) -> None:
        self._index, self.shift = index, index.grains.size.bit_length() - 1
        self._regions, self._starts, self._bases = array("Q"), array("Q"), array("Q")
        size = 0
        for regions in index.stretches():
            self._regions.append(regions.start)
            self._starts.append(index.starts[regions.start])
            self._bases.append(size + 1)
            size += 1 + self._room(regions)
        self._regions.append(len(index.starts))
        self.all = bytearray(size)
        for number in range(len(self._starts)):
            self._near = stretch = self._stretch(number)
            for region in range(*self._regions[number : number + 2]):
                self._begin(stretch, region)

    def _room(self, regions: range) -> int:
        """Return how many marks the chunks of a stretch may have, with what its cells have."""
        index, first, last = self._index, regions[0], regions[-1]
        size = index.ends[last] - index.starts[first]
        return 1 if index.singles[first] else (size // index.grains.size // CELL + 1) * CELL

    def _stretch(self, number: int) -> MarkedStretch:
        index, first, last = self._index, *self._regions[number : number + 2]
        start, single, base = index.starts[first], index.singles[first], self._bases[number]
        origin = (single or start) + index.grains.header - (base << self.shift)
        places = range(base, base + self._room(range(first, last)))
        return MarkedStretch(number, start, index.ends[last - 1], origin, places, single)

    def _begin(self, stretch: MarkedStretch, region: int) -> None:
        """Mark where the chunks of a region begin."""
        places = self._places(stretch, region)
        if stretch.single:
            self.all[places.start] = BEGINS
            return
        cells = self._index.cells_of(region)
        for at in range(0, len(cells), PIECE * CELL_WORDS):
            first = places.start + at // CELL_WORDS * CELL
            found = digits(cells[at : at + PIECE * CELL_WORDS : CELL_WORDS])
            if b"1" in found:
                found = found[: places.stop - first].translate(_UNREACHED)
                self.all[first : first + len(found)] = found

    def _places(self, stretch: MarkedStretch, region: int) -> range:
        """Return the places of a region's marks."""
        index, base = self._index, stretch.places.start
        if stretch.single:
            return stretch.places
        size, _, tail = index.grains
        start, end = index.starts[region], index.ends[region] - tail
        return range(base + (start - stretch.start) // size, base - (stretch.start - end) // size)

    _near: MarkedStretch  # that was asked for last: it is asked for again and again

    def near(self, address: int) -> MarkedStretch:
        """Return the last stretch that doesn't begin behind an address."""
        if not self._near.start <= address < self._near.end:
            self._near = self._stretch(bisect_right(self._starts, address) - 1)
        return self._near

    def parted(self, addresses: list[int]) -> list[tuple[MarkedStretch, list[int]]]:
        """Return the addresses of each stretch. All are between the first one's beginning and the
        last one's end; where they are of several stretches, they are put in order.
        """
        if not addresses:
            return []
        stretch = self.near(addresses[0])
        if len(self._starts) == 1 or (
            stretch.start <= min(addresses) and max(addresses) < stretch.end
        ):
            return [(stretch, addresses)]
        addresses.sort()
        at, starts, found = 0, self._starts, []
        while at < len(addresses):
            stretch = self.near(addresses[at])
            end, following = bisect_left(addresses, stretch.end, at), stretch.number + 1
            if end > at:
                found.append((stretch, addresses[at:end]))
            more = following < len(starts)
            at = bisect_left(addresses, starts[following], end) if more else len(addresses)
        return found

    def place(self, user: int) -> int:
        """Return the place of the chunk whose memory begins at an address."""
        return (user - self.near(user).origin) >> self.shift

    def user(self, place: int) -> int:
        """Return where the memory of the chunk begins whose mark is at a place."""
        if place not in self._near.places:
            self._near = self._stretch(bisect_right(self._bases, place) - 1)
        return self._near.origin + (place << self.shift)

    def having(self, state: int) -> Iterator[int]:
        """Yield the places of the chunks that have a state, as it is by then."""
        place = -1
        while (place := self.all.find(BEGINS | state, place + 1)) >= 0:
            yield place

    def waiting(self, region: int) -> list[int]:
        """Return the places of the chunks of a region that are PENDING."""
        places = self._places(self.near(self._index.starts[region]), region)
        return [run.start() for run in _PENDING.finditer(self.all, places.start, places.stop)]

    def states(self) -> bytearray:
        """Return the state of each chunk, by its rank."""
        return self.all.translate(_STATES, b"\0")

    def put(self, states: bytes) -> None:
        """Give each chunk a state, by its rank."""
        for place, state in zip(compress(range(len(self.all)), self.all), states):
            self.all[place] = BEGINS | state
