"""heapx chunk: what lies at an address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..cli.arguments import ADDRESS
from ..cli.command import Needs, command
from ..errors import HeapxError, Problem
from ..heap.states import NAMES, State
from ..inventory.chunk import BINNED, FAST, HELD, LISTED, TCACHE, TOP, UNKNOWN, Chunk
from ..report.model import Dump, Note, Notes, Report, Steps
from ..report.notes import note
from ..report.schema import DATA_ONLY, Column, Kind, Schema, Table, within
from ._columns import CHUNK_COLUMNS, LIBC, LIST, STATE
from ._notes import residency_note

if TYPE_CHECKING:
    from ..inventory.catalogue import Around, Catalogue, Position
    from ..target.amounts import Amount

ONE = Schema(
    "chunk",
    (
        *within("chunk", *CHUNK_COLUMNS[:-2]),
        *within(
            "amount",
            Column("resident", Kind.BYTES, rank=2, exact=True),
            Column("swapped", Kind.BYTES, rank=3, exact=True),
        ),
        *within(
            "told",
            Column("type", Kind.TEXT, DATA_ONLY),
            Column("how", Kind.TEXT, DATA_ONLY),
            Column("offset", Kind.COUNT, DATA_ONLY),
            Column("instances", Kind.COUNT, DATA_ONLY),
        ),
        *within("chunk", LIST, LIBC),
    ),
)
NEIGHBOURS = Schema(
    "neighbours",
    (
        Column("place", Kind.TEXT, title="around it"),
        *within(
            "chunk",
            Column("address", Kind.ADDRESS),
            Column("size", Kind.BYTES, exact=True),
            STATE,
            LIST,
        ),
    ),
)
FREE_LIST = Schema(
    "list",
    (
        *within("chunk", LIST),
        *within(
            "position",
            Column("chunks", Kind.COUNT),
            Column("place", Kind.COUNT),
            Column("previous", Kind.ADDRESS, absent="none"),
            Column("next", Kind.ADDRESS, absent="none", of="following"),
        ),
    ),
)
WORDS = Schema(
    "words",
    (
        Column("offset", Kind.ADDRESS),
        Column("value", Kind.ADDRESS),
        Column("name", Kind.TEXT, absent=""),
        Column("meaning", Kind.TEXT),
    ),
)


class _Told(NamedTuple):
    """What a chunk in use is, as in heapx types; None where only a look at all chunks tells."""

    type: str | None = None
    how: str | None = None
    offset: int | None = None
    instances: int | None = None


class _One(NamedTuple):
    chunk: Chunk
    amount: Amount
    told: _Told


class _Neighbour(NamedTuple):
    place: str
    chunk: Chunk


class _Listed(NamedTuple):
    chunk: Chunk
    position: Position


class _Word(NamedTuple):
    offset: int
    value: int
    name: str | None
    meaning: str


ON_EACH_SIDE, WORDS_SHOWN = 3, 8
DUMPED, DUMP_LINE = 128, 16  # bytes
HEADER_NAMES = ("prev_size", "size")
LINK_NAMES = {
    TCACHE: ("next", "key"),
    FAST: ("fd",),
    BINNED: ("fd", "bk"),
    UNKNOWN: HEADER_NAMES,
    TOP: HEADER_NAMES,
}
SIZE_LINK_NAMES = (*LINK_NAMES[BINNED], "fd_nextsize", "bk_nextsize")


@command("heapx chunk", ADDRESS, needs=Needs.CHUNKS, tables=(ONE, NEIGHBOURS, FREE_LIST, WORDS))
def chunk(catalogue: Catalogue, address: int) -> Report:
    """Tell what lies at an address: its chunk, its neighbours, and what it holds.

    Any address inside the chunk will do, in any expression of gdb's: a number, a variable, $rdi; an
    object means the address where it lies. In a shell, or if it has quotes of its own, put it in
    quotes. Of a free chunk its list is shown, and its place there. Of the first words it tells what
    they are: a vtable or another symbol, a pointer into a chunk or a mapping, a string. The dump
    shows the first bytes, or those around ADDRESS where that lies behind them. Where a header is
    damaged, it shows that, and the chunks before it. What a chunk in use is, it says as heapx types
    does, where a look at all chunks takes half a second at most; else what its own words tell.
    Outside of malloc it names the mapping, and the exit status is 3.

    Examples:

        heapx chunk 0x7f02e4d63520   an address from another command or a log
        heapx chunk request->buffer  where a variable of the program points
    """
    from ..inventory.words import name_of

    found = catalogue.around(address, ON_EACH_SIDE)
    if found is None:
        why = filter(None, (catalogue.hidden(address),))
        raise HeapxError(f"no chunk at {address}: {name_of(catalogue, address)}", *why)
    one = found.chunk
    smashed = catalogue.smashed(one)
    begin, end = catalogue.memory(one) if smashed is None else (one.address, one.end)
    data = catalogue.data(begin, min(end - begin, DUMPED))
    dump = Dump(begin, data)
    if begin + DUMPED <= address < end:  # else it is seen there
        place = address - (address - begin) % DUMP_LINE
        dump = Dump(place, catalogue.data(place, min(end - place, DUMPED)), place - begin)
    shown: list[object] = [
        NEIGHBOURS.of(list(_neighbours(found))),
        *_place(catalogue, one),
    ]
    where = _where(catalogue, found, address)
    if one.state != TOP or smashed is not None:  # nobody has put anything into a sound top yet
        shown += (WORDS.of(list(_words(catalogue, one, data))), dump)
    told, said = _told(catalogue, one)
    shown.insert(0, ONE.of([_One(one, catalogue.amount(one), told)]))
    lead = Notes((where, *_damage(one, smashed), *said), leads=True)
    catalogue.tell()
    notes = Notes((*catalogue.notes, *residency_note(catalogue)))
    steps = [Steps((_next(catalogue, one),))] if one.state in HELD and smashed is None else []
    return Report((lead, *shown, notes, *steps), catalogue.problems)


def _next(catalogue: Catalogue, chunk: Chunk) -> tuple[str, str]:
    begin, _ = catalogue.memory(chunk)
    return f"heapx refs {begin:#x}", "who refers to it; also: --to-root, --from"


def _where(catalogue: Catalogue, found: Around, address: int) -> Note:
    """Tell where in its chunk an address lies."""
    chunk = found.chunk
    begin, _ = catalogue.memory(chunk)
    if address == chunk.address:
        place = "header"
    elif address == begin:
        place = "memory"
    else:
        place = "in header" if address < begin else "in memory"
    before = found.before[-1].address if _is_shared(catalogue, found, address) else None
    return note(
        "lies_at",
        address=address,
        place=place,
        offset=address - begin,
        chunk=chunk.address,
        size=chunk.size,
        state=chunk.state,
        shared=before,
    )


def _told(catalogue: Catalogue, chunk: Chunk) -> tuple[_Told, list[Note]]:
    """Return what a chunk in use is, and what is said of it, and of what isn't known."""
    from ..inventory.looks import MOST, recognised  # what few commands need is imported by these
    from ..recognise.kinds import SURE

    if chunk.state not in HELD:
        return _Told(), []
    begin, end = catalogue.memory(chunk)
    found, all_seen = recognised(catalogue, begin, end), catalogue.types is not None
    told, said = _Told(), list[Note]()
    if found is not None:
        (key, instances), (name, how, offset) = found
        partly = not all_seen and end - begin > MOST
        if how is not None:
            many = instances, offset
            said.append(note("is_a", type=name, how=how, many=many, partly=partly))
        if all_seen or (key.code in SURE and not partly):
            told = _Told(name, how, offset, instances)
    if not all_seen and (found is None or found[0].key.code not in SURE):
        said.append(note("body_unknown", address=begin))
    return told, said


def _is_shared(catalogue: Catalogue, found: Around, address: int) -> bool:
    """Tell whether a header's first word is the last of the chunk's memory before it, too."""
    before = found.before[-1:]
    return address == found.chunk.address and any(catalogue.memory(c)[1] > address for c in before)


def _damage(chunk: Chunk, smashed: int | None) -> Iterator[Note]:
    """Tell what is wrong with a chunk's header, and how far nothing is known."""
    if smashed is None:
        return
    if chunk.state == TOP:
        yield note("smashed_top", word=smashed, left=chunk.size)
    else:
        yield note("smashed", word=smashed, end=chunk.end)


def _neighbours(found: Around) -> Iterator[_Neighbour]:
    """Yield the chunks around one, and itself between them."""
    places = (("before", found.before), ("this", (found.chunk,)), ("after", found.after))
    for place, side in places:
        for each in side:
            yield _Neighbour(place, each)


def _place(catalogue: Catalogue, chunk: Chunk) -> Iterator[Table]:
    """Yield where a free chunk hangs in its list."""
    if chunk.state not in LISTED:
        return
    found = catalogue.position(chunk)
    if found is None:
        statement = f"chunk {chunk.address:#x} is marked as free, but no list leads to it"
        problem = Problem("not_listed", statement, chunk.address, chunk.arena)
        catalogue.inventory_of(chunk).note([problem])
        return
    yield FREE_LIST.of([_Listed(chunk, found)])


def _words(catalogue: Catalogue, chunk: Chunk, data: bytes) -> Iterator[_Word]:
    """Yield the first words of a chunk's memory, with what they are."""
    from ..glibc.releases import tcache_has_key
    from ..inventory.words import words_of

    word = catalogue.word
    large = (chunk.list or "").startswith(NAMES[State.LARGE])
    names = SIZE_LINK_NAMES if large else LINK_NAMES.get(chunk.state, ())
    release = catalogue.inventory_of(chunk).libc.layout.release
    if chunk.state == TCACHE and not tcache_has_key(release):
        names = names[:1]
    for i, (value, meaning) in enumerate(words_of(catalogue, chunk, data, WORDS_SHOWN)):
        name = names[i] if i < len(names) else None
        yield _Word(i * word, value, name, meaning)
