"""One place that can't be read costs only what lies there, and the reader is told."""

from __future__ import annotations

from itertools import count

import pytest
from heapbuilder import AMD64, S390X, changed, usual
from sessions import catalogue_of

from gdb_heapx.errors import HeapxError, MemoryFault
from gdb_heapx.locate.stacks import stackblock_offset
from gdb_heapx.snapshots.take import take


class Holed:
    """A memory with one byte that can't be read; it notes what is asked for."""

    def __init__(self, memory, hole=None):
        self.memory, self.hole, self.asked = memory, hole, set()

    def read(self, address, size):
        self.asked.add(address)
        if self.hole is not None and address <= self.hole < address + size:
            raise MemoryFault(address, size)
        return self.memory.read(address, size)


def read_all(target):
    """Return what is told, with all problems and notes."""
    snapshot, catalogue = take(target), catalogue_of(target)
    chunks = sum(1 for _ in catalogue.chunks())
    notes = [note for malloc in snapshot.mallocs for note in malloc.notes]
    return (snapshot.regions, chunks), [*snapshot.problems, *catalogue.problems, *notes]


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("machine", [AMD64, S390X], ids=["amd64", "s390x"])
@pytest.mark.few(1)
def test_one_unreadable_place_is_told_and_costs_only_itself(machine, step):
    """Only mp_ and main_arena are needed for anything at all."""
    target = usual(machine).target()
    whole = Holed(target.space.memory)
    intact, told = read_all(changed(target, memory=whole))
    assert not told
    symbols, refused = target.objects[0].debug.addresses, []
    for hole in sorted(whole.asked)[::step]:
        try:
            found, told = read_all(changed(target, memory=Holed(target.space.memory, hole)))
        except HeapxError as error:
            refused.append((hole, type(error), "cannot be read" in error.statement))
            continue
        assert told or found == intact, hex(hole)
    needed = {(symbols[name], HeapxError, True) for name in ("mp_", "main_arena")}
    assert set(refused) <= needed


class Stack:
    """The end of a thread's stack: words by their offset in struct pthread, and nothing behind."""

    START, END = 0x7F0000000000, 0x7F0000010000

    def __init__(self, pthread, words):
        self.data = bytearray(self.END - self.START)
        for offset, value in words.items():
            at = pthread + offset - self.START
            self.data[at : at + 8] = value.to_bytes(8, "little")

    def read(self, address, size):
        if not self.START <= address <= address + size <= self.END:
            raise MemoryFault(address, size)
        start = address - self.START
        return memoryview(bytes(self.data[start : start + size]))


def test_a_struct_pthread_may_lie_at_the_very_end_of_its_stack():
    """On s390x fewer bytes follow it than struct pthread may have in other releases."""
    pthread = Stack.END - 600
    words = {96: Stack.START, 104: Stack.END - Stack.START}
    target = changed(usual().target(), memory=Stack(pthread, words), objects=())
    assert stackblock_offset(target, None, [pthread]) == 96


def test_words_are_those_before_the_first_page_that_cannot_be_read():
    target = changed(
        usual().target(), memory=Stack(Stack.START, dict(zip(range(0, 80, 8), count())))
    )
    assert list(target.space.words_before_gap(Stack.START, 10)) == list(range(10))
    assert len(target.space.words_before_gap(Stack.END - 24, 10)) == 3
    assert list(target.space.words_before_gap(Stack.END, 10)) == []
