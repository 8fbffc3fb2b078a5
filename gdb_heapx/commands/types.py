"""heapx types: what the chunks in use are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arg import Arg
from ..cli.arguments import ARENA, PASSES
from ..cli.command import Needs, command
from ..heap.states import Search
from ..report.model import Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema
from ._columns import LIBC, TOTALS
from ._filed import filed_table
from ._notes import passes_notes, usual_notes

if TYPE_CHECKING:
    from ..held.held import Held
    from ..recognise.types import Typed
    from ..saved.saved import Saved
    from ..snapshots.take import Snapshot

SHOWN = 20  # rows
SIZE = Column("size", Kind.BYTES, DATA_ONLY, title="of size", exact=True, absent="any")
TYPES = Schema(
    "types",
    (
        Column("type", Kind.TEXT, shrinks=True),
        Column("how", Kind.TEXT, rank=3, absent="-"),
        Column("offset", Kind.COUNT, rank=6, absent="-"),
        SIZE,
        Column("instances", Kind.COUNT),
        *TOTALS,
        Column("resident", Kind.BYTES, rank=2),
        Column("swapped", Kind.BYTES, rank=8),
        Column("share", Kind.COUNT, title="%"),
        Column("cumulative", Kind.COUNT, title="sum %", rank=1),
        Column("sample", Kind.ADDRESS, rank=4, absent="-"),
        Column("contents", Kind.TEXT, rank=5),
        Column("samples", Kind.TEXT, rank=9, title="more samples"),
        LIBC,
    ),
    adds=("chunks",),
)
WORTH = 100  # a type with less than one part in so many is not what to look at next
LONGEST = 24  # characters of a text that are shown


class _Row(NamedTuple):
    type: str
    how: str | None
    offset: int | None
    size: int | None
    instances: int
    chunks: int
    bytes: int
    resident: int | None
    swapped: int | None
    share: int
    cumulative: int
    sample: int | None
    contents: str
    samples: str
    libc: str


def types_of(snapshot: Snapshot, saved: Saved) -> Report:
    """Return what a file has of types: without contents, and without what can be typed next."""
    table, notes = filed_table(saved, TYPES), saved.notes.get("types", ())
    lead, rest = Notes(notes[:1], leads=True), Notes(notes[1:])  # as `types` has them
    return Report((lead, table, rest), snapshot.problems)


@command(
    "heapx types",
    ARENA,
    Arg(
        "--by",
        "take chunks together by type, by type and size, or by the file that has the type",
        "choice",
        choices=("type", "size", "module"),
    ),
    Arg("--min-bytes", "types of this many bytes or more; the others are one row", "bytes"),
    PASSES,
    needs=Needs.HELD,
    limit=SHOWN,
    tables=(TYPES,),
    search=Search.HEADERS,
    filed=types_of,
)
def types(
    snapshot: Snapshot, held: Held, arena: int | None, by: str | None, min_bytes: int | None
) -> Report:
    """Count the chunks in use by what they are.

    How says how that is known:

        vtable       a word leads to a vtable of C++, which a symbol names
        RTTI         the same without a symbol: the vtable leads to a name
        CPython      it begins with an object whose type has this name
        code         its first words lead to functions: a coroutine's frame
        holder       a container of libstdc++ leads to it, and says its size
        links        other nodes lead back to it: of a map, of a list
        contents     text, zeros, or pointers only
        symbol       its first word leads to a variable: a table of functions
        first words  none of these: its size, and where its words lead: to a
                     heap, to a variable of a file, to code; or a number, bytes

    Objects of C++ are counted wherever they lie in a chunk: in arrays, vectors, nodes, pools. The
    chunk counts as what its first object is, and offset is where that lies. Objects of other
    classes in it are a row of their own, inside, without chunks. What was destroyed in a chunk of
    make_shared that a weak_ptr keeps is dead. Old contents that nobody has overwritten look like
    what they were. A container on a stack, or in other memory,
    may be over: there a small string counts if its text is still in the chunk, a small vector
    unless that is text or a node by now.

    The bytes of all rows are what is in use. % is the share of a row, sum % that of all so far. As
    text the first 20 are shown, or --limit.

    Examples:

        heapx types                 what there is most of
        heapx types --by size       the chunks of each size apart
        heapx types --by module     whose classes: which library's
        heapx types --arena 1       of one arena
    """
    from ..recognise.types import modules_in, types_in, without_smaller
    from ..snapshots.figures import select_arenas

    chosen = select_arenas(snapshot.arenas(), arena)
    whole = arena is None
    regions = None if whole else [*_regions(held, {(a.libc, a.index) for a in chosen})]
    from ..recognise.classify import classify  # what few commands need is imported by these
    from ..recognise.heaps import surroundings_of

    around = surroundings_of(held)
    kinds = classify(held, around, regions, sizes=by == "size")
    known = types_in(kinds, around)
    found = modules_in(kinds, around) if by == "module" else known
    rows = [*_shown(held, without_smaller(found, min_bytes or 0))]
    schema = TYPES.but("size", rank=0) if by == "size" else TYPES
    lead = Notes((_headline(held, known),), leads=True)
    notes = Notes((*passes_notes(held), *usual_notes(snapshot, () if whole else chosen)))
    return Report((lead, schema.of(rows), notes, Steps(_next(found, by))), snapshot.problems)


def _regions(held: Held, arenas: set[tuple[str, int]]) -> Iterator[int]:
    """Yield the regions that lie in these arenas."""
    for number, part in enumerate(held.parts):
        if part.heap and (held.libcs[part.libc], part.heap.arena) in arenas:
            yield number


def _shown(held: Held, found: Sequence[Typed]) -> Iterator[_Row]:
    """Yield a row for each type."""
    whole, so_far = sum(each.sum.bytes for each in found), 0
    for each in found:
        so_far += each.sum.bytes
        yield _row(held, each, whole, so_far)


def _row(held: Held, typed: Typed, whole: int, so_far: int) -> _Row:
    titled, total, known = typed.titled, typed.sum, held.residency_known
    first = total.samples[0] if total.samples else None
    return _Row(
        *(titled.name, titled.how, titled.offset, titled.size, total.instances),
        *(total.chunks, total.bytes),
        total.resident if known else None,
        total.swapped if known else None,
        (100 * total.bytes + whole // 2) // whole if whole else 0,
        _so_far(so_far, whole),
        first,
        _text(held, first, typed.encoding) if first and typed.encoding else "",
        ", ".join(map(hex, total.samples[1:])),
        held.libcs[titled.libc],
    )


def _so_far(size: int, whole: int) -> int:
    """Return a sum in percent of the whole, as its rows are rounded; 100 is all of it."""
    if size == whole:
        return 100 if whole else 0
    return min((100 * size + whole // 2) // whole, 99)


def _text(held: Held, user: int, encoding: int) -> str:
    """Return the text that a chunk begins with, in quotes."""
    from ..recognise.contents import beginning

    chunk = held.index.begin_at(user)
    if chunk is not None:
        held.lots.bring(chunk.region)
    data = bytes(held.store.read(user, min(3 * LONGEST, chunk.usable if chunk else 0)))
    text = beginning(data, encoding, held.space.byteorder == "little")
    return f'"{text[:LONGEST]}…"' if len(text) > LONGEST else f'"{text}"'


def _headline(held: Held, found: Sequence[Typed]) -> Note:
    from ..recognise.names import FIRST_WORDS

    told = [each.sum for each in found if each.titled.how not in (None, FIRST_WORDS)]
    return note(
        "types",
        chunks=sum(each.sum.chunks for each in found),
        size=sum(each.sum.bytes for each in found),
        resident=sum(each.sum.resident for each in found) if held.residency_known else None,
        told=sum(each.bytes for each in told),
        objects=sum(each.instances for each in told),
    )


def _next(found: Sequence[Typed], by: str | None) -> tuple[tuple[str, str], ...]:
    from shlex import quote

    from ..recognise.names import CONTENTS, FIRST_WORDS

    vague = (None, FIRST_WORDS, CONTENTS)
    whole = sum(each.sum.bytes for each in found)
    large = (t for t in found if t.sum.chunks and WORTH * t.sum.bytes >= whole)
    first = next((t for t in large if t.titled.how not in vague), None)
    if first is None or by == "module":
        return (("heapx leaks", "what of it nothing refers to"),)
    line = f"heapx chunks --type {quote(first.titled.name)}"
    return ((line, "the chunks of this type"), ("heapx leaks", "what of it nothing refers to"))
