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
from .replay import Merging, Mstate, Replay, Served, Untold
from .unsorted import MAX_ITERS

MOST = 4 << 20  # fast chunks that are merged: some 50 bytes each
LINKED = 4 * MAX_ITERS  # results: the bin is gone through at most so often in one malloc


class Merged(NamedTuple):
    """What chunks that lie side by side become, and when the last of them was merged."""

    start: int
    end: int
    last: int

    @property
    def size(self) -> int:
        return self.end - self.start


def take_fast(replay: Replay, arena: Mstate, nb: int) -> Served | None:
    """Take the first chunk of the fastbin of a size, None where it is empty."""
    if not 0 < nb <= replay.rules.max_fast:
        return None
    victim = pop_fast(replay, arena, nb)
    return None if victim is None else Served("fast", victim, nb)


def pop_fast(replay: Replay, arena: Mstate, nb: int) -> int | None:
    """Take the first chunk off the fastbin of a size, None where it is empty."""
    index = replay.layout.fast_index(nb)
    victim = arena.fast[index]
    if not victim:
        return None
    right = replay.layout.fast_index(replay.size(victim)) == index
    replay.check(right and _aligned(replay, victim), "a fastbin", victim)
    arena.fast[index] = _next(replay, victim)
    return victim


def _next(replay: Replay, chunk: int) -> int:
    return replay.layout.reveal(replay.fd(chunk), chunk + FD * replay.layout.word)


def _aligned(replay: Replay, chunk: int) -> bool:
    return not (chunk + replay.layout.header) % replay.layout.alignment


def consolidate(replay: Replay, arena: Mstate) -> None:
    """Merge all fast chunks with what is free beside them, into top or the unsorted bin
    (malloc_consolidate).
    """
    arena.have_fastchunks = False
    chunks, sizes = _all_fast(replay, arena)
    order = array("I", sorted(range(len(chunks)), key=chunks.__getitem__))
    merging = replay.merging.setdefault(arena.address, Merging())
    found = _runs(replay, arena, chunks, sizes, order, merging)
    runs = (run for run in found if not _top(replay, arena, run, merging))
    for run in nsmallest(LINKED, runs, key=attrgetter("last")):
        _hang_in(replay, arena, run)


def _top(replay: Replay, arena: Mstate, run: Merged, merging: Merging) -> bool:
    """Merge what lies before top with it; return whether that is so."""
    if run.end != arena.top:
        merging.made[run.size] += 1
        return False
    merging.topped += run.size
    arena.top, top = run.start, replay.size(arena.top)
    replay.set_head(run.start, run.end - run.start + top)
    return True


def _all_fast(replay: Replay, arena: Mstate) -> tuple[array[int], array[int]]:
    """Take all chunks out of the fastbins, in the order in which they are merged: each with its
    size.
    """
    chunks, sizes = array("Q"), array("I")
    most = arena.system // replay.layout.min_size
    for index, chunk in enumerate(arena.fast):
        while chunk:
            size = replay.size(chunk)
            right = replay.layout.fast_index(size) == index and _aligned(replay, chunk)
            replay.check(right and len(chunks) < most, f"fastbin {index}", chunk)
            chunks.append(chunk)
            sizes.append(size)
            if len(chunks) > MOST:
                raise Untold(f"malloc would merge more than {MOST:,} fast chunks first")
            chunk = _next(replay, chunk)
        arena.fast[index] = 0
    return chunks, sizes


def _runs(
    replay: Replay,
    arena: Mstate,
    chunks: array[int],
    sizes: array[int],
    order: array[int],
    merging: Merging,
) -> Iterator[Merged]:
    """Yield what the fast chunks become, in the order of addresses; free chunks beside them are
    taken off their lists.
    """
    run: Merged | None = None
    removed = merging.removed
    for number in order:
        chunk, end = chunks[number], chunks[number] + sizes[number]
        start = chunk
        replay.check(run is None or run.end <= chunk, "a fastbin", chunk)
        if run is None or run.end != chunk:
            if run is not None:
                yield run
            run = None
            if not replay.word(chunk, SIZE) & PREV_INUSE:
                start = chunk - _free_before(replay, chunk)
                removed[chunk - start] += 1
        last = number if run is None else max(number, run.last)
        behind = _free_behind(replay, arena, end)
        if behind:
            removed[behind] += 1
            end += behind
        run = Merged(start if run is None else run.start, end, last)
    if run is not None:
        yield run


def _free_before(replay: Replay, chunk: int) -> int:
    size = replay.memory.word(chunk)
    replay.check(replay.size(chunk - size) == size, "the size of a free chunk", chunk - size)
    unlink(replay, chunk - size, size)
    return size


def _free_behind(replay: Replay, arena: Mstate, chunk: int) -> int:
    """Take what lies behind a fast chunk off its list, if it is free, and return its size."""
    size = replay.size(chunk)
    if chunk == arena.top or replay.word(chunk + size, SIZE) & PREV_INUSE:
        return 0
    unlink(replay, chunk, size)
    return size


def _hang_in(replay: Replay, arena: Mstate, run: Merged) -> None:
    """Hang a merged chunk into the unsorted bin."""
    behind = run.end + replay.layout.word
    replay.memory.write(behind, replay.memory.word(behind) & ~PREV_INUSE)
    replay.first_unsorted(arena, run.start, run.size)
