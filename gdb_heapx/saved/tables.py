"""Tables as a file has them: plain rows, as docs/json.md names what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..report.render import json_rows
from ..report.schema import Column, Kind, Row, Table, Value

TEXT, NUMBER, TRUTH = (str,), (int,), (bool,)
CLASSES = {Kind.TEXT: TEXT, Kind.ADDRESS: TEXT, Kind.BOOL: TRUTH}  # the others are numbers


def rows_for(table: Table) -> list[dict[str, Value]]:
    """Return a table's rows for JSON."""
    return list(json_rows(table))


def columns_for(table: Table) -> dict[str, str]:
    """Return what its columns hold, by their names, for JSON."""
    return {column.name: column.kind.value for column in table.columns}


def table_from(name: str, columns: Any, rows: Any) -> Table:
    """Return a table that a file has; ValueError where it isn't one."""
    kinds = {kind.value: kind for kind in Kind}
    if type(columns) is not dict or not all(kind in kinds for kind in columns.values()):
        raise ValueError(f"the columns of {name}")
    found = tuple(Column(each, kinds[kind]) for each, kind in columns.items())
    if type(rows) is not list:
        raise ValueError(f"the rows of {name}")
    return Table(name, found, [_row(name, found, row) for row in rows])


def _row(name: str, columns: Sequence[Column], row: Any) -> Row:
    if type(row) is not dict:
        raise ValueError(f"a row of {name}")
    return tuple(_value(name, column, row.get(column.name)) for column in columns)


def _value(name: str, column: Column, value: Any) -> Value:
    if value is None:
        return None
    if type(value) not in CLASSES.get(column.kind, NUMBER):
        raise ValueError(f"{column.name} in a row of {name}")
    if column.kind is Kind.ADDRESS:
        return int(value, 16)
    return value  # type: ignore[no-any-return]
