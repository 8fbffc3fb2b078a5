"""heapx top: each arena's top, and what free() would return of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import Search, State
from ..report.model import Column, Kind, Notes, Report, Schema, Steps, within
from ..snapshots.figures import ArenaFigures, select_arenas
from ..why.thresholds import FreeTrim, free_would_trim, thresholds
from ._columns import IN_MEMORY, LIBC
from ._notes import usual_notes

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot
    from ..target.amounts import Amount

TOPS = Schema(
    "top",
    (
        *within(
            "arena",
            Column("arena", Kind.INDEX, of="index"),
            Column("address", Kind.ADDRESS, of="top_address"),
            Column("size", Kind.BYTES, of="top"),
        ),
        *within("top", *IN_MEMORY),
        Column("last_in_use", Kind.ADDRESS, of="arena.last_in_use"),
        Column("free_would_trim", Kind.BYTES, title="trims", of="trim.bytes"),
        Column("reason", Kind.TEXT, of="trim.reason"),
        *within("arena", LIBC),
    ),
    adds=(),
)


class _Top(NamedTuple):
    arena: ArenaFigures
    top: Amount
    trim: FreeTrim


@command("heapx top", ARENA, NO_WALK, tables=(TOPS,), search=Search.NONE)
def top(snapshot: Snapshot, arena: int | None) -> Report:
    """Show each arena's top, and what free() would return of it.

    free() returns memory from the end of top only, when it frees (after merging) 64 KiB or more
    and top is at least trim_threshold. "trims" is what that free would return now. "last in use"
    is the last chunk below top that the program holds: everything below it stays.

    Examples:

        heapx top            which chunk keeps each arena from shrinking
        heapx top 0 --bytes  the main arena's, exactly
    """
    chosen = select_arenas(snapshot.arenas(), arena)
    found = [
        _Top(each, each.amounts[State.TOP], free_would_trim(snapshot.target, malloc, each))
        for malloc in snapshot.mallocs
        for each in malloc.arenas
        if each in chosen
    ]
    # Where every chunk was seen, None means that there is no such chunk.
    none = "?" if any(State.IN_USE not in each.chunks for each in chosen) else "none"
    table = TOPS.but("last_in_use", absent=none).of(found)
    environment = snapshot.target.environment
    limits = tuple(thresholds(malloc, environment) for malloc in snapshot.mallocs)
    notes = Notes((*limits, *usual_notes(snapshot)))
    return Report((table, notes, Steps(_largest_pin(chosen))), snapshot.problems)


def _largest_pin(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return the line that shows the chunk which holds most below its top."""
    pins = [(a.binned, a.last_in_use) for a in arenas if a.last_in_use is not None and a.binned]
    if not pins:
        return ()
    return ((f"heapx chunk {max(pins)[1]:#x}", "the chunk that keeps most below a top"),)
