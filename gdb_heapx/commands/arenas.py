"""heapx arenas: what each arena holds."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..report.model import DATA_ONLY, Column, Kind, Notes, Report, Schema, Steps, Table, Value
from ..snapshots.figures import ArenaFigures, select_arenas
from ..snapshots.malloc import Malloc
from ..snapshots.take import Snapshot
from ._columns import LIBC
from ._notes import usual_notes


def _in_memory(state: str, where: str) -> Callable[[ArenaFigures], Value]:
    """Return what tells how much of a state is resident or swapped."""
    get = attrgetter(where)
    return lambda arena: get(arena.presence[state])


def _presence_columns(state: str, prefix: str = "", rank: int = DATA_ONLY) -> tuple[Column, ...]:
    """Return the columns for what of a state is in memory."""
    return tuple(
        Column(f"{prefix}{where}", Kind.BYTES, rank, of=_in_memory(state, where))
        for where in ("resident", "swapped")
    )


ARENA_COLUMNS = (
    Column("arena", Kind.INDEX, of="index"),
    Column("address", Kind.ADDRESS, rank=5),
    Column("main", Kind.BOOL, DATA_ONLY),
    Column("threads", Kind.COUNT),
    Column("heaps", Kind.COUNT, rank=3, of=lambda arena: len(arena.heaps)),
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
    *_presence_columns("system", rank=1),
    *_presence_columns("in_use", "in_use_"),
    *_presence_columns("binned", "binned_"),
    *_presence_columns("top", "top_"),
    LIBC,
)
ARENAS = Schema(
    "arenas", ARENA_COLUMNS, adds=tuple(c.name for c in ARENA_COLUMNS if c.kind is Kind.COUNT)
)


def _mmapped_chunks(malloc: Malloc) -> int | None:
    return None if malloc.mmapped_bytes is None else malloc.parameters["n_mmaps"]


# How many mmapped chunks mp_ counts, and their bytes; None where that can't be.
MMAPPED_TOTAL = Schema(
    "mmapped_total",
    (
        Column("chunks", Kind.COUNT, of=_mmapped_chunks),
        Column("bytes", Kind.BYTES, of="mmapped_bytes"),
        LIBC,
    ),
)
# What tells more of a state.
NEXT = {
    "in_use": ("heapx sizes", "most is in use: of which sizes"),
    "tcache": ("heapx threads", "most is in thread caches: in whose"),
    "fast": ("heapx trim", "most is in fastbins: what malloc_trim would return of it"),
    "binned": ("heapx trim", "most is free in bins: what malloc_trim would return of it"),
    "top": ("heapx top", "most is top: why free() doesn't return it"),
}


@command("heapx arenas", ARENA, NO_WALK, tables=(ARENAS, MMAPPED_TOTAL))
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
    table = ARENAS.of(chosen)
    notes = Notes(usual_notes(snapshot, chosen))
    blocks = table, MMAPPED_TOTAL.of(snapshot.mallocs), notes, Steps(_largest(table))
    return Report(blocks, snapshot.problems)


def _largest(arenas: Table) -> tuple[tuple[str, str], ...]:
    """Return what to look at next: what tells of the state with most bytes."""
    sums = {state: sum(v for v in arenas.values(state) if isinstance(v, int)) for state in NEXT}
    state = max(sums, key=lambda each: sums[each])
    return (NEXT[state],) if sums[state] else ()
