"""heapx bins, heapx tcache, heapx mmapped: free lists, and chunks outside of arenas."""

from __future__ import annotations

from ..cli.arguments import NO_WALK, OF_ARENA, Arg
from ..cli.command import command
from ..heap.bins import BinKind
from ..inventory.catalogue import Catalogue
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.take import Snapshot
from .arenas import LIBC, PRESENCE, check_arena, notes_of, presence_of, residency_note, select

SIZES = (
    Column("min_size", Kind.BYTES, exact=True),
    Column("max_size", Kind.BYTES, absent="any", exact=True),
)
TOTALS = (Column("chunks", Kind.COUNT), Column("bytes", Kind.BYTES))
BIN_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("kind", Kind.TEXT),
    Column("bin", Kind.INDEX),
    *SIZES,
    *TOTALS,
    *PRESENCE,
    LIBC,
)
TCACHE_COLUMNS = (
    Column("thread", Kind.INDEX),
    Column("name", Kind.TEXT, absent=""),
    Column("bin", Kind.INDEX),
    *SIZES,
    *TOTALS,
    *PRESENCE,
    LIBC,
)
MMAPPED_COLUMNS = (
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES),
    Column("mapping", Kind.BYTES),
    *PRESENCE,
    Column("state", Kind.TEXT),
    LIBC,
)
LISTED_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("kind", Kind.TEXT),
    Column("bin", Kind.INDEX),
    Column("place", Kind.COUNT),
    Column("address", Kind.ADDRESS),
    Column("size", Kind.BYTES, exact=True),
    LIBC,
)
SHOWN = 40  # rows of tcaches
KINDS = tuple(kind.value for kind in BinKind if kind is not BinKind.TCACHE)


@command(
    "heapx bins",
    OF_ARENA,
    Arg("--kind", "kind of bin to show", "choice", choices=KINDS),
    Arg("--bin", "the bin of this number, of the kind or of any", "count"),
    Arg("--chunks", "list the chunks of each bin instead, in the order of its list"),
    NO_WALK,
    chunks="chunks",
)
def bins(
    reading: Snapshot | Catalogue,
    arena: int | None,
    kind: str | None,
    bin: int | None,
    chunks: bool,
) -> Report:
    """List the free lists of the arenas that hold chunks.

    fast: small chunks that look in use and aren't merged (to glibc 2.42). unsorted: freed, not yet
    sorted in. small: one size each. large: a range of sizes each. Thread caches: heapx tcache.
    Sizes are chunk sizes, with malloc's header. Bin numbers are glibc's; fastbins count from 0.

    Examples:

        heapx bins --sort bytes --limit 10             the ten that hold most
        heapx bins --chunks --arena 1 --kind unsorted  the chunks of one, in order
    """
    if isinstance(reading, Catalogue):
        check_arena(reading.arenas(), arena)
        found = (chunk._asdict() for chunk in reading.listed(arena, kind, bin))
        table = Table("bin_chunks", LISTED_COLUMNS, found)
        return Report((table,), reading.problems, notes=reading.notes)
    rows: list[Row] = [
        {
            "arena": each.index,
            "kind": b.kind.value,
            "bin": b.index,
            "min_size": b.min_size,
            "max_size": b.max_size,
            "chunks": b.chunks,
            "bytes": b.bytes,
            **presence_of(b),
            "libc": each.libc,
        }
        for each in select(reading, arena)
        for b in each.bins.bins
        if kind in (None, b.kind.value) and bin in (None, b.index)
    ]
    table = Table(
        "bins",
        BIN_COLUMNS,
        rows,
        total(BIN_COLUMNS, rows, "chunks"),
    )
    return Report(
        (table,),
        reading.problems,
        notes=residency_note(reading),
        next_steps=_chunks_of_largest(rows),
    )


def _chunks_of_largest(rows: list[Row]) -> tuple[tuple[str, str], ...]:
    """Return the line that lists the chunks of the bin with most bytes."""
    if not rows:
        return ()
    most = max(rows, key=lambda row: row["bytes"] or 0)
    line = f"heapx bins --chunks --arena {most['arena']} --kind {most['kind']} --bin {most['bin']}"
    return ((line, "the chunks of the largest"),)


@command("heapx tcache", limit=SHOWN)
def tcache(snapshot: Snapshot) -> Report:
    """List what each thread's cache holds, by bin.

    A tcache belongs to its thread: no other thread can use these chunks, and malloc_trim doesn't
    give them back. The thread is its LWP, as ps -L and top -H show it.

    Example:

        heapx tcache --sort bytes --limit 10  the ten bins that hold most
    """
    rows: list[Row] = [
        {
            "thread": cache.tcache.lwp,
            "name": cache.name,
            "bin": b.index,
            "min_size": b.min_size,
            "max_size": b.max_size,
            "chunks": b.chunks,
            "bytes": b.bytes,
            **presence_of(b),
            "libc": malloc.libc,
        }
        for malloc in snapshot.mallocs
        for cache in malloc.caches
        for b in cache.tcache.bins
    ]
    table = Table(
        "tcache",
        TCACHE_COLUMNS,
        rows,
        total(TCACHE_COLUMNS, rows, "chunks"),
    )
    return Report(
        (table,),
        snapshot.problems,
        notes=notes_of(snapshot, ()),
        next_steps=(("heapx threads", "what each thread's cache holds in all"),) if rows else (),
    )


@command("heapx mmapped")
def mmapped(snapshot: Snapshot) -> Report:
    """List the chunks that have a mapping of their own.

    malloc maps chunks of mmap_threshold and more; free unmaps them at once. glibc keeps no list of
    them, so they are looked for; where number and bytes don't agree with glibc's own count, the
    rows are candidates and mmapped total is what counts.

    Example:

        heapx mmapped --sort mapping --limit 10  the ten largest
    """
    rows: list[Row] = []
    notes = []
    for malloc in snapshot.mallocs:
        for chunk, presence in zip(malloc.mmapped, malloc.mmapped_presence):
            cached = "tcache" if chunk.address in malloc.mmapped_cached else "in use"
            rows.append(
                {
                    "address": chunk.address,
                    "size": chunk.size,
                    "mapping": chunk.mapping,
                    **presence_of(presence),
                    "state": cached if malloc.mmapped_certain else "candidate",
                    "libc": malloc.libc,
                }
            )
        if malloc.mmapped_lost:
            number, size = malloc.parameters["n_mmaps"], malloc.parameters["mmapped_mem"]
            notes.append(f"glibc counts {number:,} mmapped chunks of {size:,} bytes in all.")
    table = Table(
        "mmapped",
        MMAPPED_COLUMNS,
        rows,
        total(MMAPPED_COLUMNS, rows),
    )
    return Report((table,), snapshot.problems, notes=(*notes, *residency_note(snapshot)))
