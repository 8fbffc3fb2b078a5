"""The heaps of a target that is held, as recognisers ask about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..held.store import COPIED
from ..target.pages import IN_RAM, SWAPPED
from .kinds import Code

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

STATE = 0x1F  # of a page's byte: what it is (pages.py)


class HeldHeaps:
    """The heaps of a target that is held; `bodies` is what chunks are for containers, by rank."""

    def __init__(self, held: Held, bodies: bytes = b"") -> None:
        self._held, self._index, self._store = held, held.index, held.store
        self._space, self._bodies = held.space, bodies
        self._word, self._order = held.space.word, held.space.byteorder
        self._page, self._paged = held.space.page, held.target.space.residency is not None

    def has(self, address: int) -> bool:
        return self._index.region_at(address) >= 0

    def word_at(self, address: int) -> int | None:
        region = self._index.region_at(address)
        if region < 0 or self._index.ends[region] - address < self._word:
            return None
        return int.from_bytes(self._store.read(address, self._word), self._order)

    def body(self, address: int) -> Code | None:
        if not self._bodies:
            return None
        chunk = self._index.begin_at(address)
        return Code(self._bodies[chunk.rank]) if chunk and self._bodies[chunk.rank] else None

    def memory(self, chunk: HeldChunk) -> bytes | None:
        """Return the memory of a chunk, None where some of it isn't at hand."""
        if self._store.swapped:
            for _, _, state in self._pages(chunk.user, chunk.user + chunk.usable):
                if not state & COPIED and state & STATE == SWAPPED:
                    return None
        return bytes(self._store.read(chunk.user, chunk.usable))

    def amount(self, chunk: HeldChunk) -> tuple[int, int]:
        """Return how many bytes of a chunk are in memory, and in swap; 0 where nobody knows."""
        if not self._paged:
            return 0, 0
        single = self._index.singles[chunk.region]
        start = self._index.starts[chunk.region] if single else chunk.address
        sizes = [(state & STATE, e - b) for b, e, state in self._pages(start, start + chunk.bytes)]
        resident = sum(size for state, size in sizes if state in IN_RAM)
        return resident, sum(size for state, size in sizes if state == SWAPPED)

    def _pages(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return each page that has bytes of [start, end): from where, up to where, its state."""
        page, found = self._page, []
        while start < end:
            stop = min(start - start % page + page, end)
            found.append((start, stop, self._store.pages[self._store.offset(start) // page]))
            start = stop
        return found
