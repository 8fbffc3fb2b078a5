"""The fastbins: a chunk of one taken, and all merged with what is free beside them.

malloc_consolidate merges chunk by chunk. What that ends with depends on no order but that of the
unsorted bin: so all chunks are merged at once, in the order of their addresses, and only as many of
the results are linked as malloc can come to.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple

from ..glibc.layout import FD, PREV_INUSE, SIZE
from .bins import unlink
from .state import Mstate, Served, State, Untold
from .unsorted import MAX_ITERS

MOST = 4 << 20  # fast chunks that are merged: some 50 bytes each
LINKED = 4 * MAX_ITERS  # results: the bin is gone through at most so often in one malloc


class Run(NamedTuple):
    """What chunks that lie side by side become, and when the last of them was merged."""

    start: int
    end: int
    last: int


def take_fast(state: State, arena: Mstate, nb: int) -> Served | None:
    """Take the first chunk of the fastbin of a size, None where it is empty."""
    if not 0 < nb <= state.rules.max_fast:
        return None
    victim = pop_fast(state, arena, nb)
    return None if victim is None else Served("fast", victim, nb)


def pop_fast(state: State, arena: Mstate, nb: int) -> int | None:
    """Take the first chunk off the fastbin of a size, None where it is empty."""
    index = state.layout.fast_index(nb)
    victim = arena.fast[index]
    if not victim:
        return None
    right = state.layout.fast_index(state.size(victim)) == index
    state.check(right and _aligned(state, victim), "a fastbin", victim)
    arena.fast[index] = _next(state, victim)
    return victim


def _next(state: State, chunk: int) -> int:
    return state.layout.reveal(state.fd(chunk), chunk + FD * state.layout.word)


def _aligned(state: State, chunk: int) -> bool:
    return not (chunk + state.layout.header) % state.layout.alignment


def consolidate(state: State, arena: Mstate) -> None:
    """Merge all fast chunks with what is free beside them, into top or the unsorted bin
    (malloc_consolidate).
    """
    arena.have_fastchunks = False
    chunks, sizes = _all_fast(state, arena)
    order = array("I", sorted(range(len(chunks)), key=chunks.__getitem__))
    runs = (run for run in _runs(state, arena, chunks, sizes, order) if not _top(state, arena, run))
    for run in nsmallest(LINKED, runs, key=attrgetter("last")):
        _hang_in(state, arena, run)


def _top(state: State, arena: Mstate, run: Run) -> bool:
    """Merge what lies before top with it; return whether that is so."""
    if run.end != arena.top:
        return False
    arena.top, top = run.start, state.size(arena.top)
    state.set_head(run.start, run.end - run.start + top)
    return True


def _all_fast(state: State, arena: Mstate) -> tuple[array[int], array[int]]:
    """Take all chunks out of the fastbins, in the order in which they are merged: each with its
    size.
    """
    chunks, sizes = array("Q"), array("I")
    most = arena.system // state.layout.min_size
    for index, chunk in enumerate(arena.fast):
        while chunk:
            size = state.size(chunk)
            right = state.layout.fast_index(size) == index and _aligned(state, chunk)
            state.check(right and len(chunks) < most, f"fastbin {index}", chunk)
            chunks.append(chunk)
            sizes.append(size)
            if len(chunks) > MOST:
                raise Untold(f"malloc would merge more than {MOST:,} fast chunks first")
            chunk = _next(state, chunk)
        arena.fast[index] = 0
    return chunks, sizes


def _runs(
    state: State, arena: Mstate, chunks: array[int], sizes: array[int], order: array[int]
) -> Iterator[Run]:
    """Yield what the fast chunks become, in the order of addresses; free chunks beside them are
    taken off their lists.
    """
    run: Run | None = None
    for number in order:
        chunk, end = chunks[number], chunks[number] + sizes[number]
        start = chunk
        state.check(run is None or run.end <= chunk, "a fastbin", chunk)
        if run is None or run.end != chunk:
            if run is not None:
                yield run
            run = None
            if not state.word(chunk, SIZE) & PREV_INUSE:
                start = chunk - _free_before(state, chunk)
        last = number if run is None else max(number, run.last)
        end += _free_behind(state, arena, end)
        run = Run(start if run is None else run.start, end, last)
    if run is not None:
        yield run


def _free_before(state: State, chunk: int) -> int:
    size = state.memory.word(chunk)
    state.check(state.size(chunk - size) == size, "the size of a free chunk", chunk - size)
    unlink(state, chunk - size, size)
    return size


def _free_behind(state: State, arena: Mstate, chunk: int) -> int:
    """Take what lies behind a fast chunk off its list, if it is free, and return its size."""
    size = state.size(chunk)
    if chunk == arena.top or state.word(chunk + size, SIZE) & PREV_INUSE:
        return 0
    unlink(state, chunk, size)
    return size


def _hang_in(state: State, arena: Mstate, run: Run) -> None:
    """Hang a merged chunk into the unsorted bin."""
    behind = run.end + state.layout.word
    state.memory.write(behind, state.memory.word(behind) & ~PREV_INUSE)
    state.first_unsorted(arena, run.start, run.end - run.start)
