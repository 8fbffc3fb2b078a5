"""heapx bins: the free lists of the arenas."""

from __future__ import annotations

from ..cli.arguments import NO_WALK, OF_ARENA, Arg
from ..cli.command import command
from ..heap.bins import BinKind
from ..inventory.catalogue import Catalogue
from ..report.model import Column, Kind, Report, Row, Table, total
from ..snapshots.figures import select_arenas
from ..snapshots.take import Snapshot
from ._columns import LIBC, PRESENCE, SIZES, TOTALS, presence_of
from ._notes import residency_note

BIN_COLUMNS = (
    Column("arena", Kind.INDEX),
    Column("kind", Kind.TEXT),
    Column("bin", Kind.INDEX),
    *SIZES,
    *TOTALS,
    *PRESENCE,
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
KINDS = tuple(kind.value for kind in BinKind if kind is not BinKind.TCACHE)


def bin_chunks(
    catalogue: Catalogue, arena: int | None, kind: str | None, bin: int | None
) -> Report:
    """List the chunks of each bin, in the order of its list."""
    select_arenas(catalogue.arenas(), arena)
    found = (chunk._asdict() for chunk in catalogue.listed(arena, kind, bin))
    table = Table("bin_chunks", LISTED_COLUMNS, found)
    return Report((table,), catalogue.problems, notes=catalogue.notes)


@command(
    "heapx bins",
    OF_ARENA,
    Arg("--kind", "kind of bin to show", "choice", choices=KINDS),
    Arg("--bin", "the bin of this number, of the kind or of any", "count"),
    Arg("--chunks", "list the chunks of each bin instead, in the order of its list"),
    NO_WALK,
    chunks=bin_chunks,
)
def bins(snapshot: Snapshot, arena: int | None, kind: str | None, bin: int | None) -> Report:
    """List the free lists of the arenas that hold chunks.

    fast: small chunks that look in use and aren't merged (to glibc 2.42). unsorted: freed, not yet
    sorted in. small: one size each. large: a range of sizes each. Thread caches: heapx tcache.
    Sizes are chunk sizes, with malloc's header. Bin numbers are glibc's; fastbins count from 0.

    Examples:

        heapx bins --sort bytes --limit 10             the ten that hold most
        heapx bins --chunks --arena 1 --kind unsorted  the chunks of one, in order
    """
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
        for each in select_arenas(snapshot.arenas(), arena)
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
        snapshot.problems,
        notes=residency_note(snapshot),
        next_steps=_chunks_of_largest(rows),
    )


def _chunks_of_largest(rows: list[Row]) -> tuple[tuple[str, str], ...]:
    """Return the line that lists the chunks of the bin with most bytes."""
    if not rows:
        return ()
    most = max(rows, key=lambda row: row["bytes"] or 0)
    line = f"heapx bins --chunks --arena {most['arena']} --kind {most['kind']} --bin {most['bin']}"
    return ((line, "the chunks of the largest"),)
