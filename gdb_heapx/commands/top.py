"""heapx top: each arena's top, and what free() would return of it."""

from __future__ import annotations

from dataclasses import replace

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.figures import ArenaFigures, select_arenas
from ..snapshots.take import Snapshot
from ..why.thresholds import free_would_trim, thresholds
from ._columns import LIBC, PRESENCE, presence_of
from ._notes import usual_notes

TOP_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES),
    *PRESENCE,
    Column("last_in_use", Kind.ADDRESS),
    Column("free_would_trim", Kind.BYTES, title="trims"),
    Column("reason", Kind.TEXT),
    LIBC,
)


@command("heapx top", ARENA, NO_WALK)
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
    rows: list[Row] = []
    for malloc in snapshot.mallocs:
        for each in malloc.arenas:
            if each not in chosen:
                continue
            trim = free_would_trim(snapshot.target, malloc, each)
            rows.append(
                {
                    "arena": each.index,
                    "address": each.top_address,
                    "size": each.top,
                    **presence_of(each.presence["top"]),
                    "last_in_use": each.last_in_use,
                    "free_would_trim": trim.bytes,
                    "reason": trim.reason,
                    "libc": each.libc,
                }
            )
    # Where every chunk was seen, None means that there is no such chunk.
    none = "?" if any(each.in_use_chunks is None for each in chosen) else "none"
    columns = tuple(replace(c, absent=none) if c.name == "last_in_use" else c for c in TOP_COLUMNS)
    table = Table("top", columns, rows, total(columns, rows))
    environment = snapshot.target.environment
    limits = tuple(thresholds(malloc, environment) for malloc in snapshot.mallocs)
    return Report(
        (table,),
        snapshot.problems,
        notes=(*limits, *usual_notes(snapshot)),
        next_steps=_largest_pin(chosen),
    )


def _largest_pin(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return the line that shows the chunk which holds most below its top."""
    pins = [(a.binned, a.last_in_use) for a in arenas if a.last_in_use is not None and a.binned]
    if not pins:
        return ()
    return ((f"heapx chunk {max(pins)[1]:#x}", "the chunk that keeps most below a top"),)
