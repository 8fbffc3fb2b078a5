"""The heaps of a target that is held, as recognisers ask about them."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import MemoryFault
from ..held.store import COPIED
from ..target.pages import UNTOUCHED, ZERO
from .bodies import find_bodies
from .contents import WINDOW
from .kinds import Key, LedTo
from .recognisers import Contents
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk


NOBODY_LOOKED = LedTo()
LARGE = 1 << 20  # bytes of a chunk whose pages are looked at
_RUN = re.compile(b"[\x40-\x7f\xc0-\xff]+")  # pages whose state has COPIED


class HeldHeaps:
    """The heaps of a target that is held; `bodies` is what chunks are for containers."""

    def __init__(self, held: Held, bodies: LedTo = NOBODY_LOOKED) -> None:
        self._held, self._index, self._store = held, held.index, held.store
        self.bodies, self._at = bodies, held.pointers.at
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
        if self._index.ends[region] - address < self._word or not self._held.lots.has(region):
            return None
        return int.from_bytes(self._store.read(address, self._word), self._order)

    def body(self, address: int) -> Key | None:
        chunk = self._index.begin_at(address) if self.bodies.marks else None
        return self.bodies.key(chunk.rank) if chunk else None

    def contents(self, chunk: HeldChunk) -> Contents | None:
        """Return what a chunk has, None where some of it isn't at hand."""
        large = chunk.region in self._held.lots.large
        if (self._store.swapped or large) and not self._is_read(chunk):
            return None
        view = self._store.read(chunk.user, chunk.usable)
        words, head = self._held.space.as_words(view), bytes(view[:WINDOW])
        touched = None if chunk.usable < LARGE else self._touched(chunk)
        return Contents(chunk.user, words, head, touched)

    def _pages(self, chunk: HeldChunk) -> tuple[int, bytes]:
        """Return where the first page of a chunk's memory begins, and the states of all."""
        first, last = (
            self._store.offset(address) // self._page
            for address in (chunk.user, chunk.user + chunk.usable - 1)
        )
        return chunk.user - chunk.user % self._page, bytes(self._store.pages[first : last + 1])

    def _is_read(self, chunk: HeldChunk) -> bool:
        _, states = self._pages(chunk)
        return all(state & COPIED or state in (UNTOUCHED, ZERO) for state in states)

    def _touched(self, chunk: HeldChunk) -> list[tuple[int, int]]:
        """Return which words of a chunk lie in pages that were copied; the others are zeros."""
        start, states = self._pages(chunk)
        end, page, user = chunk.user + chunk.usable, self._page, chunk.user
        runs = ((start + r.start() * page, start + r.end() * page) for r in _RUN.finditer(states))
        whole = ((max(low, user), min(high, end)) for low, high in runs)
        return [((low - user) // self._word, (high - user) // self._word) for low, high in whole]


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


def surroundings_of(held: Held, bodies: LedTo | None = None) -> Surroundings:
    """Return what recognisers may ask about what lies around chunks of a target that is held;
    containers are looked for where their `bodies` aren't known yet.
    """
    space = replace(held.space, memory=_Variables(held))
    heaps = HeldHeaps(held, find_bodies(held) if bodies is None else bodies)
    return Surroundings(replace(held.target, space=space), heaps)
