"""The blocks of a report as a page shows them: plain values for its template to escape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from ..errors import Problem, escape
from .blocks import how_much
from .drawings import picture_view
from .model import Finding, Findings, Notes, Report, Steps, size_text
from .notes import sentence
from .pictures import Picture
from .schema import ALWAYS, DATA_ONLY, Column, Kind, Row, Table, Value
from .style import Style
from .tables import cell_text, is_empty, unit_of, units_text

FILTERED = 12  # rows of a table that can be searched
VERDICTS = ("most_is", "not_glibc")  # what the whole comes down to
IN_HEADER = ("looked_at",)  # what the page's header says
KEY = "key"  # the column that says which part of a picture a row is about


class CellView(NamedTuple):
    """What a cell says, and the number that it is sorted by: None where it is text, or unknown."""

    text: str
    number: int | None


class ColumnView(NamedTuple):
    """A column's heading, and whether its cells begin at the left."""

    heading: str
    name: str
    leftward: bool
    flows: bool


class PartView(NamedTuple):
    """A part of a bar of 1,000: which one, where, and what it says."""

    key: str
    start: int
    width: int
    text: str


class RowView(NamedTuple):
    """A row's cells, and which part of a picture it is about, "" for none."""

    key: str
    cells: list[CellView]


class TableView(NamedTuple):
    """A table: what its sizes are in, its columns and rows, and their sum, if it has one."""

    name: str
    units: str
    columns: list[ColumnView]
    rows: list[RowView]
    total: list[CellView]
    parts: list[PartView]

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    @property
    def filtered(self) -> bool:
        return len(self.rows) >= FILTERED


def table_view(table: Table, style: Style) -> TableView:
    """Return a table with every column that tells anything."""
    unit, unit_name = unit_of(table, style)
    chosen = [column for column in table.columns if _tells(table, column)]
    places = [table.columns.index(column) for column in chosen]

    def cells(values: Row) -> list[CellView]:
        return [_cell_view(each, values[at], unit) for each, at in zip(chosen, places)]

    sums = table.total or {}
    total = [
        _cell_view(each, sums[each.name], unit) if each.name in sums else CellView("", None)
        for each in chosen
    ]
    keys = table.values(KEY) if table.column(KEY) else ("" for _ in table.rows)
    rows = [RowView(str(key), cells(row)) for key, row in zip(keys, table.rows)]
    columns = [ColumnView(c.heading, c.name, c.leftward, c.flows or c.shrinks) for c in chosen]
    units = ", ".join(units_text(chosen, unit_name))
    return TableView(table.name, units, columns, rows, total if sums else [], _parts_of(table))


def _parts_of(table: Table) -> list[PartView]:
    """Return the rows of a table of parts as those of a bar: each as wide as its size."""
    if not table.column(KEY):
        return []
    names = [column.name for column in table.columns if column.scaled and column.rank != DATA_ONLY]
    rows = [table.named(row) for row in table.rows]
    found = [(row, size) for row in rows if isinstance(size := row[names[0]], int) and size > 0]
    whole, so_far, parts = sum(size for _, size in found), 0, list[PartView]()
    for row, size in found:
        start, so_far = 1000 * so_far // whole, so_far + size
        text = escape(f"{row['part']}: {size_text(size)}")
        parts.append(PartView(str(row[KEY]), start, 1000 * so_far // whole - start, text))
    return parts


def _tells(table: Table, column: Column) -> bool:
    """Tell whether a page shows a column: it isn't for scripts, and has something to say."""
    if column.rank == DATA_ONLY or column.heading == "":
        return False
    if column.rank == ALWAYS and column.absent:
        return True
    return not is_empty(table, column)


def _cell_view(column: Column, value: Value, unit: int) -> CellView:
    number = value if isinstance(value, int) and column.kind is not Kind.TEXT else None
    return CellView(cell_text(column, value, unit), number)


class FindingView(NamedTuple):
    """A finding: how much it is about, what it says first, and the rest; what to do likewise."""

    code: str
    size: str
    statement: tuple[str, str]
    evidence: list[str]
    remedy: tuple[str, str]
    in_force: bool


def findings_view(block: Findings, style: Style) -> list[list[FindingView]]:
    """Return the findings in groups: one, and behind it those about the same bytes."""
    pairs = zip(_numbered(block.findings), block.findings)
    return [
        [_finding_view(each) for _, each in group]
        for _, group in groupby(pairs, lambda pair: pair[0])
    ]


def _numbered(findings: tuple[Finding, ...]) -> Iterator[int]:
    """Yield the number of each finding, which a reason of the one above it shares."""
    number, leader = 0, None
    for each in findings:
        if leader is None or each.reason_of != leader:
            number, leader = number + 1, each.code
        yield number


def _finding_view(finding: Finding) -> FindingView:
    return FindingView(
        finding.code,
        re.sub(r"(?<=\d) (?=\w*B\b)", "\N{NO-BREAK SPACE}", how_much(finding).removesuffix(": ")),
        _halves(finding.statement),
        [escape(line) for line in finding.evidence],
        _halves(finding.remedy or ""),
        finding.in_force,
    )


def _halves(text: str) -> tuple[str, str]:
    """Return the first sentence, which says it all, and the others."""
    first, stop, rest = escape(text).partition(". ")
    return first + stop.strip(), rest


class SentenceView(NamedTuple):
    """A sentence, with the code of what it is about."""

    code: str
    text: str

    @property
    def is_verdict(self) -> bool:
        return self.code in VERDICTS


def _notes_view(block: Notes, style: Style) -> list[SentenceView]:
    told = (each for each in block.notes if each.code not in IN_HEADER)
    return [SentenceView(each.code, escape(sentence(each))) for each in told]


class ProblemView(NamedTuple):
    """A problem: what is wrong, where, and whether that is damage."""

    where: str
    statement: str
    damage: bool


def problem_view(problem: Problem) -> ProblemView:
    """Return a problem as a page lists it."""
    arena = None if problem.arena is None else f"arena {problem.arena}"
    thread = None if problem.thread is None else f"thread {problem.thread}"
    place = None if problem.address is None else f"{problem.address:#x}"
    where = ", ".join(filter(None, (arena, thread, place)))
    return ProblemView(where, escape(problem.statement), problem.damage)


# How each kind of block is shown that a page has; the others are for terminals.
VIEWS: dict[type, Callable[[Any, Style], Any]] = {
    Table: table_view,
    Findings: findings_view,
    Notes: _notes_view,
    Picture: lambda block, style: picture_view(block),
    Steps: lambda block, style: block.steps,
}


class BlockView(NamedTuple):
    """A block of a report: its kind's name in small letters, and what there is to see of it."""

    kind: str
    view: Any


def once(chapters: Iterable[list[BlockView]]) -> None:
    """Take out of later chapters the sentences that lead to figures and were told above."""
    told: set[str] = set()
    for each in (block.view for blocks in chapters for block in blocks if block.kind == "leads"):
        each[:] = [note for note in each if note.text not in told]
        told.update(note.text for note in each)


def block_views(report: Report, style: Style) -> list[BlockView]:
    """Return the blocks that a page shows; not of tables that are for scripts only."""
    shown = [block for block in report.blocks if type(block) in VIEWS and not _is_brief(block)]
    views = [BlockView(_kind(block), VIEWS[type(block)](block, style)) for block in shown]
    return [each for each in views if each.kind != "table" or each.view.columns]


def _is_brief(block: object) -> bool:
    """Tell whether another chapter says more."""
    return isinstance(block, Findings) and block.brief


def _kind(block: object) -> str:
    leads = isinstance(block, Notes) and block.leads
    return "leads" if leads else type(block).__name__.lower()
