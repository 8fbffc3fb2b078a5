"""The spaces between a run's chunks in use: free chunks, and fast ones, that lie side by side."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from ..glibc.layout import FLAGS, PREV_INUSE, SIZE
from .holes import Trimmer
from .runs import Run
from .told import GRAIN, GRAIN_BITS


def largest_inside(run: Run) -> int:
    """Return the size of the largest space that has no end of the run beside it; 0 without any."""
    if not (run.free or run.fast):
        return 0
    sizes, last = run.fields[SIZE], (run.end - run.start) // GRAIN
    if not run.fast and all(word & PREV_INUSE for word in run.free_by):
        # What lies before each free chunk is in use, so each is a space of its own.
        inside = (word & ~FLAGS for word, at in run.free_by.items() if _has_inside(at, word, last))
        return max(inside, default=0)
    free = sorted([*run.free, *run.fast]) if run.fast else run.free
    ends = [index + (sizes[index] >> GRAIN_BITS) for index in free]
    pairs = zip(ends, islice(free, 1, None))
    borders = [number for number, (end, start) in enumerate(pairs, 1) if end != start]
    spaces = zip((0, *borders), (*borders, len(free)))
    whole = [(free[at], ends[stop - 1]) for at, stop in spaces]
    return GRAIN * max((end - at for at, end in whole if at and end < last), default=0)


def _has_inside(chunks: Sequence[int], word: int, last: int) -> bool:
    """Tell whether one of the chunks with this size word has no end of the run beside it."""
    at_ends = (chunks[0] == 0) + (chunks[-1] + (word >> GRAIN_BITS) == last)
    return len(chunks) > at_ends


def spans(
    run: Run, cached: frozenset[int], trimmer: Trimmer
) -> Iterator[tuple[int, int, bool, bool]]:
    """Yield what Holes.add gets of a run: the `cached` chunks, and what is free or fast and
    adjacent as one, if it can hold a page or has an end of the run or one of these beside it.
    """
    edges = {run.start, run.end}
    for chunk in cached:
        size = run.size_at(chunk)
        edges.update((chunk, chunk + size))
        yield chunk, size, False, True
    free = sorted([*run.free, *run.fast]) if run.fast else run.free
    for first, end in _merged(free, run.fields[SIZE], _marks(run, edges, trimmer)):
        start, stop = run.start + first * GRAIN, run.start + end * GRAIN
        if stop - start >= trimmer.smallest or start in edges or stop in edges:
            has_fast = bisect_left(run.fast, first) < bisect_left(run.fast, end)
            yield start, stop - start, has_fast, False


def _marks(run: Run, edges: set[int], trimmer: Trimmer) -> list[int]:
    """Return indexes in a run such that each of its free spaces that matters is at one of them:
    beside an edge; and one that can hold a page is where a page begins. If nothing is fast, that is
    a single chunk.
    """
    start, page = run.start, trimmer.page
    marks = {(at - start) // GRAIN for edge in edges for at in (edge - GRAIN, edge)}
    if run.fast:
        marks.update(range(-start % page // GRAIN, (run.end - start) // GRAIN, page // GRAIN))
    elif run.largest_free >= trimmer.smallest:
        large = (run.free_by[word] for word in run.free_by if word >= trimmer.smallest)
        marks.update(*large)
    return sorted(marks)


def _merged(
    free: Sequence[int], sizes: Sequence[int], marks: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the spaces of adjacent free chunks in which a mark is: where each begins and ends. All
    are indexes in a run, in order.
    """
    end = 0
    for mark in marks if free else ():
        first = last = bisect_right(free, mark) - 1
        if mark < end or first < 0 or mark >= free[first] + sizes[free[first]] // GRAIN:
            continue
        while first and free[first - 1] + sizes[free[first - 1]] // GRAIN == free[first]:
            first -= 1
        end = free[last] + sizes[free[last]] // GRAIN
        while last + 1 < len(free) and free[last + 1] == end:
            last += 1
            end += sizes[end] // GRAIN
        yield free[first], end
