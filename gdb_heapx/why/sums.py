"""A snapshot with the sums that a diagnosis is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..heap.states import HELD_FREE, State
from ..records import dataclass
from ..report.model import size_text
from ..snapshots.holders import INSIDE, Holder, holders, together
from ..snapshots.ledger import ORDER, Ledger, Owned, account
from ..snapshots.regions import APART, EMPTY, Owner
from .order import SMALLEST, About, Part, spread

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..reach.brief import Brief
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.take import Snapshot

LIVE = (State.IN_USE, Owner.MMAPPED)
SHOWN = 4  # arenas, mappings or threads named as evidence


@dataclass(frozen=True)
class Case:
    """A snapshot's sums. Amounts are bytes of RAM; of address space where that is unknown, as in a
    core.
    """

    snapshot: Snapshot
    brief: Brief | None = None  # of what is in use, where it is known
    ceilings: tuple[Ceiling, ...] = ()  # of what arenas serve from what is free, as far as known

    @property
    def as_read(self) -> Case:
        """The sums of what was read of it (Snapshot.as_read)."""
        read = self.snapshot.as_read
        return self if read is self.snapshot else replace(self, snapshot=read)

    @cached_property
    def ledger(self) -> Ledger:
        return account(self.snapshot)

    @property
    def environment(self) -> Mapping[str, str] | None:
        return self.snapshot.target.environment

    @property
    def resident_known(self) -> bool:
        return self.snapshot.target.no_residency is None

    @cached_property
    def holders(self) -> list[Holder]:
        """Who has the memory outside malloc, programs and libraries as one."""
        found = together(holders(self.snapshot, self.ledger), Owner.FILES)
        return [holder for holder in found if holder.amount.in_ram]

    def amount(self, *owners: Owned) -> int:
        """Return what these owners have in memory together."""
        return self.ledger.of(*owners).in_ram

    @property
    def sharing(self) -> bool:
        """Whether pages are shared with another process since a fork."""
        return self.resident_known and bool(self.ledger.shared)

    @cached_property
    def private(self) -> Mapping[str, int] | None:
        """What no other process shares of live, retained, unknown, foreign, outside and whole, by
        these names; None where it isn't known of all of them.
        """
        outside = tuple(owner for owner in ORDER if owner not in INSIDE)
        own = {"live": LIVE, "retained": HELD_FREE, "unknown": (Owner.UNKNOWN,)}
        owners: dict[str, tuple[Owned, ...]] = {**own, "foreign": (Owner.SBRK,), "outside": outside}
        amounts = {name: self.ledger.of(*each) for name, each in owners.items()}
        amounts["whole"] = self.ledger.whole
        found = [(name, each.private) for name, each in amounts.items()]
        known = {name: private for name, private in found if private is not None}
        return known if len(known) == len(found) else None

    def swapped(self, *owners: Owned) -> int:
        """Return what these owners have in swap together; 0 where that is unknown."""
        return self.ledger.of(*owners).swapped or 0

    def of(self, arena: ArenaFigures, *states: State) -> int:
        """Return what of an arena's states is in memory."""
        return sum(arena.amounts[state].in_ram for state in states)

    @property
    def live(self) -> int:
        """What the program holds of malloc's memory."""
        return self.amount(*LIVE)

    @property
    def retained(self) -> int:
        """What is free, and malloc keeps."""
        return self.amount(*HELD_FREE)

    @property
    def unknown(self) -> int:
        """What is malloc's and could not be read: damaged, or swapped out."""
        return self.amount(Owner.UNKNOWN)

    @property
    def foreign(self) -> int:
        """What others than malloc took by sbrk."""
        return self.amount(Owner.SBRK)

    @property
    def worth_telling(self) -> int:
        """The same, where it is enough for a part of its own; else 0."""
        return self.foreign if self.foreign >= SMALLEST else 0

    @property
    def outside(self) -> int:
        """What isn't malloc's."""
        return self.amount(*(owner for owner in ORDER if owner not in INSIDE))

    @property
    def whole(self) -> int:
        """Everything that is in memory; of address space without what is only reserved."""
        apart = APART if self.resident_known else (*APART, *EMPTY)
        return self.amount(*(owner for owner in ORDER if owner not in apart))

    @property
    def returnable(self) -> int | None:
        """What malloc_trim would give back; None if unknown."""
        return self.snapshot.returnable

    def reachable(self, arena: ArenaFigures) -> int:
        """Return what is free below top in whole pages; all that is binned if the chunks were not
        walked over.
        """
        if arena.in_use is None:  # not readable to its end
            return 0
        trim = arena.trim
        if trim is None:
            return self.of(arena, State.BINNED)
        if trim.returned_below_top is not None:
            return trim.returned_below_top.in_ram
        kept = trim.kept_partial_page + trim.kept_small_bins + trim.kept_locked
        return max(arena.binned + arena.fast - kept.bytes, 0)

    def named(self, arena: ArenaFigures) -> str:
        """Return what to call an arena: with its libc, where there are several."""
        whose = f" of {arena.libc.rpartition('/')[2]}" if len(self.snapshot.libcs) > 1 else ""
        return f"arena {arena.index}{whose}"

    def kept_top(self, arena: ArenaFigures) -> int:
        """Return what malloc_trim leaves at top, with the fast chunks that it merges into it."""
        known = arena.trim.kept_top.resident if arena.trim else None
        return self.of(arena, State.TOP) if known is None else known


def each_arena(
    case: Case,
    amounts: Iterable[tuple[int, ArenaFigures]],
    say: Callable[[int, ArenaFigures], str],
) -> tuple[str, ...]:
    """Return a sentence for each of the arenas with most bytes."""
    ordered = sorted((pair for pair in amounts if pair[0]), key=lambda pair: -pair[0])
    return tuple(f"{case.named(arena)}: {say(size, arena)}" for size, arena in ordered[:SHOWN])


def free_at(size: int, arena: ArenaFigures) -> str:
    """Say of an arena without a thread where it is, and what is free in it."""
    return f"{arena.address:#x}, {size_text(size)} free"


def free_chunks(amounts: Iterable[tuple[int, ArenaFigures]]) -> About:
    """Return what free chunks of so many bytes are about: whole pages, but for what shares pages in
    their arena, and for what is locked there; all of them that, where it isn't known.
    """
    below, edges, pinned = [], [], []
    for size, arena in amounts:
        trim = arena.trim
        shared = (trim.kept_partial_page + trim.kept_small_bins).in_ram if trim else size
        part = min(size, shared)
        locked = min(size - part, trim.kept_locked.in_ram) if trim else 0
        edges.append((part, arena))
        pinned.append((locked, arena))
        below.append((size - part - locked, arena))
    parts = (Part.BELOW, below), (Part.EDGES, edges), (Part.LOCKED, pinned)
    return joined(*(spread(part, each) for part, each in parts))


def at_ends(case: Case, amounts: Iterable[tuple[int, ArenaFigures]]) -> About:
    """Return what so many bytes at the ends of arenas are about: their tops, and what malloc_trim
    merges into these.
    """
    found = list(amounts)
    tops = [(min(size, case.of(arena, State.TOP)), arena) for size, arena in found]
    merged = [(size - top, arena) for (size, arena), (top, _) in zip(found, tops)]
    return {**spread(Part.TOP, tops), **spread(Part.BELOW, merged)}


def joined(*parts: About) -> About:
    """Return what several parts of the bytes of a finding are about together."""
    sums: Counter[tuple[Part, int]] = Counter()
    for each in parts:
        sums.update(each)
    return dict(sums)


def all_free(case: Case, arenas: Iterable[ArenaFigures]) -> About:
    """Return all that is free in arenas, tops and what shares pages with it: for `about`."""
    found = list(arenas)
    chunks = ((case.of(arena, State.BINNED, State.FAST), arena) for arena in found)
    tops = ((case.of(arena, State.TOP), arena) for arena in found)
    return {**free_chunks(chunks), **spread(Part.TOP, tops)}


def anywhere(case: Case, size: int, outside: int = 0) -> About:
    """Return where so many bytes of malloc's memory may be, and of so much `outside` of it."""
    arenas = case.snapshot.arenas()
    parts = {**all_free(case, arenas), (Part.LIVE, 0): case.live}
    parts.update(spread(Part.TCACHE, ((case.of(arena, State.TCACHE), arena) for arena in arenas)))
    return {
        **{part: min(amount, size) for part, amount in parts.items()},
        (Part.OUTSIDE, 0): outside,
    }


def free_parts(case: Case, arenas: Iterable[ArenaFigures]) -> About:
    """Return what is free in arenas, in whole pages below their tops and at these: for `about`."""
    found = list(arenas)
    below = ((case.reachable(arena), arena) for arena in found)
    tops = ((case.of(arena, State.TOP), arena) for arena in found)
    return {**spread(Part.BELOW, below), **spread(Part.TOP, tops)}
