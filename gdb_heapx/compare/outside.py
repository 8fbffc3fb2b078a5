"""What changed outside malloc, by name."""

from __future__ import annotations

from typing import NamedTuple

from ..snapshots.holders import Holder, holders, together
from ..snapshots.regions import Owner
from .change import Change, joined, largest_first
from .look import Look


class HolderChange(NamedTuple):
    """What one of those has more, or less, that have memory outside malloc."""

    owner: Owner
    name: str
    change: Change


def outside_changes(old: Look, new: Look) -> list[HolderChange]:
    """Return who has more or less memory outside malloc, the largest changes first; programs and
    libraries are one, and so are all stacks.
    """
    rows = []
    for (owner, name), before, after in joined(_by_name(old), _by_name(new)):
        some = after or before
        assert some is not None  # one of both has the name
        called = name or some.owner.value
        change = Change(before.amount if before else None, after.amount if after else None)
        rows.append(HolderChange(owner, called, change))
    return largest_first(rows, lambda row: row.change)


def _by_name(look: Look) -> dict[tuple[Owner, str], Holder]:
    found = together(holders(look.snapshot, look.ledger), Owner.FILES)
    return {(each.owner, _name(each)): each for each in together(found, Owner.STACKS)}


def _name(holder: Holder) -> str:
    return "" if holder.owner in (Owner.FILES, Owner.STACKS) else holder.label
