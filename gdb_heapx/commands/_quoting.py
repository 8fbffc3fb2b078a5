"""Tables without what memory quotes: files and pages go from hand to hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report.schema import Row, Table, Value

# Columns whose text may be the program's, and what they have instead.
QUOTING: dict[str, Value] = {"contents": "", "looks": None}


def unquoted(table: Table, most: int | None = None) -> Table:
    """Return the first rows of a table, or all of them, without the program's own data."""
    at = {n: QUOTING[c.name] for n, c in enumerate(table.columns) if c.name in QUOTING}
    if not at and most is None:
        return table
    rows = [row for row, _ in zip(table.rows, range(most))] if most else list(table.rows)
    return replace(table, rows=[_without(row, at) for row in rows])


def _without(row: Row, instead: Mapping[int, Value]) -> Row:
    """Return a row; what begins as a string in quotes, or a number, is the program's data."""
    quoted = (at for at in instead if str(row[at]).startswith(('"', "0x")))
    cells = dict(enumerate(row))
    cells.update((at, instead[at]) for at in quoted)
    return tuple(cells.values())
