"""A heap's chunks in use, copied and put into the index, while free pages are let go.

The Python is the definition: held.c does the same.
"""

from __future__ import annotations

from dataclasses import replace

from ..glibc.layout import FLAGS, SIZE, Layout, align_down, align_up
from ..heap.arenas import Heap
from ..heap.places import Overlay
from ..heap.runs import Run
from ..heap.told import GRAIN
from ..heap.walk import walk
from ..target.space import Space
from .index import Index
from .store import Store

WINDOW = 1 << 20  # bytes that are copied before they are indexed
LEAST = 256 << 10  # bytes of free pages that are worth letting go: the kernel splits huge pages


class _Loading:
    """Memory that is copied before it is read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, address: int, size: int) -> memoryview:
        self._store.load(address, address + size)
        return self._store.read(address, size)


class Indexing:
    """A fold over a heap: its chunks in use are copied, and put into the index as a region."""

    def __init__(self, index: Index, store: Store, region: int, page: int) -> None:
        self._index, self._store = index, store
        self._region, self._page = region, page

    def add(self, run: Run) -> None:
        start, header = run.start, self._index.grains.header
        fast, cached = frozenset(run.fast), run.cached
        looked_at = run.used if fast or cached else []
        others = [i for i in looked_at if i in fast or start + i * GRAIN in cached]
        used = sorted(set(run.used).difference(others)) if others else run.used
        last = max(run.used[-1:] + run.free[-1:])
        behind = run.end if used[-1:] == [last] else start + last * GRAIN
        self._store.load(start, behind + header)
        self._set(start, [i * GRAIN for i in used], [word & ~FLAGS for word in run.of(used, SIZE)])
        rest = [*run.free, *others]
        for i, word in zip(rest, run.of(rest, SIZE)):
            if word >= LEAST:
                chunk = start + i * GRAIN
                drop(self._store, chunk + header, chunk + (word & ~FLAGS), self._page)

    def _set(self, start: int, chunks: list[int], sizes: list[int]) -> None:
        """Put chunks into the index; of a run only the last one may be large. It comes last: what
        begins in the same cell is written with that.
        """
        large = sizes and sizes[-1] > WINDOW
        last = (start + chunks.pop(), sizes.pop()) if large else None
        self._index.set_many(self._region, start, chunks, sizes)
        if last is not None:
            self._index.set(self._region, *last)

    def close(self, end: int) -> None:
        pass


def drop(store: Store, start: int, end: int, page: int) -> None:
    """Let go the whole pages of [start, end), which no chunk in use has."""
    start, end = align_up(start, page), align_down(end, page)
    if end - start >= LEAST:
        store.drop(start, end)


def index_heap(
    space: Space, layout: Layout, heap: Heap, overlay: Overlay, index: Index, store: Store, at: int
) -> None:
    """Copy the chunks in use of a heap that was walked over, up to its end, and put them into the
    index as region `at`.
    """
    copied = replace(space, memory=_Loading(store), fill=None)
    walk(copied, layout, heap, overlay, [Indexing(index, store, at, space.page)])
    index.complete(at)
