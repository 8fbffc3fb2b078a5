"""The parts of a target's ELF files in memory, and what these have at an address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from ..errors import MemoryFault
from ..heap.holes import missing
from ..target.headers import PF_W, PF_X, PT_LOAD
from ..target.images import Image
from ..target.named import Symbol
from ..target.space import Space

LONGEST_TEXT = 4096  # bytes of a name
LARGEST_PART = 1 << 40  # bytes; a file that says more is damaged


class LoadedPart(NamedTuple):
    """A part of a file that is loaded: where, with which PF_ flags."""

    start: int
    end: int
    flags: int
    image: Image

    @property
    def code(self) -> bool:
        return bool(self.flags & PF_X)


class Parts:
    """The loaded parts of all files, by address."""

    def __init__(self, space: Space, images: Iterable[Image]) -> None:
        self._space = space
        found = {part.start: part for image in images for part in _parts(image)}
        self.all = tuple(found[start] for start in sorted(found))
        self._starts = [part.start for part in self.all]

    def at(self, address: int) -> LoadedPart | None:
        """Return the part that has an address, None without."""
        index = bisect_right(self._starts, address) - 1
        found = self.all[index] if index >= 0 else None
        return found if found and address < found.end else None

    def is_code(self, address: int) -> bool:
        part = self.at(address)
        return part is not None and part.code

    def symbol(self, address: int) -> Symbol | None:
        """Return what the file's own symbol table has at an address, None without."""
        part = self.at(address)
        if part is None or part.image.elf is None or part.image.base is None:
            return None
        return part.image.elf.symbol_at(address - part.image.base)

    def place(self, address: int) -> str:
        """Say where an address is by its file, for want of a symbol."""
        part = self.at(address)
        if part is None:
            return f"{address:#x}"
        base = part.image.base or 0
        return f"{part.image.path.rpartition('/')[2]}+{address - base:#x}"

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Return words of a file's part, () where it hasn't all of them, or nobody knows."""
        data = self.bytes_at(address, count * self._space.word)
        return tuple(self._space.as_words(memoryview(data))) if data else ()

    def text(self, address: int) -> bytes | None:
        """Return the C string that lies in a file's part, None without."""
        part = self.at(address)
        if part is None:
            return None
        data, size = b"", 64
        while b"\0" not in data:
            at, size = address + len(data), min(2 * size, part.end - address - len(data))
            more = self.bytes_at(at, size) if size > 0 and len(data) < LONGEST_TEXT else b""
            if not more:
                return None
            data += more
        return data.partition(b"\0")[0]

    def bytes_at(self, address: int, size: int) -> bytes:
        """Return bytes of a file's part; b"" where it hasn't all, or nobody knows.

        What nobody has written is as in the file, so that no page is brought into memory, and a
        core needn't have it.
        """
        part = self.at(address)
        if part is None or address + size > part.end:
            return b""
        space = self._space
        if part.flags & PF_W:
            lacking, swapped, _ = missing(space.residency, address, address + size)
            if swapped:
                return b""
            with suppress(MemoryFault):
                if not lacking:
                    return bytes(space.memory.read(address, size))
        found = _from_file(part, address, size)
        if len(found) == size:
            return found
        with suppress(MemoryFault):
            if not missing(space.residency, address, address + size)[0]:
                return bytes(space.memory.read(address, size))
        return b""


def _parts(image: Image) -> Iterable[LoadedPart]:
    elf, base = image.file or image.elf, image.base
    if elf is None or base is None:
        return
    for s in elf.segments():
        if s.kind == PT_LOAD and 0 < s.memory_size < LARGEST_PART:
            yield LoadedPart(base + s.address, base + s.address + s.memory_size, s.flags, image)


def _from_file(part: LoadedPart, address: int, size: int) -> bytes:
    file, base = part.image.file, part.image.base or 0
    for s in file.segments() if file else ():
        at = address - base - s.address
        if s.kind == PT_LOAD and at >= 0 and at + size <= s.file_size:
            return bytes(file.bytes_at(s.offset + at, size)) if file else b""
    return b""
