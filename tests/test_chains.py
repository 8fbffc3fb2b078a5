"""What chains.c finds of tcaches is what following their links finds, which defines it."""

from __future__ import annotations

import random
from array import array
from unittest import mock

import pytest
from heapbuilder import AMD64, ARM64, TCACHE, USED, HeapBuilder, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import SHARE, tried
from test_damage import built, damage
from test_links import followed
from test_walk_calls import word
from walkcalls import At, Call, Calls, made_by, made_here, native, sanitized

from gdb_heapx.heap.chains import declared, upwards
from gdb_heapx.heap.library import library
from gdb_heapx.heap.links import Links
from gdb_heapx.heap.places import BUCKET, Places

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 31)), (AMD64, (2, 43)), (ARM64, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
WORDS, LARGEST, ROOM = 256, 8, 16  # words of a copy, and of a chunk; chunks that are kept
BASE = 0x7F0000000000
END = BASE + 8 * WORDS
NOWHERE = (1 << 64) - 1  # what is returned where one lies where no chunk can


@pytest.fixture(autouse=True)
def _is_there():
    walker = library(HeapBuilder().target().space)
    if walker.code is None:
        pytest.skip(f"nothing compiled: {walker.why}")


@tried(600)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_of_any_heap_both_find_the_same_in_tcaches(seed, kind, damaged):
    heap = built(seed, *kind)
    if damaged:
        damage(seed, heap)
    assert followed(heap.target()) == followed(changed(heap.target(), compiled=False))


def test_of_sound_lists_in_a_small_heap_none_is_followed_by_its_links():
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 100)
    for size in (64, 96, 64):
        heap.main.add(TCACHE, size, cache)
        heap.main.add(USED, 64)
    with mock.patch.object(Links, "chains", side_effect=AssertionError):
        (arena,), threads, problems = followed(heap.target())
    (found,) = (thread.tcache.bins for thread in threads if thread.tcache)
    assert [(each.min_size, each.chunks) for each in found] == [(64, 2), (96, 1)]
    assert (arena.tcache, problems) == (224, ())


def drawn(chance):
    """Return a call: of two lists in a copy of memory. Words of that, heads and counters are often
    others than they should be.
    """
    memory, lists, places = [0] * WORDS, list[int](), list(range(BASE, END, 8 * LARGEST))
    chance.shuffle(places)
    for size in (32, 8 * LARGEST):
        chunks = [places.pop() for _ in range(chance.randrange(1, 8))]
        users = [*(chunk + 16 for chunk in chunks), 0]
        for chunk, following in zip(chunks, users[1:]):
            at = (chunk - BASE) // 8
            memory[at + 1 : at + 3] = size | 1, following ^ chunk + 16 >> 12
        lists += users[0], len(chunks), size
    for words in (memory, lists):
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(words))
            words[at] = word(chance, words[at], 64) if words is memory or at % 3 < 2 else words[at]
    buffers = (
        array("Q", memory[: chance.choice((WORDS, WORDS, WORDS - 1, 40))]),
        array("Q", lists),
    )
    room = chance.choice((ROOM, ROOM, 3))
    given = At(0), len(buffers[0]), BASE, chance.choice((12, 12, 64)), At(1), 2, At(2), room
    held = (*(each.tobytes() for each in buffers), bytes(8 * room))
    return Calls(held, (Call("heapx_chains", given),))


def under_sanitizers_too(shared, made):
    """Return what came of calls, which is the same under the sanitizers."""
    found = made_by(sanitized(shared), made)
    assert found == [made_here(native(shared), each) for each in made]
    return found


def test_under_sanitizers_no_word_of_the_process_is_trusted(shared):
    chance = random.Random(1)
    found = under_sanitizers_too(shared, [drawn(chance) for _ in range(2000 // SHARE)])
    numbers = {each.returned[0] for each in found}
    assert {0, 1, 2} <= numbers
    assert max(numbers) > 7  # of both lists: one has no more


def buckets(chance):
    """Return a call that puts chunks of a bucket in order: all of them, or those of a part."""
    offsets = [chance.randrange(1 << BUCKET) & -16 for _ in range(chance.randrange(1, 40))]
    offsets += offsets[:3]
    if chance.random() < 0.2:
        offsets[chance.randrange(len(offsets))] = chance.getrandbits(32)
    count, part = len(offsets), chance.choice((range(BASE, BASE + (1 << BUCKET)), range(BASE, END)))
    held = array("I", offsets).tobytes(), bytes(8 * count)
    given = At(0), count, BASE, part.start, part.stop, At(1)
    return Calls(held, (Call("heapx_upwards", given),))


def test_under_sanitizers_chunks_are_put_in_order_wherever_they_are_said_to_be(shared):
    chance = random.Random(1)
    found = under_sanitizers_too(shared, [buckets(chance) for _ in range(1000 // SHARE)])
    assert {NOWHERE, 0} < {each.returned[0] for each in found}


@tried(200)
@given(st.lists(st.integers(0, 1 << 20).map((16).__mul__)), *[st.integers(0, 1 << 24)] * 2)
def test_chunks_are_put_in_order_by_c_as_by_python(chunks, start, end):
    functions = declared(library(HeapBuilder().target().space).code)
    places = Places()
    places.update(chunks + chunks[:2])
    within = sorted({chunk for chunk in chunks if start <= chunk < end})
    assert [*upwards(functions, places, start, end)] == within
    assert [*places.upwards(start, end)] == within


def test_where_a_chunk_lies_that_can_be_none_python_puts_them_in_order():
    functions = declared(library(HeapBuilder().target().space).code)
    places = Places()
    places.update([64, 40, 32])
    assert [*upwards(functions, places, 0, 64)] == [32, 40]
