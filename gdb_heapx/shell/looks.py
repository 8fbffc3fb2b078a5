"""A look at a process as a line: text, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..compare.parts import PARTS
from ..report.model import UNITS

if TYPE_CHECKING:
    from ..compare.look import Look

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.,-~=*#"  # from low to high
LEAST = 8  # of them that are shown


class LookRow(NamedTuple):
    """What a line says of a look, in bytes and milliseconds; None where that isn't known."""

    time: str
    rss: int | None
    in_use: int | None
    in_use_resident: int | None
    free_resident: int | None
    returnable: int | None
    outside_resident: int | None
    stood_still: int | None
    file: str | None


def row_of(look: Look, stood_still: float | None, file: str | None) -> LookRow:
    """Return what is told of a look."""
    snapshot, ledger = look.snapshot, look.ledger
    return LookRow(
        look.time or "",
        snapshot.target.rss,
        snapshot.in_use,
        ledger.of(*PARTS["in use"]).resident,
        ledger.of(*PARTS["free"]).resident,
        snapshot.returnable,
        ledger.of(*PARTS["outside malloc"]).resident,
        None if stood_still is None else round(1000 * stood_still),
        file,
    )


COLUMNS = (
    *(("RSS", "rss"), ("in use", "in_use_resident"), ("free", "free_resident")),
    *(("trimmable", "returnable"), ("outside", "outside_resident")),
)
WIDTH = 8  # of a size, and a column with a short title
STOPPED = len("9,999 ms")


def heading(cells: int) -> str:
    """Return the line above all looks; so many cells show how RSS went."""
    sizes = "  ".join(f"{title:>{WIDTH}}" for title, _ in COLUMNS)
    so_far = "RSS so far" if cells >= len("RSS so far") else "RSS"
    return f"{'time UTC':8}  {sizes}  {so_far:{cells}}  {'stopped':>{STOPPED}}"


def line(row: LookRow, so_far: Sequence[int], cells: int, levels: str) -> str:
    """Return a look as a line of text."""
    told = row._asdict()
    sizes = "  ".join(f"{_size(told[name]):>{max(WIDTH, len(title))}}" for title, name in COLUMNS)
    spark = sparkline(so_far[-cells:], levels)
    stopped = "?" if row.stood_still is None else f"{row.stood_still:,} ms"
    return f"{row.time[11:19]:8}  {sizes}  {spark:{cells}}  {stopped:>{STOPPED}}"


def room(width: int) -> int:
    """Return how many cells of a sparkline fit."""
    return max(width - len(heading(LEAST)) + LEAST, LEAST)


def sparkline(values: Sequence[int], levels: str) -> str:
    """Return a character for each value, from the lowest to the highest of them; of equal values
    the lowest.
    """
    low, high = min(values, default=0), max(values, default=0)
    top = len(levels) - 1
    return "".join(
        levels[top * (value - low) // (high - low) if high > low else 0] for value in values
    )


def _size(size: int | None) -> str:
    """Return a size in eight characters: three digits, or four."""
    if size is None:
        return "?"
    for unit, name in UNITS:
        if size >= unit:
            digits = max(0, 3 - len(str(size // unit)))
            return f"{size / unit:.{min(digits, 2)}f} {name}"
    return f"{size} B"


def json_line(data: dict[str, Any]) -> str:
    return f"{json.dumps(data)}\n"


def csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
