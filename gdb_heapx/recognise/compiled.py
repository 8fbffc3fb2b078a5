"""Every chunk in use, recognised by classify.c: what classify.py does in Python."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from ..held.declared import CCursor, address_of
from .counted import MOST_KNOWN, SAMPLES, Alike, KeySum, Kinds
from .declared import (
    FILTER_WORDS,
    KNOWN_WORDS,
    LIBC_BITS,
    CKey,
    CKinds,
    declared,
)
from .kinds import Code, Key
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..held.held import Held
    from ..held.index import HeldChunk

STEPS = 1 << 16  # chunks between two looks for Ctrl-C
FIRST = 1 << 16  # of a known word's meaning: a chunk begins with it
SLOTS = 2 * MOST_KNOWN


class CompiledRecognising:
    """Chunks that are recognised by compiled code, all or `only` one."""

    def __init__(self, held: Held, around: Surroundings, only: HeldChunk | None = None) -> None:
        assert held.table is not None
        self._only = only
        self._held, self._around, self._given = held, around, CKinds()
        self._functions = declared(held.functions)
        self._regions, self._at = held.table.reference, CCursor()
        parts = [(p.start, p.end, int(p.code)) for p in around.parts.all]
        self._parts = array("Q", [number for part in parts for number in part])
        self._known = array("Q", bytes(SLOTS * KNOWN_WORDS * 8))
        given = self._given
        given.parts, given.part_count = address_of(self._parts), len(parts)
        roots = held.pointers
        given.root_at, given.root_to = address_of(roots.at), address_of(roots.to)
        given.root_count = len(roots.at)
        given.known, given.slots, given.most = address_of(self._known), SLOTS, MOST_KNOWN
        bodies = around.heaps.bodies
        given.bodies, given.callers = map(address_of, (bodies.marks, bodies.callers))
        given.paged = held.residency_known

    def prepare(self, regions: Sequence[int]) -> None:
        """Learn what the words in chunks mean that lead to data of files; of as many as there is
        room for.
        """
        self._functions.heapx_know(self._reference)
        self._run(self._functions.heapx_learn, regions, "looking where chunks lead to")
        pairs = zip(self._known[::KNOWN_WORDS], self._known[1::KNOWN_WORDS])
        self._around.know({word: bool(rest & FIRST) for word, rest in pairs if word})

    def _know(self) -> None:
        """Take over what words mean by now."""
        known, table = self._around.known or {}, self._known
        places = {table[KNOWN_WORDS * at]: at for at in self._taken()}
        for word in known.keys() - places.keys():  # types that are chunks
            places[word] = self._place(word)
            table[KNOWN_WORDS * places[word]] = word
        for word, at in places.items():
            table[KNOWN_WORDS * at + 1] = known.get(word, 0)
        for at in range(FILTER_WORDS):
            self._given.known_filter[at] = 0
        self._functions.heapx_know(self._reference)

    def _taken(self) -> list[int]:
        """Return which places have a word."""
        return list(compress(range(SLOTS), self._known[::KNOWN_WORDS]))

    def _place(self, word: int) -> int:
        """Return a free place for a word, where place_of of kinds.h finds it."""
        mixed = word * 0x9E3779B97F4A7C15 % (1 << 64)
        at = (mixed ^ mixed >> 29) % SLOTS
        while self._known[KNOWN_WORDS * at]:
            at = (at + 1) % SLOTS
        return at

    def count(self, regions: Sequence[int], sizes: bool) -> Kinds:
        """Return what the chunks are, by the words that mean something by now."""
        self._know()
        kinds, given = Kinds(), self._given
        kinds.make_room(self._held.index.chunks)
        room = kinds.most + len(Code) * len(self._held.libcs)
        keys, slots = (CKey * room)(), array("I", bytes(4 * 2 * SLOTS))
        given.keys, given.key_count, given.most_keys = ctypes.addressof(keys), 0, kinds.most
        given.key_slots, given.key_slot_count = address_of(slots), len(slots)
        given.kinds, given.sizes = address_of(kinds.kinds), sizes
        parts = self._held.parts
        for libc in range(len(self._held.libcs)):
            own = [region for region in regions if parts[region].libc == libc]
            self._run(self._functions.heapx_classify, own, "recognising chunks")
            kinds.inside.update(self._inside(libc))
        for each in keys[: given.key_count]:
            libc, size = each.group >> LIBC_BITS, each.group % (1 << LIBC_BITS)
            kinds.groups.append(Alike(Key(Code(each.code), each.value, each.offset), libc, size))
            kinds.sums.append(_sum(each))
        return kinds

    def _inside(self, libc: int) -> dict[tuple[int, int], int]:
        """Return how many objects lie inside chunks of another class, and begin again."""
        table, found = self._known, {}
        for at in self._taken():
            rest = table[KNOWN_WORDS * at + 1]
            if rest >> 32:
                found[libc, table[KNOWN_WORDS * at]] = rest >> 32
                table[KNOWN_WORDS * at + 1] = rest % (1 << 32)
        return found

    def users(self, kinds: Kinds, number: int) -> Iterator[int]:
        """Yield where the memory of each chunk of a group begins."""
        at, found = CCursor(), array("Q", bytes(8 * STEPS))
        self._given.kinds = address_of(kinds.kinds)
        count = STEPS
        while count == STEPS:
            self._held.target.space.pace.check(0)
            count = self._functions.heapx_of_kind(
                *(self._regions, self._reference, ctypes.byref(at)),
                *(number, address_of(found), STEPS),
            )
            yield from found[:count]

    @property
    def _reference(self) -> Any:
        return ctypes.byref(self._given)

    def _run(self, function: Any, regions: Sequence[int], what: str) -> None:
        """Let a function go over the chunks of some regions."""
        pace, index, at = self._held.target.space.pace, self._held.index, self._at
        pace.begin(what, sum(index.ends[each] - index.starts[each] for each in regions))
        for region in regions:
            self._held.lots.bring(region)
            at.region, at.grain = region, 0
            self._given.group = self._held.parts[region].libc << LIBC_BITS
            if self._only is not None:
                at.grain = self._grain(self._only)
                function(self._regions, self._reference, ctypes.byref(at), 1)
                continue
            count = STEPS
            while count == STEPS:
                pace.check(index.starts[region])
                count = function(self._regions, self._reference, ctypes.byref(at), STEPS)
            pace.walked(index.ends[region] - index.starts[region])

    def _grain(self, chunk: HeldChunk) -> int:
        """Return where a chunk begins in its region, as a cursor has it."""
        index = self._held.index
        behind = chunk.address - index.starts[chunk.region]
        return 0 if index.singles[chunk.region] else behind // index.grains.size


def _sum(key: CKey) -> KeySum:
    amounts = (key.chunks, key.bytes, key.instances, key.resident, key.swapped)
    return KeySum(*amounts, tuple(key.samples[: min(key.chunks, SAMPLES)]))
