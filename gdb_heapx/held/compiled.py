"""Chunks in use copied and indexed by held.c: by two threads, as far as nobody must be asked.

Each copies what it indexes: what a processor has copied it finds in its cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any

from ..glibc.layout import FLAGS, PREV_INUSE
from ..heap.arenas import Heap
from ..heap.places import Overlay
from ..target.space import Space
from .declared import CIndexing, address_of
from .indexing import LEAST, WINDOW
from .store import Store
from .table import WORD, RegionTable
from .threads import GoesOn, in_two_threads, two_can_run

HEADER = 2 * WORD
SMALLEST = 32 << 10  # bytes of a window

# Has what lies in [start, end) copied; returns whether all of it is.
Load = Callable[[int, int], bool]
Job = Callable[[Load], None]


class CompiledIndexing:
    """The chunks in use of a heap that was walked over, up to its end, copied and put into the
    index as region `at`: as index_heap.

    Windows are small behind a free chunk that was stepped over, and grow: where others follow it,
    little of them is copied.
    """

    def __init__(
        self,
        functions: Any,
        space: Space,
        heap: Heap,
        overlay: Overlay,
        table: RegionTable,
        store: Store,
        at: int,
    ) -> None:
        self._functions, self._space, self._store = functions, space, store
        self._region, told = table.region(at), overlay.told
        self._chunk, self._stop, self._window = heap.first, heap.end, SMALLEST
        both = (overlay.cached, overlay.fast)
        self._lists = [places.upwards(heap.first, heap.end) for places in both]
        self._given = given = CIndexing(*map(address_of, self._lists), *map(len, self._lists))
        given.page_bits, given.least = space.page.bit_length() - 1, LEAST
        if told is not None:
            given.told = sum(1 << size // HEADER for size in told.sizes)
            given.low, given.high = told.low, told.high

    def go_on(self, load: Load) -> None:
        """Go on as far as chunks lie there, and what they have can be loaded."""
        while self._chunk < self._stop:
            limit = min(self._chunk + self._window, self._stop + HEADER)
            if not load(self._chunk, limit):
                return
            if not self._index(limit) and not self._index_large(load):
                return
            self._window = min(2 * self._window, WINDOW)

    def _index(self, limit: int) -> bool:
        """Index chunks, as far as what lies before `limit` tells; return whether there were any."""
        given, chunk = self._given, self._chunk
        given.count = 0
        place = (self._region, ctypes.byref(given), chunk, self._stop, limit)
        self._chunk = self._functions.heapx_index(*place)
        for start, end in given.spans[: given.count]:
            self._store.drop(start, end)
        self._space.pace.walked(self._chunk - chunk)
        return self._chunk > chunk

    def _index_large(self, load: Load) -> bool:
        """Index a chunk that is larger than a window; return whether there is one."""
        chunk, store = self._chunk, self._store
        size = int.from_bytes(store.read(chunk + WORD, WORD), self._space.byteorder) & ~FLAGS
        end = chunk + size
        if not 2 * HEADER <= size <= self._stop - chunk or not load(end, end + HEADER):
            return False
        used = store.read(end + WORD, 1)[0] & PREV_INUSE
        if not used:
            self._window = SMALLEST // 2  # the next one is SMALLEST
        return (not used or load(chunk, end)) and self._index(end + HEADER)

    def complete(self) -> None:
        """Fill in the directory, once all chunks are in."""
        self._functions.heapx_ranks(self._region)


def by_two(space: Space, store: Store, jobs: Iterable[Job]) -> None:
    """Let two threads do jobs, each as far as what it loads is known to be in RAM; none where that
    isn't known, or there is one processor. The pace is asked in this thread only.
    """
    if space.fill is None or space.residency is None or not two_can_run():
        return
    left = iter([*jobs])

    def work(goes_on: GoesOn) -> bool:
        def load(start: int, end: int) -> bool:
            windows = range(start, end, WINDOW)
            return all(goes_on() and store.fetch(a, min(a + WINDOW, end)) for a in windows)

        while goes_on() and (job := next(left, None)):
            job(load)
        return space.pace.stopped is None

    in_two_threads(work, space.pace.goes_on)
