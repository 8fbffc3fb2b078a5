"""The folds of a walk, compiled: walk.c through ctypes, for heaps of 64-bit little-endian targets.

The Python folds are the definition: over the same heap both find the same.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

from ..errors import MemoryFault
from ..glibc.layout import CHUNK_WORDS, FLAGS, SIZE, Layout, align_down, align_up
from ..target.space import Space
from .arenas import SMALL, Heap
from .cells import Cells
from .chains import bytes_of
from .declared import (
    BIG_FREE,
    BIG_USED,
    EVENTS,
    LANDMARK,
    LOCKED,
    MOSTLY_FREE,
    TRAIL,
    UNIT,
    WORD,
    CCells,
    CWalk,
    Tables,
    by_size,
    declared,
)
from .expected import Expected
from .fast import Looks
from .holes import Holes, missing
from .places import Overlay
from .relay import Relay, span
from .runs import Run
from .scan import SMALLEST_READ, forbidden_bits
from .stale import LARGE
from .tails import Tails
from .tally import Tally

AT_ONCE = 256 << 10  # bytes read at once: what stays in a processor's cache
FIRST_READ = 64 << 10  # bytes at a heap's beginning


def compiled(
    code: ctypes.CDLL,
    space: Space,
    layout: Layout,
    heap: Heap,
    overlay: Overlay,
    holes: Holes | None,
    tables: Tables,
    cells: Cells | None,
) -> CompiledWalk | None:
    """Return the compiled folds for a heap, which fill tables and cells; None where they can't be
    used.
    """
    if layout.alignment != UNIT or heap.first >= heap.end:
        return None
    try:
        return CompiledWalk(declared(code), space, layout, heap, overlay, holes, tables, cells)
    except MemoryFault:  # more pages than are mapped
        return None


class CompiledWalk:
    """The folds over one heap, to be settled in a Tally.

    `advance` reads, and takes in what has nothing unusual; what the Scanner has settled is added
    run by run.
    """

    def __init__(
        self,
        functions: Any,
        space: Space,
        layout: Layout,
        heap: Heap,
        overlay: Overlay,
        holes: Holes | None,
        tables: Tables,
        cells: Cells | None,
    ) -> None:
        self._functions = functions
        self._space = space
        self._heap = heap
        self._holes = holes
        size = heap.end - heap.first
        self._window = size if size <= SMALL else FIRST_READ
        self._end = heap.first  # of the chunks that were taken in
        self._events: list[tuple[int, int, int]] = []
        self._trail: list[tuple[int, int]] = []
        self._walk = CWalk(
            limit=heap.end,
            smallest=layout.min_size,
            bad=forbidden_bits(layout, heap),
            large=layout.smallest_large,
            page_bits=space.page.bit_length() - 1,
            bucket=(1 << 64) - 1,
        )
        self._reference = ctypes.byref(self._walk)
        self._give_pages()
        if cells is not None:
            self._walk.cells = CCells.of(cells)
        own = holes.own if holes else frozenset()
        self._expected = Expected(functions, self._walk, overlay, own, heap.first)
        for size, table in tables.items():
            self._walk.tables[size // UNIT] = ctypes.pointer(table)
        self._told = sorted(overlay.told.sizes) if overlay.told else []
        if overlay.told is not None:
            self._walk.told = sum(1 << size // UNIT for size in self._told)
            self._walk.low, self._walk.high = overlay.told.low, overlay.told.high

    def _give_pages(self) -> None:
        walk, holes, page = self._walk, self._holes, self._space.page
        if holes is None:
            return
        walk.holes, walk.trimmed = 1, holes.trimmer.smallest
        walk.header = holes.trimmer.smallest - page
        if holes.residency is None:
            return
        start, end = align_down(self._heap.first, page), align_up(self._heap.end, page)
        states = bytearray(holes.residency.states(start, end))
        for low, high in holes.trimmer.locked_in(start, end):
            first, stop = (low - start) // page, (high - start) // page
            states[first:stop] = (state | LOCKED for state in states[first:stop])
        walk.states_at, walk.states = start, bytes(states)

    def advance(self, address: int) -> int:
        """Take in the chunks from `address` on as far as they have nothing unusual, and can be
        read; return where that ends.
        """
        limit = self._heap.end
        if address > self._end:  # the chunk before is in no run, and the Scanner says why
            return address
        while address < limit:
            if self._window == AT_ONCE:
                address = self._by_two(address)
            end = min(limit, address + self._window)
            data = self._read(address, end)
            if data is None:
                return address
            reached = self._take(data, len(data), address)
            if reached == address:
                reached = self._step(address, data)
            if reached == address:
                return address
            skipped = reached - end > SMALLEST_READ
            self._window = SMALLEST_READ if skipped else min(2 * self._window, AT_ONCE)
            address = reached
        return address

    def _read(self, start: int, end: int) -> bytes | None:
        """Return what is in memory; at the heap's end with the two words behind it, which tell of
        the last chunk. None where the Scanner must say what can't be read, or is swapped out.
        """
        for stop in (end + 2 * WORD, end) if end == self._heap.end else (end,):
            with suppress(MemoryFault):
                if not self._has_swapped(start, stop):
                    return bytes_of(self._space.memory.read(start, stop - start))
        return None

    def _by_two(self, address: int) -> int:
        """Let two threads go on from `address`; return how far they come."""
        space = self._space
        end = span(space, address, self._heap.end)
        if space.fill is None or end == address:
            return address
        self._window = SMALLEST_READ
        return Relay(space.fill, address, end, self._take, space.pace.goes_on).run()

    def _take(self, data: bytes | int, size: int, address: int) -> int:
        """Take in the chunks of so many bytes, as far as they have nothing unusual; return where
        that ends.
        """
        self._expected.give(address, address + size)
        reached: int = self._functions.heapx_walk(self._reference, data, size // WORD, address)
        self._take_out()
        self._taken(address, reached)
        return reached

    def _taken(self, address: int, reached: int) -> None:
        if reached > address:
            self._end = reached
            self._space.pace.walked(reached - address)

    def _has_swapped(self, start: int, end: int) -> bool:
        return missing(self._space.residency, start, end)[1] > 0

    def _step(self, chunk: int, data: bytes) -> int:
        """Take in one chunk that is larger than what was read of it; return where that ends."""
        with suppress(MemoryFault):
            reached = self._one(chunk, data[: CHUNK_WORDS * WORD])
            self._taken(chunk, reached)
            return reached
        return chunk

    def _one(self, chunk: int, header: bytes) -> int:
        space, walk = self._space, self._walk
        if len(header) < CHUNK_WORDS * WORD:
            return chunk
        word = int.from_bytes(header[SIZE * WORD :][:WORD], space.byteorder)
        end = chunk + (word & ~FLAGS)
        if word < walk.smallest or word & walk.bad or end >= walk.limit:
            return chunk
        if self._has_swapped(end, end + 2 * WORD):
            return chunk
        foot, following = space.words(end, 2)
        beyond = (following & ~FLAGS) > walk.limit - end
        if following < walk.smallest or following & walk.bad or beyond:
            return chunk
        return self._run(header, chunk, end, following, foot)

    def add(self, run: Run) -> None:
        """Take in a run that the Scanner has settled."""
        at, fields = run.start, run.fields[0]
        while at < run.end:
            data = bytes(fields[(at - run.start) // WORD :])
            reached = self._run(data, at, run.end, run.following, run.foot)
            assert reached > at
            at = self._end = reached

    def _run(self, data: bytes, start: int, end: int, following: int, foot: int) -> int:
        self._expected.give(start, end)
        count, run = len(data) // WORD, self._functions.heapx_run
        reached: int = run(self._reference, data, count, start, end, following, foot)
        self._take_out()
        return reached

    def _take_out(self) -> None:
        """Take out what was told of single chunks, before there is no room for more."""
        walk = self._walk
        if walk.event_count > EVENTS // 2:
            self._events += self._told_of()
            walk.event_count = 0
        if walk.trail_length > TRAIL // 2:
            self._trail = self._whole_trail()
            walk.trail_length = walk.trail_cleared = 0

    def _told_of(self) -> list[tuple[int, int, int]]:
        events = self._walk.events[: self._walk.event_count]
        return [(event.kind, event.address, event.size) for event in events]

    def _whole_trail(self) -> list[tuple[int, int]]:
        walk = self._walk
        before = [] if walk.trail_cleared else self._trail
        return [*before, *((at, size) for at, size in walk.trail[: walk.trail_length])]

    @property
    def misplaced(self) -> list[int]:
        """As Scanner.misplaced, once it is settled."""
        return self._expected.misplaced

    def close(self, end: int) -> None:
        """The heap's chunks are over; `end` is where top is, or the heap's end."""
        self._functions.heapx_close(self._reference, end)

    def settle(self, tally: Tally) -> None:
        """Set the folds to what was found."""
        self._expected.take_back(self._end)
        if tally.cells is not None:
            self._functions.heapx_end_cells(self._reference)
            tally.cells.reached = self._end
        self._settle_tables(tally)
        self._settle_events(tally, [*self._events, *self._told_of()])
        self._settle_tails(tally.tails)
        walk = self._walk
        tally.counts.overlaid_chunks = walk.overlaid_chunks
        tally.counts.overlaid_bytes = walk.overlaid_bytes
        tally.linkage.links, tally.linkage.skips = walk.linked.sums, walk.skipped.sums
        for size in self._told:
            looks = walk.looks_fast[size // UNIT]
            if looks.chunks:
                sums = looks.addresses, looks.links, looks.squares
                lost = looks.absent, looks.swapped, looks.shared
                tally.fast.sizes[size] = Looks(looks.chunks, looks.ends, *sums, *lost)
        if self._holes:
            self._settle_holes(self._holes)

    def _settle_tables(self, tally: Tally) -> None:
        walk, pages = self._walk, tally.pages
        tables = [(walk.used, tally.counts.used), (walk.free, tally.counts.free)]
        if pages:
            tables += [
                (walk.absent, pages.absent),
                (walk.swapped, pages.swapped),
                (walk.shared, pages.shared),
            ]
        most = self._functions.heapx_sizes(self._reference)
        for table, counter in tables:
            counter.update(by_size(table, most))

    def _settle_events(self, tally: Tally, events: list[tuple[int, int, int]]) -> None:
        tally.mostly_free = []
        for kind, address, size in events:
            if kind == LANDMARK:
                tally.landmarks.chunks.append(address)
            elif kind == BIG_USED:
                tally.counts.used[size] += 1
            elif kind == BIG_FREE:
                tally.counts.free[size] += 1
                if size >= LARGE:
                    tally.large.chunks.append((address, size))
                if tally.pages:
                    tally.pages.add_missing(address, size)
            elif kind == MOSTLY_FREE:
                tally.mostly_free.append(address)
            else:
                tally.feet.add_flaw(address, self._space.read_word(address + WORD) & ~FLAGS, size)

    def _settle_tails(self, tails: Tails) -> None:
        walk = self._walk
        if walk.tail_end:
            tails.free, tails.island, tails.gap = walk.tail_free, walk.island, walk.gap
            tails.first, tails.chunks, tails.alike = walk.first, walk.chunks, walk.alike
        if walk.last:
            tails.last, tails.last_size = walk.last, walk.last_size
        tails.other = walk.other or None
        tails.set_trail(self._whole_trail())

    def _settle_holes(self, holes: Holes) -> None:
        walk, known = self._walk, holes.residency is not None
        holes.large += walk.in_large.amount(known)
        holes.returned += walk.returned.amount(known)
        holes.kept += walk.kept.amount(known)
        holes.into_top += walk.into_top.amount(known)
        holes.gained += walk.gained.amount(known)
        holes.whole += walk.whole
        holes.largest = max(holes.largest, walk.largest)
