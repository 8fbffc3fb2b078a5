"""The state of every page of a living process: untouched, resident, swapped, shared, or zeros."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import BinaryIO

from ..errors import MemoryFault
from .mappings import ADDRESSES, Mapping, Mappings

# What a byte of `states` says. A zero page is mapped, but holds no memory: Rss doesn't count it. A
# shared page is resident, and another process has it mapped, too: since a fork, or as a file's.
UNTOUCHED, RESIDENT, SWAPPED, ZERO, SHARED = range(5)
IN_RAM = (RESIDENT, SHARED)
_OPEN = 5  # shared, or a zero page: told apart by the kernel, or by the mapping's Rss

# The highest byte of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst).
_PRESENT, _SWAPPED, _GUARD, _EXCLUSIVE = 0x80, 0x40, 0x04, 0x01

# include/uapi/linux/fs.h: PAGEMAP_SCAN (Linux 6.7), struct pm_scan_arg, struct page_region.
_PAGEMAP_SCAN = 0xC0606610
_PAGE_IS_PFNZERO = 1 << 5
_SCAN_ARG = struct.Struct("12Q")
_REGIONS = 512


def _class(top: int) -> int:
    if top & _PRESENT:  # the huge zero page has _FILE, too
        return RESIDENT if top & _EXCLUSIVE else _OPEN
    return SWAPPED if top & _SWAPPED and not top & _GUARD else UNTOUCHED


_CLASSES = bytes(map(_class, range(256)))
_NOT_IN_RSS = bytes(ZERO if state in (RESIDENT, _OPEN) else UNTOUCHED for state in range(256))


def missing_of(pieces: Iterable[bytes], page: int, start: int, end: int) -> tuple[int, int, int]:
    """Return what Residency.missing does of [start, end), by the states of its pages."""
    absent = swapped = shared = 0
    first = last = None
    for piece in filter(None, pieces):
        others = len(piece) - piece.count(RESIDENT)
        if others:
            common = piece.count(SHARED)
            absent, shared = absent + others - common, shared + common
            swapped += piece.count(SWAPPED)
        first, last = piece[0] if first is None else first, piece[-1]
    if not absent and not shared:
        return 0, 0, 0
    absent, swapped, shared = absent * page, swapped * page, shared * page
    for state, outside in ((first, start % page), (last, -end % page)):
        absent -= outside * (state not in IN_RAM)
        swapped -= outside * (state == SWAPPED)
        shared -= outside * (state == SHARED)
    return absent, swapped, shared


def _zero_pages(pagemap: BinaryIO, start: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges where the zero page is mapped; OSError if the kernel can't tell."""
    found: list[tuple[int, int]] = []
    regions = array("Q", bytes(24 * _REGIONS))
    address, _ = regions.buffer_info()
    while start < end:
        argument = bytearray(
            _SCAN_ARG.pack(
                *(_SCAN_ARG.size, 0, start, end, 0, address, _REGIONS, 0),
                *(0, _PAGE_IS_PFNZERO, 0, _PAGE_IS_PFNZERO),
            )
        )
        number = fcntl.ioctl(pagemap.fileno(), _PAGEMAP_SCAN, argument)
        found += zip(regions[0 : 3 * number : 3], regions[1 : 3 * number : 3])
        start = _SCAN_ARG.unpack(argument)[4] if number == _REGIONS else end
    return found


def tells_zero_pages() -> bool:
    """Tell whether the kernel tells zero pages from shared ones."""
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            _zero_pages(pagemap, 0, os.sysconf("SC_PAGESIZE"))
    except OSError:
        return False
    return True


class PageStates:
    """Page states from /proc/PID/pagemap, as they were when first asked for.

    OSError if not permitted. A mapping's Rss (smaps) tells what older kernels leave open. Where all
    is known to be `unswapped`, what looks swapped isn't. Beyond the address space, and for more
    than is mapped in all, MemoryFault.
    """

    BLOCK = 1024  # pages read, and kept, at once: one byte each; a small arena's are in one
    CAPACITY = 1 << 14  # blocks

    def __init__(
        self, pid: int, page: int, mappings: Iterable[Mapping], unswapped: bool = False
    ) -> None:
        self.page, self._unswapped = page, unswapped
        self._mappings = Mappings.of(mappings)
        self._mapped = self._mappings.sum(lambda kind: kind.size)
        self._file = open(f"/proc/{pid}/pagemap", "rb", buffering=0)  # noqa: SIM115
        self._blocks: dict[int, bytes] = {}
        self._kept: dict[bytes, bytes] = {}  # each of them once: many are all resident
        self._guesses: dict[int, int] = {}  # by the mapping's start

    def state(self, address: int) -> int:
        """Return the state of the page at `address`."""
        number, index = divmod(address // self.page, self.BLOCK)
        return self._block(number)[index]

    def states(self, start: int, end: int) -> bytes:
        """Return the states of the pages that hold [start, end), a byte each."""
        if end - start > max(self._mapped, self.BLOCK * self.page):
            raise MemoryFault(start, end - start)
        return b"".join(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the same block by block."""
        first, stop = start // self.page, -(-end // self.page)
        while first < stop:
            number, index = divmod(first, self.BLOCK)
            piece = self._block(number)[index : index + stop - first]
            yield piece
            first += len(piece)

    def missing(self, start: int, end: int) -> tuple[int, int, int]:
        """Return how many bytes of [start, end) are not resident, how many of these are swapped,
        and how many of the others are shared.
        """
        if start >= end:
            return 0, 0, 0
        first, last = start // self.page, (end - 1) // self.page
        number = first // self.BLOCK
        if last // self.BLOCK == number:  # most ranges, and most pages are resident
            states = self._blocks.get(number) or self._block(number)
            index, pages = first - number * self.BLOCK, last - first + 1
            if pages == 1 and states[index] == RESIDENT:
                return 0, 0, 0
            if states.count(RESIDENT, index, index + pages) == pages:
                return 0, 0, 0
        elif last - first >= self.BLOCK:
            return self._missing_of_mapped(start, end)
        return self._missing(start, end)

    def _missing_of_mapped(self, start: int, end: int) -> tuple[int, int, int]:
        """Return the same, and ask only for what is mapped: the rest is absent."""
        absent, swapped, shared = end - start, 0, 0
        for mapping in self._mappings.within(start, end):
            low, high = max(mapping.start, start), min(mapping.end, end)
            gone, out, common = self._missing(low, high)
            absent, swapped = absent - (high - low - gone), swapped + out
            shared += common
        return absent, swapped, shared

    def _missing(self, start: int, end: int) -> tuple[int, int, int]:
        return missing_of(self._pieces(start, end), self.page, start, end)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= self.CAPACITY:
                self._blocks.clear()
                self._kept.clear()
            block = self._read(number)
            block = self._blocks[number] = self._kept.setdefault(block, block)
        return block

    def _read(self, number: int) -> bytes:
        start = number * self.BLOCK * self.page
        if not 0 <= start < ADDRESSES:
            raise MemoryFault(start % ADDRESSES)
        states = self._raw(start, start + self.BLOCK * self.page)
        if not any(kind in states for kind in (_OPEN, SWAPPED)) and not self._apart:
            return states
        resolved = bytearray(states)
        end = start + len(states) * self.page
        for mapping in self._mappings.within(start, end):
            low, high = max(mapping.start, start), min(mapping.end, end)
            first, stop = (low - start) // self.page, (high - start) // self.page
            resolved[first:stop] = self._resolve(mapping, low, states[first:stop])
        return bytes(resolved)

    @cached_property
    def _apart(self) -> bool:
        return any(kind.usage and kind.usage.apart for kind in self._mappings.kinds)

    def _raw(self, start: int, end: int) -> bytes:
        count = (end - start) // self.page
        data = os.pread(self._file.fileno(), count * 8, start // self.page * 8)
        tops = data[7 if sys.byteorder == "little" else 0 :: 8]
        return tops.translate(_CLASSES).ljust(count, b"\0")

    def _resolve(self, mapping: Mapping, start: int, states: bytes) -> bytes:
        """Settle what the entries leave open in a part of one mapping, from `start` on."""
        usage = mapping.usage
        if usage is not None and usage.apart:  # hugetlb and devices are not in Rss
            return states.translate(_NOT_IN_RSS)
        if self._unswapped or (usage is not None and not usage.swapped):  # guards look so
            states = states.replace(bytes([SWAPPED]), bytes([UNTOUCHED]))
        if _OPEN not in states:
            return states
        if mapping.inode:
            return states.replace(bytes([_OPEN]), bytes([SHARED]))
        try:
            zero = _zero_pages(self._file, start, start + len(states) * self.page)
        except OSError:  # before Linux 6.7
            return states.replace(bytes([_OPEN]), bytes([self._guess(mapping)]))
        resolved = bytearray(states.replace(bytes([_OPEN]), bytes([SHARED])))
        for low, high in zero:
            first, stop = (low - start) // self.page, (high - start) // self.page
            resolved[first:stop] = bytes([ZERO]) * (stop - first)
        return bytes(resolved)

    def _guess(self, mapping: Mapping) -> int:
        """Tell by the mapping's Rss what its open pages are, taken together."""
        if mapping.usage is None:
            return RESIDENT
        if mapping.start in self._guesses:
            return self._guesses[mapping.start]
        states = self._raw(mapping.start, mapping.end)
        extra = mapping.usage.resident // self.page - states.count(RESIDENT)
        held = SHARED if mapping.usage.shared else RESIDENT  # before 4.2 bit 56 is never set
        guess = held if 2 * extra >= states.count(_OPEN) else ZERO
        self._guesses[mapping.start] = guess
        return guess
