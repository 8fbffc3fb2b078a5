"""Bars beside a table: what the rows consist of, as long as it is large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .schema import Table
from .signs import FREE, FREE_ABSENT, USED, Sign
from .style import NOTE, Style

SHORTEST, LONGEST = 10, 60  # columns of the largest row's bar
DRAWN = {  # a column: how what it has is drawn, and called
    "in_use": (USED, "in use"),
    "free": (FREE, "free"),
    "free_resident": (FREE, "free in RAM"),
    "free_absent": (FREE_ABSENT, "free not in RAM"),
}
EIGHTHS = "▏▏▎▍▌▋▊▉"


class Bars(NamedTuple):
    """The bar of each row, empty where what it consists of isn't known; and what the signs mean."""

    rows: list[list[tuple[str, str]]]
    legend: list[tuple[str, str]]


def has_bars(table: Table, style: Style) -> bool:
    """Tell whether a table has bars where there is room: the user has chosen neither the columns
    nor the format, and there is something to draw.
    """
    return not style.columns and not style.table_format and any(map(sum, _rows(table)))


def bars_of(table: Table, room: int, style: Style) -> Bars:
    """Return the bars of a table, or none: the longest takes the room, and all have one scale."""
    if room < SHORTEST or not has_bars(table, style):
        return Bars([], [])
    rows, signs = _rows(table), [DRAWN[name][0] for name in table.bars]
    width, largest = min(room, LONGEST), max(map(sum, rows))
    drawn = [_bar(row, signs, width, largest, style.unicode) for row in rows]
    return Bars(drawn, _legend(table, style.unicode))


def _rows(table: Table) -> list[tuple[int, ...]]:
    """Return what is drawn of each row; nothing where some of it is unknown."""
    return [_sizes(parts) for parts in zip(*map(table.values, table.bars))]


def _sizes(parts: Sequence[object]) -> tuple[int, ...]:
    known = tuple(part for part in parts if isinstance(part, int))
    return known if len(known) == len(parts) else ()


def _bar(
    sizes: Sequence[int], signs: Sequence[Sign], width: int, largest: int, unicode: bool
) -> list[tuple[str, str]]:
    """Return a bar. What isn't empty has a cell, while the bar isn't longer than it should be; a
    full block may be cut to eighths.
    """
    cells = [-(-size * width // largest) for size in sizes]
    while sum(cells) > -(-sum(sizes) * width // largest):
        most = max(range(len(cells)), key=lambda at: (cells[at], -sizes[at]))
        cells[most] -= 1
    bar = []
    for sign, size, count in zip(signs, sizes, cells):
        text = (sign.block if unicode else sign.plain) * count
        eighths = 8 * size * width // largest
        if unicode and sign is USED and eighths < 8 * count:
            text = text[:-1] + EIGHTHS[eighths % 8]
        bar.append((sign.token, text))
    return bar


def _legend(table: Table, unicode: bool) -> list[tuple[str, str]]:
    """Return what the signs mean: what their columns have."""
    legend: list[tuple[str, str]] = []
    for sign, meaning in (DRAWN[name] for name in table.bars):
        legend += [(NOTE, ", " if legend else "; bars: ")]
        legend += [(sign.token, sign.block if unicode else sign.plain)]
        legend += [(NOTE, f" {meaning}")]
    return legend
