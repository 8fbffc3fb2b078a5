"""What of some memory is in RAM, and in swap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .space import Residency


class Presence(NamedTuple):
    """Bytes that are in RAM, and that are in swap; None where the target can't say."""

    resident: int | None
    swapped: int | None

    def fits(self, size: int) -> bool:
        """Tell whether `size` bytes may have so much in memory; unknown doesn't fit."""
        if self.resident is None or self.swapped is None:
            return False
        return self.resident >= 0 <= self.swapped and self.resident + self.swapped <= size


UNKNOWN = Presence(None, None)


def presence_of(residency: Residency | None, start: int, end: int) -> Presence:
    """Return what of [start, end) is in memory."""
    if residency is None:
        return UNKNOWN
    absent, swapped = residency.missing(start, end)
    return Presence(end - start - absent, swapped)


def added(parts: Iterable[Presence]) -> Presence:
    """Return the sum; unknown if a part is."""
    resident = swapped = 0
    for part in parts:
        if part.resident is None or part.swapped is None:
            return UNKNOWN
        resident, swapped = resident + part.resident, swapped + part.swapped
    return Presence(resident, swapped)


def less(whole: Presence, part: Presence) -> Presence:
    """Return what is left of the whole without a part; unknown if either is."""
    if whole.resident is None or whole.swapped is None:
        return UNKNOWN
    if part.resident is None or part.swapped is None:
        return UNKNOWN
    return Presence(whole.resident - part.resident, whole.swapped - part.swapped)
