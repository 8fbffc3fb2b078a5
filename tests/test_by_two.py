"""Two threads copy and index what is in use: as one does, and both have ended afterwards."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import replace
from unittest import mock

import pytest
from heapbuilder import (
    AMD64,
    PAGE,
    USED,
    HeapBuilder,
    Pages,
    at_random,
    changed,
    with_pages_at_random,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from test_compiled import filling
from test_damage import damage
from test_held import in_pieces

from gdb_heapx.errors import HeapxError, StoppedError
from gdb_heapx.heap.library import library
from gdb_heapx.held import compiled, threads
from gdb_heapx.held.held import hold
from gdb_heapx.held.store import Store
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of
from gdb_heapx.target.pace import Pace
from gdb_heapx.target.pages import IN_RAM

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (AMD64, (2, 31))]
SEEDS = st.randoms(use_true_random=True)


@pytest.fixture(autouse=True)
def _two_processors_and_no_thread_left():
    walker = library(HeapBuilder().target().space)
    if walker.code is None:
        pytest.skip(f"no compiled walk: {walker.why}")
    before = threading.active_count()
    with mock.patch.object(os, "sched_getaffinity", return_value={0, 1}):
        yield
    assert threading.active_count() == before


def built(seed: random.Random, kind) -> HeapBuilder:
    """Return a heap whose pages are all in RAM, or in every state."""
    heap = at_random(seed, *kind)
    for number in range(seed.randrange(4)):
        heap.mmapped((35 + number) * heap.page, apart=seed.random() < 0.5)
    if seed.random() < 0.7:
        return with_pages_at_random(seed, heap)
    heap.residency = Pages(heap.page)
    return heap


class Reads:
    """Memory that other threads can read, too, but for what fails by chance."""

    def __init__(self, target, chance: float = 0) -> None:
        self._fill, self._residency = filling(target.space.memory), target.space.residency
        self._chance, self._draw = chance, random.Random(chance)

    def fill(self, address: int, room: memoryview) -> bool:
        states = self._residency.states(address, address + len(room))
        assert not states.translate(None, bytes(IN_RAM))
        return self._draw.random() >= self._chance and self._fill(address, room)


def held_by(target, fill=None):
    return hold(open_target(changed(target, fill=fill)))


@tried(200)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_two_threads_hold_what_one_does(seed, kind, damaged):
    heap = built(seed, kind)
    if damaged:
        damage(seed, heap)
    target, chance = heap.target(), seed.choice([0, 0, 0.2])
    window = seed.choice([1 << 6, 1 << 12, 1 << 20])
    with in_pieces(seed), mock.patch.object(compiled, "WINDOW", window):
        try:
            by_one = held_by(target)
        except HeapxError:
            return
        by_two = held_by(target, Reads(target, chance).fill)
    assert bytes(by_two.index.cells) == bytes(by_one.index.cells)
    assert by_two.store.pages == by_one.store.pages
    assert bytes(by_two.store.view) == bytes(by_one.store.view)
    lost = (by_one.store.swapped, by_one.store.unreadable)
    assert (by_two.store.swapped, by_two.store.unreadable) == lost


def large() -> HeapBuilder:
    """Return a heap in RAM with much in use, some of it in chunks that are larger than a window."""
    heap = HeapBuilder()
    heap.residency = Pages()
    for _ in range(40):
        heap.main.add(USED, 64)
        heap.main.add(USED, 3 * PAGE)
    heap.mmapped(40 * PAGE)
    return heap


def store_of(heap: HeapBuilder, **changes) -> tuple[Store, int, int]:
    """Return a store of a heap's memory, and where that lies."""
    target = heap.target()
    space = changed(target, fill=Reads(target).fill, **changes).space
    ((start, end),) = heap.main.heaps
    return Store(space, [(start, end)]), start, end


def test_two_work_at_the_same_time():
    both = threading.Barrier(2)
    store, _, _ = store_of(large())
    compiled.by_two(store._space, store, [lambda load: both.wait(60)] * 2)
    assert not both.broken


def test_what_is_in_ram_is_read_by_the_two_alone():
    target = large().target()
    opened = open_target(changed(target, fill=Reads(target).fill))
    snapshot_of(opened)
    with mock.patch.object(Store, "_copy", side_effect=AssertionError):
        found = hold(opened)
    assert found.index.chunks == 81


def stopped_after(looks: int) -> Pace:
    """Return a pace that is stopped after so many looks at what the user wants."""
    ticks, left = iter(range(1 << 30)), iter(range(looks))
    pace = Pace(clock=lambda: next(ticks))
    pace.start(asked=lambda: next(left, None) is None)
    return pace


@pytest.mark.parametrize("looks", [1, 2, 50])
def test_both_end_where_reading_is_stopped(looks):
    store, start, end = store_of(large(), pace=stopped_after(looks))
    ends: list[bool] = []

    def job(load) -> None:
        ends.append(next((False for _ in range(1 << 16) if not load(start, end)), True))

    compiled.by_two(store._space, store, [job, job])
    assert not any(ends)


def test_where_reading_is_stopped_what_is_left_is_not_read():
    target = large().target()
    opened = open_target(changed(target, fill=Reads(target, chance=1).fill))
    snapshot_of(opened)
    space = replace(opened.target.space, pace=stopped_after(1))
    with pytest.raises(StoppedError):
        hold(replace(opened, target=replace(opened.target, space=space)))


def test_of_one_processor_no_thread_is_begun():
    target = large().target()
    with (
        mock.patch.object(os, "sched_getaffinity", return_value={0}),
        mock.patch.object(threads, "Thread", side_effect=AssertionError),
    ):
        assert held_by(target, Reads(target).fill).index.chunks == 81


def test_where_not_all_fits_one_region_is_copied_after_the_other():
    target = large().target()
    with mock.patch.object(threads, "Thread", side_effect=AssertionError):
        opened = open_target(changed(target, fill=Reads(target).fill))
        assert hold(opened, most=8 * PAGE, passes=True).index.chunks == 81
