"""heapx arenas: what each arena holds."""

from __future__ import annotations

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..report.model import DATA_ONLY, Column, Kind, Report, Row, Table, Value, total
from ..snapshots.figures import ArenaFigures, select_arenas
from ..snapshots.take import Snapshot
from ._columns import LIBC, presence_of
from ._notes import usual_notes


def presence_columns(state: str) -> tuple[Column, ...]:
    """Return the columns for what of a state is in memory; text shows them only when asked for."""
    return tuple(
        Column(f"{state}_{where}", Kind.BYTES, DATA_ONLY) for where in ("resident", "swapped")
    )


ARENA_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("address", Kind.ADDRESS, rank=5),
    Column("main", Kind.BOOL, DATA_ONLY),
    Column("threads", Kind.COUNT),
    Column("heaps", Kind.COUNT, rank=3),
    Column("locked", Kind.BOOL, DATA_ONLY),
    Column("system", Kind.BYTES),
    Column("max_system", Kind.BYTES, rank=6, title="peak"),
    Column("in_use_chunks", Kind.COUNT, rank=4, title="in use #"),
    Column("in_use", Kind.BYTES),
    Column("tcache_chunks", Kind.COUNT, DATA_ONLY),
    Column("tcache", Kind.BYTES, rank=1),
    Column("fast_chunks", Kind.COUNT, DATA_ONLY),
    Column("fast", Kind.BYTES, rank=1),
    Column("binned_chunks", Kind.COUNT, rank=5, title="binned #"),
    Column("binned", Kind.BYTES),
    Column("top", Kind.BYTES),
    Column("overhead", Kind.BYTES),
    Column("resident", Kind.BYTES, rank=1),
    Column("swapped", Kind.BYTES, rank=1),
    *presence_columns("in_use"),
    *presence_columns("binned"),
    *presence_columns("top"),
    LIBC,
)
# What tells more of a state.
NEXT = {
    "in_use": ("heapx sizes", "most is in use: of which sizes"),
    "tcache": ("heapx threads", "most is in thread caches: in whose"),
    "fast": ("heapx trim", "most is in fastbins: what malloc_trim would return of it"),
    "binned": ("heapx trim", "most is free in bins: what malloc_trim would return of it"),
    "top": ("heapx top", "most is top: why free() doesn't return it"),
}
TOTAL_COLUMNS = (Column("chunks", Kind.COUNT), Column("bytes", Kind.BYTES), LIBC)


@command("heapx arenas", ARENA, NO_WALK)
def arenas(snapshot: Snapshot, arena: int | None) -> Report:
    """List the arenas with their memory by state.

    system is what an arena has from the kernel: in use + tcache + fast + binned + top + overhead.
    # are numbers of chunks. In use means held by the program or its libraries. A tcache's chunks
    count for the arena that they lie in. Overhead is headers, fenceposts, the tcache structs
    themselves and the gaps that another user of sbrk left. Chunks with a mapping of their own are
    in no arena: mmapped total.

    Examples:

        heapx arenas --sort binned --limit 5  the five with most free memory in bins
        heapx arenas 1 --bytes                one of them, exactly
    """
    chosen = select_arenas(snapshot.arenas(), arena)
    return Report(
        tables=(arena_table("arenas", chosen), mmapped_total(snapshot)),
        problems=snapshot.problems,
        notes=usual_notes(snapshot, chosen),
        next_steps=_largest(chosen),
    )


def _largest(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return what to look at next: what tells of the state with most bytes."""
    sums = {state: sum(getattr(a, state) or 0 for a in arenas) for state in NEXT}
    state = max(sums, key=lambda each: sums[each])
    return (NEXT[state],) if sums[state] else ()


def _row(arena: ArenaFigures) -> dict[str, Value]:
    presence = presence_of(arena.presence["system"])
    for state in ("in_use", "binned", "top"):
        presence.update(presence_of(arena.presence[state], state))
    row: dict[str, Value] = {"arena": arena.index, "heaps": len(arena.heaps), **presence}
    others = [column.name for column in ARENA_COLUMNS if column.name not in row]
    return {**row, **{name: getattr(arena, name) for name in others}}


def arena_table(name: str, arenas: tuple[ArenaFigures, ...]) -> Table:
    """Return the table of arenas with its total."""
    rows: list[Row] = [_row(arena) for arena in arenas]
    counts = [c.name for c in ARENA_COLUMNS if c.kind is Kind.COUNT]
    return Table(name, ARENA_COLUMNS, rows, total(ARENA_COLUMNS, rows, *counts))


def mmapped_total(snapshot: Snapshot) -> Table:
    """Return how many mmapped chunks mp_ counts, and their bytes; None where that can't be."""
    rows: list[Row] = []
    for malloc in snapshot.mallocs:
        size = malloc.mmapped_bytes
        chunks = None if size is None else malloc.parameters["n_mmaps"]
        rows.append({"chunks": chunks, "bytes": size, "libc": malloc.libc})
    return Table("mmapped_total", TOTAL_COLUMNS, rows)
