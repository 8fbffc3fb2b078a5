"""What changed by type: of what is in use, as tables of both looks tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..target.amounts import NOTHING, Amount
from .change import Change, joined, largest_first
from .look import TYPES, Look


class TypeChange(NamedTuple):
    """What changed of the chunks of a type."""

    type: str
    how: str | None
    chunks: int
    change: Change


class _Sum(NamedTuple):
    chunks: int
    amount: Amount


_NONE = _Sum(0, NOTHING)


def type_changes(old: Look, new: Look) -> list[TypeChange] | None:
    """Return the types whose chunks changed, most bytes first; None where one look has none."""
    if not (old.typed and new.typed):
        return None
    rows = [
        TypeChange(*key, (after or _NONE).chunks - (before or _NONE).chunks, _change(before, after))
        for key, before, after in joined(_by_type(old), _by_type(new))
    ]
    return largest_first(rows, lambda row: row.change)


def _change(before: _Sum | None, after: _Sum | None) -> Change:
    return Change(before and before.amount, after and after.amount)


def _by_type(look: Look) -> dict[tuple[str, str | None], _Sum]:
    """Return the chunks by type and how that is known, wherever in them the first object lies."""
    sums: dict[tuple[str, str | None], _Sum] = {}
    for row in _rows(look):
        key = row["type"], row["how"]
        chunks, amount = sums.get(key, _NONE)
        amount += Amount(row["bytes"], row["resident"], row["swapped"])
        sums[key] = _Sum(chunks + row["chunks"], amount)
    return sums


def _rows(look: Look) -> Iterator[dict[str, Any]]:
    table = look.tables[TYPES]
    return (table.named(row) for row in table.rows)
