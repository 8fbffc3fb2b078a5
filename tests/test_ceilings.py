"""From which size on requests make an arena grow, although much is free there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from heapbuilder import FAST, FREE, UNSORTED, USED, HeapBuilder

from gdb_heapx.fit import ceilings as ceiling
from gdb_heapx.fit.ceilings import ceilings
from gdb_heapx.fit.fits import fit
from gdb_heapx.snapshots.malloc import EVERYTHING
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of
from gdb_heapx.why.causes import find_causes

MIB = 1 << 20
LARGEST = 7936
CACHED = 1032  # what a tcache may serve


def heap_in_pieces(size=LARGEST, number=200, state=FREE, top=64):
    heap = HeapBuilder()
    for _ in range(number):
        heap.main.add(state, size)
        heap.main.add(USED, 64)
    heap.main.leave(64)
    heap.main.close(top)
    return heap


def looked_at(heap):
    opened = open_target(heap.target())
    snapshot = snapshot_of(opened, EVERYTHING)
    return opened, snapshot, ceilings(opened, snapshot)


@pytest.mark.parametrize("state", [FREE, UNSORTED])
def test_the_largest_piece_is_the_ceiling(state):
    opened, _, (found,) = looked_at(heap_in_pieces(state=state))
    assert (found.largest, found.free, found.at_top) == (LARGEST, 200 * LARGEST, False)
    assert found.served == LARGEST - 8
    reading = opened.mallocs[0]
    assert fit(reading, found.served, arena=0).grows == 0
    for request in (found.served + 1, 20_000, found.until):
        assert fit(reading, request, arena=0).source == "extend"


def test_a_piece_as_large_as_any_request_is_no_ceiling():
    heap = HeapBuilder()
    for size in (*[LARGEST] * 200, 256 << 10):
        heap.main.add(FREE, size)
        heap.main.add(USED, 64)
    assert looked_at(heap)[2] == ()


def test_no_request_reaches_an_arena_without_a_thread():
    """A forked child has its parent's arenas, but not their threads."""
    heap = heap_in_pieces()
    opened, snapshot, told = looked_at(heap)
    assert told
    (malloc,) = snapshot.mallocs
    idle = [replace(each, threads=0) for each in malloc.arenas]
    forked = replace(snapshot, mallocs=(replace(malloc, arenas=tuple(idle)),))
    assert ceilings(opened, forked) == ()


def test_where_little_is_free_nothing_is_told():
    assert looked_at(heap_in_pieces(number=100))[2] == ()


def test_fast_chunks_count_as_what_they_merge_to():
    heap = HeapBuilder()
    for _ in range(200):
        heap.main.add(FREE, 6000 // 16 * 16)
        for _ in range(4):
            heap.main.add(FAST, 128)
        heap.main.add(USED, 64)
    heap.main.leave(64)
    (found,) = looked_at(heap)[2]
    assert found.largest == 6000 // 16 * 16 + 4 * 128


@pytest.mark.parametrize("fast", [99, 100, 101])
def test_what_malloc_may_not_come_to_is_no_ceiling(fast, monkeypatch):
    """It goes through so many unsorted chunks; each fast one may become one."""
    monkeypatch.setattr(ceiling, "MAX_ITERS", 200)
    heap = HeapBuilder()
    for state, size, number in ((UNSORTED, 2 * LARGEST, 100), (FAST, 64, fast)):
        for _ in range(number):
            heap.main.add(state, size)
            heap.main.add(USED, 64)
    heap.main.leave(64)
    assert len(looked_at(heap)[2]) == (fast < 100)


def test_where_top_is_the_largest_piece_its_last_bytes_stay():
    heap = heap_in_pieces(top=20_480)
    opened, _, (found,) = looked_at(heap)
    assert (found.largest, found.at_top) == (heap.main.top_size, True)
    assert fit(opened.mallocs[0], found.served, arena=0).source == "top"
    assert fit(opened.mallocs[0], found.served + 1, arena=0).source == "extend"


def test_what_a_tcache_may_serve_is_below_the_ceiling():
    _, _, (found,) = looked_at(heap_in_pieces(size=512, number=4000))
    assert (found.largest, found.served) == (512, CACHED)


def test_the_finding_says_what_was_found():
    _, snapshot, found = looked_at(heap_in_pieces())
    (told,) = (each for each in find_causes(snapshot, None, found) if each.code == "no_fit")
    assert told.statement == (
        "1.5 MiB of address space: requests above 7,928 bytes extend arena 0, although 1.5 MiB "
        "are free there: the largest free piece has 7,936 bytes."
    )
    assert told.worth is None


def test_one_piece_that_is_nearly_all_that_is_free_is_no_finding():
    _, snapshot, (found,) = looked_at(heap_in_pieces())
    one = replace(found, largest=found.free // 2)
    assert "no_fit" not in [each.code for each in find_causes(snapshot, None, (one,))]


def test_damage_lets_nothing_be_told():
    heap = heap_in_pieces(state=UNSORTED)
    heap.target()
    first = heap.main.bins[1][0]
    heap._write(first + heap.layout.header + 8, first)
    opened = open_target(heap.target())
    snapshot = snapshot_of(opened, replace(EVERYTHING))
    assert ceilings(opened, snapshot) == ()
