"""What fills heaps, cell by cell: it adds up to the arena's figures, by state, to the byte."""

from __future__ import annotations

from collections import Counter

import pytest
from heapbuilder import (
    AMD64,
    ARM64,
    FAST,
    FREE,
    I386,
    PAGE,
    STRUCT,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    Pages,
    changed,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from recorded import NAMES, SOUND, load, target_of
from test_damage import built, damage

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.arenas import Heap
from gdb_heapx.heap.cells import FILLS, IN_A_HEAP, IN_MAIN, MOST, cell_bits
from gdb_heapx.heap.states import STATES, UNWALKED, State
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of, take
from gdb_heapx.target.amounts import sum_of
from gdb_heapx.target.pages import RESIDENT, SHARED, SWAPPED

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (AMD64, (2, 31)), (ARM64, (2, 36)), (I386, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
MIB = 1 << 20
FILL_OF = {
    USED: State.IN_USE,
    TCACHE: State.TCACHE,
    FAST: State.FAST,
    FREE: State.BINNED,
    UNSORTED: State.BINNED,
    STRUCT: State.OVERHEAD,
}
BY_WALK = (State.IN_USE, State.TCACHE, State.FAST, State.BINNED)


def whole(strips):
    """Return what fills these, by fill."""
    amounts = [strip.amounts() for strip in strips]
    return {fill: sum_of(each[fill] for each in amounts) for fill in range(FILLS)}


def assert_tiled(arena):
    """Each cell has as many bytes as it is large, and the cells of a heap are all of it."""
    assert [s.address for s in arena.strips] == [heap.address for heap in arena.heaps]
    for strip, heap in zip(arena.strips, arena.heaps):
        cells = list(strip)
        bounds = [strip.address, *(cell.end for cell in cells)]
        assert [cell.start for cell in cells] == bounds[:-1]
        assert bounds[-1] == strip.end == heap.address + heap.size
        assert all(start % (1 << strip.bits) == 0 for start in bounds[1:-1])
        for cell in cells:
            filled = [cell.amount(fill) for fill in range(FILLS)]
            assert sum(amount.bytes for amount in filled) == cell.end - cell.start
            assert all(amount.possible for amount in filled)


def assert_adds_up(snapshot):
    """Where an arena's figures are sure, its cells have the same; all bytes are somewhere."""
    for arena in snapshot.arenas():
        assert_tiled(arena)
        filled = whole(arena.strips)
        if arena.in_use is not None:
            assert filled[State.IN_USE].bytes == arena.in_use
            assert not filled[UNWALKED].bytes
        if arena.trim is not None:
            assert {state: filled[state] for state in STATES} == dict(arena.amounts)


def sure(snapshot):
    return [arena for arena in snapshot.arenas() if arena.trim is not None]


@tried(300)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_of_any_heap_the_cells_add_up_to_the_figures(seed, kind, compiled):
    snapshot = take(changed(built(seed, *kind).target(), compiled=compiled))
    assert_adds_up(snapshot)
    assert len(sure(snapshot)) == len(snapshot.arenas())


@tried(300)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_of_any_damaged_heap_the_cells_are_all_of_it(seed, kind, compiled):
    heap = built(seed, *kind)
    damage(seed, heap)
    try:
        snapshot = take(changed(heap.target(), compiled=compiled))
    except HeapxError:
        return
    assert_adds_up(snapshot)


@tried(300)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_each_cell_has_what_was_built_there(seed, kind, compiled):
    heap = built(seed, *kind)
    target = heap.target()
    for arena, figures in zip(heap.arenas, take(changed(target, compiled=compiled)).arenas()):
        for strip in figures.strips:
            chunks = [c for c in arena.chunks if strip.address <= c[0] < strip.end]
            expected = cells_of(chunks, 1 << strip.bits, heap.residency)
            for cell in strip:
                for fill in BY_WALK:
                    amount, key = cell.amount(fill), (cell.start >> strip.bits, fill)
                    assert amount.bytes == expected[(*key, "bytes")]
                    if heap.residency:
                        assert amount.resident == expected[(*key, "resident")]
                        assert amount.swapped == expected[(*key, "swapped")]


def cells_of(chunks, size, residency):
    """Return the bytes in each cell, by its number and fill, added up page by page."""
    expected = Counter()
    for address, chunk_size, state in chunks:
        at = address
        while at < address + chunk_size:
            end = min(address + chunk_size, (at // PAGE + 1) * PAGE)
            key = at // size, FILL_OF[state]
            expected[(*key, "bytes")] += end - at
            page = residency.state(at) if residency else None
            expected[(*key, "resident")] += end - at if page in (RESIDENT, SHARED) else 0
            expected[(*key, "swapped")] += end - at if page == SWAPPED else 0
            at = end
    return expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(6)
def test_of_a_recorded_process_the_cells_add_up_to_the_figures(name):
    snapshot = take(target_of(load(name)))
    assert_adds_up(snapshot)


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.few(6)
def test_of_a_recorded_process_the_cells_add_up_to_what_malloc_info_says(name):
    recording = load(name)
    for arena, said in zip(take(target_of(recording)).arenas(), recording.oracle.arenas):
        filled = whole(arena.strips)
        assert sum(amount.bytes for amount in filled.values()) == said.system
        assert filled[State.FAST].bytes == said.fast.bytes
        assert filled[State.BINNED].bytes + filled[State.TOP].bytes == said.rest.bytes


def test_what_lies_behind_damage_is_unknown_up_to_top():
    heap = HeapBuilder()
    chunks = [heap.main.add(USED, 4096) for _ in range(8)]
    heap.main.close(MIB)
    heap.target()
    heap.poke(chunks[4] + 8, 0x48)
    arena = take(heap.target()).arenas()[0]
    filled = whole(arena.strips)
    assert filled[State.IN_USE].bytes == 3 * 4096  # nothing tells the state of the fourth
    assert filled[UNWALKED].bytes == heap.main.top - chunks[3]
    assert filled[State.TOP].bytes == heap.main.top_size


def test_without_a_walk_there_is_nothing_to_draw():
    arenas = take(HeapBuilder().target(), Scope(walk=False)).arenas()
    assert [arena.strips for arena in arenas] == [None]


def test_cells_of_many_heaps_are_bounded():
    heap = Heap(1, 0, 16, 64 * MIB, None, 64 * MIB)
    main = Heap(0, 0, 16, 100 << 30, None, 100 << 30)
    few, many = ([[main], [heap] * number] for number in (3, 5000))
    main_bits, bits = cell_bits(few, PAGE)
    assert (100 << 30 >> main_bits, 64 * MIB >> bits) == (IN_MAIN * 100 // 128, IN_A_HEAP)
    assert 5000 * (64 * MIB >> cell_bits(many, PAGE)[1]) <= MOST


def test_a_cell_is_a_page_at_least():
    heap = Heap(0, 0, 16, 132 << 10, None, 132 << 10)
    assert cell_bits([[heap]], PAGE) == (12, 12)
    assert cell_bits([], PAGE) == (12, 12)


def test_a_walk_that_was_made_without_cells_is_made_again():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.add(USED, 4096)
    opened = open_target(heap.target())
    assert [a.strips for a in snapshot_of(opened, Scope(strips=False)).arenas()] == [None]
    assert_adds_up(snapshot_of(opened))
    assert [a.strips for a in snapshot_of(opened, Scope(strips=False)).arenas()] == [None]
