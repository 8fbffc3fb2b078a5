"""The ledger: all memory of a process by owner, and its sum."""

from __future__ import annotations

from collections import Counter

import pytest
from heapbuilder import (
    AMD64,
    ARM64,
    FREE,
    I386,
    PAGE,
    S390X,
    USED,
    HeapBuilder,
    Pages,
    at_random,
    changed,
    usual,
    with_pages_at_random,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.heap.states import STATES, State
from gdb_heapx.snapshots.ledger import MALLOC, _at_most, account
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.regions import APART, Owner
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.amounts import Amount
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import RESIDENT, SWAPPED

NOTHING = Usage(0, 0, 0, 0, 0, 0, False, None)
NONE = Amount(0, 0, 0)
MACHINES = [(AMD64, (2, 36)), (AMD64, (2, 44)), (I386, (2, 31)), (S390X, (2, 42)), (ARM64, (2, 36))]


def known(heap):
    """Return a heap whose pages are all resident."""
    heap.residency = Pages(heap.page)
    return heap


def ledger_of(heap, walk=True):
    return account(take(heap.target(), Scope(walk)))


def mapped(heap):
    return sum(mapping.size for mapping in heap.target().space.mappings)


def entry(ledger, owner, arena=None):
    (found,) = (e for e in ledger.entries if (e.owner, e.arena) == (owner, arena))
    return found


# Sums.


@tried(100)
@given(st.randoms(use_true_random=False), st.sampled_from(MACHINES), st.booleans())
def test_the_entries_add_up_to_all_mappings_and_to_the_kernels_rss(seed, kind, walk):
    heap = at_random(seed, *kind)
    for _ in range(seed.randrange(3)):
        heap.mmapped(heap.page * seed.randrange(2, 50), apart=seed.random() < 0.5)
    target = with_pages_at_random(seed, heap).target()
    ledger = ledger_of(heap, walk)
    assert sum(e.amount.bytes for e in ledger.entries) == sum(m.size for m in target.space.mappings)
    resident = sum(e.amount.resident for e in ledger.entries)
    assert resident == ledger.rss == sum(m.usage.resident for m in target.space.mappings)
    swapped = sum(e.amount.swapped for e in ledger.entries)
    assert swapped == sum(m.usage.swapped for m in target.space.mappings)
    assert ledger.difference == 0
    shared = [e.amount.shared for e in ledger.entries]
    if None not in shared:  # else mmapped chunks weren't found: they are some of the other memory
        assert sum(shared) == sum(m.usage.shared for m in target.space.mappings)
    for each in ledger.entries:
        assert 0 <= (each.amount.shared or 0) <= each.amount.resident
        assert 0 <= each.amount.resident + each.amount.swapped <= each.amount.bytes


def test_a_heap_is_divided_by_the_state_of_its_bytes():
    heap = known(usual())
    snapshot = take(heap.target())
    ledger = account(snapshot)
    for arena in snapshot.arenas():
        found = {owner: entry(ledger, owner, arena.index) for owner in STATES}
        assert {o: e.amount.bytes for o, e in found.items()} == {
            state: amount.bytes for state, amount in arena.amounts.items()
        }
        assert all(e.amount == Amount(e.amount.bytes, e.amount.bytes, 0) for e in found.values())
    assert ledger.of(Owner.HEAP, Owner.UNKNOWN) == NONE


def test_each_state_has_what_its_own_pages_say():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.used_up_to(heap.brk + 4 * PAGE)
    heap.main.add(FREE, 2 * PAGE)
    heap.main.add(USED, 2 * PAGE)
    heap.main.close(3 * PAGE)
    heap.residency.mark(heap.brk, heap.main.top + 3 * PAGE, SWAPPED)
    heap.residency.mark(heap.brk + 5 * PAGE, heap.brk + 9 * PAGE, RESIDENT)
    ledger = ledger_of(heap)
    assert entry(ledger, State.BINNED, 0).amount == Amount(2 * PAGE, PAGE, PAGE)
    assert entry(ledger, State.IN_USE, 0).amount == Amount(6 * PAGE, 2 * PAGE, 4 * PAGE)
    assert entry(ledger, State.TOP, 0).amount == Amount(3 * PAGE, PAGE, 2 * PAGE)


def test_of_adds_up_owners():
    ledger = ledger_of(known(usual()))
    owners = (State.TOP, State.BINNED)
    chosen = [e for e in ledger.entries if e.owner in owners]
    assert len(chosen) == 6
    virtual = sum(e.amount.bytes for e in chosen)
    assert ledger.of(*owners) == Amount(virtual, virtual, 0)
    assert ledger.of() == NONE


def test_entries_come_in_the_order_of_owners_and_then_of_arenas():
    entries = ledger_of(known(usual())).entries
    order = [*STATES, *Owner]
    keys = [(order.index(e.owner), -1 if e.arena is None else e.arena) for e in entries]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


# Kinds of memory.


def test_all_that_malloc_has_is_named():
    heap = known(HeapBuilder())
    heap.main.add(USED, 640)
    arena = heap.arena()
    arena.add(USED, 640)
    heap.mmapped(35 * PAGE)
    ledger = ledger_of(heap)
    assert entry(ledger, Owner.MMAPPED).amount.bytes == 35 * PAGE
    (base, end) = arena.heaps[0]
    assert entry(ledger, Owner.RESERVED, 1).amount.bytes == heap.layout.heap_max - (end - base)
    libc = entry(ledger, Owner.FILES).amount.bytes
    total = sum(e.amount.bytes for e in ledger.entries)
    assert ledger.of(*MALLOC).bytes == total - libc


@pytest.mark.parametrize("owner", APART)
def test_what_is_in_no_rss_is_listed_and_not_added(owner):
    heap = known(HeapBuilder())
    heap.main.add(USED, 640)
    kind = "hugetlb" if owner is Owner.HUGETLB else "device"
    usage = Usage(0, 0, 0, 0, 0, 4 << 20, False, kind)
    heap.unreadable.append(Mapping(1 << 30, 2 << 30, "rw-s", 7, "/dev/x", 0, usage))
    ledger = ledger_of(heap)
    assert entry(ledger, owner).amount.bytes == 1 << 30
    assert ledger.difference == 0


def test_pages_that_moved_between_two_readings_are_a_difference():
    heap = known(usual())
    target = heap.target()
    for name, difference in (("[heap]", -2 * PAGE), ("/lib/libc.so.6", 0)):  # cut, and whole
        rows = [
            row._replace(usage=row.usage._replace(resident=row.usage.resident - 2 * PAGE))
            if row.name == name
            else row
            for row in target.space.mappings
        ]
        ledger = account(take(changed(target, mappings=tuple(rows))))
        assert ledger.difference == difference


def test_what_a_forked_process_shares_is_told_once_for_each_mapping():
    heap = known(usual())
    target = heap.target()
    rows = [
        row._replace(usage=row.usage._replace(shared=3 * PAGE, proportional=5 * PAGE))
        for row in target.space.mappings
    ]
    ledger = account(take(changed(target, mappings=tuple(rows))))
    assert ledger.shared == 3 * PAGE * sum(row.anonymous for row in rows)  # a file isn't private
    assert ledger.pss == 5 * PAGE * len(rows)


# Mmapped chunks that nobody found: mp_ counts them all the same.


def lost(apart=PAGE):
    """Return a heap whose one mmapped chunk has no header any more, with memory beside it."""
    heap = known(HeapBuilder())
    heap.main.add(USED, 640)
    chunk = heap.mmapped(500 * PAGE)
    heap.unreadable.append(Mapping(1 << 30, (1 << 30) + apart, "rw-p", 0, "", 0, NOTHING))
    heap.residency.mark(chunk + 400 * PAGE, chunk + 499 * PAGE, SWAPPED)
    heap.target()
    heap.poke(chunk + heap.word, 3)
    return heap


def test_a_mmapped_chunk_that_was_not_found_counts_as_in_use():
    ledger = ledger_of(lost())
    found = entry(ledger, Owner.MMAPPED)
    assert entry(ledger, Owner.ANONYMOUS).amount.bytes == PAGE
    assert found.amount == Amount(500 * PAGE, 401 * PAGE, 99 * PAGE)
    assert ledger.difference == 0


@pytest.mark.parametrize(
    ("shared", "size", "found"),
    [(0, 50, 0), (70, 50, 50), (30, 50, None), (30, 70, 30), (30, 80, 30), (None, 50, None)],
)
def test_of_a_part_of_other_memory_it_is_known_what_is_shared_if_all_of_it_is_or_nothing(
    shared, size, found
):
    assert _at_most(size, Amount(100, 70, 20, shared)).shared == found


def test_mmapped_chunks_that_were_not_found_are_no_more_than_other_anonymous_memory():
    heap = lost()
    heap.field(heap.layout.par, heap.symbols["mp_"], "mmapped_mem", mapped(heap))
    ledger = ledger_of(heap)
    assert entry(ledger, Owner.MMAPPED).amount.bytes == 501 * PAGE
    assert not ledger.of(Owner.ANONYMOUS).bytes
    assert ledger.difference == 0


def test_where_the_mappings_are_not_known_mmapped_chunks_are_what_mp_counts():
    ledger = account(take(changed(lost().target(), mappings=(), residency=None)))
    assert entry(ledger, Owner.MMAPPED) == (
        Owner.MMAPPED,
        None,
        "/lib/libc.so.6",
        Amount(500 * PAGE, None, None),
    )


# What isn't known.


def test_where_residency_is_unknown_only_virtual_sizes_are_known():
    heap = usual()
    ledger = ledger_of(heap)
    assert sum(e.amount.bytes for e in ledger.entries) == sum(
        m.size for m in heap.target().space.mappings
    )
    assert {(e.amount.resident, e.amount.swapped) for e in ledger.entries} == {(None, None)}
    assert (ledger.rss, ledger.difference) == (None, None)


@pytest.mark.parametrize("index", [1, 2])
def test_the_memory_of_a_damaged_arena_is_unknown_and_the_rest_stays(index):
    heap = known(usual())
    sound = ledger_of(heap)
    heap.poke(heap.arenas[index].chunks[5][0] + 8, 0)
    damaged = ledger_of(heap)
    size = heap.arenas[index].system
    assert entry(damaged, Owner.UNKNOWN, index).amount == Amount(size, size, 0)
    others = [e for e in sound.entries if e.arena != index or e.owner not in STATES]
    assert Counter(others) <= Counter(damaged.entries)
    assert damaged.difference == 0


def test_free_chunks_that_no_list_leads_to_are_unknown():
    heap = known(HeapBuilder())
    chunks = []
    for _ in range(4):
        chunks.append(heap.main.add(FREE, 2048))
        heap.main.add(USED, 64)
    heap.target()
    heap.poke(chunks[1] + 16, 0x666600001230)
    ledger = ledger_of(heap)
    assert entry(ledger, Owner.UNKNOWN, 0).amount.bytes == 2 * 2048
    assert entry(ledger, State.IN_USE, 0).amount.bytes == 4 * 64
    assert ledger.difference == 0
    assert sum(e.amount.bytes for e in ledger.entries) == sum(
        m.size for m in heap.target().space.mappings
    )


def test_without_a_walk_a_wrong_system_mem_changes_no_figure():
    heap = known(usual())
    sound = ledger_of(heap, walk=False).entries
    arena = heap.arenas[1]
    heap.field(heap.layout.state, arena.address, "system_mem", arena.system - PAGE)
    assert ledger_of(heap, walk=False).entries == sound
    assert take(heap.target(), Scope(walk=False)).arenas()[1].system is None
