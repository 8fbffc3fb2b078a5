"""The heaps of a target that stands still, as recognisers ask about them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..errors import MemoryFault
from ..heap.holes import missing
from ..recognise.kinds import Key, LedTo
from ..target.space import Space
from .libc import Inventory


class StandingHeaps:
    """The heaps of a target that stands still, as recognisers ask about them: pages that aren't in
    memory are not read.
    """

    bodies = LedTo()  # nobody looks for containers

    def __init__(self, inventories: Sequence[Inventory], space: Space) -> None:
        self._inventories, self._space = inventories, space

    def has(self, address: int) -> bool:
        return any(inventory.arena_at(address) for inventory in self._inventories)

    def word_at(self, address: int) -> int | None:
        space, end = self._space, address + self._space.word
        if space.mapping_at(address) is None or missing(space.residency, address, end)[0]:
            return None
        with suppress(MemoryFault):
            return space.read_word(address)
        return None

    def body(self, address: int) -> Key | None:
        return None
