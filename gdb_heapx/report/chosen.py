"""Columns that are asked for by name: of which table each is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..errors import UsageError
from .schema import Schema, Table


def chosen_of(table: Table | Schema, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that are columns of a table."""
    known = {column.name for column in table.columns}
    return tuple(name for name in names if name in known)


def check_shown(shown: Sequence[Table], known: Sequence[Schema], names: Iterable[str]) -> None:
    """UsageError, with the columns that there are, where none of the tables that are shown has a
    name; `known` are all that there may be.
    """
    for name in names:
        if any(chosen_of(table, [name]) for table in shown):
            continue
        others = [table.name for table in known if chosen_of(table, [name])]
        what = f"{shown[0].name} has no column {name!r}"
        where = f": it is one of {' and '.join(others)}, not shown here" if others else ""
        raise UsageError(what + where, *columns_in(shown))


def columns_in(tables: Sequence[Table | Schema]) -> Iterator[str]:
    """Yield a line for each table: the columns that it has."""
    for table in tables:
        names = ", ".join(column.name for column in table.columns)
        yield f"Columns: {names}" if len(tables) == 1 else f"Columns of {table.name}: {names}"
