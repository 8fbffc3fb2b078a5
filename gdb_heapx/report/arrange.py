"""What the output options do to a report: sort and cut it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple

from .chosen import check_shown
from .either import for_people, for_scripts
from .model import Findings, Note, Notes, Report, Steps
from .notes import note
from .pictures import Picture
from .schema import ALWAYS, DATA_ONLY, Kind, Many, Row, Schema, Table

STREAMED = 40  # rows


def arrange(
    report: Report,
    sort: str | None,
    limit: int | None,
    columns: tuple[str, ...] | None,
    is_text: bool,
    few: bool = False,
    tables: Sequence[Schema] = (),
) -> Report:
    """Sort and cut the first table, and the findings where it lists them; check column names:
    `tables` are all that there may be. What only a later table can be sorted by, that one is.

    A stream stays one if nothing needs all of its rows at once; text shows STREAMED of its rows if
    nothing else is asked for. Where a `few` rows are enough, the table says how many.
    """
    if is_text:
        report = without_echoes(report)
    if not report.tables:
        return report
    table, notes = report.tables[0], list[Note]()
    check_shown(report.tables, tables, (*(columns or ()), *filter(None, [sort])), is_text)
    if sort and table.column(sort) is None:
        report = replace(report, blocks=tuple(_sorted_later(report.blocks, sort)))
    rows, order = table.rows, _order(table, sort)
    if few and table.few is not None and limit is not None:
        limit = min(limit, table.few)
    if limit is None and is_text and isinstance(rows, Iterator):
        limit = STREAMED
    number = None if isinstance(rows, Iterator) else len(rows)
    if isinstance(rows, (Iterator, Many)) and limit is not None and order:
        rows, number = _best(iter(rows), order, limit)
    if isinstance(rows, Iterator) and limit is not None:
        rows = list(islice(rows, limit + 1))
        if len(rows) > limit:
            notes.append(note("rows_follow", limit=limit))
            rows = rows[:limit]
    if order or (is_text and isinstance(rows, Iterator)):
        rows = list(rows)
    if isinstance(rows, Iterator):
        return report
    if order:
        rows = order.sorted(rows)
    found = bool(rows)
    if limit is not None and limit < (number or 0):
        more, summed = (number or 0) - limit, bool(table.total)
        noun = "finding" if is_text and _lists_findings(report) else "row"
        of = table.name if noun == "row" and len(report.tables) > 1 else None
        notes.append(note("more_rows", number=more, summed=summed, noun=noun, of=of))
        rows = list(islice(rows, limit))
    blocks = [_arranged(block, table, rows) for block in report.blocks]
    if is_text:
        blocks, left_out = _with_few(blocks)
        notes += left_out
    if not found:  # nothing is shown that could be followed up
        blocks = [block for block in blocks if not isinstance(block, Steps)]
    return replace(report, blocks=_noted(blocks, notes))


def for_reader(report: Report, is_text: bool, columns: Iterable[str]) -> Report:
    """Return a report as people see it, where these columns are asked for, or as scripts do."""
    if not is_text:
        return replace(report, blocks=tuple(map(for_scripts, report.blocks)))
    seen = replace(report, blocks=tuple(chain.from_iterable(map(for_people, report.blocks))))
    for whole, shown in zip(report.tables[:1], seen.tables):
        if any(whole.column(name) and not shown.column(name) for name in columns):
            return for_reader(report, False, ())
    return seen


def without_echoes(report: Report) -> Report:
    """Return a report whose tables have no total that would repeat their only row."""
    return replace(report, blocks=tuple(map(_without_echo, report.blocks)))


def _without_echo(block: object) -> object:
    if not isinstance(block, Table) or not isinstance(block.rows, Sequence) or not block.total:
        return block
    same = [block.named(row).items() >= block.total.items() for row in block.rows]
    return replace(block, total=None) if same == [True] else block


def told_apart(report: Report, libcs: Sequence[str]) -> Report:
    """Return a report for people to read whose tables show of which libc each row is, by names as
    short as tell them apart; as it is where there is only one.
    """
    if len(libcs) < 2:
        return report
    short = [re.sub(r"\.so[.\d]*", "", path.rpartition("/")[2]) for path in libcs]
    names = dict(zip(libcs, short if len(set(short)) == len(libcs) else libcs))
    return replace(report, blocks=tuple(_with_libc(block, names) for block in report.blocks))


def without_totals(report: Report) -> Report:
    """Return a report whose tables lack rows, or figures of some: no total is known."""
    return replace(report, blocks=tuple(map(_without_total, report.blocks)))


def _without_total(block: object) -> object:
    if not isinstance(block, Table) or block.total is None:
        return block
    return replace(block, total=dict.fromkeys(block.total))


def _with_libc(block: object, names: Mapping[str, str]) -> object:
    if isinstance(block, Picture):
        lanes = (replace(each, libc=names.get(each.libc or "")) for each in block.lanes)
        return replace(block, lanes=tuple(lanes))
    column = block.column("libc") if isinstance(block, Table) else None
    if not isinstance(block, Table) or column is None:
        return block
    if all(each.rank == DATA_ONLY for each in block.columns):  # people see a picture instead
        return block
    at = block.columns.index(column)
    shown = replace(column, rank=ALWAYS, absent="")
    columns = (*block.columns[:at], shown, *block.columns[at + 1 :])
    rows = ((*row[:at], names.get(str(row[at])), *row[at + 1 :]) for row in block.rows)
    return replace(block, columns=columns, rows=rows if block.streamed else list(rows))


def _lists_findings(report: Report) -> bool:
    return any(isinstance(block, Findings) and block.tabled for block in report.blocks)


def _arranged(block: object, table: Table, rows: Sequence[Row] | Many[Row]) -> object:
    """Return a block as it goes with these rows of the first table."""
    if block is table:
        return replace(table, rows=rows)
    if isinstance(block, Picture) and block.tabled:
        drawn = {id(row): each for row, each in zip(table.rows, block.lanes)}
        return replace(block, lanes=tuple(drawn[id(row)] for row in rows))
    if not isinstance(block, Findings) or not block.tabled:
        return block
    found = {id(row): each for row, each in zip(table.rows, block.findings)}
    return replace(block, findings=tuple(found[id(row)] for row in rows))


def _with_few(blocks: Sequence[object]) -> tuple[list[object], list[Note]]:
    """Return blocks whose tables beside the first one have no more than a few rows, where they say
    how many; and notes of how many more there are.
    """
    cut, notes, first = list[object](), list[Note](), True
    for block in blocks:
        if isinstance(block, Table):
            few = None if first else block.few
            first = False
            if few and isinstance(block.rows, Sequence) and len(block.rows) > few:
                name = block.name.replace("_", " ")
                notes.append(note("more_rows_of", table=name, number=len(block.rows) - few))
                block = replace(block, rows=block.rows[:few])
        cut.append(block)
    return cut, notes


def _noted(blocks: Sequence[object], more: Sequence[Note]) -> tuple[object, ...]:
    """Return the blocks with more notes: behind those that there are, else before the steps."""
    if not more:
        return tuple(blocks)
    for at, block in enumerate(blocks):
        if isinstance(block, Notes) and not block.leads:
            notes = replace(block, notes=(*block.notes, *more))
            return (*blocks[:at], notes, *blocks[at + 1 :])
    steps = [at for at, block in enumerate(blocks) if isinstance(block, Steps)]
    at = steps[0] if steps else len(blocks)
    return (*blocks[:at], Notes(tuple(more)), *blocks[at:])


def _sorted_later(blocks: Sequence[object], sort: str) -> Iterator[object]:
    """Yield the blocks, the first table that has a column sorted by it."""
    done = False
    for block in blocks:
        order = _order(block, sort) if isinstance(block, Table) and not done else None
        if order and isinstance(block, Table):
            done, block = True, replace(block, rows=order.sorted(block.rows))
        yield block


class _Order(NamedTuple):
    """The place of the column that decides, and whether the largest come first."""

    at: int
    descends: bool

    def sorted(self, rows: Iterable[Any]) -> list[Any]:
        """Return the rows in this order, those without a value last."""
        at, every = self.at, list(rows)
        known = [row for row in every if row[at] is not None]
        unknown = [row for row in every if row[at] is None]
        return sorted(known, key=itemgetter(at), reverse=self.descends) + unknown


def _order(table: Table, sort: str | None) -> _Order | None:
    """Return the order by a column, None for that of the table."""
    places = (place for place, column in enumerate(table.columns) if column.name == sort)
    at = next(places, None)
    return None if at is None else _Order(at, table.columns[at].kind in (Kind.BYTES, Kind.COUNT))


def _best(rows: Iterator[Any], order: _Order, limit: int) -> tuple[list[Any], int]:
    """Return the first rows of many by a column, and how many there are; no more than a few times
    as many are kept at once.
    """
    best: list[Any] = []
    number = 0
    while some := list(islice(rows, max(limit, STREAMED))):
        number += len(some)
        best = order.sorted([*best, *some])[:limit]
    return best, number
