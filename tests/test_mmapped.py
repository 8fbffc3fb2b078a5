"""Chunks with mappings of their own, on built mappings: cut by the kernel, too many, too few."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from itertools import accumulate, combinations

import pytest
from heapbuilder import AMD64, I386, PAGE, USED, HeapBuilder, Pages, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from sessions import Taken

from gdb_heapx.cli.execute import Terminal, execute
from gdb_heapx.heap.counted import without_surplus
from gdb_heapx.heap.mapsearch import Stretch, find_mmapped, gaps, stretches
from gdb_heapx.heap.mmapped import MmappedChunk, MmappedChunks
from gdb_heapx.heap.states import Search
from gdb_heapx.snapshots.ledger import account
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.regions import Owner
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.mappings import Mapping
from gdb_heapx.target.pages import RESIDENT, UNTOUCHED
from gdb_heapx.why.causes import find_causes

CUT = ("rw-p", "r--p", "---p", "rwxp")  # as mprotect leaves a part; the first as madvise does


def cut_at_random(seed, heap, mappings):
    """Cut mappings of chunks as the kernel does; their first pages stay as malloc made them."""
    chunks = {start + PAGE: start + size for start, size in heap.mmaps}
    rows = []
    for row in mappings:
        inside = [a for a in chunks if row.start <= a < row.end]
        edges = {row.start, row.end}
        for first in inside:
            edges |= {first, min(chunks[first], row.end)}
            edges |= {seed.randrange(first, chunks[first], PAGE) for _ in range(2)}
        edges = sorted(edge for edge in edges if row.start <= edge <= row.end)
        for start, end in zip(edges, edges[1:]):
            own = any(first <= start < chunks[first] for first in inside)
            rights = seed.choice(CUT) if own else row.permissions
            name = seed.choice(["", "[anon:buffer]"]) if own else row.name
            rows.append(row._replace(start=start, end=end, permissions=rights, name=name))
    return tuple(rows)


@tried(150)
@given(st.randoms(use_true_random=False))
def test_chunks_are_found_however_the_kernel_cuts_their_mappings(seed):
    heap = HeapBuilder(seed.choice([AMD64, I386]), seed.choice([(2, 36), (2, 41), (2, 43)]))
    heap.main.add(USED, 640)
    for _ in range(seed.randrange(1, 12)):
        offset = seed.choice([0, 0, PAGE - heap.layout.header])
        heap.mmapped(seed.randrange(3, 80) * PAGE, offset, seed.random() < 0.3)
    target = heap.target()
    (whole,) = take(target).mallocs
    cut = take(changed(target, mappings=cut_at_random(seed, heap, target.space.mappings)))
    (malloc,) = cut.mallocs
    assert malloc.mmapped_certain
    assert malloc.mmapped == whole.mmapped
    assert [(c.start, c.mapping) for c in malloc.mmapped] == sorted(heap.mmaps)
    owned = account(cut).of(Owner.MMAPPED).bytes
    assert owned == sum(size for _, size in heap.mmaps)


def test_a_damaged_header_is_named_though_the_program_has_a_mapping_beside():
    heap = HeapBuilder()
    chunks = [heap.mmapped((35 + number) * PAGE) for number in range(4)]
    heap.target()
    heap.poke(chunks[-1] + 8, 0)
    end = sum(heap.mmaps[-1])
    beside = Mapping(end, end + 8 * PAGE, "rw-p", 0, "[anon:the program's]")
    heap.unreadable.append(beside)
    (problem,) = take(heap.target()).problems
    assert (problem.code, problem.address) == ("bad_mmapped", chunks[-1])


def test_each_page_is_read_once_and_of_large_chunks_only_the_first():
    heap = HeapBuilder()
    heap.residency = Pages()
    small = [heap.mmapped(2 * PAGE) for _ in range(300)]
    for _ in range(50):
        heap.mmapped(40 * PAGE)
    target = heap.target()
    heap.memory.reads.clear()
    (malloc,) = take(target, Scope(search=Search.MAPPINGS)).mallocs
    assert malloc.mmapped_certain
    first, last = small[0], sum(heap.mmaps[-1])
    reads = [(a, size) for a, size in heap.memory.reads if first <= a < last]
    ends = [a + size for a, size in reads]
    assert all(end <= following for end, (following, _) in zip(ends, reads[1:]))
    assert len(reads) < 70
    assert sum(size for _, size in reads) < (700 + 50 + 300) * PAGE


def test_the_headers_of_small_chunks_are_read_many_at_once():
    heap = HeapBuilder()
    heap.residency = Pages()
    for _ in range(300):
        heap.mmapped(2 * PAGE)
    start, end, found = heap.mmaps[0][0], sum(heap.mmaps[-1]), list[list[int]]()
    for search in (Search.MAPPINGS, Search.HEADERS):
        target = heap.target()
        heap.memory.reads.clear()
        assert take(target, Scope(search=search)).mallocs[0].mmapped_certain
        found.append([size for address, size in heap.memory.reads if start <= address < end])
    mappings, headers = found
    assert len(headers) - len(mappings) < 6
    assert sum(headers) - sum(mappings) <= 600 * PAGE


@tried(150)
@given(st.randoms(use_true_random=False))
def test_the_header_of_an_aligned_chunk_lies_where_glibc_puts_it(seed):
    heap = HeapBuilder(seed.choice([AMD64, I386]), seed.choice([(2, 36), (2, 41), (2, 43)]))
    heap.main.add(USED, 640)
    layout, chunks = heap.layout, [heap.mmapped(PAGE)]
    for _ in range(seed.randrange(1, 16)):
        start, size = sum(heap.mmaps[-1]), seed.choice([1, 2, 3, 20, 40]) * PAGE
        first, alignment = layout.first_chunk(start), 1 << seed.randrange(5, 18)
        chunk = -(-(first + layout.header) // alignment) * alignment - layout.header
        if chunk - first < layout.min_size:  # malloc.c, _int_memalign
            chunk += alignment
        plain = alignment + 2 * layout.min_size > size or seed.random() < 0.3
        chunks.append(heap.mmapped(size, 0 if plain else chunk - start))
    (malloc,) = take(heap.target()).mallocs
    assert malloc.mmapped_certain
    assert [c.address for c in malloc.mmapped] == chunks
    assert [(c.start, c.mapping) for c in malloc.mmapped] == heap.mmaps


@pytest.mark.slow
def test_a_mmapped_chunk_takes_words_and_no_object():
    """Seven: where it and its mapping lie, and what of that is in memory."""

    def peak(number):
        heap = HeapBuilder()
        heap.residency = Pages()
        for _ in range(number):
            heap.mmapped(PAGE)
        target = heap.target()
        tracemalloc.start()
        try:
            opened = Taken(take(target)).opened
            for line in ("mmapped --format json", "mmapped --sort size"):
                execute(line.split(), opened, Terminal(80, colour=False), lambda piece: None)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is imported and cached
    assert peak(6000) - peak(2000) < 10 * 8 * 4000


def test_what_only_counts_mmapped_chunks_reads_none_and_in_use_is_the_same():
    heap = HeapBuilder()
    heap.main.add(USED, 640)
    heap.main.close(64 << 10)
    heap.mmapped(40 * PAGE)
    target = heap.target()
    searched = take(target)
    heap.memory.reads.clear()
    counted = take(target, Scope(search=Search.NONE))
    start, size = heap.mmaps[0]
    assert not [a for a, _ in heap.memory.reads if start <= a < start + size]
    assert counted.in_use == searched.in_use
    assert counted.in_use >= 40 * PAGE
    with pytest.raises(ValueError, match="only counted"):
        account(counted)


def test_memory_behind_a_chunk_that_nobody_has_touched_is_not_read():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.mmapped(40 * PAGE)
    heap.mmapped(9000 * PAGE)
    heap.target()
    for name, value in (("n_mmaps", 1), ("mmapped_mem", 40 * PAGE)):
        heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
    start, size = heap.mmaps[1]
    heap.residency.mark(start, start + size, UNTOUCHED)
    heap.residency.mark(start + 8000 * PAGE, start + 8001 * PAGE, RESIDENT)
    heap.memory.reads.clear()
    take(heap.target(), Scope(search=Search.MAPPINGS))
    read = sum(s for a, s in heap.memory.reads if start <= a < start + size)
    assert read <= 2 << 20


# Too many: another malloc's, or what only looks like a chunk.


def surplus(*pages, number, total):
    """Return a snapshot with chunks of so many pages, of which mp_ counts fewer."""
    heap = HeapBuilder()
    for size in pages:
        heap.mmapped(size * PAGE)
    heap.target()
    for name, value in (("n_mmaps", number), ("mmapped_mem", total * PAGE)):
        heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
    return take(heap.target())


def test_what_is_too_much_is_dropped_where_there_is_one_choice():
    (malloc,) = surplus(35, 40, 50, 61, number=2, total=85).mallocs
    assert malloc.mmapped_certain
    assert [c.mapping // PAGE for c in malloc.mmapped] == [35, 50]
    assert malloc.mmapped_lost == 0


@pytest.mark.parametrize("pages", [(35, 40, 50, 55), (35, 35, 40)], ids=["two sums", "twins"])
def test_where_there_is_more_than_one_choice_nothing_is_certain(pages):
    """35 + 55 is 40 + 50; and of two that are alike nothing tells which it is."""
    number, total = (2, 90) if len(pages) == 4 else (2, 75)
    snapshot = surplus(*pages, number=number, total=total)
    (malloc,) = snapshot.mallocs
    assert not malloc.mmapped_certain
    assert len(malloc.mmapped) == len(pages)
    assert account(snapshot).of(Owner.MMAPPED).bytes == total * PAGE


def test_no_mapping_is_called_outside_that_may_be_a_chunk_s():
    snapshot = surplus(35, 35, 40, number=2, total=75)
    (finding,) = (each for each in find_causes(snapshot) if each.code == "outside")
    assert not any(" at 0x" in line for line in finding.evidence)
    certain = surplus(35, 36, 40, number=2, total=75)
    (finding,) = (each for each in find_causes(certain) if each.code == "outside")
    assert any(" at 0x" in line for line in finding.evidence)


@tried(600)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 8), st.data())
def test_a_surplus_is_dropped_exactly_where_one_choice_has_it(pages, number, data):
    found = [
        MmappedChunk(i << 20, n * PAGE, i << 20, (i << 20) + n * PAGE) for i, n in enumerate(pages)
    ]
    number = min(number, len(found))
    total = data.draw(st.integers(1, sum(pages))) * PAGE
    choices = [c for c in combinations(found, number) if sum(x.mapping for x in c) == total]
    kept = list(without_surplus(MmappedChunks.of(0, found), number, total))
    unique = len(choices) == 1 and number < len(found)
    assert kept == (list(choices[0]) if unique else found)


@pytest.mark.parametrize(("number", "sizes"), [(3000, 1 << 20), (3000, 50), (60000, 3)])
@pytest.mark.slow
def test_too_many_choices_are_not_tried(number, sizes):
    rng = random.Random(3)
    edges = list(accumulate(rng.randint(1, sizes) * PAGE for _ in range(number + 1)))
    found = MmappedChunks.of(0, (MmappedChunk(s, e - s, s, e) for s, e in zip(edges, edges[1:])))
    assert without_surplus(found, number // 2, found.mapped // 2) is found


@pytest.mark.parametrize("more", [8, 16, 24, PAGE - 8])
@pytest.mark.parametrize("number", [1, 2])
def test_a_mapping_of_a_damaged_core_may_end_within_a_page(more, number):
    heap = HeapBuilder()
    heap.mmapped(3 * PAGE)
    target = heap.target()
    ((start, size),) = heap.mmaps
    heap.memory.regions[start + size] = bytearray(PAGE)
    place = Stretch(start, start + size + more, start + size + more)
    (chunk,) = find_mmapped(target.space, heap.layout, [place], number, number * size)
    assert (chunk.start, chunk.end) == (start, start + size)


# Where they may lie.


@tried(300)
@given(st.randoms(use_true_random=False))
def test_gaps_are_what_no_chunk_has(seed):
    edges = sorted(seed.sample(range(100), seed.randrange(0, 20) * 2))
    found = [MmappedChunk(s, e - s, s, e) for s, e in zip(edges[::2], edges[1::2])]
    low, high = sorted(seed.sample(range(101), 2))
    place = Stretch(low, high, 100)
    missing = set(range(low, high)) - {a for c in found for a in range(c.start, c.end)}
    between = list(gaps(place, MmappedChunks.of(0, found)))
    told = Counter(a for gap in between for a in range(gap.start, gap.end))
    assert told == Counter(missing)
    assert all(gap.end <= gap.limit <= 100 for gap in between)


def test_a_stretch_reaches_through_what_cannot_be_read_but_has_no_header_there():
    rows = [Mapping(s * PAGE, e * PAGE, rights, 0, "") for s, e, rights in (
        (1, 3, "rw-p"), (3, 4, "r--p"), (4, 9, "---p"), (9, 10, "rw-p"), (20, 30, "rw-p"),
    )]  # fmt: skip
    assert [tuple(n // PAGE for n in each) for each in stretches(rows)] == [
        (1, 4, 10),
        (9, 10, 10),
        (20, 30, 30),
    ]
