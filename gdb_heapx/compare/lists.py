"""What changed by bin, and in the thread caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..heap.bins import Bin
from ..heap.states import ALL_REGULAR, State
from ..target.amounts import sum_of
from .arenas import Key, arenas_by_key
from .change import Change, joined, largest_first
from .look import Look

# What tells a bin apart: its arena (of thread caches none), its kind, index and smallest size.
_Which = tuple[Key, State, int, int]


class BinChange(NamedTuple):
    """What changed in a bin; in all thread caches together, where `arena` is None."""

    arena: int | None
    libc: str
    kind: State
    number: int
    min_size: int
    chunks: int
    change: Change


class _Listed(NamedTuple):
    """A bin, or the bins of all thread caches: whose, and what hangs there."""

    arena: int | None
    libc: str
    bins: list[Bin]


def bin_changes(old: Look, new: Look, by_address: bool) -> list[BinChange]:
    """Return the bins whose content changed, the largest changes first.

    Regular bins that are told apart in one look only are taken together in both.
    """
    apart = not any(b.kind is State.BINNED for look in (old, new) for b in _regular(look))
    pairs = joined(*(_bins(look, by_address, apart) for look in (old, new)))
    rows = [_row(which, before, after) for which, before, after in pairs]
    return largest_first(rows, lambda row: row.change)


def _regular(look: Look) -> Iterator[Bin]:
    for arena in look.snapshot.arenas():
        yield from (b for b in arena.bins.bins if b.kind in ALL_REGULAR)


def _bins(look: Look, by_address: bool, apart: bool) -> dict[_Which, _Listed]:
    found: dict[_Which, _Listed] = {}
    for key, arena in arenas_by_key(look, by_address).items():
        for each in arena.bins.bins:
            which = each.kind, each.index, each.min_size
            if each.kind in ALL_REGULAR and not apart:
                which = State.BINNED, 0, 0
            listed = found.setdefault((key, *which), _Listed(arena.index, arena.libc, []))
            listed.bins.append(each)
    for number, malloc in enumerate(look.snapshot.mallocs):
        for cache in malloc.caches:
            for each in cache.tcache.bins:
                place = (number, 0), State.TCACHE, each.index, each.min_size
                found.setdefault(place, _Listed(None, malloc.libc, [])).bins.append(each)
    return found


def _row(which: _Which, before: _Listed | None, after: _Listed | None) -> BinChange:
    some = after or before
    assert some is not None  # one of both has the key
    old, new = (sum(b.chunks for b in listed.bins) if listed else 0 for listed in (before, after))
    amounts = [
        sum_of(b.amount for b in listed.bins) if listed else None for listed in (before, after)
    ]
    return BinChange(some.arena, some.libc, *which[1:], new - old, Change(*amounts))
