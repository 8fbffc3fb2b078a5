"""The target's memory, to change as malloc would: what is written stays here."""

from __future__ import annotations

from collections.abc import Mapping

from ..glibc.layout import align_up
from ..heap.links import Links
from ..target.space import Space

FRESH = 1 << 64  # no target has memory there: the kernel decides where new mappings lie
KEPT = 1 << 18  # words that were read, some 100 bytes each
NOTHING: Mapping[int, int] = {}


class Source:
    """The words of a target, kept for several replays; `merged` is what one of them has made of an
    arena's fast chunks, by its address. Addresses wrap around, as malloc's do.
    """

    def __init__(self, space: Space) -> None:
        self._links, self._whole = Links(space), 1 << 8 * space.word
        self._kept: dict[int, int] = {}
        self.merged: dict[int, object] = {}

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        address %= self._whole
        found = self._kept.get(address)
        if found is None:
            found = self._links.word(address)
            if len(self._kept) < KEPT:
                self._kept[address] = found
        return found

    def chunk(self, address: int) -> tuple[int, int]:
        """Return a chunk's size word and its fd."""
        size, fd, _ = self._links.chunk(address % self._whole)
        return size, fd


class Written:
    """Words of a target as malloc would find them: read through, but for those written here.

    Nothing is written to the target. New memory is at addresses of its own, which mean nothing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._written: dict[int, int] = {}
        self._below = NOTHING  # what was written before, for other replays, too
        self._set: set[int] = set()  # words whose lowest bit is set, unread
        self._end = FRESH

    @property
    def untouched(self) -> bool:
        """Whether nothing was written yet."""
        return not (self._written or self._below or self._set)

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        found = self._written.get(address)
        if found is None:
            found = self._below.get(address)
            if found is None:
                found = self.source.word(address) if address < FRESH else 0
            if address in self._set:
                found |= 1
        return found

    def write(self, address: int, value: int) -> None:
        """Let the word at `address` be this."""
        self._written[address] = value

    def set_lowest(self, address: int) -> None:
        """Set the lowest bit of a word, which isn't read for that."""
        if address in self._written:
            self._written[address] |= 1
        else:
            self._set.add(address)

    def keep(self) -> Mapping[int, int]:
        """Return what was written, which is not changed from now on."""
        self._below, self._written = self._written, {}
        return self._below

    def lay_over(self, below: Mapping[int, int]) -> None:
        """Begin with what another replay has kept."""
        self._below = below

    def map(self, size: int, alignment: int) -> int:
        """Return where so many bytes of new memory begin: zeros."""
        start = align_up(self._end, alignment)
        self._end = start + align_up(size, alignment)
        return start


def known(address: int) -> int | None:
    """Return an address of the target's; None of memory that it doesn't have yet."""
    return address if address < FRESH else None
