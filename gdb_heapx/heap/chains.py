"""The lists of a tcache, followed by chains.c in a copy of the small heap that the tcache lies in.

Links.chains is the definition: of what is listed here it finds the same chunks. So is
Places.upwards of chunks that are put in order.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from contextlib import suppress
from ctypes import c_uint64, c_void_p
from functools import cache
from typing import Any, NamedTuple

from ..errors import MemoryFault
from ..glibc.layout import Layout
from ..target.pages import RESIDENT
from ..target.space import Space
from .arenas import SMALL, Heap
from .places import Places

WORD = 8  # bytes
FIRST, LENGTH, SIZE, CHAIN = range(4)  # the words of a struct chain, and how many they are
SMALLEST = 32  # bytes of a chunk


class NearLists(NamedTuple):
    """Lists that are as their counters say: of which bin, the size of their chunks, and how many
    these are; and where all of them lie, list by list.
    """

    lists: Sequence[tuple[int, int, int]]
    chunks: array[int]


class Nearby:
    """Follows the lists of one tcache after the other."""

    def __init__(self, code: ctypes.CDLL, space: Space, layout: Layout) -> None:
        assert layout.tcache is not None
        self._follow = declared(code).heapx_chains
        self._space = space
        self._mangled = layout.mangled
        ranges = map(layout.tcache_range, range(layout.tcache["entries"].size // WORD))
        self._sizes = [size for size, most in ranges if most]
        self._chains = array("Q", bytes(CHAIN * WORD * len(self._sizes)))
        self._chains[SIZE::CHAIN] = array("Q", self._sizes)
        self._chunks = array("Q", bytes(SMALL // SMALLEST * WORD))

    def lists(self, heap: Heap, heads: Sequence[int], stored: Sequence[int]) -> NearLists:
        """Return those lists that are as their counters say, and have all their chunks where the
        heap is in memory from its beginning on.
        """
        number, data = len(self._sizes), self._copy(heap)
        self._chains[FIRST::CHAIN] = array("Q", heads[:number])
        self._chains[LENGTH::CHAIN] = array("Q", stored[:number])
        chains, chunks = self._chains.buffer_info()[0], self._chunks.buffer_info()
        words = data, len(data) // WORD, heap.address
        kept = self._follow(*words, self._mangled, chains, number, *chunks)
        found = zip(range(number), self._sizes, self._chains[LENGTH::CHAIN])
        return NearLists([each for each in found if each[-1]], self._chunks[:kept])

    def _copy(self, heap: Heap) -> bytes:
        """Return what is in memory of a small heap, as far as nobody else has it, too."""
        residency, start, end = self._space.residency, heap.address, heap.end
        if heap.size > SMALL or start % WORD:
            return b""
        with suppress(MemoryFault):
            if residency is not None:
                states = residency.states(start, end)
                resident = len(states) - len(states.lstrip(bytes([RESIDENT])))
                end = min(end, start - start % residency.page + resident * residency.page)
            return bytes_of(self._space.memory.read(start, max(end - start, 0)))
        return b""


def upwards(functions: Any, places: Places, start: int, end: int) -> array[int]:
    """Return the chunks in [start, end) in the order of their addresses, as Places.upwards does."""
    found = array("Q")
    for base, offsets in places.buckets(start, end):
        room = array("Q", bytes(WORD * len(offsets)))
        given, into = offsets.buffer_info(), room.buffer_info()[0]
        kept = functions.heapx_upwards(*given, base, start, end, into)
        if kept > len(room):
            return places.upwards(start, end)
        found += room[:kept]
    return found


@cache
def declared(code: ctypes.CDLL) -> Any:
    """Return the functions of chains.c with the types of their arguments."""
    code.heapx_chains.argtypes = [
        *(c_void_p, c_uint64, c_uint64, c_uint64),
        *(c_void_p, c_uint64, c_void_p, c_uint64),
    ]
    code.heapx_upwards.argtypes = [c_void_p, *[c_uint64] * 4, c_void_p]
    code.heapx_chains.restype = code.heapx_upwards.restype = c_uint64
    return code


def bytes_of(data: memoryview) -> bytes:
    """Return what was read as bytes; without a copy where it is that already."""
    whole = data.obj
    return whole if type(whole) is bytes and len(whole) == data.nbytes else bytes(data)
