"""Fast chunks are told by their links, without following a list; where that isn't sure, one is."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from unittest import mock

import pytest
from heapbuilder import AMD64, ARM64, FAST, FREE, I386, S390X, TCACHE, USED, HeapBuilder
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.heap.bins import FreeList
from gdb_heapx.heap.states import State
from gdb_heapx.heap.told import Linked, Told
from gdb_heapx.snapshots.take import take

SIZES = (32, 48, 64, 96, 128)
SEEDS = st.integers(0, 1 << 32)


def filled(seed, machine=AMD64, release=(2, 36), chunks=400, states=(USED, USED, FAST, TCACHE)):
    """Return a heap of fast chunks of several sizes among others."""
    heap = HeapBuilder(machine, release)
    cache = heap.thread(heap.main, 100)
    for _ in range(chunks):
        state = seed.choice(states)
        size = 16 * seed.randrange(2, 20) if state == TCACHE else seed.choice(SIZES)
        heap.main.add(state, size, cache)
        if state == USED and seed.random() < 0.1:
            heap.main.add(FREE, 4096)
            heap.main.add(USED, 64)
    heap.main.close(4096)
    return heap


def make_stale(heap, chunk, to):
    """Leave the link of a list in a chunk in use, as memory has it that was not written since."""
    field = chunk + 2 * heap.word
    heap.poke(field, to ^ field >> 12)


def by_size(heap, state):
    return Counter(size for _, size, found in heap.main.chunks if found == state)


def answered(heap):
    """Return the figures of the main arena, and the names of the lists that were followed."""
    followed = []

    def follow(self, *arguments):
        followed.append(self.name)
        return original(self, *arguments)

    original = FreeList.follow
    with mock.patch.object(FreeList, "follow", follow):
        snapshot = take(heap.target())
    assert not snapshot.problems
    (arena,) = snapshot.arenas()
    return arena, [name for name in followed if name.startswith("fastbin")]


def fast_of(arena):
    return Counter({b.min_size: b.chunks for b in arena.bins.bins if b.kind is State.FAST})


@tried(60)
@given(SEEDS, st.sampled_from([AMD64, ARM64, S390X]))
def test_what_is_in_fastbins_is_told_without_following_a_list(seed, machine):
    heap = filled(random.Random(seed), machine)
    arena, followed = answered(heap)
    assert fast_of(arena) == by_size(heap, FAST)
    assert arena.chunks[State.IN_USE] == sum(by_size(heap, USED).values())
    assert followed == []


def test_a_stale_link_costs_following_one_list():
    heap = filled(random.Random(1))
    fast = next(chunk for chunk, size, state in heap.main.chunks if (size, state) == (64, FAST))
    used = next(chunk for chunk, size, state in heap.main.chunks if (size, state) == (64, USED))
    heap.target()
    make_stale(heap, used, fast)
    arena, followed = answered(heap)
    assert fast_of(arena) == by_size(heap, FAST)
    assert followed == ["fastbin 2"]


@tried(60)
@given(SEEDS, st.sampled_from([0.01, 0.5, 1]))
def test_whatever_is_stale_the_figures_are_those_of_the_lists(number, share):
    seed = random.Random(number)
    heap = filled(seed)
    heap.target()
    fast = [chunk for chunk, _, state in heap.main.chunks if state == FAST]
    for chunk, _, state in heap.main.chunks:
        if state == USED and seed.random() < share:
            make_stale(heap, chunk, seed.choice([*fast, 0]))
    arena, _ = answered(heap)
    assert fast_of(arena) == by_size(heap, FAST)
    assert arena.chunks[State.IN_USE] == sum(by_size(heap, USED).values())


@pytest.mark.parametrize(("release", "lists"), [((2, 31), len(SIZES)), ((2, 42), 0), ((2, 43), 0)])
def test_links_tell_where_they_are_mangled(release, lists):
    states = (USED, FAST) if release < (2, 43) else (USED, USED)
    heap = filled(random.Random(2), release=release, states=states)
    arena, followed = answered(heap)
    assert fast_of(arena) == by_size(heap, FAST)
    assert len(followed) == lists


def test_what_the_program_wrote_is_taken_for_no_link():
    heap = filled(random.Random(3))
    heap.target()
    seed = random.Random(4)
    for chunk, _, state in heap.main.chunks:
        if state == USED:
            field = chunk + 2 * heap.word
            heap.poke(field, seed.choice([0, 1, chunk, heap.main.top, seed.getrandbits(64)]))
    arena, followed = answered(heap)
    assert fast_of(arena) == by_size(heap, FAST)
    assert followed == []


def drawn_arena(seed, word):
    """Return where an arena begins and ends, somewhere in the address space."""
    bits = 47 if word == 8 else 32
    low = 16 * seed.randrange(1 << 8, 1 << bits - 5)
    return low, low + 16 * seed.randrange(1 << 8, 1 << seed.randrange(9, bits - 4))


@tried(600)
@given(SEEDS, st.sampled_from([AMD64, I386, S390X]))
def test_a_link_is_told_wherever_the_arena_lies(number, machine):
    seed = random.Random(number)
    layout = HeapBuilder(machine).layout
    low, high = drawn_arena(seed, layout.word)
    chunks = sorted(seed.sample(range(0, 256, 4), 8))
    start = seed.randrange(low, high - 2048, 16)
    leads = [seed.choice([0, low, seed.randrange(low, high, 16)]) for _ in chunks]
    leads[0] = seed.choice([low - 16, low + 1, high])
    words = array("Q" if layout.word == 8 else "I", bytes(8 * 256))
    per_grain = 8 // layout.word
    for chunk, lead in zip(chunks, leads):
        words[chunk * per_grain] = lead ^ start + 8 * chunk + layout.header >> 12
    links = memoryview(words)[::per_grain]
    found = Told(frozenset({48}), low, high, layout).among(
        start, {0x31: chunks}, links, {chunks[1]}
    )
    assert found == {48: Linked(chunks[2:], leads[2:])}
