"""The memory that a target only reads, as the files have it that it maps."""

from __future__ import annotations

from bisect import bisect_right

from ..errors import MemoryFault
from ..target.elf import Elf
from ..target.headers import PF_W, PT_LOAD
from ..target.target import Target


class FileMemory:
    """The segments of a target's files that aren't writable: code, constants, names of types."""

    def __init__(self, target: Target) -> None:
        found = []
        for image in target.objects:
            elf, base = image.elf, image.base
            if elf is None or base is None:
                continue
            for segment in elf.segments():
                if segment.kind == PT_LOAD and not segment.flags & PF_W:
                    start = base + segment.address
                    found.append((start, start + segment.file_size, segment.offset, elf))
        self._segments: list[tuple[int, int, int, Elf]] = sorted(found, key=lambda each: each[:3])
        self._starts = [segment[0] for segment in self._segments]

    def read(self, address: int, size: int) -> memoryview:
        """Return `size` bytes at `address`; MemoryFault where no file has them."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            start, end, offset, elf = self._segments[at]
            if address + size <= end:
                data = elf.bytes_at(offset + address - start, size)
                if len(data) == size:
                    return memoryview(data)
        raise MemoryFault(address, size)
