"""Pictures of memory as a page draws them: rows of stretches, and what each says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from .model import size_text
from .pictures import Lane, Picture, cell_of
from .signs import (
    CACHED,
    FREE,
    FREE_ABSENT,
    NOTHING,
    OWN,
    PARTLY,
    SIGNS,
    SPECK,
    SPECK_ABSENT,
    TOP,
    TOP_ABSENT,
    UNKNOWN,
    USED,
    USED_ABSENT,
    Fills,
    Sign,
    sign_of,
)

COLUMNS, FEWEST = 128, 16  # cells in a row
MOST = 4000  # stretches in a page
# What the style calls each sign.
CLASSES = {
    USED: "used",
    USED_ABSENT: "used-absent",
    PARTLY: "partly",
    SPECK: "speck",
    SPECK_ABSENT: "speck-absent",
    CACHED: "cached",
    FREE: "free",
    FREE_ABSENT: "free-absent",
    TOP: "top",
    TOP_ABSENT: "top-absent",
    OWN: "own",
    UNKNOWN: "unknown",
}


class StretchView(NamedTuple):
    """Cells next to each other that look the same: which, how many, and what they are."""

    look: str
    start: int
    width: int
    text: str


class LaneView(NamedTuple):
    """A row of cells: what is in it, in brief and in full, for how many cells it has room, what
    they are, and which of them have a pin.
    """

    arena: int
    address: str
    brief: str
    text: str
    room: int
    stretches: list[StretchView]
    pins: list[int]


class PictureView(NamedTuple):
    """A picture's rows, how large its cells are, and what the colours mean that are in it."""

    lanes: list[LaneView]
    cells: str
    legend: list[tuple[str, str]]


def picture_view(picture: Picture) -> PictureView:
    """Return a picture in as fine cells as a page has room for."""
    columns, lanes = COLUMNS, _lanes(picture, COLUMNS)
    while columns > FEWEST and sum(len(lane.stretches) for lane in lanes) > MOST:
        columns //= 2
        lanes = _lanes(picture, columns)
    looks = {stretch.look for lane in lanes for stretch in lane.stretches}
    signs = [sign for sign in SIGNS if CLASSES.get(sign) in looks]
    legend = [(CLASSES[s], s.meaning if picture.known else s.unknown or s.meaning) for s in signs]
    sizes = {cell_of([lane], columns) for lane in picture.lanes}
    return PictureView(lanes, " or ".join(map(size_text, sorted(sizes))), legend)


def _lanes(picture: Picture, columns: int) -> list[LaneView]:
    return [row for lane in picture.lanes for row in _rows(lane, columns, picture.known)]


def _rows(lane: Lane, columns: int, known: bool) -> Iterator[LaneView]:
    """Yield the rows of a lane that have anything."""
    cell = cell_of([lane], columns)
    filled: dict[int, Fills] = {}
    for start, fills in lane.cells:
        filled[start // cell] = filled.get(start // cell, NOTHING).plus(fills)
    pins = {address // cell for address, _ in lane.marks}
    first, end = lane.address // cell, -(-(lane.address + max(lane.size, 1)) // cell)
    for begin in range(first, end, columns):
        cells = range(begin, min(begin + columns, end))
        stretches = list(_stretches(filled, cells, cell, lane, known))
        if stretches:
            whole = Fills(*map(sum, zip(*(filled.get(at, NOTHING) for at in cells))))
            address = f"{max(begin * cell, lane.address):#x}"
            marked = sorted(at - begin for at in pins.intersection(cells))
            text = _text(whole, known)
            brief = ", ".join(text.split("; ")[:2])
            yield LaneView(lane.arena, address, brief, text, len(cells), stretches, marked)


def _stretches(
    filled: dict[int, Fills], cells: Sequence[int], cell: int, lane: Lane, known: bool
) -> Iterator[StretchView]:
    """Yield the cells that have anything, those next to each other that look the same as one."""
    signs: list[Sign | None] = [sign_of(filled.get(at, NOTHING)) for at in cells]
    for sign, group in groupby(zip(cells, signs), lambda each: each[1]):
        places = [at for at, _ in group]
        if sign is None:
            continue
        fills = Fills(*map(sum, zip(*(filled[at] for at in places))))
        start = max(places[0] * cell, lane.address)
        text = f"{start:#x} to {(places[-1] + 1) * cell:#x}: {_text(fills, known)}"
        yield StretchView(CLASSES[sign], places[0] - cells[0], len(places), text)


def _text(fills: Fills, known: bool) -> str:
    """Return what fills something, in words; that it is in use, and free, first."""
    free = fills.free_in_ram + fills.free_elsewhere
    parts = (
        (fills.free_elsewhere if known else 0, "free, not in RAM"),
        (fills.own, "malloc's own"),
        (fills.unknown, "unknown"),
    )
    more = [f"{size_text(size)} {name}" for size, name in parts if size]
    first = f"{size_text(fills.in_use)} in use", f"{size_text(free)} free"
    if known:
        first = first[0], f"{size_text(fills.free_in_ram)} free in RAM"
    return "; ".join((*first, *more))
