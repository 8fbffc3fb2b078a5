"""What a chunk is, one by one, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from ..heap.states import NAMES, STATES
from ..records import dataclass

if TYPE_CHECKING:
    from ..heap.arenas import Heap

# A chunk's state as users type and read it: with where it lies, or that nothing is known of it.
IN_USE, TCACHE, FAST, BINNED, TOP, OVERHEAD = (NAMES[state] for state in STATES)
MMAPPED, UNKNOWN = "mmapped", "unknown"
CHUNK_STATES = (IN_USE, TCACHE, FAST, BINNED, TOP, OVERHEAD, MMAPPED, UNKNOWN)
LISTED = (TCACHE, FAST, BINNED)  # in a free list
HELD = (IN_USE, MMAPPED)  # by the program
TAGGED = (IN_USE, TCACHE, FAST, OVERHEAD)  # in use by their tags


class Chunk(NamedTuple):
    """One chunk. `address` is its header's, `size` in bytes with the header.

    `state` is one of CHUNK_STATES: a mmapped chunk in use is MMAPPED, a tcache itself OVERHEAD, and
    what lies behind a header that can't be followed is one UNKNOWN chunk, up to top or its heap's
    end. `arena` (its index) and `heap` (its address) are None for mmapped chunks; `list` is the
    free list that it hangs in, None without one.
    """

    address: int
    size: int
    state: str
    arena: int | None
    heap: int | None
    list: str | None
    libc: str

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Wanted:
    """Which chunks: of an arena (its index or address), in some states, of some sizes, from the one
    that has the address `start` to those that begin before `end`, at these addresses; all for
    None.
    """

    arena: int | None = None
    states: frozenset[str] | None = None
    min_size: int | None = None
    max_size: int | None = None
    start: int | None = None
    end: int | None = None
    addresses: Container[int] | None = None

    def of(self, chunks: Iterator[Seen]) -> Iterator[Seen]:
        """Yield those of a heap's chunks, in the order of their addresses, that are wanted."""
        every = replace(self, arena=None) == ALL
        return chunks if every else filter(self._has, takewhile(self._goes_on, chunks))

    def _goes_on(self, chunk: Seen) -> bool:
        return self.end is None or chunk.address < self.end

    def _has(self, chunk: Seen) -> bool:
        return (
            (self.states is None or chunk.state in self.states)
            and (self.min_size is None or chunk.size >= self.min_size)
            and (self.max_size is None or chunk.size <= self.max_size)
            and (self.start is None or chunk.address + chunk.size > self.start)
            and (self.addresses is None or chunk.address in self.addresses)
        )

    def reaches(self, heap: Heap) -> bool:
        """Tell whether a heap may have chunks between the two addresses."""
        before = self.end is not None and heap.address >= self.end
        return not before and (self.start is None or heap.end > self.start)


ALL = Wanted()


class Seen(NamedTuple):
    """A chunk whose list isn't known yet: for a free one, that may take reading a long list."""

    address: int
    size: int
    state: str
