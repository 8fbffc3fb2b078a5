"""The target's memory, to change as malloc would: what is written stays here."""

from __future__ import annotations

from ..glibc.layout import align_up
from ..heap.links import Links
from ..target.space import Space

FRESH = 1 << 64  # no target has memory there: the kernel decides where new mappings lie


class Written:
    """Words of a target as malloc would find them: read through, but for those written here.

    Nothing is written to the target. New memory is at addresses of its own, which mean nothing.
    """

    def __init__(self, space: Space) -> None:
        self._read = Links(space).word
        self._written: dict[int, int] = {}
        self._set: set[int] = set()  # words whose lowest bit is set, unread
        self._end = FRESH

    def word(self, address: int) -> int:
        """Return the word at `address`; MemoryFault if it is misaligned or can't be read."""
        found = self._written.get(address)
        if found is None:
            found = self._read(address) if address < FRESH else 0
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

    def map(self, size: int, alignment: int) -> int:
        """Return where so many bytes of new memory begin: zeros."""
        start = align_up(self._end, alignment)
        self._end = start + align_up(size, alignment)
        return start


def known(address: int) -> int | None:
    """Return an address of the target's; None of memory that it doesn't have yet."""
    return address if address < FRESH else None
