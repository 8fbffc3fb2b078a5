"""heapx arenas: what each arena holds."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import NAMES, Search, State
from ..report.either import Either
from ..report.metrics import Metrics
from ..report.model import Notes, Report, Steps
from ..report.schema import ALWAYS, DATA_ONLY, Column, Kind, Schema, Value
from ._columns import LIBC
from ._notes import forked_notes, mmapped_beside, usual_notes

if TYPE_CHECKING:
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.malloc import Malloc
    from ..snapshots.take import Snapshot


def _of_state(state: State, what: str) -> Callable[[ArenaFigures], Value]:
    """Return what tells an arena's bytes in a state, or those resident or swapped."""
    get = attrgetter(what)

    def told(arena: ArenaFigures) -> Value:
        read = arena.reached if state is State.TOP else not arena.unread
        return get(arena.amounts[state]) if read and state in arena.amounts else None

    return told


def _bytes(state: State, rank: int = ALWAYS) -> Column:
    return Column(_name(state), Kind.BYTES, rank, of=_of_state(state, "bytes"))


def _chunks(state: State, rank: int = DATA_ONLY) -> Column:
    title = f"{NAMES[state]} #" if rank != DATA_ONLY else None
    name = f"{_name(state)}_chunks"
    return Column(
        name, Kind.COUNT, rank, title, of=lambda arena: _read(arena, arena.chunks.get(state))
    )


def _read(arena: ArenaFigures, chunks: int | None) -> int | None:
    return None if arena.unread else chunks


def _of_heaps(what: str) -> Callable[[ArenaFigures], Value]:
    """Return what tells something of all heaps of an arena, None where not all were reached."""
    get = attrgetter(what)
    return lambda arena: get(arena) if arena.reached else None


def _in_memory(state: State) -> tuple[Column, ...]:
    return tuple(
        Column(f"{_name(state)}_{where}", Kind.BYTES, DATA_ONLY, of=_of_state(state, where))
        for where in ("resident", "swapped")
    )


def _name(state: State) -> str:
    return NAMES[state].replace(" ", "_")


ARENA_COLUMNS = (
    Column("arena", Kind.INDEX, of="index"),
    Column("address", Kind.ADDRESS, rank=5),
    Column("main", Kind.BOOL, DATA_ONLY),
    Column("threads", Kind.COUNT),
    Column(
        "heaps", Kind.COUNT, rank=3, of=lambda arena: len(arena.heaps) if arena.reached else None
    ),
    Column("locked", Kind.BOOL, DATA_ONLY),
    Column("system", Kind.BYTES),
    Column("max_system", Kind.BYTES, rank=6, title="peak"),
    _chunks(State.IN_USE, rank=4),
    _bytes(State.IN_USE),
    _chunks(State.TCACHE),
    _bytes(State.TCACHE, rank=1),
    _chunks(State.FAST),
    _bytes(State.FAST, rank=1),
    _chunks(State.BINNED, rank=5),
    _bytes(State.BINNED),
    _bytes(State.TOP),
    _bytes(State.OVERHEAD),
    Column("resident", Kind.BYTES, rank=1, of=_of_heaps("amount.resident")),
    Column("shared", Kind.BYTES, DATA_ONLY, of=_of_heaps("amount.shared")),
    Column("swapped", Kind.BYTES, rank=1, of=_of_heaps("amount.swapped")),
    *_in_memory(State.IN_USE),
    *_in_memory(State.BINNED),
    *_in_memory(State.TOP),
    LIBC,
)
ARENA_METRICS = Metrics(
    "heapx_arena",
    {"arena": "arena", "libc": "libc"},
    {
        "threads": "Threads that are attached to the arena.",
        "heaps": "Heaps of the arena.",
        "system": "What the arena has from the kernel: the sum of its parts.",
        "max_system": "The most that the arena ever had from the kernel.",
        "in_use_chunks": "Chunks of the arena that the program holds.",
        "in_use": "What the program holds of the arena.",
        "tcache_chunks": "Chunks of the arena that lie in threads' caches.",
        "tcache": "What of the arena lies in threads' caches.",
        "fast_chunks": "Chunks in the arena's fastbins.",
        "fast": "What is free in the arena's fastbins.",
        "binned_chunks": "Chunks in the arena's other bins.",
        "binned": "What is free in the arena's other bins.",
        "top": "What is free at the arena's end.",
        "overhead": "Headers, fenceposts and gaps of the arena.",
        "resident": "What of the arena is in RAM.",
        "shared": "What of the arena's RAM other processes have mapped, too.",
        "swapped": "What of the arena is in swap.",
        "in_use_resident": "What the program holds of the arena, in RAM.",
        "in_use_swapped": "What the program holds of the arena, in swap.",
        "binned_resident": "What is free in the arena's other bins, in RAM.",
        "binned_swapped": "What is free in the arena's other bins, in swap.",
        "top_resident": "What is free at the arena's end, in RAM.",
        "top_swapped": "What is free at the arena's end, in swap.",
    },
)
ARENAS = Schema(
    "arenas",
    ARENA_COLUMNS,
    adds=tuple(c.name for c in ARENA_COLUMNS if c.kind is Kind.COUNT),
    metrics=ARENA_METRICS,
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
    metrics=Metrics(
        "heapx_mmapped",
        {"libc": "libc"},
        {
            "chunks": "Chunks with a mapping of their own.",
            "bytes": "The mappings of these chunks.",
        },
    ),
)
# What tells more of a state.
NEXT = {
    State.IN_USE: ("heapx sizes", "most is in use: of which sizes"),
    State.TCACHE: ("heapx threads", "most is in thread caches: in whose"),
    State.FAST: ("heapx trim", "most is in fastbins: what malloc_trim would return of it"),
    State.BINNED: ("heapx trim", "most is free in bins: what malloc_trim would return of it"),
    State.TOP: ("heapx top", "most is top: why free() doesn't return it"),
}


@command("heapx arenas", ARENA, NO_WALK, tables=(ARENAS, MMAPPED_TOTAL), search=Search.NONE)
def arenas(snapshot: Snapshot, arena: int | None) -> Report:
    """List the arenas with their memory by state.

    system is what an arena has from the kernel: in use + tcache + fast + binned + top + overhead.
    # are numbers of chunks. In use means held by the program or its libraries. A tcache's chunks
    count for the arena that they lie in. Overhead is headers, fenceposts, the tcache structs
    themselves and the gaps that another user of sbrk left. Chunks with a mapping of their own are
    in no arena: their number and bytes are told below. Where pages are shared since a fork, shared
    says how much of resident other processes have mapped, too.

    Examples:

        heapx arenas --sort binned --limit 5  the five with most free memory in bins
        heapx arenas 1 --bytes                one of them, exactly
    """
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    shared = any(each.amount.shared for each in chosen)
    table = (ARENAS.but("shared", rank=1) if shared else ARENAS).of(chosen)
    beside = () if arena is not None else mmapped_beside(snapshot)
    notes = Notes((*beside, *forked_notes(snapshot), *usual_notes(snapshot, chosen)))
    mmapped = Either(MMAPPED_TOTAL.of(snapshot.mallocs))
    return Report((table, mmapped, notes, Steps(_largest(chosen))), snapshot.problems)


def _largest(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return what to look at next: what tells of the state with most bytes."""
    known = [each.amounts for each in arenas if not each.unread]
    sums = {state: sum(each[state].bytes for each in known if state in each) for state in NEXT}
    state = max(sums, key=lambda each: sums[each])
    return (NEXT[state],) if sums[state] else ()
