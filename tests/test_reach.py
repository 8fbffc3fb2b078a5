"""What is reached from where: as sets tell it that a test makes by itself, word by word."""

from __future__ import annotations

from array import array
from unittest import mock

import pytest
from heapbuilder import AMD64, I386, S390X, HeapBuilder, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from test_held import built, held, in_pieces

from gdb_heapx.held import parts
from gdb_heapx.reach import compiled
from gdb_heapx.reach.compiled import CompiledFlood, flood_of
from gdb_heapx.reach.flood import Flood
from gdb_heapx.reach.marks import Marks
from gdb_heapx.reach.states import DEGREE, Degree

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (I386, (2, 36)), (S390X, (2, 36))]
SEEDS = st.randoms(use_true_random=True)


def with_pointers(seed, machine, release) -> HeapBuilder:
    """Return a heap whose chunks in use lead to each other, to their insides, or nowhere."""
    heap = built(seed, machine, release)
    word, chunks = heap.word, list(held(heap.target()).index.each())
    for chunk in chunks:
        places = range(chunk.user, chunk.user + min(chunk.usable, 256), word)
        last = chunk.user + chunk.usable - word
        for place in seed.sample([*places, last], seed.randrange(min(4, len(places) + 1))):
            heap.poke(place, pointer(seed, chunks))
    return heap


def pointer(seed, chunks) -> int:
    """Return what may lead to a chunk."""
    chunk = seed.choice(chunks)
    inside = seed.randrange(chunk.usable + 1)
    return seed.choice([chunk.user] * 4 + [chunk.user + inside] * 2 + [chunk.address, 0, 1])


class Naive:
    """Reaches chunks by sets, looking at one word after the other."""

    def __init__(self, heap, found) -> None:
        self.heap, self.chunks = heap, list(found.index.each())
        self.owner = {}
        for chunk in self.chunks:
            self.owner.update(dict.fromkeys(range(chunk.user, chunk.user + chunk.usable), chunk))
        singles = found.index.singles
        apart = [chunk for chunk in self.chunks if not singles[chunk.region]]
        self.behind = {chunk.address + chunk.bytes for chunk in apart}
        self.leads = {chunk.rank: self._leads(chunk) for chunk in self.chunks}

    def _leads(self, chunk) -> set[tuple[int, bool]]:
        words = self.heap.words(chunk.user, chunk.usable // self.heap.word)
        stale = [word for word in words[:4] if word in self.behind]
        return self.hits([*words[4:], *(word for word in words[:4] if word not in stale)])

    def hits(self, words) -> set[tuple[int, bool]]:
        """Return the ranks of the chunks that words lead to, and whether to where these begin."""
        owners = ((word, self.owner.get(word)) for word in words)
        return {(chunk.rank, chunk.user == word) for word, chunk in owners if chunk}

    def reached(self, first, inner, but=frozenset()) -> set[int]:
        """Return what is reached from some hits on, but for these and what only they reach."""
        todo, seen = list(first), set(but)
        while todo:
            rank, begins = todo.pop()
            if rank not in seen and (begins or inner):
                seen.add(rank)
                todo += self.leads[rank]
        return seen - but


def degrees(flood, roots, red) -> list[Degree]:
    flood.follow([roots], Degree.REACHABLE, inner=False)
    flood.follow_inside(Degree.INTERIOR)
    flood.follow([red], Degree.RED_ZONE, inner=True)
    return [Degree(state & DEGREE) for state in flood.states]


@tried(100)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_what_is_reached_is_what_sets_reach(seed, kind, by_c):
    heap = with_pointers(seed, *kind)
    with in_pieces(seed):
        found = held(
            changed(heap.target(), compiled=by_c),
            seed.choice([None, 3 * heap.page, 40 * heap.page]),
        )
    chunks, naive = list(found.index.each()), Naive(heap, found)
    roots, red = (array("Q", [pointer(seed, chunks) for _ in range(3)]) for _ in range(2))
    with mock.patch.object(compiled, "ROOM", seed.choice([1, 2, 1000])):
        flood = flood_of(found)
        told = degrees(flood, roots, red)
        hanging = flood.part()
    first = naive.hits(roots)
    reachable = naive.reached(first, inner=False)
    led = {hit for rank in reachable for hit in naive.leads[rank]} | first
    interior = naive.reached(led, True, frozenset(reachable))
    zone = naive.reached(naive.hits(red), True, frozenset(reachable | interior))
    assert {rank for rank, degree in enumerate(told) if degree is Degree.REACHABLE} == reachable
    assert {rank for rank, degree in enumerate(told) if degree is Degree.INTERIOR} == interior
    assert {rank for rank, degree in enumerate(told) if degree is Degree.RED_ZONE} == zone
    rest = set(naive.leads) - reachable - interior - zone
    heads = {rank for rank, state in enumerate(flood.states) if state & DEGREE == Degree.HEAD}
    assert_are_heads(naive, heads, rest, frozenset(reachable | interior | zone))
    assert hanging[0].sum.chunks == len(rest)
    assert hanging[0].sum.bytes == sum(chunk.bytes for chunk in chunks if chunk.rank in rest)


def assert_are_heads(naive, heads, rest, known):
    """All that nobody refers to hangs from them, and none of them from another one."""
    from_each = {rank: naive.reached({(rank, True)}, True, known) for rank in heads}
    assert set().union(*from_each.values()) == rest
    assert not any(a in from_each[b] for a in heads for b in heads if a != b)


@tried(100)
@given(SEEDS, st.sampled_from(KINDS[:2]))
def test_compiled_code_reaches_the_same(seed, kind):
    heap = with_pointers(seed, *kind)
    chunks = list(held(heap.target()).index.each())
    words = [array("Q", [pointer(seed, chunks) for _ in range(3)]) for _ in range(2)]
    kinds = array("I", [seed.randrange(3) for _ in chunks])
    found = []
    most = seed.choice([None, 3 * heap.page, 40 * heap.page])
    for by_c in (True, False):
        with mock.patch.object(parts, "PIECE", 1 << 14):
            flood = flood_of(held(changed(heap.target(), compiled=by_c), most), kinds, 3)
        assert isinstance(flood, CompiledFlood if by_c else Flood)
        found.append((degrees(flood, *words), flood.part(), flood.sums(), bytes(flood.states)))
    assert found[0] == found[1]


@tried(50)
@given(SEEDS, st.sampled_from(KINDS))
def test_each_chunk_has_a_mark_where_its_memory_begins(seed, kind):
    with in_pieces(seed):
        found = held(changed(built(seed, *kind).target(), compiled=False))
    marks, chunks = Marks(found.index), list(found.index.each())
    places = [place for place, mark in enumerate(marks.all) if mark]
    assert [marks.user(place) for place in places] == [chunk.user for chunk in chunks]
    assert [marks.place(chunk.user) for chunk in chunks] == places
    states = bytes(seed.randrange(16) for _ in chunks)
    marks.put(states)
    assert marks.states() == states


def test_a_list_longer_than_the_stack_is_followed_to_its_end():
    heap = HeapBuilder()
    chunks = [heap.main.add("used", 32) for _ in range(200)]
    for chunk, following in zip(chunks, chunks[1:]):
        heap.poke(chunk + 16, following + 16)
    with mock.patch.object(compiled, "ROOM", 1):
        flood = flood_of(held(heap.target()))
        flood.follow([array("Q", [chunks[0] + 16])], Degree.REACHABLE, inner=False)
    assert bytes(flood.states) == bytes([Degree.REACHABLE]) * 200


@pytest.mark.parametrize("by_c", [True, False])
def test_links_of_malloc_s_refer_to_nothing_though_they_lie_in_two_pages(by_c):
    heap = HeapBuilder()
    before = heap.main.add("used", 64)
    at = heap.main.cursor
    heap.main.add("used", -(at + 32) % heap.page or heap.page)
    large = heap.main.add("used", 3 * heap.page)
    assert (large + 16) % heap.page == heap.page - 16
    heap.poke(large + 32, before + 64)  # the header behind the chunk: fd_nextsize once
    found = held(changed(heap.target(), compiled=by_c))
    told = degrees(flood_of(found), array("Q", [large + 16]), array("Q"))
    reached = [chunk.address for chunk, degree in zip(found.index.each(), told) if degree]
    assert reached == [large]
    heap.poke(large + 48, before + 64)  # no link of malloc's lies there
    found = held(changed(heap.target(), compiled=by_c))
    told = degrees(flood_of(found), array("Q", [large + 16]), array("Q"))
    assert told[0] is Degree.INTERIOR
