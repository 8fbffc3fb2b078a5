"""What would be returned if chunks were free: as of a heap that was built with them free."""

from __future__ import annotations

import random
from itertools import groupby

from heapbuilder import FAST, FREE, PAGE, STRUCT, TCACHE, USED, HeapBuilder, Pages
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.heap.states import State
from gdb_heapx.heap.tails import Tails
from gdb_heapx.heap.walk import walk
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.snapshots.outcomes import Outcomes
from gdb_heapx.snapshots.take import take

MIB = 1 << 20
SEEDS = st.integers(0, 1 << 32)
SMALL, LARGE = (32, 48, 64, 112), (1024, 5000 // 16 * 16, 40000, 200000, 700000)


def chunks_at_random(seed, number=40):
    """Return chunks, (state, size) each; those that are free are apart, and none is the last."""
    found, weights = [], seed.choice([(5, 3, 1, 2), (1, 3, 1, 1), (1, 2, 3, 3), (6, 1, 0, 0)])
    for _ in range(seed.randint(1, number)):
        (state,) = seed.choices((USED, FREE, FAST, TCACHE), weights)
        size = seed.choice(SMALL if state == FAST else (*SMALL, 1024))
        if state == FREE or (state == USED and not seed.randint(0, 9)):
            size = seed.choice((*SMALL, *LARGE))
        if (state, FREE) != (FREE, found[-1][0] if found else None):
            found.append((state, size))
    return [*found, (seed.choice((USED, TCACHE, FAST)), 64)] if found[-1][0] == FREE else found


def merged(chunks):
    """Return the same with one chunk where several are free side by side."""
    for free, group in groupby(chunks, lambda chunk: chunk[0] == FREE):
        group = list(group)
        yield from [(FREE, sum(size for _, size in group))] if free else group


def built(chunks, seed, thread=False, end=0):
    """Return a heap of these chunks, those of tcaches in two of them; what is free last is top."""
    heap = HeapBuilder()
    arena = heap.arena() if thread else heap.main
    caches = [heap.thread(arena, lwp) for lwp in (11, 12)]
    arena.add(USED, 4000)
    *before, (state, size) = merged(chunks)
    for at, (each, length) in enumerate([*before, *([] if state == FREE else [(state, size)])]):
        arena.add(each, length, caches[at % 2])
    arena.close(max(end - arena.cursor, PAGE))
    heap.residency = Pages()
    heap.residency.mark_at_random(random.Random(seed), arena.base, arena.top + arena.top_size)
    return heap, arena


def parameters(heap, seed):
    """Set what free() goes by."""
    pick, mp = random.Random(seed), heap.symbols.get("mp_")
    heap.target()
    mp = heap.symbols["mp_"]
    for name in ("trim_threshold", "top_pad"):
        heap.field(heap.layout.par, mp, name, pick.choice((0, PAGE, 128 << 10, 300 << 10)))


def figures(heap, arena, seed):
    parameters(heap, seed)
    snapshot = take(heap.target())
    assert not snapshot.problems
    return snapshot.arenas()[arena.index]


def freed(chunks, which):
    """Return the chunks with those free whose number `which` holds."""
    return [(FREE if at in which else state, size) for at, (state, size) in enumerate(chunks)]


def compare(seed, thread, which):
    """Return the figures of a heap, those of one with some chunks free, and what a walk foretells.

    `which` tells the numbers of the chunks that are free in the other.
    """
    chunks = chunks_at_random(random.Random(seed))
    heap, arena = built(chunks, seed, thread)
    mine = figures(heap, arena, seed)
    numbers = which(chunks, mine)
    end = arena.top + arena.top_size
    other, its = built(freed(chunks, numbers), seed, thread, end)
    assert its.top + its.top_size == end
    addresses = [a for a, _, state in arena.chunks if state != STRUCT][1:]
    opened = open_target(heap.target())
    reading = opened.mallocs[0]
    par = reading.libc.parameters
    outcomes = Outcomes(reading, {name: par[name] for name in par.struct.members})
    read = reading.arena(reading.arenas[arena.index])
    without = outcomes.without(read, {addresses[n] for n in numbers})
    return mine, figures(other, its, seed), without, addresses


def of(state):
    return lambda chunks, _: {at for at, (each, _) in enumerate(chunks) if each == state}


@tried(150)
@given(SEEDS, st.booleans())
def test_with_free_tcaches_a_heap_is_as_one_where_their_chunks_are_free(seed, thread):
    mine, other, *_ = compare(seed, thread, of(TCACHE))
    assert mine.whatif.tcaches == other.whatif.now


@tried(150)
@given(SEEDS, st.booleans())
def test_chunks_that_a_walk_takes_for_free_are_as_if_they_were_built_free(seed, thread):
    pick = random.Random(seed + 1)

    def which(chunks, _):
        return {at for at, (state, _) in enumerate(chunks) if state != FREE and pick.randint(0, 1)}

    _, other, without, _ = compare(seed, thread, which)
    size = other.top_end - other.heaps[-1].ending.free
    if size >= 64 << 10:  # else this free trims nothing
        assert without == other.whatif.now
    else:
        assert not without.by_free.bytes


@tried(150)
@given(SEEDS, st.booleans())
def test_what_is_last_below_top_holds_what_free_returns_where_it_is_free(seed, thread):
    pins = []

    def which(chunks, mine):
        pins.append(mine.whatif.last)
        address, inside = mine.top_address - sum(size for _, size in chunks), set()
        for at, (_, size) in enumerate(chunks):
            if pins[0].address <= address < pins[0].address + pins[0].size:
                inside.add(at)
            address += size
        return inside if pins[0].state is not State.FAST else of(FAST)(chunks, mine)

    mine, other, without, _ = compare(seed, thread, which)
    held = mine.whatif.last.held
    if mine.whatif.last.state is State.FAST:
        assert held == other.whatif.now.by_free
    else:
        assert held == without.by_free
    assert not held.bytes or held == other.whatif.now.by_free


def test_a_last_chunk_larger_than_what_is_free_before_it_is_no_pin_and_holds_both():
    heap = HeapBuilder()
    heap.main.add(USED, 640)
    heap.main.add(FREE, MIB)
    last = heap.main.add(USED, 2 * MIB)
    heap.main.close()
    (arena,) = take(heap.target()).arenas()
    assert arena.pins == ()
    assert arena.whatif.last.address == last
    room = heap.main.top + heap.main.top_size - (last - MIB)
    assert arena.whatif.last.held.bytes == (room - 33 - (128 << 10)) // PAGE * PAGE


@tried(100)
@given(SEEDS)
def test_free_and_then_malloc_trim_return_together_what_malloc_trim_returns_at_once(seed):
    heap, arena = built(chunks_at_random(random.Random(seed)), seed)
    mine = figures(heap, arena, seed)
    both = mine.whatif.now.by_free + mine.whatif.now.by_trim
    assert both == mine.trim.returned_below_top + mine.trim.returned_top


# The fold.


def tails_of(arena):
    """Return how the chunks of a builder's arena end, told the long way."""
    chunks = arena.chunks
    not_free = [c for c in chunks if c[2] not in (FREE, FAST)]
    used = [c for c in chunks if c[2] == USED]
    free = not_free[-1][0] + not_free[-1][1]
    island = free
    for address, size, _ in reversed(not_free):
        if address + size != island:
            break
        island = address
    before = [a + s for a, s, _ in not_free if a < island]
    alike = [c for _, c in zip(range(len(used)), reversed(used)) if c[1] == used[-1][1]]
    other = next((a + s for a, s, _ in reversed(used) if s != used[-1][1]), None)
    alike = [c for c in alike if other is None or c[0] >= other]
    return {
        "last": used[-1][0],
        "last_size": used[-1][1],
        "free": free,
        "island": island,
        "gap": before[-1] if before else chunks[0][0],
        "first": next(a for a, _, state in chunks if state != FREE),
        "chunks": sum(c[0] >= island for c in not_free),
        "alike": len(alike),
        "other": other,
        "trail": [
            (a, s, State.FAST if state == FAST else State.TCACHE)
            for a, s, state in reversed(chunks)
            if a > used[-1][0] and state in (FAST, TCACHE, STRUCT)
        ],
    }


@tried(150)
@given(SEEDS, st.integers(1, 300))
def test_a_fold_tells_how_chunks_end_whatever_is_read_at_once(seed, number):
    chunks = chunks_at_random(random.Random(seed), number)
    heap, arena = built(chunks, seed)
    reading = open_target(heap.target()).mallocs[0]
    tails = Tails()
    space, overlay = reading.space, reading.walks.overlay(reading.arenas[0])
    (main,) = (part.heap for part in reading.arena(reading.arenas[0]).walked)
    end, problems = walk(space, reading.libc.layout, _up_to_top(main, arena), overlay, [tails])
    assert (end, problems) == (arena.top, [])
    found = {name: getattr(tails, name) for name in tails_of(arena)}
    assert {**found, "trail": [*tails.trail]} == tails_of(arena)


def _up_to_top(heap, arena):
    return type(heap)(heap.arena, heap.address, heap.first, arena.top, None, 0)
