"""What of roots may be a container: kept while the target stands still, to be looked at later.

A spot is a word that leads to where the memory of a chunk in use begins, where one behind it says
how much that is, with the words around. What of the root lies elsewhere counts as zeros. held.c
finds the same.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from ..records import dataclass
from ..target.headers import PF_X
from ..target.space import Space, Words
from .declared import address_of
from .index import HeldChunk, Index
from .root import RootKind
from .table import WORD, RegionTable

if TYPE_CHECKING:
    from ..target.target import Target

BEFORE, BEHIND = 3, 24  # words of a spot: those that tell containers from streams
AROUND = BEFORE + BEHIND
LARGEST = 1 << 40  # bytes
ROUNDED = 32  # bytes that malloc may give more than was asked for
AT_ONCE = 1 << 10  # spots that are found at once
BLOCK_BITS, BLOCKS = 21, 1 << 12  # of addresses with code: a byte for each, modulo all
ENOUGH = 1 << 15  # words that are looked at together: a call costs as much as a page
APART = bytes((BEHIND - 1) * WORD)  # what lies around the words of a root
MOST = 1 << 19  # of one kind of root: as many containers nobody has there
# Files' variables are copied whole, and what lies below a stack pointer is over.
ELSEWHERE = (RootKind.GLOBAL, RootKind.RED_ZONE)

Spots = dict[RootKind, "array[int]"]  # AROUND words for each


def fills(index: Index, page: int, chunk: HeldChunk, size: int) -> bool:
    """Tell whether so many bytes are what a chunk was asked for: as many as there are, but for what
    malloc rounds up, of a chunk with a mapping of its own to whole pages.
    """
    room = (page if index.singles[chunk.region] else 0) + ROUNDED
    return size <= chunk.usable < size + room


def code_blocks(target: Target) -> array[int]:
    """Return by block of addresses whether files have code there: few others count as such."""
    found = array("B", bytes(BLOCKS))
    for image in target.objects:
        for start, end in image.spans(PF_X):
            first, last = start >> BLOCK_BITS, end - 1 >> BLOCK_BITS
            for block in range(first, min(last, first + BLOCKS) + 1):
                found[block % BLOCKS] = 1
    return found


def may_call(blocks: Sequence[int], words: Sequence[int]) -> bool:
    """Tell whether words may be a std::function (std_function.h): memory of two words for what it
    calls, a function that copies and destroys that, and one that calls it.
    """
    manager, invoker = (word >> BLOCK_BITS for word in words[2:4])
    return bool(blocks[manager % BLOCKS] and blocks[invoker % BLOCKS])


def measures(index: Index, space: Space, blocks: Sequence[int], words: Sequence[int]) -> bool:
    """Tell whether words begin like a container's: a string's, a vector's, or one with a table, of
    which the third word leads on; or like a std::function.
    """
    first, second, third = words[:3]
    ordered, calls = first <= second <= third, may_call(blocks, words)
    if first % index.grains.size or not (min(second, third) < LARGEST or ordered or calls):
        return False
    chunk = index.begin_at(first)
    if chunk is None:
        return False
    if calls:
        return True
    low, high = index.starts[0], max(index.ends)
    sizes = [third + 1] if second <= third < LARGEST else []
    sizes += [third - first] if ordered else []
    if second < LARGEST and (not third or low <= third < high):
        sizes.append(second * space.word)
    return any(fills(index, space.page, chunk, size) for size in sizes)


@dataclass
class SpotSeeker:
    """Looks for spots in the memory of roots, while that is read from low to high; `blocks` are
    those with code.
    """

    space: Space
    index: Index
    table: RegionTable | None
    functions: Any
    blocks: array[int]
    found: Spots = field(default_factory=dict)
    _kind: RootKind = field(default=RootKind.GLOBAL, init=False)
    _behind: int = field(default=-1, init=False)
    _root: int = field(default=0, init=False)  # where that begins which is read
    _left: array[int] = field(default_factory=lambda: array("Q"), init=False)

    def add(self, kind: RootKind, start: int, address: int, words: Words) -> None:
        """Look at words of a root that begins at `start`."""
        if kind in ELSEWHERE:
            return
        if kind is not self._kind:
            self.close()
            self._kind = kind
        if (start, address) != (self._root, self._behind):
            self._root = start
            self._left.frombytes(APART)
        if self.table is None:
            self._left.extend(words)
        else:
            self._left.frombytes(memoryview(words).cast("B"))
        self._behind = address + len(words) * self.space.word
        if len(self._left) >= ENOUGH:
            self._look()

    def close(self) -> Spots:
        """Look at what is left, behind which nothing follows; return all spots."""
        if self._left:
            self._left.frombytes(APART)
            self._look()
            self._left, self._behind = array("Q"), -1
        return self.found

    def _look(self) -> None:
        """Look at all words that have BEFORE words before them and BEHIND from them on."""
        words, last = self._left, len(self._left) - BEHIND
        if last < BEFORE:
            return
        found = self.found.setdefault(self._kind, array("Q"))
        if len(found) < MOST * AROUND:
            (self._find if self.table is None else self._find_compiled)(words, last, found)
        self._left = words[last + 1 - BEFORE :]

    def _find(self, words: array[int], last: int, found: array[int]) -> None:
        index, given = self.index, (self.index, self.space, self.blocks)
        low, high = (index.starts[0], max(index.ends)) if index.starts else (0, 0)
        for at in range(BEFORE, last + 1):
            if low <= words[at] < high and measures(*given, words[at : at + 4]):
                found.extend(words[at - BEFORE : at + BEHIND])

    def _find_compiled(self, words: array[int], last: int, found: array[int]) -> None:
        assert self.table is not None
        spots = array("Q", bytes(AT_ONCE * WORD))
        at, room = BEFORE, ctypes.c_uint64()
        while at <= last:
            room.value = AT_ONCE
            given = (self.table.reference, address_of(self.blocks), address_of(words))
            at = self.functions.heapx_spots(*given, at, last + 1, address_of(spots), room)
            for place in spots[: AT_ONCE - room.value]:
                found.extend(words[place - BEFORE : place + BEHIND])
