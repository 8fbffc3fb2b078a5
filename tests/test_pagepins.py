"""What keeps single pages, found by a fold, against a search that tries every page by itself."""

from __future__ import annotations

from unittest import mock

import pytest
from heapbuilder import AMD64, ARM, FAST, FREE, I386, PAGE, TCACHE, USED, HeapBuilder, up, usual
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from sessions import answer

from gdb_heapx.heap import scan
from gdb_heapx.heap.arenas import Heap
from gdb_heapx.heap.holes import Trimmer
from gdb_heapx.heap.pagepins import PagePins
from gdb_heapx.heap.pingroups import PinGroups, size_and_state
from gdb_heapx.heap.places import Overlay
from gdb_heapx.heap.walk import walk
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.take import take

SMALL = (32, 48, 64, 112, 240, 512, 1024)
LARGE = (48, 1008, 1536, 2048, 2496, 3072, 4000, 4096, 5120, 6000, 7168, 8192, 12288)


def drawn(seed, machine):
    """Return a main arena of random chunks, with a kind of its own in each stretch."""
    heap = HeapBuilder(machine)
    cache, arena = heap.thread(heap.main, 100), heap.main
    for _ in range(seed.randrange(1, 6)):
        sizes = seed.sample(seed.choice([SMALL, LARGE]), 4)
        used, freed = seed.random(), seed.choice([FREE, FREE, FAST, USED])
        for _ in range(seed.randrange(1, 80)):
            state = USED if seed.random() < used else seed.choice([freed, FREE, TCACHE])
            if state == FREE and arena.previous and arena.previous[0] == FREE:
                state = USED
            size = max(seed.choice(sizes) + 16 * seed.randrange(40), 32)
            size = {FAST: 16 * seed.randrange(2, 5), TCACHE: 16 * seed.randrange(2, 20)}.get(
                state, size
            )
            arena.add(state, size, cache if state == TCACHE else None)
    arena.add(USED, 64)
    return heap, arena


def found(heap, arena, at_once):
    """Return what the fold finds, with reads of so many bytes at once."""
    target = heap.target()
    first = heap.layout.first_chunk(arena.heaps[0][0])
    main = Heap(0, first, first, arena.top, None, 0)
    overlay = Overlay.empty()
    for address, _, state in arena.chunks:
        if state in (FAST, TCACHE):
            (overlay.fast if state == FAST else overlay.cached).add(address)
    groups, pins = PinGroups(size_and_state), []
    trimmer = Trimmer(target.space)

    class Both:
        full = False

        def take(self, pin):
            groups.take(pin)
            pins.append(pin)

    with mock.patch.multiple(scan, AT_ONCE=at_once, SMALLEST_READ=min(at_once, 1 << 14)):
        _, problems = walk(
            target.space, heap.layout, main, overlay, [PagePins(trimmer, Both(), arena.top)]
        )
    assert not problems
    return pins, groups


class Search:
    """The pages of a heap, each tried by itself."""

    def __init__(self, chunks, head):
        self.chunks = [(at, size) for at, size, _ in chunks]
        self.live = {(at, size) for at, size, state in chunks if state not in (FREE, FAST)}
        self.head = head
        self.start, self.end = self.chunks[0][0], sum(self.chunks[-1])
        self.last = max(self.live)

    def pages(self, gone=frozenset()):
        """Return the pages inside one chunk that malloc_trim finds if these were free."""
        pages, begin = set(), None
        for at, size in [*self.chunks, (self.end, 0)]:
            if not size or (at, size) in (self.live - gone):
                if begin is not None:
                    first = -(-(begin + self.head) // PAGE)
                    pages.update(range(first * PAGE, at // PAGE * PAGE, PAGE))
                begin = None
            elif begin is None:
                begin = at
        return pages

    def touching(self, page):
        return [c for c in sorted(self.live) if c[0] < page + PAGE and sum(c) > page - self.head]

    def free(self, page):
        live = self.touching(page)
        return PAGE - sum(max(min(sum(c), page + PAGE) - max(c[0], page), 0) for c in live)

    def pins(self):
        """Return (pages, chunks) of each pin by its definition."""
        first = -(-(self.start + self.head) // PAGE) * PAGE
        every = range(first, self.end // PAGE * PAGE, PAGE)
        touching = {page: self.touching(page) for page in every}
        for page, live in touching.items():
            if any(size > 2 * PAGE for _, size in live):
                touching[page] = []
        half = {page for page in every if touching[page] and 2 * self.free(page) >= PAGE}

        def chunks(pages):
            return {c for p in pages for c in touching[p]}

        def short(pages):
            return sum(size for _, size in chunks(pages)) <= sum(map(self.free, pages))

        groups, pages = [], []
        for page in every:
            own, others = set(touching[page]), chunks(pages)
            grown = page in half and own >= others and short([*pages, page])
            follows = pages and pages[0] in half and pages[-1] == page - PAGE
            if own and follows and (own <= others or grown):
                pages.append(page)
                continue
            pages = [page] if own else []
            groups += [pages] if own else []
        pins, lost = [], []
        for group in groups:
            pages = [p for p in group if self.last not in touching[p]]
            along = [p for p in lost if set(touching[p]) <= chunks(pages)]
            if pages and short([*along, *pages]):
                pins.append(([*along, *pages], chunks(pages)))
                lost = []
            else:
                lost += pages
        return pins


MACHINES = st.sampled_from([AMD64, I386, ARM])
AT_ONCE = st.sampled_from([1 << 12, 1 << 14, 1 << 20])


def said(pin):
    return [held.page for held in pin.pages], {(live.address, live.size) for live in pin.lives}


@tried(300)
@given(st.randoms(use_true_random=False), MACHINES, AT_ONCE)
def test_pins_of_pages_are_those_that_a_search_finds(seed, machine, at_once):
    heap, arena = drawn(seed, machine)
    arena.close()
    pins, _ = found(heap, arena, at_once)
    search = Search(arena.chunks, 6 * machine.word)
    assert [said(pin) for pin in pins] == search.pins()


@tried(300)
@given(st.randoms(use_true_random=False), MACHINES, AT_ONCE)
def test_without_a_pin_its_pages_are_whole_and_what_others_keep_stays(seed, machine, at_once):
    heap, arena = drawn(seed, machine)
    arena.close()
    pins, _ = found(heap, arena, at_once)
    search = Search(arena.chunks, 6 * machine.word)
    before, counted = search.pages(), set()
    for pages, chunks in map(said, pins):
        more = search.pages(chunks) - before
        assert set(pages) <= more
        assert not counted & set(pages)
        counted |= set(pages)
    every = [(set(pages), chunks) for pages, chunks in map(said, pins)]
    for pages, chunks in every:
        others = set().union(*(p for p, c in every if p != pages and c & chunks))
        assert search.pages(chunks) - before - pages <= others


@tried(300)
@given(st.randoms(use_true_random=False), MACHINES, AT_ONCE)
def test_a_group_keeps_what_is_whole_without_all_of_its_chunks(seed, machine, at_once):
    heap, arena = drawn(seed, machine)
    arena.close()
    pins, groups = found(heap, arena, at_once)
    search = Search(arena.chunks, 6 * machine.word)
    before = search.pages()
    lives = {live for pin in pins for live in pin.lives}
    gone = {(live.address, live.size) for live in lives}
    assert (groups.whole.pages if groups.whole else 0) == len(search.pages(gone) - before)
    keys = {size_and_state(live) for live in lives}
    for key in keys:
        of_key = {(e.address, e.size) for e in lives if size_and_state(e) == key}
        held = groups.groups[key].pages if key in groups.groups else 0
        assert held == len(search.pages(of_key) - before), key


def test_what_a_pin_looks_like_is_told_of_a_chunk_that_is_in_use():
    heap = HeapBuilder()
    cache = heap.thread(heap.main, 100)
    heap.main.used_up_to(up(heap.main.cursor + 32, PAGE))
    heap.main.add(FREE, 1 << 20)
    heap.main.add(TCACHE, 64, cache)
    used = heap.main.add(USED, 64)
    heap.main.close(PAGE)
    target = heap.target()
    heap.poke(used + 16, 0x1234)
    text = answer("pins --group none", take(target), target=target, width=120).text
    (row,) = (line for line in text.splitlines() if "  top  " in line)
    assert row.endswith("  0x1234")


@pytest.mark.parametrize("outcomes", [True, False])
def test_what_keeps_pages_is_looked_for_where_outcomes_are_told(outcomes):
    snapshot = take(usual().target(), Scope(outcomes=outcomes))
    assert {arena.pages is not None for arena in snapshot.arenas()} == {outcomes}
