"""The walk over chunks: what it folds, where it ends, and what damage costs."""

from __future__ import annotations

import pytest
from heapbuilder import (
    AMD64,
    ARM,
    FAST,
    FREE,
    I386,
    MACHINES,
    PAGE,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    Pages,
    usual,
)

from gdb_heapx.heap.arenas import Heap
from gdb_heapx.heap.places import Overlay
from gdb_heapx.heap.scan import AT_ONCE
from gdb_heapx.heap.walk import take_tally
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.mappings import Mapping

MIB = 1 << 20


def heap_with(*chunks, machine=AMD64, release=(2, 36)):
    """Return a heap whose main arena has these (state, size), and their addresses."""
    heap = HeapBuilder(machine, release)
    return heap, [heap.main.add(state, size) for state, size in chunks]


def walked(heap, overlay=None):
    target, arena = heap.target(), heap.main
    first = heap.layout.first_chunk(arena.heaps[0][0])
    main = Heap(0, first, first, arena.top, None, 0)
    return take_tally(target.space, heap.layout, main, overlay or Overlay.empty(), None)


def main_of(heap):
    snapshot = take(heap.target())
    return snapshot.arenas()[0], snapshot.problems


def assert_book(heap):
    """The figures of every arena are those of the builder's book."""
    snapshot = take(heap.target())
    assert not snapshot.problems
    for figures, arena in zip(snapshot.arenas(), heap.arenas):
        assert figures.in_use == arena.book[USED, "bytes"]
        assert figures.overhead == arena.overhead + arena.book["struct", "bytes"]
        assert figures.system == arena.system


def test_a_chunk_is_in_use_if_its_successor_says_so():
    tally = walked(heap_with((USED, 64), (FREE, 256), (USED, 96))[0])
    assert +tally.counts.used == {64: 1, 96: 1}
    assert dict(tally.counts.free) == {256: 1}


def test_chunks_are_counted_by_size():
    tally = walked(heap_with((USED, 64), (USED, 64), (FREE, 64), (USED, 32))[0])
    assert (tally.counts.used[64], tally.counts.used[32], tally.counts.free[64]) == (2, 1, 1)
    assert tally.counts.bytes == 224


def test_the_walk_ends_at_top():
    heap, _ = heap_with((USED, 64))
    assert walked(heap).end == heap.main.top


def test_the_sum_of_addresses_identifies_the_free_chunks():
    heap, (_, first, _, second, _) = heap_with(
        (USED, 64), (FREE, 256), (USED, 32), (UNSORTED, 512), (USED, 32)
    )
    assert walked(heap).linkage.links.chunks == first + second


def test_an_arena_without_chunks_has_only_top():
    heap = HeapBuilder()
    assert main_of(heap)[0].in_use == 0
    assert_book(heap)


@pytest.mark.parametrize("before", [32, 16 * 3, 4096])
@pytest.mark.parametrize("state", [USED, FREE])
def test_a_chunk_that_begins_at_a_block_boundary_is_counted(before, state):
    heap = HeapBuilder()
    boundary = heap.brk // AT_ONCE * AT_ONCE + 3 * AT_ONCE
    heap.main.used_up_to(boundary - before)
    heap.main.add(state, before)
    heap.main.add(USED, 64)
    heap.main.add(FREE, 640)
    heap.main.add(USED, 64)
    assert_book(heap)


@pytest.mark.parametrize("header", [16, 32, 48])
def test_a_chunk_that_crosses_a_block_boundary_is_counted_once(header):
    heap = HeapBuilder()
    heap.main.used_up_to(heap.brk // AT_ONCE * AT_ONCE + AT_ONCE - header)
    heap.main.add(FREE, 4096)
    heap.main.add(USED, 4096)
    assert_book(heap)


@pytest.mark.parametrize("state", [USED, FREE])
def test_a_chunk_bigger_than_blocks_is_stepped_over(state):
    heap, _ = heap_with((USED, 64), (state, 5 * MIB + 48), (USED, 64), (FREE, 64), (USED, 32))
    assert_book(heap)


def test_the_inside_of_a_big_chunk_is_not_read():
    heap, (_, big, _) = heap_with((USED, 64), (USED, 8 * MIB), (USED, 64))
    target = heap.target()
    heap.memory.reads.clear()
    walked(heap)
    inside = [(a, n) for a, n in heap.memory.reads if big + 2 * MIB <= a and a + n < big + 7 * MIB]
    assert target
    assert not inside


def test_top_is_not_read():
    heap, _ = heap_with((USED, 64))
    heap.main.close(64 * MIB)
    walked(heap)
    assert sum(size for _, size in heap.memory.reads) < 2 * MIB


def test_the_last_chunk_in_use_is_the_one_below_the_free_ones():
    heap, chunks = heap_with((USED, 64), (USED, 96), (FREE, 512), (FAST, 48))
    assert main_of(heap)[0].last_in_use == chunks[1]


def test_the_last_chunk_in_use_is_not_a_cached_one_in_another_block():
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 1)
    boundary = heap.brk // AT_ONCE * AT_ONCE + AT_ONCE
    heap.main.used_up_to(boundary - 512)
    last = heap.main.add(USED, 512 - 64)
    heap.main.add(TCACHE, 64, cache)
    heap.main.add(FREE, 4096)
    heap.main.add(TCACHE, 64, cache)
    assert main_of(heap)[0].last_in_use == last


# Damage: the walk ends there, with a problem that names the place.


def damaged(index, word):
    """Damage one size word of eight chunks; return the arena's figures, its problem, and place."""
    heap, chunks = heap_with(*[(USED, 64)] * 8)
    other = heap.arena()
    other.add(USED, 640)
    heap.poke(chunks[index] + 8, word)
    snapshot = take(heap.target())
    assert snapshot.arenas()[1].in_use == 640
    assert [p.arena for p in snapshot.problems] == [0]
    return snapshot.arenas()[0], snapshot.problems[0], chunks[index]


@pytest.mark.parametrize("index", [0, 3, 7])
@pytest.mark.parametrize(
    "word", [0, 1, 0x11, 0x43, 0x45, 0x49], ids=["zero", "bare", "small", "mmapped", "arena", "odd"]
)
def test_an_impossible_size_word_costs_only_its_arena(index, word):
    figures, problem, chunk = damaged(index, word)
    assert figures.in_use is None
    assert problem.address == chunk


@pytest.mark.parametrize("word", [0x48, 0x1000_0000], ids=["odd", "beyond the heap"])
def test_damage_does_not_tell_the_state_of_the_chunk_before_it(word):
    """Neither word has PREV_INUSE, which would say that the chunk in use before it is free."""
    heap, chunks = heap_with((USED, 64), (FREE, 96), (USED, 64), (USED, 64), (USED, 64))
    heap.poke(chunks[3] + 8, word)
    tally = walked(heap)
    assert tally.end == chunks[3]
    assert (+tally.counts.free, +tally.counts.used) == ({96: 1}, {64: 1})


def test_a_damaged_arena_still_has_its_other_figures():
    figures, _, _ = damaged(3, 0)
    assert figures.top
    assert figures.system


@pytest.mark.parametrize("size", [PAGE * 4, MIB, 1 << 40, (1 << 64) - 16])
def test_a_size_beyond_the_heap_is_told_at_the_chunk_that_has_it(size):
    figures, problem, chunk = damaged(3, size | 1)
    assert figures.in_use is None
    assert problem.address == chunk
    assert "-" not in problem.statement


DAMAGED_SIZES = {
    "used": lambda heap: heap.main.chunks[1][0] + heap.word,
    "unsorted": lambda heap: heap.main.bins[1][0] + heap.word,
    "large": lambda heap: heap.main.bins[121][0] + heap.word,
    "top": lambda heap: heap.main.top + heap.word,
}


@pytest.mark.parametrize("place", DAMAGED_SIZES.values(), ids=DAMAGED_SIZES)
def test_a_damaged_size_does_not_ask_for_the_pages_of_all_memory(place):
    heap = usual()
    heap.residency = Pages()
    heap.target()
    heap.poke(place(heap), (1 << 60) | 1)
    assert take(heap.target()).problems


def test_a_wrong_but_possible_size_does_not_go_unnoticed():
    heap, chunks = heap_with((USED, 64), (USED, 64), (FREE, 256), (USED, 64))
    heap.poke(chunks[1] + 8, (64 + 256) | 1)
    _, problems = main_of(heap)
    assert problems


def test_a_hole_in_the_heap_is_a_problem_with_its_address():
    heap, _ = heap_with(*[(USED, 4096)] * 1000)
    target = heap.target()
    data = heap.memory.regions.pop(heap.brk)
    heap.memory.regions[heap.brk] = data[: 2 * MIB]
    heap.memory.regions[heap.brk + 3 * MIB] = data[3 * MIB :]
    snapshot = take(target)
    assert snapshot.arenas()[0].in_use is None
    assert [p.code for p in snapshot.problems] == ["unreadable"]
    assert snapshot.problems[0].address == pytest.approx(heap.brk + 2 * MIB, abs=2 * MIB)


# The end of a heap that was superseded.


@pytest.mark.parametrize("machine", [AMD64, I386, ARM], ids=["64", "i386", "32"])
@pytest.mark.parametrize("room", [32, 48, 64, 80, 512])
def test_the_fenceposts_of_an_older_heap_are_overhead(machine, room):
    heap = HeapBuilder(machine)
    arena = heap.arena()
    arena.add(USED, 64)
    arena.supersede(room)
    arena.add(USED, 96)
    arena.supersede(room)
    arena.add(USED, 96)
    assert_book(heap)


def test_an_older_top_that_was_smaller_than_a_chunk_is_no_users_chunk():
    heap = HeapBuilder()
    arena = heap.arena()
    arena.add(USED, 64)
    arena.supersede(48)  # old_size is 16: its header becomes 0x21, right before raw 1
    _, end = arena.heaps[0]
    assert heap.peek(end - 48 + 8) == 0x21
    assert heap.peek(end - 16 + 8) == 1
    assert_book(heap)


def test_a_damaged_chunk_behind_a_larger_one_is_no_fencepost():
    heap, chunks = heap_with((USED, 32), (USED, 4096), (USED, 64))
    heap.put(chunks[-1] + 8, 1)
    assert [(p.code, p.address) for p in main_of(heap)[1]] == [("walk_ended", chunks[-1])]


def test_before_damage_only_the_free_chunk_with_another_prev_size_behind_it_is_named():
    heap, chunks = heap_with(
        (USED, 64), (FREE, 256), (USED, 96), (FREE, 272), (USED, 112), (USED, 64)
    )
    heap.put(chunks[2], 0x73)
    heap.put(chunks[5] + 8, 0x73)
    codes = [("bad_size", chunks[5]), ("bad_prev_size", chunks[1])]
    assert [(p.code, p.address) for p in main_of(heap)[1]] == codes


def test_the_heaps_of_an_arena_add_up():
    heap = HeapBuilder()
    arena = heap.arena()
    for _ in range(3):
        arena.add(USED, 640)
        arena.add(FREE, 1280)
        arena.supersede(512)
    arena.add(USED, 640)
    figures = take(heap.target()).arenas()[1]
    assert [h.address for h in figures.heaps] == [base for base, _ in arena.heaps]
    assert sum(h.size for h in figures.heaps) == figures.system
    assert sum(h.in_use for h in figures.heaps) == figures.in_use
    assert sum(h.free for h in figures.heaps) == figures.binned + figures.top


# Another user of sbrk.


@pytest.mark.parametrize("machine", [AMD64, I386, ARM], ids=["64", "i386", "32"])
@pytest.mark.parametrize("gap", [PAGE, 123, 5 * PAGE + 8, 3 * MIB])
@pytest.mark.parametrize("room", [32, 48, 512])
def test_the_gap_of_a_foreign_sbrk_is_overhead(machine, gap, room):
    heap = HeapBuilder(machine)
    heap.main.add(USED, 64)
    heap.main.foreign_sbrk(gap, room)
    heap.main.add(USED, 256)
    heap.main.add(FREE, 512)
    heap.main.add(USED, 64)
    assert_book(heap)


def test_two_foreign_sbrks_make_three_segments():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    for gap in (PAGE, 333):
        heap.main.foreign_sbrk(gap)
        heap.main.add(USED, 256)
    assert_book(heap)
    assert len(take(heap.target()).arenas()[0].heaps) == 3


def test_what_the_other_user_keeps_is_not_taken_for_chunks():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    gap = heap.main.foreign_sbrk(2 * PAGE)
    for offset in range(0, 2 * PAGE, 64):
        heap.put(gap + offset + 8, 0x41)
    heap.put(gap + 2 * PAGE - 56, 0x51)
    heap.main.add(USED, 256)
    assert_book(heap)


def test_a_segment_behind_a_gap_may_be_all_top():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    heap.main.foreign_sbrk(2 * PAGE)
    assert_book(heap)


def test_a_gap_that_cannot_be_read_costs_only_its_arena():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    gap = heap.main.foreign_sbrk(16 * PAGE)
    heap.main.add(USED, 256)
    target = heap.target()
    data = heap.memory.regions.pop(heap.brk)
    heap.memory.regions[heap.brk] = data[: gap - heap.brk]
    heap.memory.regions[gap + 8 * PAGE] = data[gap - heap.brk + 8 * PAGE :]
    assert take(target).arenas()


# A main arena that lives in mmaps.


def in_mmaps(machine=AMD64, room=512):
    heap = HeapBuilder(machine)
    heap.main.add(USED, 64)
    heap.main.add(FREE, 640)
    places = (0x7F2000000000, 0x7F1F00000000) if heap.word == 8 else (0xB0000000, 0xA8000000)
    for place in places:
        heap.main.next_region(place, room)
        heap.main.add(USED, 96)
        heap.main.add(FREE, 4096)
        heap.main.add(USED, 96)
    heap.main.close(MIB)
    return heap


@pytest.mark.parametrize("room", [32, 64, 512])
def test_a_main_arena_in_mmaps_is_found(room):
    assert_book(in_mmaps(room=room))


def test_a_main_arena_in_mmaps_is_found_where_an_old_top_left_no_chunk():
    assert_book(in_mmaps(room=48))


def test_a_main_arena_in_mmaps_is_found_on_i386():
    assert_book(in_mmaps(I386))


def test_a_mapping_that_cannot_be_read_does_not_hide_the_main_arena():
    heap = in_mmaps()
    heap.unreadable.append(Mapping(0x7F0000000000, 0x7F0000100000, "rw-p", 0, ""))
    assert_book(heap)


# What the boundary tags and the large bins say twice.


def large_chunks():
    """Return a heap with large chunks in two bins, of several sizes in one, and their addresses."""
    sizes = (5008, 5008, 5056, 5104, 5056, 5104, 20000)
    heap, chunks = heap_with(*[part for s in sizes for part in ((FREE, s), (USED, 64))])
    heap.main.close()
    return heap, chunks[::2]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("value", [0, 8, 0x4141414141414140])
@pytest.mark.few(2)
def test_a_wrong_prev_size_behind_any_free_chunk_is_named_and_costs_no_figure(machine, value):
    for number in range(6):
        heap = usual(machine)
        arena = heap.arenas[number % 3]
        free = [(c, size) for c, size, state in arena.chunks if state in (FREE, UNSORTED)]
        chunk, size = free[number % len(free)]
        sound = take(heap.target()).arenas()[arena.index].in_use
        heap.poke(chunk + size, value % (1 << 8 * heap.word))
        snapshot = take(heap.target())
        (problem,) = snapshot.problems
        assert (problem.code, problem.arena) == ("bad_prev_size", arena.index)
        assert problem.address == chunk
        assert snapshot.arenas()[arena.index].in_use == sound


@pytest.mark.parametrize("window", [64, 4096])
def test_a_wrong_prev_size_is_seen_where_reads_end_too(monkeypatch, window):
    monkeypatch.setattr("gdb_heapx.heap.scan.SMALLEST_READ", window)
    monkeypatch.setattr("gdb_heapx.heap.scan.AT_ONCE", window)
    for number in range(8):
        heap, chunks = heap_with(*[(FREE, 96), (USED, 32)] * 8)
        heap.main.close()
        heap.poke(chunks[2 * number] + 96, 80)
        (problem,) = take(heap.target()).problems
        assert (problem.code, problem.address) == ("bad_prev_size", chunks[2 * number])


@pytest.mark.parametrize("value", [0, 0x4141414141414141, "own", "other"])
@pytest.mark.parametrize("offset", [32, 40], ids=["fd_nextsize", "bk_nextsize"])
@pytest.mark.few(2)
def test_a_wrong_link_to_another_size_is_named_and_costs_no_figure(value, offset):
    for number in range(7):
        heap, chunks = large_chunks()
        chunk = chunks[number]
        wrong = {"own": chunk + 64, "other": heap.main.top}.get(value, value)
        if heap.peek(chunk + offset) == wrong:
            continue
        sound = take(heap.target()).arenas()[0].binned
        heap.poke(chunk + offset, wrong)
        snapshot = take(heap.target())
        (problem,) = snapshot.problems
        assert (problem.code, problem.arena, problem.address) == ("bad_nextsize", 0, chunk)
        assert f"chunk {chunk:#x} is {wrong:#x} and not" in problem.statement
        assert snapshot.arenas()[0].binned == sound


# Damage behind the gap of a foreign sbrk.


def behind_a_gap(last_word):
    """Return a heap with ten chunks behind a gap; their memory ends with this word."""
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    heap.main.foreign_sbrk(2 * PAGE)
    chunks = [heap.main.add(USED, 96) for _ in range(10)]
    heap.main.close()
    for chunk in chunks:
        heap.put(chunk + 96, last_word)
    return heap, chunks


def test_chunks_behind_a_gap_whose_memory_is_full_are_sound():
    heap, _ = behind_a_gap(0x4141414141414141)
    heap.put(heap.main.chunks[2][0], 0)  # nobody writes the prev_size of the first one
    assert not take(heap.target()).problems


@pytest.mark.parametrize("index", range(10))
def test_damage_behind_a_gap_is_not_taken_into_the_gap(index):
    heap, chunks = behind_a_gap(0x4141414141414141)
    heap.poke(chunks[index] + 8, 0x4141414141414141)
    problems = take(heap.target()).problems
    assert {p.arena for p in problems} == {0}
    after = chunks[index + 1] if index < 9 else heap.main.top
    assert {p.address for p in problems} & {chunks[index], after}


@pytest.mark.parametrize("index", [4, 9])
def test_a_last_chunk_behind_a_gap_that_leads_nowhere_hides_no_segment(index):
    heap, chunks = behind_a_gap(0)
    for chunk in chunks[index:]:
        heap.poke(chunk + 8, 0x4141414141414141)
    (problem,) = take(heap.target()).problems
    assert problem.address == chunks[index]


def test_looking_for_the_begin_behind_a_gap_takes_bounded_time():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    gap = heap.main.foreign_sbrk(64 * PAGE)
    for offset in range(0, 64 * PAGE, 32):
        heap.put(gap + offset + 8, 0x21)
    heap.main.add(USED, 96)
    heap.main.close()
    heap.poke(heap.main.chunks[-1][0] + 8, 0)
    heap.memory.reads.clear()
    assert take(heap.target()).problems
    assert sum(size for _, size in heap.memory.reads) < 64 << 20
