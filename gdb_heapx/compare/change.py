"""What something had, and has: the amounts before and now, and their difference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from ..records import dataclass
from ..target.amounts import NOTHING, Amount

_Key = TypeVar("_Key", bound=Hashable)
_Each = TypeVar("_Each")


@dataclass(frozen=True)
class Change:
    """The amounts before and now; None where there was, or is, no such thing."""

    old: Amount | None
    new: Amount | None

    @property
    def amount(self) -> Amount:
        """What is more now, negative what is less; what is unknown of one is unknown of it."""
        return (self.new or NOTHING) - (self.old or NOTHING)

    @property
    def moved(self) -> bool:
        return bool(self.amount.bytes or self.amount.resident or self.amount.swapped)

    @property
    def weight(self) -> tuple[int, int]:
        """By how much it is larger than others: in RAM, where that is known."""
        return abs(self.amount.in_ram), abs(self.amount.bytes)


def joined(
    old: Mapping[_Key, _Each], new: Mapping[_Key, _Each]
) -> list[tuple[_Key, _Each | None, _Each | None]]:
    """Return each key of both, with what it has in the one and in the other."""
    keys = dict.fromkeys((*old, *new))
    return [(key, old.get(key), new.get(key)) for key in keys]


def largest_first(changed: Iterable[_Each], change_of: Callable[[Any], Change]) -> list[_Each]:
    """Return those that changed, the largest changes first."""
    moved = [each for each in changed if change_of(each).moved]
    return sorted(moved, key=lambda each: change_of(each).weight, reverse=True)
