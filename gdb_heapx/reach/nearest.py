"""From where each chunk is reached by the fewest pointers: in Python, and by holders.c."""

from __future__ import annotations

import ctypes
import mmap
from array import array
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..held.declared import CCursor, address_of
from .declared import CWays, declared_holders
from .labels import NUMBERS, column
from .leads import Leads

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..target.space import Words

STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on
NOWHERE, RANKS = 0, 2  # what is noted of the chunk that leads to one: its rank, and this
DEPTH_BITS = 28  # of how far a chunk is: the pointers to it; above them, the turn
DEEPEST = (1 << DEPTH_BITS) - 1
WAITS = 1 << 31  # of how far a chunk is: it must still be looked through


def nearest_of(held: Held, goal: HeldChunk | None = None) -> Nearest | CompiledNearest:
    """Return what finds the shortest ways, compiled if it can be."""
    return (Nearest if held.table is None else CompiledNearest)(held, goal)


class Nearest:
    """From where each chunk is reached by the fewest pointers: by rank two numbers, `reached`.

    With a goal it notes which chunk leads to each, as far as the goal is; without, what roots are
    called: of those that are as near the smallest. Roots that are taken in an earlier turn are
    nearer than all later ones. Through a chunk that was closed before, no way leads. StoppedError
    where a pace says so.
    """

    def __init__(self, held: Held, goal: HeldChunk | None = None) -> None:
        self.reached = column(NUMBERS * held.index.chunks)
        self._held, self._goal, self._leads = held, goal, Leads(held)
        self._todo: deque[HeldChunk] = deque()
        self._turn = self._pending = 0  # chunks that wait, and aren't at hand
        self._closed: set[int] = set()

    def origin(self, rank: int) -> int:
        """Return what is noted of a chunk by its rank: NOWHERE if nothing leads there."""
        return self.reached[NUMBERS * rank]

    def close(self, chunk: HeldChunk) -> None:
        """Let no way lead through a chunk that isn't large: it counts as waiting, for nobody."""
        self._closed.add(chunk.rank)
        self.reached[NUMBERS * chunk.rank + 1] = WAITS

    def take(self, root: int, words: Words) -> None:
        """Take in words of a root, with what to note of it."""
        for chunk in self._leads.followed(words):
            self._step(chunk, root, self._turn << DEPTH_BITS | 1)

    def follow(self) -> None:
        """Follow all that was taken in; what is taken from then on is farther away."""
        self._look_through()
        while self._pending:
            self._leads.bring_next()
            for region in self._held.lots.regions:
                self._resume(region)
            self._look_through()
        self._turn += 1

    def _resume(self, region: int) -> None:
        """Look through the chunks of a region that wait."""
        for chunk in self._held.index.each_of(region):
            waits = self.reached[NUMBERS * chunk.rank + 1] & WAITS
            if waits and chunk.rank not in self._closed:
                self._pending -= 1
                self._todo.append(chunk)

    def _look_through(self) -> None:
        while self._todo:
            chunk = self._todo.popleft()
            self._held.space.pace.check(chunk.address)
            at = NUMBERS * chunk.rank
            self.reached[at + 1] &= ~WAITS
            far = self.reached[at + 1]
            far += far & DEEPEST != DEEPEST
            if self._goal is None:
                self._step_all((lead.to for lead in self._leads.of(chunk)), self.reached[at], far)
            elif not self.origin(self._goal.rank) or far < self._far(self._goal):
                leads = (lead.to for lead in self._leads.of(chunk))
                self._step_all(leads, chunk.rank + RANKS, far)

    def _far(self, chunk: HeldChunk) -> int:
        return self.reached[NUMBERS * chunk.rank + 1] & ~WAITS

    def _step_all(self, chunks: Iterable[HeldChunk], origin: int, far: int) -> None:
        for chunk in chunks:
            self._step(chunk, origin, far)

    def _step(self, chunk: HeldChunk, origin: int, far: int) -> None:
        at = NUMBERS * chunk.rank
        before, was = self.reached[at], self._far(chunk)
        nearer = far < was or (self._goal is None and far == was and origin < before)
        if before and not nearer:
            return
        waits = self.reached[at + 1] & WAITS
        self.reached[at], self.reached[at + 1] = origin, far | WAITS
        region, lots = chunk.region, self._held.lots
        if not waits and (lots.has(region) or region in lots.large):
            self._todo.append(chunk)
        elif not waits:
            self._pending += 1


class CompiledNearest:
    """Nearest, by holders.c."""

    def __init__(self, held: Held, goal: HeldChunk | None = None) -> None:
        assert held.table is not None
        self.reached, room = column(NUMBERS * held.index.chunks), held.index.chunks + 1
        self._ring = mmap.mmap(-1, 8 * room)
        self._held, self._turn = held, 0
        self._closed: list[int] = []  # where it is noted how far these chunks are
        self._functions = declared_holders(held.functions)
        given = self._given = CWays(whose=goal is None, goal=goal.rank if goal else 0, room=room)
        given.ring, given.reached = address_of(self._ring), address_of(self.reached)
        self._all = (held.table.reference, ctypes.byref(given))

    def origin(self, rank: int) -> int:
        return self.reached[NUMBERS * rank]

    def close(self, chunk: HeldChunk) -> None:
        self._closed.append(NUMBERS * chunk.rank + 1)
        self.reached[self._closed[-1]] = WAITS

    def take(self, root: int, words: Words) -> None:
        part, far = array("Q", words), self._turn << DEPTH_BITS | 1
        self._functions.heapx_way_from(*self._all, root, far, address_of(part), len(part))

    def follow(self) -> None:
        self._look_through()
        while self._given.pending:
            self._held.lots.bring_next()
            self._resume(self._held.lots.regions)
            self._look_through()
            self._look_into_large()
        self._turn += 1

    def _look_into_large(self) -> None:
        for chunk in self._held.large():
            if self.reached[NUMBERS * chunk.rank + 1] & WAITS:
                self.reached[NUMBERS * chunk.rank + 1] &= ~WAITS
                self._given.pending -= 1
                given = *self._all, chunk.user, self._held.copy_of(chunk.region)
                for _ in self._held.lots.pieces(chunk.region):
                    self._functions.heapx_way_large(*given)
                    self._look_through()

    def _look_through(self) -> None:
        while not self._functions.heapx_way(*self._all, STEPS):
            self._held.space.pace.check(0)

    def _resume(self, regions: range) -> None:
        for at in self._closed:
            self.reached[at] &= ~WAITS
        cursor, resume = CCursor(regions.start, 0), self._functions.heapx_way_pending
        while not resume(*self._all, ctypes.byref(cursor), regions.stop, STEPS):
            self._held.space.pace.check(0)
        for at in self._closed:
            self.reached[at] |= WAITS
