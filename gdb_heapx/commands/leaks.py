"""heapx leaks: the chunks in use that nothing refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import PASSES
from ..cli.command import Needs, command
from ..heap.states import Search
from ..held.root import RootKind
from ..reach.states import LOST, TOLD, Degree
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema
from ._columns import IN_MEMORY, LIBC, TOTALS
from ._hidden import HIDDEN, WAYS, explained_note, hidden_rows
from ._notes import passes_notes, usual_notes

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.root import Missed
    from ..reach.grouping import Grouped
    from ..reach.leaks import Leaks
    from ..snapshots.take import Snapshot

NAMES = {
    Degree.REACHABLE: "reachable",
    Degree.INTERIOR: "interior",
    Degree.RED_ZONE: "red_zone",
    Degree.HEAD: "leaked",
    Degree.HANGS: "indirect",
}
UNREFERENCED = "unreferenced"
ORDER = (Degree.HEAD, Degree.RED_ZONE, Degree.INTERIOR)
MEANS = {
    Degree.REACHABLE: "from variables, stacks, registers",
    Degree.INTERIOR: "only by pointers to their inside",
    Degree.RED_ZONE: "only from below a stack pointer",
    Degree.HEAD: "nothing refers to these",
    Degree.HANGS: "only from what nothing refers to",
}
DEGREES = Schema(
    "degrees",
    (Column("degree", Kind.TEXT), *TOTALS, *IN_MEMORY, Column("means", Kind.TEXT, flows=True)),
    adds=("chunks",),
)
LEAKS = Schema(
    "leaks",
    (
        Column("degree", Kind.TEXT),
        Column("type", Kind.TEXT, shrinks=True),
        Column("size", Kind.BYTES, exact=True, absent="any", rank=1),
        Column("heads", Kind.COUNT, DATA_ONLY, absent="-"),
        *TOTALS,
        Column("indirect_chunks", Kind.COUNT, title="hang #", absent="-", rank=3),
        Column("indirect_bytes", Kind.BYTES, title="hang", absent="-", rank=1),
        Column("in_all", Kind.BYTES, title="in all", rank=1),
        *IN_MEMORY,
        Column("sample", Kind.ADDRESS),
        Column("contents", Kind.TEXT, rank=1),
        LIBC,
    ),
).but("resident", rank=2)
SHOWN = 8  # rows


class _Degree(NamedTuple):
    degree: str
    chunks: int
    bytes: int
    resident: int | None
    swapped: int | None
    means: str


class _Row(NamedTuple):
    degree: str
    type: str | None
    size: int | None
    heads: int | None
    chunks: int
    bytes: int
    indirect_chunks: int | None
    indirect_bytes: int | None
    in_all: int
    resident: int | None
    swapped: int | None
    sample: int
    contents: str
    libc: str


@command(
    "heapx leaks",
    Arg("--by", "take chunks together by this alone", "choice", choices=("type", "size")),
    Arg("--min-bytes", "groups of this many bytes or more, with what hangs from them", "bytes"),
    Arg("--shared", "look for pointers in memory that other processes may write, too"),
    *WAYS,
    PASSES,
    needs=Needs.HELD,
    limit=SHOWN,
    tables=(LEAKS, DEGREES, HIDDEN),
    search=Search.HEADERS,
)
def leaks(
    snapshot: Snapshot,
    held: Held,
    by: str | None,
    min_bytes: int | None,
    shared: bool,
    **_ways: object,
) -> Report:
    """Find the chunks in use that nothing refers to any more.

    Pointers are followed from the roots: variables of the program and its libraries, stacks,
    registers, thread-local data, and other memory that malloc didn't give. What is free, and what
    malloc keeps for itself, refers to nothing. Each chunk in use has a degree:

        reachable  pointers lead to where its memory begins
        interior   only pointers to its inside do: into arrays, to second bases,
                   or by chance
        red_zone   only pointers below a stack pointer do, where a leaf function
                   may have variables
        leaked     a head: nothing refers to it, or only what hangs from it does
        indirect   it hangs from a head: only what is leaked refers to it

    The degrees add up to all that is in use. Leaked is said where every root was read; else it is
    unreferenced, and a note says what was not looked at. Of chunks that refer to each other, and
    nothing else does, one is the head. The bytes of a row are those of its heads; hang is what only
    these lead to, and in all is both. The sample is the head that holds most; contents are how it
    begins. What pointers to the inside reach, such as all objects of CPython's, is listed only with
    --limit.

    A pointer is a word at an aligned address. A program may hide its pointers: in packed structs,
    below a tag, or compressed. What these would explain is told apart if you ask for it, and
    changes no degree: the heads that would be referred to if such words were followed, too, and
    all that would be reached with them. Other words may look like that by chance.

        --unaligned        at any byte
        --mask BITS        the highest bits are something else, up to 32
        --compressed BASE  32 bits that are shifted (--shift) and added to BASE:
                           a number, or an expression; only the program knows it

    The process stands still while its chunks in use are copied; it runs on before pointers are
    followed.

    Examples:

        heapx leaks                 what is lost, largest first
        heapx leaks --by type       one row for each type
        heapx leaks --min-bytes 1M  large ones
        heapx leaks --unaligned     whether pointers in packed structs lead there
    """
    from ..reach.doubts import doubts_of, hidden_by
    from ..reach.grouping import grouped  # what few commands need is imported by these
    from ..reach.leaks import find_leaks

    kinds = grouped(held, by)
    found = find_leaks(held, kinds.numbers, max(len(kinds.names), 1))
    doubts = doubts_of(held)
    damaged = any(problem.damage for problem in snapshot.problems)
    certain = not doubts and not damaged
    most = not damaged and not hidden_by(held)
    names = NAMES if certain else {**NAMES, Degree.HEAD: UNREFERENCED}
    known = held.residency_known
    rows = sorted(_rows(found, kinds, names, known), key=_first_most)
    rows = [row for row in rows if row.in_all >= (min_bytes or 0)]
    example = rows[0].sample if rows and rows[0].heads else None
    told = (*explained_note(found), *_doubts(doubts, shared), *_hidden(hidden_by(held)))
    notes = (*told, *passes_notes(held), *usual_notes(snapshot))
    ways = [HIDDEN.of([*hidden_rows(found, known)])] if found.explained else []
    blocks = (
        Notes((_headline(found, certain, most),), leads=True),
        replace(LEAKS.of(rows), few=sum(row.degree != NAMES[Degree.INTERIOR] for row in rows)),
        DEGREES.of([*_degrees(found, names, known)]),
        *ways,
        Notes(notes),
        Steps(_next(example)),
    )
    return Report(blocks, snapshot.problems)


def _first_most(row: _Row) -> tuple[int, int, str, int]:
    order = {NAMES[degree]: at for at, degree in enumerate(ORDER)}
    return order.get(row.degree, 0), -row.in_all, row.type or "", row.sample


def _rows(found: Leaks, kinds: Grouped, names: dict[Degree, str], known: bool) -> Iterator[_Row]:
    for leak in found.of(*ORDER):
        alike, head = kinds.names[leak.kind], leak.degree is Degree.HEAD
        yield _Row(
            names[leak.degree],
            alike.type,
            alike.size,
            leak.own.chunks if head else None,
            leak.own.chunks,
            leak.own.bytes,
            leak.hanging.chunks if head else None,
            leak.hanging.bytes if head else None,
            leak.own.bytes + (leak.hanging.bytes if head else 0),
            leak.own.resident if known else None,
            leak.own.swapped if known else None,
            leak.sample,
            kinds.contents(leak.sample),
            alike.libc,
        )


def _degrees(found: Leaks, names: dict[Degree, str], known: bool) -> Iterator[_Degree]:
    for degree in TOLD:
        own = found.degrees[degree]
        resident, swapped = (own.resident, own.swapped) if known else (None, None)
        yield _Degree(names[degree], own.chunks, own.bytes, resident, swapped, MEANS[degree])


def _headline(found: Leaks, certain: bool, most: bool) -> Note:
    """Tell what is lost: where not all was looked at that may refer to it, `most` of it is."""
    lost = [found.degrees[degree] for degree in LOST]
    whole = sum(each.bytes for each in found.degrees.values())
    chunks, size = sum(each.chunks for each in lost), sum(each.bytes for each in lost)
    heads = found.degrees[Degree.HEAD].chunks
    return note(
        "leaks",
        chunks=chunks,
        heads=heads,
        size=size,
        whole=whole,
        certain=certain,
        most=most,
    )


def _doubts(doubts: Sequence[Missed], shared: bool) -> Iterator[Note]:
    if doubts:
        yield note("not_looked_at", parts=[(each.why, each.bytes) for each in doubts])
    if any(each.kind is RootKind.SHARED for each in doubts) and not shared:
        yield note("shared_not_looked_at")


def _hidden(hidden: Iterable[Missed]) -> Iterator[Note]:
    parts = [(each.why, each.bytes) for each in hidden]
    if parts:
        yield note("taken_whole", parts=parts)


def _next(example: int | None) -> tuple[tuple[str, str], ...]:
    if example is None:
        return ()
    return ((f"heapx chunk {example:#x}", "what one of them holds"),)
