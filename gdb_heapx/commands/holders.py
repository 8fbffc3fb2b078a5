"""heapx holders: which variables hold the memory that is in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import PASSES
from ..cli.command import Needs, command
from ..heap.states import Search
from ..reach.doubts import doubts_of
from ..reach.holders import find_holders
from ..reach.typed import types_of
from ..report.model import DATA_ONLY, Column, Kind, Note, Notes, Report, Schema, Steps, size_text
from ..report.notes import note
from ._notes import doubt_notes, usual_notes

if TYPE_CHECKING:
    from ..held.held import Held
    from ..reach.holders import Hold, Holders
    from ..snapshots.take import Snapshot

SHOWN = 15  # rows
WORTH = 10  # who holds less than one part in so many of what several hold isn't the answer
OF_THREADS = ("tls", "key", "stack", "register")
HOLDERS = Schema(
    "holders",
    (
        Column("holder", Kind.TEXT, shrinks=True),
        Column("kind", Kind.TEXT, rank=3),
        Column("thread", Kind.INDEX, absent="-"),
        Column("module", Kind.TEXT, DATA_ONLY),
        Column("address", Kind.ADDRESS, absent="-", rank=6),
        Column("exclusive_chunks", Kind.COUNT, title="alone #", rank=4),
        Column("exclusive", Kind.BYTES, title="alone"),
        Column("shared_chunks", Kind.COUNT, title="shared #", rank=5),
        Column("shared", Kind.BYTES),
        Column("main_type", Kind.TEXT, title="mostly", absent="-", shrinks=True, rank=2),
        Column("sample_types", Kind.TEXT, DATA_ONLY),
    ),
)
SUMS = Schema(
    "sums",
    (
        Column("holds", Kind.TEXT, title="held"),
        Column("chunks", Kind.COUNT),
        Column("bytes", Kind.BYTES),
        Column("means", Kind.TEXT, flows=True),
    ),
    adds=("chunks",),
)
EXCLUSIVE, SHARED, UNREACHABLE = "exclusive", "shared", "unreachable"
MEANS = {
    EXCLUSIVE: "by one holder alone: gone with it",
    SHARED: "by several, each chunk counted once",
    UNREACHABLE: "by nobody: see heapx leaks",
}


class _Row(NamedTuple):
    holder: str
    kind: str
    thread: int | None
    module: str | None
    address: int | None
    exclusive_chunks: int
    exclusive: int
    shared_chunks: int | None
    shared: int | None
    main_type: str | None
    sample_types: str | None


class _Sum(NamedTuple):
    holds: str
    chunks: int
    bytes: int
    means: str


@command(
    "heapx holders",
    Arg("--min-bytes", "those that hold this much or more, alone or with others", "bytes"),
    Arg("--shared", "look for pointers in memory that other processes may write, too"),
    PASSES,
    needs=Needs.HELD,
    limit=SHOWN,
    tables=(HOLDERS, SUMS),
    search=Search.HEADERS,
)
def holders(snapshot: Snapshot, held: Held, min_bytes: int | None, shared: bool) -> Report:
    """Tell who holds what is in use: variables first, then threads.

    A holder is a variable of the program or of a library, with all that its pointers lead to; a
    thread's variable (tls), or what pthread keys lead to; all that a thread has on its stack and
    in registers, as one; or a mapping that isn't malloc's. Alone is what would be freed with it,
    because no other holder leads there. Shared is what others lead to as well, so these figures
    overlap, and nothing tells who of them should let go. Below, the sums add up to all that is in
    use.

    Without symbols a variable is called by file, section and offset. Where such a variable ends
    nobody knows: each of its pointers is a holder by itself, but those next to each other that
    lead to the same chunks are one, such as a vector's or a map's.

    Mostly is the type that most of what a holder has alone is of; JSON has the three largest. The
    process stands still only while its chunks in use are copied.

    Examples:

        heapx holders                     which variable holds most
        heapx holders --sort shared       what is held together with others
        heapx holders --min-bytes 10M     large ones
    """
    kinds, names = types_of(held)
    found = find_holders(held, kinds, len(names))
    rows = sorted((_row(held, hold, names) for hold in found.holds), key=_statics_first)
    lead = Notes((*_lost(held, found), *_headline(found, rows)), leads=True)
    rows = [row for row in rows if row.exclusive + (row.shared or 0) >= (min_bytes or 0)]
    notes = (*_uncounted(rows), *doubt_notes(held), *usual_notes(snapshot))
    blocks = (
        lead,
        HOLDERS.of(rows),
        SUMS.of([*_sums(found)]),
        Notes(notes),
        Steps(tuple(_next(found, rows))),
    )
    return Report(blocks, snapshot.problems)


def _row(held: Held, hold: Hold, names: Sequence[str]) -> _Row:
    holder, both = hold.holder, hold.shared
    kinds = hold.kinds or ()
    types = "; ".join(f"{names[kind]} ({size_text(size)})" for kind, size in kinds)
    return _Row(
        held.target.probe.demangled(holder.name) or holder.name,
        holder.kind,
        holder.lwp,
        holder.module,
        holder.address,
        hold.alone.chunks,
        hold.alone.bytes,
        both.chunks if both else None,
        both.bytes if both else None,
        names[kinds[0][0]] if kinds else None,
        types or None,
    )


def _statics_first(row: _Row) -> tuple[bool, int, int, str, int]:
    return row.kind in OF_THREADS, -row.exclusive, -(row.shared or 0), row.holder, row.thread or 0


def _sums(found: Holders) -> Iterator[_Sum]:
    parts = {EXCLUSIVE: found.alone, SHARED: found.several, UNREACHABLE: found.unreachable}
    for holds, part in parts.items():
        yield _Sum(holds, part.chunks, part.bytes, MEANS[holds])


def _lost(held: Held, found: Holders) -> Iterator[Note]:
    """Tell that most is held by nobody, where it is so."""
    lost, others = found.unreachable.bytes, found.alone.bytes + found.several.bytes
    if lost > others:
        certain = not doubts_of(held)
        yield note("held_by_nobody", size=lost, whole=lost + others, certain=certain)


def _headline(found: Holders, rows: Sequence[_Row]) -> Iterator[Note]:
    """Tell who holds most: first with others, if that is more than anyone holds alone."""
    whole = found.alone.bytes + found.several.bytes + found.unreachable.bytes
    most = max(rows, key=lambda row: row.exclusive, default=None)
    alone, both = most.exclusive if most else 0, found.several.bytes
    if both > alone:
        together = [row for row in rows if 2 * (row.shared or 0) > both]
        together.sort(key=lambda r: (r.kind in OF_THREADS, -r.exclusive - (r.shared or 0)))
        names = [_called(row) for row in together[:3]]
        yield note("held_together", size=both, whole=whole, holders=names)
    if most is not None and alone and WORTH * alone >= both:
        yield note(
            "holds_most",
            holder=_called(most),
            size=most.exclusive,
            whole=whole,
            types=most.sample_types,
        )


def _called(row: _Row) -> str:
    return row.holder if row.thread is None else f"thread {row.thread}'s {row.holder}"


def _uncounted(rows: Sequence[_Row]) -> Iterator[Note]:
    number = sum(row.shared is None for row in rows)
    if number:
        yield note("shared_not_counted", number=number)


def _next(found: Holders, rows: Sequence[_Row]) -> Iterator[tuple[str, str]]:
    """Return what may be typed where several hold most, or others than the table begins with."""
    if found.several.bytes > found.alone.bytes:
        yield "heapx refs ADDRESS --to-root", "who of them is next to a chunk: the shortest way"
    if rows and max(row.exclusive for row in rows) > rows[0].exclusive:
        yield "heapx holders --sort exclusive", "who holds most first, threads or not"
