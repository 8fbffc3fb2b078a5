"""Free lists: what they hold, and what a damaged one costs."""

from __future__ import annotations

from itertools import chain, combinations, combinations_with_replacement, product

import pytest
from heapbuilder import (
    AMD64,
    ARM,
    FAST,
    FREE,
    I386,
    MACHINES,
    S390X,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    usual,
)

from gdb_heapx.heap.states import NAMES, REGULAR, State
from gdb_heapx.snapshots.take import take

RELEASES = [(2, 23), (2, 26), (2, 29), (2, 31), (2, 32), (2, 36), (2, 42), (2, 43), (2, 44)]


def with_bins(*chunks, machine=AMD64, release=(2, 36)):
    """Return a heap with these free chunks, chunks in use between them, and their addresses."""
    heap = HeapBuilder(machine, release)
    addresses = []
    for state, size in chunks:
        heap.main.add(USED, 64)
        addresses.append(heap.main.add(state, size))
    heap.main.add(USED, 64)
    return heap, addresses


def bins_of(heap, arena=0):
    return {(NAMES[b.kind], b.index): b for b in take(heap.target()).arenas()[arena].bins.bins}


def problems_of(heap):
    return take(heap.target()).problems


@pytest.mark.parametrize("release", RELEASES, ids=str)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.few(12)
def test_lists_of_every_release_are_followed(machine, release):
    heap = usual(machine, release)
    snapshot = take(heap.target())
    assert not snapshot.problems
    for figures, arena in zip(snapshot.arenas(), heap.arenas):
        book = arena.book
        chunks = figures.chunks
        assert (chunks[State.FAST], figures.fast) == (book[FAST], book[FAST, "bytes"])
        assert (chunks[State.TCACHE], figures.tcache) == (book[TCACHE], book[TCACHE, "bytes"])
        assert chunks[State.BINNED] == book[FREE] + book[UNSORTED]
        assert figures.binned == book[FREE, "bytes"] + book[UNSORTED, "bytes"]


def test_chunks_are_listed_by_bin():
    heap, _ = with_bins((FREE, 256), (FREE, 256), (UNSORTED, 2048), (FREE, 2048), (FAST, 48))
    bins = bins_of(heap)
    assert {key: (b.chunks, b.amount.bytes) for key, b in bins.items()} == {
        ("fast", 1): (1, 48),
        ("unsorted", 1): (1, 2048),
        ("small", 16): (2, 512),
        ("large", 80): (1, 2048),
    }


def test_a_bin_knows_its_range():
    heap, _ = with_bins((FREE, 256), (FREE, 2048), (FREE, 1 << 20), (UNSORTED, 32))
    ranges = {key: (b.min_size, b.max_size) for key, b in bins_of(heap).items()}
    assert ranges["small", 16] == (256, 256)
    assert ranges["large", 80] == (2048, 2096)
    assert ranges["large", 126] == (524288, None)
    assert ranges["unsorted", 1] == (32, None)


def test_a_large_bin_holds_different_sizes():
    heap, _ = with_bins((FREE, 4096), (FREE, 4096 + 16), (FREE, 4096 + 256))
    assert bins_of(heap)["large", 99].amount.bytes == 3 * 4096 + 16 + 256


def test_an_empty_bin_is_not_listed():
    assert bins_of(HeapBuilder()) == {}


def test_a_main_arena_that_was_never_used_has_no_bins():
    heap = HeapBuilder()
    target = heap.target()
    start, size = heap.layout.state["bins"]
    heap.memory.write(heap.main.address + start, bytes(size))
    assert not take(target).problems


@pytest.mark.parametrize("release", [(2, 31), (2, 36)], ids=str)
def test_a_fast_list_is_followed_with_and_without_safe_linking(release):
    heap, _ = with_bins(*[(FAST, 48)] * 5, release=release)
    assert bins_of(heap)["fast", 1].chunks == 5


def test_fast_chunks_are_not_in_use():
    heap, _ = with_bins(*[(FAST, 48)] * 5)
    assert take(heap.target()).arenas()[0].chunks[State.IN_USE] == 6


def with_tcache(machine=AMD64, release=(2, 36), sizes=(64, 64, 96)):
    heap = HeapBuilder(machine, release)
    cache = heap.thread(heap.main, 1234, "main")
    heap.main.add(USED, 64)
    chunks = [heap.main.add(TCACHE, size, cache) for size in sizes]
    heap.main.add(USED, 64)
    return heap, cache, chunks


def test_a_tcached_chunk_is_not_in_use():
    heap, _, _ = with_tcache()
    figures = take(heap.target()).arenas()[0]
    assert (figures.chunks[State.IN_USE], figures.chunks[State.TCACHE]) == (2, 3)
    assert figures.tcache == 224


def test_a_tcache_struct_is_overhead():
    heap, _, _ = with_tcache()
    assert take(heap.target()).arenas()[0].overhead == 0x290


@pytest.mark.parametrize("machine", [AMD64, I386, ARM, S390X], ids=["64", "i386", "32", "be"])
def test_a_tcache_is_listed_by_thread_and_bin(machine):
    heap, _, _ = with_tcache(machine)
    (cache,) = take(heap.target()).mallocs[0].caches
    assert (cache.name, cache.tcache.lwp) == ("main", 1234)
    assert [(b.min_size, b.chunks, b.amount.bytes) for b in cache.tcache.bins] == [
        (64, 2, 128),
        (96, 1, 96),
    ]


def test_a_tcached_chunk_counts_for_the_arena_that_it_lies_in():
    heap = HeapBuilder()
    other = heap.arena()
    cache = heap.thread(heap.main, 1)
    other.add(TCACHE, 64, cache)
    figures = take(heap.target()).arenas()
    assert [f.tcache for f in figures] == [0, 64]


def test_a_thread_without_a_tcache_has_none():
    heap, cache, _ = with_tcache(sizes=())
    other = heap.thread(heap.main, 99)
    heap.target()
    heap.memory.write(other.pthread + 256 + 16, bytes(8))
    assert [c.tcache.lwp for c in take(heap.target()).mallocs[0].caches] == [cache.lwp]


def test_a_thread_at_the_dummy_of_2_43_has_no_tcache():
    heap, cache, _ = with_tcache(release=(2, 43), sizes=())
    dummy = heap.variable("__tcache_dummy", 16)
    for offset in (0, 8):
        heap.poke(cache.pthread + 256 + 16, dummy + offset)
        snapshot = take(heap.target())
        assert not snapshot.problems
        assert snapshot.mallocs[0].caches == ()


def test_a_large_tcache_bin_of_2_42_is_read():
    heap, cache, _ = with_tcache(release=(2, 42), sizes=())
    chunk = heap.main.add(USED, 8192)
    cache.entries[66] = [chunk + 16]
    snapshot = take(heap.target())
    assert not snapshot.problems
    assert snapshot.arenas()[0].tcache == 8192


# Damage ends one list, and says where.


def one_problem(heap):
    problems = problems_of(heap)
    assert problems
    return problems[0]


@pytest.mark.parametrize("state", [FREE, UNSORTED])
def test_a_circle_in_a_bin_ends_the_list(state):
    heap, chunks = with_bins(*[(state, 256)] * 5)
    heap.poke(chunks[3] + 16, chunks[1])
    problem = one_problem(heap)
    assert problem.arena == 0
    assert problem.address in chunks


@pytest.mark.parametrize(("last", "to"), [(8, 2), (8, 0), (8, 8), (5, 3), (7, 6), (1, 0)])
def test_a_circle_in_a_fastbin_ends_the_list_and_names_the_chunk_that_closes_it(last, to):
    heap, chunks = with_bins(*[(FAST, 48)] * 9)
    heap.poke(chunks[last] + 16, heap.protect(chunks[last] + 16, chunks[to]))
    problem = one_problem(heap)
    assert (problem.code, problem.arena) == ("list_cycle", 0)
    assert problem.address == chunks[last]


def test_a_circle_in_a_tcache_ends_the_list():
    heap, cache, chunks = with_tcache(sizes=[64] * 5)
    heap.poke(chunks[4] + 16, heap.protect(chunks[4] + 16, chunks[0] + 16))
    problem = one_problem(heap)
    assert (problem.code, problem.thread) == ("list_cycle", cache.lwp)
    assert problem.address == chunks[4]


@pytest.mark.parametrize("state", [FREE, UNSORTED])
def test_a_link_to_unmapped_memory_names_the_chunk_that_holds_it(state):
    heap, chunks = with_bins((state, 256), (state, 256))
    heap.poke(chunks[0] + 16, 0x666600001230)
    problem = one_problem(heap)
    assert (problem.code, problem.arena, problem.address) == ("bad_link", 0, chunks[0])
    assert f"chunk {chunks[0]:#x} holds that link: 0x666600001230" in problem.statement


def test_a_head_that_leads_to_unmapped_memory_is_named():
    heap, _ = with_bins((FREE, 256))
    head = heap.main.address + heap.layout.state["bins"].offset + 2 * 15 * 8
    heap.poke(head, 0x666600001230)
    problem = one_problem(heap)
    assert (problem.code, problem.arena, problem.address) == ("bad_link", 0, head)


@pytest.mark.parametrize("release", [(2, 31), (2, 36)], ids=str)
@pytest.mark.parametrize("to", [4, 8, 0x10, 0x666600001230, (1 << 64) - 8])
def test_a_bad_link_of_a_tcache_is_told_as_it_is_stored_and_as_it_is_meant(release, to):
    heap, cache, chunks = with_tcache(release=release, sizes=[64] * 3)
    stored = heap.protect(chunks[1] + 16, to)
    heap.poke(chunks[1] + 16, stored)
    problem = one_problem(heap)
    assert (problem.code, problem.address) == ("bad_link", chunks[1])
    assert (problem.thread, problem.arena) == (cache.lwp, 0)
    assert f"tcache bin 2 of thread {cache.lwp}" in problem.statement
    demangled = f", demangled {to:#x}" if stored != to else ""
    assert f"chunk {chunks[1]:#x} holds that link: {stored:#x}{demangled}" in problem.statement


def test_a_link_that_skips_chunks_is_bad_and_not_the_one_back():
    heap, chunks = with_bins(*[(FREE, 256)] * 4)
    heap.poke(chunks[0] + 16, chunks[2])
    problem = one_problem(heap)
    assert (problem.code, problem.address) == ("bad_link", chunks[0])


def test_a_link_to_no_aligned_address_is_a_problem():
    heap, chunks = with_bins((FREE, 256), (FREE, 256))
    heap.poke(chunks[0] + 16, chunks[1] + 3)
    assert one_problem(heap).code == "bad_link"


def test_a_list_keeps_what_was_counted_before_the_damage():
    heap, chunks = with_bins(*[(FREE, 256)] * 4)
    heap.poke(chunks[2] + 16, 0x666600001230)
    assert bins_of(heap)["small", 16].chunks == 3


def test_a_wrong_back_link_is_a_problem():
    heap, chunks = with_bins(*[(FREE, 256)] * 3)
    heap.poke(chunks[1] + 24, chunks[2])
    problem = one_problem(heap)
    assert (problem.code, problem.address) == ("bad_link", chunks[1])
    assert f"bk is {chunks[2]:#x}" in problem.statement


def test_a_chunk_in_the_wrong_bin_is_a_problem():
    heap, chunks = with_bins((FREE, 256), (FREE, 512))
    heap.poke(chunks[0] + 16, chunks[1])
    heap.poke(chunks[1] + 24, chunks[0])
    assert one_problem(heap).code == "bad_size"


# Three chunks in each of five bins, large ones of two sizes: by the name of the bin.
IN_BINS = {
    "unsorted": [(UNSORTED, 272)] * 3,
    "small 16": [(FREE, 256)] * 3,
    "small 20": [(FREE, 320)] * 3,
    "large 80": [(FREE, 1088), (FREE, 1088), (FREE, 1104)],
    "large 97": [(FREE, 4096), (FREE, 4096), (FREE, 4112)],
}
PAIRS = list(combinations_with_replacement(IN_BINS, 2))


@pytest.mark.parametrize("machine", [AMD64, I386, S390X], ids=["amd64", "i386", "s390x"])
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=map("-".join, PAIRS))
@pytest.mark.few(4)
def test_links_that_are_swapped_between_chunks_of_any_two_bins_are_found(machine, one, other):
    """Each sum over all links stays what it was, and so does the number of chunks in each bin."""
    word = machine.word
    for offset in (2 * word, 3 * word):
        heap, chunks = with_bins(*chain(*IN_BINS.values()), machine=machine)
        assert not problems_of(heap)
        names = [name for name, sizes in IN_BINS.items() for _ in sizes]
        of = {name: [c for c, n in zip(chunks, names) if n == name] for name in IN_BINS}
        for first, second in product(of[one], of[other]):
            links = heap.peek(first + offset), heap.peek(second + offset)
            if links[0] == links[1]:
                continue
            swap(heap, (first + offset, links[1]), (second + offset, links[0]))
            codes = {problem.code for problem in problems_of(heap)}
            assert codes & {"bad_link", "bad_size"}, (first, second)
            swap(heap, (first + offset, links[0]), (second + offset, links[1]))


@pytest.mark.parametrize("sizes", [[(FREE, 256)] * 8, [(FREE, 256 + 32 * i) for i in range(4)]])
def test_chunks_that_swapped_both_links_are_found(sizes):
    """In a list with equal gaps between its chunks, and where each has a bin for itself."""
    heap, chunks = with_bins(*sizes)
    for one, other in combinations(chunks, 2):
        mine, its = ([heap.peek(chunk + at) for at in (16, 24)] for chunk in (one, other))
        swap(heap, *zip((one + 16, one + 24, other + 16, other + 24), its + mine))
        codes = {problem.code for problem in problems_of(heap)}
        assert codes & {"bad_link", "bad_size"}, (one, other)
        swap(heap, *zip((one + 16, one + 24, other + 16, other + 24), mine + its))


@pytest.mark.parametrize(
    "links", [(0, 0), (0x41414141, 0x41414141)], ids=["zeroed", "written over"]
)
@pytest.mark.parametrize("others", [0, 2])
def test_a_free_chunk_whose_links_were_written_over_is_found(links, others):
    heap, chunks = with_bins(*[(FREE, 256)] * (1 + others))
    swap(heap, *zip((chunks[-1] + 16, chunks[-1] + 24), links))
    assert {problem.code for problem in problems_of(heap)} & {"bad_link", "unreadable"}


def test_an_empty_bin_that_leads_back_to_a_chunk_is_a_problem():
    heap, chunks = with_bins((FREE, 256))
    pseudo = heap.layout.bin_at(heap.main.address, 20)
    heap.poke(pseudo + 24, chunks[0])
    assert one_problem(heap).code == "bad_link"


def swap(heap, *words):
    for address, value in words:
        heap.poke(address, value)


def test_links_to_the_next_size_that_are_swapped_are_found():
    heap, chunks = with_bins(*[(FREE, size) for size in (4096, 4112, 4128, 4144)])
    for one, other in combinations(chunks, 2):
        for offset in (32, 40):
            links = heap.peek(one + offset), heap.peek(other + offset)
            swap(heap, (one + offset, links[1]), (other + offset, links[0]))
            assert {problem.code for problem in problems_of(heap)} == {"bad_nextsize"}
            swap(heap, (one + offset, links[0]), (other + offset, links[1]))


@pytest.mark.parametrize("release", [(2, 29), (2, 36), (2, 42)], ids=str)
def test_a_tcache_that_miscounts_is_a_problem(release):
    heap, cache, _ = with_tcache(release=release)
    heap.target()
    index = (64 - 32) // 16
    counts = heap.layout.tcache["num_slots" if release >= (2, 42) else "counts"]
    size = 1 if release < (2, 30) else 2
    heap.memory.write(cache.address + counts.offset + index * size, (4).to_bytes(size, "little"))
    problem = one_problem(heap)
    assert (problem.code, problem.thread) == ("tcache_count", cache.lwp)
    assert problem.address == cache.address


def test_a_tcached_chunk_with_a_wrong_size_is_a_problem():
    heap, _, chunks = with_tcache()
    heap.poke(chunks[2] + 8, 0x71)
    assert "bad_size" in {p.code for p in problems_of(heap)}


def test_a_tcache_entry_outside_of_every_heap_is_a_problem():
    heap, cache, _ = with_tcache(sizes=(64,))
    stray = heap.variable("stray", 64)
    cache.entries[2].append(stray + 16)
    heap.put(stray + 8, 0x41)
    assert take(heap.target()).problems


def test_many_cached_chunks_in_no_heap_are_one_problem():
    heap, cache, _ = with_tcache(sizes=(64,))
    for number in range(5):
        stray = heap.variable(f"stray {number}", 64)
        cache.entries[2].append(stray + 16)
        heap.put(stray + 8, 0x41)
    strays = [p for p in take(heap.target()).problems if p.code == "tcache_stray"]
    assert [(p.thread, p.arena) for p in strays] == [(cache.lwp, None)]
    assert "and 4 more" in strays[0].statement


def test_a_cached_chunk_in_an_arenas_bounds_is_not_called_in_no_heap():
    heap = HeapBuilder()
    arena = heap.arena()
    cache = heap.thread(arena, 7)
    chunk = arena.add(TCACHE, 64, cache)
    arena.add(USED, 64)
    arena.close()
    base, _ = arena.heaps[0]
    heap.target()
    heap.field(heap.layout.heap_info, base, "size", chunk - base)
    (stray,) = (p for p in take(heap.target()).problems if p.code == "tcache_stray")
    assert (stray.arena, stray.thread) == (1, 7)
    assert "beyond what arena 1 uses" in stray.statement


def test_a_chunk_in_two_caches_is_a_problem():
    heap, _, chunks = with_tcache(sizes=(64,))
    other = heap.thread(heap.main, 99)
    other.entries[2] = [chunks[0] + 16]
    assert take(heap.target()).problems


def test_a_chunk_in_a_tcache_and_in_a_bin_is_a_problem():
    heap, cache, _ = with_tcache(sizes=())
    free = heap.main.add(UNSORTED, 64)
    heap.main.add(USED, 64)
    heap.poke(cache.address + heap.layout.tcache["counts"].offset, 1 << 32)
    heap.poke(cache.address + heap.layout.tcache["entries"].offset + 16, free + 16)
    assert take(heap.target()).problems


@pytest.mark.parametrize("offset", [64, (3 << 20) + 64])
def test_a_cached_chunk_inside_another_chunk_is_a_problem(offset):
    heap, cache, _ = with_tcache(sizes=())
    big = heap.main.add(USED, 5 << 20)
    heap.main.add(USED, 64)
    heap.put(big + offset + 8, 0x41)
    cache.entries[2] = [big + offset + 16]
    assert take(heap.target()).problems


def test_a_damaged_tcache_pointer_costs_only_that_tcache():
    heap, _, _ = with_tcache()
    other = heap.thread(heap.main, 99)
    heap.poke(other.pthread + 256 + 16, 0x666600001230)
    snapshot = take(heap.target())
    assert [c.tcache.lwp for c in snapshot.mallocs[0].caches] == [1234]
    assert [(p.code, p.thread) for p in snapshot.problems][:1] == [("bad_tcache", 99)]


@pytest.mark.parametrize("machine", [AMD64, S390X], ids=["amd64", "s390x"])
@pytest.mark.parametrize(("slot", "length"), [(-1, 8), (0, 8), (0, 1)])
def test_a_dtv_slot_that_is_not_filled_yet_leads_to_static_tls(machine, slot, length):
    heap = HeapBuilder(machine)
    block = heap.variable("static TLS", 64)
    cache = heap.thread(heap.main, 1234)
    heap.main.add(TCACHE, 64, cache)
    heap.poke(cache.pthread + 128 + 4 * heap.word, slot % (1 << 64))
    heap.poke(cache.pthread + 128 - 2 * heap.word, length)
    heap.poke(heap.symbols["_link_map"] + 96, cache.pthread - block)
    heap.poke(block + 16, cache.address)
    heap.poke(block + 32, heap.main.address)
    assert take(heap.target()).arenas()[0].tcache == 64


def test_a_broken_thread_list_keeps_the_threads_before_it():
    heap, cache, _ = with_tcache()
    heap.thread(heap.main, 99)
    heap.poke(cache.pthread + 64, 0x666600001230)
    malloc = take(heap.target()).mallocs[0]
    assert [c.tcache.lwp for c in malloc.caches] == [1234]
    assert "thread_list" in {problem.code for problem in malloc.problems}


def test_a_circle_in_the_thread_list_shows_no_thread_twice(monkeypatch):
    heap, cache, _ = with_tcache()
    other = heap.thread(heap.main, 99)
    heap.poke(other.pthread + 64, cache.pthread + 64)
    lwps = [c.tcache.lwp for c in take(heap.target()).mallocs[0].caches]
    assert sorted(lwps) == sorted(set(lwps))


def test_damage_where_a_thread_stands_in_malloc_is_in_motion():
    heap, cache, _ = with_tcache()
    heap.poke(cache.address + heap.layout.tcache["entries"].offset + 16, 0)
    heap.inside = {cache.lwp: "malloc"}
    problems = problems_of(heap)
    assert problems
    assert all(p.in_motion for p in problems if p.thread == cache.lwp)


def test_the_kinds_are_in_mallocs_order():
    assert [NAMES[kind] for kind in REGULAR] == ["unsorted", "small", "large"]
