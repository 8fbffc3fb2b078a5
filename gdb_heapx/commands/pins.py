"""heapx pins: the chunks that keep free memory from being returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..cli.arg import Arg
from ..cli.arguments import ARENA
from ..cli.command import Needs, command
from ..heap.states import NAMES, State
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import ALWAYS, DATA_ONLY, Column, Kind, Schema, Table, within
from ._columns import LIBC, threads_of
from ._filed import filed_table
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..inventory.catalogue import Catalogue
    from ..inventory.pinned import ArenaPins, PinGroup, Pinned
    from ..saved.saved import Saved
    from ..snapshots.take import Snapshot

SHOWN = 10  # rows of a table
KIND = Column("kind", Kind.TEXT, of=lambda it: it.kind.value)
HELD = within(
    "held",
    Column("held", Kind.BYTES, DATA_ONLY, of="bytes"),
    Column("held_resident", Kind.BYTES, title="holds", of="resident"),
    Column("held_swapped", Kind.BYTES, DATA_ONLY, of="swapped"),
)
LOOKS = Column("looks", Kind.TEXT, title="looks like", absent="-", rank=1, shrinks=True)
STATE = Column(
    "state",
    Kind.TEXT,
    absent="-",
    of=lambda it: None if it.state is None else NAMES[it.state],
)
PINS = Schema(
    "pins",
    (
        *within(
            "pin",
            *HELD,
            Column("chunks", Kind.COUNT),
            Column("size", Kind.BYTES, exact=True),
            Column("arena", Kind.INDEX),
            Column("heap", Kind.ADDRESS, rank=3),
            KIND,
            STATE,
            Column("threads", Kind.TEXT, rank=2, absent="-", of=threads_of),
            Column("address", Kind.ADDRESS),
        ),
        LOOKS,
        LIBC,
    ),
)
GROUPS = Schema(
    "pin_groups",
    (
        *HELD,
        Column("pins", Kind.COUNT, title="chunks", of="chunks"),
        Column("size", Kind.BYTES, title="of size", exact=True, absent="-"),
        Column("arena", Kind.INDEX),
        KIND,
        STATE,
        Column("example", Kind.ADDRESS, rank=2),
        LOOKS,
        LIBC,
    ),
)


def pins_of(snapshot: Snapshot, saved: Saved) -> Report:
    """Return what a file has of pins, without what can be typed next."""
    single = filed_table(saved, _shown(snapshot, PINS))
    groups = filed_table(saved, _shown(snapshot, GROUPS))
    notes = Notes(saved.notes.get("pins", ()))
    return Report((single, _told_of(groups), notes), snapshot.problems)


@command(
    "heapx pins",
    ARENA,
    Arg(
        "--group",
        "take chunks together that are alike",
        "choice",
        choices=("size", "looks", "arena", "none"),
    ),
    needs=Needs.BOTH,
    limit=SHOWN,
    tables=(PINS, GROUPS),
    outcomes=True,
    filed=pins_of,
)
def pins(snapshot: Snapshot, catalogue: Catalogue, arena: int | None, group: str | None) -> Report:
    """List the chunks that keep free memory from being returned.

    A pin is a chunk, or a few, that isn't free itself and keeps free memory, at least as much as it
    has. Its kind says which, and who would return it once the pin is gone:

        top   free memory below an arena's top, down to the next chunk that isn't
              free: the next free() that makes 64 KiB
        heap  a whole heap of a thread's arena, once all behind it is gone: the same
        page  the page that it shares with free memory: malloc_trim(0)

    malloc_trim(0) returns whole free pages below a pin with the pin still there, and never unmaps a
    heap. So the two figures are never added up. A byte is in one row only.

    Those that hold most come first; of pages up to a thousand of each arena are listed, a row being
    all chunks that touch the page, with their bytes. Then follow the groups to look for in the
    program: chunks of one size in an arena (--group size shows all of these), or with --group looks
    those that look alike: of one type, as heapx types names it, else with the same first word: a
    symbol, a string, what it points to, or its value. What a group holds goes once all of its
    chunks are gone, below a top with what is in tcaches among them; a page that chunks of two
    groups keep is in neither. --group none lists the pins only. Chunks in a tcache pin as well,
    until their thread ends: threads says whose. Fast chunks don't keep pages from malloc_trim,
    which merges them.

    Examples:

        heapx pins                which chunks, and what to look for in the program
        heapx pins --group looks  what they are, by what they look like
        heapx pins --arena 1      those of one arena
    """
    from ..inventory.pinned import BY, ArenaPins
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    inventories = {malloc.libc: i for malloc, i in zip(snapshot.mallocs, catalogue.inventories)}
    known = [ArenaPins(catalogue, inventories[a.libc], a) for a in chosen if a.whatif is not None]
    found = [each for each in known if each.read(group)]
    tables: list[Table] = []
    rows: list[Pinned] = []
    example = None
    if group in (None, "none"):
        rows = sorted((row for each in found for row in each.single()), key=_first_most)
        tables.append(_shown(snapshot, PINS).of(rows))
        example = rows[0].pin.address if rows else None
    if group != "none":
        by = BY[group or "size"]
        groups = sorted((row for each in found for row in by(each)), key=_first_most)
        if group == "looks" and catalogue.stopped:  # what some look like was not read
            groups = []
        table = _shown(snapshot, GROUPS).of(groups if group else groups[:SHOWN])
        tables.append(_told_of(table))
        if groups and (not rows or groups[0].held.in_ram > rows[0].pin.held.in_ram):
            example = groups[0].example
    read = {(each.figures.libc, each.figures.address) for each in found}
    lost = [each.index for each in chosen if (each.libc, each.address) not in read]
    notes = (
        *_together(found),
        *([note("bodies_unknown")] if _untold(catalogue, tables) else ()),
        *_unlisted(found, group),
        *([note("pins_unknown", arenas=lost)] if lost else ()),
        *usual_notes(snapshot, chosen),
    )
    catalogue.tell()
    return Report((*tables, Notes(notes), Steps(_next(example, group))), catalogue.problems)


def _first_most(row: Pinned | PinGroup) -> tuple[int, bool, str, int, int]:
    """Order rows: most first; of equal ones those in use, since those can be found in the code."""
    from ..heap.pins import Pin
    from ..inventory.pinned import Pinned

    pin = row.pin if isinstance(row, Pinned) else row
    place = pin.address if isinstance(pin, Pin) else pin.example
    return -pin.held.in_ram, pin.state is not State.IN_USE, row.libc, pin.arena, place


def _untold(catalogue: Catalogue, tables: Sequence[Table]) -> bool:
    """Tell whether it isn't known what chunks are for containers that lead to them."""
    return any(table.rows for table in tables) and catalogue.types is None


def _shown(snapshot: Snapshot, schema: Schema) -> Schema:
    """Return the table; where residency is unknown, it shows bytes of address space."""
    if snapshot.target.no_residency is None:
        return schema
    return schema.but("held", rank=ALWAYS, title="holds").but("held_resident", rank=DATA_ONLY)


def _told_of(groups: Table) -> Table:
    """Return the table of groups; text leaves out what none of them tells."""
    lacking = [
        column.name
        for column in groups.columns
        if column.name in ("size", "state", "looks") and not any(_known(groups, column.name))
    ]
    columns = (
        replace(column, rank=DATA_ONLY) if column.name in lacking else column
        for column in groups.columns
    )
    return replace(groups, columns=tuple(columns)) if groups.rows else groups


def _known(table: Table, name: str) -> Iterator[bool]:
    return (value is not None for value in table.values(name))


def _together(found: list[ArenaPins]) -> Iterator[Note]:
    """Tell what all pins hold, by whose figure it is, where they are several."""
    from ..inventory.pinned import from_the_end
    from ..target.amounts import sum_of

    ends = [
        pin.held
        for each in found
        for pin in from_the_end(each.figures.pins, [heap.address for heap in each.figures.heaps])
    ]
    pages = [each.pages_held for each in found if each.pages_held]
    if len(ends) > 1:
        yield note("pins_of_ends", pins=len(ends), size=sum_of(ends).in_ram)
    pins = sum(each.by_size.pins for each in found)
    if pins > 1:
        yield note("pins_of_pages", pins=pins, size=sum_of(pages).in_ram)


def _unlisted(found: list[ArenaPins], group: str | None) -> Iterator[Note]:
    """Tell what is in no row: pins that are too many to be listed, and pages of two groups."""
    from ..heap.pingroups import LISTED

    if group in (None, "none"):
        number = sum(max(each.by_size.pins - LISTED, 0) for each in found)
        if number:
            yield note("pins_unlisted", number=number, listed=LISTED)
    if group not in ("none", "arena"):
        mixed = sum(each.mixed(group or "size") for each in found)
        if mixed:
            yield note("pins_of_several", size=mixed, group=group or "size")


def _next(example: int | None, group: str | None) -> tuple[tuple[str, str], ...]:
    if example is None:
        return ()
    shown = (f"heapx chunk {example:#x}", "one of those that hold most")
    return (shown,) if group else (shown, ("heapx pins --group looks", "by what they look like"))
