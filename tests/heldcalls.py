"""The calls of compiled code about what is held, as they are made for a heap, recorded.

Each is recorded with the memory that it is given, no byte more: a copy for each region, its pages,
its cells, and what the structs lead to.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from walkcalls import At, Call, Calls, Made, Point

from gdb_heapx.held import held as holding
from gdb_heapx.held.declared import REGION_WORDS, CHeld, CIndexing, CWay
from gdb_heapx.held.declared import declared as declared_held
from gdb_heapx.held.spots import AROUND, BEHIND, BLOCKS
from gdb_heapx.reach.declared import (
    AHEAD,
    CFlood,
    CGroup,
    CHanging,
    CHeads,
    CLabels,
    CSearch,
    CTotals,
    CWays,
    declared_holders,
)
from gdb_heapx.reach.declared import declared as declared_reach
from gdb_heapx.reach.labels import SEVERAL
from gdb_heapx.reach.states import DEGREES
from gdb_heapx.recognise.declared import (
    KNOWN_WORDS,
    PAIR_WORDS,
    PART_WORDS,
    CChain,
    CFinder,
    CKey,
    CKinds,
)
from gdb_heapx.recognise.declared import declared as declared_recognise
from gdb_heapx.recognise.finder import SLOTS
from gdb_heapx.recognise.kinds import Code
from gdb_heapx.recognise.tables import TABLE_WORDS

WORD, GRAIN, CELL, CELL_BYTES = 8, 16, 64, 24
REGION = REGION_WORDS * WORD
MOST = 12  # calls of a function that are recorded of one heap
LARGEST = 2 << 20  # bytes that such a call is given


@dataclass
class Given:
    """The memory that a call is given, each once, with the pointers between; `foreign` are those
    that have words of the process, as test_walk_calls.py has them.
    """

    places: list[tuple[int, int]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    foreign: list[tuple[int, int, int, int]] = field(default_factory=list)
    chunks: int = 0
    data: Any = None  # what was given as bytes

    def add(self, address: int, size: int, foreign: bool = False) -> int:
        """Add memory, and return its number."""
        if (address, size) not in self.places:
            self.places.append((address, size))
            if foreign:
                self.foreign.append((len(self.places) - 1, 0, WORD, WORD))
        return self.places.index((address, size))

    def struct(self, struct: Any) -> int:
        return self.add(ctypes.addressof(struct), ctypes.sizeof(struct))

    def lead(self, number: int, at: int, size: int, foreign: bool = False) -> None:
        """Add what a pointer leads to that lies at a byte of memory; nothing if it is null."""
        address = ctypes.c_uint64.from_address(self.places[number][0] + at).value
        if address and size:
            self.points.append(Point(At(number, at), At(self.add(address, size, foreign))))

    def leads(self, struct: Any, **sizes: int) -> int:
        """Add a struct with what its pointers lead to."""
        number = self.struct(struct)
        for name, size in sizes.items():
            self.lead(number, getattr(type(struct), name).offset, size)
        return number

    def leads_to(self, number: int, at: int, to: int) -> None:
        """Say that what lies at a byte of memory becomes a pointer, if it isn't one yet."""
        self.points.append(Point(At(number, at), At(to)))

    def region(self, number: int, at: int, page_bits: int, behind: int = 0) -> int:
        """Add what a struct region leads to; return how many chunks are in it and before."""
        values = (ctypes.c_uint64 * REGION_WORDS).from_address(self.places[number][0] + at)
        start, end, single, first, _, _, cells = values
        pages = ((end - 1) >> page_bits) - (start >> page_bits) + 1
        self.lead(number, at + 4 * WORD, end - start + behind, foreign=True)
        self.lead(number, at + 5 * WORD, pages)
        if single:
            return first + 1
        count = (end - start) // GRAIN // CELL + 1
        self.lead(number, at + 6 * WORD, count * CELL_BYTES)
        last = (ctypes.c_uint64 * 3).from_address(cells + (count - 1) * CELL_BYTES)
        return first + last[2] % (1 << 32) + bin(last[0]).count("1")

    def held(self, struct: CHeld) -> At:
        """Add a struct held."""
        number = self.leads(struct, regions=struct.count * REGION)
        regions = self.add(struct.regions, struct.count * REGION)
        for at in range(struct.count):
            self.chunks = self.region(regions, at * REGION, struct.page_bits)
        return At(number)

    def before(self) -> tuple[bytes, ...]:
        """Return what they hold, with zeros for pointers."""
        found = [bytearray(ctypes.string_at(at, size)) for at, size in self.places]
        for number, byte in (point.at for point in self.points):
            found[number][byte : byte + WORD] = bytes(WORD)
        return tuple(map(bytes, found))


Arguments = Iterable[Any]


def _index(g: Given, region: int, indexing: CIndexing, *numbers: int) -> Arguments:
    number = g.add(region, REGION)
    g.region(number, 0, indexing.page_bits, behind=WORD)
    lists = g.leads(indexing, cached=WORD * indexing.cached_left, fast=WORD * indexing.fast_left)
    return At(number), At(lists), *numbers


def _ranks(g: Given, region: int) -> Arguments:
    number = g.add(region, REGION)
    values = (ctypes.c_uint64 * REGION_WORDS).from_address(region)
    g.lead(number, 6 * WORD, ((values[1] - values[0]) // GRAIN // CELL + 1) * CELL_BYTES)
    return (At(number),)


def _find(g: Given, held: CHeld, address: int, found: Any) -> Arguments:
    return g.held(held), address, At(g.struct(found))


def _pointers(
    g: Given, held: CHeld, words: int, count: int, address: int, found: int, room: Any
) -> Arguments:
    given = g.held(held), At(g.add(words, WORD * count, foreign=True)), count, address
    return (*given, At(g.add(found, 2 * WORD * room.value)), At(g.struct(room)))


def _spots(
    g: Given, held: CHeld, blocks: int, words: int, at: int, end: int, found: int, room: Any
) -> Arguments:
    first = g.held(held), At(g.add(blocks, BLOCKS))
    given = *first, At(g.add(words, WORD * (end + BEHIND - 1), foreign=True)), at, end
    return (*given, At(g.add(found, WORD * room.value)), At(g.struct(room)))


def _seed(g: Given, held: CHeld, way: CWay, data: bytes, size: int, seeds: int) -> Arguments:
    g.data = copy = ctypes.create_string_buffer(data, size)
    given = g.held(held), At(g.struct(way)), At(g.add(ctypes.addressof(copy), size, foreign=True))
    return (*given, size, At(g.add(seeds, g.chunks)))


def _flood(g: Given, held: CHeld, flood: CFlood, *rest: Any) -> Arguments:
    first = g.held(held)
    sizes = {"stack": WORD * (flood.room + AHEAD), "states": g.chunks, "way": ctypes.sizeof(CWay)}
    number = g.leads(flood, **sizes)
    g.leads_to(number, CFlood.ahead.offset, g.add(flood.states, g.chunks))
    return (first, At(number), *(_cursor(g, each) for each in rest))


def _cursor(g: Given, value: Any) -> Any:
    return value if isinstance(value, int) else At(g.struct(value))


def _visit(g: Given, held: CHeld, flood: CFlood, words: int, count: int) -> Arguments:
    return (*_flood(g, held, flood), At(g.add(words, WORD * count, foreign=True)), count)


def _heads(g: Given, held: CHeld, flood: CFlood, heads: CHeads, steps: int) -> Arguments:
    given = _flood(g, held, flood)
    kinds = (ctypes.c_uint32 * g.chunks).from_address(heads.kinds) if heads.kinds else (0,)
    hanging = ctypes.sizeof(CHanging) * (max(kinds, default=0) + 1)
    return (*given, At(g.leads(heads, kinds=4 * g.chunks, hanging=hanging)), steps)


def _sums(
    g: Given, held: CHeld, states: int, kinds: int, groups: int, number: int, *rest: Any
) -> Arguments:
    first, size = g.held(held), DEGREES * number * ctypes.sizeof(CGroup)
    given = At(g.add(states, g.chunks)), At(g.add(kinds, 4 * g.chunks)) if kinds else 0
    return (first, *given, At(g.add(groups, size)), number, *(_cursor(g, each) for each in rest))


KNOWING = ("parts", "known")
CLASSIFYING = (*KNOWING, "root_at", "root_to", "keys", "key_slots", "kinds", "bodies", "callers")


def _labels(g: Given, held: CHeld, x: CLabels, *rest: Any) -> Arguments:
    first = g.held(held)
    given = (ctypes.c_uint32 * g.chunks).from_address(x.labels)
    mine = (each & SEVERAL for each in given)
    highest = max((each for each in mine if each != SEVERAL), default=0)
    sizes = {"labels": 4 * g.chunks, "seen": 4 * g.chunks, "nearest": 8 * g.chunks}
    sizes["touches"] = max(highest, x.own) + 1
    number = g.leads(x, stack=WORD * x.room, **sizes)
    g.leads_to(number, CLabels.ahead.offset, g.add(x.labels, 4 * g.chunks))
    return (first, At(number), *(_cursor(g, each) for each in rest))


def _label_from(g: Given, held: CHeld, x: CLabels, words: int, count: int) -> Arguments:
    return (*_labels(g, held, x), At(g.add(words, WORD * count, foreign=True)), count)


def _total(g: Given, held: CHeld, x: CTotals, cursor: Any, steps: int) -> Arguments:
    first, rows = g.held(held), 4 * (x.last + 1)
    shown = max((ctypes.c_uint32 * (x.last + 1)).from_address(x.rows)) if x.rows else 0
    sizes = {"labels": 4 * g.chunks, "kinds": 4 * g.chunks, "nearest": 8 * g.chunks}
    sizes.update(dict.fromkeys(("sums", "nearer"), 2 * WORD * (x.last + 1)))
    number = g.leads(x, rows=rows, bytes=WORD * x.number * shown, **sizes)
    return first, At(number), _cursor(g, cursor), steps


def _refs(g: Given, held: CHeld, x: CSearch, steps: int) -> Arguments:
    return g.held(held), At(g.leads(x, found=WORD * x.room)), steps


def _way(g: Given, held: CHeld, x: CWays, *rest: Any) -> Arguments:
    first = g.held(held)
    number = g.leads(x, ring=WORD * x.room, reached=8 * g.chunks)
    g.leads_to(number, CWays.ahead.offset, g.add(x.reached, 8 * g.chunks))
    return (first, At(number), *(_cursor(g, each) for each in rest))


def _way_from(
    g: Given, held: CHeld, x: CWays, origin: int, far: int, words: int, count: int
) -> Arguments:
    given = At(g.add(words, WORD * count, foreign=True)), count
    return (*_way(g, held, x), origin, far, *given)


def _large(before: Callable[..., Arguments]) -> Callable[..., Arguments]:
    """Return the arguments of what looks through a large chunk, behind those that come before."""

    def arguments(g: Given, held: CHeld, x: Any, address: int, copy: int) -> Arguments:
        numbers = REGION_WORDS * held.count
        words = (ctypes.c_uint64 * numbers).from_address(held.regions)
        spans = zip(words[0::REGION_WORDS], words[1::REGION_WORDS])
        (size,) = (end - start for start, end in spans if start <= address < end)
        return (*before(g, held, x), address, At(g.add(copy, size, foreign=True)))

    return arguments


def _finder(g: Given, held: CHeld, finder: CFinder) -> tuple[At, At]:
    """Add what bodies.c is given, and what it has found."""
    first = g.held(held)
    sizes = {"marks": 2 * g.chunks, "pairs": WORD * PAIR_WORDS * finder.slots}
    sizes["spots"] = WORD * AROUND * finder.room
    sizes["tables"] = WORD * TABLE_WORDS * finder.most_noted
    return first, At(g.leads(finder, blocks=BLOCKS, **sizes))


def _bodies(g: Given, held: CHeld, finder: CFinder, cursor: Any, steps: int) -> Arguments:
    return (*_finder(g, held, finder), _cursor(g, cursor), steps)


def _bodies_in(g: Given, held: CHeld, finder: CFinder, words: int, count: int) -> Arguments:
    given = _finder(g, held, finder)
    return (*given, At(g.add(words, WORD * count, foreign=True)), count)


def _bodies_at(
    g: Given, held: CHeld, finder: CFinder, spots: int, count: int, over: int
) -> Arguments:
    given = _finder(g, held, finder)
    return (*given, At(g.add(spots, WORD * AROUND * count, foreign=True)), count, int(over))


def _bodies_along(g: Given, held: CHeld, finder: CFinder, chain: CChain) -> Arguments:
    given, number = _finder(g, held, finder), g.struct(chain)
    g.lead(number, CChain.window.offset, chain.size, foreign=True)
    return (*given, At(number))


def _kinds(g: Given, kinds: CKinds, names: Iterable[str]) -> At:
    """Add a struct kinds, with what is called so; the rest may be gone by now."""
    sizes = {
        "parts": WORD * PART_WORDS * kinds.part_count,
        "root_at": WORD * kinds.root_count,
        "root_to": WORD * kinds.root_count,
        "known": WORD * KNOWN_WORDS * kinds.slots,
        "keys": (kinds.most_keys + len(Code)) * ctypes.sizeof(CKey),
        "key_slots": 4 * kinds.key_slot_count,
        "kinds": 4 * g.chunks,
        "bodies": 2 * g.chunks,
        "callers": WORD * SLOTS,
    }
    return At(g.leads(kinds, **{name: sizes[name] for name in names}))


def _classify(g: Given, held: CHeld, kinds: CKinds, cursor: Any, steps: int) -> Arguments:
    return g.held(held), _kinds(g, kinds, CLASSIFYING), _cursor(g, cursor), steps


def _learn(g: Given, held: CHeld, kinds: CKinds, cursor: Any, steps: int) -> Arguments:
    return g.held(held), _kinds(g, kinds, KNOWING), _cursor(g, cursor), steps


def _of_kind(
    g: Given, held: CHeld, kinds: CKinds, cursor: Any, kind: int, found: int, room: int
) -> Arguments:
    given = g.held(held), _kinds(g, kinds, ["kinds"]), _cursor(g, cursor), kind
    return (*given, At(g.add(found, WORD * room)), room)


def _know(g: Given, kinds: CKinds) -> Arguments:
    return (_kinds(g, kinds, KNOWING),)


ARGUMENTS: dict[str, Callable[..., Arguments]] = {
    "heapx_index": _index,
    "heapx_ranks": _ranks,
    "heapx_find": _find,
    "heapx_pointers": _pointers,
    "heapx_spots": _spots,
    "heapx_seed": _seed,
    "heapx_flood": _flood,
    "heapx_visit": _visit,
    "heapx_resume": _flood,
    "heapx_starts": _flood,
    "heapx_heads": _heads,
    "heapx_sums": _sums,
    "heapx_flood_large": _large(_flood),
    "heapx_label_large": _large(_labels),
    "heapx_way_large": _large(_way),
    "heapx_way_pending": _way,
    "heapx_label": _labels,
    "heapx_label_from": _label_from,
    "heapx_label_pending": _labels,
    "heapx_total": _total,
    "heapx_refs": _refs,
    "heapx_way": _way,
    "heapx_way_from": _way_from,
    "heapx_bodies": _bodies,
    "heapx_bodies_in": _bodies_in,
    "heapx_bodies_at": _bodies_at,
    "heapx_bodies_along": _bodies_along,
    "heapx_learn": _learn,
    "heapx_classify": _classify,
    "heapx_know": _know,
    "heapx_of_kind": _of_kind,
}
VOID = (
    *("heapx_ranks", "heapx_seed", "heapx_visit", "heapx_know"),
    *("heapx_label", "heapx_label_from", "heapx_way_from", "heapx_bodies_in"),
    *("heapx_bodies_at", "heapx_bodies_along"),
    *("heapx_flood_large", "heapx_label_large", "heapx_way_large"),
)

# A call with what came of it, and `foreign` of its buffers.
Recorded = tuple[Calls, Made, "list[tuple[int, int, int, int]]"]


class Recorder:
    """The functions of C, for what holds, floods and recognises; `kept` are their calls."""

    def __init__(self, code: ctypes.CDLL) -> None:
        self._code = declared_recognise(declared_holders(declared_reach(declared_held(code))))
        self._wrapped: dict[str, Any] = {}
        self.kept: list[Recorded] = []
        self.counted: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            return self._call(name, arguments)

        if name not in ARGUMENTS:
            return getattr(self._code, name)
        return self._wrapped.setdefault(name, call)

    def forget(self) -> None:
        """Let go what was recorded: whoever has declared the functions keeps this for good."""
        self._wrapped.clear()
        self.kept = []

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        function = getattr(self._code, name)
        self.counted[name] += 1
        if self.counted[name] > MOST:
            return function(*arguments)
        given = Given()
        passed = ARGUMENTS[name](given, *(getattr(each, "_obj", each) for each in arguments))
        if sum(size for _, size in given.places) > LARGEST:
            self.counted[name] -= 1
            return function(*arguments)
        call, before = Call(name, tuple(passed)), given.before()
        result = function(*arguments)
        made = Made((result or 0,), given.before())
        self.kept.append((Calls(before, (call,), tuple(given.points)), made, given.foreign))
        return result


@contextmanager
def recording(code: ctypes.CDLL) -> Iterator[Recorder]:
    """Record, in here, the calls of what is held of targets."""
    recorder = Recorder(code)
    with mock.patch.object(holding, "declared", return_value=recorder):
        try:
            yield recorder
        finally:
            recorder.forget()
