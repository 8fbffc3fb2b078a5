"""The heaps of a target that is held, as recognisers ask about them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import MemoryFault
from ..held.store import COPIED, STATE
from ..target.pages import SWAPPED
from .kinds import Code
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk


class HeldHeaps:
    """The heaps of a target that is held; `bodies` is what chunks are for containers, by rank."""

    def __init__(self, held: Held, bodies: bytes = b"") -> None:
        self._held, self._index, self._store = held, held.index, held.store
        self._bodies, self._at = bodies, held.pointers.at
        self._word, self._order, self._page = held.space.word, held.space.byteorder, held.space.page

    def has(self, address: int) -> bool:
        return self._index.region_at(address) >= 0

    def word_at(self, address: int) -> int | None:
        """Return the word at an address of a heap, or of a root, as far as that leads to a chunk in
        use; None elsewhere.
        """
        region = self._index.region_at(address)
        if region < 0:
            at = bisect_left(self._at, address)
            found = at < len(self._at) and self._at[at] == address
            return self._held.pointers.to[at] if found else None
        if self._index.ends[region] - address < self._word:
            return None
        return int.from_bytes(self._store.read(address, self._word), self._order)

    def body(self, address: int) -> Code | None:
        if not self._bodies:
            return None
        chunk = self._index.begin_at(address)
        return Code(self._bodies[chunk.rank]) if chunk and self._bodies[chunk.rank] else None

    def memory(self, chunk: HeldChunk) -> bytes | None:
        """Return the memory of a chunk, None where some of it isn't at hand."""
        if self._store.swapped and not self._is_read(chunk):
            return None
        return bytes(self._store.read(chunk.user, chunk.usable))

    def _is_read(self, chunk: HeldChunk) -> bool:
        first, last = (
            self._store.offset(address) // self._page
            for address in (chunk.user, chunk.user + chunk.usable - 1)
        )
        states = self._store.pages[first : last + 1]
        return all(state & COPIED or state & STATE != SWAPPED for state in states)


class _Variables:
    """What was copied of files' variables: nothing else, so that files are asked for the rest."""

    def __init__(self, held: Held) -> None:
        self._store, self._page = held.store, held.space.page

    def read(self, address: int, size: int) -> memoryview:
        data = self._store.read(address, size)
        first = self._store.offset(address) // self._page
        last = self._store.offset(address + max(size, 1) - 1) // self._page
        if not all(state & COPIED for state in self._store.pages[first : last + 1]):
            raise MemoryFault(address, size)
        return data


def surroundings_of(held: Held) -> Surroundings:
    """Return what recognisers may ask about what lies around chunks of a target that is held."""
    space = replace(held.space, memory=_Variables(held))
    return Surroundings(replace(held.target, space=space), HeldHeaps(held))
