"""Pictures of memory: rows of cells, each a stretch of addresses, drawn as what fills it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..records import dataclass
from .model import UNITS, size_text
from .signs import NOTHING, SIGNS, Fills, Sign, sign_of
from .style import HEADING, NOTE, TOTAL, Style, Tokens
from .tables import GAP, format_bytes

NARROWEST, WIDEST = 16, 128  # cells in a row


@dataclass(frozen=True)
class Lane:
    """Addresses from `address` on, so many bytes, to draw in one row, or in a few.

    `cells` are what fills them: the address where each begins, and the bytes. None is larger than
    `unit`, a power of two, and all lie within multiples of it. `marks` are drawn over them. All
    lanes with the same `rows` and size have one scale, such that they take no more rows than that,
    or one each. `libc` is whose they are, where there are several.
    """

    arena: int
    address: int
    size: int
    unit: int
    cells: Iterable[tuple[int, Fills]]
    marks: Sequence[tuple[int, Sign]] = ()
    rows: int = 1
    libc: str | None = None


@dataclass(frozen=True)
class Picture:
    """Lanes to draw, and a legend. It is `known` what of them is in RAM, or it isn't.

    If `tabled`, they are what the rows of the report's first table are about, and sorted and cut
    with it; `whole` is then what all have, however many are drawn.
    """

    name: str
    lanes: tuple[Lane, ...]
    known: bool = True
    tabled: bool = False
    whole: Fills | None = None


class _Row(NamedTuple):
    """One line: where it begins, what it has in all, and the sign of each cell."""

    arena: int
    address: int
    fills: Fills
    signs: list[Sign | None]


def picture_tokens(picture: Picture, style: Style) -> Tokens:
    if not picture.lanes:
        yield NOTE, f"{picture.name}: nothing to draw\n"
        return
    unit, unit_name = _unit(picture, style)
    words = _words(picture, unit)
    width = sum(map(len, words)) + len(GAP) * len(words)
    columns = _columns(style.width - width - 2)
    yield NOTE, f"{picture.name}, sizes in {unit_name}\n"
    drawn: set[Sign] = set()
    heading: Sequence[str] = words
    for lanes in _sections(picture.lanes):
        cell = cell_of(lanes, columns)
        scale = [f"a cell is {size_text(cell)}", *([lanes[0].libc] if lanes[0].libc else [])]
        yield from _heading(heading, ", ".join(scale), width)
        heading = ()
        for row in (row for lane in lanes for row in _rows(lane, cell, columns)):
            yield from _row_tokens(row, [len(word) for word in words], unit, style.unicode)
            drawn.update(sign for sign in row.signs if sign)
    if picture.whole is not None and len(picture.lanes) > 1:
        sums = _numbers(picture.whole, [len(word) for word in words], unit)
        yield TOTAL, f"{'total':{len(GAP.join(words[:2]))}}{GAP}{sums}\n"
    yield from _legend(drawn, picture.known, style)


def _sections(lanes: Iterable[Lane]) -> list[list[Lane]]:
    """Return the lanes by their libc, and by their scale."""
    found: dict[tuple[str | None, int, int, int], list[Lane]] = {}
    for lane in lanes:
        size = lane.size if lane.rows == 1 else 0
        found.setdefault((lane.libc, lane.rows, size, lane.unit), []).append(lane)
    return [*found.values()]


def _columns(room: int) -> int:
    """Return how many cells a row has: a power of two."""
    return 1 << min(max(room, NARROWEST), WIDEST).bit_length() - 1


def cell_of(lanes: Sequence[Lane], columns: int) -> int:
    """Return how many bytes a cell has, so that these lanes take no more rows than they may."""
    cell = lanes[0].unit
    most = max(lanes[0].rows, len(lanes))
    while sum(-(-_cells_in(lane, cell) // columns) for lane in lanes) > most:
        cell *= 2
    return cell


def _cells_in(lane: Lane, cell: int) -> int:
    return (lane.address + max(lane.size, 1) - 1) // cell - lane.address // cell + 1


def _rows(lane: Lane, cell: int, columns: int) -> Iterator[_Row]:
    """Yield the rows of a lane that have anything."""
    first = lane.address // cell
    filled: dict[int, Fills] = {}
    for start, fills in lane.cells:
        at = start // cell - first
        filled[at] = filled.get(at, NOTHING).plus(fills)
    marks = {address // cell - first: sign for address, sign in lane.marks}
    number = min(_cells_in(lane, cell), columns)
    for begin in range(0, _cells_in(lane, cell), columns):
        cells = [filled.get(at, NOTHING) for at in range(begin, begin + number)]
        signs = [marks.get(at) or sign_of(fills) for at, fills in enumerate(cells, begin)]
        if any(signs):
            whole = Fills(*map(sum, zip(*cells)))
            address = max((first + begin) * cell, lane.address)
            yield _Row(lane.arena, address, whole, signs)


def _unit(picture: Picture, style: Style) -> tuple[int, str]:
    """Return the unit of the sizes: the user's, or that of the largest row."""
    if style.units:
        return {"bytes": 1, **{name: unit for unit, name in UNITS}}[style.units], style.units
    largest = max(sum(sum(fills) for _, fills in lane.cells) for lane in picture.lanes)
    return next(((unit, name) for unit, name in UNITS if largest >= unit), (1, "bytes"))


def _words(picture: Picture, unit: int) -> list[str]:
    """Return the headings, each as wide as its column."""
    numbers = [str(lane.arena) for lane in picture.lanes]
    addresses = [f"{lane.address + lane.size:#x}" for lane in picture.lanes]
    sizes = [format_bytes(lane.size, unit) for lane in picture.lanes]
    sizes += [format_bytes(sum(picture.whole), unit)] if picture.whole else []
    room = max(map(len, sizes))
    return [
        "arena".rjust(max(map(len, numbers))),
        "address".rjust(max(map(len, addresses))),
        "in use".rjust(room),
        ("free in RAM" if picture.known else "free").rjust(room),
    ]


def _heading(words: Sequence[str], cell: str, width: int) -> Tokens:
    yield HEADING, GAP.join(words) if words else ""
    yield NOTE, " " * (len(GAP) if words else width) + f"{cell}\n"


def _numbers(fills: Fills, widths: Sequence[int], unit: int) -> str:
    sizes = format_bytes(fills.in_use, unit), format_bytes(fills.free_in_ram, unit)
    return GAP.join(size.rjust(width) for size, width in zip(sizes, widths[2:]))


def _row_tokens(row: _Row, widths: Sequence[int], unit: int, unicode: bool) -> Tokens:
    yield "Name.Label", f"{row.arena:{widths[0]}}"
    yield "Literal.Number.Hex", f"{GAP}{row.address:#{widths[1]}x}"
    yield "Literal.Number", f"{GAP}{_numbers(row.fills, widths, unit)}"
    yield NOTE, f"{GAP}|"
    for sign in row.signs:
        yield (sign.token, sign.block if unicode else sign.plain) if sign else ("", " ")
    yield NOTE, "|\n"


def _legend(drawn: set[Sign], known: bool, style: Style) -> Tokens:
    """Yield what the signs mean that were drawn, as many in a line as fit."""
    yield "", "\n"
    used = 0
    for sign in SIGNS:
        if sign not in drawn:
            continue
        meaning = sign.meaning if known else sign.unknown or sign.meaning
        size = 2 + len(meaning)
        if used and used + len(GAP) + size > style.width:
            yield "", "\n"
            used = 0
        yield "", GAP if used else ""
        yield sign.token, sign.block if style.unicode else sign.plain
        yield NOTE, f" {meaning}"
        used += size + (len(GAP) if used else 0)
    yield "", "\n"
