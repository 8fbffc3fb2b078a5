"""The address space cut by owner: every byte of every mapping has exactly one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from heapbuilder import PAGE, USED, HeapBuilder, Pages, usual
from hypothesis import assume, given
from hypothesis import strategies as st

from gdb_heapx.snapshots.regions import Owner, Span, owner_of
from gdb_heapx.snapshots.take import take
from gdb_heapx.snapshots.tiling import OverlapError, tile
from gdb_heapx.target.amounts import Amount, sum_of
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import RESIDENT, SWAPPED, UNTOUCHED


def usage(resident=0, swapped=0, apart=None):
    return Usage(resident, resident, swapped, 0, 0, 0, False, apart)


def mapping(start, end, name="", kernel=None, permissions="rw-p", inode=0):
    return Mapping(start, end, permissions, inode, name, 0, kernel)


def tiled(mappings, spans, residency=None):
    return tile(SimpleNamespace(mappings=tuple(mappings), residency=residency), spans)


def cut(edges, every=2):
    """Return the ranges between sorted edges: all of them, or every second one."""
    return list(zip(edges, edges[1:]))[::every]


# Tiling.


ranges = st.lists(st.integers(0, 60), unique=True, max_size=16).map(sorted)
SPANNED = (Owner.HEAP, Owner.MMAPPED, Owner.RESERVED, Owner.STACKS)


@given(ranges, ranges, st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.randoms())
def test_the_regions_fill_every_mapping_and_nothing_else(outer, inner, gaps, holes, seed):
    mappings = [mapping(s, e, "[stack]" if s % 3 else "") for s, e in cut(outer, gaps)]
    assume(mappings)  # without any, a remote process's, the spans are all there is
    spans = [Span(s, e, SPANNED[s % 4], s) for s, e in cut(inner, holes)]
    expected = {
        at: next(
            ((span.owner, span.arena) for span in spans if span.start <= at < span.end),
            (owner_of(each), None),
        )
        for each in mappings
        for at in range(each.start, each.end)
    }
    seed.shuffle(mappings)
    seed.shuffle(spans)
    regions = tiled(mappings, spans)
    found = [at for region in regions for at in range(region.span.start, region.span.end)]
    assert found == sorted(expected)
    owners = {
        at: (region.span.owner, region.span.arena)
        for region in regions
        for at in range(region.span.start, region.span.end)
    }
    assert owners == expected
    assert all(region.amount.bytes for region in regions)


def test_a_region_keeps_whose_it_is_and_its_mapping():
    row, span = mapping(0, 15, "[heap]"), Span(10, 20, Owner.HEAP, 3, "/lib/libc.so.6")
    before, heap = tiled([row], [span])
    assert before.mapping == heap.mapping == row
    assert before.span == Span(0, 10, Owner.ANONYMOUS)
    assert heap.span == Span(10, 15, Owner.HEAP, 3, "/lib/libc.so.6")


@pytest.mark.parametrize(
    ("one", "other"), [((0, 10), (9, 20)), ((0, 10), (0, 10)), ((0, 10), (2, 4)), ((2, 4), (0, 10))]
)
def test_two_owners_of_one_byte_are_an_error(one, other):
    with pytest.raises(OverlapError):
        tiled([mapping(0, 40)], [Span(*one, Owner.HEAP), Span(*other, Owner.MMAPPED)])


def test_neighbours_do_not_overlap():
    spans = [Span(0, 10, Owner.HEAP), Span(10, 20, Owner.MMAPPED)]
    assert [region.span for region in tiled([mapping(0, 20)], spans)] == spans


# What of a region is in memory.


def pages():
    residency = Pages()
    for page, state in ((0, RESIDENT), (1, SWAPPED), (2, UNTOUCHED), (3, RESIDENT)):
        residency.mark(page * PAGE, (page + 1) * PAGE, state)
    return residency


def test_a_whole_mapping_has_what_the_kernel_says():
    (region,) = tiled([mapping(0, 4 * PAGE, kernel=usage(7, 5))], [], pages())
    assert region.amount == Amount(4 * PAGE, 7, 5)


def test_a_part_has_what_its_pages_say():
    kernel = usage(2 * PAGE, PAGE)
    span = Span(100, PAGE + 100, Owner.HEAP)
    parts = [
        (region.amount.resident, region.amount.swapped)
        for region in tiled([mapping(0, 4 * PAGE, "", kernel)], [span], pages())
    ]
    assert parts == [(100, 0), (PAGE - 100, 100), (PAGE, PAGE - 100)]


@pytest.mark.parametrize("apart", ["hugetlb", "device"])
@pytest.mark.parametrize("span", [(0, 4 * PAGE), (0, PAGE)])
def test_what_is_not_in_rss_is_nowhere_in_memory(apart, span):
    regions = tiled(
        [mapping(0, 4 * PAGE, "", usage(apart=apart))], [Span(*span, Owner.HEAP)], pages()
    )
    assert {(each.amount.resident, each.amount.swapped) for each in regions} == {(0, 0)}


def test_without_the_kernels_figures_it_is_unknown():
    (region,) = tiled([mapping(0, 4 * PAGE)], [])
    assert region.amount == Amount(4 * PAGE, None, None)


def test_without_pages_only_whole_mappings_are_known():
    mappings = [mapping(0, PAGE, "", usage(7)), mapping(PAGE, 3 * PAGE, "", usage(PAGE))]
    regions = tiled(mappings, [Span(PAGE, 2 * PAGE, Owner.HEAP)])
    unknown = Amount(PAGE, None, None)
    assert [region.amount for region in regions] == [Amount(PAGE, 7, 0), unknown, unknown]


# Whose a mapping is.


OWNERS = (
    ("[vdso]", "r-xp", 0, None, Owner.KERNEL),
    ("[vvar]", "r--p", 0, "device", Owner.KERNEL),
    ("[vvar_vclock]", "r--p", 0, "device", Owner.KERNEL),
    ("[vsyscall]", "--xp", 0, None, Owner.KERNEL),
    ("[uprobes]", "--xp", 0, None, Owner.KERNEL),
    ("[stack]", "rw-p", 0, None, Owner.STACKS),
    ("[stack:4711]", "rw-p", 0, None, Owner.STACKS),  # to Linux 4.4
    ("/usr/lib/libc.so.6", "r-xp", 12, None, Owner.FILES),
    ("/usr/lib/libc.so.6", "rw-p", 12, None, Owner.FILES),
    ("/usr/lib/libc.so.6 (deleted)", "rw-p", 12, None, Owner.FILES),
    ("/opt/jit/code", "r-xs", 12, None, Owner.FILES),
    ("/var/lib/data (deleted)", "r--s", 12, None, Owner.DATA),
    ("/var/lib/data", "rw-p", 12, None, Owner.DATA),
    ("anon_inode:[io_uring]", "rw-s", 12, None, Owner.KERNEL),
    ("/[aio] (deleted)", "rw-s", 12, None, Owner.KERNEL),
    ("", "rw-p", 0, None, Owner.ANONYMOUS),
    ("", "---p", 0, None, Owner.VOID),
    ("[anon:cage]", "---p", 0, None, Owner.VOID),
    ("[heap]", "rw-p", 0, None, Owner.ANONYMOUS),
    ("[anon:jit]", "rwxp", 0, None, Owner.ANONYMOUS),
    ("/dev/zero (deleted)", "rw-s", 5, None, Owner.SHARED),
    ("/dev/shm/queue", "rw-s", 5, None, Owner.SHARED),
    ("/memfd:pulseaudio (deleted)", "rw-s", 5, None, Owner.SHARED),
    ("/SYSV00000000 (deleted)", "rw-s", 5, None, Owner.SHARED),
    ("[anon_shmem:name]", "rw-s", 5, None, Owner.SHARED),
    ("", "rw-s", 0, None, Owner.SHARED),
    ("/anon_hugepage (deleted)", "rw-p", 7, "hugetlb", Owner.HUGETLB),
    ("/dev/hugepages/pool", "rw-s", 7, "hugetlb", Owner.HUGETLB),
    ("/dev/dri/card0", "rw-s", 7, "device", Owner.DEVICE),
)


@pytest.mark.parametrize(("name", "permissions", "inode", "apart", "owner"), OWNERS)
def test_a_mapping_has_an_owner_by_its_kind(name, permissions, inode, apart, owner):
    for kernel in (usage(apart=apart), None)[: 1 if apart else 2]:
        row = mapping(0, PAGE, name, kernel, permissions, inode)
        assert owner_of(row, {"/usr/lib/libc.so.6"}) is owner


@pytest.mark.parametrize("held", [usage(PAGE), usage(0, PAGE)])
def test_memory_that_nobody_may_access_any_more_is_no_empty_address_space(held):
    assert owner_of(mapping(0, PAGE, "", held, "---p")) is Owner.ANONYMOUS


def test_what_a_core_leaves_out_at_the_end_of_a_file_is_apart():
    file = mapping(0, 4 * PAGE, "/data", inode=1)._replace(left_out=3 * PAGE)
    spans = [region.span for region in tiled([file], [Span(2 * PAGE, 3 * PAGE, Owner.HEAP)])]
    assert spans == [
        Span(0, PAGE, Owner.DATA),
        Span(PAGE, 2 * PAGE, Owner.ABSENT),
        Span(2 * PAGE, 3 * PAGE, Owner.HEAP),
        Span(3 * PAGE, 4 * PAGE, Owner.ABSENT),
    ]


# The spans of a process.

LIBC = "/lib/libc.so.6"


def spans_of(heap):
    """Return the regions' spans by where they begin."""
    return {region.span.start: region.span for region in take(heap.target()).regions}


def owner_at(heap, address):
    spans = spans_of(heap).values()
    return next(span.owner for span in spans if span.start <= address < span.end)


def test_a_heap_is_its_arenas_and_so_is_what_it_reserves():
    heap = usual()
    spans = spans_of(heap)
    for index, arena in enumerate(heap.arenas):
        whose = (index, LIBC, arena.address)
        for base, end in arena.heaps:
            assert spans[base] == Span(base, end, Owner.HEAP, *whose)
            if index:
                reserved = base + heap.layout.heap_max
                assert spans[end] == Span(end, reserved, Owner.RESERVED, *whose)


def test_mmapped_chunks_have_their_whole_mappings():
    heap = HeapBuilder()
    heap.mmapped(35 * PAGE)
    heap.mmapped(50 * PAGE)  # the kernel makes one mapping of both, and so does tile
    heap.mmapped(40 * PAGE, apart=True)
    (first, _), (second, size), (third, more) = heap.mmaps
    spans = spans_of(heap)
    assert spans[first] == Span(first, second + size, Owner.MMAPPED, None, LIBC)
    assert spans[third] == Span(third, third + more, Owner.MMAPPED, None, LIBC)


def test_mmapped_chunks_that_are_not_certain_own_nothing():
    heap = HeapBuilder()
    heap.mmapped(35 * PAGE)
    heap.target()
    heap.field(heap.layout.par, heap.symbols["mp_"], "n_mmaps", 2)
    assert owner_at(heap, heap.mmaps[0][0]) is Owner.ANONYMOUS


def with_stack():
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 101)
    heap.main.add(USED, 640)
    return heap, cache, heap.stack(cache, 16 * PAGE)


def test_a_stack_with_its_guard_is_its_threads():
    heap, _, (start, end) = with_stack()
    spans = spans_of(heap)
    guard = start + PAGE
    assert spans[start] == Span(start, guard, Owner.STACKS)
    assert spans[guard] == Span(guard, end, Owner.STACKS)


def test_a_stack_that_damage_moved_onto_a_heap_does_not_end_the_report():
    heap, cache, _ = with_stack()
    heap.poke(cache.pthread + 96, heap.brk)
    assert owner_at(heap, heap.brk) is Owner.HEAP


@pytest.mark.parametrize("index", [0, 1])
def test_the_heaps_of_a_damaged_arena_are_unknown_and_the_rest_stays(index):
    heap = usual()
    sound = spans_of(heap)
    heap.poke(heap.arenas[index].chunks[5][0] + 8, 0)
    for start, span in spans_of(heap).items():
        expected = sound[start].owner
        if span.arena == index or start == heap.arenas[index].heaps[0][0]:
            expected = Owner.UNKNOWN if expected is Owner.HEAP else expected
        assert span.owner is expected


# Regions that are alike.


@given(ranges, ranges, st.sampled_from([1, 2]), st.randoms())
def test_alike_regions_are_all_of_them(outer, inner, gaps, seed):
    kinds = [("", usage(1)), ("", usage()), ("[stack]", usage(1)), ("", None)]
    mappings = [mapping(s, e, *seed.choice(kinds)) for s, e in cut(outer, gaps)]
    assume(mappings)
    spans = [Span(s, e, Owner.HEAP, s % 3) for s, e in cut(inner)]
    regions = tiled(mappings, spans)
    alike = regions.alike
    assert sum(len(each.regions) + each.number - 1 for each in alike) == len(regions)
    for owner in Owner:
        own = [region for region in regions if region.span.owner is owner]
        assert sorted(regions.owned_by(owner)) == sorted(own)
        parts = [each for each in alike if each.regions[0].span.owner is owner]
        assert sum_of(each.amount for each in parts) == sum_of(region.amount for region in own)
        firsts = {region.span.start for each in parts for region in each.regions}
        assert firsts <= {region.span.start for region in own}


def test_a_thousand_mappings_of_one_kind_are_one_row_of_them():
    mappings = [mapping(at, at + 1, kernel=usage(1)) for at in range(1000)]
    regions = tiled(mappings, [Span(0, 1, Owner.STACKS), Span(500, 501, Owner.HEAP, 0)])
    counts = [(each.regions[0].span.start, each.number, each.amount) for each in regions.alike]
    assert counts[2:] == [(1, 998, Amount(998, 998, 0))]
    assert [region.span.start for region in regions] == [*range(1000)]
