"""The flood, compiled: reach.c through ctypes."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..held.declared import CCursor, address_of
from .declared import AHEAD, CFlood, CGroup, CHanging, CHeads, CSum, declared
from .flood import Flood
from .states import DEGREE, DEGREES, INSIDE, PENDING, Degree
from .sums import Hanging, Sampled, Together

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..target.space import Words

ROOM = 1 << 16  # chunks on the stack; what finds no room is found again by its state
STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on
WORD = 8
NOWHERE = (1 << 64) - 1  # behind all grains


def flood_of(held: Held, kinds: array[int] | None = None, number: int = 1) -> Flood | CompiledFlood:
    """Return what floods the chunks in use, compiled if it can be."""
    if held.table is None:
        return Flood(held, kinds, number)
    return CompiledFlood(held, kinds, number)


class CompiledFlood:
    """A Flood, by reach.c."""

    def __init__(self, held: Held, kinds: array[int] | None = None, number: int = 1) -> None:
        assert held.table is not None
        self.states = bytearray(held.index.chunks)
        self._stack = array("Q", bytes((ROOM + AHEAD) * WORD))
        self._held, self._kinds, self._number = held, kinds, number
        self._functions, self._all = declared(held.functions), held.table.reference
        self._flood = CFlood(room=ROOM, stack=address_of(self._stack))
        self._flood.states = address_of(self.states)
        self._by = ctypes.byref(self._flood)

    def follow(self, words: Iterable[Words], mark: Degree, inner: bool) -> None:
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, inner)
        for each in words:
            part = array("Q", each)
            self._functions.heapx_visit(self._all, self._by, address_of(part), len(part))
            self._drain()

    def follow_inside(self, mark: Degree) -> None:
        self._begin(Degree.UNREACHED, Degree.UNREACHED, mark, True)
        self._gather(DEGREE | INSIDE, INSIDE)
        self._drain()

    def leave(self, chunk: HeldChunk) -> bool:
        if self.states[chunk.rank] & DEGREE:
            return False
        self.states[chunk.rank] = Degree.REACHABLE
        return True

    def part(self) -> list[Hanging]:
        hanging = (CHanging * self._number)()
        self._begin(Degree.UNREACHED, Degree.UNREACHED, Degree.REACHED, True)
        cursor = CCursor()
        self._repeat(
            lambda: self._functions.heapx_starts(self._all, self._by, ctypes.byref(cursor), STEPS)
        )
        self._begin(Degree.START, Degree.REACHED, Degree.HANGS, True)
        heads = CHeads(CCursor(len(self._held.index.starts) - 1, NOWHERE))
        heads.kinds = address_of(self._kinds) if self._kinds else 0
        heads.hanging = ctypes.addressof(hanging)
        self._repeat(
            lambda: self._functions.heapx_heads(self._all, self._by, ctypes.byref(heads), STEPS)
        )
        return [Hanging(_sum(each.sum), each.most, each.at) for each in hanging]

    def sums(self) -> list[list[Sampled]]:
        groups = (CGroup * (DEGREES * self._number))()
        cursor, kinds = CCursor(), address_of(self._kinds) if self._kinds else 0
        given = (address_of(self.states), kinds, ctypes.addressof(groups), self._number)
        self._repeat(
            lambda: self._functions.heapx_sums(self._all, *given, ctypes.byref(cursor), STEPS)
        )
        every = [Sampled(_sum(g.sum), g.sample) for g in groups]
        number = self._number  # 0 where no chunk is in use
        return [every[degree * number : (degree + 1) * number] for degree in range(DEGREES)]

    def _begin(self, source: Degree, also: Degree, mark: Degree, inner: bool) -> None:
        flood = self._flood
        flood.source, flood.also, flood.mark, flood.inner = source, also, mark, inner

    def _drain(self) -> None:
        """Look through all that is on the stack, or finds no room there."""
        while self._flood.depth or self._flood.pending:
            if not self._flood.depth:
                self._gather(PENDING, PENDING)
            if not self._flood.depth and self._flood.pending and not self._look_into_large():
                self._held.lots.bring_next()
            self._check()
            self._functions.heapx_flood(self._all, self._by, STEPS)

    def _look_into_large(self) -> bool:
        """Look through large chunks that are PENDING; return whether there are any."""
        found = [chunk for chunk in self._held.large() if self.states[chunk.rank] & PENDING]
        for chunk in found:
            self.states[chunk.rank] &= ~PENDING
            self._flood.pending -= 1
            given = self._all, self._by, chunk.user, self._held.copy_of(chunk.region)
            for _ in self._held.lots.pieces(chunk.region):
                self._functions.heapx_flood_large(*given)
                self._drain_stack()
        return bool(found)

    def _gather(self, mask: int, wanted: int) -> None:
        cursor = CCursor()
        gather = self._functions.heapx_resume
        while not gather(self._all, self._by, ctypes.byref(cursor), mask, wanted):
            self._drain_stack()

    def _drain_stack(self) -> None:
        while self._flood.depth:
            self._check()
            self._functions.heapx_flood(self._all, self._by, STEPS)

    def _repeat(self, step: Callable[[], int]) -> None:
        """Take steps until one says that it was the last."""
        while not step():
            self._check()
            if self._flood.pending:
                self._drain()

    def _check(self) -> None:
        """See whether to go on, and say how far it is."""
        marked, pace = self._flood.marked.bytes, self._held.space.pace
        pace.walked(max(marked - self._shown, 0))
        self._shown = marked
        pace.check(0)

    _shown = 0  # bytes of the chunks that were marked


def _sum(found: CSum) -> Together:
    return Together(found.chunks, found.bytes, found.resident, found.swapped)
