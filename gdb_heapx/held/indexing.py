"""A heap's chunks in use, copied and put into the index, while free pages are let go.

The Python is the definition: held.c does the same.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..ending import without_signals
from ..glibc.layout import FLAGS, PREV_INUSE, SIZE, Layout, align_down, align_up
from ..heap.arenas import Heap
from ..heap.places import Overlay
from ..heap.runs import Run
from ..heap.told import GRAIN
from ..heap.walk import walk
from ..target.space import Space
from .declared import CIndexing, address_of
from .index import Index
from .store import Store
from .table import WORD, RegionTable

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
        others = [i for i in run.used if i in fast or start + i * GRAIN in cached]
        used = sorted(set(run.used).difference(others)) if others else run.used
        last = run.chunks[-1]
        behind = run.end if used[-1:] == [last] else start + last * GRAIN
        self._store.load(start, behind + header)
        self._set(start, [i * GRAIN for i in used], [word & ~FLAGS for word in run.of(used, SIZE)])
        rest = [*run.free, *others]
        for i, word in zip(rest, run.of(rest, SIZE)):
            if word >= LEAST:
                chunk = start + i * GRAIN
                drop(self._store, chunk + header, chunk + (word & ~FLAGS), self._page)

    def _set(self, start: int, chunks: list[int], sizes: list[int]) -> None:
        """Put chunks into the index; of a run only the last one may be large."""
        if sizes and sizes[-1] > WINDOW:
            self._index.set(self._region, start + chunks.pop(), sizes.pop())
        self._index.set_many(self._region, start, chunks, sizes)

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


class _Ahead:
    """Fetches what is copied next in a thread of its own, while compiled code is at work."""

    def __init__(self, threads: ThreadPoolExecutor | None) -> None:
        self._threads = threads
        self._going: Future[None] | None = None

    def begin(self, store: Store, start: int, end: int) -> None:
        if self._threads is not None and start < end:
            self._going = self._threads.submit(store.fetch, start, end)

    def wait(self) -> None:
        """Wait until that is done."""
        if self._going is not None:
            self._going.result()
        self._going = None


@contextmanager
def ahead_of(space: Space) -> Iterator[_Ahead]:
    """Return what fetches ahead, where another processor can, and nobody must be asked."""
    if space.fill is None or space.residency is None or len(os.sched_getaffinity(0)) < 2:
        yield _Ahead(None)
        return
    with ThreadPoolExecutor(1) as threads:
        with without_signals():
            threads.submit(int).result()  # the thread begins
        yield _Ahead(threads)


def index_compiled(
    functions: Any,
    space: Space,
    heap: Heap,
    overlay: Overlay,
    table: RegionTable,
    store: Store,
    at: int,
) -> None:
    """Do the same by held.c."""
    region, told = table.region(at), overlay.told
    lists = [places.upwards(heap.first, heap.end) for places in (overlay.cached, overlay.fast)]
    given = CIndexing(*map(address_of, lists), *map(len, lists))
    given.page_bits, given.least = space.page.bit_length() - 1, LEAST
    if told is not None:
        given.told = sum(1 << size // (2 * WORD) for size in told.sizes)
        given.low, given.high = told.low, told.high
    chunk, stop, header = heap.first, heap.end, 2 * WORD

    def go_on(limit: int) -> int:
        given.count = 0
        reached: int = functions.heapx_index(region, ctypes.byref(given), chunk, stop, limit)
        for start, end in given.spans[: given.count]:
            store.drop(start, end)
        space.pace.walked(reached - chunk)
        return reached

    with ahead_of(space) as fetch:
        while chunk < stop:
            limit = min(chunk + WINDOW, stop + header)
            fetch.wait()
            store.load(chunk, limit)
            fetch.begin(store, limit, min(limit + WINDOW, stop + header))
            reached = go_on(limit)
            if reached == chunk:  # it is larger than that, or none
                size = int.from_bytes(store.read(chunk + WORD, WORD), space.byteorder) & ~FLAGS
                end = chunk + size
                if not 2 * header <= size <= stop - chunk:
                    break
                store.load(end, end + header)
                if store.read(end + WORD, 1)[0] & PREV_INUSE:
                    store.load(chunk, end)
                reached = go_on(end + header)
            if reached == chunk:
                break
            chunk = reached
    functions.heapx_ranks(region)
