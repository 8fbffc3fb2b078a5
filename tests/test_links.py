"""Lists are followed to the same end, however much is read at once, and kept."""

from __future__ import annotations

import random
from unittest import mock

import pytest
from heapbuilder import AMD64, ARM64, FAST, I386, S390X, USED, HeapBuilder, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from recorded import NAMES, load, target_of
from test_compiled import filling
from test_damage import built, damage

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.links import Links
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import take

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 31)), (ARM64, (2, 43)), (I386, (2, 36)), (S390X, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
FEW_KEPT = {"CAPACITY": 2, "FEW": 1, "NEAR": 0}


def followed(target):
    """Return what lists alone say of a target."""
    try:
        snapshot = take(target, Scope(walk=False))
    except HeapxError as refused:
        return str(refused)
    return snapshot.arenas(), snapshot.mallocs and snapshot.mallocs[0].threads, snapshot.problems


def with_few_kept(target):
    """Return the same where hardly a page is kept, so that most chunks are read by themselves."""
    with mock.patch.multiple(Links, **FEW_KEPT):
        return followed(changed(target, fill=filling(target.space.memory)))


@tried(400)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_of_any_heap_chunks_alone_say_what_whole_pages_say(seed, kind, damaged):
    heap = built(seed, *kind)
    if damaged:
        damage(seed, heap)
    assert with_few_kept(heap.target()) == followed(heap.target())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(6)
def test_of_a_recorded_process_chunks_alone_say_what_whole_pages_say(name):
    assert with_few_kept(target_of(load(name))) == followed(target_of(load(name)))


def scattered(number):
    """Return a heap with a list of fast chunks, each in a page of its own, in no order."""
    heap = HeapBuilder()
    for _ in range(number):
        heap.main.add(FAST, 64)
        heap.main.add(USED, 2 * heap.page)
    (order,) = heap.main.fast.values()
    random.Random(1).shuffle(order)
    heap.main.close()
    return heap


def test_of_a_scattered_list_no_more_is_read_than_its_chunks():
    heap, number = scattered(200), 200
    target, sizes = heap.target(), []
    fill = filling(target.space.memory)

    def counting(address, room):
        sizes.append(len(room))
        return fill(address, room)

    with mock.patch.multiple(Links, CAPACITY=20):
        snapshot = take(changed(target, fill=counting), Scope(walk=False))
    assert snapshot.arenas()[0].fast == 64 * number
    alone = [size for size in sizes if size == 24]
    assert number // 2 < len(alone) == len(sizes) < number
