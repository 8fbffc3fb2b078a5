"""A table laid out as text: which columns fit, in which unit, and each cell with its token."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from ..errors import escape
from .bars import SHORTEST, bars_of, has_bars
from .model import UNITS, shortened
from .schema import ALWAYS, DATA_ONLY, NONE_KNOWN, Column, Kind, Table, Value
from .style import BARS, HEADING, KIND_TOKENS, NOTE, TOTAL, Style, Tokens, library

GAP = "  "
MARGIN = 5  # columns beside a cell in the widest of tabulate's formats
NARROWEST = 16  # columns of text that shrinks, or is broken into lines
MORE = 8  # columns that text of lines has more, unless what matters needs them
BEFORE_BARS = 2  # ranks of columns for which bars, and text of lines, make room


def table_tokens(table: Table, style: Style) -> Tokens:
    assert not isinstance(table.rows, Iterator), "text needs all rows for its widths"
    if not style.columns and all(column.rank == DATA_ONLY for column in table.columns):
        return  # a table for scripts
    if not table.rows and table.few == NONE_KNOWN:
        return
    if not table.rows and not any((table.total or {}).values()):
        yield NOTE, f"{table.name.replace('_', ' ')}: none\n"
        return
    unit, unit_name = unit_of(table, style)
    columns = _chosen(table, style, unit)
    if not columns:
        return  # a table for scripts
    texts = [[cell_text(c, value, unit) for value in table.values(c.name)] for c in columns]
    rows = [list(cells) for cells in zip(*texts)]
    if table.total:
        sums = table.total
        rows.append([cell_text(c, sums[c.name], unit) if c.name in sums else "" for c in columns])
        rows[-1][0] = rows[-1][0] or "total"
    rows = _shrunk(rows, columns, style)  # a total may be the widest cell of its column
    if style.table_format and library("tabulate"):
        yield from _formatted(table, columns, rows, unit_name, style.table_format)
    else:
        yield from _own(table, columns, rows, unit_name, style)
    yield from _left_out(table, columns, style)


def _own(
    table: Table,
    columns: Sequence[Column],
    rows: list[list[str]],
    unit_name: str | None,
    style: Style,
) -> Tokens:
    """Yield a table in heapx's own format, with its bars where they fit."""
    if columns[-1].kind is Kind.TEXT:
        rows = _broken(rows, columns, style.width)
    grid = _pad([[column.heading for column in columns], *rows], columns)
    width = _in_all([len(cell) for cell in grid[0]], None)
    bars = bars_of(table, style.width - width - len(GAP), style)
    yield from _title(table, columns, unit_name, bars.legend)
    yield from _line(grid[0], [HEADING] * len(columns))
    body = grid[1:-1] if table.total else grid[1:]
    for cells, bar in zip_longest(body, bars.rows, fillvalue=()):
        kinds = (_token(column, cell) for column, cell in zip(columns, cells))
        yield from _line(cells, list(kinds), bar)
    if table.total:
        yield NOTE, "-" * width + "\n"
        yield from _line(grid[-1], [TOTAL] * len(columns))


def _token(column: Column, cell: str) -> str:
    """Return the token of a cell."""
    return BARS.get(cell.strip(), "") if column.marks else KIND_TOKENS[column.kind]


def _title(
    table: Table, columns: Sequence[Column], unit_name: str | None, legend: Tokens = ()
) -> Tokens:
    """Yield the table's name, with the units of its sizes, and what its bars are."""
    name, units = table.name.replace("_", " "), units_text(columns, unit_name)
    if units:  # those of the table named sizes say it already
        named = units if units[0].startswith(f"{name} ") else [name, *units]
        yield NOTE, ", ".join(named)
        yield from legend
        yield "", "\n"


def units_text(columns: Sequence[Column], unit_name: str | None) -> list[str]:
    """Return what the sizes in columns are in, where that is their table's unit."""
    exact = [column.heading for column in columns if column.exact]
    units = [f"sizes in {unit_name}"] if unit_name else []
    if exact and unit_name != "bytes":
        units.append(f"{' and '.join(exact) if unit_name else 'sizes'} in bytes")
    return units


def _formatted(
    table: Table,
    columns: Sequence[Column],
    rows: list[list[str]],
    unit_name: str | None,
    table_format: str,
) -> Tokens:
    """Yield a table in one of tabulate's formats."""
    yield from _title(table, columns, unit_name)
    text = library("tabulate").tabulate(
        rows,
        [column.heading for column in columns],
        tablefmt=table_format,
        disable_numparse=True,
        colalign=["left" if column.leftward else "right" for column in columns],
    )
    yield "", f"{text}\n"


def _shrunk(rows: list[list[str]], columns: Sequence[Column], style: Style) -> list[list[str]]:
    """Return the rows with text that shrinks in the room that the other columns leave to it: first
    of what might be left out, then of the widest column.
    """
    places = [i for i, column in enumerate(columns) if column.shrinks]
    if not places or not rows or style.table_format:
        return rows
    widths = [max(len(c.heading), *map(len, cells)) for c, cells in zip(columns, zip(*rows))]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - style.width
    always = [i for i in places if columns[i].rank == ALWAYS]
    widest = sorted(always, key=lambda i: -widths[i])[:1]
    for at in [*(i for i in places if i not in always), *widest]:
        room = min(widths[at], max(widths[at] - excess, NARROWEST))
        excess -= widths[at] - room
        rows = [[*row[:at], shortened(row[at], room), *row[at + 1 :]] for row in rows]
    return rows


def _broken(rows: list[list[str]], columns: Sequence[Column], width: int) -> list[list[str]]:
    """Return the rows with the text that flows broken into lines, so that they fit: the last
    column's, and before it, no more than half of the room.
    """
    widths = [max(len(c.heading), *map(len, cells)) for c, cells in zip(columns, zip(*rows))]
    last = len(columns) - 1
    flowing = [i for i in range(last) if columns[i].flows]
    room = width - sum(widths) + sum(widths[i] for i in (*flowing, last)) - len(GAP) * last
    if sum(widths[i] for i in (*flowing, last)) <= room or room < NARROWEST:
        return rows
    for i in flowing:
        widths[i] = min(widths[i], max(room - widths[last], room // 2))
        room -= widths[i]
    widths[last] = room
    broken: list[list[str]] = []
    for row in rows:
        cells = [
            _lines(cell, widths[i]) if i in (*flowing, last) else [cell]
            for i, cell in enumerate(row)
        ]
        broken += map(list, zip_longest(*cells, fillvalue=""))
    return broken


def _lines(cell: str, width: int) -> list[str]:
    """Return text as lines of a cell: broken at words, a path that is too wide behind slashes."""
    words = (word if len(word) <= width else _parted(word, width) for word in cell.split())
    return textwrap.wrap(" ".join(words), width, break_on_hyphens=False) or [""]


def _parted(path: str, width: int) -> str:
    """Return a path with spaces where its lines end: each has as many names as fit."""
    names = re.findall(rf"[^/]{{1,{width}}}/?|/", path)
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > width:
            lines.append("")
        lines[-1] += name
    return " ".join(filter(None, lines))


def _line(
    cells: Sequence[str], kinds: Sequence[str], bar: Sequence[tuple[str, str]] = ()
) -> Tokens:
    """Yield a row, with its bar."""
    if bar:
        yield from ((kind, f"{cell}{GAP}") for cell, kind in zip(cells, kinds))
        yield from (*bar, ("", "\n"))
        return
    last = max((index for index, cell in enumerate(cells) if cell.strip()), default=0)
    for index, (cell, kind) in enumerate(zip(cells[: last + 1], kinds)):
        yield kind, cell if index < last else cell.rstrip()
        yield "", GAP if index < last else "\n"


def unit_of(table: Table, style: Style) -> tuple[int, str | None]:
    """Return the one unit of a table, so that its rows and columns can be compared by eye: of what
    is shown, or would be on a wider terminal.
    """
    asked = style.columns or ()
    seen = (c for c in table.columns if c.scaled and (c.rank != DATA_ONLY or c.name in asked))
    names = [column.name for column in seen]
    scaling = [table.scale] if table.scale else names
    values = [value for name in scaling for value in _summed(table, name)]
    largest = max((abs(v) for v in values if isinstance(v, int)), default=0)
    if not names:
        return 1, None
    known = {"bytes": 1, **{name: unit for unit, name in UNITS}}
    if style.units:
        return known[style.units], style.units
    return next(((unit, name) for unit, name in UNITS if largest >= 100 * unit), (1, "bytes"))


def _chosen(table: Table, style: Style, unit: int) -> list[Column]:
    """Return the columns to show: those asked for, else as many as fit, by rank; the last of them
    only beside bars.
    """
    if style.columns:
        return [column for name in style.columns if (column := table.column(name))]
    chosen = [column for column in table.columns if column.rank == ALWAYS and _shows(table, column)]
    widths = [_width(table, column, unit) for column in chosen]
    barred = has_bars(table, style)
    for column in sorted(table.columns, key=lambda column: column.rank):
        if column.rank in (ALWAYS, DATA_ONLY) or is_empty(table, column):
            continue
        wider = [*widths, _width(table, column, unit)]
        wider += [SHORTEST] if barred and column.rank > BEFORE_BARS else []
        spare = MORE if column.rank > BEFORE_BARS and any(each.flows for each in chosen) else 0
        if _in_all(wider, style.table_format) + spare <= style.width:
            chosen, widths = [*chosen, column], [*widths, wider[len(widths)]]
    return [column for column in table.columns if column in chosen]


def _left_out(table: Table, columns: Sequence[Column], style: Style) -> Tokens:
    """Say which columns have something to tell, but no room."""
    headings = [
        column.heading
        for column in table.columns
        if not (column in columns or column.rank == DATA_ONLY or is_empty(table, column))
    ]
    if headings and not style.columns:
        sentence = f"A wider terminal shows also: {', '.join(headings)}."
        yield NOTE, textwrap.fill(sentence, style.width) + "\n"


def is_empty(table: Table, column: Column) -> bool:
    """Tell whether a column tells nothing: it has only zeros, or is unknown everywhere."""
    return not any(_summed(table, column.name))


def _shows(table: Table, column: Column) -> bool:
    """Tell whether a column has a cell that isn't empty."""
    return bool(column.absent) or any(value is not None for value in table.values(column.name))


def _summed(table: Table, name: str) -> Iterator[Value]:
    """Yield the values of a column, and their sum where the total has one."""
    yield from table.values(name)
    if table.total and name in table.total:
        yield table.total[name]


def _width(table: Table, column: Column, unit: int) -> int:
    """Return how wide a column is; of one that shrinks and might be left out, at least."""
    if column.flows:
        return NARROWEST
    cells = (cell_text(column, value, unit) for value in _summed(table, column.name))
    width = max([len(column.heading), *map(len, cells)])
    return min(width, NARROWEST) if column.shrinks and column.rank != ALWAYS else width


def _in_all(widths: Sequence[int], table_format: str | None) -> int:
    """Return how wide columns are as a table; in tabulate's formats, which have lines and margins,
    at most.
    """
    if table_format:
        return sum(width + MARGIN for width in widths) + 1
    return sum(widths) + len(GAP) * (len(widths) - 1)


def cell_text(column: Column, value: Value, unit: int) -> str:
    if value is None:
        return column.absent
    if column.signed and isinstance(value, int) and value > 0:
        return f"+{cell_text(replace(column, signed=False), value, unit)}"
    if column.kind is Kind.BYTES and isinstance(value, int):
        return format_bytes(value, 1 if column.exact else unit)
    if column.kind is Kind.ADDRESS:
        return f"{value:#x}"
    if column.kind is Kind.COUNT:
        return f"{value:,}"
    if column.kind is Kind.TENTHS and isinstance(value, int):
        return format_share(value)
    if column.kind is Kind.BOOL:
        return "yes" if value else "no"
    return escape(str(value)).strip()  # tabulate strips, too


def format_bytes(value: int, unit: int) -> str:
    """Return bytes in a unit with one decimal; exact where the unit is one byte."""
    if unit == 1:
        return f"{value:,}"
    if value and abs(value) * 20 < unit:
        return "<0.1" if value > 0 else ">-0.1"
    return f"{value / unit:,.1f}" if value else "0"


def format_share(tenths: int) -> str:
    """Return a share of what there is in percent, below one with a decimal; 100 is all of it."""
    if tenths >= 10:
        return f"{min((tenths + 5) // 10, 99 if tenths < 1000 else 100)}"
    return f"0.{tenths}" if tenths else "<0.1"


def _pad(grid: list[list[str]], columns: Sequence[Column]) -> list[list[str]]:
    """Return the cells padded to their column's width, numbers to the right."""
    left = [column.leftward for column in columns]
    widths = [max(map(len, cells)) for cells in zip(*grid)]
    return [
        [c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(row, widths, left)]
        for row in grid
    ]
