"""The shortest way from a root to a chunk: in Python, and by holders.c."""

from __future__ import annotations

import ctypes
import mmap
from array import array
from collections import deque
from collections.abc import Iterable

from ..held.declared import address_of
from ..held.held import Held
from ..held.index import HeldChunk
from ..target.space import Words
from .declared import CWays, declared_holders
from .labels import column
from .leads import Leads

STEPS = 1 << 18  # chunks that are looked through before anybody is asked whether to go on
NOWHERE, ROOT, RANKS = 0, 1, 2  # from where a chunk was reached: a rank comes with RANKS added


def way_to(held: Held, goal: HeldChunk, roots: Iterable[Words]) -> list[HeldChunk]:
    """Return the chunks on the shortest way to one, which is the last; [] where none leads there.

    Roots are words in groups: it begins in the first group from which there is one. StoppedError
    where it is stopped.
    """
    held.space.pace.begin("following pointers")
    search = (Ways if held.table is None else CompiledWays)(held, goal)
    if not any(search.reaches(words) for words in roots):
        return []
    way, before = [goal], search.before
    while before[way[-1].rank] != ROOT:
        way.append(held.index.ranked(before[way[-1].rank] - RANKS))
    return way[::-1]


class Ways:
    """From where each chunk was reached first, `before` by rank; breadth first."""

    def __init__(self, held: Held, goal: HeldChunk) -> None:
        self.before = column(held.index.chunks)
        self._held, self._goal, self._leads = held, goal, Leads(held)

    def reaches(self, words: Words) -> bool:
        """Tell whether the goal is reached from these words, or from those before."""
        todo: deque[HeldChunk] = deque()
        self._step(todo, ROOT, self._leads.followed(words))
        while todo and not self.before[self._goal.rank]:
            chunk = todo.popleft()
            self._held.space.pace.check(chunk.address)
            self._step(todo, chunk.rank + RANKS, (lead.to for lead in self._leads.of(chunk)))
        return self.before[self._goal.rank] != NOWHERE

    def _step(self, todo: deque[HeldChunk], origin: int, chunks: Iterable[HeldChunk]) -> None:
        for chunk in chunks:
            if not self.before[chunk.rank]:
                self.before[chunk.rank] = origin
                todo.append(chunk)


class CompiledWays:
    """Ways, by holders.c."""

    def __init__(self, held: Held, goal: HeldChunk) -> None:
        assert held.table is not None
        self.before = column(held.index.chunks)
        self._queue = mmap.mmap(-1, 8 * (held.index.chunks + 1))
        self._held, self._goal = held, goal.rank
        self._functions = declared_holders(held.functions)
        given = self._given = CWays(goal=goal.rank, queue=address_of(self._queue))
        given.before = address_of(self.before)
        self._all = (held.table.reference, ctypes.byref(given))

    def reaches(self, words: Words) -> bool:
        part = array("Q", words)
        self._functions.heapx_way_from(*self._all, address_of(part), len(part))
        while not self._functions.heapx_way(*self._all, STEPS):
            self._held.space.pace.check(0)
        return self.before[self._goal] != NOWHERE
