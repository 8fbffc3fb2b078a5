"""How far memory goes on from an address."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

from .mappings import Mapping
from .space import Space

ALL_MEMORY = 1 << 42


class Extents:
    """Where memory that can be written goes on without a gap: no heap reaches further."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._mappings = space.mappings.in_order
        self._ends: dict[int, int] = {}  # of what was asked, by the numbers of mappings

    @cached_property
    def total(self) -> int:
        """Bytes of all such memory; where the mappings aren't known, of more than there can be."""
        return self._mappings.sum(lambda kind: kind.size * _is_written(kind)) or ALL_MEMORY

    def end(self, address: int, *claims: int) -> int:
        """Return where the memory that holds an address ends, `address` itself where there is none.

        Where the mappings aren't known, the last one of the claims up to which memory can be read.
        """
        if not self._space.mappings:
            word = self._space.word
            held = (c for c in claims if c > address and self._space.readable(c - word, word))
            return max(held, default=address)
        at = bisect_right(self._mappings.starts, address) - 1
        if at < 0 or not self._is_within(at, address):
            return address
        return self._end_of(at)

    def _is_within(self, at: int, address: int) -> bool:
        """Tell whether a mapping has an address, and can be written."""
        every = self._mappings
        return address < every.ends[at] and _is_written(every.kinds[every.numbers[at]])

    def _end_of(self, at: int) -> int:
        """Return where the memory ends that goes on behind a mapping."""
        passed, every = list[int](), self._mappings
        while at not in self._ends:
            passed.append(at)
            end = every.ends[at]
            if at + 1 < len(every) and every.starts[at + 1] == end and self._is_within(at + 1, end):
                at += 1
            else:
                self._ends[at] = end
        self._ends.update(dict.fromkeys(passed, self._ends[at]))
        return self._ends[at]


def _is_written(kind: Mapping) -> bool:
    return "w" in kind.permissions
