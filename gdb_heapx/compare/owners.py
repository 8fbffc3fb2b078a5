"""What changed by owner: it adds up to the difference of RSS."""

from __future__ import annotations

from typing import NamedTuple

from ..snapshots.ledger import Ledger
from ..snapshots.regions import APART
from ..target.amounts import Amount, sum_of
from .change import Change, joined, largest_first
from .look import Look

BETWEEN = "between the kernel's readings"


class OwnerChange(NamedTuple):
    """What an owner has more, or less; `counted` tells whether RSS counts it."""

    name: str
    change: Change
    counted: bool


def owner_changes(old: Look, new: Look) -> list[OwnerChange]:
    """Return the owners whose memory changed, those that changed most first."""
    apart = {owner.value for owner in APART}
    pairs = joined(_by_owner(old.ledger), _by_owner(new.ledger))
    rows = [OwnerChange(name, Change(*both), name not in apart) for name, *both in pairs]
    return largest_first(rows, lambda row: row.change)


def _by_owner(ledger: Ledger) -> dict[str, Amount]:
    """Return what each owner has; last what the kernel's RSS is more than their sum."""
    names = {entry.owner: entry.name for entry in ledger.entries}
    amounts = {name: ledger.of(owner) for owner, name in names.items()}
    if ledger.difference:
        amounts[BETWEEN] = Amount(0, ledger.difference, 0)
    return amounts


def whole_change(rows: list[OwnerChange]) -> Amount:
    """Return what all owners changed by that RSS counts."""
    return sum_of(row.change.amount for row in rows if row.counted)
