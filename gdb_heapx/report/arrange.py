"""What the output options do to a report: sort and cut it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from ..errors import UsageError
from .model import Column, Finding, Report, Row, Table, counted

STREAMED = 40  # rows


def arrange(
    report: Report,
    sort: str | None,
    limit: int | None,
    columns: tuple[str, ...] | None,
    is_text: bool,
) -> Report:
    """Sort and cut the first table, and the findings where it lists them; check column names.

    A stream stays one if nothing needs all of its rows at once; text shows STREAMED of its rows if
    nothing else is asked for.
    """
    if not report.tables:
        return report
    table, notes = report.tables[0], report.notes
    for name in (*(columns or ()), *((sort,) if sort else ())):
        if table.column(name) is None:
            known = ", ".join(column.name for column in table.columns)
            raise UsageError(f"{table.name} has no column {name!r}", f"Columns: {known}")
    rows = table.rows
    if limit is None and is_text and isinstance(rows, Iterator):
        limit = STREAMED
    if isinstance(rows, Iterator) and limit is not None and sort:
        rows, more = _best(rows, table.column(sort), limit)
        notes = (*notes, f"{counted(more, 'more row')} (--limit).") if more else notes
    if isinstance(rows, Iterator) and limit is not None:
        rows = list(islice(rows, limit + 1))
        if len(rows) > limit:
            notes = (*notes, f"More rows follow the first {limit:,}: --limit shows them.")
            rows = rows[:limit]
    if sort or (is_text and isinstance(rows, Iterator)):
        rows = list(rows)
    if isinstance(rows, Iterator):
        return report
    if not rows:  # nothing is shown that could be followed up
        report = replace(report, next_steps=())
    if sort:
        rows = _sorted(rows, table.column(sort))
    if limit is not None and limit < len(rows):
        whole = "; the total is of all rows" if table.total else ""
        notes = (*notes, f"{counted(len(rows) - limit, 'more row')} (--limit){whole}.")
        rows = rows[:limit]
    tables = (replace(table, rows=rows), *report.tables[1:])
    return replace(report, tables=tables, findings=_findings(report, table, rows), notes=notes)


def _findings(report: Report, table: Table, rows: Sequence[Row]) -> tuple[Finding, ...]:
    """Return those findings that the rows are, in their order; all where they aren't findings."""
    if table.column("statement") is None:
        return tuple(report.findings)
    found = {id(row): each for row, each in zip(table.rows, report.findings)}
    return tuple(found[id(row)] for row in rows)


def _sorted(rows: Iterable[Any], column: Column | None) -> list[Any]:
    assert column is not None
    rows = list(rows)
    known = [row for row in rows if row[column.name] is not None]
    unknown = [row for row in rows if row[column.name] is None]
    return sorted(known, key=lambda row: row[column.name], reverse=_descends(column)) + unknown


def _descends(column: Column) -> bool:
    return column.kind.value in ("bytes", "count")


def _best(rows: Iterator[Any], column: Column | None, limit: int) -> tuple[list[Any], int]:
    """Return the first rows of a stream by a column, and how many more there are; no more than a
    few times as many are kept at once.
    """
    best: list[Any] = []
    number = 0
    while some := list(islice(rows, max(limit, STREAMED))):
        number += len(some)
        best = _sorted([*best, *some], column)[:limit]
    return best, number - len(best)
