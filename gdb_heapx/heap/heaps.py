"""The heaps of an arena, walked: their chunks, fenceposts, and the gaps of a foreign sbrk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from ..errors import Problem, UnreadError
from ..glibc.layout import Layout
from ..records import dataclass
from ..target.space import Space
from .arenas import Arena, Heap
from .bins import FreeChunks
from .folds import NO_LINKS, LinkSums
from .holes import Holes
from .places import Overlay
from .segments import fenceposts_end, find_runs, gap_flaws, next_segment
from .tally import Tally
from .walk import NO_TABLES, take_tally

if TYPE_CHECKING:
    from .declared import Tables

MAX_SEGMENTS = 1 << 16

Walk = Callable[[Heap], Tally]  # over a heap, or a part of one


@dataclass(frozen=True)
class Walked:
    """A heap and what the walk found in it.

    `overhead` is what is neither chunk nor top: headers, alignment, fenceposts and the gap behind
    the heap. `whole` is False where the walk could not reach the heap's end.
    """

    heap: Heap
    tally: Tally
    overhead: int
    whole: bool

    def overhead_spans(self, top: int) -> tuple[tuple[int, int], ...]:
        """Return where its overhead lies: before the first chunk, and behind the last one.

        A damaged heap may end before its first chunk begins.
        """
        heap, last = self.heap, min(self.tally.end, self.heap.end)
        behind = heap.end if top != self.tally.end else last
        return ((heap.address, max(heap.address, min(heap.first, heap.end))), (last, behind))


def walk_arena(
    space: Space,
    layout: Layout,
    arena: Arena,
    overlay: Overlay,
    holes: Holes | None = None,
    tables: Tables = NO_TABLES,
    cell_bits: int | None = None,
) -> list[Walked]:
    """Walk every heap of an arena up to its top; its free space is added to `holes`, if given, and
    what `tables` are for to these.
    """

    def walk_heap(heap: Heap) -> Tally:
        return take_tally(space, layout, heap, overlay, holes, tables, cell_bits)

    if arena.main:
        heaps = arena.heaps or find_runs(space, layout, arena, [])
        parts = (_walk_main(space, layout, arena, heap, walk_heap) for heap in heaps)
        return [part for each in parts for part in each]
    return [_walk_heap(space, layout, arena, heap, walk_heap) for heap in arena.heaps]


def free_chunks(arena: Arena, walked: list[Walked] | None) -> FreeChunks | None:
    """Return what the walk found free; None where it did not see all of the arena."""
    if walked is None or not arena.complete or not all(part.whole for part in walked):
        return None
    tallies = [part.tally for part in walked]
    spaces = [tally.pages for tally in tallies if tally.pages]
    return FreeChunks(
        _added([tally.counts.free for tally in tallies]),
        _added([space.absent for space in spaces]),
        _added([space.swapped for space in spaces]),
        _added([space.shared for space in spaces]),
        reduce(LinkSums.plus, (tally.linkage.links for tally in tallies), NO_LINKS),
        reduce(LinkSums.plus, (tally.linkage.skips for tally in tallies), NO_LINKS),
    )


def _added(counters: Sequence[Counter[int]]) -> Counter[int]:
    """Return the sum of counters; of a single one, which most arenas have, itself."""
    return counters[0] if len(counters) == 1 else sum(counters, Counter())


def _walk_heap(space: Space, layout: Layout, arena: Arena, heap: Heap, walk_heap: Walk) -> Walked:
    """Walk a non-main arena's heap: to top in the newest, to the fenceposts in older ones."""
    stop = arena.end_in(heap)
    tally = walk_heap(replace(heap, end=stop))
    lead = heap.first - heap.address
    if tally.end == stop or tally.problems:
        return Walked(heap, tally, lead, not tally.problems)
    end = fenceposts_end(space, layout, tally)
    if tally.problems:
        return Walked(heap, tally, lead, False)
    # sysmalloc cuts MINSIZE off an old top; alignment may leave up to a word pair behind it.
    if stop < heap.end or end is None or heap.end - end >= layout.alignment:
        return Walked(heap, _ended_early(tally, stop), lead, False)
    return Walked(heap, tally, lead + heap.end - tally.end, True)


def _ended_early(tally: Tally, stop: int) -> Tally:
    statement = f"the chunks end at {tally.end:#x}, {stop - tally.end:,} bytes before they should"
    if stop < tally.end:
        statement = f"the chunks begin at {tally.end:#x}, behind their end, {stop:#x}"
    tally.problems.append(Problem("walk_ended", statement, tally.end))
    return tally


def _walk_main(
    space: Space, layout: Layout, arena: Arena, heap: Heap, walk_heap: Walk
) -> list[Walked]:
    """Walk the main arena's run, segment by segment where another user of sbrk interrupted it."""
    parts: list[Walked] = []
    stop = arena.end_in(heap)
    start, first = heap.address, heap.first
    while len(parts) < MAX_SEGMENTS:
        tally = walk_heap(replace(heap, first=first, end=stop))
        end = None if tally.problems else fenceposts_end(space, layout, tally)
        following = None
        if tally.end < stop and end is not None:
            try:
                following = end if end == heap.end else next_segment(space, layout, end, stop)
                tally.flaws += gap_flaws(space, end, following, stop)
            except UnreadError as fault:
                tally.problems.append(fault.problem("the heap"))
        if tally.end == stop or following is None:
            whole = tally.end == stop and not tally.problems
            if not whole and not tally.problems:
                tally = _ended_early(tally, stop)
            segment = replace(heap, address=start, first=first, end=heap.end)
            return [*parts, Walked(_sized(segment), tally, first - start, whole)]
        segment = _sized(replace(heap, address=start, first=first, end=following))
        overhead = first - start + following - tally.end
        parts.append(Walked(segment, tally, overhead, True))
        if following == heap.end:
            return parts
        start = first = following
    return parts


def _sized(heap: Heap) -> Heap:
    return replace(heap, committed=heap.size, reserved=heap.size)
