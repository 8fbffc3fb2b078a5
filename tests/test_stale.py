"""What lay in a large free chunk, by the headers left in it: words as free() leaves them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from heapbuilder import FREE, PAGE, USED, HeapBuilder, Pages, up
from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.heap.stale import LARGE, PIECE, PIECES, _Headers, last_sizes
from gdb_heapx.target.pages import UNTOUCHED

KIB, MIB = 1 << 10, 1 << 20


@dataclass
class Chunk:
    """A large free chunk in a built heap, and how it came to be."""

    size: int
    heap: HeapBuilder = field(default_factory=HeapBuilder)

    def __post_init__(self) -> None:
        self.heap.residency = Pages()
        self.heap.main.used_up_to(up(self.heap.main.cursor + 32, PAGE))
        self.start = self.heap.main.add(FREE, self.size)
        self.heap.main.add(USED, 64)
        self.heap.main.close(PAGE)

    def header(self, offset: int, before: int, word: int) -> None:
        self.heap.poke(self.start + offset, before)
        self.heap.poke(self.start + offset + 8, word)

    def upwards(self, start: int, end: int, size: int) -> None:
        """Chunks were freed one above the other: prev_size is the sum of those before."""
        for at in range(start + size, end, size):
            self.header(at, at, size)

    def downwards(self, start: int, end: int, size: int) -> None:
        """Chunks were freed one below the other: each reaches to the end."""
        for at in range(start + size, end, size):
            self.header(at, 0x5A5A5A5A5A5A5A5A, self.size - at | 1)

    def sizes(self):
        target = self.heap.target()
        space = target.space
        found = last_sizes(space, space.residency, self.heap.layout, [(self.start, self.size)])
        return {size: count for size, count in found.items() if count}


def test_a_block_that_left_no_header_was_one():
    assert Chunk(MIB).sizes() == {MIB: MIB}


@pytest.mark.parametrize("way", [Chunk.upwards, Chunk.downwards])
@pytest.mark.parametrize("size", [64, 2000, 100 * KIB])
def test_small_chunks_that_merged_are_known_by_what_they_left(way, size):
    chunk = Chunk(MIB)
    way(chunk, 0, MIB, size)
    assert chunk.sizes() == {0: MIB}


def test_where_small_ones_end_a_large_one_begins():
    chunk = Chunk(MIB)
    chunk.upwards(0, 512 * KIB + 1, 2 * KIB)
    assert chunk.sizes() == {0: 512 * KIB, 512 * KIB: 512 * KIB}


@pytest.mark.parametrize("size", [LARGE - 16, LARGE])
def test_what_would_have_a_mapping_of_its_own_is_large(size):
    chunk = Chunk(8 * size)
    chunk.upwards(0, 8 * size, size)
    assert set(chunk.sizes()) == {0 if size < LARGE else LARGE}


@pytest.mark.parametrize("value", [0, 1, 64, 0x5A5A5A5A5A5A5A5A, MIB])
def test_a_block_full_of_one_number_is_not_taken_for_small_chunks(value):
    chunk = Chunk(256 * KIB)
    for at in range(64, 256 * KIB, 8):
        chunk.heap.poke(chunk.start + at, value)
    assert chunk.sizes().get(0, 0) < PAGE


def test_only_pages_that_are_resident_count_and_are_read():
    chunk = Chunk(MIB)
    chunk.heap.residency.mark(chunk.start + 512 * KIB, chunk.start + MIB, UNTOUCHED)
    assert chunk.sizes() == {MIB: 512 * KIB}


@pytest.mark.slow
def test_of_very_much_a_sample_stands_for_all_of_it():
    chunk = Chunk(4 * PIECES * PIECE)
    assert sum(chunk.sizes().values()) == chunk.size


WORDS = st.one_of(
    st.just(0),
    st.integers(0, 1 << 12),
    st.integers(0, 1 << 24),
    st.integers(0, (1 << 64) - 1),
)


@given(st.lists(WORDS, max_size=40), st.sampled_from((4, 8)), st.sampled_from((8, 16)))
def test_columns_of_bytes_tell_which_words_are_sizes_as_the_words_do(words, word, alignment):
    sizes = [each % (1 << 8 * word) for each in words]
    columns = [bytes(each >> 8 * number & 0xFF for each in sizes) for number in range(word)]
    layout = SimpleNamespace(alignment=alignment, min_size=4 * word)
    flags = 0b101  # PREV_INUSE and NON_MAIN_ARENA
    for size in (1 << 12, 1 << 16, 1 << 20):
        headers = _Headers([], sizes, 0, SimpleNamespace(chunk=0, size=size), layout)
        told = headers.small(columns, size)
        assert len(told) == len(sizes)
        for small, each in zip(told, sizes):
            flawed = each % alignment & ~flags
            assert small == (0 < each < 1 << (size.bit_length() + 7) // 8 * 8 and not flawed)
