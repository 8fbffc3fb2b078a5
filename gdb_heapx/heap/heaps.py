"""The heaps of an arena, walked: their chunks, fenceposts, and the gaps of a foreign sbrk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from ..errors import SWAPPED_OUT, MemoryFault, Problem, SwappedOutError, UnreadError
from ..glibc.layout import FLAGS, PREV_INUSE, Layout, align_up
from ..records import dataclass
from ..target.mappings import Mapping
from ..target.space import Space
from .arenas import Arena, Heap
from .bins import FreeChunks
from .folds import NO_LINKS, LinkSums
from .holes import Holes, next_touched
from .places import Overlay
from .tally import Tally
from .walk import NO_TABLES, take_tally

if TYPE_CHECKING:
    from .declared import Tables

MAX_SEGMENTS = 1 << 16
EFFORT = 8  # how often a large region is walked over to find where chunks begin,
ANYWAY = 16 << 20  # and bytes that are in any case
CHAIN = 3  # sane chunks in a row, before a damaged one, that are no chance

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
        sum((tally.counts.free for tally in tallies), Counter()),
        sum((space.absent for space in spaces), Counter()),
        sum((space.swapped for space in spaces), Counter()),
        sum((space.shared for space in spaces), Counter()),
        reduce(LinkSums.plus, (tally.linkage.links for tally in tallies), NO_LINKS),
        reduce(LinkSums.plus, (tally.linkage.skips for tally in tallies), NO_LINKS),
    )


def _stop(arena: Arena, heap: Heap) -> int:
    """Return where the walk over a heap ends: at top, where that lies in it."""
    return arena.top if arena.top in heap else heap.end


def _walk_heap(space: Space, layout: Layout, arena: Arena, heap: Heap, walk_heap: Walk) -> Walked:
    """Walk a non-main arena's heap: to top in the newest, to the fenceposts in older ones."""
    stop = _stop(arena, heap)
    tally = walk_heap(replace(heap, end=stop))
    lead = heap.first - heap.address
    if tally.end == stop or tally.problems:
        return Walked(heap, tally, lead, not tally.problems)
    end = _fencepost(space, layout, tally)
    if tally.problems:
        return Walked(heap, tally, lead, False)
    # sysmalloc cuts MINSIZE off an old top; alignment may leave up to a word pair behind it.
    if stop < heap.end or end is None or heap.end - end >= layout.alignment:
        return Walked(heap, _ended_early(tally, stop), lead, False)
    return Walked(heap, tally, lead + heap.end - tally.end, True)


def _fencepost(space: Space, layout: Layout, tally: Tally) -> int | None:
    """Return where the fenceposts at the walk's end are over, None if there are none.

    They are HDR|1 (or HDR) and then 1 in a heap that was superseded, HDR|1 twice in the main arena
    (malloc.c, sysmalloc). Where an old top smaller than MINSIZE was left, its own header is the
    first fencepost and looks like a chunk, the last one: it is taken back from the tally.
    """
    try:
        first = space.read_word(tally.end + space.word)
        old_top = tally.end - layout.min_size
        if first == PREV_INUSE and tally.tails.last == old_top:
            tally.counts.used[layout.min_size] -= 1
            tally.tails.without_last()
            if tally.cells is not None:
                tally.cells.take_back(old_top)
            tally.end = old_top
            return tally.end + layout.min_size + layout.header
        second = space.read_word(tally.end + layout.header + space.word)
        end = tally.end + 2 * layout.header
        # The main arena leaves the rest of an old top before them, even if it is only a header.
        third = space.try_word(end + space.word)
    except UnreadError as fault:
        tally.problems.append(fault.problem("the heap"))
        return None
    except MemoryFault:
        return None
    fence = layout.header | PREV_INUSE
    if first | PREV_INUSE != fence or second not in (PREV_INUSE, fence):
        return None
    return end + layout.header if second == third == fence else end


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
    stop = _stop(arena, heap)
    start, first = heap.address, heap.first
    while len(parts) < MAX_SEGMENTS:
        tally = walk_heap(replace(heap, first=first, end=stop))
        end = None if tally.problems else _fencepost(space, layout, tally)
        following = None
        if tally.end < stop and end is not None:
            try:
                following = end if end == heap.end else _next_segment(space, layout, end, stop)
                tally.flaws += _gap_flaws(space, end, following, stop)
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


def _gap_flaws(space: Space, start: int, following: int | None, stop: int) -> list[Problem]:
    """Return the problem that the chunk behind a gap can't be the first one there: nobody writes
    its prev_size, but the chunk before it, as the last word of its memory.
    """
    if following is None or following >= stop or not space.read_word(following):
        return []
    statement = (
        f"chunk {following:#x} seems to be the first one behind the gap at {start:#x}, but the "
        "word before its size is used: a damaged chunk lies before it"
    )
    return [Problem("bad_gap", statement, following)]


def _next_segment(space: Space, layout: Layout, start: int, stop: int) -> int | None:
    """Return the first chunk behind a gap that a foreign sbrk left, None if it can't be told.

    The address isn't recorded anywhere: it is the first from which a chain of sane chunks leads
    exactly to top, or to the next fenceposts. Where there is none, or a damaged chunk lies before
    it, a chain begins there that is long enough, though it ends at damage. `stop` is top, which
    begins a segment by itself where no other chunk does.
    """
    candidate, room = layout.first_chunk(start), EFFORT * (stop - start) + ANYWAY
    broken: int | None = None
    while candidate < stop:
        page_end = min(align_up(candidate + 1, space.page), stop)
        words = space.words(candidate, max((page_end - candidate) // space.word, 2))
        if any(words):
            step = layout.alignment // space.word
            for index in range(1, len(words), step):
                address = candidate + (index - 1) * space.word
                if not _sane(layout, words[index], stop - address):
                    continue
                chain = _chain(space, layout, address, stop)
                space.pace.check(address)
                if _leads_on(space, layout, chain, stop):
                    return broken if broken and space.read_word(address) else address
                if broken is None and chain.counts.chunks >= CHAIN:
                    broken = address
                room -= chain.end - address
                if room < 0:
                    return None
        candidate = layout.first_chunk(page_end)
    return broken or stop  # nothing but top is behind the gap


def _chain(space: Space, layout: Layout, first: int, stop: int) -> Tally:
    """Walk over what may be chunks of the main arena."""
    heap = Heap(0, first, first, stop, None, 0)
    return take_tally(space, layout, heap, Overlay.empty(), None)


def _sane(layout: Layout, word: int, room: int) -> bool:
    size = word & ~FLAGS
    return (
        word & FLAGS == PREV_INUSE
        and layout.min_size <= size <= room
        and not (size % layout.alignment)
    )


def _leads_on(space: Space, layout: Layout, chain: Tally, stop: int) -> bool:
    return not chain.problems and (
        chain.end == stop or _fencepost(space, layout, chain) is not None
    )


def find_runs(space: Space, layout: Layout, arena: Arena, lost: list[UnreadError]) -> list[Heap]:
    """Return the runs of a main arena that lives in mmaps (brk failed, or huge pages).

    No list of them exists. Each begins a mapping or follows another region, and its chunks lead to
    top or to fenceposts; together they are as large as system_mem. `lost` gets why a run that may
    begin, or go on, somewhere isn't read.
    """
    runs: list[Heap] = []
    for mapping in space.mappings:
        if mapping.anonymous and sum(run.size for run in runs) < arena.system:
            runs += _runs_in(space, layout, arena, mapping, lost)
    return runs


def _runs_in(
    space: Space, layout: Layout, arena: Arena, mapping: Mapping, lost: list[UnreadError]
) -> list[Heap]:
    runs: list[Heap] = []
    start, room = mapping.start, EFFORT * mapping.size + ANYWAY
    while (
        start := next_touched(space.residency, space.page, start, mapping.end)
    ) < mapping.end and room >= 0:
        try:
            end, walked = _run_end(space, layout, arena, start, mapping.end)
        except UnreadError as fault:
            lost.append(fault)
            end, walked = None, space.page
        room -= walked
        if end is None:
            start += space.page
            continue
        first = layout.first_chunk(start)
        runs.append(Heap(0, start, first, end, end - start, end - start))
        start = align_up(end, space.page)
    return runs


def _run_end(
    space: Space, layout: Layout, arena: Arena, start: int, limit: int
) -> tuple[int | None, int]:
    """Return the end of the run that begins at `start`, None if none does; and how many bytes were
    walked over to tell.
    """
    first = layout.first_chunk(start)
    size = space.try_word(first + space.word)
    if size is None or not _sane(layout, size, limit - first):  # None: the guard page of a stack
        return None, 0
    top_end = arena.top + arena.top_size
    stop = _stop(arena, Heap(0, start, first, limit, None, 0))
    tally = _chain(space, layout, first, stop)
    space.pace.check(first)
    walked = tally.end - first
    if any(problem.code == SWAPPED_OUT for problem in tally.problems):
        raise SwappedOutError(tally.end)
    if tally.problems:
        return None, walked
    if tally.end == arena.top:
        return top_end, walked
    end = _fencepost(space, layout, tally) if tally.end < stop else None
    if end is None or -end % space.page >= layout.alignment:
        return None, walked
    return align_up(end, space.page), walked
