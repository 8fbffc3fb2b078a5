"""The compiled walk finds what the Python folds find, which define it: on whatever heap."""

from __future__ import annotations

import random
from unittest import mock

import pytest
from heapbuilder import AMD64, ARM64, I386, S390X, TCACHE, USED, HeapBuilder, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from recorded import NAMES, load, target_of
from test_damage import built, damage
from test_pagepins import drawn

from gdb_heapx.errors import HeapxError, MemoryFault
from gdb_heapx.heap import compiled, expected, relay, scan
from gdb_heapx.heap.library import library
from gdb_heapx.snapshots.opened import open_target

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (AMD64, (2, 31)), (ARM64, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
EVERY_WINDOW = [1 << 12, 1 << 14, 1 << 18]


def readings(target, window):
    """Return what is read of each arena's heaps."""
    with mock.patch.multiple(scan, SMALLEST_READ=min(window, 1 << 14)):
        try:
            opened = open_target(target)
        except HeapxError as refused:
            return str(refused)
        return [found(reading, arena) for reading in opened.mallocs for arena in reading.arenas]


def found(reading, arena):
    reading.draw()
    walked = reading.walks.over(arena, arena.heaps)
    holes = {**vars(walked.holes)}
    for name in ("trimmer", "residency", "own", "end", "_first", "_start", "_before"):
        holes.pop(name, None)
    return {
        "parts": [told(part) for part in walked.parts or ()],
        "holes": holes if all(part.whole for part in walked.parts or ()) else None,
        "bins": reading.walks.fast(arena),
        "arena": vars(reading.arena(arena))["bins"],
    }


def told(part):
    """Return what a walk found of a heap, as far as it came."""
    tally, tails = part.tally, part.tally.tails
    ended = tally.end, tally.problems, part.whole
    counts = +tally.counts.used, +tally.counts.free
    overlaid = tally.counts.overlaid_chunks, tally.counts.overlaid_bytes
    sums = tally.linkage.links, tally.linkage.skips, tally.flaws
    pages = tally.pages and (tally.pages.absent, tally.pages.swapped, tally.pages.shared)
    near = tails.last, tails.free, tails.gap, tails.first, tails.island
    closed = [tails.chunks, tails.alike, tails.other] if part.whole else None
    fast = {size: looks.cut() for size, looks in tally.fast.sizes.items()}
    places = tally.landmarks.chunks, tally.large.chunks
    filled = tally.cells.bits, tally.cells.first, tally.cells.reached, tally.cells.table
    return ended, counts, overlaid, sums, pages, near, closed, [*tails.trail], fast, places, filled


def twice(make, window=1 << 18):
    """Return what both walks find: the compiled one in two threads, if the heap has two windows."""
    target = make()
    with (
        mock.patch.object(compiled, "AT_ONCE", window),
        mock.patch.object(expected, "PIECE", window),
        mock.patch.multiple(relay, WINDOW=window, LEAST=2 * window),
    ):
        by_c = readings(changed(target, fill=filling(target.space.memory)), window)
    return by_c, readings(changed(make(), compiled=False), window)


def filling(memory):
    """Return what fills a buffer from a memory, in any thread."""

    def fill(address, room):
        try:
            room[:] = memory.read(address, len(room))
        except MemoryFault:
            return False
        return True

    return fill


@pytest.fixture(autouse=True)
def _is_there():
    walker = library(HeapBuilder().target().space)
    if walker.code is None:
        pytest.skip(f"no compiled walk: {walker.why}")


@tried(600)
@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(EVERY_WINDOW))
def test_of_any_heap_both_find_the_same(seed, kind, window):
    heap = built(seed, *kind)
    by_c, by_python = twice(heap.target, window)
    assert by_c == by_python


@tried(300)
@given(SEEDS, st.sampled_from([AMD64, ARM64]), st.sampled_from(EVERY_WINDOW))
def test_of_long_heaps_both_find_the_same(seed, machine, window):
    heap, arena = drawn(seed, machine)
    arena.close()
    by_c, by_python = twice(heap.target, window)
    assert by_c == by_python


@tried(600)
@given(SEEDS, st.sampled_from(KINDS), st.sampled_from(EVERY_WINDOW))
def test_of_any_damaged_heap_both_find_the_same(seed, kind, window):
    heap = built(seed, *kind)
    damage(seed, heap)
    by_c, by_python = twice(heap.target, window)
    assert by_c == by_python


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_a_cached_chunk_inside_of_a_large_one_is_misplaced_for_both(window):
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 100)
    heap.main.add(TCACHE, 64, cache)
    large = heap.main.add(USED, 1 << 20)
    heap.main.add(USED, 64)
    inside = large + (1 << 19)
    cache.entries[2].append(inside + 2 * heap.word)
    heap.target()
    heap.poke(inside + heap.word, 64 | 1)
    by_c, by_python = twice(heap.target, window)
    assert by_c == by_python
    ((_, problems, _), *_) = by_c[0]["parts"][0]
    assert [(p.code, p.address) for p in problems] == [("cached_misplaced", inside)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(6)
def test_of_a_recorded_process_both_find_the_same(name):
    by_c, by_python = twice(lambda: target_of(load(name)))
    assert by_c == by_python


@pytest.mark.parametrize("machine", [I386, S390X])
def test_other_words_are_walked_over_in_python(machine):
    heap = built(random.Random(1), machine, (2, 36))
    with mock.patch.object(compiled, "CompiledWalk") as used:
        readings(heap.target(), 1 << 18)
    used.assert_not_called()
