"""What malloc_trim would do to built heaps; the oracle does it to the builder's book, as glibc."""

from __future__ import annotations

import pytest
from heapbuilder import (
    AMD64,
    ARM,
    ARM64,
    FAST,
    FREE,
    I386,
    PAGE,
    S390X,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    Pages,
    at_random,
    up,
    usual,
    with_pages_at_random,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.heap.scan import AT_ONCE, SMALLEST_READ
from gdb_heapx.heap.states import State
from gdb_heapx.heap.trim import Trim
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.amounts import Amount
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED, UNTOUCHED

NAMES = tuple(Trim._fields)
KIB, MIB = 1 << 10, 1 << 20
MACHINES = [(AMD64, (2, 36)), (AMD64, (2, 44)), (I386, (2, 31)), (ARM, (2, 28)), (S390X, (2, 42))]


# The oracle: malloc.c (malloc_consolidate, mtrim, systrim), and mm/madvise.c of Linux.


def consolidated(arena):
    """Return the chunks (address, size, state) and top, once fast chunks are merged."""
    chunks = []
    for address, size, state in arena.chunks:
        state = FREE if state in (UNSORTED, FAST) else state
        if state == FREE and chunks and chunks[-1][2] == FREE and sum(chunks[-1][:2]) == address:
            address, size = chunks[-1][0], chunks.pop()[1] + size
        chunks.append((address, size, state))
    if chunks and chunks[-1][2] == FREE and sum(chunks[-1][:2]) == arena.top:
        return chunks[:-1], chunks[-1][0]
    return chunks, arena.top


def malloc_trim(heap, arena, pad=0):
    """Return what becomes of each free byte: the parts of a Trim by name."""
    pages, page, parts = heap.residency, heap.page, {name: [0, 0, 0, 0] for name in NAMES}

    def put(name, start, end):
        parts[name][0] += end - start
        parts[name][1] += pages.held(start, end, RESIDENT, SHARED)
        parts[name][2] += pages.held(start, end, SWAPPED)
        parts[name][3] += pages.held(start, end, SHARED)

    def release(name, at):
        gone = pages.state(at) not in (RESIDENT, SHARED, SWAPPED)
        put("already_returned" if gone else name, at, at + page)

    chunks, top = consolidated(arena)
    for start, size, state in chunks:
        end, rest, stuck = start + size, size, False
        if state == TCACHE:
            put("kept_tcache", start, end)
        elif state == FREE and size <= page - 1 + 6 * heap.word:
            put("kept_small_bins", start, end)
        elif state == FREE:
            aligned = up(start + 6 * heap.word, page)
            rest -= aligned - start
            stop = aligned + (rest & -page)
            put("kept_partial_page", start, aligned)
            put("kept_partial_page", stop, end)
            for at in range(aligned, stop, page):
                stuck = stuck or any(low <= at < high for low, high in heap.locked)
                put("kept_locked", at, at + page) if stuck else release("returned_below_top", at)
    end = arena.top + arena.top_size
    area = end - top - heap.layout.min_size - 1
    extra = (area - pad) & -page if arena.main and area > pad else 0
    put("kept_top", top, end - extra)
    for at in range(end - extra, end, page):
        if heap.program_break == end:  # it isn't asked whether the arena is contiguous
            release("returned_top", at)
        else:
            put("kept_foreign_brk", at, at + page)
    return {name: Amount(*part) for name, part in parts.items()}


def in_ram(size):
    return Amount(size, size, 0)


def assert_as_glibc(heap, pad=0):
    snapshot = take(heap.target(), Scope(pad=pad))
    assert not snapshot.problems
    for figures, arena in zip(snapshot.arenas(), heap.arenas):
        assert figures.trim._asdict() == malloc_trim(heap, arena, pad)
    return snapshot


@tried(200)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([*MACHINES, (ARM64, (2, 36))]),
    st.sampled_from([0, 1, 100 * KIB]),
)
def test_every_free_byte_goes_or_stays_as_in_glibc(seed, kind, pad):
    assert_as_glibc(with_pages_at_random(seed, at_random(seed, *kind)), pad)


@tried(100)
@given(st.randoms(use_true_random=False), st.sampled_from(MACHINES))
def test_the_parts_are_all_free_bytes_and_all_resident_ones(seed, kind):
    heap = with_pages_at_random(seed, at_random(seed, *kind))
    for arena in take(heap.target()).arenas():
        states = (State.BINNED, State.FAST, State.TCACHE, State.TOP)
        for what in ("bytes", "resident", "swapped", "shared"):
            parts = [getattr(part, what) for part in arena.trim]
            assert sum(parts) == sum(getattr(arena.amounts[state], what) for state in states)
            assert min(parts) >= 0
        assert all(part.resident + part.swapped <= part.bytes for part in arena.trim)
        assert all(part.shared <= part.resident for part in arena.trim)


# Fast chunks and what is around them, wherever the walk's reads end.


PATTERNS = (
    (FAST,),
    (FREE, FAST),
    (FAST, FREE),
    (FREE, FAST, FREE),
    (FAST, FREE, FAST),
    (FAST, FAST, FREE, FAST, FAST),
    (FREE, FAST, FREE, USED, FREE, USED, FREE, FAST),
)
SIZES = {FREE: 2064, FAST: 48, USED: 32}


def around(boundary, pattern, shift):
    """Return a heap with a pattern of chunks that begins `shift` bytes from an address."""
    heap = HeapBuilder()
    heap.residency = Pages()
    while heap.main.cursor < boundary - 12 * KIB:
        heap.main.add(USED, 1024)
    heap.main.used_up_to(boundary + shift)
    for state in pattern:
        heap.main.add(state, SIZES[state])
    return heap


BRK = HeapBuilder().brk
BOUNDARIES = {"first read": BRK + SMALLEST_READ, "block": up(BRK, AT_ONCE)}


@pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES)
@pytest.mark.parametrize("pattern", PATTERNS, ids="-".join)
@pytest.mark.parametrize("into_top", [False, True])
@pytest.mark.few(2)
def test_holes_go_on_across_the_reads_of_the_walk(boundary, pattern, into_top):
    if into_top and pattern[-1] == FREE:
        return
    edges = [sum(SIZES[state] for state in pattern[:n]) for n in range(len(pattern) + 1)]
    for shift in {near - edge for edge in edges for near in (-16, 0, 16)}:
        heap = around(boundary, pattern, shift)
        if not into_top:
            heap.main.add(USED, 64)
        trim = assert_as_glibc(heap).arenas()[0].trim
        assert trim.returned_below_top.bytes in (0, PAGE)


def test_a_run_over_several_reads_is_one_hole():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.add(USED, 1024)
    for _ in range(20000):
        heap.main.add(FAST, 128)
    heap.main.add(USED, 64)
    (arena,) = assert_as_glibc(heap).arenas()
    assert arena.trim.returned_below_top.bytes == (20000 * 128 // PAGE - 1) * PAGE
    assert arena.trim.kept_small_bins == in_ram(0)


def test_a_cached_chunk_does_not_merge():
    heap = HeapBuilder()
    heap.residency = Pages()
    cache = heap.thread(heap.main, 1)
    heap.main.used_up_to(BRK + MIB - 48)
    for state, size in ((FREE, 2064), (TCACHE, 1024), (FREE, 2064)):
        heap.main.add(state, size, cache)
    heap.main.add(USED, 64)
    (arena,) = assert_as_glibc(heap).arenas()
    assert arena.trim.returned_below_top.bytes == 0
    assert arena.trim.kept_small_bins.bytes == 2 * 2064


# Top, by hand from malloc.c, systrim: MINSIZE, one byte and the pad stay, at least.


def with_top(size, machine=AMD64, state=RESIDENT, last=None):
    """Return a heap whose main top has this size, all of it in one state; `last` is below it."""
    heap = HeapBuilder(machine)
    heap.residency = Pages(heap.page)
    below = SIZES[last] if last else 0
    heap.main.used_up_to(up(heap.main.cursor + size + below + 64, MIB) - size - below)
    if last:
        heap.main.add(last, below)
    heap.main.close(size)
    assert heap.main.top_size == size
    heap.residency.mark(heap.main.top, heap.main.top + size, state)
    return heap


def trim_of(heap, pad=0):
    return take(heap.target(), Scope(pad=pad)).arenas()[0].trim


@pytest.mark.parametrize(
    ("machine", "top", "pad", "returned"),
    [
        (AMD64, PAGE + 32, 0, 0),  # 4095 bytes could go
        (AMD64, PAGE + 48, 0, PAGE),
        (AMD64, PAGE + 48, 15, PAGE),
        (AMD64, PAGE + 48, 16, 0),
        (AMD64, PAGE + 48, PAGE + 15, 0),
        (AMD64, 2 * PAGE + 32, 0, PAGE),
        (AMD64, 2 * PAGE + 48, 0, 2 * PAGE),
        (AMD64, 32, 0, 0),
        (AMD64, MIB, 0, MIB - PAGE),
        (AMD64, MIB, 512 * KIB, 508 * KIB),
        (AMD64, MIB, 16 * MIB, 0),
        (I386, PAGE + 8, 0, 0),
        (I386, PAGE + 24, 0, PAGE),
        (ARM, PAGE + 16, 0, 0),
        (ARM, PAGE + 24, 0, PAGE),
        (ARM64, 128 * KIB + 32, 0, 64 * KIB),
        (ARM64, 128 * KIB + 48, 0, 128 * KIB),
    ],
)
def test_systrim_leaves_a_page_at_least(machine, top, pad, returned):
    trim = trim_of(with_top(top, machine), pad)
    assert trim.returned_top == in_ram(returned)
    assert trim.kept_top == in_ram(top - returned)
    assert trim.returned == returned


@pytest.mark.parametrize(("huge", "returned"), [(0, 5 * MIB - PAGE), (2 * MIB, 4 * MIB)])
def test_systrim_goes_by_huge_pages_where_malloc_does(huge, returned):
    heap = with_top(5 * MIB)
    heap.target()
    heap.field(heap.layout.par, heap.symbols["mp_"], "thp_pagesize", huge)
    assert trim_of(heap).returned_top == in_ram(returned)


def test_a_top_that_was_never_touched_goes_without_giving_anything():
    trim = trim_of(with_top(MIB, state=UNTOUCHED))
    assert trim.returned_top == in_ram(0)
    assert trim.already_returned == Amount(MIB - PAGE, 0, 0)
    assert trim.returned == 0


def test_a_top_in_swap_goes_without_giving_ram():
    assert trim_of(with_top(MIB, state=SWAPPED)).returned_top == Amount(MIB - PAGE, 0, MIB - PAGE)


def test_a_locked_top_goes_as_well():
    heap = with_top(MIB)
    heap.locked = [(BRK, heap.main.top + MIB)]
    trim = trim_of(heap)
    assert trim.returned_top == in_ram(MIB - PAGE)
    assert trim.kept_locked == in_ram(0)


def test_a_top_below_a_foreign_brk_stays():
    heap = with_top(MIB)
    heap.program_break = heap.main.top + MIB + PAGE
    trim = assert_as_glibc(heap).arenas()[0].trim
    assert trim.returned_top == in_ram(0)
    assert trim.kept_foreign_brk == in_ram(MIB - PAGE)
    assert trim.kept_top == in_ram(PAGE)


def test_the_top_of_a_main_arena_in_mmaps_stays():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.add(USED, 64)
    heap.main.next_region(0x7F2000000000)
    heap.main.add(USED, 64)
    heap.main.close(MIB)
    trim = assert_as_glibc(heap).arenas()[0].trim
    assert trim.returned == 0
    assert trim.kept_foreign_brk.bytes > MIB - 2 * PAGE


def test_a_top_that_reached_the_program_break_again_goes():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.add(USED, 64)
    heap.main.next_region(BRK + 64 * MIB)  # the arena stays non-contiguous for ever
    heap.main.add(USED, 64)
    heap.main.close(MIB)
    heap.program_break = heap.main.heaps[1][1]
    trim = assert_as_glibc(heap).arenas()[0].trim
    assert trim.returned_top.resident > MIB - 2 * PAGE
    assert trim.kept_foreign_brk == in_ram(0)


def test_the_top_of_another_arena_stays():
    heap = with_top(64 * KIB)
    arena = heap.arena()
    arena.add(USED, 64)
    arena.close(MIB)
    trim = assert_as_glibc(heap).arenas()[1].trim
    assert trim.kept_top == in_ram(arena.top_size)


def test_fast_chunks_may_let_top_shrink_by_a_page_more():
    alone, joined = with_top(PAGE + 32), with_top(PAGE + 32, last=FAST)
    assert trim_of(alone).returned == 0
    assert trim_of(joined).returned_top == in_ram(PAGE)
    assert trim_of(joined).kept_top == in_ram(32 + SIZES[FAST])


# What isn't known.


UNKNOWN = ("returned_below_top", "returned_top", "already_returned")


def test_where_residency_is_unknown_only_what_stays_is_known():
    known, unknown = usual(), usual()
    known.residency = Pages()
    for one, other in zip(take(known.target()).arenas(), take(unknown.target()).arenas()):
        assert other.trim.returned is None
        for name, part in other.trim._asdict().items():
            size = one.trim._asdict()[name].bytes
            assert part == (None if name in UNKNOWN else Amount(size, None, None))


def test_without_a_walk_nothing_is_known():
    heap = usual()
    heap.residency = Pages()
    assert {arena.trim for arena in take(heap.target(), Scope(walk=False)).arenas()} == {None}


@pytest.mark.parametrize("link", ["fd", "bk"])
def test_a_broken_list_makes_the_parts_unknown(link):
    heap = usual()
    heap.residency = Pages()
    heap.poke(heap.main.bins[121][0] + heap.word * (2 + (link == "bk")), 0x666600001230)
    snapshot = take(heap.target())
    assert [arena.trim is None for arena in snapshot.arenas()] == [True, False, False]
    assert [problem.code for problem in snapshot.problems] == ["bad_link"]


def test_a_damaged_arena_costs_only_its_own_figures():
    heap = usual()
    heap.residency = Pages()
    sound = [arena.trim for arena in take(heap.target()).arenas()]
    heap.poke(heap.arenas[1].chunks[5][0] + 8, 0)
    assert [a.trim for a in take(heap.target()).arenas()] == [sound[0], None, sound[2]]
