"""Where the functions of an ELF file begin, by what unwinds them: files without symbols have it."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

from .elf import Elf

PT_GNU_EH_FRAME = 0x6474E550
# Linux Standard Base, 10.6.2: .eh_frame_hdr has a sorted table of pairs of numbers, counted from
# where it begins itself. Linkers write these encodings, and no others.
VERSION, ENCODINGS = 1, bytes((0x03, 0x3B))  # udata4; datarel, sdata4
HEAD = 12  # bytes before the table


class Starts:
    """The addresses in a file at which functions begin; none where the file doesn't tell."""

    def __init__(self, elf: Elf) -> None:
        self._starts, self._end = array("q"), 0
        header = elf.segment(PT_GNU_EH_FRAME)
        if header is None or elf.order != "<":
            return
        data = bytes(elf.bytes_at(header.offset, header.file_size))
        if len(data) < HEAD or data[0] != VERSION or data[2:4] != ENCODINGS:
            return
        number = min(struct.unpack_from("<I", data, HEAD - 4)[0], (len(data) - HEAD) // 8)
        table = struct.unpack_from(f"<{2 * number}i", data, HEAD)
        self._starts.extend(sorted({header.address + start for start in table[::2]}))
        ends = ((s.address, s.address + s.memory_size) for s in elf.segments())
        last = self._starts[-1] if self._starts else 0
        self._end = max((end for start, end in ends if start <= last < end), default=0)

    def span(self, address: int) -> tuple[int, int] | None:
        """Return where the function begins that has an address, and where the next one does, or the
        file's code ends; None without.
        """
        at = bisect_right(self._starts, address)
        if not at or address >= self._end:
            return None
        return self._starts[at - 1], self._starts[at] if at < len(self._starts) else self._end
