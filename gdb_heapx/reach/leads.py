"""Where chunks in use lead, word by word: the definition of reach.h."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..held.store import COPIED
from .leftover import LINKS

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk


class Lead(NamedTuple):
    """A word that leads to a chunk in use: where it lies, its value, and the chunk."""

    at: int
    word: int
    to: HeldChunk


class Leads:
    """The words that lead to chunks in use."""

    def __init__(self, held: Held) -> None:
        self._held, self._index, self._store = held, held.index, held.store
        self._words = held.space.as_words(held.store.view)
        starts, ends = held.index.starts, held.index.ends
        self._low, self._high = (starts[0], max(ends)) if starts else (0, 0)

    def followed(self, words: Iterable[int]) -> Iterator[HeldChunk]:
        """Yield the chunks that words lead to which lie outside of all chunks."""
        for word in words:
            chunk = self._index.at(word) if self._low <= word < self._high else None
            if chunk is not None:
                yield chunk

    def of(self, chunk: HeldChunk) -> Iterator[Lead]:
        """Yield the words of a chunk. The first ones may be old links of malloc's, which lead to
        the headers behind chunks: those are left out.
        """
        low, high, find = self._low, self._high, self._index.at
        for at, word in self.words(chunk):
            if low <= word < high:
                to = find(word)
                if to is not None and not self._is_old(chunk, at, word, to):
                    yield Lead(at, word, to)

    def words(self, chunk: HeldChunk) -> Iterator[tuple[int, int]]:
        """Yield where each word of a chunk lies that was copied, and the word."""
        if chunk.region in self._held.lots.large:
            last = 0
            for _ in self._held.lots.pieces(chunk.region):
                self._words = self._held.space.as_words(self._store.view)
                for at, word in self._at_hand(chunk):
                    if at > last:  # pieces overlap
                        last = at
                        yield at, word
            return
        self._bring(chunk.region)
        yield from self._at_hand(chunk)

    def _at_hand(self, chunk: HeldChunk) -> Iterator[tuple[int, int]]:
        store, word, page = self._store, self._held.space.word, self._held.space.page
        offset = store.offset(chunk.user)
        move, end = chunk.user - offset, offset + chunk.usable - chunk.usable % word
        for first in range(offset - offset % page, end, page):
            if store.pages[first // page] & COPIED or chunk.usable <= page:
                low, high = max(first, offset), min(first + page, end)
                addresses = range(low + move, high + move, word)
                yield from zip(addresses, self._words[low // word : high // word])

    def _bring(self, region: int) -> None:
        """See to it that a region is at hand."""
        if not self._held.lots.has(region):
            self._held.lots.bring(region)
            self._words = self._held.space.as_words(self._store.view)

    def bring_next(self) -> None:
        """Bring the next lot of regions."""
        self._held.lots.bring_next()
        self._words = self._held.space.as_words(self._store.view)

    def _is_old(self, chunk: HeldChunk, at: int, word: int, to: HeldChunk) -> bool:
        if at >= chunk.user + LINKS * self._held.space.word or self._index.singles[to.region]:
            return False
        return word == to.address + to.bytes
