"""How far memory goes on from an address."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

from .mappings import merged
from .space import Space

ALL_MEMORY = 1 << 42


class Extents:
    """Where memory that can be written goes on without a gap: no heap reaches further."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._spans = merged((m.start, m.end) for m in space.mappings if "w" in m.permissions)

    @cached_property
    def total(self) -> int:
        """Bytes of all such memory; where the mappings aren't known, of more than there can be."""
        return sum(end - start for start, end in self._spans) or ALL_MEMORY

    def end(self, address: int, *claims: int) -> int:
        """Return where the memory that holds an address ends, `address` itself where there is none.

        Where the mappings aren't known, the last one of the claims up to which memory can be read.
        """
        if not self._space.mappings:
            word = self._space.word
            held = (c for c in claims if c > address and self._space.readable(c - word, word))
            return max(held, default=address)
        at = bisect_right(self._spans, (address, 1 << 65)) - 1
        return max(self._spans[at][1], address) if at >= 0 else address
