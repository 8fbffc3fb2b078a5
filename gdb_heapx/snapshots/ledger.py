"""One owner for every byte of the address space, and the sum that the kernel's RSS must be."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from ..target.amounts import UNKNOWN, Presence, added, less
from .figures import ArenaFigures
from .malloc import Malloc
from .regions import APART, Owner, Region
from .take import Snapshot

STATES = (Owner.IN_USE, Owner.TCACHE, Owner.FAST, Owner.BINNED, Owner.TOP, Owner.OVERHEAD)
MALLOC = (*STATES, Owner.MMAPPED, Owner.RESERVED)


class Entry(NamedTuple):
    """What one owner has: bytes of address space, and what of them is in memory."""

    owner: Owner
    arena: int | None
    libc: str | None
    virtual: int
    presence: Presence


@dataclass(frozen=True)
class Ledger:
    """Every byte of the address space by owner.

    `rss` is the kernel's sum (smaps), None if unknown. `shared` is private memory that a forked
    process shares, `pss` what this process has if each page is divided by those that share it.
    """

    entries: tuple[Entry, ...]
    rss: int | None
    shared: int
    pss: int

    @property
    def sum(self) -> int | None:
        """Resident bytes of all entries that RSS counts; None if unknown."""
        return added(e.presence for e in self.entries if e.owner not in APART).resident

    @property
    def difference(self) -> int | None:
        """What the kernel's RSS is more than the sum, where pages moved between two readings."""
        return None if self.rss is None or self.sum is None else self.rss - self.sum

    def of(self, *owners: Owner) -> tuple[int, Presence]:
        """Return what these owners have together: virtual bytes, and what is in memory."""
        chosen = [entry for entry in self.entries if entry.owner in owners]
        return sum(e.virtual for e in chosen), added(e.presence for e in chosen)


def account(snapshot: Snapshot) -> Ledger:
    """Return the ledger of a snapshot."""
    arenas = {arena.address: arena for arena in snapshot.arenas()}
    groups: dict[tuple[Owner, int | None, str | None, int | None], list[Region]] = defaultdict(list)
    for region in snapshot.regions:
        span = region.span
        groups[span.owner, span.arena, span.libc, span.state].append(region)
    entries: list[Entry] = []
    for (owner, index, libc, state), regions in groups.items():
        virtual = sum(region.size for region in regions)
        presence = added(region.presence for region in regions)
        if owner is Owner.HUGETLB:  # in RAM, though RSS doesn't count it
            presence = Presence(sum(r.mapping.usage.hugetlb for r in regions if r.mapping.usage), 0)
        entry = Entry(owner, index, libc, virtual, presence)
        if owner is Owner.HEAP:
            entries += _by_state(arenas[state or 0], entry)
        else:
            entries.append(entry)
    for malloc in snapshot.mallocs:
        entries = _with_lost(entries, malloc, snapshot.target.mapped)
    order = list(Owner)
    entries.sort(
        key=lambda e: (order.index(e.owner), e.libc or "", -1 if e.arena is None else e.arena)
    )
    entries = [entry for entry in entries if entry.virtual]
    return Ledger(tuple(entries), snapshot.target.rss, *_shared(snapshot))


def _with_lost(entries: list[Entry], malloc: Malloc, mapped: bool) -> list[Entry]:
    """Count mmapped chunks that mp_ counts and nobody found as such, not as other memory.

    They lie in anonymous memory, so they are no more than there is of it. Where the mappings aren't
    known, what mp_ counts is all that is known.
    """
    lost, parts = malloc.mmapped_lost, list[Entry]()
    if not mapped:
        return [*entries, Entry(Owner.MMAPPED, None, malloc.libc, lost, UNKNOWN)]
    if malloc.parameters.get("hp_pagesize"):  # then they may lie in the pool of huge pages
        lost = max(lost - sum(e.virtual for e in entries if e.owner is Owner.HUGETLB), 0)
    for entry in entries:
        if entry.owner is Owner.ANONYMOUS and lost:
            taken = _at_most(lost, entry)._replace(owner=Owner.MMAPPED, libc=malloc.libc)
            rest = less(entry.presence, taken.presence)
            parts.append(taken)
            entry = entry._replace(virtual=entry.virtual - taken.virtual, presence=rest)
        parts.append(entry)
    return parts


def _at_most(size: int, entry: Entry) -> Entry:
    """Return `size` bytes of an entry, those in memory first."""
    resident, swapped = entry.presence
    if resident is None or swapped is None:
        return entry._replace(virtual=min(size, entry.virtual))
    resident = min(size, resident)
    swapped = min(size - resident, swapped)
    return entry._replace(virtual=min(size, entry.virtual), presence=Presence(resident, swapped))


def _shared(snapshot: Snapshot) -> tuple[int, int]:
    """Return how much private memory is shared with forked processes, and the Pss of all."""
    usages = {r.mapping: r.mapping.usage for r in snapshot.regions if r.mapping.usage is not None}
    shared = sum(usage.shared for mapping, usage in usages.items() if mapping.anonymous)
    return shared, sum(usage.proportional for usage in usages.values())


def _by_state(arena: ArenaFigures, heaps: Entry) -> list[Entry]:
    """Divide an arena's heaps by the state of their bytes; what can't be told is unknown."""
    entries = []
    rest, presence = heaps.virtual, heaps.presence
    for owner in STATES:
        name = owner.name.lower()
        size = getattr(arena, name)
        if size is not None:
            rest -= size
            entries.append(heaps._replace(owner=owner, virtual=size, presence=arena.presence[name]))
    if rest:
        known = [e.presence for e in entries]
        entries.append(
            heaps._replace(owner=Owner.UNKNOWN, virtual=rest, presence=less(presence, added(known)))
        )
    return entries
