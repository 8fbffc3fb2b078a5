"""What malloc would do, on heaps that were built: each step of _int_malloc, and damage."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace

import pytest
from heapbuilder import (
    AMD64,
    FAST,
    FREE,
    I386,
    MACHINES,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    usual,
)

from gdb_heapx.errors import MemoryFault
from gdb_heapx.fit.fits import fit, fits
from gdb_heapx.fit.unusable import unusable
from gdb_heapx.heap.states import HELD_FREE, Search
from gdb_heapx.snapshots.malloc import EVERYTHING
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of

PAD = 128 << 10
RELEASES = [(2, 23), (2, 26), (2, 31), (2, 36), (2, 41), (2, 42), (2, 43), (2, 44)]
REQUESTS = [24, 100, 500, 1500, 10_000, 100_000, 1 << 20]
NEWEST = (2, 44)


def heap_with(*chunks, machine=AMD64, release=(2, 36), top=None):
    """Return a heap with these chunks, one in use behind each, and the addresses of these chunks;
    so many bytes at least are left at top.
    """
    heap = HeapBuilder(machine, release)
    addresses = []
    for state, size in chunks:
        addresses.append(heap.main.add(state, size))
        heap.main.add(USED, 64)
    heap.main.leave(top or 64 + 8 * (machine.word == 4))
    return heap, addresses


def reading_of(heap):
    (reading,) = open_target(heap.target()).mallocs
    return reading


def served(heap, request, **where):
    return fit(reading_of(heap), request, **(where or {"arena": 0}))


def chunk_size(heap, request):
    return heap.layout.chunk_size(request)


def unusable_by(heap, found, reading=None):
    opened = open_target(heap.target())
    snapshot = snapshot_of(opened, replace(EVERYTHING, search=Search.NONE))
    rows = unusable(opened.mallocs[0], snapshot.mallocs[0], found)
    return {row.reason: row for row in rows}, snapshot


def test_a_thread_is_served_by_its_tcache_first():
    heap, _ = heap_with((UNSORTED, 160))
    thread = heap.thread(heap.main, 1002)
    first = heap.main.add(TCACHE, 160, thread)
    heap.main.add(TCACHE, 160, thread)
    heap.main.add(USED, 64)
    found = served(heap, 150, lwp=thread.lwp)
    entries = next(iter(thread.entries.values()))
    assert found.source == "tcache"
    assert found.address == entries[0] - heap.layout.header
    assert first in [user - heap.layout.header for user in entries]
    assert found.grows == 0


def test_an_arena_alone_knows_no_tcache():
    heap, _ = heap_with()
    thread = heap.thread(heap.main, 1002)
    heap.main.add(TCACHE, 160, thread)
    heap.main.add(USED, 64)
    heap.main.leave(4096)
    assert served(heap, 150, arena=0).source == "top"


@pytest.mark.parametrize("release", [(2, 31), (2, 36), (2, 42)], ids=str)
def test_a_fast_chunk_serves_its_size(release):
    heap, (fast, *_) = heap_with((FAST, 64), (FREE, 64), release=release)
    found = served(heap, 50)
    assert (found.source, found.address, found.chunk_size) == ("fast", fast, 64)


def test_a_small_bin_serves_the_chunk_that_is_in_it_longest():
    heap, _ = heap_with((FREE, 320), (FREE, 320))
    last = heap.main.bins[20][-1]
    assert served(heap, 300).address == last


@pytest.mark.parametrize("release", [(2, 36), NEWEST], ids=str)
def test_unsorted_chunks_are_gone_through_from_the_end_of_the_list(release):
    heap, chunks = heap_with(*[(UNSORTED, 2048)] * 3, release=release)
    found = served(heap, 2040)
    assert (found.source, found.address) == ("unsorted", heap.main.bins[1][-1])
    assert set(heap.main.bins[1]) == set(chunks)


def test_of_exact_fits_that_go_to_the_tcache_the_last_one_is_returned():
    """To 2.43: all of them are stashed, and what was stashed last comes out again."""
    heap, _ = heap_with(*[(UNSORTED, 320)] * 3)
    thread = heap.thread(heap.main, 1002)
    found = served(heap, 300, lwp=thread.lwp)
    assert (found.source, found.address) == ("unsorted", heap.main.bins[1][0])


def test_from_2_44_on_the_first_exact_fit_is_returned():
    heap, _ = heap_with(*[(UNSORTED, 320)] * 3, release=NEWEST)
    thread = heap.thread(heap.main, 1002)
    found = served(heap, 300, lwp=thread.lwp)
    assert (found.source, found.address) == ("unsorted", heap.main.bins[1][-1])


def test_a_full_tcache_takes_no_more_of_them():
    """The tcache takes seven: the eighth exact fit is returned."""
    heap, _ = heap_with(*[(UNSORTED, 320)] * 9)
    thread = heap.thread(heap.main, 1002)
    found = served(heap, 300, lwp=thread.lwp)
    assert found.address == heap.main.bins[1][-8]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_the_smallest_large_chunk_that_fits_is_split(machine):
    sizes = (FREE, 4096), (FREE, 8192), (FREE, 9216)
    heap, (small, fitting, _) = heap_with(*sizes, machine=machine)
    found = served(heap, 5000)
    assert (found.source, found.address) == ("large", fitting)
    assert found.remainder == 8192 - chunk_size(heap, 5000)
    assert small != fitting


def test_of_one_size_the_second_chunk_is_taken():
    """The first one is in the skip list (_int_malloc)."""
    heap, _ = heap_with((FREE, 8192), (FREE, 8192), (FREE, 8192))
    heap.target()
    (chunks,) = (each for index, each in heap.main.bins.items() if index >= 64)
    assert served(heap, 8180).address == chunks[1]


def test_sorting_puts_a_chunk_second_of_its_size():
    heap, (binned, unsorted) = heap_with((FREE, 8192), (UNSORTED, 8192))
    assert served(heap, 8180).address == unsorted
    assert binned != unsorted


def test_a_rest_that_is_no_chunk_stays_with_the_chunk():
    heap, (free,) = heap_with((FREE, 8192))
    found = served(heap, 8192 - 8 - 16)
    assert (found.address, found.chunk_size, found.remainder) == (free, 8192, 0)


def test_a_stale_bit_of_the_binmap_leads_on():
    heap, (free,) = heap_with((FREE, 8192))
    target = heap.target()
    where = heap.main.address + heap.layout.state["binmap"].offset
    heap._write(where, (1 << 32) - 1, 4)
    found = fit(open_target(target).mallocs[0], 100, arena=0)
    assert found.address == free


def test_the_last_remainder_serves_small_requests_where_it_is_alone():
    heap, (last,) = heap_with((UNSORTED, 4096))
    heap.target()
    heap.field(heap.layout.state, heap.main.address, "last_remainder", last)
    found = served(heap, 100)
    assert (found.source, found.address, found.remainder) == ("unsorted", last, 4096 - 112)


def test_fast_chunks_are_merged_for_a_large_request():
    heap = HeapBuilder()
    first = heap.main.add(FAST, 64)
    for _ in range(29):
        heap.main.add(FAST, 64)
    heap.main.add(USED, 64)
    heap.main.leave(64)
    found = served(heap, 1500)
    assert (found.source, found.address) == ("large", first)
    assert found.remainder == 30 * 64 - chunk_size(heap, 1500)
    assert found.merging is not None
    assert served(heap, 200).merging is None


def test_fast_chunks_below_top_merge_with_it():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    fast = heap.main.add(FAST, 64)
    found = served(heap, 3000)
    assert (found.source, found.address) == ("top", fast)


def test_fast_chunks_merge_with_free_ones_on_both_sides():
    heap = HeapBuilder()
    free = heap.main.add(FREE, 1024)
    heap.main.add(FAST, 64)
    heap.main.add(FREE, 1024)
    heap.main.add(USED, 64)
    heap.main.leave(64)
    found = served(heap, 2100)
    assert (found.address, found.chunk_size) == (free, 2112)


def test_the_break_moves_by_what_top_lacks_and_top_pad():
    heap, _ = heap_with(top=64)
    found = served(heap, 100_000)
    top, size = heap.main.top, heap.main.top_size
    needed = chunk_size(heap, 100_000) + PAD + heap.layout.min_size - size
    assert (found.source, found.address) == ("extend", top)
    assert found.grows == -(-needed // 4096) * 4096


def test_a_foreign_sbrk_makes_it_begin_behind_that():
    heap, _ = heap_with(top=64)
    heap.target()
    end = heap.main.heaps[0][1] + 12288
    heap._write(heap.symbols["__curbrk"], end)
    found = served(heap, 100_000)
    assert (found.source, found.address) == ("extend", end)


def test_what_is_mapped_behind_the_break_makes_it_a_mapping():
    heap, _ = heap_with(top=64)
    target = heap.target()
    end = heap.main.heaps[0][1]
    blocked = target.facts.mappings[0]._replace(start=end + 8192, end=end + 12288, name="")
    facts = replace(target.facts, mappings=(*target.facts.mappings, blocked))
    reading = open_target(replace(target, space=replace(target.space, facts=facts))).mallocs[0]
    found = fit(reading, 100_000, arena=0)
    assert (found.source, found.address) == ("extend", None)
    assert found.grows >= 1 << 20


@pytest.mark.parametrize("release", [(2, 36), (2, 43)], ids=str)
def test_beyond_mmap_threshold_a_chunk_gets_a_mapping(release):
    heap, _ = heap_with(release=release)
    found = served(heap, 200_000)
    assert (found.source, found.address) == ("mmap", None)
    assert found.grows == -(-(chunk_size(heap, 200_000) + 16) // 4096) * 4096
    assert found.chunk_size == found.grows - heap.layout.mmap_header


def test_another_arena_grows_within_its_heap():
    heap = HeapBuilder()
    arena = heap.arena()
    arena.add(USED, 64)
    arena.leave(64)
    found = served(heap, 100_000, arena=1)
    needed = chunk_size(heap, 100_000) + heap.layout.min_size - arena.top_size
    assert (found.source, found.address) == ("extend", arena.top)
    assert found.grows == -(-needed // 4096) * 4096


@pytest.mark.parametrize("release", [(2, 31), (2, 36)], ids=str)
def test_where_a_hook_serves_malloc_nothing_is_said(release):
    heap, _ = heap_with(release=release)
    heap.variable("__malloc_hook", 8)
    heap.target()
    heap._write(heap.symbols["__malloc_hook"], 0x1234)
    found = served(heap, 100)
    assert (found.source is None) == (release < (2, 34))


def test_beyond_what_malloc_takes_it_fails():
    for machine, most in ((AMD64, (1 << 63) - 1), (I386, (1 << 31) - 1)):
        heap, _ = heap_with(machine=machine, top=72 if machine is I386 else 64)
        found = served(heap, most + 1)
        assert (found.source, found.address, found.grows) == ("fails", None, 0)
        assert served(heap, most).source != "fails"


def test_what_cant_serve_and_what_can_is_all_that_is_free():
    heap, _ = heap_with((FREE, 4096), (FAST, 64), (UNSORTED, 640), (FREE, 20480), top=256)
    other = heap.arena()
    other.add(FREE, 2048)
    other.add(USED, 64)
    other.leave(64)
    thread = heap.thread(heap.main, 1002)
    heap.main.add(TCACHE, 160, thread)
    heap.main.add(USED, 64)
    heap.main.leave(256)
    for request in (50, 150, 3000, 10_000, 100_000):
        found = served(heap, request, lwp=thread.lwp)
        rows, snapshot = unusable_by(heap, found)
        free = sum(a.amounts[s].bytes for a in snapshot.arenas() for s in HELD_FREE)
        usable = free - sum(row.bytes for row in rows.values())
        assert usable >= 0
        assert rows["other arenas"].bytes == 2048 + other.top_size
        assert (usable > 0) == (found.grows == 0)


@pytest.mark.parametrize("release", RELEASES, ids=str)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.few(12)
def test_every_release_and_machine_is_gone_through(machine, release):
    heap = usual(machine, release)
    reading = reading_of(heap)
    for lwp in (None, *(cache.lwp for cache in heap.caches)):
        for found in fits(reading, REQUESTS, lwp):
            assert found.source is not None, found.reason
            assert found.chunk_size >= chunk_size(heap, found.request)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.few(20)
def test_damage_is_told_or_does_no_harm(seed):
    """Whatever word is smashed: there is an answer, or the reason why there is none."""
    rng = random.Random(seed)
    heap = usual(AMD64, rng.choice(RELEASES))
    heap.target()
    words = [address for address, size, _ in heap.main.chunks for address in (address, address + 8)]
    words += [address + 8 * k for address, *_ in heap.main.chunks for k in range(2, 6)]
    words += [heap.main.address + 8 * k for k in range(12, 270)]
    for _ in range(rng.choice([1, 2, 10])):
        where = rng.choice(words)
        value = rng.choice([0, 1, rng.getrandbits(64), rng.choice(words), rng.randrange(1 << 12)])
        with contextlib.suppress(MemoryFault):
            heap._write(where, value)
    reading = reading_of(heap)
    for lwp in (None, *(cache.lwp for cache in heap.caches)):
        for found in fits(reading, REQUESTS, lwp):
            assert (found.source is None) == (found.reason is not None)


def test_a_list_whose_links_disagree_is_no_answer():
    heap, (first, _) = heap_with((UNSORTED, 2048), (UNSORTED, 2048))
    heap.target()
    heap._write(first + heap.layout.header, first + 64)
    found = served(heap, 2040)
    assert found.source is None
    assert "the unsorted bin is damaged" in found.reason
