"""The figures of one arena and of its heaps, and what must agree: frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import UsageError
from ..heap.arenas import Arena
from ..heap.bins import ArenaBins
from ..heap.census import Census
from ..heap.trim import Trim
from ..target.amounts import Presence


@dataclass(frozen=True)
class HeapFigures:
    """One heap in bytes; `in_use` and `free` are None where they weren't or couldn't be walked."""

    arena: int
    address: int
    size: int
    committed: int | None
    reserved: int
    in_use: int | None
    free: int | None
    presence: Presence


@dataclass(frozen=True)
class ArenaFigures:
    """One arena: its bytes by state, which add up to `system`.

    `system` and `max_system` are None where they can't be. `in_use` is None where a damaged heap
    could not be walked to its end, or where the figures contradict each other; without a walk it is
    what remains of the heaps, and `in_use_chunks` is None. `presence` tells by the name of each of
    these figures what of it is in memory. `trim` is None where not all chunks were walked over, or
    where they and the lists don't agree. `used_by_size` (with cached chunks) and `free_by_size`
    (without what is known to be absent from memory) are bytes by the chunk size's highest power of
    two, `census` counts the chunks by their exact size, None where `in_use` wasn't counted.
    """

    libc: str
    index: int
    address: int
    threads: int | None
    locked: bool
    system: int | None
    max_system: int | None
    in_use_chunks: int | None
    in_use: int | None
    tcache_chunks: int
    tcache: int
    fast_chunks: int
    fast: int
    binned_chunks: int
    binned: int
    top_address: int
    top: int
    overhead: int
    last_in_use: int | None
    contiguous: bool
    heaps: tuple[HeapFigures, ...]
    bins: ArenaBins
    presence: Mapping[str, Presence]
    trim: Trim | None
    used_by_size: Mapping[int, int]
    free_by_size: Mapping[int, int]
    census: Census | None

    @property
    def main(self) -> bool:
        return self.index == 0


@dataclass(frozen=True)
class Check:
    """One thing that must agree: `expected` by glibc's own figure, `found` by ours, in bytes."""

    name: str
    arena: int | None
    expected: int
    found: int | None

    @property
    def ok(self) -> bool:
        return self.expected == self.found


_Arenas = TypeVar("_Arenas", Arena, ArenaFigures)


def select_arenas(arenas: Iterable[_Arenas], wanted: int | None) -> tuple[_Arenas, ...]:
    """Return the arenas that an index or an address means, all for None; UsageError if it means
    none.
    """
    every = tuple(arenas)
    if wanted is None:
        return every
    chosen = tuple(each for each in every if wanted in (each.index, each.address))
    if chosen:
        return chosen
    last = max(each.index for each in every)
    known = "there is only arena 0" if last == 0 else f"there are arenas 0 to {last}"
    raise UsageError(f"no arena {wanted if wanted < 1 << 16 else hex(wanted)}: {known}")
