"""The spaces of a run: free and fast chunks that lie side by side are one."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.glibc.layout import PREV_INUSE
from gdb_heapx.heap.runs import Run
from gdb_heapx.heap.spaces import largest_inside
from gdb_heapx.heap.told import GRAIN

START = 0x7F1000000000
IN_USE, FREE, FAST = "in use", "free", "fast"  # a fast chunk is in use by its tags
CHUNKS = st.tuples(st.sampled_from((32, 48, 64, 1024)), st.sampled_from((IN_USE, FREE, FAST)))
TAGGED = st.tuples(st.sampled_from((32, 48, 64, 1024)), st.sampled_from((IN_USE, FREE)))


def run_of(chunks: list[tuple[int, str]], before: str) -> Run:
    """Return these chunks as a walk's run, behind one that is `before` them."""
    size = sum(size for size, _ in chunks)
    sizes = [0] * (size // GRAIN + 1)
    found: dict[str, list[int]] = {IN_USE: [], FREE: [], FAST: []}
    by_word: dict[str, dict[int, list[int]]] = {IN_USE: {}, FREE: {}}
    at, last = 0, before
    for size, state in chunks:
        word = size | (0 if last == FREE else PREV_INUSE)
        tagged = FREE if state == FREE else IN_USE
        sizes[at] = word
        found[tagged].append(at)
        found[state] += [at] * (state == FAST)
        by_word[tagged].setdefault(word, []).append(at)
        at, last = at + size // GRAIN, state
    fields = ([], sizes, [], [], [], [])
    tags = found[IN_USE], by_word[IN_USE], found[FREE], by_word[FREE]
    return Run(START, START + at * GRAIN, *tags, fields, 0, 0, 0, listed=found[FAST])


def naive(chunks: list[tuple[int, str]]) -> int:
    """Return the same by looking at one chunk after the other."""
    groups = [
        (used, sum(size for size, _ in group))
        for used, group in groupby(chunks, lambda chunk: chunk[1] == IN_USE)
    ]
    return max((size for used, size in groups[1:-1] if not used), default=0)


@given(st.lists(CHUNKS | TAGGED, max_size=12), st.sampled_from((IN_USE, FREE)))
def test_the_largest_space_has_no_end_of_the_run_beside_it(chunks, before):
    assert largest_inside(run_of(chunks, before)) == naive(chunks)


@given(st.lists(TAGGED, max_size=8), st.sampled_from((IN_USE, FREE)))
def test_free_chunks_side_by_side_that_malloc_would_have_merged_are_one_space(chunks, before):
    assert largest_inside(run_of(chunks, before)) == naive(chunks)


def test_a_space_of_its_own_is_as_large_as_its_chunk():
    chunks = [(32, IN_USE), (64, FREE), (32, IN_USE), (1024, FREE)]
    assert largest_inside(run_of(chunks, IN_USE)) == 64
    assert largest_inside(run_of([*chunks, (32, IN_USE)], IN_USE)) == 1024
    assert largest_inside(run_of([(64, FREE)], IN_USE)) == 0
