"""Which holder holds each chunk, compiled: holders.c through ctypes."""

from __future__ import annotations

import ctypes
from array import array
from typing import TYPE_CHECKING

from ..held.declared import CCursor, address_of
from .declared import CLabels, CTotals, declared_holders
from .labels import Counted, Labels, Share, Totals, column

if TYPE_CHECKING:
    from ..held.held import Held
    from ..target.space import Words

PENDING = 1 << 31  # of a label: the chunk must still be looked through
ROOM = 1 << 16  # chunks on the stack; what finds no room is found again by its label
STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on


def labels_of(held: Held, holders: int) -> Labels | CompiledLabels:
    """Return what labels the chunks, compiled if it can be."""
    return (Labels if held.table is None else CompiledLabels)(held, holders)


class CompiledLabels:
    """Labels, by holders.c."""

    nearest: memoryview | None = None
    lead = -1

    def __init__(self, held: Held, holders: int) -> None:
        assert held.table is not None
        self.labels = column(held.index.chunks)
        self.touches = bytearray(holders + 1)
        self._held, self._holders = held, holders
        self._seen = column(held.index.chunks)
        self._stack = array("Q", bytes(8 * ROOM))
        self._functions, self._all = declared_holders(held.functions), held.table.reference
        given = self._given = CLabels(room=ROOM, stack=address_of(self._stack))
        given.labels, given.seen = address_of(self.labels), address_of(self._seen)
        given.touches = address_of(self.touches)
        self._by, self._epochs = ctypes.byref(given), 0

    def follow(self, holder: int, first: int, words: Words) -> bool:
        given = self._given
        given.own, given.first, given.met, given.epoch = holder, first, 0, 0
        self._flood(words)
        return bool(given.met)

    def shared(self, words: Words, most: int) -> Counted | None:
        given, self._epochs = self._given, self._epochs + 1
        given.epoch, given.chunks, given.bytes, given.reached = self._epochs, 0, 0, 0
        given.most, given.lead, given.led = most, self.lead, 0
        given.nearest = address_of(self.nearest) if self.nearest is not None else 0
        self._flood(words)
        if given.reached > most:  # what is marked so far, and still waits, is forgotten
            self._seen = column(self._held.index.chunks)
            given.seen = address_of(self._seen)
            return None
        return Counted(Share(given.chunks, given.bytes), given.led)

    def _flood(self, words: Words) -> None:
        part = array("Q", words)
        self._functions.heapx_label_from(self._all, self._by, address_of(part), len(part))
        while self._given.depth or self._given.pending:
            if not self._given.depth:
                self._gather()
            if not self._given.depth and self._given.pending and not self._look_into_large():
                self._held.lots.bring_next()
            self._drain()

    def _look_into_large(self) -> bool:
        """Look through large chunks that are PENDING; return whether there are any."""
        marks = self._seen if self._given.epoch else self.labels
        found = [chunk for chunk in self._held.large() if marks[chunk.rank] & PENDING]
        for chunk in found:
            marks[chunk.rank] &= ~PENDING
            self._given.pending -= 1
            given = self._all, self._by, chunk.user, self._held.copy_of(chunk.region)
            for _ in self._held.lots.pieces(chunk.region):
                self._functions.heapx_label_large(*given)
                self._drain()
        return bool(found)

    def _gather(self) -> None:
        cursor, gather = CCursor(), self._functions.heapx_label_pending
        while not gather(self._all, self._by, ctypes.byref(cursor)):
            self._drain()

    def _drain(self) -> None:
        while self._given.depth:
            self._held.space.pace.check(0)
            self._functions.heapx_label(self._all, self._by, STEPS)

    def left(self, holder: int, address: int) -> None:
        chunk = self._held.index.at(address)
        if chunk is not None and not self.labels[chunk.rank]:
            self.labels[chunk.rank] = holder

    def totals(self, rows: array[int], kinds: array[int], number: int) -> Totals:
        last, shown = self._holders + 1, max(rows, default=0)
        sums, nearer = (array("Q", bytes(16 * (last + 1))) for _ in range(2))
        by_kind = array("Q", bytes(8 * number * shown))
        given = CTotals(address_of(sums), address_of(nearer), last)
        given.nearest = address_of(self.nearest) if self.nearest is not None else 0
        given.labels = address_of(self.labels)
        given.rows, given.number = address_of(rows) if shown else 0, number
        given.kinds, given.bytes = address_of(kinds), address_of(by_kind)
        cursor = CCursor()
        for_all = (self._all, ctypes.byref(given), ctypes.byref(cursor), STEPS)
        while not self._functions.heapx_total(*for_all):
            self._held.space.pace.check(0)
        parts, near = (
            [Share(*s[at : at + 2]) for at in range(0, len(s), 2)] for s in (sums, nearer)
        )
        return Totals(
            parts, near, [by_kind[row * number : (row + 1) * number] for row in range(shown)]
        )
