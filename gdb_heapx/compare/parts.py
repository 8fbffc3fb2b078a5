"""What RSS consists of, before and now: parts whose changes add up to its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..heap.states import HELD_FREE, State
from ..snapshots.holders import INSIDE
from ..snapshots.ledger import ORDER, Owned
from ..snapshots.regions import Owner
from .look import Look

PERCENT, TWENTIETH, THOUSANDTH = 100, 20, 1000
PARTS: dict[str, tuple[Owned, ...]] = {
    "in use": (State.IN_USE, Owner.MMAPPED),
    "free": HELD_FREE,
    "malloc's own": (State.OVERHEAD,),
    "not readable": (Owner.UNKNOWN,),
    "sbrk of others": (Owner.SBRK,),
    "outside malloc": tuple(owner for owner in ORDER if owner not in INSIDE),
}
REST = "other"


class Moved(NamedTuple):
    """A part of RSS in bytes, before and now."""

    name: str
    old: int
    new: int

    @property
    def change(self) -> int:
        return self.new - self.old


class Equation(NamedTuple):
    """The changes of the parts, which add up to that of the whole.

    They are bytes of RAM if that is `known` of both looks, else of address space.
    """

    whole: Moved
    parts: tuple[Moved, ...]
    known: bool

    def of(self, name: str) -> Moved:
        return next(part for part in self.parts if part.name == name)

    @property
    def turned_over(self) -> int:
        """What all parts grew and shrank by together."""
        return sum(abs(part.change) for part in self.parts)

    def still(self, part: Moved) -> bool:
        """Tell whether a part is called unchanged: it changed by 1 % of what it was at most, and by
        a twentieth of all that moved, or a thousandth of the whole.
        """
        much = PERCENT * abs(part.change) > part.old
        leading = TWENTIETH * abs(part.change) > self.turned_over
        return not much and not (leading and THOUSANDTH * abs(part.change) > self.whole.old)


def equation(old: Look, new: Look) -> Equation:
    """Return how RSS changed, part by part."""
    known = all(look.resident_known and look.snapshot.target.rss for look in (old, new))
    parts = [
        Moved(name, *(_bytes(look, owners, known) for look in (old, new)))
        for name, owners in PARTS.items()
    ]
    if known:
        whole = Moved("RSS", *(look.snapshot.target.rss or 0 for look in (old, new)))
    else:
        whole = Moved("Address space", *_sums(parts))
    before, after = _sums(parts)
    rest = Moved(REST, whole.old - before, whole.new - after)
    return Equation(whole, (*parts, rest), known)


def _sums(parts: Sequence[Moved]) -> tuple[int, int]:
    return sum(part.old for part in parts), sum(part.new for part in parts)


def _bytes(look: Look, owners: tuple[Owned, ...], known: bool) -> int:
    amount = look.ledger.of(*owners)
    return amount.in_ram if known else amount.bytes
