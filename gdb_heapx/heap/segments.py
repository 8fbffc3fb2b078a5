"""Where a heap's pieces begin and end, which nobody has recorded.

These are a main arena's behind the gaps that a foreign sbrk left, or in mmaps; and what lies before
the fenceposts of an old top.
"""

from __future__ import annotations

from ..errors import SWAPPED_OUT, MemoryFault, Problem, SwappedOutError, UnreadError
from ..glibc.layout import FLAGS, PREV_INUSE, Layout, align_up
from ..target.mappings import Mapping
from ..target.space import Space
from .arenas import Arena, Heap
from .holes import next_touched
from .places import Overlay
from .tally import Tally
from .walk import take_tally

EFFORT = 8  # how often a large region is walked over to find where chunks begin,
ANYWAY = 16 << 20  # and bytes that are in any case
CHAIN = 3  # sane chunks in a row, before a damaged one, that are no chance


def fenceposts_end(space: Space, layout: Layout, tally: Tally) -> int | None:
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


def next_segment(space: Space, layout: Layout, start: int, stop: int) -> int | None:
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


def gap_flaws(space: Space, start: int, following: int | None, stop: int) -> list[Problem]:
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


def find_runs(space: Space, layout: Layout, arena: Arena, lost: list[UnreadError]) -> list[Heap]:
    """Return the runs of a main arena that lives in mmaps (brk failed, or huge pages).

    No list of them exists. Each begins a mapping or follows another region, and its chunks lead to
    top or to fenceposts; together they are as large as system_mem. `lost` gets why a run that may
    begin, or go on, somewhere isn't read.
    """
    runs: list[Heap] = []
    for mapping in space.mappings.where(lambda kind: kind.anonymous):
        if sum(run.size for run in runs) < arena.system:
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
    stop = arena.end_in(Heap(0, start, first, limit, None, 0))
    tally = _chain(space, layout, first, stop)
    space.pace.check(first)
    walked = tally.end - first
    if any(problem.code == SWAPPED_OUT for problem in tally.problems):
        raise SwappedOutError(tally.end)
    if tally.problems:
        return None, walked
    if tally.end == arena.top:
        return top_end, walked
    end = fenceposts_end(space, layout, tally) if tally.end < stop else None
    if end is None or -end % space.page >= layout.alignment:
        return None, walked
    return align_up(end, space.page), walked


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
        chain.end == stop or fenceposts_end(space, layout, chain) is not None
    )
