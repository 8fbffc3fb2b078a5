"""Where the chunks in use lie: two bits for each grain of a heap, and a directory of them.

It is the definition of held.h, which looks up the same in the same memory.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import NamedTuple

from ..glibc.layout import Layout
from ..records import dataclass
from .bits import ones, set_bits, words_of

CELL = 64  # grains, a bit each
STARTS, ENDS, DIRECTORY, CELL_WORDS = 0, 1, 2, 3  # where chunks begin, their last grains, and RANK
RANK_BITS = 32  # of DIRECTORY: chunks that begin before; above them, how far back the last one does
RANKS = (1 << RANK_BITS) - 1
PIECE = 1 << 10  # cells that are gone through at once


class HeldChunk(NamedTuple):
    """A chunk in use: its number in the order of addresses, its header, what it takes (of a chunk
    with a mapping of its own all of that), and its memory.
    """

    rank: int
    address: int
    bytes: int
    user: int
    usable: int
    region: int


class Grains(NamedTuple):
    """What the index counts in, in bytes: every chunk has two grains at least."""

    size: int
    header: int
    tail: int  # of the header behind a chunk, what is the last of its memory

    @classmethod
    def of(cls, layout: Layout) -> Grains:
        return cls(layout.min_size // 2, layout.header, layout.word)


def _column() -> array[int]:
    return array("Q")


@dataclass
class Index:
    """The chunks in use by address, each with a rank. Regions are heaps from their first chunk on,
    and the mappings of single chunks (`singles`: the header of each, 0 for a heap), as columns, in
    order and apart from each other.

    `firsts` are the ranks of their first chunks, `places` where their cells begin in `cells`.
    """

    grains: Grains
    starts: array[int] = field(default_factory=_column)
    ends: array[int] = field(default_factory=_column)
    singles: array[int] = field(default_factory=_column)
    firsts: array[int] = field(default_factory=_column)
    places: array[int] = field(default_factory=_column)
    chunks: int = 0

    def add_region(self, start: int, end: int, single: int = 0) -> None:
        """Add a region that lies behind all others."""
        self.starts.append(start)
        self.ends.append(end)
        self.singles.append(single)
        self.places.append(self._room)
        self._room += 0 if single else self._cells_of(start, end)

    _room: int = 0

    def _cells_of(self, start: int, end: int) -> int:
        """Return how many cells a heap has: one for its end, too, where a header lies."""
        return (end - start) // self.grains.size // CELL + 1

    def stretch_of(self, region: int) -> range:
        """Return the regions that are pieces of the same heap, and adjoin each other."""
        first, stop = region, region + 1
        while first and self._adjoins(first):
            first -= 1
        while stop < len(self.starts) and self._adjoins(stop):
            stop += 1
        return range(first, stop)

    def stretches(self) -> Iterator[range]:
        """Yield all regions, those that adjoin each other together."""
        region = 0
        while region < len(self.starts):
            found = self.stretch_of(region)
            yield found
            region = found.stop

    def _adjoins(self, region: int) -> bool:
        """Tell whether a region is the piece of a heap behind the one before."""
        before, start = region - 1, self.starts[region]
        heaps = not (self.singles[region] or self.singles[before])
        far, odd = divmod(start - self.starts[before], self.grains.size)
        return heaps and start == self.ends[before] - self.grains.tail and far > 0 and not odd

    def begin(self) -> None:
        """Get memory for the cells of all regions; OSError where there is none."""
        self._memory = mmap.mmap(-1, max(self._room, 1) * CELL_WORDS * 8)
        self.cells = memoryview(self._memory).cast("Q")

    _memory: mmap.mmap = field(init=False, repr=False)
    cells: memoryview = field(init=False, repr=False)

    def cells_of(self, region: int) -> memoryview:
        """Return the cells of a heap, CELL_WORDS for each."""
        first = self.places[region]
        last = first + self._cells_of(self.starts[region], self.ends[region])
        return self.cells[first * CELL_WORDS : last * CELL_WORDS]

    def set(self, region: int, chunk: int, size: int) -> None:
        """Add a chunk in use of a heap."""
        grain, place = self.grains.size, self.places[region]
        first = (chunk - self.starts[region]) // grain
        last = first + size // grain - 1
        self.cells[(place + first // CELL) * CELL_WORDS + STARTS] |= 1 << first % CELL
        self.cells[(place + last // CELL) * CELL_WORDS + ENDS] |= 1 << last % CELL

    def set_many(
        self, region: int, start: int, chunks: Sequence[int], sizes: Iterable[int]
    ) -> None:
        """Add chunks in use of a heap, in order: by how many bytes behind `start` each lies."""
        grain, base = self.grains.size, self.places[region] * CELL_WORDS
        before, odd = divmod((start - self.starts[region]) // grain, CELL)
        starts = [chunk // grain + odd for chunk in chunks]
        ends = [at + size // grain - 1 for at, size in zip(starts, sizes)]
        for plane, places in ((STARTS, starts), (ENDS, ends)):
            if places:
                words = words_of(places)
                first = base + before * CELL_WORDS + plane
                words[0] |= self.cells[first]
                self.cells[first : first + len(words) * CELL_WORDS : CELL_WORDS] = memoryview(words)

    def complete(self, region: int) -> None:
        """Fill in the directory of a heap, once all its chunks are in."""
        cells, rank, start = self.cells, 0, -1  # of the chunk that reaches into the next cell
        number = self._cells_of(self.starts[region], self.ends[region])
        base = self.places[region] * CELL_WORDS
        for at in range(number):
            cell = base + at * CELL_WORDS
            back = at * CELL - start if start >= 0 else 0
            cells[cell + DIRECTORY] = rank | back << RANK_BITS
            starts, ends = cells[cell + STARTS], cells[cell + ENDS]
            rank += ones(starts)
            if starts:
                last = starts.bit_length() - 1
                start = -1 if ends >> last else at * CELL + last
            elif ends:
                start = -1

    def number(self) -> None:
        """Give every chunk its rank, once all regions are complete."""
        rank = 0
        for region, single in enumerate(self.singles):
            self.firsts.append(rank)
            rank += 1 if single else self._chunks_of(region)
        self.chunks = rank

    def _chunks_of(self, region: int) -> int:
        """Return how many chunks a heap has."""
        last = self._cells_of(self.starts[region], self.ends[region]) - 1
        cell = (self.places[region] + last) * CELL_WORDS
        before = self.cells[cell + DIRECTORY] & RANKS
        return before + ones(self.cells[cell + STARTS])

    def sizes_of(self, region: int) -> array[int]:
        """Return the bytes of each chunk of a region, in order."""
        if self.singles[region]:
            return array("Q", [self.ends[region] - self.starts[region]])
        grain, found, starts = self.grains.size, array("Q"), list[int]()
        cells = self.cells_of(region)
        for at in range(0, len(cells), PIECE * CELL_WORDS):
            piece = cells[at : at + PIECE * CELL_WORDS]
            first = at // CELL_WORDS * CELL
            starts += set_bits(piece[STARTS::CELL_WORDS], first)
            ends = set_bits(piece[ENDS::CELL_WORDS], first)
            found.fromlist([(last - start + 1) * grain for start, last in zip(starts, ends)])
            del starts[: len(ends)]
        return found

    def region_at(self, address: int) -> int:
        """Return the region that has an address, -1 without."""
        region = bisect_right(self.starts, address) - 1
        return region if region >= 0 and address < self.ends[region] else -1

    def at(self, address: int) -> HeldChunk | None:
        """Return the chunk in use whose memory has an address, None without.

        The first word of a header is the last one of the chunk before.
        """
        region = self.region_at(address)
        if region < 0:
            return None
        single = self.singles[region]
        if single:
            inside = address >= single + self.grains.header
            return self._single(region) if inside else None
        size, header, tail = self.grains
        offset = address - self.starts[region]
        grain, begin = self._covering(region, offset // size), -1
        if grain >= 0:
            begin = grain * size
        if begin < 0 or offset < begin + header:
            if begin >= 0 and offset >= begin + tail:
                return None  # in its size word
            if begin < 0:
                begin = offset // size * size
            if offset >= begin + tail:
                return None
            if not begin:  # in the piece of a heap before
                region, begin = region - 1, address - self.starts[region - 1]
                if region < 0 or self.singles[region] or address >= self.ends[region]:
                    return None
            before = begin // size - 1
            if before < 0 or not self._ends_at(region, before):
                return None
            grain = self._covering(region, before)
        return self._chunk(region, grain)

    def begin_at(self, address: int) -> HeldChunk | None:
        """Return the chunk in use that malloc returned as this address, None without."""
        found = self.at(address)
        return found if found is not None and found.user == address else None

    def ranked(self, rank: int) -> HeldChunk:
        """Return the chunk of a rank."""
        region = bisect_right(self.firsts, rank) - 1
        if self.singles[region]:
            return self._single(region)
        cells, rank = self.cells, rank - self.firsts[region]
        base = self.places[region]
        low, high = 0, self._cells_of(self.starts[region], self.ends[region])
        while high - low > 1:  # the last cell before whose end so many begin
            middle = (low + high) // 2
            before = cells[(base + middle) * CELL_WORDS + DIRECTORY] & RANKS
            low, high = (middle, high) if before <= rank else (low, middle)
        cell = (base + low) * CELL_WORDS
        starts, left = cells[cell + STARTS], rank - (cells[cell + DIRECTORY] & RANKS)
        for _ in range(left):
            starts &= starts - 1
        return self._chunk(region, low * CELL + (starts & -starts).bit_length() - 1)

    def _covering(self, region: int, grain: int) -> int:
        """Return where the chunk in use begins that has a grain, -1 without."""
        at, bit = divmod(grain, CELL)
        cell = (self.places[region] + at) * CELL_WORDS
        starts = self.cells[cell + STARTS] & (2 << bit) - 1
        ended = self.cells[cell + ENDS] & (1 << bit) - 1
        if starts:
            start = starts.bit_length() - 1
            return -1 if ended >> start else at * CELL + start
        back = self.cells[cell + DIRECTORY] >> RANK_BITS
        return -1 if ended or not back else at * CELL - back

    def _ends_at(self, region: int, grain: int) -> bool:
        cell = (self.places[region] + grain // CELL) * CELL_WORDS
        return bool(self.cells[cell + ENDS] >> grain % CELL & 1)

    def _end(self, region: int, grain: int) -> int:
        """Return the grain behind the chunk that begins at one."""
        at, bit = divmod(grain, CELL)
        cell = (self.places[region] + at) * CELL_WORDS
        ends = self.cells[cell + ENDS] >> bit << bit
        while not ends:
            at, cell = at + 1, cell + CELL_WORDS
            ends = self.cells[cell + ENDS]
        return at * CELL + (ends & -ends).bit_length()

    def _chunk(self, region: int, grain: int) -> HeldChunk:
        size, header, tail = self.grains
        at, bit = divmod(grain, CELL)
        cell = (self.places[region] + at) * CELL_WORDS
        before = self.cells[cell + STARTS] & (1 << bit) - 1
        rank = self.cells[cell + DIRECTORY] & RANKS
        rank += self.firsts[region] + ones(before)
        address = self.starts[region] + grain * size
        length = (self._end(region, grain) - grain) * size
        return HeldChunk(rank, address, length, address + header, length - header + tail, region)

    def _single(self, region: int) -> HeldChunk:
        start, end, chunk = self.starts[region], self.ends[region], self.singles[region]
        user = chunk + self.grains.header
        return HeldChunk(self.firsts[region], chunk, end - start, user, end - user, region)

    def each(self) -> Iterator[HeldChunk]:
        """Yield all chunks in use, in order."""
        for region in range(len(self.starts)):
            yield from self.each_of(region)

    def each_of(self, region: int) -> Iterator[HeldChunk]:
        """Yield the chunks in use of a region, in order."""
        if self.singles[region]:
            yield self._single(region)
            return
        size, header, tail = self.grains
        start, place, rank = self.starts[region], self.places[region], self.firsts[region]
        for at in range(self._cells_of(start, self.ends[region])):
            starts = self.cells[(place + at) * CELL_WORDS + STARTS]
            while starts:
                low = starts & -starts
                starts ^= low
                grain = at * CELL + low.bit_length() - 1
                address = start + grain * size
                length = (self._end(region, grain) - grain) * size
                user, usable = address + header, length - header + tail
                yield HeldChunk(rank, address, length, user, usable, region)
                rank += 1
