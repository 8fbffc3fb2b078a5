"""Reports in their formats: text, text with colour, JSON, CSV and others."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import Problem, escape, valid
from .blocks import BLOCKS
from .context import Context
from .either import for_scripts
from .metrics import OPENMETRICS
from .model import Report
from .openmetrics import exposition
from .schema import Kind, Table, Value
from .signs import SPECK, TOP
from .stacks import FOLDED, folded
from .style import BARS, COMMAND, ERROR, HEADING, KIND_TOKENS, TOTAL, Style, is_there, library
from .text import tokens

TEXT_LIBRARIES = ("tabulate", "pygments")


def missing_libraries() -> str | None:
    """Return the sentence that says how to get tabulate and pygments, None if both are there."""
    missing = [name for name in TEXT_LIBRARIES if not is_there(name)]
    if not missing:
        return None
    names = " and ".join(missing)
    return f"heapx: {names} not found: plain output. Install them: pip install {' '.join(missing)}"


Pieces = Iterator[str]  # of the whole text, in order


def render_text(report: Report, context: Context, style: Style) -> Pieces:
    """Yield the report as plain text."""
    yield "".join(text for _, text in tokens(report, style))


def render_ansi(report: Report, context: Context, style: Style) -> Pieces:
    """Yield the report as text with colour; plain where pygments is missing."""
    formatters = library("pygments.formatters")
    if formatters is None:
        yield from render_text(report, context, style)
        return
    out = io.StringIO()
    stream = [(_token(kind), text) for kind, text in tokens(report, style)]
    formatter = formatters.TerminalFormatter(colorscheme=_colours())
    if style.colours:
        formatter = formatters.Terminal256Formatter(style=style.colours)
    formatter.format(stream, out)
    yield out.getvalue()


def _colours() -> dict[Any, tuple[str, str]]:
    """Return colours that read well on light and on dark terminals (for each, in that order)."""
    chosen = {HEADING: "*bold*", TOTAL: "*bold*", ERROR: "*red*", COMMAND: "green"}
    chosen[KIND_TOKENS[Kind.ADDRESS]] = "magenta"
    chosen.update({BARS["."]: "green", BARS["#"]: "brightred", BARS["+"]: "magenta"})
    chosen.update({SPECK.token: "yellow", TOP.token: "cyan"})
    return {
        _token(""): ("", ""),
        **{_token(name): (colour,) * 2 for name, colour in chosen.items()},
    }


def _token(name: str) -> Any:
    token = library("pygments.token").Token
    for part in filter(None, name.split(".")):
        token = getattr(token, part)
    return token


def render_json(report: Report, context: Context, style: Style) -> Pieces:
    """Yield the report as one JSON object (docs/json.md), with a line for each row."""
    import json  # `source gdb_heapx.py` needs neither this nor csv

    head = {"heapx": context.version, "command": context.command, "target": context.target}
    yield json.dumps(_valid(head), indent=1).removesuffix("\n}") + ',\n "tables": ['
    for number, table in enumerate(report.tables):
        columns = [{"name": c.name, "kind": c.kind.value} for c in table.columns]
        yield f"{',' if number else ''}\n  {{\n"
        yield f'   "name": {json.dumps(table.name)},\n   "columns": {json.dumps(columns)},\n'
        yield '   "rows": ['
        yield from _joined(",", (f"\n    {json.dumps(row)}" for row in json_rows(table)))
        total = json.dumps(_total(table, table.total)) if table.total else None
        yield "]" + (f',\n   "total": {total}' if total else "") + "\n  }"
    yield "],\n" + json.dumps(_valid(_tail(report)), indent=1).removeprefix("{\n") + "\n"


def json_rows(table: Table) -> Iterator[dict[str, Value]]:
    """Yield a table's rows for JSON."""
    names = [column.name for column in table.columns]
    cells = [_JSON_CELLS.get(column.kind) for column in table.columns]
    for row in table.rows:
        yield {n: cell(value) if cell else value for n, cell, value in zip(names, cells, row)}


LINES = 1000  # of a long table that are handed on at once


def _joined(separator: str, lines: Iterable[str]) -> Pieces:
    """Yield many lines, a thousand at once, with a separator between them."""
    lines, between = iter(lines), ""
    while some := list(islice(lines, LINES)):
        yield between + separator.join(some)
        between = separator


def _tail(report: Report) -> dict[str, Any]:
    """Return what JSON says behind the tables: problems may come up while rows are read."""
    more: dict[str, Any] = {}
    always: dict[str, list[Any]] = {
        "findings": [],
        "problems": [_problem(problem) for problem in report.problems],
        "notes": [],
    }
    for block in map(for_scripts, report.blocks):
        for key, value in BLOCKS[type(block)].data(block).items():
            if key in always:
                always[key] += value
            else:
                more[key] = value
    return {**more, **always}


def _problem(problem: Problem) -> dict[str, Value]:
    return {
        "code": problem.code,
        "address": None if problem.address is None else f"{problem.address:#x}",
        "arena": problem.arena,
        "thread": problem.thread,
        "statement": problem.statement,
        "in_motion": problem.in_motion,
    }


def _total(table: Table, total: Mapping[str, Value]) -> dict[str, Value]:
    """Return the sums of a table in the order of its columns."""
    return {column.name: total[column.name] for column in table.columns if column.name in total}


# What makes JSON of a value; nothing for the other kinds.
_JSON_CELLS: dict[Kind, Callable[[Any], Value]] = {
    Kind.ADDRESS: lambda value: None if value is None else hex(value),
    Kind.TEXT: lambda value: valid(value) if isinstance(value, str) else value,
}


def _valid(value: Any) -> Any:
    """Return a value for JSON whose texts are Unicode, whatever names the target has."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, list):
        return [_valid(each) for each in value]
    if isinstance(value, dict):
        return {name: _valid(each) for name, each in value.items()}
    return value


def render_csv(report: Report, context: Context, style: Style) -> Pieces:
    """Yield the report's first table as CSV, without the total."""
    table = report.tables[0]
    names = style.columns or tuple(column.name for column in table.columns)
    yield _csv_lines([names])
    places = {column.name: place for place, column in enumerate(table.columns)}
    cells = [(places[name], _CSV_CELLS.get(table.columns[places[name]].kind)) for name in names]
    rows = ([cell(row[at]) if cell else row[at] for at, cell in cells] for row in table.rows)
    while some := list(islice(rows, LINES)):
        yield _csv_lines(some)


def _csv_lines(rows: Iterable[Sequence[Value]]) -> str:
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


# What makes CSV of a value; nothing for the other kinds.
_CSV_CELLS: dict[Kind, Callable[[Any], Value]] = {
    Kind.ADDRESS: lambda value: None if value is None else hex(value),
    Kind.BOOL: lambda value: None if value is None else str(value).lower(),
    Kind.TEXT: lambda value: None if value is None else escape(str(value)),
}


def render_folded(report: Report, context: Context, style: Style) -> Pieces:
    """Yield the report's stacks, a line each, as tools for flame graphs read them."""
    yield from folded(report)


def render_openmetrics(report: Report, context: Context, style: Style) -> Pieces:
    """Yield what of the report's tables are metrics, for Prometheus and what reads the same."""
    yield from exposition(report, context)


Renderer = Callable[[Report, Context, Style], Pieces]
FORMATS: dict[str, Renderer] = {
    "text": render_text,
    "ansi": render_ansi,
    "json": render_json,
    "csv": render_csv,
    FOLDED: render_folded,
    OPENMETRICS: render_openmetrics,
}
