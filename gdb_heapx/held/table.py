"""The regions of an index as held.h has them, for compiled code."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

from .declared import REGION_WORDS, CHeld, address_of
from .index import CELL_WORDS, Index
from .store import Store

WORD = 8  # bytes
COPY = 4  # the word of a region that has where its copy is, 0 if that isn't at hand
FIRST = 3  # the word of a region that has the rank of its first chunk


class RegionTable:
    """A struct region for each region of an index, in an array, and the struct held of all."""

    def __init__(self, index: Index, store: Store, page: int) -> None:
        number = len(index.starts)
        self._index, self._store = index, store
        self.regions = regions = array("Q", bytes(number * REGION_WORDS * WORD))
        offsets = array("Q", map(store.offset, index.starts))
        copy, pages, cells = map(address_of, (store.memory, store.pages, index.cells))
        columns = (
            *(index.starts, index.ends, index.singles, array("Q", bytes(number * WORD))),
            array("Q", [copy + offset for offset in offsets]),
            array("Q", [pages + offset // page for offset in offsets]),
            array("Q", [cells + place * CELL_WORDS * WORD for place in index.places]),
        )
        for at, column in enumerate(columns):
            regions[at::REGION_WORDS] = column
        low, high = (index.starts[0], max(index.ends)) if number else (0, 0)
        self.held = CHeld(low, high, number, page.bit_length() - 1, address_of(regions))
        self.reference: Any = ctypes.byref(self.held)

    def region(self, at: int) -> int:
        """Return where in heapx's own memory a struct region is."""
        return address_of(self.regions) + at * REGION_WORDS * WORD

    def show(self, at: int, store: Store) -> None:
        """Say that what a region has is at hand."""
        copy = address_of(store.memory) + store.offset(self._index.starts[at])
        self.regions[at * REGION_WORDS + COPY] = copy

    def hide(self, at: int) -> None:
        """Say that what a region has isn't at hand."""
        self.regions[at * REGION_WORDS + COPY] = 0

    def number(self) -> None:
        """Take over the ranks of the regions' first chunks."""
        self.regions[FIRST::REGION_WORDS] = self._index.firsts
