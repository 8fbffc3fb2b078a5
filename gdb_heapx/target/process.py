"""The memory and the files of a living process, read without leaving a trace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import BinaryIO

from ..errors import MemoryFault, SwappedOutError
from .elf import Elf
from .headers import open_regular
from .mappings import DELETED, Mapping, Mappings, Memory, check_range
from .pages import IN_RAM, SWAPPED, UNTOUCHED, PageStates

_TOUCHED = re.compile(b"[^%c]+" % UNTOUCHED)  # pages in a row


class ProcessMemory:
    """Memory of a stopped process, from /proc/PID/mem; OSError if not permitted.

    A small read takes half the time of gdb's own, and lists of free chunks need many.
    """

    def __init__(self, pid: int) -> None:
        self._file = open(f"/proc/{pid}/mem", "rb", buffering=0)  # noqa: SIM115
        self._descriptor = self._file.fileno()

    def read(self, address: int, size: int) -> memoryview:
        check_range(address, size)
        try:
            data = os.pread(self._descriptor, size, address)
        except (OSError, OverflowError):  # not mapped; offsets are signed
            raise MemoryFault(address, size) from None
        if len(data) < size:
            raise MemoryFault(address + len(data), size - len(data))
        return memoryview(data)

    def fill(self, address: int, room: memoryview) -> bool:
        """Read so many bytes as there is room for; False where that failed."""
        # process_vm_readv copies less, but pins pages: since Linux 5.19 a process then gets a
        # copy of each that it shares with a forked one (mm/gup.c, gup_must_unshare).
        try:
            return os.preadv(self._descriptor, [room], address) == len(room)
        except (OSError, OverflowError):
            return False


class QuietMemory:
    """Memory of a living process, read without touching pages that nobody has touched.

    Reading such a page would map it, and show in the process's page tables. What it holds is known
    anyway: zeros, or its file's contents. Of swapped pages `swap_in` bytes are read at most, all if
    None: reading brings them back into memory.
    """

    def __init__(
        self,
        memory: Memory,
        pages: PageStates,
        pid: int,
        mappings: Iterable[Mapping],
        swap_in: int | None = None,
    ) -> None:
        self._memory = memory
        self._pages = pages
        self._pid = pid
        self._mappings = Mappings.of(mappings)
        self._swap_in = swap_in
        self._swapped_in: set[int] = set()

    def read(self, address: int, size: int) -> memoryview:
        page = self._pages.page
        check_range(address, size)
        if address % page + size <= page and self._pages.state(address) in IN_RAM:
            return self._memory.read(address, size)
        self._check_mapped(address, size)
        states = self._pages.states(address, address + size)
        if self._swap_in is not None and SWAPPED in states:
            self._count_swapped(address // page, states)
        if UNTOUCHED not in states:
            return self._memory.read(address, size)
        if self._mapping_at(address).end >= address + size and self._mapping_at(address).anonymous:
            return self._read_touched(address, size, states)
        data = bytearray(size)
        page_start, end = address - address % page, address + size
        for untouched, run in groupby(states, UNTOUCHED.__eq__):
            start = max(page_start, address)
            page_start += len(list(run)) * page
            stop = min(page_start, end)
            read = self._read_untouched if untouched else self._memory.read
            data[start - address : stop - address] = read(start, stop - start)
        return memoryview(data)

    def _read_touched(self, address: int, size: int, states: bytes) -> memoryview:
        """Return what anonymous memory holds: zeros where nobody has touched it."""
        data, page = bytearray(size), self._pages.page
        first, end = address - address % page, address + size
        for run in _TOUCHED.finditer(states):
            start = max(first + run.start() * page, address)
            stop = min(first + run.end() * page, end)
            data[start - address : stop - address] = self._memory.read(start, stop - start)
        return memoryview(data)

    def _check_mapped(self, address: int, size: int) -> None:
        """Raise MemoryFault where not all of this is mapped: nobody then asks for its pages."""
        at = address
        while at < address + size:
            at = self._mapping_at(at).end

    def _count_swapped(self, first: int, states: bytes) -> None:
        """Count the swapped pages that a read will bring back; SwappedOutError if too many."""
        pages = {first + i for i, state in enumerate(states) if state == SWAPPED}
        wanted = self._swapped_in | pages
        if len(wanted) * self._pages.page > (self._swap_in or 0):
            raise SwappedOutError(min(pages) * self._pages.page)
        self._swapped_in = wanted

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
        mapping = self._mappings.at(address)
        if mapping is None:
            raise MemoryFault(address)
        return mapping

    def _original(self, mapping: Mapping, address: int, size: int) -> memoryview | bytes:
        if not mapping.permissions.startswith("r"):
            raise MemoryFault(address, size)
        if mapping.anonymous or (mapping.usage is not None and mapping.usage.apart == "hugetlb"):
            return bytes(size)
        offset = mapping.offset + address - mapping.start
        for file in open_mapped(self._pid, mapping):
            with suppress(OSError):
                return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
        return self._memory.read(address, size)


def open_mapped(pid: int, mapping: Mapping) -> Iterator[BinaryIO]:
    """Yield the file behind a mapping, open, if it can be had: through map_files or the root.

    The name alone may lead to another file: in another mount namespace, or after an upgrade.
    """
    for path in _paths(pid, mapping):
        with suppress(OSError), open_regular(path) as file:
            if os.fstat(file.fileno()).st_ino == mapping.inode:
                yield file
                return


def _paths(pid: int, mapping: Mapping) -> tuple[str, ...]:
    """Return the ways to a mapped file: the kernel's own, then by name.

    Names are as seen from the reader's root, or from that of the other mount namespace.
    """
    name = mapping.name.removesuffix(DELETED)
    kernel = f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    return kernel, f"/proc/{pid}/root{name}", name


def open_elf(pid: int, mapping: Mapping, build_id: str | None) -> Elf | None:
    """Return the ELF file behind a mapping, by its inode or its build-id; None if it's gone.

    The inode that a mapping has isn't always that of its file: on overlayfs.
    """
    for path in _paths(pid, mapping):
        with suppress(OSError, ValueError):
            elf = Elf.open(path)
            same = os.stat(path).st_ino == mapping.inode
            if same or (build_id is not None and elf.build_id() == build_id):
                return elf
    return None
