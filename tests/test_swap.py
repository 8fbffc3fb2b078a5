"""Processes whose pages are in swap: no more of them is read than is allowed, whoever reads."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from heapbuilder import AMD64, ARM64, I386, SWAPPED, USED, HeapBuilder, Pages, changed, fill
from sessions import catalogue_of

from gdb_heapx.errors import MemoryFault, SwappedOutError
from gdb_heapx.inventory.catalogue import Catalogue
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.access import of_process
from gdb_heapx.target.pages import PageStates
from gdb_heapx.target.process import QuietMemory

MACHINES = {"amd64": AMD64, "arm64": ARM64, "i386": I386}
ALLOWED = (0, 1, 2, 3, 4, 6, 8, 12, 20, 50, 1000)  # pages


class Watched:
    """Memory that knows which swapped pages were read."""

    def __init__(self, memory, residency):
        self.memory, self.residency = memory, residency
        self.brought_back = set()

    def read(self, address, size):
        page = self.residency.page
        for number in range(address // page, -(-(address + size) // page)):
            if self.residency.state(number * page) == SWAPPED:
                self.brought_back.add(number)
        return self.memory.read(address, size)


def plain(heap):
    pass


def superseded(heap):
    heap.arenas[2].supersede(512)
    heap.arenas[2].add(USED, 64)


def interrupted(heap):
    heap.main.foreign_sbrk(3 * heap.page)
    heap.main.add(USED, 128)


def in_mmaps(heap):
    heap.main.next_region(0x7F5000000000 if heap.word == 8 else 0xD0000000)
    heap.main.add(USED, 128)


def built(machine, shape=plain):
    """Return three arenas with every list, of some shape."""
    heap = HeapBuilder(MACHINES[machine])
    for number, arena in enumerate((heap.main, heap.arena(), heap.arena())):
        fill(arena, heap.thread(arena, 100 + number))
    shape(heap)
    for arena in heap.arenas:
        arena.close(16 * heap.page)
    return heap


def swapped(heap, allowed, libc=False):
    """Return a heap's target, all of it swapped out but for libc's data, and what watches it."""
    heap.residency = Pages(heap.page)
    mappings = heap.target().space.mappings
    for mapping in mappings:
        if libc or not mapping.inode:
            heap.residency.mark(mapping.start, mapping.end, SWAPPED)
    watched = Watched(heap.memory, heap.residency)
    memory = QuietMemory(watched, heap.residency, 0, mappings, allowed * heap.page)
    return changed(heap.target(), memory=memory), watched


SHAPES = (plain, superseded, interrupted, in_mmaps)


@pytest.mark.parametrize("walk", [take, catalogue_of], ids=["take", "chunks"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.few(2)
def test_no_more_of_a_heap_comes_back_from_swap_than_is_allowed(machine, shape, walk):
    told = Counter()
    for allowed in ALLOWED:
        target, watched = swapped(built(machine, shape), allowed)
        found = walk(target)
        if isinstance(found, Catalogue):
            found.count()
        problems = found.problems
        assert len(watched.brought_back) <= allowed
        assert [problem for problem in problems if problem.damage] == []
        told[allowed] = len(problems)
    assert told[0]
    assert not told[ALLOWED[-1]]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.few(1)
def test_with_libc_in_swap_too_it_is_said_or_no_more_is_read(machine):
    said = []
    for allowed in ALLOWED:
        target, watched = swapped(built(machine), allowed, libc=True)
        try:
            problems = take(target).problems
        except SwappedOutError as error:
            said.append(error)
        else:
            assert [problem for problem in problems if problem.damage] == []
        assert len(watched.brought_back) <= allowed
    assert said
    assert all("--swap-in" in error.remedies[0] for error in said)


def test_a_read_of_any_kind_is_bounded():
    heap = built("amd64")
    target, watched = swapped(heap, 0)
    space, top = target.space, heap.main.top
    for read in (space.words, space.read_int, space.memory.read):
        with pytest.raises(SwappedOutError):
            read(top, 8)
    for read in (space.read_word, space.read_string):
        with pytest.raises(MemoryFault):
            read(top)
    assert not space.readable(top)
    assert not watched.brought_back


def test_of_a_process_there_is_one_memory_and_it_is_bounded(monkeypatch):
    """As if all its pages were in swap."""
    monkeypatch.setattr(PageStates, "state", lambda *_: SWAPPED)
    monkeypatch.setattr(
        PageStates, "states", lambda self, a, b: bytes([SWAPPED]) * (-(-b // 4096) - a // 4096)
    )
    access = of_process(os.getpid(), 8, 4096, None, ())
    mapping = next(each for each in access.mappings if each.name == "[heap]")
    assert len(access.memory.read(mapping.start, 64)) == 64
    with pytest.raises(SwappedOutError):
        access.memory.read(mapping.start + 4096, 64)
