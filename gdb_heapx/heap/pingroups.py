"""The pins of pages, added up: by a group of chunks, all together, and the largest ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heapreplace

from ..target.amounts import Amount
from ..target.pages import RESIDENT, SWAPPED
from .pagepins import Held, Live, PagePin

Key = Callable[[Live], Hashable]  # of the group that a chunk is in
MOST = 1000  # pins of an arena that are kept one by one


@dataclass
class PageSum:
    """Pages that go together, if all of `chunks` do; their number is known by state or not at all.

    `example` is one of the chunks, the first.
    """

    example: Live
    chunks: int = 0
    pages: int = 0
    resident: int = 0
    swapped: int = 0
    _last: int = -1  # the last chunk that was counted

    def add(self, held: Held) -> None:
        self.pages += 1
        self.resident += held.state == RESIDENT
        self.swapped += held.state == SWAPPED
        for live in held.lives:
            if live.address > self._last:
                self.chunks, self._last = self.chunks + 1, live.address

    def amount(self, page: int, known: bool) -> Amount:
        """Return the pages in bytes; `known` says whether residency is."""
        resident, swapped = (page * number if known else None for number in self._in_memory)
        return Amount(page * self.pages, resident, swapped)

    @property
    def _in_memory(self) -> tuple[int, int]:
        return self.resident, self.swapped


@dataclass
class PinGroups:
    """The sink that adds up pins: pages by the group that all their chunks are in, and in all.

    A page whose chunks are of several groups is only in the sum of all.
    """

    key: Key
    groups: dict[Hashable, PageSum] = field(default_factory=dict)
    whole: PageSum | None = None
    pins: int = 0
    largest: list[tuple[int, int, PagePin]] = field(default_factory=list)

    def take(self, pin: PagePin) -> None:
        self.pins += 1
        for held in (pin.shared, *pin.pages) if pin.shared else pin.pages:
            self._add(held)
        rank = (len(pin.pages), -pin.pages[0].page, pin)
        if len(self.largest) < MOST:
            heappush(self.largest, rank)
        elif rank > self.largest[0]:
            heapreplace(self.largest, rank)

    def _add(self, held: Held) -> None:
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


def size_and_state(live: Live) -> tuple[int, bool]:
    """Return the group that the chunks of one size are in: those that are cached apart."""
    return live.size, live.cached
