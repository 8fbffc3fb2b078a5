"""Pointers that aren't words as they stand: misaligned, tagged, compressed. hidden.h does the same.

Nothing tells them from other bytes: who says how they would look learns what they would explain.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

from ..errors import UsageError
from ..records import dataclass
from ..target.space import Space, Words
from .declared import CWay, address_of
from .index import Index
from .root import Register
from .table import RegionTable

SEEDED = 0x10  # of a chunk: a root leads there in a way
HALF = 4  # bytes of a compressed pointer
ADDRESSES = (1 << 64) - 1


class Way(NamedTuple):
    """How memory may have pointers besides its words: at any byte; below `bits` that are something
    else; compressed, as 32 bits that are shifted and added to a base. One with all that follows
    each, and words that are both misaligned and tagged.
    """

    unaligned: bool = False
    bits: int = 0
    base: int | None = None
    shift: int = 0

    def fields(self) -> CWay:
        """Return it as struct way of hidden.h."""
        step = 1 if self.unaligned else 8 if self.bits else 0
        compressed = self.base is not None
        return CWay(step, ADDRESSES >> self.bits, compressed, self.base or 0, self.shift)


def ways_of(options: Mapping[str, Any]) -> tuple[Way, ...]:
    """Return the ways that a command's options ask for; and behind several, all of them at once."""
    base, bits = options.get("compressed"), options.get("mask") or 0
    shift = int(options["shift"]) if base is not None else 0
    every = Way(bool(options.get("unaligned")), bits, base, shift)
    apart = [Way(unaligned=every.unaligned), Way(bits=bits), Way(base=base, shift=shift)]
    ways = [way for way in apart if way != Way()]
    return (*ways, every) if len(ways) > 1 else tuple(ways)


def hidden_in(way: Way, space: Space, data: memoryview, index: Index) -> Iterator[int]:
    """Yield where memory leads near to chunks in a way, but for words that do as they stand; by
    compressed pointers only where the memory of a chunk begins: every small number leads somewhere.
    """
    word = space.word
    low, high = (index.starts[0], index.ends[-1]) if index.starts else (0, 0)
    mask = (1 << 8 * word - way.bits) - 1
    for at in range(word if way.unaligned else 1 if way.bits else 0):
        whole = (len(data) - at) // word * word if len(data) > at else 0
        for stored in space.as_words(data[at : at + whole]):
            if low <= stored & mask < high and (at or stored > mask):
                yield stored & mask
    if way.base is not None:
        for value in _halves(space, data):
            to = (way.base + (value << way.shift)) & ADDRESSES
            if value and low <= to < high and index.begin_at(to):
                yield to


def _halves(space: Space, data: memoryview) -> array[int]:
    found = array("I", data[: len(data) // HALF * HALF].tobytes())
    if space.byteorder != sys.byteorder:
        found.byteswap()
    return found


@dataclass
class Hidden:
    """A way, and the chunks in use that roots lead to in it: SEEDED for each, by rank."""

    way: Way
    seeds: bytearray


@dataclass
class Seeker:
    """Looks for what roots lead to in some ways, while their memory is read from low to high.

    What isn't given of a root are zeros: nobody has touched it, or it can't be read.
    """

    space: Space
    index: Index
    table: RegionTable | None
    functions: Any
    hidden: Sequence[Hidden]
    _last: bytes = field(default=b"", init=False)  # the word before `_behind`
    _behind: int = field(default=0, init=False)
    _goes_on: bool = field(default=False, init=False)  # the root, behind that

    def add(self, start: int, end: int, address: int, words: Words) -> None:
        """Look at words of a root [start, end) that lie at an address."""
        if not self.hidden or not len(words):
            return
        word = self.space.word
        if address != self._behind:
            self._end()
            self._last = bytes(word) if address > start else b""
        data = self._last + _stored(self.space, words)
        self._look(data)
        self._last, self._behind = data[-word:], address + len(words) * word
        self._goes_on = self._behind + word <= end

    def _end(self) -> None:
        if self._goes_on:
            self._look(self._last + bytes(self.space.word))
        self._goes_on = False

    def close(self, registers: Iterable[Register]) -> tuple[Hidden, ...]:
        """Look at registers, too, and return what was found of each way."""
        if self.hidden:
            self._end()
            size, order = self.space.word, self.space.byteorder
            for register in registers:
                self._look(b"".join(each.to_bytes(size, order) for each in register.words))
        return tuple(self.hidden)

    def _look(self, data: bytes) -> None:
        index, table = self.index, self.table
        for way, seeds in ((each.way, each.seeds) for each in self.hidden):
            if table is not None:
                given = (way.fields(), data, len(data), address_of(seeds))
                self.functions.heapx_seed(table.reference, *given)
                continue
            for to in hidden_in(way, self.space, memoryview(data), index):
                chunk = index.at(to)
                if chunk is not None:
                    seeds[chunk.rank] = SEEDED


def _stored(space: Space, words: Words) -> bytes:
    """Return words as they lie in the target's memory."""
    if space.byteorder == sys.byteorder:
        return words.tobytes()
    found = array("Q" if space.word == 8 else "I", words)
    found.byteswap()
    return found.tobytes()


def seeker(
    space: Space, index: Index, table: RegionTable | None, functions: Any, ways: Iterable[Way]
) -> Seeker:
    """Return what looks in some ways; UsageError where no pointer of the target can be so."""
    hidden = [Hidden(way, bytearray(index.chunks)) for way in ways]
    if space.word != 8 and any(each.way != Way(unaligned=True) for each in hidden):
        raise UsageError(
            "only 64-bit programs have tagged or compressed pointers",
            "Leave out --mask and --compressed.",
        )
    return Seeker(space, index, table, functions, hidden)
