"""The flood by pointers that aren't words as they stand, too: in Python, and by reach.c."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING

from ..held.hidden import Way, hidden_in
from ..held.store import COPIED
from .compiled import CompiledFlood
from .flood import STEPS, Flood
from .states import PENDING, Degree

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

_COPIED = re.compile(b"[%c-%c]+" % (COPIED, 2 * COPIED - 1))
_PENDING = bytes(range(PENDING, 256))


def _number(states: bytes) -> int:
    """Return how many chunks are PENDING."""
    return len(states) - len(states.translate(None, _PENDING))


def flood_otherwise(held: Held, way: Way, states: bytes) -> Otherwise | CompiledOtherwise:
    """Look in a way, too, at each chunk that is PENDING by its state, and mark as EXPLAINED what is
    reached so of what was lost.
    """
    return (Otherwise if held.table is None else CompiledOtherwise)(held, way, states)


class Otherwise(Flood):
    """A Flood that looks at what it reaches in a way, too."""

    def __init__(self, held: Held, way: Way, states: bytes) -> None:
        super().__init__(held)
        self._marks.put(states)
        self._way = way
        self._begin(Degree.HEAD, Degree.HANGS, Degree.EXPLAINED, True)
        self._pending = _number(states)
        for region in self._lots.regions:
            self._resume(region)
        self._drain()

    def _drain_stack(self) -> None:
        steps = 0
        while self._stack:
            steps += 1
            if steps % STEPS == 1:
                self._held.space.pace.check(self._stack[-1])
            for user in self._at_hand([self._stack.pop()]):
                chunk = self._index.at(user)
                assert chunk is not None
                self._look_into(chunk)

    def _look_into(self, chunk: HeldChunk) -> None:
        self._look_through(chunk)
        self._look_otherwise(chunk)

    def _look_otherwise(self, chunk: HeldChunk) -> None:
        """Look in the way at the memory of a chunk: pages that were not copied are zeros."""
        store, word, page = self._held.store, self._word, self._page
        first = store.offset(chunk.user)
        last = first + chunk.usable
        for run in _COPIED.finditer(store.pages, first // page, -(-last // page)):
            start = max(run.start() * page - word, first)
            data = store.view[start : min(run.end() * page + word, last)]
            found = hidden_in(self._way, self._held.space, data, self._index)
            self._visit([*found])


class CompiledOtherwise(CompiledFlood):
    """An Otherwise, by reach.c."""

    def __init__(self, held: Held, way: Way, states: bytes) -> None:
        super().__init__(held)
        self.states[:] = states
        self._way = way.fields()
        self._flood.way = ctypes.addressof(self._way)
        self._begin(Degree.HEAD, Degree.HANGS, Degree.EXPLAINED, True)
        self._flood.pending = _number(states)
        self._drain()
