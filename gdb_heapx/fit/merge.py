"""The fastbins: a chunk of one taken, and all merged with what is free beside them.

malloc_consolidate merges chunk by chunk. What that ends with depends on no order but that of the
unsorted bin: so all chunks are merged at once, in the order of their addresses, and only as many of
the results are linked as malloc can come to.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple

from ..glibc.layout import FD, FLAGS, PREV_INUSE
from .bins import unlink
from .replay import Merging, Mstate, Replay, Served, Untold
from .unsorted import MAX_ITERS

MOST = 4 << 20  # fast chunks that are merged: some 50 bytes each
LINKED = 2 * MAX_ITERS  # results: the bin is gone through twice at most, once for the tcache


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
    memory, before = replay.memory, replay.memory.source.merged.get(arena.address)
    first = memory.untouched
    if first and isinstance(before, _Before):
        memory.lay_over(before.written)
        arena.top, arena.fast = before.top, [0] * len(arena.fast)
        replay.merging[arena.address] = before.merging
        return
    merging = replay.merging.setdefault(arena.address, Merging())
    _merge_all(replay, arena, merging)
    if first:
        memory.source.merged = {arena.address: _Before(memory.keep(), arena.top, merging)}


class _Before(NamedTuple):
    """What a replay has made of an arena's fast chunks, where that was the first that it did."""

    written: Mapping[int, int]
    top: int
    merging: Merging


def _merge_all(replay: Replay, arena: Mstate, merging: Merging) -> None:
    chunks, words = _all_fast(replay, arena)
    order = array("I", sorted(range(len(chunks)), key=chunks.__getitem__))
    found = _runs(replay, arena, chunks, words, order, merging)
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
    size word.
    """
    layout, chunks, words = replay.layout, array("Q"), array("I")
    most, field = arena.system // layout.min_size, FD * layout.word
    chunk_at = replay.memory.source.chunk if replay.memory.untouched else replay.head_and_fd
    for index, chunk in enumerate(arena.fast):
        size = layout.fast_size(index)
        while chunk:
            word, link = chunk_at(chunk)
            right = word & ~FLAGS == size and not (chunk + layout.header) % layout.alignment
            replay.check(right and len(chunks) < most, f"fastbin {index}", chunk)
            chunks.append(chunk)
            words.append(word)
            if len(chunks) > MOST:
                raise Untold(f"malloc would merge more than {MOST:,} fast chunks first")
            chunk = layout.reveal(link, chunk + field)
        arena.fast[index] = 0
    return chunks, words


def _runs(
    replay: Replay,
    arena: Mstate,
    chunks: array[int],
    words: array[int],
    order: array[int],
    merging: Merging,
) -> Iterator[Merged]:
    """Yield what the fast chunks become, in the order of addresses; free chunks beside them are
    taken off their lists.
    """
    start = stop = last = 0  # of the run so far
    removed, word_at, word = merging.removed, replay.memory.word, replay.layout.word
    for number in order:
        chunk, head = chunks[number], words[number]
        replay.check(stop <= chunk, "a fastbin", chunk)
        if stop != chunk:
            if stop:
                yield Merged(start, stop, last)
            start, last = chunk, number
            if not head & PREV_INUSE:
                start -= _free_before(replay, chunk, removed)
        last, stop = max(last, number), chunk + (head & ~FLAGS)
        size = word_at(stop + word) & ~FLAGS
        if stop != arena.top and not word_at(stop + size + word) & PREV_INUSE:
            unlink(replay, stop, size)
            removed[size] += 1
            stop += size
    if stop:
        yield Merged(start, stop, last)


def _free_before(replay: Replay, chunk: int, removed: Counter[int]) -> int:
    """Take what lies before a fast chunk off its list, and return its size."""
    size = replay.memory.word(chunk)
    replay.check(replay.size(chunk - size) == size, "the size of a free chunk", chunk - size)
    unlink(replay, chunk - size, size)
    removed[size] += 1
    return size


def _hang_in(replay: Replay, arena: Mstate, run: Merged) -> None:
    """Hang a merged chunk into the unsorted bin."""
    behind = run.end + replay.layout.word
    replay.memory.write(behind, replay.memory.word(behind) & ~PREV_INUSE)
    replay.first_unsorted(arena, run.start, run.size)
