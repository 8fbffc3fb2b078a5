"""What is held of a target that runs on: each chunk in use, indexed and copied, nothing else."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from unittest import mock

import pytest
from heapbuilder import (
    AMD64,
    ARM,
    ARM64,
    FREE,
    I386,
    PAGE,
    S390X,
    USED,
    HeapBuilder,
    Pages,
    at_random,
    changed,
    usual,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from recorded import SOUND, load, target_of
from test_damage import damage

from gdb_heapx.errors import HeapxError, MemoryFault
from gdb_heapx.held import costs, indexing, parts
from gdb_heapx.held.held import Held, hold
from gdb_heapx.held.store import Store
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.inventory.chunk import IN_USE, MMAPPED
from gdb_heapx.reach.compiled import flood_of
from gdb_heapx.reach.marks import Marks
from gdb_heapx.reach.typed import types_of
from gdb_heapx.recognise.classify import classify
from gdb_heapx.recognise.heaps import surroundings_of
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (I386, (2, 36)), (I386, (2, 23)), (ARM, (2, 41))]
KINDS += [(S390X, (2, 36)), (ARM64, (2, 31))]
SEEDS = st.randoms(use_true_random=True)


def built(seed, machine, release) -> HeapBuilder:
    """Return a heap whose pages are all there, whether that is known or not."""
    heap = usual(machine, release) if seed.random() < 0.5 else at_random(seed, machine, release)
    for number in range(seed.randrange(4)):
        heap.mmapped((35 + number) * heap.page, apart=seed.random() < 0.5)
    if seed.random() < 0.5:
        heap.residency = Pages(heap.page)
    return heap


def held(target, most=None) -> Held:
    return hold(open_target(target), most=most, passes=True)


def in_pieces(seed):
    """In here heaps are in pieces, of some chunks each."""
    return mock.patch.object(parts, "PIECE", seed.choice([1, 1 << 14, 1 << 20]))


def in_use(target) -> Iterator[tuple[int, int]]:
    """Yield where each chunk in use lies, one by one, and how large it is."""
    catalogue = Catalogue(open_target(target))
    for inventory in catalogue.inventories:
        mapped = {chunk.address: chunk.mapping for chunk in inventory.mmapped}
        for chunk in catalogue.chunks():
            if chunk.libc == inventory.path and chunk.state in (IN_USE, MMAPPED):
                yield chunk.address, mapped.get(chunk.address, chunk.size)


def lookups(found: Held) -> Iterator[int]:
    """Yield addresses in and around every chunk, and beyond all."""
    index = found.index
    for start, end in zip(index.starts, index.ends):
        yield from range(start - 8, min(end, start + (64 << 10)) + 24, 4)
        yield from (end - 1, end, end + 8)


@tried(100)
@given(SEEDS, st.sampled_from(KINDS))
def test_the_chunks_held_are_those_in_use(seed, kind):
    target = built(seed, *kind).target()
    with in_pieces(seed):
        found = held(target)
    expected = sorted(in_use(target))
    assert [(c.address, c.bytes) for c in found.index.each()] == expected
    assert [c.rank for c in found.index.each()] == list(range(found.index.chunks))


@tried(50)
@given(SEEDS, st.sampled_from(KINDS))
def test_an_address_is_of_the_chunk_whose_memory_has_it(seed, kind):
    with in_pieces(seed):
        found = held(built(seed, *kind).target())
    owners = {}
    chunks = list(found.index.each())
    for chunk in chunks:
        first = range(chunk.user, min(chunk.user + chunk.usable, chunk.user + (64 << 10)))
        owners.update(dict.fromkeys(first, chunk))
    for address in lookups(found):
        chunk = found.index.at(address)
        if chunk != owners.get(address):  # a longer one
            assert chunk in chunks
            assert chunk.user <= address < chunk.user + chunk.usable


@tried(100)
@given(SEEDS, st.sampled_from(KINDS[:2]), st.booleans())
def test_compiled_code_holds_and_finds_the_same(seed, kind, damaged):
    heap = built(seed, *kind)
    if damaged:
        damage(seed, heap)
    try:
        with in_pieces(seed):
            by_c, by_python = held(heap.target()), held(changed(heap.target(), compiled=False))
    except HeapxError:
        return
    assert (by_c.table is None, by_python.table is None) == (False, True)
    assert [*by_c.index.each()] == [*by_python.index.each()]
    assert bytes(by_c.index.cells) == bytes(by_python.index.cells)
    place = (ctypes.c_uint64 * 4)()
    for address in lookups(by_c):
        chunk = by_python.index.at(address)
        expected = chunk and [chunk.address, chunk.rank, chunk.region, chunk.user == address]
        hit = by_c.functions.heapx_find(by_c.table.reference, address, place)
        assert ([*place] if hit else None) == expected


@pytest.mark.parametrize("compiled", [True, False])
def test_a_large_chunk_is_held_beside_small_ones(compiled):
    heap = HeapBuilder()
    sizes = [*[64] * 40, 3 * indexing.WINDOW] * 2
    added = {heap.main.add(USED, size) for size in sizes}
    found = held(changed(heap.target(), compiled=compiled))
    assert added <= {chunk.address for chunk in found.index.each()}


@pytest.mark.parametrize("compiled", [True, False])
def test_the_copy_has_what_chunks_in_use_have(compiled):
    heap = HeapBuilder()
    small = heap.main.add(USED, 64)
    heap.main.add(FREE, 4 * indexing.LEAST)
    large = heap.main.add(USED, 3 * indexing.WINDOW)
    mapped = heap.mmapped(20 * PAGE)
    for address in (small + 16, small + 64, large + 16, large + 3 * indexing.WINDOW, mapped + 16):
        heap.poke(address, address)
    found = held(changed(heap.target(), compiled=compiled))
    for address in (small + 16, small + 64, large + 16, large + 3 * indexing.WINDOW, mapped + 16):
        assert found.space.read_word(address) == address


@pytest.mark.parametrize("most", [None, 64 << 20])
@pytest.mark.parametrize("compiled", [True, False])
def test_the_pages_of_large_free_chunks_are_not_kept(compiled, most):
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    free = heap.main.add(FREE, 4 * indexing.LEAST)
    heap.main.add(USED, 64)
    inside = free + 2 * indexing.LEAST
    heap.poke(inside, 1)
    found = held(changed(heap.target(), compiled=compiled), most)
    assert found.space.read_word(inside) == 0


def test_of_free_chunks_between_small_ones_little_is_copied():
    heap = HeapBuilder()
    for _ in range(16):
        heap.main.add(FREE, 2 * indexing.LEAST)
        heap.main.add(USED, 64)
    copied = 0
    copy = Store._copy

    def counting(store, first, last, move):
        nonlocal copied
        copied += (last - first) * PAGE
        copy(store, first, last, move)

    with mock.patch.object(Store, "_copy", counting):
        held(changed(heap.target(), compiled=True), 64 << 20)
    assert copied < 16 * 2 * indexing.LEAST / 4


def test_what_is_in_no_heap_cannot_be_read():
    found = held(HeapBuilder().target())
    with pytest.raises(MemoryFault):
        found.space.read_word(8)


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.few(6)
def test_of_real_processes_the_bytes_held_are_those_in_use(name):
    """What is in use of arenas is glibc's own figure (test_recorded_figures.py)."""
    opened = open_target(target_of(load(name)))
    snapshot, found = snapshot_of(opened), hold(opened)
    assert sum(chunk.bytes for chunk in found.index.each()) == snapshot.in_use


def test_what_is_too_much_for_a_copy_is_refused_with_what_passes_cost():
    heap = HeapBuilder()
    heap.main.add(USED, 1 << 20)
    with pytest.raises(HeapxError) as refused:
        hold(open_target(heap.target()), most=1 << 19)
    assert "1 MiB in use would take more than 512 KiB" in str(refused.value)
    assert "--passes" in str(refused.value)


def test_of_a_core_no_process_stands_still_for_passes():
    heap = HeapBuilder()
    heap.main.add(USED, 1 << 20)
    assert hold(open_target(changed(heap.target(), live=False)), most=1 << 19).index.chunks == 1


@pytest.mark.parametrize("compiled", [True, False])
def test_one_lot_is_at_hand_at_a_time(compiled):
    heap = HeapBuilder()
    chunks = [heap.main.add(USED, 1 << 20) for _ in range(4)]
    for chunk in chunks:
        heap.poke(chunk + 4096, chunk)
    with mock.patch.object(parts, "PIECE", 1):
        found = held(changed(heap.target(), compiled=compiled), most=3 << 19)
    assert len(found.lots) == 4
    for chunk in chunks:
        region = found.index.region_at(chunk + 4096)
        found.lots.bring(region)
        read = [found.space.read_word(each + 4096) for each in chunks]
        assert read == [chunk if each == chunk else 0 for each in chunks]


@pytest.mark.parametrize("compiled", [True, False])
def test_of_a_chunk_that_is_too_large_alone_one_piece_after_the_other_is_at_hand(compiled):
    heap = HeapBuilder()
    mapped = heap.mmapped(64 * PAGE)
    places = range(mapped + 16, mapped + 64 * PAGE, 5 * PAGE)
    for place in places:
        heap.poke(place, place)
    found = held(changed(heap.target(), compiled=compiled), most=32 * PAGE)
    (region,) = found.lots.large
    assert found.lots.passes
    seen, copied = set(), found.store.copied
    for _ in found.lots.pieces(region):
        assert copied(found.index.starts[region], found.index.ends[region]) <= 9 * PAGE
        seen.update(place for place in places if found.space.read_word(place) == place)
    assert seen == {*places}
    assert not copied(found.index.starts[region], found.index.ends[region])


@pytest.mark.parametrize("compiled", [True, False])
def test_nothing_is_said_of_what_a_chunk_is_that_is_too_large_to_be_at_hand(compiled):
    heap = HeapBuilder()
    heap.poke(heap.mmapped(64 * PAGE) + 40 * PAGE, 0x4142434445464748)
    found = held(changed(heap.target(), compiled=compiled), most=32 * PAGE)
    assert types_of(found)[1] == ["not read"]


@tried(60)
@given(SEEDS, st.sampled_from(KINDS))
def test_besides_a_copy_no_more_memory_is_taken_than_was_said(seed, kind):
    found = held(built(seed, *kind).target())
    index, around = found.index, surroundings_of(found)
    kinds, bodies = classify(found, around).kinds, around.heaps.bodies.marks
    columns = sum(len(each) * each.itemsize for each in (kinds, bodies))
    compiled = found.table is not None
    states = flood_of(found).states if compiled else Marks(index).all
    said = costs.noted_bytes(found.parts, index.chunks, index.grains.size, compiled)
    assert index.cells.nbytes + columns + len(states) <= said


@pytest.mark.parametrize("compiled", [True, False])
def test_what_would_take_more_memory_than_half_of_what_is_left_is_refused(compiled):
    target = changed(usual(AMD64, (2, 36)).target(), compiled=compiled)
    found = held(target)
    compiled = found.table is not None
    said = costs.noted_bytes(found.parts, found.index.chunks, found.index.grains.size, compiled)
    with mock.patch.object(costs, "available_beside", return_value=2 * said):
        assert held(target, most=1 << 30).index.chunks == found.index.chunks
    less = mock.patch.object(costs, "available_beside", return_value=2 * said - 2)
    with less, pytest.raises(HeapxError, match="half of the memory that is available"):
        held(target, most=1 << 30)
