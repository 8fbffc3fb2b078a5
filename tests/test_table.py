"""Lists that are joined from a table have what following them finds: on whatever heap."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

import pytest
from heapbuilder import (
    AMD64,
    ARM64,
    FAST,
    FREE,
    TCACHE,
    UNSORTED,
    USED,
    HeapBuilder,
    Pages,
    with_pages_at_random,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from recorded import NAMES, load, target_of
from sessions import catalogue_of
from test_damage import built, damage
from test_fast import make_stale

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap import regular, table
from gdb_heapx.heap.bins import FreeList
from gdb_heapx.heap.library import library
from gdb_heapx.heap.states import State
from gdb_heapx.inventory import libc
from gdb_heapx.snapshots import reading, walks
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.take import snapshot_of, take, told_apart
from gdb_heapx.target.pace import PacedMemory

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (AMD64, (2, 31)), (ARM64, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
SMALL = (32, 48, 64, 144, 512, 1024)
LARGE = (1040, 4096, 4112, 1 << 16, 1 << 17)


@pytest.fixture(autouse=True)
def _is_there():
    walker = library(HeapBuilder().target().space).walker
    if not walker.name.startswith("compiled"):
        pytest.skip(f"no compiled walk: {walker.how}")


@contextmanager
def joining(steps=table.STEPS):
    """In here lists are joined, however few chunks they have."""
    with ExitStack() as stack:
        for module in (walks, reading, libc):
            stack.enter_context(mock.patch.object(module, "FEW", 0))
        stack.enter_context(mock.patch.object(walks, "LINK", 1 << 60))
        stack.enter_context(mock.patch.object(table, "STEPS", steps))
        yield


@contextmanager
def following():
    """In here the names are kept of the lists that are followed."""
    names, original = [], FreeList.follow

    def follow(self, *arguments):
        names.append(self.name)
        return original(self, *arguments)

    shorter = mock.patch.object(regular, "unsorted_is_shorter", side_effect=AssertionError)
    with mock.patch.object(FreeList, "follow", follow), shorter:
        yield names


def answers(target):
    """Return what is said of each arena's bins, and in which chunks of theirs."""
    try:
        opened = open_target(target)
    except HeapxError as refused:
        return str(refused)
    found = []
    for each in opened.mallocs:
        for arena in each.arenas:
            read = each.arena(arena)
            overlay = each.walks.overlay(arena)
            fast = [list(overlay.fast.upwards(h.address, h.end)) for h in arena.heaps]
            found.append((read.bins, read.amounts, read.problems(), fast))
    return found


def both(make, steps=table.STEPS):
    """Return what is said where lists are joined, and where they are followed."""
    with joining(steps):
        joined = answers(make())
    return joined, answers(make())


def listed(seed, machine=AMD64, release=(2, 36), chunks=200):
    """Return a heap of two arenas with long lists, of which some links are stale."""
    heap = HeapBuilder(machine, release)
    second = heap.arena()
    cache = heap.thread(second, 100)
    fast = (FAST,) if release < (2, 43) else ()
    states = (*(FREE, UNSORTED, *fast) * 4, TCACHE)
    for arena in (heap.main, second):
        for _ in range(chunks):
            state = seed.choice(states)
            sizes = {FAST: SMALL[:3], TCACHE: range(32, 320, 16)}.get(state, SMALL)
            large = state in (FREE, UNSORTED) and seed.random() < 0.1
            arena.add(state, seed.choice(LARGE if large else sizes), cache)
            arena.add(USED, seed.choice((32, 64, 96)))
        for order in (*arena.bins.values(), *arena.fast.values()):
            seed.shuffle(order)
        arena.close()
    heap.target()
    fast = [chunk for chunk, _, state in heap.main.chunks if state == FAST]
    for chunk, _, state in heap.main.chunks if release >= (2, 32) and fast else ():
        if state == USED and seed.random() < 0.1:
            make_stale(heap, chunk, seed.choice(fast))
    return with_pages_at_random(seed, heap) if seed.random() < 0.7 else heap


@tried(200)
@given(SEEDS, st.sampled_from(KINDS), st.sampled_from([1, 7, table.STEPS]))
def test_of_long_lists_it_has_what_following_finds(seed, kind, steps):
    joined, followed = both(listed(seed, *kind).target, steps)
    assert joined == followed


@tried(200)
@given(SEEDS, st.sampled_from(KINDS))
def test_of_damaged_lists_it_has_what_following_finds(seed, kind):
    heap = listed(seed, *kind, chunks=20)
    damage(seed, heap)
    joined, followed = both(heap.target)
    assert joined == followed


@tried(400)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_of_any_heap_it_has_what_following_finds(seed, kind, damaged):
    heap = built(seed, *kind)
    if damaged:
        damage(seed, heap)
    joined, followed = both(heap.target)
    assert joined == followed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.few(6)
def test_of_a_recorded_process_it_has_what_following_finds(name):
    joined, followed = both(lambda: target_of(load(name)))
    assert joined == followed


@pytest.mark.parametrize("seed", range(8))
def test_where_nothing_is_damaged_no_list_is_followed(seed):
    heap = listed(random.Random(seed))
    with joining(), following() as names:
        snapshot = take(heap.target())
    assert not snapshot.problems
    assert [name for name in names if "tcache" not in name] == []
    for figures, arena in zip(snapshot.arenas(), heap.arenas):
        assert figures.bins.chunks(State.UNSORTED) == arena.book[UNSORTED]
        assert figures.bins.chunks(State.SMALL, State.LARGE) == arena.book[FREE]
        assert figures.chunks[State.FAST] == arena.book[FAST]


@tried(100)
@given(SEEDS, st.booleans())
def test_chunks_are_in_the_list_where_following_finds_them(seed, damaged):
    heap = listed(seed, chunks=20)
    if damaged:
        damage(seed, heap)

    def lists():
        try:
            return [(chunk.address, chunk.list) for chunk in catalogue_of(heap.target()).chunks()]
        except HeapxError as refused:
            return str(refused)

    with joining():
        joined = lists()
    assert joined == lists()


@pytest.mark.parametrize("seed", range(4))
def test_where_nothing_is_damaged_chunks_are_told_apart_without_following_a_list(seed):
    heap = listed(random.Random(seed))
    with joining(), mock.patch.object(libc, "unsorted_is_shorter", side_effect=AssertionError):
        chunks = [chunk.list for chunk in catalogue_of(heap.target()).chunks()]
    unsorted = sum(arena.book[UNSORTED] for arena in heap.arenas)
    assert chunks.count("unsorted bin 1") == unsorted > 0


@pytest.mark.parametrize("seed", range(8))
def test_of_a_damaged_heap_only_the_list_that_breaks_is_followed(seed):
    heap = listed(random.Random(seed))
    chunk = heap.main.bins[1][5]
    heap.poke(chunk + 3 * heap.word, chunk)
    with joining(), following() as names:
        snapshot = take(heap.target())
    assert [p.code for p in snapshot.problems if p.address == chunk] == ["bad_link"]
    assert [name for name in names if "tcache" not in name] == ["unsorted bin 1"]


def test_lists_of_few_chunks_are_followed():
    with mock.patch.object(table.LinkTable, "join") as join:
        answers(listed(random.Random(1)).target())
    join.assert_not_called()


def test_where_memory_is_short_lists_are_followed():
    heap = listed(random.Random(2))
    with joining(), mock.patch.object(table, "available", return_value=100 * 160):
        short = answers(heap.target())
    assert short == answers(heap.target())


def test_where_addresses_are_too_far_from_each_other_lists_are_followed():
    heap = listed(random.Random(3))
    followed = answers(heap.target())
    with (
        joining(),
        mock.patch.object(table, "NOWHERE", table.HEADS + 100),
        mock.patch.object(table, "LinkTable", side_effect=AssertionError),
    ):
        assert answers(heap.target()) == followed


def exchanged():
    """Return a heap in which two chunks hang in each other's lists, and more are unsorted."""
    heap = HeapBuilder()
    for state, size in [(FREE, 512), (FREE, 256), *[(UNSORTED, 128)] * 9]:
        heap.main.add(USED, 64)
        heap.main.add(state, size)
    heap.main.add(USED, 64)
    one, other = (chunks for index, chunks in heap.main.bins.items() if index > 1)
    one[0], other[0] = other[0], one[0]
    return heap


def test_a_chunk_in_the_list_of_another_size_is_told_where_fewer_are_sorted_than_not():
    joined, followed = both(exchanged().target)
    assert joined == followed
    assert [problem.code for problem in joined[0][2]] == ["bad_size", "bad_size"]


def test_a_chunk_right_behind_an_arena_s_bins_is_none_of_them():
    heap = HeapBuilder()
    for arena in (heap.main, heap.arena()):
        for state, size in [(UNSORTED, 64), (USED, 64), (FREE, 128), (USED, 64)]:
            arena.add(state, size)
    with joining(), following() as names:
        assert not take(heap.target()).problems
    assert names == []


def test_what_is_stopped_while_lists_are_joined_is_not_told_in_part():
    target = listed(random.Random(4)).target()
    pace, original = target.space.pace, table.LinkTable.join
    paced = replace(target.space, memory=PacedMemory(target.space.memory, pace))

    def join(self, ends):
        pace.stop()
        return original(self, ends)

    pace.start()
    many = mock.patch.object(reading, "has_few", return_value=False)  # follows none
    with joining(), many, mock.patch.object(table.LinkTable, "join", join):
        snapshot = take(replace(target, space=paced))
    assert snapshot.partial
    assert snapshot.free is None


def waiting(target):
    """Return a snapshot whose regular bins wait to be told apart, and what was opened for it."""
    with joining():
        opened = open_target(target)
        return snapshot_of(opened), opened


def kinds_of(snapshot):
    return {each.kind for arena in snapshot.arenas() for each in arena.bins.bins}


@pytest.mark.parametrize("seed", range(4))
def test_regular_bins_are_told_apart_when_the_target_is_no_longer_there(seed):
    heap = listed(random.Random(seed))
    snapshot, opened = waiting(heap.target())
    assert kinds_of(snapshot) == {State.FAST, State.BINNED}
    heap.memory.regions.clear()
    with mock.patch.object(Pages, "states", side_effect=AssertionError):
        found = told_apart(snapshot, opened)
    for figures, arena in zip(found.arenas(), heap.arenas):
        assert figures.bins.chunks(State.UNSORTED) == arena.book[UNSORTED]
        assert figures.bins.chunks(State.SMALL, State.LARGE) == arena.book[FREE]
    assert State.BINNED not in kinds_of(found)
    assert told_apart(found, opened) == found


@tried(100)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_what_waits_is_told_apart_as_it_is_at_once(seed, kind, damaged):
    heap = listed(seed, *kind, chunks=20)
    if damaged:
        damage(seed, heap)
    try:
        at_once = take(heap.target())
    except HeapxError:
        return
    found = told_apart(*waiting(heap.target()))
    for one, other in zip(found.arenas(), at_once.arenas()):
        assert (one.bins.bins, one.bins.problems) == (other.bins.bins, other.bins.problems)
    assert found.problems == at_once.problems


def test_at_the_same_stop_they_are_told_apart_already():
    heap = listed(random.Random(5))
    snapshot, opened = waiting(heap.target())
    whole = told_apart(snapshot, opened)
    with mock.patch.object(table.LinkTable, "join", side_effect=AssertionError):
        assert snapshot_of(opened) == whole


def test_where_tables_would_take_too_much_together_they_do_not_wait():
    heap = listed(random.Random(6))
    with mock.patch.object(table, "may_be_kept", return_value=False):
        snapshot, _ = waiting(heap.target())
    assert State.BINNED not in kinds_of(snapshot)


def test_of_what_waits_chunks_in_lists_of_other_sizes_are_told():
    snapshot, opened = waiting(exchanged().target())
    assert not snapshot.problems
    (problem,) = told_apart(snapshot, opened).problems
    assert (problem.code, problem.arena, problem.damage) == ("check_failed", 0, True)


def test_of_what_waits_a_second_look_at_the_same_stop_takes_no_second_table():
    snapshot, opened = waiting(listed(random.Random(8)).target())
    with joining(), mock.patch.object(table, "LinkTable", side_effect=AssertionError):
        assert snapshot_of(opened) == snapshot


def test_what_is_stopped_meanwhile_stays_together_and_that_is_said():
    snapshot, opened = waiting(listed(random.Random(7)).target())
    pace = opened.target.space.pace
    pace.start()
    pace.stop()
    assert told_apart(snapshot, opened) == snapshot  # what has stopped it before was said then
    snapshot, opened = waiting(listed(random.Random(7)).target())
    pace, original = opened.target.space.pace, table.LinkTable.join

    def join(self, ends):
        pace.stop()
        return original(self, ends)

    pace.start()
    with mock.patch.object(table.LinkTable, "join", join):
        found = told_apart(snapshot, opened)
    assert kinds_of(found) == {State.FAST, State.BINNED}
    assert [each.code for each in found.problems] == ["interrupted"]
