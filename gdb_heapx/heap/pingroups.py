"""The pins of pages, added up: by groups of chunks, all together, and the largest ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import field
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

from ..records import dataclass
from ..target.amounts import Amount
from ..target.pages import IN_RAM, SHARED, SWAPPED
from .lives import Live

if TYPE_CHECKING:
    from .pagepins import HeldPage, PagePin

Key = Callable[[Live], Hashable]  # of the group that a chunk is in
LISTED = 1000  # pins of an arena that are kept one by one
ENOUGH = 1500  # pins of all arenas that are enough to tell the largest group,
LOOKED_AT = 1 << 16  # chunks of all that are looked at for that,
ANYWAY = 32  # pins, and runs of as many chunks, of each arena in any case
SEEN = 16  # chunks of a group whose addresses are kept
FIRST = 8  # groups of an arena that a snapshot has


@dataclass(frozen=True)
class PageGroup:
    """Chunks of one size, cached or in use, and the pages that only they keep from malloc_trim.

    `held` is what it would return more if all of them were gone; `example` is where one lies.
    """

    size: int
    cached: bool
    chunks: int
    held: Amount
    example: int


@dataclass(frozen=True)
class PageFigures:
    """What keeps single pages of an arena from malloc_trim: how many pins, and what all of them
    hold together. `groups` are the largest ones; where not `all` pins were looked at, they, and
    what they hold, are more than this.
    """

    pins: int
    held: Amount
    groups: tuple[PageGroup, ...]
    all: bool


@dataclass
class PageSum:
    """Pages that go together, if all of `chunks` do; of them those in RAM, those of these
    that other processes share, and those in swap, if known.

    `example` is one of the chunks, `first` are where the first ones lie.
    """

    example: Live
    first: list[int] = field(default_factory=list)
    chunks: int = 0
    pages: int = 0
    resident: int = 0
    shared: int = 0
    swapped: int = 0
    _last: int = -1  # the last chunk that was counted

    def add(self, held: HeldPage) -> None:
        self.pages += 1
        self.resident += held.state in IN_RAM
        self.shared += held.state == SHARED
        self.swapped += held.state == SWAPPED
        for live in held.lives:
            if live.address > self._last:
                self.chunks, self._last = self.chunks + 1, live.address
                if self.chunks <= SEEN:
                    self.first.append(live.address)

    def amount(self, page: int, known: bool) -> Amount:
        """Return the pages in bytes; `known` says whether it is which of them are in memory."""
        if not known:
            return Amount(page * self.pages, None, None)
        counted = self.pages, self.resident, self.swapped, self.shared
        return Amount(*(page * number for number in counted))


@dataclass
class PinGroups:
    """The sink that adds up pins: pages by the group that all their chunks are in, and in all.

    A page whose chunks are of several groups is only in the sum of all.
    """

    key: Key
    most: int | None = None  # pins that are wanted, None for all
    groups: dict[Hashable, PageSum] = field(default_factory=dict)
    whole: PageSum | None = None
    pins: int = 0
    given_up: bool = False  # before all pins were looked at
    _largest: list[tuple[int, int, PagePin]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return self.most is not None and self.pins >= self.most

    def take(self, pin: PagePin) -> None:
        self.pins += 1
        for held in (*pin.shared, *pin.pages):
            self._add(held)
        rank = (len(pin.pages), -pin.pages[0].page, pin)
        if len(self._largest) < LISTED:
            heappush(self._largest, rank)
        elif rank > self._largest[0]:
            heapreplace(self._largest, rank)

    def _add(self, held: HeldPage) -> None:
        first = held.lives[0]
        if self.whole is None:
            self.whole = PageSum(first)
        self.whole.add(held)
        keys = {self.key(live) for live in held.lives}
        if len(keys) == 1:
            (key,) = keys
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = PageSum(first)
            group.add(held)

    @property
    def largest(self) -> list[PagePin]:
        """The pins that hold most, those first."""
        return [pin for *_, pin in sorted(self._largest, reverse=True)]


def size_and_state(live: Live) -> tuple[int, bool]:
    """Return the group of the chunks of one size: those in use, or those that are cached."""
    return live.size, live.cached


def page_figures(groups: PinGroups, page: int, known: bool) -> PageFigures:
    """Return what was added up by size_and_state; `known` says whether residency is."""
    found = [
        PageGroup(*size_and_state(s.example), s.chunks, s.amount(page, known), s.example.address)
        for s in groups.groups.values()
    ]
    found.sort(key=lambda group: (-group.held.in_ram, group.size))
    held = groups.whole.amount(page, known) if groups.whole else Amount(0, 0, 0)
    return PageFigures(groups.pins, held, tuple(found[:FIRST]), not groups.given_up)
