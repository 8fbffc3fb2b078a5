"""What /proc tells about a living process, and reading its memory without leaving a trace."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from itertools import groupby

from .errors import MemoryFault
from .target import Mapping, Memory

TOUCHED = 1 << 62  # pagemap: bit 63 present, bit 62 swapped (Documentation/admin-guide/mm/pagemap)


def parse_maps(text: str) -> tuple[Mapping, ...]:
    """Return the mappings that /proc/PID/maps lists."""
    mappings = []
    for line in text.splitlines():
        span, permissions, offset, _device, inode, *name = line.split(None, 5)
        start, end = (int(part, 16) for part in span.split("-"))
        title = name[0] if name else ""
        mappings.append(Mapping(start, end, permissions, int(inode), title, int(offset, 16)))
    return tuple(mappings)


def read_maps(pid: int) -> tuple[Mapping, ...]:
    """Return the mappings of a living process; OSError if /proc doesn't tell."""
    with open(f"/proc/{pid}/maps", errors="surrogateescape") as maps:
        return parse_maps(maps.read())


class ProcessMemory:
    """Memory of a stopped process, from /proc/PID/mem; OSError if not permitted.

    A small read takes half the time of gdb's own, and lists of free chunks need many.
    """

    def __init__(self, pid: int) -> None:
        self._file = open(f"/proc/{pid}/mem", "rb", buffering=0)  # noqa: SIM115
        self._descriptor = self._file.fileno()

    def read(self, address: int, size: int) -> memoryview:
        try:
            data = os.pread(self._descriptor, size, address)
        except (OSError, OverflowError):
            raise MemoryFault(address, size) from None
        if len(data) < size:
            raise MemoryFault(address + len(data), size - len(data))
        return memoryview(data)


class PageMap:
    """The page states of a stopped process, from /proc/PID/pagemap; OSError if not permitted."""

    BLOCK = 4096  # entries read, and kept, at once
    CAPACITY = 256  # blocks

    def __init__(self, pid: int, page: int) -> None:
        self._page = page
        self._file = open(f"/proc/{pid}/pagemap", "rb", buffering=0)  # noqa: SIM115
        self._blocks: dict[int, array[int]] = {}

    def entries(self, address: int, size: int) -> array[int]:
        """Return the 64-bit entries of the pages that hold [address, address + size)."""
        first, last = address // self._page, (address + size - 1) // self._page
        entries = array("Q")
        while first <= last:
            number, index = divmod(first, self.BLOCK)
            part = self._block(number)[index : index + last - first + 1]
            entries += part
            first += len(part)
        return entries

    def touched(self, address: int) -> bool:
        """Tell whether the page at `address` is resident or swapped."""
        number, index = divmod(address // self._page, self.BLOCK)
        return self._block(number)[index] >= TOUCHED

    def _block(self, number: int) -> array[int]:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= self.CAPACITY:
                self._blocks.clear()
            block = array("Q")
            data = os.pread(self._file.fileno(), self.BLOCK * 8, number * self.BLOCK * 8)
            block.frombytes(data)
            block.extend([0] * (self.BLOCK - len(block)))
            self._blocks[number] = block
        return block


class QuietMemory:
    """Memory of a living process, read without touching pages that nobody has touched.

    Reading such a page would map it, and show in the process's page tables. What it holds is known
    anyway: zeros, or its file's contents.
    """

    def __init__(
        self, memory: Memory, pagemap: PageMap, pid: int, mappings: tuple[Mapping, ...], page: int
    ) -> None:
        self._memory = memory
        self._pagemap = pagemap
        self._pid = pid
        self._mappings = mappings
        self._starts = [mapping.start for mapping in mappings]
        self._page = page

    def read(self, address: int, size: int) -> memoryview:
        if address % self._page + size <= self._page and self._pagemap.touched(address):
            return self._memory.read(address, size)
        entries = self._pagemap.entries(address, size)
        if min(entries) >= TOUCHED:
            return self._memory.read(address, size)
        data = bytearray(size)
        page_start, end = address - address % self._page, address + size
        for touched, run in groupby(entries, TOUCHED.__le__):
            start = max(page_start, address)
            page_start += sum(1 for _ in run) * self._page
            stop = min(page_start, end)
            read = self._memory.read if touched else self._read_untouched
            data[start - address : stop - address] = read(start, stop - start)
        return memoryview(data)

    def _read_untouched(self, address: int, size: int) -> memoryview | bytes:
        """Return what pages hold that were never touched, or were given back to the kernel."""
        parts = []
        while size:
            mapping = self._mapping_at(address)
            length = min(size, mapping.end - address)
            parts.append(self._original(mapping, address, length))
            address, size = address + length, size - length
        return b"".join(parts)

    def _mapping_at(self, address: int) -> Mapping:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._mappings[index].end:
            raise MemoryFault(address)
        return self._mappings[index]

    def _original(self, mapping: Mapping, address: int, size: int) -> memoryview | bytes:
        if not mapping.permissions.startswith("r"):
            raise MemoryFault(address, size)
        if mapping.anonymous:
            return bytes(size)
        offset = mapping.offset + address - mapping.start
        for path in (
            f"/proc/{self._pid}/map_files/{mapping.start:x}-{mapping.end:x}",
            f"/proc/{self._pid}/root{mapping.name}",
        ):
            try:
                with open(path, "rb") as file:
                    if os.fstat(file.fileno()).st_ino == mapping.inode:
                        return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
            except OSError:
                continue
        return self._memory.read(address, size)


def thread_name(pid: int, lwp: int) -> str | None:
    """Return a thread's name as the kernel knows it, None if it is gone."""
    try:
        with open(f"/proc/{pid}/task/{lwp}/comm", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return None
