"""What is done grows with what there is to look at, and no faster: calls and reads are counted."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from heapbuilder import FREE, TCACHE, USED, HeapBuilder, Pages, changed
from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.heap.mmapped import MmappedChunk, MmappedChunks
from gdb_heapx.heap.states import State
from gdb_heapx.snapshots.ledger import account
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of, take
from gdb_heapx.target.mappings import Mapping, Mappings, merged
from gdb_heapx.why.causes import find_causes

PACKAGE = str(Path(__file__).parent.parent / "gdb_heapx")
KIB = 1 << 10


def calls_of(function, *arguments):
    """Return what a function returns, and how many functions of the package that calls; each
    element that a generator yields counts as one.
    """
    calls = 0

    def count(frame, event, _argument):
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    sys.setprofile(count)
    try:
        found = function(*arguments)
    finally:
        sys.setprofile(None)
    return found, calls


def with_arenas(number, heaps=1):
    """Return a heap of so many arenas, each with a thread and its cache, and so many heaps."""
    heap = HeapBuilder()
    heap.residency = Pages()
    for index in range(number):
        arena = heap.arena() if index else heap.main
        cache = heap.thread(arena, 100 + index)
        for part in range(heaps if index else 1):
            if part:
                arena.supersede(512)
            arena.add(USED, 64 * KIB)
            arena.add(FREE, 4 * KIB)
            arena.add(TCACHE, 96, cache)
            arena.add(USED, 48)
        arena.close()
    return heap


def with_mmapped(number):
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    heap.main.close()
    for _ in range(number):
        heap.mmapped(35 * 4 * KIB, apart=True)
    return heap


SCENES = {
    "arenas": with_arenas,
    "heaps of an arena": lambda number: with_arenas(2, number),
    "mappings": with_mmapped,
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.slow
def test_twice_as_many_take_twice_the_work(scene):
    few, more, most = (calls_of(take, SCENES[scene](n).target())[1] for n in (10, 20, 40))
    assert most - more < 2.1 * (more - few)


@pytest.mark.parametrize("scene", SCENES)
def test_who_owns_what_and_why_takes_twice_the_work_for_twice_as_many(scene):
    def ask(snapshot):
        return account(snapshot), find_causes(snapshot)

    few, more, most = (calls_of(ask, take(SCENES[scene](n).target()))[1] for n in (10, 20, 40))
    assert most - more < 2.1 * (more - few)


def test_each_arena_has_what_tcaches_hold_of_its_chunks_and_the_tcaches_that_lie_in_it():
    heap = with_arenas(12)
    snapshot = take(heap.target())
    assert not snapshot.problems
    assert all(check.ok for malloc in snapshot.mallocs for check in malloc.checks)
    for arena in snapshot.arenas():
        spans = [(part.address, part.address + part.size) for part in arena.heaps]
        inside = [c for c in heap.caches if any(s <= c.address < e for s, e in spans)]
        assert [c.arena.index for c in inside] == [arena.index]
        assert arena.chunks[State.TCACHE] == 1
        assert arena.amounts[State.TCACHE].bytes == 96


def with_cached(lists):
    """Return a heap whose tcache has so many lists of seven chunks, which lie in any order."""
    heap = HeapBuilder()
    heap.residency = Pages()
    cache = heap.thread(heap.main, 100)
    sizes = [96 + 16 * number for number in range(lists) for _ in range(7)]
    Random(lists).shuffle(sizes)
    for size in sizes:
        heap.main.add(TCACHE, size, cache)
        heap.main.add(USED, 640)
    heap.main.close()
    return heap


def test_what_a_tcache_holds_is_read_at_once_and_not_list_by_list():
    lists = 48
    heap = with_cached(lists)
    target = heap.target()
    heap.memory.reads.clear()
    snapshot = take(target, Scope(walk=False))
    pages = [size for _, size in heap.memory.reads if size >= heap.page]
    assert [b.chunks for b in snapshot.mallocs[0].caches[0].tcache.bins] == [7] * lists
    assert sum(pages) > lists * heap.page
    assert len(pages) < lists


ranges = st.lists(st.integers(0, 60), unique=True, max_size=16).map(sorted)


@given(ranges, st.sampled_from([1, 2]), st.integers(-1, 61), st.integers(-1, 61))
def test_a_mapping_is_found_as_by_looking_at_each(edges, every, start, end):
    mappings = [Mapping(s, e, "rw-p", 0, "") for s, e in list(zip(edges, edges[1:]))[::every]]
    index = Mappings.of(reversed(mappings))
    here = [m for m in mappings if m.start <= start < m.end]
    assert index.at(start) == (here[0] if here else None)
    if start < end:
        assert [*index.within(start, end)] == [
            m for m in mappings if m.start < end and start < m.end
        ]


@given(ranges, st.sampled_from([1, 2]))
def test_chunks_side_by_side_are_as_merged_mappings(edges, every):
    spans = list(zip(edges, edges[1:]))[::every]
    chunks = (MmappedChunk(start, end - start, start, end) for start, end in spans)
    assert MmappedChunks.of(0, chunks).spans == merged(spans)


def test_what_was_read_of_many_arenas_is_not_kept_and_the_figures_are_the_same(monkeypatch):
    target = with_arenas(12, heaps=2).target()
    kept, few = opened_and_taken(target)
    monkeypatch.setattr("gdb_heapx.snapshots.malloc.MANY", 4)
    forgotten, many = opened_and_taken(target)
    assert many == few
    assert kept - forgotten > 12 * 4 * KIB


def opened_and_taken(target):
    """Return the bytes that a target takes as long as it is opened, beyond the figures that were
    taken of it, and these.
    """
    tracemalloc.start()
    try:
        opened = open_target(target)
        taken = snapshot_of(opened)
        whole, _ = tracemalloc.get_traced_memory()
        del opened
        gc.collect()
        return whole - tracemalloc.get_traced_memory()[0], taken
    finally:
        tracemalloc.stop()


def test_a_mapping_that_isn_t_malloc_s_is_passed_by():
    target = with_arenas(2).target()

    def beside(number):
        place = range(1 << 30, (1 << 30) + number * 8 * KIB, 8 * KIB)
        rows = tuple(Mapping(at, at + 4 * KIB, "rw-p", 0, "") for at in place)
        return changed(target, mappings=(*target.space.mappings, *rows))

    few, more = (calls_of(take, beside(number))[1] for number in (100, 1100))
    assert more - few < 20 * 1000
