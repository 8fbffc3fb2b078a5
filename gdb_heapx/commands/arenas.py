"""heapx arenas, heapx heaps, heapx top: what each arena holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..errors import UsageError
from ..heap.arenas import Arena
from ..heap.bins import Bin
from ..inventory.catalogue import Catalogue
from ..inventory.libc import uncertain_mmapped
from ..report.model import DATA_ONLY, Column, Kind, Report, Row, Table, Value, size_text, total
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.take import Snapshot
from ..target.amounts import Presence
from ..why.sums import Case
from ..why.thresholds import free_would_trim, thresholds

LIBC = Column("libc", Kind.TEXT, DATA_ONLY)
PRESENCE = (Column("resident", Kind.BYTES, rank=1), Column("swapped", Kind.BYTES, rank=4))


def presence_columns(state: str) -> tuple[Column, ...]:
    """Return the columns for what of a state is in memory; text shows them only when asked for."""
    return tuple(
        Column(f"{state}_{where}", Kind.BYTES, DATA_ONLY) for where in ("resident", "swapped")
    )


def presence_of(presence: Presence | Bin, state: str = "") -> dict[str, Value]:
    """Return the values of these columns."""
    prefix = f"{state}_" if state else ""
    return {f"{prefix}resident": presence.resident, f"{prefix}swapped": presence.swapped}


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
HEAP_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES),
    Column("committed", Kind.BYTES, rank=3),
    Column("reserved", Kind.BYTES, rank=2),
    Column("in_use", Kind.BYTES),
    Column("free", Kind.BYTES),
    *PRESENCE,
    LIBC,
)
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
# What tells more of a state.
NEXT = {
    "in_use": ("heapx sizes", "most is in use: of which sizes"),
    "tcache": ("heapx threads", "most is in thread caches: in whose"),
    "fast": ("heapx trim", "most is in fastbins: what malloc_trim would return of it"),
    "binned": ("heapx trim", "most is free in bins: what malloc_trim would return of it"),
    "top": ("heapx top", "most is top: why free() doesn't return it"),
}
TOTAL_COLUMNS = (Column("chunks", Kind.COUNT), Column("bytes", Kind.BYTES), LIBC)


def select(snapshot: Snapshot, arena: int | None) -> tuple[ArenaFigures, ...]:
    """Return the arenas that an ARENA argument means; all for None."""
    arenas = snapshot.arenas()
    check_arena(arenas, arena)
    return tuple(a for a in arenas if arena in (None, a.index, a.address))


def check_arena(arenas: Sequence[ArenaFigures | Arena], arena: int | None) -> None:
    """Refuse an ARENA argument that means none."""
    if arena is None or any(arena in (a.index, a.address) for a in arenas):
        return
    last = max(a.index for a in arenas)
    known = "there is only arena 0" if last == 0 else f"there are arenas 0 to {last}"
    raise UsageError(f"no arena {arena if arena < 1 << 16 else hex(arena)}: {known}")


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


def residency_note(snapshot: Snapshot | Catalogue) -> tuple[str, ...]:
    """Return why it isn't known what is resident; nothing where it is."""
    why = snapshot.target.no_residency
    return (f"What is resident is unknown: {why}.",) if why else ()


def equation(case: Case) -> str:
    """Return the sum that RSS is, in words."""
    sizes = {"in use": case.live, "free in malloc": case.retained}
    if case.snapshot.allocators:
        sizes = {} if case.snapshot.unused else {"glibc malloc": case.whole - case.outside}
    if case.unknown:
        sizes["not readable"] = case.unknown
    whole = f"{'RSS' if case.resident_known else 'Address space'} {size_text(case.whole)}"
    if not sizes:
        return whole
    sizes["other"] = case.whole - sum(sizes.values())
    return f"{whole} = {' + '.join(f'{size_text(size)} {name}' for name, size in sizes.items())}"


def lost_mmapped(mallocs: Iterable[Malloc]) -> tuple[str, ...]:
    """Say where mmapped chunks were not all found, so that they have no owner of their own."""
    counts = (each.parameters for each in mallocs if each.mmapped_lost)
    return tuple(uncertain_mmapped(each["n_mmaps"], each["mmapped_mem"]) for each in counts)


def notes_of(snapshot: Snapshot, arenas: tuple[ArenaFigures, ...]) -> tuple[str, ...]:
    """Return what the reader must know about the figures."""
    notes = [note for malloc in snapshot.mallocs for note in malloc.notes]
    notes += residency_note(snapshot)
    if not snapshot.walked:
        notes.append("In use is derived: what remains of system without a walk (--no-walk).")
    locked = [str(arena.index) for arena in arenas if arena.locked]
    if locked:
        notes.append(
            f"Locked by a thread: arena {', '.join(locked)}. Its figures may be in motion."
        )
    if len(snapshot.mallocs) > 1:
        notes.append(
            f"{len(snapshot.mallocs)} copies of libc are loaded, each with its own arenas."
        )
    return tuple(notes)


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
    chosen = select(snapshot, arena)
    return Report(
        tables=(arena_table("arenas", chosen), mmapped_total(snapshot)),
        problems=snapshot.problems,
        notes=notes_of(snapshot, chosen),
        next_steps=_largest(chosen),
    )


def _largest(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return what to look at next: what tells of the state with most bytes."""
    sums = {state: sum(getattr(a, state) or 0 for a in arenas) for state in NEXT}
    state = max(sums, key=lambda each: sums[each])
    return (NEXT[state],) if sums[state] else ()


@command("heapx heaps", ARENA, NO_WALK)
def heaps(snapshot: Snapshot, arena: int | None) -> Report:
    """List the heaps, the regions that arenas carve into chunks.

    size is what malloc uses of a heap, committed what is readable (a heap that shrank keeps it),
    reserved the address space. free is tcache, fast and binned chunks, and top.

    Examples:

        heapx heaps 1                       those of arena 1
        heapx heaps --sort free --limit 10  the ten with most free memory
    """
    rows: list[Row] = [
        {
            "arena": heap.arena,
            "address": heap.address,
            "size": heap.size,
            "committed": heap.committed,
            "reserved": heap.reserved,
            "in_use": heap.in_use,
            "free": heap.free,
            **presence_of(heap.presence),
            "libc": each.libc,
        }
        for each in select(snapshot, arena)
        for heap in each.heaps
    ]
    table = Table("heaps", HEAP_COLUMNS, rows, total(HEAP_COLUMNS, rows))
    return Report((table,), snapshot.problems, notes=notes_of(snapshot, ()))


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
    chosen = select(snapshot, arena)
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
        notes=(*limits, *notes_of(snapshot, ())),
        next_steps=_largest_pin(chosen),
    )


def _largest_pin(arenas: tuple[ArenaFigures, ...]) -> tuple[tuple[str, str], ...]:
    """Return the line that shows the chunk which holds most below its top."""
    pins = [(a.binned, a.last_in_use) for a in arenas if a.last_in_use is not None and a.binned]
    if not pins:
        return ()
    return ((f"heapx chunk {max(pins)[1]:#x}", "the chunk that keeps most below a top"),)
