"""Amounts of memory, with what of them is in RAM and in swap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add

from .space import Residency


@dataclass(frozen=True)
class Amount:
    """Bytes, and those of them that are in RAM and in swap: None where the target can't say.

    What is unknown of a part is unknown of a sum, and of a difference.
    """

    bytes: int
    resident: int | None
    swapped: int | None

    def __add__(self, other: Amount) -> Amount:
        size = self.bytes + other.bytes
        if self.resident is None or self.swapped is None:
            return Amount(size, None, None)
        if other.resident is None or other.swapped is None:
            return Amount(size, None, None)
        return Amount(size, self.resident + other.resident, self.swapped + other.swapped)

    def __neg__(self) -> Amount:
        if self.resident is None or self.swapped is None:
            return Amount(-self.bytes, None, None)
        return Amount(-self.bytes, -self.resident, -self.swapped)

    def __sub__(self, other: Amount) -> Amount:
        return self + -other

    @property
    def in_ram(self) -> int:
        """Bytes in RAM; all of them where that is unknown, as in a core."""
        return self.bytes if self.resident is None else self.resident

    @property
    def possible(self) -> bool:
        """Whether there can be so much: nothing is negative, nor more in memory than there is."""
        if self.resident is None or self.swapped is None:
            return self.bytes >= 0
        return self.resident >= 0 <= self.swapped and self.resident + self.swapped <= self.bytes


NOTHING = Amount(0, 0, 0)


def sum_of(amounts: Iterable[Amount]) -> Amount:
    """Return what these are together."""
    return reduce(add, amounts, NOTHING)


def amount_of(residency: Residency | None, start: int, end: int) -> Amount:
    """Return the bytes of [start, end)."""
    missing = residency.missing(start, end) if residency else (0, 0)
    return amount_less(residency, end - start, *missing)


def amount_less(residency: Residency | None, size: int, absent: int, swapped: int) -> Amount:
    """Return `size` bytes, of which so many aren't resident, and so many of those are swapped."""
    return Amount(size, size - absent, swapped) if residency else Amount(size, None, None)
