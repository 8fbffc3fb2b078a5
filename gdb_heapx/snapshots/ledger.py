"""One owner for every byte of the address space, and the sum that the kernel's RSS must be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Union

from ..heap.states import NAMES, STATES, State
from ..records import dataclass
from ..target.amounts import Amount, sum_of
from .regions import APART, AlikeRegions, Owner

if TYPE_CHECKING:
    from .figures import ArenaFigures
    from .malloc import Malloc
    from .take import Snapshot

Owned = Union[State, Owner]
ORDER: tuple[Owned, ...] = (*STATES, *Owner)
MALLOC = (*STATES, Owner.MMAPPED, Owner.RESERVED)


class Entry(NamedTuple):
    """What one owner has: a state of an arena's bytes, or who owns other memory."""

    owner: Owned
    arena: int | None
    libc: str | None
    amount: Amount

    @property
    def name(self) -> str:
        return self.owner.value if isinstance(self.owner, Owner) else NAMES[self.owner]


@dataclass(frozen=True)
class Ledger:
    """Every byte of the address space by owner.

    `rss` is the kernel's sum (smaps), None if unknown. `shared` is anonymous memory that other
    processes share since a fork, `pss` what this process has if each page is divided by those that
    share it.
    """

    entries: tuple[Entry, ...]
    rss: int | None
    shared: int
    pss: int

    @property
    def whole(self) -> Amount:
        """What all entries that RSS counts have together."""
        return sum_of(e.amount for e in self.entries if e.owner not in APART)

    @property
    def sum(self) -> int | None:
        """Resident bytes of all entries that RSS counts; None if unknown."""
        return self.whole.resident

    @property
    def difference(self) -> int | None:
        """What the kernel's RSS is more than the sum, where pages moved between two readings."""
        return None if self.rss is None or self.sum is None else self.rss - self.sum

    def of(self, *owners: Owned) -> Amount:
        """Return what these owners have together."""
        return sum_of(entry.amount for entry in self.entries if entry.owner in owners)


def account(snapshot: Snapshot) -> Ledger:
    """Return the ledger of a snapshot; ValueError where mmapped chunks have no place in it."""
    if not snapshot.searched:
        raise ValueError("mmapped chunks were only counted")
    arenas = {arena.address: arena for arena in snapshot.arenas()}
    groups: dict[tuple[Owner, int | None, str | None, int | None], list[AlikeRegions]] = (
        defaultdict(list)
    )
    for each in snapshot.regions.alike:
        span = each.regions[0].span
        groups[span.owner, span.arena, span.libc, span.state].append(each)
    entries: list[Entry] = []
    for (owner, index, libc, state), group in groups.items():
        amount = sum_of(each.amount for each in group)
        if owner is Owner.HUGETLB:  # in RAM, though RSS doesn't count it
            amount = _huge(amount, group)
        entry = Entry(owner, index, libc, amount)
        if owner is Owner.HEAP:
            entries += _by_state(arenas[state or 0], entry)
        else:
            entries.append(entry)
    for malloc in snapshot.mallocs:
        entries = _with_lost(entries, malloc, snapshot.target.mapped)
    entries.sort(
        key=lambda e: (ORDER.index(e.owner), e.libc or "", -1 if e.arena is None else e.arena)
    )
    entries = [entry for entry in entries if entry.amount.bytes]
    return Ledger(tuple(entries), snapshot.target.rss, *_shared(snapshot))


def _huge(amount: Amount, group: Iterable[AlikeRegions]) -> Amount:
    """Return an amount in the pool of huge pages, with what of it is in RAM."""
    huge = shared = 0
    for each in group:
        usages = [region.mapping.usage for region in each.regions if region.mapping.usage]
        huge += each.number * sum(usage.hugetlb for usage in usages)
        shared += each.number * sum(usage.shared for usage in usages)
    return Amount(amount.bytes, huge, 0, shared)


def _with_lost(entries: list[Entry], malloc: Malloc, mapped: bool) -> list[Entry]:
    """Count mmapped chunks that mp_ counts and nobody found as such, not as other memory.

    They lie in anonymous memory, so they are no more than there is of it. Where the mappings aren't
    known, what mp_ counts is all that is known.
    """
    lost, parts = malloc.mmapped_lost, list[Entry]()
    if not mapped:
        return [*entries, Entry(Owner.MMAPPED, None, malloc.libc, Amount(lost, None, None))]
    if malloc.parameters.get("hp_pagesize"):  # then they may lie in the pool of huge pages
        lost = max(lost - sum(e.amount.bytes for e in entries if e.owner is Owner.HUGETLB), 0)
    for entry in entries:
        if entry.owner is Owner.ANONYMOUS and lost:
            taken = _at_most(lost, entry.amount)
            parts.append(entry._replace(owner=Owner.MMAPPED, libc=malloc.libc, amount=taken))
            entry = entry._replace(amount=entry.amount - taken)
        parts.append(entry)
    return parts


def _at_most(size: int, amount: Amount) -> Amount:
    """Return `size` bytes of an amount, those in memory first."""
    taken = min(size, amount.bytes)
    if amount.resident is None or amount.swapped is None:
        return Amount(taken, None, None)
    resident = min(size, amount.resident)
    swapped = min(size - resident, amount.swapped)
    return Amount(taken, resident, swapped, amount.shared_of(resident))


def _shared(snapshot: Snapshot) -> tuple[int, int]:
    """Return how much anonymous memory is shared since a fork, and the Pss of all memory."""
    shared = snapshot.target.mappings.sum(
        lambda kind: kind.usage.shared if kind.usage and kind.anonymous else 0
    )
    return shared, snapshot.target.pss or 0


def _by_state(arena: ArenaFigures, heaps: Entry) -> list[Entry]:
    """Divide an arena's heaps by the state of their bytes; what can't be told is unknown.

    What others took by sbrk between its chunks is overhead to the arena, and theirs here.
    """
    amounts: dict[Owned, Amount] = dict(arena.amounts.items())
    amounts[State.OVERHEAD] -= arena.foreign
    amounts[Owner.SBRK] = arena.foreign
    rest = heaps.amount - sum_of(arena.amounts.values())
    unknown = [heaps._replace(owner=Owner.UNKNOWN, amount=rest)] if rest.bytes else []
    return [heaps._replace(owner=s, amount=amount) for s, amount in amounts.items()] + unknown
