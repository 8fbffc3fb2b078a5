"""The figures of one arena and of its heaps, and what must agree: frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ..errors import UsageError
from ..heap.states import State
from ..records import dataclass
from ..target.amounts import NOTHING, Amount, sum_of

if TYPE_CHECKING:
    from ..glibc.systrim import Ending
    from ..heap.arenas import Arena
    from ..heap.bins import ArenaBins
    from ..heap.census import Census
    from ..heap.pingroups import PageFigures
    from ..heap.pins import Pin
    from ..heap.strips import Strip
    from ..heap.trim import Trim
    from ..heap.whatif import WhatIf


@dataclass(frozen=True)
class HeapFigures:
    """One heap in bytes; `in_use` and `free` are None where they weren't or couldn't be walked.

    `ending` is how it ends once the fast chunks have merged; without a walk, as top tells.
    """

    arena: int
    address: int
    amount: Amount
    committed: int | None
    reserved: int
    in_use: int | None
    free: int | None
    ending: Ending

    @property
    def size(self) -> int:
        return self.amount.bytes


@dataclass(frozen=True)
class ArenaFigures:
    """One arena: its amounts by state, which add up to `system`, and its numbers of chunks.

    `system` and `max_system` are None where they can't be. IN_USE is missing where a damaged heap
    could not be walked to its end, or where the figures contradict each other; without a walk it is
    what remains of the heaps, and isn't among `chunks`. `trim`, `whatif` and `pages` are None where
    not all chunks were walked over, or where they and the lists don't agree. `used_by_size` (with
    cached chunks) and `free_by_size` (without what is known to be absent from memory) are bytes by
    the chunk size's highest power of two, `census` counts the chunks by their exact size, None
    where those in use weren't counted, and `stale` is stale.last_sizes, None where it isn't known.
    `strips` are what fills its heaps, None without a walk.
    All but the bytes by size are None where they weren't asked for. `foreign` is what another user
    of sbrk took between chunks; it counts as overhead, as it does in `system`. `unread` tells that
    reading was stopped before all of it was read: then the amounts but top's, and `chunks`, are of
    a part; and of a part of its heaps, where not all were `reached`.
    """

    libc: str
    index: int
    address: int
    threads: int | None
    locked: bool
    system: int | None
    max_system: int | None
    amounts: Mapping[State, Amount]
    chunks: Mapping[State, int]
    top_address: int
    last_in_use: int | None
    contiguous: bool
    heaps: tuple[HeapFigures, ...]
    bins: ArenaBins
    trim: Trim | None
    used_by_size: Mapping[int, int]
    free_by_size: Mapping[int, int]
    census: Census | None
    stale: Mapping[int, int] | None = None
    foreign: Amount = NOTHING
    whatif: WhatIf | None = None
    pages: PageFigures | None = None
    unread: bool = False
    reached: bool = True
    strips: tuple[Strip, ...] | None = None

    @property
    def last(self) -> Pin | None:
        """The chunks right below its top; None without any, or where that isn't sure."""
        return self.whatif.last if self.whatif else None

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The chunks that keep free memory below its top, and whole heaps, from its end."""
        return self.whatif.pins if self.whatif else ()

    @property
    def main(self) -> bool:
        return self.index == 0

    @property
    def amount(self) -> Amount:
        """What its heaps have."""
        return sum_of(heap.amount for heap in self.heaps)

    @property
    def in_use(self) -> int | None:
        amount = self.amounts.get(State.IN_USE)
        return amount.bytes if amount else None

    @property
    def tcache(self) -> int:
        return self.amounts[State.TCACHE].bytes

    @property
    def fast(self) -> int:
        return self.amounts[State.FAST].bytes

    @property
    def binned(self) -> int:
        return self.amounts[State.BINNED].bytes

    @property
    def top(self) -> int:
        return self.amounts[State.TOP].bytes

    @property
    def top_end(self) -> int:
        return self.top_address + self.top

    @property
    def overhead(self) -> int:
        return self.amounts[State.OVERHEAD].bytes


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


_Arenas = TypeVar("_Arenas", "Arena", "ArenaFigures")


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
