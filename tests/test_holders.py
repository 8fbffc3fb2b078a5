"""Who holds chunks, and how they are reached: as sets tell it that a test makes by itself."""

from __future__ import annotations

from array import array
from unittest import mock

import pytest
from heapbuilder import HeapBuilder, changed, usual
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from sessions import answer
from test_damage import damage
from test_held import held, in_pieces
from test_reach import KINDS, SEEDS, Naive, pointer, with_pointers

from gdb_heapx.commands import load_commands
from gdb_heapx.errors import HeapxError
from gdb_heapx.reach import labelled, referrers
from gdb_heapx.reach.chains import chain_to
from gdb_heapx.reach.holders import find_holders
from gdb_heapx.reach.labelled import CompiledLabels, labels_of
from gdb_heapx.reach.labels import SEVERAL, Labels, Share
from gdb_heapx.reach.nearest import nearest_of
from gdb_heapx.reach.referrers import chunk_at, referring_words
from gdb_heapx.reach.ways import way_to
from gdb_heapx.report.notes import note, sentence
from gdb_heapx.snapshots.take import take

load_commands()

ENOUGH = 1 << 30
BOTH = st.booleans()


def a_heap(seed, kind, by_c):
    heap = with_pointers(seed, *kind)
    with in_pieces(seed):
        most = seed.choice([None, None, 3 * heap.page, 40 * heap.page])
        return heap, held(changed(heap.target(), compiled=by_c), most)


def some_words(seed, chunks) -> array:
    return array("Q", [pointer(seed, chunks) for _ in range(seed.randrange(4))])


def told_share(counted) -> Share | None:
    return counted.share if counted else None


def reached_from(naive, words) -> set[int]:
    return naive.reached(naive.hits(words), inner=True)


@tried(66)
@given(SEEDS, st.sampled_from(KINDS), BOTH)
def test_what_is_held_alone_and_by_several_is_what_sets_hold(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    words = [some_words(seed, chunks) for _ in range(4)]
    with mock.patch.object(labelled, "ROOM", seed.choice([1, 2, 1000])):
        labels = labels_of(found, len(words))
        for number, each in enumerate(words, 1):
            labels.follow(number, number, each)
        rows, kinds = (
            array("I", [0, 1, 0, 2, 0, 0]),
            array("I", [seed.randrange(3) for _ in chunks]),
        )
        totals = labels.totals(rows, kinds, 3)
        shared = [told_share(labels.shared(each, ENOUGH)) for each in words]
    reach = [reached_from(naive, each) for each in words]
    several = {r for r in naive.leads if sum(r in each for each in reach) > 1}
    size = {chunk.rank: chunk.bytes for chunk in chunks}
    for number, (mine, both) in enumerate(zip(reach, shared), 1):
        alone = mine - several
        assert {r for r in naive.leads if labels.labels[r] == number} == alone
        assert totals.parts[number] == (len(alone), sum(size[r] for r in alone))
        assert both == (len(mine & several), sum(size[r] for r in mine & several))
        assert bool(labels.touches[number]) == bool(mine & several)
        if rows[number]:
            told = totals.bytes_by_kind[rows[number] - 1]
            assert list(told) == [sum(size[r] for r in alone if kinds[r] == k) for k in range(3)]
    assert {r for r in naive.leads if labels.labels[r] == SEVERAL} == several
    assert totals.parts[-1] == (len(several), sum(size[r] for r in several))
    assert sum(part.bytes for part in totals.parts) == sum(size.values())


@tried(33)
@given(SEEDS, st.sampled_from(KINDS[:2]), BOTH)
def test_words_that_hold_the_same_may_be_one_holder(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    one, two, three = (some_words(seed, chunks) for _ in range(3))
    labels = labels_of(found, 3)
    labels.follow(1, 1, one)
    labels.follow(2, 2, two)
    met = labels.follow(3, 2, three)
    reach = [reached_from(naive, each) for each in (one, two, three)]
    assert met == bool(reach[1] & reach[2] - reach[0])
    together = {r for r in naive.leads if labels.labels[r] in (2, 3)}
    assert together == (reach[1] | reach[2]) - reach[0]


@tried(33)
@given(SEEDS, st.sampled_from(KINDS[:2]), BOTH)
def test_counting_ends_where_it_would_take_too_long(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    words = [some_words(seed, chunks) for _ in range(4)]
    labels = labels_of(found, len(words))
    assert isinstance(labels, CompiledLabels if by_c else Labels)
    for number, each in enumerate(words, 1):
        labels.follow(number, number, each)
    with mock.patch.object(labelled, "ROOM", seed.choice([1, 2, 1000])):
        for each in words:
            number = len(reached_from(naive, each))
            most = seed.randrange(number + 2)
            told = labels.shared(each, most)
            assert (told is None) == (number > most)


@tried(66)
@given(SEEDS, st.sampled_from(KINDS), BOTH)
def test_who_refers_to_a_chunk_is_whoever_has_a_word_that_leads_there(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    chunk = seed.choice(chunks)
    with mock.patch.object(referrers, "ROOM", seed.choice([1, 2, 1000])):
        told = list(referring_words(found, chunk))
    assert [heap.peek(lead.at) for lead in told] == [lead.word for lead in told]
    assert all(chunk.user <= lead.word < chunk.user + chunk.usable for lead in told)
    by = {
        each.rank
        for each in chunks
        if any(rank == chunk.rank for rank, _ in naive.leads[each.rank])
    }
    assert {naive.owner[lead.at].rank for lead in told} == by
    assert [lead.at for lead in told] == sorted({lead.at for lead in told})


@tried(33)
@given(SEEDS, st.sampled_from(KINDS))
def test_a_chunk_is_meant_by_any_address_in_its_header_and_before_the_next_one_s(seed, kind):
    found = held(with_pointers(seed, *kind).target())
    for chunk in found.index.each():
        word, single = found.space.word, found.index.singles[chunk.region]
        behind = chunk.user + chunk.usable if single else chunk.address + chunk.bytes
        for address in (
            chunk.address,
            chunk.address + word,
            chunk.user,
            chunk.user + 1,
            behind - 1,
        ):
            assert chunk_at(found, address) == chunk


@tried(66)
@given(SEEDS, st.sampled_from(KINDS), BOTH)
def test_the_way_to_a_chunk_is_the_shortest_one(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    first, then = some_words(seed, chunks), some_words(seed, chunks)
    goal = seed.choice(chunks)
    way = [chunk.rank for chunk in way_to(found, goal, [first, then])]
    from_first, from_then = (distances(naive, each) for each in (first, then))
    told = from_first if goal.rank in from_first else from_then
    if not way:
        assert goal.rank not in told
        return
    assert way[-1] == goal.rank
    assert told[way[0]] == 1
    assert len(way) == told[goal.rank]
    assert all(b in {rank for rank, _ in naive.leads[a]} for a, b in zip(way, way[1:]))


@tried(66)
@given(SEEDS, st.sampled_from(KINDS), BOTH)
def test_a_chunk_is_nearest_to_the_root_from_which_the_fewest_pointers_lead_there(seed, kind, by_c):
    """Of roots in one turn; those of an earlier turn come before, and of equal ones the first. Some
    chunks are closed: they are reached, and nothing through them.
    """
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    turns = [[some_words(seed, chunks) for _ in range(3)] for _ in range(2)]
    search, number, expected = nearest_of(found), 1, {}
    small = [chunk for chunk in chunks if chunk.region not in found.lots.large]
    for chunk in seed.sample(small, seed.choice([0, len(small) // 4])):
        search.close(chunk)
        naive.leads[chunk.rank] = []
    for words in turns:
        far = [distances(naive, each) for each in words]
        for rank in naive.leads:
            ways = [(d[rank], number + at) for at, d in enumerate(far) if rank in d]
            if ways:
                expected.setdefault(rank, min(ways)[1])
        for at, each in enumerate(words):
            search.take(number + at, each)
        search.follow()
        number += len(words)
    told = {rank: search.origin(rank) for rank in naive.leads if search.origin(rank)}
    assert told == expected


@tried(33)
@given(SEEDS, st.sampled_from(KINDS[:2]), BOTH)
def test_what_several_hold_is_added_up_once_more_by_who_is_nearest(seed, kind, by_c):
    heap, found = a_heap(seed, kind, by_c)
    chunks, naive = list(found.index.each()), Naive(heap, found)
    words, size = [some_words(seed, chunks) for _ in range(4)], {c.rank: c.bytes for c in chunks}
    labels, search = labels_of(found, 4), nearest_of(found)
    for number, each in enumerate(words, 1):
        labels.follow(number, number, each)
        search.take(number, each)
    search.follow()
    labels.nearest, labels.lead = search.reached, seed.randrange(1, 5)
    several = {rank for rank, label in enumerate(labels.labels) if label == SEVERAL}
    kinds, rows = array("I", [rank % 3 for rank in naive.leads]), array("I", [0, 1, 2, 3, 4, 0])
    totals = labels.totals(rows, kinds, 3)
    for number, each in enumerate(words, 1):
        near = {rank for rank in several if search.origin(rank) == number}
        assert totals.nearer[number] == (len(near), sum(size[rank] for rank in near))
        mine = near | {rank for rank, label in enumerate(labels.labels) if label == number}
        sums = [sum(size[r] for r in mine if kinds[r] == k) for k in range(3)]
        assert list(totals.bytes_by_kind[number - 1]) == sums
        led = {r for r in reached_from(naive, each) & several if search.origin(r) == labels.lead}
        assert labels.shared(each, ENOUGH).led == sum(size[rank] for rank in led)
    assert sum(part.bytes for part in totals.nearer) == totals.parts[-1].bytes


def distances(naive, words) -> dict[int, int]:
    """Return how many pointers away from words each chunk is."""
    found, level, number = {}, {rank for rank, _ in naive.hits(words)}, 1
    while level:
        found.update(dict.fromkeys(level, number))
        following = {rank for each in level for rank, _ in naive.leads[each]}
        level, number = following - found.keys(), number + 1
    return found


@tried(33)
@given(SEEDS, st.sampled_from(KINDS), BOTH)
def test_whatever_is_damaged_what_is_held_adds_up(seed, kind, by_c):
    heap = with_pointers(seed, *kind)
    damage(seed, heap)
    try:
        found = held(changed(heap.target(), compiled=by_c))
    except HeapxError:
        return
    kinds = array("I", [seed.randrange(3) for _ in range(found.index.chunks)])
    streams = seed.sample(range(found.index.chunks), seed.choice([0, found.index.chunks // 3]))
    told = find_holders(found, kinds, 3, streams)
    parts = (told.alone, told.several, told.unreachable)
    assert sum(part.chunks for part in parts) == found.index.chunks
    assert sum(part.bytes for part in parts) == sum(chunk.bytes for chunk in found.index.each())
    for hold in told.holds:
        assert hold.shared is not None
        assert hold.shared.bytes <= told.several.bytes
        assert sum(size for _, size in hold.kinds or ()) == hold.bytes
    assert sum(hold.nearest.bytes for hold in told.holds) == told.several.bytes
    assert sum(hold.nearest.chunks for hold in told.holds) == told.several.chunks
    for chunk in list(found.index.each())[:3]:
        way = chain_to(found, chunk, {})
        assert bool(way) == bool(chunk.rank in reached_by_roots(found))


def reached_by_roots(found) -> set[int]:
    """Return the ranks of the chunks that holders reach."""
    labels = labels_of(found, 1)
    words = [*found.pointers.to, *(w for r in found.roots.registers for w in r.words)]
    labels.follow(1, 1, array("Q", words))
    return {rank for rank, label in enumerate(labels.labels) if label}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_list_longer_than_the_stack_is_held_to_its_end(compiled):
    heap = HeapBuilder()
    chunks = [heap.main.add("used", 32) for _ in range(200)]
    for chunk, following in zip(chunks, chunks[1:]):
        heap.poke(chunk + 16, following + 16)
    words = array("Q", [chunks[0] + 16])
    with mock.patch.object(labelled, "ROOM", 1):
        labels = labels_of(held(changed(heap.target(), compiled=compiled)), 2)
        labels.follow(1, 1, words)
        labels.follow(2, 2, words)
        assert list(labels.labels) == [SEVERAL] * 200
        assert told_share(labels.shared(words, ENOUGH)) == Share(200, 200 * 32)


def test_where_nobody_holds_most_the_first_line_says_so():
    target = usual().target()
    said = answer("holders", take(target), target=target).text
    assert said.startswith("Nobody holds")


def first_line(alone: int, *others: int) -> str:
    """Return the sentence about who holds 4 of 8 MiB, of which others lead to so many bytes."""
    named = [(f"other {number}", size) for number, size in enumerate(others, 1)]
    said = {"holder": "cache", "size": 4 << 20, "whole": 8 << 20, "types": "Page (4 MiB)"}
    return sentence(note("holds_most", **said, alone=alone, others=named[:2], more=len(named[2:])))


def test_the_first_line_tells_who_holds_most_and_of_which_types():
    assert first_line(4 << 20) == "cache holds 4 MiB of 8 MiB in use alone: Page (4 MiB)."


def test_few_chunks_that_others_lead_to_are_only_counted():
    told = first_line((4 << 20) - 4096, 4096)
    assert told.startswith("cache holds 4 MiB of 8 MiB in use, all but 4 KiB of it alone: ")


def test_who_leads_to_much_of_what_another_holds_is_named_behind():
    told = first_line(1 << 20, 3 << 20, 2 << 20, 1, 1)
    assert told.startswith("cache holds 4 MiB of 8 MiB in use: Page (4 MiB). ")
    rest = "others lead to the rest, too: other 1, other 2 (2 MiB) and 2 more."
    assert told.endswith(f"It holds 1 MiB of that alone; {rest}")


def test_of_what_nobody_holds_alone_one_is_named_first():
    assert first_line(0, 4 << 20).endswith(" Others lead to all of that, too: other 1.")
    assert first_line(0).endswith(" Others lead to all of that, too.")
