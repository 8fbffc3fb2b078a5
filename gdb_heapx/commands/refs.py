"""heapx refs: who refers to a chunk in use, and what it refers to."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ADDRESS, PASSES
from ..cli.command import Needs, command
from ..errors import HeapxError, UsageError
from ..heap.states import Search
from ..held.root import PLACES, RootKind
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Many, Schema
from ._notes import doubt_notes

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk
    from ..reach.places import Site
    from ..reach.typed import ChunkTypes
    from ..snapshots.take import Snapshot
    from ..target.target import Local

SHOWN = 20  # rows
LOOKED_UP = 256  # words of stacks whose variables are asked for
STACKS = (RootKind.STACK, RootKind.RED_ZONE)
ORDER = [*dict.fromkeys(PLACES[k] for k in (RootKind.GLOBAL, RootKind.TLS, RootKind.KEY))]
ORDER += [*dict.fromkeys(PLACES[kind] for kind in RootKind if PLACES[kind] not in ORDER)]
REFS = Schema(
    "refs",
    (
        Column("from", Kind.ADDRESS, absent="-", of="place.start"),
        Column("offset_in", Kind.COUNT, title="+", absent="any", of="offset"),
        Column("kind", Kind.TEXT, of="place.kind"),
        Column("where", Kind.TEXT, shrinks=True, of="place.where"),
        Column("thread", Kind.INDEX, absent="-", of="place.lwp"),
        Column("type", Kind.TEXT, absent="-", shrinks=True),
        Column("into", Kind.COUNT, DATA_ONLY),
        Column("links", Kind.COUNT, DATA_ONLY),
        Column("depth", Kind.COUNT, DATA_ONLY),
    ),
)


class _Row(NamedTuple):
    place: Site
    offset: int | None
    type: str | None
    into: int | None
    links: int
    depth: int


def _on_stacks(held: Held, address: int, **given: Any) -> Mapping[int, Local]:
    """Return what of stacks the words are that lead to the chunk; of a way, all that may begin
    it: only now can a debugger tell.
    """
    from ..reach.referrers import chunk_at

    chunk = chunk_at(held, address)
    if chunk is None or given["from"]:
        return {}
    at, to = held.pointers.at, held.pointers.to
    asked: dict[int, int] = {}
    for root in held.roots.spans:
        if root.kind in STACKS and root.lwp is not None:
            for place in range(bisect_left(at, root.start), bisect_left(at, root.end)):
                if given["to_root"] or chunk.user <= to[place] < chunk.user + chunk.usable:
                    asked[at[place]] = root.lwp
    few = dict(islice(asked.items(), LOOKED_UP))
    return (held.target.probe.locals(few) or {}) if few else {}


@command(
    "heapx refs",
    ADDRESS,
    Arg("--from", "what the chunk refers to, instead of what refers to it"),
    Arg("--to-root", "the shortest way from a variable, a stack or a register to it"),
    Arg("--shared", "look for pointers in memory that other processes may write, too"),
    PASSES,
    needs=Needs.HELD,
    limit=SHOWN,
    tables=(REFS,),
    search=Search.HEADERS,
    asks=_on_stacks,
)
def refs(
    snapshot: Snapshot,
    held: Held,
    address: int,
    to_root: bool,
    shared: bool,
    asked: Mapping[int, Local],
    **given: Any,
) -> Report:
    """Tell who refers to a chunk in use: every word that leads to it.

    Any address inside the chunk will do, or its header's; pointers to its inside count as those to
    its beginning. From is where that begins which has the word, and + how far into it the word
    lies: a variable of the program or of a library, a thread's variable, the variable of a function
    that runs, if debug info tells, else the distance from the thread's stack pointer, a register,
    other memory, or another chunk in use with its type. What is free refers to nothing.

    --to-root shows how the program gets there: the shortest way from a variable, and only where
    there is none from a thread's own variables, other memory, a stack, or a register. Links of one
    type in a row are one line. Is there no way at all, see heapx leaks.

    Examples:

        heapx refs 0x7f02e4d63520             who refers to it
        heapx refs 0x7f02e4d63520 --to-root   which variable leads there, and how
        heapx refs request --from             what it refers to
    """
    from ..reach.referrers import chunk_at
    from ..reach.typed import ChunkTypes  # what few commands need is imported by these

    if to_root and given["from"]:
        raise UsageError("--from and --to-root exclude each other")
    chunk = chunk_at(held, address)
    if chunk is None:
        raise HeapxError(f"no chunk in use at {address}", f"See heapx chunk {address:#x}.")
    typed = ChunkTypes(held)
    if given["from"]:
        return _referred(snapshot, held, chunk, typed)
    if to_root:
        return _way(snapshot, held, chunk, typed, asked)
    return _referring(snapshot, held, chunk, typed, asked)


def _referring(
    snapshot: Snapshot, held: Held, chunk: HeldChunk, typed: ChunkTypes, asked: Mapping[int, Local]
) -> Report:
    """Return who refers to a chunk: roots first."""
    from ..reach.doubts import doubts_of
    from ..reach.places import of_chunk
    from ..reach.referrers import referring_words

    roots = sorted(_roots(held, chunk, asked), key=lambda row: ORDER.index(row.place.kind))
    words, into = array("Q"), array("Q")
    for lead in referring_words(held, chunk):
        words.append(lead.at)
        into.append(lead.word - chunk.user)

    def rows() -> Iterator[_Row]:
        yield from roots
        for at, inside in zip(words, into):
            owner = held.index.at(at)
            if owner is not None:
                place = of_chunk(owner, at)
                yield _Row(place, place.offset, typed.name(owner), inside, 1, 1)

    number = len(roots) + len(words)
    certain = not doubts_of(held)
    said = note("referred", chunk=_called(chunk, typed), number=number, certain=certain)
    at = f"{chunk.user:#x}"
    next_step = (f"heapx refs {at} --to-root", "the way there from a variable or a stack")
    steps = Steps((next_step,) if words and not roots else ())
    doubts = Notes(tuple(doubt_notes(held)) if not number else ())
    schema = _told(REFS, roots, bool(words))
    if any(into) or any(row.into for row in roots):
        schema = schema.but("into", rank=0, title="into +")
    table = schema.of(Many(number, rows))
    return Report((_leading(said), table, doubts, steps), snapshot.problems)


def _told(schema: Schema, rows: Sequence[_Row], chunks: bool) -> Schema:
    """Return the table; text leaves out what these rows, and chunks if there are some, lack."""
    if not any(row.place.lwp is not None for row in rows):
        schema = schema.but("thread", rank=DATA_ONLY)
    return schema if chunks else schema.but("type", rank=DATA_ONLY)


def _roots(held: Held, chunk: HeldChunk, asked: Mapping[int, Local]) -> Iterator[_Row]:
    from ..reach.places import of_register, of_root
    from ..reach.referrers import root_words_to

    for lead in root_words_to(held, chunk):
        place = of_root(held, lead.at, asked)
        if place is not None:
            yield _Row(place, place.offset, None, lead.word - chunk.user, 1, 1)
    for register in held.roots.registers:
        for word in register.words:
            if chunk.user <= word < chunk.user + chunk.usable:
                place = of_register(register)
                yield _Row(place, place.offset, None, word - chunk.user, 1, 1)


def _referred(snapshot: Snapshot, held: Held, chunk: HeldChunk, typed: ChunkTypes) -> Report:
    """Return what a chunk refers to: other chunks, variables, stacks."""
    from ..reach.leads import Leads
    from ..reach.places import of_chunk, of_root

    words = Leads(held).words(chunk)
    found = [(at - chunk.user, word) for at, word in words if _leads_on(held, word)]

    def rows() -> Iterator[_Row]:
        for at, word in found:
            to = held.index.at(word)
            place = of_chunk(to, word) if to else of_root(held, word, {})
            if place is not None:
                yield _Row(place, place.offset, typed.name(to) if to else None, at, 1, 1)

    led = list(rows()) if len(found) <= SHOWN else []
    schema = REFS if not led else _told(REFS, led, any(row.type for row in led))
    schema = schema.but("from", title="to").but("into", rank=0, title="by +")
    lead = note("refers", chunk=_called(chunk, typed), number=len(found))
    return Report((_leading(lead), schema.of(Many(len(found), rows))), snapshot.problems)


def _leads_on(held: Held, word: int) -> bool:
    return held.index.at(word) is not None or held.roots.at(word) is not None


def _way(
    snapshot: Snapshot, held: Held, chunk: HeldChunk, typed: ChunkTypes, asked: Mapping[int, Local]
) -> Report:
    """Return the shortest way from a root to a chunk."""
    from ..reach.chains import chain_to
    from ..reach.doubts import doubts_of

    links = chain_to(held, chunk, asked)
    name = _called(chunk, typed)
    if not links:
        lost = note("no_way", chunk=name, certain=not doubts_of(held))
        return Report((_leading(lost, *doubt_notes(held)), REFS.of([])), snapshot.problems)
    first = links[0].place
    where = f"a word {first.where}" if first.where.startswith("in ") else first.where
    where += f"+{first.offset:#x}" if first.kind == PLACES[RootKind.GLOBAL] and first.offset else ""
    where += "" if first.lwp is None else f" of thread {first.lwp}"
    lead = note("way", chunk=chunk.user, number=links[0].depth, where=where)
    rows = [
        _Row(each.place, each.offset, each.type, None, each.links, each.depth) for each in links
    ]
    schema = _told(REFS.but("links", rank=0), rows, len(rows) > 1)
    return Report((_leading(lead), schema.of(rows)), snapshot.problems)


def _leading(*notes: Note) -> Notes:
    return Notes(notes, leads=True)


def _called(chunk: HeldChunk, typed: ChunkTypes) -> dict[str, Any]:
    return {"address": chunk.user, "size": chunk.bytes, "type": typed.name(chunk)}
