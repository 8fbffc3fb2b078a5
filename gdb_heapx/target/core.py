"""The file of a core: its mappings, its memory, its auxiliary vector."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress

from ..errors import MemoryFault
from .elf import Elf
from .headers import LARGEST_TABLE, PF_R, PF_W, PF_X, PT_LOAD, Segment
from .mappings import Fill, Mapping, check_range

NT_AUXV, NT_FILE = 6, 0x46494C45
LARGEST_NOTE = 16 << 20  # the kernel writes 4 MiB (core_file_note_size_limit), or as much as that
NOT_HELD = "-w-p"  # permissions of what could be written and isn't in a core
HELD_UNIT = 4096  # bytes: the smallest page


class Core(Elf):
    """An ELF file that is a core."""

    def mappings(self) -> tuple[Mapping, ...]:
        """Return the PT_LOAD segments as mappings, named from its NT_FILE note.

        The inode is unknown in a core; 1 stands for "has a file". What has none, and isn't in the
        core, is a mapping of its own that can't be read: it may be larger than any file. Nobody has
        touched it, or it was left out (madvise(2), MADV_DONTDUMP; core(5), coredump_filter).
        """
        files = {start: (offset, name) for start, offset, name in self._files()}
        mappings = []
        for segment in self.segments():
            end = segment.address + segment.memory_size
            if segment.kind != PT_LOAD or not segment.address < end <= 1 << 8 * self.word:
                continue
            offset, name = files.get(segment.address, (0, ""))
            bits = ((PF_R, "r"), (PF_W, "w"), (PF_X, "x"))
            permissions = "".join(c if segment.flags & bit else "-" for bit, c in bits) + "p"
            held = segment.address + self._held(segment)
            left_out = end - held if name else 0
            if segment.address < held + left_out:
                row = (permissions, int(bool(name)), name, offset, None, left_out)
                mappings.append(Mapping(segment.address, held + left_out, *row))
            if held + left_out < end:
                untouched = NOT_HELD if segment.flags & PF_W else "---p"
                mappings.append(Mapping(held, end, untouched, 0, ""))
        return tuple(mappings)

    @property
    def by_debugger(self) -> bool:
        """Whether a debugger wrote it: gcore's has sections, the kernel's none but an empty one for
        a number of segments that its header has no room for (PN_XNUM).
        """
        return len(self.sections) > 1

    def _held(self, segment: Segment) -> int:
        """Return how many bytes of a segment the core has: all, or whole pages."""
        held = min(segment.file_size, segment.memory_size, max(self.size - segment.offset, 0))
        return held if held == segment.memory_size else held & -HELD_UNIT

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield start, offset in bytes and name of every file mapping that NT_FILE lists."""
        note = self.note(b"CORE\0", NT_FILE, LARGEST_NOTE) or b""
        words = len(note) // self.word
        numbers = struct.unpack_from(f"{self.order}{words}{self.pointer}", note)
        if words < 2:
            return
        count, unit = min(numbers[0], (words - 2) // 3), numbers[1]
        names = note[(2 + 3 * numbers[0]) * self.word :].split(b"\0", count)
        for at, name in zip(range(2, 2 + 3 * count, 3), names):
            yield numbers[at], numbers[at + 2] * unit, os.fsdecode(name)

    def auxiliary(self) -> dict[int, int]:
        """Return the auxiliary vector (NT_AUXV) by AT_ number, {} without."""
        note = self.note(b"CORE\0", NT_AUXV, LARGEST_TABLE) or b""
        words = struct.unpack_from(f"{self.order}{len(note) // self.word}{self.pointer}", note)
        return dict(zip(words[::2], words[1::2]))


class CoreMemory:
    """What a core holds of the process's memory; pages that weren't dumped can't be read."""

    def __init__(self, core: Core) -> None:
        self._core = core
        loads = sorted(
            (s for s in core.segments() if s.kind == PT_LOAD), key=lambda segment: segment.address
        )
        self._segments = loads
        self._starts = [segment.address for segment in loads]

    def read(self, address: int, size: int) -> memoryview:
        check_range(address, size)
        parts = []
        at, end = address, address + size
        while at < end:
            offset, held = self._place(at)
            if held <= 0:
                raise MemoryFault(at, end - at)
            length = min(held, end - at)
            part = self._core.bytes_at(offset, length)
            if len(part) < length:
                raise MemoryFault(at + len(part), end - at)
            parts.append(part)
            at += length
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _place(self, address: int) -> tuple[int, int]:
        """Return where the core has an address, and how many bytes from there on: 0 or less where
        it doesn't.
        """
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return 0, 0
        segment = self._segments[index]
        return (
            segment.offset + address - segment.address,
            segment.address + segment.file_size - address,
        )

    def fill_from(self, path: str) -> Fill:
        """Return what reads of the core's file in any thread what lies in one segment; OSError."""
        file = open(path, "rb", buffering=0)  # noqa: SIM115

        def fill(address: int, room: memoryview) -> bool:
            offset, held = self._place(address)
            with suppress(OSError):
                return held >= len(room) == os.preadv(file.fileno(), [room], offset)
            return False

        return fill
