"""Columns that are asked for by name: of which table each is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..errors import UsageError
from .model import Report
from .schema import Schema, Table


def chosen_of(table: Table | Schema, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that are columns of a table."""
    known = {column.name for column in table.columns}
    return tuple(name for name in names if name in known)


def named(tables: Sequence[Schema], name: str) -> str:
    """Return the name of the column that is meant by a name, or by what text has above it."""
    columns = [column for table in tables for column in table.columns]
    if any(column.name == name for column in columns):
        return name
    return next((c.name for c in columns if name in (c.heading, c.heading.replace(" ", "_"))), name)


def check_shown(
    shown: Sequence[Table], known: Sequence[Schema], names: Iterable[str], is_text: bool = False
) -> None:
    """UsageError, with the columns that there are, where none of the tables that are shown has a
    name; `known` are all that there may be.
    """
    for name in names:
        if any(chosen_of(table, [name]) for table in shown):
            continue
        others = [table.name for table in known if chosen_of(table, [name])]
        what = f"{shown[0].name} has no column {name!r}"
        where = f": it is one of {' and '.join(others)}, not shown here" if others else ""
        hidden = ["--format json shows all tables."] if others and is_text else []
        raise UsageError(what + where, *hidden, *columns_in(shown))


def with_one_table(report: Report, known: Sequence[Schema], names: Sequence[str]) -> Report:
    """Return a report with only the first table that has all of these columns, as CSV is;
    UsageError where none has.
    """
    if not report.tables:
        return report
    check_shown(report.tables, known, names)
    having = (each for each in report.tables if len(chosen_of(each, names)) == len(names))
    table = next(having, None)
    if table is None:
        raise UsageError(
            "CSV has one table, and none has all of these columns: --format json has all tables",
            *columns_in(report.tables),
        )
    blocks = (each for each in report.blocks if each is table or not isinstance(each, Table))
    return replace(report, blocks=tuple(blocks))


def columns_in(tables: Sequence[Table | Schema]) -> Iterator[str]:
    """Yield a line for each table: the columns that it has."""
    for table in tables:
        names = ", ".join(column.name for column in table.columns)
        yield f"Columns: {names}" if len(tables) == 1 else f"Columns of {table.name}: {names}"
