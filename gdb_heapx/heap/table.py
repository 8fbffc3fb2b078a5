"""Free chunks in a table, which a compiled walk fills: lists are joined from it, and not followed.

Following a list costs a read for each chunk, here a look into memory of heapx's own. What a table
can't tell, such as where a list leads to no chunk of it, is for lists.py, which defines the rest.
"""

from __future__ import annotations

import ctypes
import mmap
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import compress
from typing import Any

from ..glibc.layout import UNSORTED, Layout, align_down, align_up
from ..target.pages import missing_of
from ..target.procfs import available
from ..target.space import Space
from .arenas import Arena
from .declared import BIG_FREE, HEADS, NOWHERE, UNIT, CTable, CWalk, by_size, declared
from .library import library
from .lists import Content, Ends, Sizes
from .places import BUCKET, Places
from .walk import FREE

SHARE = 10  # of what is available: the part that tables may take
BITS = UNIT.bit_length() - 1  # of an address that none has
NEAR, SPREAD = 11, 14  # bits: chunks are found by parts, where they lie dense, or don't
GOES_ON, JOINED = 0, 1  # what heapx_join returns, where it isn't broken
STEPS = 1 << 16  # links that are joined before anybody is asked whether to go on
CELL = 4  # bytes
HUGE = 2 << 20  # bytes of a page that cells may be in, each time
BOTH_WAYS, ONE_WAY = 4, 2  # cells of a row, by how chunks are linked


def free_table(
    space: Space, layout: Layout, arena: Arena, width: int = BOTH_WAYS
) -> LinkTable | None:
    """Return a table for all free chunks of an arena, as many as memory allows; None where their
    addresses don't fit. ONE_WAY it is half as large: for lists that are known to be linked both
    ways, of which `add_to` then tells the chunks.
    """
    if not _fits(arena):
        return None
    start, end = _span(arena)
    room = min(available() // SHARE // (width * CELL), (end - start) // layout.min_size)
    with suppress(OSError):  # there is a limit
        return LinkTable(space, layout, arena, room, width)
    return None


def may_be_kept(tables: Iterable[LinkTable]) -> bool:
    """Tell whether tables take no more of memory together than one may."""
    return sum(table.taken for table in tables) <= available() // SHARE


def fast_tables(
    space: Space, layout: Layout, arena: Arena, numbers: Mapping[int, int]
) -> dict[int, LinkTable]:
    """Return tables for so many chunks that look fast, by size; none where memory is short, or
    their addresses don't fit.
    """
    if not _fits(arena) or sum(numbers.values()) * ONE_WAY * CELL > available() // SHARE:
        return {}
    with suppress(OSError):
        return {
            size: LinkTable(space, layout, arena, number, ONE_WAY, size)
            for size, number in numbers.items()
        }
    return {}


def _span(arena: Arena) -> tuple[int, int]:
    """Return where an arena's chunks may lie, from where a bucket of places begins."""
    first = min(heap.first for heap in arena.heaps)
    return align_down(first, 1 << BUCKET), max(heap.end for heap in arena.heaps)


def _fits(arena: Arena) -> bool:
    start, end = _span(arena) if arena.heaps else (0, 0)
    return start < end <= start + (NOWHERE - HEADS) * UNIT


def _cells(number: int) -> mmap.mmap:
    """Return memory for so many cells, of which only those take any that are written."""
    cells = mmap.mmap(-1, number * CELL, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without
        cells.madvise(mmap.MADV_HUGEPAGE)  # they are looked up here and there
    return cells


def _pointer(cells: mmap.mmap) -> Any:
    return ctypes.pointer(ctypes.c_uint32.from_buffer(cells))


class LinkTable:
    """Chunks of an arena: all free ones, or those that look fast of one `size`, so many at most as
    there is `room` for. `given` is what a walk is given, to fill it.
    """

    def __init__(
        self,
        space: Space,
        layout: Layout,
        arena: Arena,
        room: int,
        width: int,
        size: int = FREE,
    ) -> None:
        self._functions = declared(library(space).code)
        self._space = space
        self._heaps = arena.heaps
        self._base, end = _span(arena)
        self.given = given = CTable(base=self._base, room=room, width=width, size=size)
        given.places, given.part = (end - self._base) // UNIT, (SPREAD if size else NEAR) - BITS
        given.heads = 0 if size else layout.bin_at(arena.address, UNSORTED)
        self._rows = _cells((room + 1) * width)
        latest = _cells((given.places >> given.part) + 1)
        given.rows, given.latest = _pointer(self._rows), _pointer(latest)

    def join(self, ends: Ends) -> Content | None:
        """Return what hangs in a list, if all of it is in the table, and linked as it must be."""
        table, end = self.given, self._base + self.given.places * UNIT
        walk = CWalk(limit=end, page_bits=self._space.page.bit_length() - 1)
        walk.states_at, walk.states = self._states
        sizes = Sizes(Counter(), Counter(), Counter(), Counter())
        for i, first in enumerate((ends.first, ends.end if ends.last is None else ends.last)):
            table.at[i] = self._functions.heapx_placed(table, first)
            table.behind[i] = self._functions.heapx_placed(table, ends.end)
        how = GOES_ON
        while how == GOES_ON and self._space.pace.goes_on():
            how = self._functions.heapx_join(walk, table, STEPS)
            self._add_large(sizes, walk)
        if how != JOINED:
            return None
        most = self._functions.heapx_sizes(walk)
        for counter, cells in zip(sizes, (walk.free, walk.absent, walk.swapped, walk.shared)):
            counter.update(by_size(cells, most))
        return Content(sizes, walk.linked.chunks)

    def _add_large(self, sizes: Sizes, walk: CWalk) -> None:
        """Add the chunks that are told one by one."""
        for event in walk.events[: walk.event_count]:
            assert event.kind == BIG_FREE
            lost = self._missing(event.address, event.address + event.size)
            for counter, number in zip(sizes, (1, *lost)):
                counter[event.size] += number
        walk.event_count = 0

    def _missing(self, start: int, end: int) -> tuple[int, int, int]:
        base, states = self._states
        if states is None:
            return 0, 0, 0
        page = self._space.page
        first, last = (start - base) // page, -((base - end) // page)
        return missing_of((states[first:last],), page, start, end)

    def let_target_go(self) -> None:
        """Read what else of the target is needed to join lists."""
        _ = self._states

    @property
    def taken(self) -> int:
        """How many bytes it takes, at most."""
        cells = (
            (self.given.count + 1) * self.given.width,
            (self.given.places >> self.given.part) + 1,
        )
        return sum(align_up(number * CELL, HUGE) for number in cells)

    def has_all(self, number: int) -> bool:
        """Tell whether it had room for so many chunks."""
        return bool(self.given.count >= number)

    @cached_property
    def _states(self) -> tuple[int, bytes | None]:
        """The states of the arena's pages, from its base on; None where these aren't known."""
        if self._space.residency is None:
            return 0, None
        page, base = self._space.page, self._base
        states = bytearray(self.given.places * UNIT // page + 1)
        for heap in self._heaps:
            first, end = (heap.first - base) // page, -((base - heap.end) // page)
            states[first:end] = self._space.residency.states(heap.first, heap.end)
        return base, bytes(states)

    def add_to(self, places: Places) -> None:
        """Add the chunks that were joined of lists that are linked ONE_WAY, or taken so."""
        end = (self.given.count + 1) * ONE_WAY
        cells = memoryview(self._rows).cast("I")[ONE_WAY:end]
        at, links = cells[::ONE_WAY], cells[1::ONE_WAY]
        joined = array("I", compress(at, map(NOWHERE.__eq__, links)))
        first, bits = 0, BUCKET - BITS
        while first < len(joined):
            bucket = joined[first] >> bits
            end = bisect_left(joined, bucket + 1 << bits, first)
            within = (1 << bits) - 1
            offsets = [(place & within) * UNIT for place in joined[first:end]]
            places.add_bucket((self._base >> BUCKET) + bucket, offsets)
            first = end
