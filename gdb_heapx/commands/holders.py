"""heapx holders: which variables hold the memory that is in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import PASSES
from ..cli.command import Needs, command
from ..heap.states import Search
from ..report.model import Note, Notes, Report, Steps, size_text
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema
from ._notes import doubt_notes, in_ram_note, passes_notes, usual_notes

if TYPE_CHECKING:
    from ..held.held import Held
    from ..reach.holders import Hold, Holders
    from ..snapshots.take import Snapshot

SHOWN = 15  # rows
OTHERS = 2  # who lead to what the first one holds, and are named
OF_THREADS = ("tls", "key", "stack", "register")
HOLDERS = Schema(
    "holders",
    (
        Column("holder", Kind.TEXT, shrinks=True),
        Column("kind", Kind.TEXT, rank=3),
        Column("thread", Kind.INDEX, absent="-"),
        Column("module", Kind.TEXT, DATA_ONLY),
        Column("address", Kind.ADDRESS, absent="-", rank=6),
        Column("held", Kind.BYTES, title="holds"),
        Column("exclusive_chunks", Kind.COUNT, title="alone #", rank=4),
        Column("exclusive", Kind.BYTES, title="alone"),
        Column("nearest_chunks", Kind.COUNT, DATA_ONLY),
        Column("nearest", Kind.BYTES, DATA_ONLY),
        Column("shared_chunks", Kind.COUNT, title="shared #", rank=5),
        Column("shared", Kind.BYTES),
        Column("main_type", Kind.TEXT, title="mostly", absent="-", shrinks=True, rank=1),
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
    held: int
    exclusive_chunks: int
    exclusive: int
    nearest_chunks: int
    nearest: int
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
    overlap. Of that a holder holds what the shortest way leads to from it, as heapx refs --to-root
    tells it: from variables, then threads' variables, other memory, glibc's own variables, and
    stacks last, where words that nobody uses any more often lead to much; only what is in streams'
    buffers, from long ago, leads on later still. So what each holds, and what nobody does, adds up
    to all that is in use, as the sums below do.

    Without symbols a variable is called by file, section and offset. Where such a variable ends
    nobody knows: each of its pointers is a holder by itself, but those next to each other that
    lead to the same chunks are one, such as a vector's or a map's.

    Mostly is the type that most of what it holds is of; JSON has the three largest. The process
    stands still only while its chunks in use are copied.

    Examples:

        heapx holders                     which variable holds most
        heapx holders --sort shared       what is held together with others
        heapx holders --min-bytes 10M     large ones
    """
    from ..reach.holders import find_holders  # what few commands need is imported by these
    from ..reach.typed import types_of

    kinds, names, streams = types_of(held)
    found = find_holders(held, kinds, len(names), streams)
    rows = sorted((_row(held, hold, names) for hold in found.holds), key=_statics_first)
    lead = Notes((*_lost(held, found), *_headline(held, found, names)), leads=True)
    rows = [row for row in rows if row.exclusive + (row.shared or 0) >= (min_bytes or 0)]
    notes = (
        *(*in_ram_note(snapshot), *_uncounted(rows), *doubt_notes(held), *passes_notes(held)),
        *usual_notes(snapshot),
    )
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
        hold.bytes,
        *hold.alone,
        *hold.nearest,
        both.chunks if both else None,
        both.bytes if both else None,
        names[kinds[0][0]] if kinds else None,
        types or None,
    )


def _statics_first(row: _Row) -> tuple[bool, int, int, str, int]:
    return row.kind in OF_THREADS, -row.held, -(row.shared or 0), row.holder, row.thread or 0


def _sums(found: Holders) -> Iterator[_Sum]:
    parts = {EXCLUSIVE: found.alone, SHARED: found.several, UNREACHABLE: found.unreachable}
    for holds, part in parts.items():
        yield _Sum(holds, part.chunks, part.bytes, MEANS[holds])


def _lost(held: Held, found: Holders) -> Iterator[Note]:
    """Tell that most is held by nobody, where it is so."""
    from ..reach.doubts import doubts_of

    lost, others = found.unreachable.bytes, found.alone.bytes + found.several.bytes
    if lost > others:
        certain = not doubts_of(held)
        yield note("held_by_nobody", size=lost, whole=lost + others, certain=certain)


def _headline(held: Held, found: Holders, names: Sequence[str]) -> Iterator[Note]:
    """Tell who holds most; and, unless it does so alone, who leads to that, too."""
    first = next((hold for hold in found.holds if hold.bytes), None)
    if first is None:
        return
    others = [hold for hold in found.holds if hold is not first and hold.of_lead]
    others.sort(key=lambda hold: -(hold.of_lead or 0))
    row = _row(held, first, names)
    yield note(
        "holds_most",
        holder=_called(row),
        size=row.held,
        whole=found.alone.bytes + found.several.bytes + found.unreachable.bytes,
        alone=row.exclusive,
        others=[(_called(_row(held, hold, names)), hold.of_lead) for hold in others[:OTHERS]],
        more=max(len(others) - OTHERS, 0),
        types=row.sample_types,
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
        yield "heapx refs ADDRESS --to-root", "the shortest way to a chunk that several hold"
    if rows and max(row.held for row in rows) > rows[0].held:
        yield "heapx holders --sort held", "who holds most first, threads or not"
