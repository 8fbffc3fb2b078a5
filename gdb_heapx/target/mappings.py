"""An address space: its bytes, and the mappings that it is made of."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import compress, islice
from operator import attrgetter, gt, ne
from typing import Any, NamedTuple, Protocol

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


Wanted = Callable[[Mapping], bool]  # of a kind of mappings: it must not ask where they lie


class Mappings:
    """Mappings, of which none overlap: where each begins and ends, and of which kind it is, since
    thousands are alike. One by one they are made when somebody asks for them.

    `kinds` has one mapping of each kind; the others differ from it by their place only.
    `numbers` are those of each mapping's kind.
    """

    def __init__(
        self, starts: list[int], ends: list[int], numbers: list[int], kinds: list[Mapping]
    ) -> None:
        self.starts, self.ends, self.numbers, self.kinds = starts, ends, numbers, kinds

    @classmethod
    def of(cls, mappings: Iterable[Mapping]) -> Mappings:
        """Return mappings as such, in the order that they have."""
        if isinstance(mappings, Mappings):
            return mappings
        starts, ends, numbers = list[int](), list[int](), list[int]()
        kinds, known = list[Mapping](), dict[tuple[Any, ...], int]()
        for mapping in mappings:
            number = known.setdefault((mapping.size, *mapping[2:]), len(kinds))
            if number == len(kinds):
                kinds.append(mapping)
            starts.append(mapping.start)
            ends.append(mapping.end)
            numbers.append(number)
        return cls(starts, ends, numbers, kinds)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, at: int) -> Mapping:
        return Mapping(self.starts[at], self.ends[at], *self.kinds[self.numbers[at]][2:])

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Mappings, tuple)) and self._all == (*other,)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _all(self) -> tuple[Mapping, ...]:
        rows = [kind[2:] for kind in self.kinds]
        return tuple(
            Mapping(start, end, *rows[number])
            for start, end, number in zip(self.starts, self.ends, self.numbers)
        )

    @cached_property
    def counts(self) -> list[int]:
        """How many mappings are of each kind."""
        counted = Counter(self.numbers)
        return [counted[number] for number in range(len(self.kinds))]

    @cached_property
    def in_order(self) -> Mappings:
        """The same by address."""
        if not any(map(gt, self.starts, islice(self.starts, 1, None))):
            return self
        return Mappings.of(sorted(self, key=attrgetter("start")))

    def sum(self, of: Callable[[Mapping], int]) -> int:
        """Return the sum of what all mappings have, by what one of a kind has."""
        return sum(of(kind) * count for kind, count in zip(self.kinds, self.counts))

    def where(self, wanted: Wanted) -> Iterator[Mapping]:
        """Yield the mappings whose kind is wanted."""
        return map(self.__getitem__, self.places(wanted))

    def runs(self, wanted: Wanted) -> list[tuple[int, int]]:
        """Return from where to where mappings lie whose kind is wanted, those side by side as one;
        they are in order.
        """
        places = [*self.places(wanted)]
        starts, ends = [self.starts[at] for at in places], [self.ends[at] for at in places]
        apart = map(ne, islice(starts, 1, None), ends)
        firsts = [*starts[:1], *compress(islice(starts, 1, None), apart)]
        apart = map(ne, islice(starts, 1, None), ends)
        return [*zip(firsts, [*compress(ends, apart), *ends[-1:]])]

    def places(self, wanted: Wanted) -> Iterable[int]:
        """Return the numbers of the mappings whose kind is wanted."""
        chosen = [wanted(kind) for kind in self.kinds]
        if not any(chosen):
            return ()
        return compress(range(len(self)), map(chosen.__getitem__, self.numbers))

    def at(self, address: int) -> Mapping | None:
        """Return the mapping that has this address, None without."""
        every = self.in_order
        index = bisect_right(every.starts, address) - 1
        return every[index] if index >= 0 and address < every.ends[index] else None

    def within(self, start: int, end: int) -> list[Mapping]:
        """Return the mappings that have bytes of [start, end), in order."""
        every = self.in_order
        first, behind = bisect_right(every.ends, start), bisect_left(every.starts, end)
        return [*map(every.__getitem__, range(first, behind))]


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
