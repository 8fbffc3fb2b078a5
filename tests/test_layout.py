"""The arithmetic of sizes and bins: known answers by hand from malloc.c, and properties."""

from __future__ import annotations

import pytest
from heapbuilder import MACHINES, bin_index
from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.glibc.layout import LAST_BIN, Field, align_down, align_up, lay_out
from gdb_heapx.glibc.releases import annotated_layout

LAYOUTS = {n: annotated_layout(m.word, m.architecture, (2, 36)) for n, m in MACHINES.items()}
AMD64, I386, ARM = LAYOUTS["amd64"], LAYOUTS["i386"], LAYOUTS["arm"]
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
layouts = st.sampled_from(list(LAYOUTS.values()))
units = st.one_of(st.integers(2, 1000), st.integers(1000, 1 << 24))

BIN_INDEXES = [
    (AMD64, {32: 2, 48: 3, 1008: 63, 1024: 64, 1072: 64, 1088: 65, 3120: 96, 3136: 97}),
    (AMD64, {3584: 98, 4096: 99, 10752: 112, 10736: 111, 45040: 120, 45056: 120, 65536: 121}),
    (AMD64, {163840: 124, 262144: 125, 524272: 125, 524288: 126, 1 << 30: 126}),
    (I386, {16: 2, 32: 3, 992: 63, 1008: 64, 1024: 65, 2896: 94, 2928: 94, 2944: 96}),
    (I386, {10736: 111, 10752: 112, 524288: 126}),
    (ARM, {16: 2, 24: 3, 504: 63, 512: 64, 568: 64, 576: 65, 2488: 94, 2496: 95, 2560: 96}),
    (ARM, {10752: 112, 524288: 126}),
]
CASES = [(layout, size, index) for layout, table in BIN_INDEXES for size, index in table.items()]


@pytest.mark.parametrize(("layout", "size", "index"), CASES)
def test_a_chunk_goes_to_glibcs_bin(layout, size, index):
    assert layout.bin_index(size) == index


@pytest.mark.parametrize(
    ("layout", "index", "bounds"),
    [
        (AMD64, 1, (32, None)),
        (AMD64, 2, (32, 32)),
        (AMD64, 63, (1008, 1008)),
        (AMD64, 64, (1024, 1072)),
        (AMD64, 112, (10752, 12272)),
        (AMD64, 126, (524288, None)),
        (I386, 2, (16, 16)),
        (I386, 64, (1008, 1008)),
        (I386, 65, (1024, 1072)),
        (ARM, 2, (16, 16)),
        (ARM, 64, (512, 568)),
    ],
)
def test_the_range_of_a_bin(layout, index, bounds):
    assert layout.bin_range(index) == bounds


@given(layouts, units)
def test_the_bin_is_what_the_macros_say(layout, unit):
    size = unit * layout.alignment
    assert layout.bin_index(size) == bin_index(layout.word, layout.alignment, size)


@given(layouts, units)
def test_a_bins_range_contains_the_sizes_that_go_there(layout, unit):
    size = unit * layout.alignment
    low, high = layout.bin_range(layout.bin_index(size))
    assert low <= size
    assert high is None or size <= high


@every_layout
def test_the_ranges_of_bins_tile_without_gaps(layout):
    expected = layout.min_size
    for index in range(2, LAST_BIN + 1):
        low, high = layout.bin_range(index)
        assert low == expected, index
        expected = (high or 0) + layout.alignment
    assert layout.bin_range(LAST_BIN)[1] is None


@pytest.mark.parametrize(("layout", "size"), [(AMD64, 32), (I386, 16), (ARM, 16)])
def test_the_smallest_chunk(layout, size):
    assert layout.min_size == size


@pytest.mark.parametrize(
    ("layout", "sizes"),
    [
        (AMD64, [32, 48, 64, 80, 96, 112, 128, 144, 160, 176]),
        (I386, [16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96]),
        (ARM, [16, 24, 32, 40, 48, 56, 64, 72, 80, 88]),
    ],
)
def test_the_sizes_of_fastbins(layout, sizes):
    assert [layout.fast_size(index) for index in range(len(sizes))] == sizes


@pytest.mark.parametrize(
    ("layout", "first", "last"), [(AMD64, 32, 1040), (I386, 16, 1024), (ARM, 16, 520)]
)
def test_the_sizes_of_tcache_bins(layout, first, last):
    assert layout.tcache_range(0) == (first, first)
    assert layout.tcache_range(63) == (last, last)


def test_the_large_tcache_bins_have_no_upper_limit():
    assert AMD64.tcache_range(64) == (1056, None)


@pytest.mark.parametrize(
    ("layout", "address", "first"),
    [
        (AMD64, 0x1000, 0x1000),
        (AMD64, 0x102B, 0x1030),
        (I386, 0x1000, 0x1008),
        (I386, 0x1008, 0x1008),
        (I386, 0x1009, 0x1018),
        (ARM, 0x1000, 0x1000),
        (ARM, 0x1004, 0x1008),
    ],
)
def test_the_first_place_for_a_chunk(layout, address, first):
    assert layout.first_chunk(address) == first


@given(layouts, st.integers(0, 1 << 40))
def test_user_memory_of_a_first_chunk_is_aligned(layout, address):
    first = layout.first_chunk(address)
    assert address <= first < address + layout.alignment
    assert (first + layout.header) % layout.alignment == 0


@pytest.mark.parametrize(
    ("layout", "address", "heap"),
    [
        (AMD64, 0x7F1004000000, 0x7F1004000000),
        (AMD64, 0x7F1007FFFFF0, 0x7F1004000000),
        (I386, 0xA01FFFF8, 0xA0100000),
    ],
)
def test_the_heap_of_a_chunk(layout, address, heap):
    assert layout.heap_of(address) == heap


def test_reveal_undoes_safe_linking():
    # glibc: PROTECT_PTR (pos, ptr) = (pos >> 12) ^ ptr
    assert AMD64.reveal(0x55500000C7F9, 0x555555559310) == 0x55500000C7F9 ^ 0x555555559
    assert AMD64.reveal(0x555555559, 0x555555559310) == 0


def test_reveal_leaves_links_alone_before_2_32():
    assert annotated_layout(8, "i386:x86-64", (2, 31)).reveal(0x1234, 0x555555559310) == 0x1234


def test_a_struct_is_laid_out_as_a_compiler_does():
    fields = (
        Field("a", 1),
        Field("b", 0),
        Field("c", 4, 3),
        Field("new", 4, since=(2, 30)),
        Field("old", 4, until=(2, 30)),
    )
    struct = lay_out("s", fields, 8, (2, 30))
    assert {name: tuple(member) for name, member in struct.members.items()} == {
        "a": (0, 1),
        "b": (8, 8),
        "c": (16, 12),
        "new": (28, 4),
    }
    assert struct.size == 32
    assert lay_out("s", fields[:3], 8, (2, 30)).size == 32


@given(st.integers(0, 1 << 64), st.sampled_from([1, 8, 16, 4096, 1 << 26]))
def test_rounding_goes_to_the_next_multiple(value, unit):
    assert align_down(value, unit) <= value <= align_up(value, unit)
    assert align_up(value, unit) - align_down(value, unit) in (0, unit)
