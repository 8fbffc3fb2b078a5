"""Chunks with a mapping of their own: what they are, and their headers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import compress, islice
from operator import ne, sub
from typing import NamedTuple

from ..errors import MemoryFault, StoppedError
from ..glibc.layout import FLAGS, IS_MMAPPED, Layout
from ..records import dataclass
from ..target.mappings import merged
from ..target.pages import SWAPPED
from ..target.space import Space

HUGE = 1  # 2.43: bit 0 of prev_size says that the mapping has huge pages
AT_ONCE = 1 << 20  # bytes read
MANY_PAGES = 16  # of a chunk: only the page behind it is read then


class MmappedChunk(NamedTuple):
    """One chunk: its header's address, its size, and where its whole mapping begins and ends."""

    address: int
    size: int
    start: int
    end: int

    @property
    def mapping(self) -> int:
        """Bytes of the whole mapping."""
        return self.end - self.start


def _column() -> array[int]:
    return array("Q")


@dataclass(frozen=True)
class MmappedChunks:
    """Chunks in the order of their addresses: as columns, since there may be a million of them.

    `own` is what a size leaves out of its mapping (Layout.mmap_header).
    """

    own: int = 0
    addresses: array[int] = field(default_factory=_column)
    starts: array[int] = field(default_factory=_column)
    ends: array[int] = field(default_factory=_column)

    @classmethod
    def of(cls, own: int, chunks: Iterable[MmappedChunk]) -> MmappedChunks:
        """Return these chunks, which come in order."""
        found = cls(own)
        for chunk in chunks:
            found.addresses.append(chunk.address)
            found.starts.append(chunk.start)
            found.ends.append(chunk.end)
        return found

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[MmappedChunk]:
        for address, start, end in zip(self.addresses, self.starts, self.ends):
            yield MmappedChunk(address, end - address - self.own, start, end)

    @property
    def sizes(self) -> Iterator[int]:
        """Their sizes."""
        return (end - address - self.own for address, end in zip(self.addresses, self.ends))

    @property
    def mappings(self) -> Iterator[int]:
        """The bytes of their mappings."""
        return map(sub, self.ends, self.starts)

    @property
    def mapped(self) -> int:
        """The bytes of all their mappings."""
        return sum(self.ends) - sum(self.starts)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where their mappings lie, those side by side as one."""
        apart = bytearray(b"\1")
        apart.extend(map(ne, self.ends, islice(self.starts, 1, None)))
        apart.append(1)
        starts, ends = compress(self.starts, apart), compress(self.ends, islice(apart, 1, None))
        return merged(zip(starts, ends))


def chunk_of(
    space: Space, layout: Layout, address: int, prev_size: int, size: int
) -> MmappedChunk | None:
    """Return the chunk that this header describes, None if it can't be one.

    To 2.42 prev_size + size is the mapping; from 2.43 (614cfd0f8a) the header is not in `size`.
    """
    if size & FLAGS != IS_MMAPPED or size <= FLAGS:
        return None
    page, own = space.page, layout.mmap_header
    offset = prev_size & ~HUGE if own else prev_size
    start, size = address - offset, size - IS_MMAPPED
    end = address + size + own
    if start % page or end % page or start < 0:
        return None
    return MmappedChunk(address, size, start, end)


def read_block(space: Space, address: int, size: int) -> Sequence[int]:
    """Return the words of a block, but not more than a page where pages are swapped out, since
    reading brings them back; zeros where a page can't be read, such as a stack's guard.
    """
    states = space.residency.states(address, address + size) if space.residency else b""
    size = space.page if SWAPPED in states else size
    try:
        return space.words(address, size // space.word)
    except StoppedError:
        raise
    except MemoryFault:
        words: list[int] = []
        for page in range(address, address + size, space.page):
            count = min(space.page, address + size - page) // space.word
            try:
                words += space.words(page, count)
            except MemoryFault:
                words += [0] * count
        return words
