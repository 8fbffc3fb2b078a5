"""An address space: its bytes, and the mappings that it is made of."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from ..errors import MemoryFault

DELETED = " (deleted)"  # what the kernel adds to the name of a file that was replaced
ADDRESSES = 1 << 64  # of the largest address space
LARGEST_READ = 1 << 30  # bytes; whoever wants more at once was told so by damaged memory


def check_range(address: int, size: int) -> None:
    """Raise MemoryFault where no memory can be: below 0, beyond the address space, or too much."""
    if not 0 <= address <= ADDRESSES - size or not 0 <= size <= LARGEST_READ:
        raise MemoryFault(address % ADDRESSES, size)


class Memory(Protocol):
    """Bytes of the target by address."""

    def read(self, address: int, size: int) -> memoryview:
        """Return `size` bytes at `address`; raise MemoryFault where they can't all be read."""


# Fills a buffer from an address on, in any thread, and asks nothing: neither whether reading goes
# on, nor whether a page is there. False where not all of it could be read.
Fill = Callable[[int, memoryview], bool]


class Usage(NamedTuple):
    """What the kernel says of one mapping (smaps), in bytes.

    `apart` is "hugetlb" or "device" for what Rss doesn't count; `locked` tells of mlock. `dirty` is
    what can't be dropped: the kernel would have to write it somewhere first.
    """

    resident: int
    proportional: int
    swapped: int
    shared: int
    huge: int
    hugetlb: int
    locked: bool
    apart: str | None
    dirty: int = 0


class Mapping(NamedTuple):
    """One mapping of the address space; `inode` is 0 where no file is behind it.

    `usage` is None where the kernel's figures aren't known, as in a core. `left_out` are bytes at
    its end that a core doesn't hold.
    """

    start: int
    end: int
    permissions: str
    inode: int
    name: str
    offset: int = 0
    usage: Usage | None = None
    left_out: int = 0

    @property
    def size(self) -> int:
        return self.end - self.start

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.start <= address < self.end

    @property
    def anonymous(self) -> bool:
        """Whether it is private memory without a file, where malloc may have put chunks."""
        return not self.inode and self.permissions.startswith("rw") and self.permissions[-1] == "p"


class MappingIndex:
    """Finds mappings by address, of which none overlap."""

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        self._mappings = sorted(mappings, key=attrgetter("start"))
        self._starts = [mapping.start for mapping in self._mappings]

    def at(self, address: int) -> Mapping | None:
        """Return the mapping that has this address, None without."""
        index = bisect_right(self._starts, address) - 1
        found = self._mappings[index] if index >= 0 else None
        return found if found and address < found.end else None

    def within(self, start: int, end: int) -> Sequence[Mapping]:
        """Return the mappings that have bytes of [start, end), in order."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        found = self._mappings[first : bisect_left(self._starts, end)]
        return found[1:] if found and found[0].end <= start else found


def outside(mappings: Iterable[Mapping], spans: Iterable[tuple[int, int]]) -> Iterator[Mapping]:
    """Yield what of the mappings lies in none of these spans, which may overlap."""
    apart = merged(spans)
    if not apart:
        yield from mappings
        return
    low = high = 0  # most lie between the same two spans as the one before
    for mapping in mappings:
        at = mapping.start
        if low <= at and mapping.end <= high:
            yield mapping
            continue
        index = max(bisect_right(apart, (at, at)) - 1, 0)
        while index < len(apart) and apart[index][0] < mapping.end:
            start, end = apart[index]
            if at < start:
                yield mapping._replace(start=at, end=start)
            at, index = max(at, end), index + 1
        if at < mapping.end:
            yield mapping if at == mapping.start else mapping._replace(start=at)
        low = apart[index - 1][1] if index else 0
        high = apart[index][0] if index < len(apart) else ADDRESSES


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in order, those that touch or overlap as one."""
    ordered = sorted(spans)
    found: list[tuple[int, int]] = []
    for low, high in ordered[:1]:
        for start, end in ordered:
            if start > high:
                found.append((low, high))
                low = start
            high = max(high, end) if start <= high else end
        found.append((low, high))
    return found
