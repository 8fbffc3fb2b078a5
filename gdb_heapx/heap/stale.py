"""What lay in large free chunks before they merged, as the headers that were left there tell.

free() merges a chunk with free neighbours, and leaves the header of the one at the higher address
(malloc.c, _int_free_merge_chunk): freed upwards, each has a prev_size that is the sum of those
before; freed downwards, each size reaches to the end. This is evidence, and no proof: a part that
was cut off and freed again has moved the base, and a large block that wasn't written to its end has
older headers in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from functools import reduce
from itertools import compress
from operator import or_
from typing import NamedTuple

from ..glibc.layout import FLAGS, IS_MMAPPED, PREV_INUSE, SIZE, Layout
from ..glibc.releases import DEFAULT_MMAP_THRESHOLD
from ..records import dataclass
from ..target.pages import RESIDENT, SHARED
from ..target.space import Residency, Space
from .census import power_in
from .runs import Run

LARGE = DEFAULT_MMAP_THRESHOLD  # bytes: chunks that would have mappings of their own
PIECE = 1 << 20  # bytes looked at together
PIECES = 128  # looked at of all arenas; of more, so many that lie evenly among them
FEWEST = 2  # of them in an arena
_IS_SET = bytes(map(bool, range(256)))


@dataclass
class LargeFree:
    """The large free chunks of a heap: address and size of each."""

    chunks: list[tuple[int, int]] = field(default_factory=list)

    def add(self, run: Run) -> None:
        if run.largest_free >= LARGE:
            large = ((chunk, run.size_at(chunk)) for chunk in run.free_addresses)
            self.chunks += ((chunk, size) for chunk, size in large if size >= LARGE)

    def close(self, end: int) -> None:
        pass


class Piece(NamedTuple):
    """A part of a large free chunk, [start, end), and what of it is resident."""

    chunk: int
    size: int
    start: int
    end: int
    resident: int


def last_sizes(
    space: Space,
    residency: Residency,
    layout: Layout,
    chunks: Iterable[tuple[int, int]],
    most: int = PIECES,
) -> Counter[int]:
    """Return the resident bytes of large free chunks by the size that chunks there had before they
    merged, its highest power of two; all that are smaller than LARGE under 0. A sample of `most`
    pieces stands for more.
    """
    pieces = [piece for chunk in chunks for piece in _pieces(residency, *chunk)]
    chosen = pieces[:: -(-len(pieces) // most) or 1]
    found: Counter[int] = Counter()
    for piece in chosen:
        found.update(_sizes_in(space, residency, layout, piece))
    whole, seen = (sum(piece.resident for piece in some) for some in (pieces, chosen))
    return Counter({size: count * whole // seen for size, count in found.items()})


def _pieces(residency: Residency, chunk: int, size: int) -> Iterator[Piece]:
    """Yield the parts of a chunk that have resident pages."""
    for start in range(chunk, chunk + size, PIECE):
        end = min(start + PIECE, chunk + size)
        resident = end - start - residency.missing(start, end)[0]
        if resident:
            yield Piece(chunk, size, start, end, resident)


def _sizes_in(space: Space, residency: Residency, layout: Layout, piece: Piece) -> Counter[int]:
    """Return the resident bytes of a piece as last_sizes does."""
    low = max(piece.chunk, piece.start - LARGE)
    high = min(piece.chunk + piece.size, piece.end + LARGE)
    borders = [low]
    for start, end in _resident(residency, low, high):
        borders += _headers(space, layout, piece, start, end)
    borders.append(high)
    found: Counter[int] = Counter()
    for start, end in zip(borders, borders[1:]):
        inside, stop = max(start, piece.start), min(end, piece.end)
        if end - start >= LARGE and inside < stop:
            absent = residency.missing(inside, stop)[0]
            found[power_in(end - start)] += stop - inside - absent
    found[0] = piece.resident - sum(found.values())
    return found


def _resident(residency: Residency, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of pages in RAM in [start, end)."""
    page, first = residency.page, start // residency.page
    states = residency.states(start, end).replace(bytes([SHARED]), bytes([RESIDENT]))
    at = states.find(RESIDENT)
    while at >= 0:
        rest = states[at:].lstrip(bytes([RESIDENT]))
        stop = len(states) - len(rest)
        yield max(start, (first + at) * page), min(end, (first + stop) * page)
        at = states.find(RESIDENT, stop)


def _headers(space: Space, layout: Layout, piece: Piece, start: int, end: int) -> list[int]:
    """Return where in [start, end) headers of earlier chunks lie."""
    unit = layout.alignment
    first = start + (piece.chunk - start) % unit
    data = space.memory.read(first, max(end - first, 0) // unit * unit)
    words, stride = space.as_words(data), unit // space.word
    view = _Headers(words[::stride], words[SIZE::stride], first, piece, layout)
    lowest = SIZE * space.word + (0 if space.byteorder == "little" else space.word - 1)
    step = 1 if space.byteorder == "little" else -1
    raw = bytes(data)  # of a memoryview's stretches a copy takes three times as long
    columns = [raw[lowest + step * number :: unit] for number in range(space.word)]
    return [first + i * unit for i in view.found(columns)]


@dataclass(frozen=True)
class _Headers:
    """What may be headers, one every MALLOC_ALIGNMENT bytes: prev_size and size of each."""

    before: Sequence[int]
    sizes: Sequence[int]
    start: int
    piece: Piece
    layout: Layout

    def found(self, columns: Sequence[bytes]) -> list[int]:
        """Return the indexes of those that were headers, by what their neighbours say; `columns`
        are the bytes of the sizes, the lowest ones first.
        """
        least, most = self.layout.min_size, self.piece.size + FLAGS
        some = compress(range(len(self.sizes)), self.small(columns, most))
        may_be = [i for i in some if least <= self.sizes[i] <= most]
        known = set(may_be)
        return [i for i in may_be if self._agrees(i, known)]

    def small(self, columns: Sequence[bytes], most: int) -> bytes:
        """Return by size whether it isn't 0, has no more bytes than `most`, and none of the bits
        that no size has: few are so, and columns tell it of all at once.
        """
        bad = IS_MMAPPED | (self.layout.alignment - 1 & ~FLAGS)
        flawed = columns[0].translate(bytes(bool(byte & bad) for byte in range(256)))
        length = (most.bit_length() + 7) // 8
        small = _any_set(columns[:length]) & ~_any_set([flawed, *columns[length:]])
        return small.to_bytes(len(flawed), "little")

    def _agrees(self, i: int, known: set[int]) -> bool:
        """Tell whether a size is one of a chunk: it reaches to the end, or to a header that says
        so, or prev_size tells of a free chunk before it that became part of a larger one.
        """
        word, before, unit = self.sizes[i], self.before[i], self.layout.alignment
        size, at = word & ~FLAGS, self.start + i * unit - self.piece.chunk
        if not at or at + size >= self.piece.size:
            return bool(at) and at + size == self.piece.size
        after = i + size // unit
        if after in known and self.sizes[after] & PREV_INUSE:
            return True
        if word & PREV_INUSE:
            return after in known and self.before[after] >= size
        if before == at or (after in known and self.before[after] == before + size):
            return True
        base = i - before // unit
        return before % unit == 0 and base in known and self.sizes[base] & ~FLAGS >= before + size


def _any_set(columns: Iterable[bytes]) -> int:
    """Return a number whose bytes are 1 where columns have one that isn't 0, else 0."""
    merged = reduce(or_, (int.from_bytes(column, "little") for column in columns))
    size = (merged.bit_length() + 7) // 8
    return int.from_bytes(merged.to_bytes(size, "little").translate(_IS_SET), "little")
