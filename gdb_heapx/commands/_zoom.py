"""What lies around an address, drawn: its heap, the pages there, and the chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HeapxError, UsageError
from ..heap.states import NAMES, UNWALKED, State
from ..inventory.chunk import IN_USE, OVERHEAD, TCACHE, Wanted
from ..report.model import Notes, Report, Steps
from ..report.pictures import Picture
from ..report.schema import Column, Kind, Schema, within
from ..report.signs import HERE, PAGE_PIN
from ._columns import LIST, STATE
from ._lanes import Drawn, drawn
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..heap.lives import Lives
    from ..heap.pins import Pin
    from ..inventory.catalogue import Catalogue
    from ..inventory.chunk import Chunk
    from ..snapshots.take import Snapshot

PAGES = 128  # that are drawn around the address
ROWS = 8  # that they may take
ON_EACH_SIDE = 5  # chunks
NOT_FREE = (IN_USE, TCACHE, OVERHEAD)
FILL_OF = {NAMES[state]: state for state in State}
ZOOMED = Schema(
    "map_chunks",
    (
        Column("place", Kind.TEXT, title="", absent=""),
        *within(
            "chunk",
            Column("address", Kind.ADDRESS),
            Column("size", Kind.BYTES, exact=True),
            STATE,
            LIST,
        ),
        Column("resident", Kind.BYTES, exact=True),
        Column("pin", Kind.TEXT, absent="-", of="kind"),
    ),
)


class _Near(NamedTuple):
    """A chunk near the address, or the one that has it; what of it is in RAM; and the kind of the
    pin that it is, or is of.
    """

    place: str | None
    chunk: Chunk
    resident: int | None
    kind: str | None


def zoom(snapshot: Snapshot, catalogue: Catalogue, arena: int | None, zoom: int) -> Report:
    """Draw an address's heap, the pages around it, and list the chunks there."""
    from ..inventory.pinned import pages_kept

    if arena is not None:
        raise UsageError("--zoom and an arena exclude each other: the address says which one")
    heaps = drawn(snapshot.arenas())
    found = next((each for each in heaps if each.address <= zoom < each.end), None)
    if found is None:
        raise HeapxError(f"{zoom:#x} lies in no heap", f"heapx chunk {zoom:#x} says where it lies.")
    known = snapshot.target.no_residency is None
    pages = _pages(catalogue, found, zoom)
    kept = pages_kept(catalogue, found.address, range(pages.address, pages.end))
    heap, near = found.lane(), replace(pages.lane(), rows=ROWS)
    heap = replace(heap, marks=(*heap.marks, (zoom, HERE)))
    small = [(page, PAGE_PIN) for page in kept if pages.address <= page < pages.end]
    near = replace(near, marks=(*small, *near.marks, (zoom, HERE)))
    blocks = (
        Picture("its heap", (heap,), known),
        Picture("pages around it", (near,), known),
        ZOOMED.of(list(_near(catalogue, zoom, found, kept))),
        Notes(usual_notes(snapshot)),
        Steps(((f"heapx chunk {zoom:#x}", "what the chunk holds"),)),
    )
    return Report(blocks, [*snapshot.problems, *catalogue.problems])


def _pages(catalogue: Catalogue, heap: Drawn, address: int) -> Drawn:
    """Return the pages around an address of a heap, as one strip whose cells are pages."""
    from ..heap.cells import Cells
    from ..heap.strips import Strip

    space = catalogue.source.space
    first = max(address // space.page - PAGES // 2, heap.address // space.page) * space.page
    start, end = max(first, heap.address), min(first + PAGES * space.page, heap.end)
    bits = space.page.bit_length() - 1
    cells, at = Cells(start, end, bits, space.residency, frozenset()), start
    for chunk in catalogue.chunks(Wanted(heap.arena.address, start=start, end=end)):
        if chunk.address > at:
            cells.add_span(at, chunk.address, State.OVERHEAD)
        fill = FILL_OF.get(chunk.state, UNWALKED)
        cells.add_span(max(chunk.address, at), min(chunk.end, end), fill)
        at = max(chunk.end, at)
    cells.add_span(at, end, State.OVERHEAD)
    known = space.residency is not None
    strip = Strip(heap.arena.index, start, end, end - start, bits, known, cells.table)
    return Drawn(heap.arena, (strip,), heap.pins)


def _near(
    catalogue: Catalogue, address: int, heap: Drawn, kept: Mapping[int, Lives]
) -> Iterator[_Near]:
    """Yield the chunks around an address of a heap, of which pins of pages keep these."""
    from ..heap.pins import PinKind

    found = catalogue.around(address, ON_EACH_SIDE)
    if found is None:
        return
    single = {live.address for lives in kept.values() for live in lives}
    for chunk in (*found.before, found.chunk, *found.after):
        place = ">" if chunk is found.chunk else None
        ends = (pin.kind for pin in heap.pins if _is_of(pin, chunk))
        kind = next(ends, PinKind.PAGE if chunk.address in single else None)
        resident = catalogue.amount(chunk).resident
        yield _Near(place, chunk, resident, kind.value if kind else None)


def _is_of(pin: Pin, chunk: Chunk) -> bool:
    """Tell whether a chunk is one of a pin of a top, or of a heap: all there that aren't free."""
    from ..heap.pins import PinKind

    if pin.kind is PinKind.HEAP:
        return chunk.heap == pin.heap and chunk.state in NOT_FREE
    return pin.address <= chunk.address < pin.address + pin.size
