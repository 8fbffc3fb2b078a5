"""What containers have allocated, as bodies.c finds it: what `bodies` says in Python, compiled."""

from __future__ import annotations

import ctypes
from array import array
from itertools import islice
from typing import TYPE_CHECKING

from ..held.declared import CCursor, address_of
from ..held.spots import AROUND
from .declared import PAIR_WORDS, CChain, CFinder, declared
from .functors import Functors
from .tables import TABLE_WORDS, HashTable, Window

if TYPE_CHECKING:
    from ..held.held import Held

STEPS = 1 << 16  # chunks between two looks for Ctrl-C
MOST_PAIRS = 1 << 13  # of functions that std::functions lead to
SLOTS = 2 * MOST_PAIRS
MOST_KEPT = 1 << 17  # spots of chunks
ASKED = (1 << 64) - 1  # of a pair, as bodies.c has it


class CompiledBodies:
    """What was found so far, by bodies.c."""

    def __init__(self, held: Held) -> None:
        assert held.table is not None
        self.marks = array("H", bytes(2 * held.index.chunks))
        self._held, self._code = held, declared(held.functions)
        self._functors, self._pairs = Functors(held), array("Q", bytes(SLOTS * PAIR_WORDS * 8))
        given = self._given = CFinder(address_of(self.marks), held.index.chunks)
        given.pairs, given.slots, given.most = address_of(self._pairs), SLOTS, MOST_PAIRS
        given.blocks = address_of(held.blocks)
        self._spots = array("Q", [0]) * (MOST_KEPT * AROUND if held.lots.passes else 0)
        given.spots, given.room = address_of(self._spots), len(self._spots) // AROUND
        self._tables = array("Q")
        self._both = held.table.reference, ctypes.byref(given)

    @property
    def kept(self) -> array[int]:
        return self._spots[: self._given.kept * AROUND]

    @property
    def tables(self) -> list[HashTable]:
        words, noted = iter(self._tables), self._given.noted
        return [HashTable(*each) for each in islice(zip(words, words, words), noted)]

    @property
    def callers(self) -> array[int]:
        return self._pairs[1::PAIR_WORDS]

    def look_into_chunks(self) -> None:
        pace, index = self._held.space.pace, self._held.index
        pace.begin("looking for containers", sum(map(int.__sub__, index.ends, index.starts)))
        for region, (start, end) in enumerate(zip(index.starts, index.ends)):
            self._held.lots.bring(region)
            at, count = CCursor(region), STEPS
            while count == STEPS:
                pace.check(start)
                at, count = self._go_on(at)
            pace.walked(end - start)

    def _go_on(self, begin: CCursor) -> tuple[CCursor, int]:
        """Look into the next chunks from a cursor on; return how far that came, and how many."""
        kept = self._given.kept
        while True:
            at, self._given.kept = CCursor(begin.region, begin.grain), kept
            count = self._code.heapx_bodies(*self._both, ctypes.byref(at), STEPS)
            if not self._learn():
                return at, count

    def look_into(self, start: int, end: int) -> None:
        store = self._held.store
        words = address_of(store.memory) + store.offset(start)
        self._code.heapx_bodies_in(*self._both, words, (end - start) // 8)
        if self._learn():
            self.look_into(start, end)

    def look_at(self, spots: array[int], over: bool) -> None:
        number = len(spots) // AROUND
        self._code.heapx_bodies_at(*self._both, address_of(spots), number, over)
        if self._learn():
            self.look_at(spots, over)

    def note_tables(self) -> None:
        self._tables = array("Q", bytes(MOST_KEPT * TABLE_WORDS * 8))
        self._given.tables, self._given.most_noted = address_of(self._tables), MOST_KEPT

    def along(self, at: int, left: int, mark: int, window: Window) -> tuple[int, int]:
        chain = CChain(at, left, mark, address_of(window.data), window.start, len(window.data))
        self._code.heapx_bodies_along(*self._both, ctypes.byref(chain))
        return chain.at, chain.left

    def _learn(self) -> bool:
        """Learn what pairs are that were met for the first time; return whether there are some, so
        that what has met them must be looked at again.
        """
        pairs, asked = self._pairs, self._given.asked
        for _ in range(asked):
            at = pairs.index(ASKED)
            pairs[at] = self._functors.size(pairs[at - 2], pairs[at - 1])
        self._given.asked = 0
        return bool(asked)
