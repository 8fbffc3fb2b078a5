"""Memory of a target, copied page by page: what a page holds is there as long as heapx wants it."""

from __future__ import annotations

import mmap
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from ..errors import MemoryFault, StoppedError, SwappedOutError
from ..glibc.layout import align_down, align_up
from ..target.amounts import Amount
from ..target.mappings import merged
from ..target.pages import RESIDENT, SHARED, SWAPPED
from ..target.space import Space
from .room import Room

COPIED = 0x40  # in the state of a page (pages.py): its memory is in the store
STATE = 7  # the bits of a page's state that are the kernel's word
UNKNOWN = 0x20  # nobody knows the state: as in a core
AT_ONCE = 1 << 20  # bytes read
_TO_COPY = re.compile(b"[%c%c%c]+" % (RESIDENT, SHARED, UNKNOWN))
_AS_COPIED = bytes(state | COPIED for state in range(256))
_COPIES = bytes(range(COPIED, 2 * COPIED))
_TO_LOAD = re.compile(b"[%c%c%c%c]" % (RESIDENT, SHARED, SWAPPED, UNKNOWN))
_IN_RAM = re.compile(b"[%c%c]+" % (RESIDENT, SHARED))
_SWAPPED = re.compile(b"%c+" % SWAPPED)


class Store:
    """The pages of some spans of a target, of which those that `load` was asked for are copied.

    What isn't there is read as zeros: pages that nobody has touched hold these. `swapped` and
    `unreadable` are the bytes that could not be copied.
    """

    def __init__(
        self, space: Space, spans: Iterable[tuple[int, int]], room: Room | None = None
    ) -> None:
        self._space = space
        self.page = self._page = page = space.page
        whole = merged((align_down(start, page), align_up(end, page)) for start, end in spans)
        if room is None or room.page != page or not room.has(whole):
            room = Room(whole, page)
        self._room, self.memory, self.view = room, room.memory, room.view
        self.pages = bytearray(len(self.memory) // page)
        for start, end in whole:
            first, states = self.offset(start) // page, self._states(start, end)
            self.pages[first : first + len(states)] = states
        self.swapped = self.unreadable = 0

    def _states(self, start: int, end: int) -> bytes:
        residency = self._space.residency
        number = (end - start) // self._page
        return residency.states(start, end) if residency else bytes([UNKNOWN]) * number

    def offset(self, address: int) -> int:
        """Return where in `memory` an address is; MemoryFault outside of all spans."""
        place = self._room.offset(address)
        if place is None:
            raise MemoryFault(address)
        return place

    def read(self, address: int, size: int) -> memoryview:
        """Return `size` bytes at `address`, as they were copied; MemoryFault outside."""
        offset = self.offset(address)
        if size:
            self.offset(address + size - 1)
        return self.view[offset : offset + size]

    def load(self, start: int, end: int) -> bool:
        """Copy what of [start, end) is in memory; StoppedError where no more is read. Return True:
        nothing is still to be loaded.
        """
        if start >= end:
            return True
        page, address = self._page, align_down(start, self._page)
        offset = self.offset(address)
        first, last = offset // page, -(-(offset + end - address) // page)
        move = address - offset  # from a place in the store to an address
        for run in [*_TO_COPY.finditer(self.pages, first, last)]:
            self._copy(run.start(), run.end(), move)
        for run in [*_SWAPPED.finditer(self.pages, first, last)]:
            self._bring_back(run.start(), run.end(), move)
        return True

    def fetch(self, start: int, end: int) -> bool:
        """Copy what of [start, end) is known to be in RAM, in any thread, and ask nobody; return
        whether nothing is still to be loaded.
        """
        page, fill, numbers = self._page, self._space.fill, self._numbers(start, end)
        move = start - self.offset(start)
        for run in [*_IN_RAM.finditer(self.pages, numbers.start, numbers.stop)]:
            low, high = run.start() * page, run.end() * page
            if fill is not None and fill(low + move, self.view[low:high]):
                self._mark(run.start(), run.end())
        return not _TO_LOAD.search(self.pages, numbers.start, numbers.stop)

    def _copy(self, first: int, last: int, move: int) -> None:
        """Copy pages, by their numbers in the store."""
        page, space = self._page, self._space
        for low, high in _pieces(first * page, last * page, AT_ONCE):
            space.pace.check(low + move)
            room = self.view[low:high]
            filled = space.fill is not None and space.fill(low + move, room)
            if not filled and not self._read(low + move, room):
                for at, end in _pieces(low, high, page):
                    if not self._read(at + move, self.view[at:end]):
                        self.unreadable += end - at
        self._mark(first, last)

    def _read(self, address: int, room: memoryview) -> bool:
        try:
            room[:] = self._space.memory.read(address, len(room))
        except StoppedError:
            raise
        except MemoryFault:
            return False
        return True

    def _bring_back(self, first: int, last: int, move: int) -> None:
        """Copy pages that are in swap, as long as that is allowed."""
        page = self._page
        for number in range(first, last):
            at = number * page
            try:
                self.view[at : at + page] = self._space.memory.read(at + move, page)
            except StoppedError:
                raise
            except SwappedOutError:
                self.swapped += (last - number) * page
                return
            except MemoryFault:
                self.unreadable += page
            self._mark(number, number + 1)

    def _mark(self, first: int, last: int) -> None:
        self.pages[first:last] = self.pages[first:last].translate(_AS_COPIED)

    def _numbers(self, start: int, end: int) -> slice:
        """Return the numbers of the pages that have bytes of [start, end)."""
        first = self.offset(start)
        return slice(first // self._page, -(-(first + end - start) // self._page))

    def to_copy(self, start: int, end: int) -> int:
        """Return the bytes of the pages of [start, end) that hold something."""
        pages = self.pages[self._numbers(start, end)]
        return self._page * sum(len(run[0]) for run in _TO_COPY.finditer(pages))

    def copied(self, start: int, end: int) -> int:
        """Return the bytes of the pages of [start, end) that were copied."""
        pages = self.pages[self._numbers(start, end)]
        return self._page * (len(pages) - len(pages.translate(None, _COPIES)))

    def let_go(self, start: int, end: int) -> None:
        """Let go the copy of all pages that have bytes of [start, end); it may be loaded again."""
        numbers = self._numbers(start, end)
        first, size = numbers.start * self._page, (numbers.stop - numbers.start) * self._page
        self.memory.madvise(mmap.MADV_DONTNEED, first, size)
        self.pages[numbers] = bytes(s & ~COPIED for s in self.pages[numbers])

    def amount(self, start: int, end: int) -> Amount:
        """Return what of [start, end) is in RAM and in swap; None where nobody knows."""
        page, pages, at = self._page, self.pages, self.offset(start)
        stop, found = at + end - start, Counter[int]()
        if pages[at // page] & UNKNOWN:
            return Amount(end - start, None, None)
        while at < stop:
            behind = min(at - at % page + page, stop)
            found[pages[at // page] & STATE] += behind - at
            at = behind
        in_ram = found[RESIDENT] + found[SHARED]
        return Amount(end - start, in_ram, found[SWAPPED], found[SHARED])

    def drop(self, start: int, end: int) -> None:
        """Let go the copy of whole pages."""
        offset, page = self.offset(start), self._page
        self.memory.madvise(mmap.MADV_DONTNEED, offset, end - start)
        first, last = offset // page, (offset + end - start) // page
        self.pages[first:last] = bytes(s & ~COPIED for s in self.pages[first:last])


def _pieces(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    for at in range(start, end, size):
        yield at, min(at + size, end)
