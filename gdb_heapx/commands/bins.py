"""heapx bins: the free lists of the arenas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ARENA, NO_WALK
from ..cli.command import command
from ..heap.states import NAMES, REGULAR, Search, State
from ..report.either import Either
from ..report.model import Notes, Report, Steps
from ..report.schema import Column, Kind, Schema, within
from ._columns import BIN_COLUMNS, LIBC
from ._notes import residency_note

if TYPE_CHECKING:
    from ..heap.bins import Bin
    from ..inventory.catalogue import Catalogue
    from ..snapshots.figures import ArenaFigures
    from ..snapshots.take import Snapshot

BINS = Schema(
    "bins",
    (
        Column("arena", Kind.INDEX, of="arena.index"),
        Column("kind", Kind.TEXT, of=lambda it: NAMES[it.bin.kind]),
        Column("bin", Kind.INDEX, of="bin.index"),
        *within("bin", *BIN_COLUMNS),
        *within("arena", LIBC),
    ),
    adds=("chunks",),
)
BIN_CHUNKS = Schema(
    "bin_chunks",
    (
        Column("arena", Kind.INDEX),
        Column("kind", Kind.TEXT),
        Column("bin", Kind.INDEX),
        Column("place", Kind.COUNT),
        Column("address", Kind.ADDRESS),
        Column("size", Kind.BYTES, exact=True),
        LIBC,
    ),
)
KINDS = tuple(NAMES[kind] for kind in (State.FAST, *REGULAR))
SHOWN = 40  # rows


class _ArenaBin(NamedTuple):
    arena: ArenaFigures
    bin: Bin


def bin_chunks(
    catalogue: Catalogue, arena: int | None, kind: str | None, bin: int | None
) -> Report:
    """List the chunks of each bin, in the order of its list."""
    from ..snapshots.figures import select_arenas

    select_arenas(catalogue.arenas(), arena)
    table = BIN_CHUNKS.of(catalogue.listed(arena, kind, bin))
    return Report((table, Notes(catalogue.notes)), catalogue.problems)


@command(
    "heapx bins",
    ARENA,
    Arg("--kind", "kind of bin to show", "choice", choices=KINDS),
    Arg("--bin", "the bin of this number, of the kind or of any", "count"),
    Arg(
        "--chunks",
        "list the chunks of each bin instead, in the order of its list",
        tables=("bin_chunks",),
    ),
    NO_WALK,
    limit=SHOWN,
    chunks=bin_chunks,
    tables=(BINS, BIN_CHUNKS),
    search=Search.NONE,
    apart=True,
)
def bins(snapshot: Snapshot, arena: int | None, kind: str | None, bin: int | None) -> Report:
    """List the free lists of the arenas that hold chunks.

    fast: small chunks that look in use and aren't merged (to glibc 2.42). unsorted: freed, not yet
    sorted in. small: one size each. large: a range of sizes each. Thread caches: heapx tcache.
    Sizes are chunk sizes, with malloc's header. Bin numbers are glibc's; fastbins count from 0.
    Where there are over 40 bins, text has those with most bytes first.

    Examples:

        heapx bins --sort chunks --limit 10            the ten that hold most chunks
        heapx bins --chunks --arena 1 --kind unsorted  the chunks of one, in order
    """
    from ..snapshots.figures import select_arenas

    found = [
        _ArenaBin(each, b)
        for each in select_arenas(snapshot.arenas(), arena)
        for b in each.bins.bins
        if kind in (None, NAMES[b.kind]) and bin in (None, b.index)
    ]
    notes, steps = Notes(residency_note(snapshot)), Steps(_chunks_of_largest(found))
    most_first = sorted(found, key=lambda each: -each.bin.amount.bytes)
    shown = BINS.of(most_first if len(found) > SHOWN else found)
    return Report((Either(BINS.of(found), (shown,)), notes, steps), snapshot.problems)


def _chunks_of_largest(found: list[_ArenaBin]) -> tuple[tuple[str, str], ...]:
    """Return the line that lists the chunks of the bin with most bytes."""
    if not found:
        return ()
    arena, largest = max(found, key=lambda each: each.bin.amount.bytes)
    of_bin = f"--kind {NAMES[largest.kind]} --bin {largest.index}"
    line = f"heapx bins --chunks --arena {arena.index} {of_bin}"
    return ((line, "the chunks of the largest"),)
