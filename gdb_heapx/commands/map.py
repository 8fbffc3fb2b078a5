"""heapx map: the heaps, drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ARENA
from ..cli.command import command
from ..errors import HeapxError
from ..heap.states import NAMES, STATES, UNWALKED, Search
from ..report.model import Notes, Report, Steps
from ..report.notes import note
from ..report.pictures import Picture
from ..report.schema import DATA_ONLY, Column, Kind, Many, Schema, within
from ..report.signs import Fills
from ._columns import LIBC
from ._lanes import Drawn, drawn, fills_of
from ._notes import usual_notes
from ._zoom import ZOOMED, zoom

if TYPE_CHECKING:
    from ..heap.strips import Cell
    from ..saved.saved import Saved
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount

SHOWN = 40  # heaps
FILLED = [*((state, NAMES[state].replace(" ", "_")) for state in STATES), (UNWALKED, "unknown")]


def _filled(fill: int, name: str) -> tuple[Column, ...]:
    """Return the columns that tell how much is in a state, and what of it is in RAM."""
    return (
        Column(name, Kind.BYTES, DATA_ONLY, of=lambda it: it.amount(fill).bytes),
        Column(f"{name}_resident", Kind.BYTES, DATA_ONLY, of=lambda it: it.amount(fill).resident),
    )


STRETCH = (
    Column("arena", Kind.INDEX, DATA_ONLY, of="arena.index"),
    Column("address", Kind.ADDRESS, DATA_ONLY),
    Column("size", Kind.BYTES, DATA_ONLY),
)
AMOUNTS = tuple(column for each in FILLED for column in _filled(*each))
OF_LIBC = within("arena", LIBC)
CELL = Column("cell", Kind.BYTES, DATA_ONLY, exact=True)
PIN = Column("pin", Kind.BOOL, DATA_ONLY)
MAP = Schema("map", (*STRETCH, CELL, *AMOUNTS, *OF_LIBC), adds=())
CELLS = Schema("cells", (*STRETCH, *AMOUNTS, PIN, *OF_LIBC))


class _Cell(NamedTuple):
    """A cell of what is drawn, and whether a pin begins there."""

    drawn: Drawn
    cell: Cell
    pin: bool

    @property
    def arena(self) -> ArenaFigures:
        return self.drawn.arena

    @property
    def address(self) -> int:
        return self.cell.start

    @property
    def size(self) -> int:
        return self.cell.end - self.cell.start

    def amount(self, fill: int) -> Amount:
        return self.cell.amount(fill)


def _of_file(snapshot: Snapshot, saved: Saved, arena: int | None) -> Report:
    if saved.taken.brief:
        raise HeapxError(
            "this snapshot was saved with --brief: what fills the heaps isn't in it",
            "heapx save FILE without --brief has that.",
        )
    return map(snapshot, arena)


@command(
    "heapx map",
    ARENA,
    Arg(
        "--zoom",
        "draw the heap, the pages and the chunks around it; as for chunk",
        "address",
        tables=("map_chunks",),
    ),
    limit=SHOWN,
    tables=(MAP, CELLS, ZOOMED),
    search=Search.NONE,
    outcomes=True,
    strips=True,
    closer=zoom,
    filed=_of_file,
)
def map(snapshot: Snapshot, arena: int | None, **_: None) -> Report:
    """Draw the heaps: what fills them, stretch by stretch.

    A row is a heap, and a cell a stretch of it, the same in each: so heaps line up. What lies
    behind a heap's end, up to the bar, is reserved: it can grow there. The main arena has rows, and
    cells, of its own size.

    A cell of which half is in use is drawn as in use, whatever else is there; if less is, but
    something, as such. Any other shows what most of it is: free chunks, which malloc_trim can
    return, top, which free can, or chunks in thread caches and fastbins. What is free and not in
    RAM costs nothing. Pins of tops and heaps are marked, the chunks that keep the free memory
    before them from being returned; --zoom marks the pages, too, that pins keep, and says which of
    the chunks there heapx pins lists.

    Where there are more than 40 heaps, those with most free memory in RAM are drawn. --zoom goes
    down to an address, any expression of gdb's: its heap, the pages around it, a cell each, and the
    chunks there with their sizes.

    Examples:

        heapx map                        which heaps are empty, but for a few chunks
        heapx map 0                      the main arena
        heapx map --limit 1000           every heap
        heapx map --zoom 0x7f02e4d63520  what lies around this address
    """
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    found = list(drawn(chosen))
    if len(found) > SHOWN:
        found.sort(key=lambda each: -each.free.in_ram)
    number = sum(len(strip) for each in found for strip in each.strips)
    several = len(snapshot.mallocs) > 1
    lanes = tuple(each.lane(each.arena.libc if several else None) for each in found)
    known = snapshot.target.no_residency is None
    whole = reduce(Fills.plus, (fills_of(each.amount) for each in found), Fills())
    unread = [each.index for each in chosen if each.strips is None]
    lost = (note("not_drawn", arenas=unread),) if unread else ()
    blocks = (
        MAP.of(found),
        CELLS.of(Many(number, lambda: _cells(found))),
        Picture("map", lanes, known, tabled=True, whole=whole),
        Notes((*lost, *usual_notes(snapshot, chosen))),
        Steps(_next(found)),
    )
    return Report(blocks, snapshot.problems)


def _cells(found: Sequence[Drawn]) -> Iterator[_Cell]:
    for each in found:
        pins = [pin.address for pin in each.pins]
        for strip in each.strips:
            for cell in strip:
                yield _Cell(each, cell, any(cell.start <= pin < cell.end for pin in pins))


def _next(found: Sequence[Drawn]) -> tuple[tuple[str, str], ...]:
    """Return the line that shows the pin which holds most."""
    pins = [(pin.held.in_ram, pin.address) for each in found for pin in each.pins]
    if not pins:
        return ()
    return ((f"heapx map --zoom {max(pins)[1]:#x}", "around the pin that holds most"),)
