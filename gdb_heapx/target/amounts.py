"""Amounts of memory, with what of them is in RAM, what in swap, and what other processes share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from .space import Residency


@dataclass(frozen=True)
class Amount:
    """Bytes, and those of them that are in RAM and in swap: None where the target can't say.

    `shared` are those in RAM whose pages another process has mapped, too: since a fork, or as a
    file's. What is unknown of a part is unknown of a sum, and of a difference.
    """

    bytes: int
    resident: int | None
    swapped: int | None
    shared: int | None = 0

    def __post_init__(self) -> None:
        if self.resident is None:
            object.__setattr__(self, "shared", None)

    def __add__(self, other: Amount) -> Amount:
        if 0 == other.bytes == other.resident == other.swapped == other.shared:
            return self  # of thousands of arenas most parts are nothing: one object
        size = self.bytes + other.bytes
        if self.resident is None or self.swapped is None:
            return Amount(size, None, None)
        if other.resident is None or other.swapped is None:
            return Amount(size, None, None)
        whole = self.resident + other.resident, self.swapped + other.swapped
        if self.shared is None or other.shared is None:
            return Amount(size, *whole, None)
        return Amount(size, *whole, self.shared + other.shared)

    def __sub__(self, other: Amount) -> Amount:
        size = self.bytes - other.bytes
        if self.resident is None or self.swapped is None:
            return Amount(size, None, None)
        if other.resident is None or other.swapped is None:
            return Amount(size, None, None)
        rest = self.resident - other.resident, self.swapped - other.swapped
        if self.shared is None or other.shared is None:
            return Amount(size, *rest, None)
        return Amount(size, *rest, self.shared - other.shared)

    def times(self, number: int) -> Amount:
        """Return what so many of these are together."""
        parts = (self.resident, self.swapped, self.shared)
        return Amount(self.bytes * number, *(None if p is None else p * number for p in parts))

    @property
    def in_ram(self) -> int:
        """Bytes in RAM; all of them where that is unknown, as in a core."""
        return self.bytes if self.resident is None else self.resident

    @property
    def private(self) -> int | None:
        """Bytes in RAM that no other process has mapped; None where that is unknown."""
        return None if self.resident is None or self.shared is None else self.resident - self.shared

    def shared_of(self, resident: int) -> int | None:
        """Return how much is shared of a part of what is in RAM; None where that can't be told: all
        is, or none, or it is the whole.
        """
        if resident == self.resident or self.shared in (0, self.resident):
            return None if self.shared is None else min(resident, self.shared)
        return None

    @property
    def possible(self) -> bool:
        """Whether there can be so much: nothing is negative, nor more in memory than there is."""
        if self.resident is None or self.swapped is None:
            return self.bytes >= 0
        fits = self.resident >= 0 <= self.swapped and self.resident + self.swapped <= self.bytes
        return fits and 0 <= (self.shared or 0) <= self.resident


NOTHING = Amount(0, 0, 0)


def sum_of(amounts: Iterable[Amount]) -> Amount:
    """Return what these are together."""
    size = resident = swapped = shared = 0
    known = told = True
    for each in amounts:
        size += each.bytes
        if each.resident is None or each.swapped is None:
            known = False
        else:
            resident, swapped = resident + each.resident, swapped + each.swapped
            shared, told = shared + (each.shared or 0), told and each.shared is not None
    return Amount(size, resident, swapped, shared if told else None) if known else _unknown(size)


def _unknown(size: int) -> Amount:
    return Amount(size, None, None)


def amount_of(residency: Residency | None, start: int, end: int) -> Amount:
    """Return the bytes of [start, end)."""
    missing = residency.missing(start, end) if residency else (0, 0, 0)
    return amount_less(residency, end - start, *missing)


def amount_less(
    residency: Residency | None, size: int, absent: int, swapped: int, shared: int
) -> Amount:
    """Return `size` bytes, of which so many aren't resident and so many of those are swapped, and
    so many of the resident ones shared.
    """
    return Amount(size, size - absent, swapped, shared) if residency else Amount(size, None, None)


@dataclass(frozen=True)
class Amounts:
    """The amounts of many ranges, as columns: what each has, and what of it is missing.

    `missing` are three words for each (Residency.missing), None where that isn't known.
    """

    sizes: array[int]
    missing: array[int] | None

    @classmethod
    def of(cls, residency: Residency | None, spans: Iterable[tuple[int, int]]) -> Amounts:
        """Return the amounts of these ranges, each from its start to its end."""
        sizes, missing = array("Q"), array("Q")
        for start, end in spans:
            sizes.append(end - start)
            if residency:
                missing.extend(residency.missing(start, end))
        return cls(sizes, missing if residency else None)

    def __iter__(self) -> Iterator[Amount]:
        if self.missing is None:
            yield from map(_unknown, self.sizes)
            return
        missing = iter(self.missing)
        for size, absent, swapped, shared in zip(self.sizes, missing, missing, missing):
            yield Amount(size, size - absent, swapped, shared)
