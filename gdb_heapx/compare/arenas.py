"""What changed by arena and by heap: arenas add up to malloc."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from ..heap.states import HELD_FREE
from ..snapshots.figures import ArenaFigures, HeapFigures
from ..snapshots.regions import Owner
from ..target.amounts import NOTHING, Amount, sum_of
from .change import Change, joined, largest_first
from .look import Look

UNCHANGED = Change(None, None)
Key = tuple[int, int]  # the number of a libc; the address of an arena, or its index


class ArenaChange(NamedTuple):
    """What changed in an arena; of all mmapped chunks together, where `number` is None.

    `was` is its index before, None where it wasn't there. `in_use` is None where that isn't known.
    """

    number: int | None
    was: int | None
    address: int | None
    libc: str
    change: Change
    in_use: int | None
    free: Change


class HeapChange(NamedTuple):
    """What changed in a heap; `was` tells whether it was there, `here` whether it is."""

    arena: int
    address: int
    libc: str
    was: bool
    here: bool
    change: Change
    in_use: int | None
    free: int | None


def arenas_by_key(look: Look, by_address: bool) -> dict[Key, ArenaFigures]:
    """Return the arenas by what tells them apart in both looks."""
    return {
        (number, arena.address if by_address else arena.index): arena
        for number, malloc in enumerate(look.snapshot.mallocs)
        for arena in malloc.arenas
    }


def arena_changes(old: Look, new: Look, by_address: bool) -> list[ArenaChange]:
    """Return the arenas that changed, and the mmapped chunks, the largest changes first."""
    pairs = joined(arenas_by_key(old, by_address), arenas_by_key(new, by_address))
    rows = [_arena(old, new, before, after) for _, before, after in pairs]
    rows += _mmapped(old, new)
    return [
        *largest_first(rows, lambda row: row.change),
        *largest_first((r for r in rows if not r.change.moved), lambda row: row.free),
    ]


def _arena(
    old: Look, new: Look, before: ArenaFigures | None, after: ArenaFigures | None
) -> ArenaChange:
    some = after or before
    assert some is not None  # one of both has the key
    return ArenaChange(
        after.index if after else some.index,
        before.index if before else None,
        some.address,
        some.libc,
        Change(_whole(old, before), _whole(new, after)),
        _more(before.in_use if before else 0, after.in_use if after else 0),
        Change(_held_free(before), _held_free(after)),
    )


def _whole(look: Look, arena: ArenaFigures | None) -> Amount | None:
    return look.in_arenas.get((arena.libc, arena.index), NOTHING) if arena else None


def _held_free(arena: ArenaFigures | None) -> Amount | None:
    if arena is None:
        return None
    return sum_of(arena.amounts[state] for state in HELD_FREE if state in arena.amounts)


def _mmapped(old: Look, new: Look) -> list[ArenaChange]:
    """Return what changed in the mmapped chunks of each libc."""
    rows: list[ArenaChange] = []
    for before, after in zip_longest(old.snapshot.libcs, new.snapshot.libcs):
        change = Change(_of_mmapped(old, before), _of_mmapped(new, after))
        in_use = change.amount.bytes
        rows.append(ArenaChange(None, None, None, after or before or "", change, in_use, UNCHANGED))
    return rows


def _of_mmapped(look: Look, libc: str | None) -> Amount:
    own = [e for e in look.ledger.entries if e.libc == libc and e.owner is Owner.MMAPPED]
    return sum_of(entry.amount for entry in own)


def heap_changes(old: Look, new: Look, by_address: bool) -> list[HeapChange]:
    """Return the heaps that changed, the largest changes first."""
    pairs = joined(_heaps(old, by_address), _heaps(new, by_address))
    rows = [_heap(before, after) for _, before, after in pairs]
    return largest_first(rows, lambda row: row.change)


class _Heap(NamedTuple):
    libc: str
    figures: HeapFigures


def _heaps(look: Look, by_address: bool) -> dict[tuple[Key, int], _Heap]:
    """Return the heaps by their arena and address; without that by their place in the arena."""
    return {
        (key, heap.address if by_address else place): _Heap(arena.libc, heap)
        for key, arena in arenas_by_key(look, by_address).items()
        for place, heap in enumerate(arena.heaps)
    }


def _heap(before: _Heap | None, after: _Heap | None) -> HeapChange:
    old, new = (each.figures if each else None for each in (before, after))
    some = after or before
    assert some is not None  # one of both has the key
    return HeapChange(
        some.figures.arena,
        some.figures.address,
        some.libc,
        before is not None,
        after is not None,
        Change(old.amount if old else None, new.amount if new else None),
        _more(old.in_use if old else 0, new.in_use if new else 0),
        _more(old.free if old else 0, new.free if new else 0),
    )


def _more(old: int | None, new: int | None) -> int | None:
    """Return how much more one is than the other; None where one isn't known."""
    return None if old is None or new is None else new - old


def malloc_change(old: Look, new: Look) -> Amount:
    """Return what malloc has more: what arenas and mmapped chunks changed by together."""
    before, after = (
        sum_of((*look.in_arenas.values(), look.ledger.of(Owner.MMAPPED))) for look in (old, new)
    )
    return after - before
