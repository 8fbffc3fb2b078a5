"""ELF files as other tools write them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from gdb_heapx.errors import MemoryFault
from gdb_heapx.target.mappings import Mapping

PT_LOAD, PT_NOTE, PT_PHDR = 1, 4, 6
PAGE = 1 << 16  # of any architecture


def move_headers_to_the_end(file: Path) -> None:
    """Do to a 64-bit library what patchelf and BOLT do: its program headers and notes lie in a
    segment of their own behind all others.
    """
    data = bytearray(file.read_bytes())
    order = "<" if data[5] == 1 else ">"
    row = struct.Struct(order + "IIQQQQQQ")
    (start,) = struct.unpack_from(order + "Q", data, 32)
    size, count = struct.unpack_from(order + "HH", data, 54)
    headers = [list(row.unpack_from(data, start + i * size)) for i in range(count)]
    last = max(address + length for kind, _, _, address, _, _, length, _ in headers if kind == 1)
    address = (last + PAGE - 1) // PAGE * PAGE
    data += bytes(-len(data) % PAGE)
    at, notes = len(data), b""
    begin = row.size * (count + 1)
    for header in headers:
        if header[0] == PT_NOTE:
            note = bytes(data[header[2] : header[2] + header[5]])
            data[header[2] : header[2] + header[5]] = bytes(header[5])
            header[2] = at + begin + len(notes)
            header[3] = header[4] = address + begin + len(notes)
            notes += note + bytes(-len(note) % 8)
        if header[0] == PT_PHDR:
            header[2:7] = at, address, address, begin, begin
    length = begin + len(notes)
    headers.append([PT_LOAD, 4, at, address, address, length, length, PAGE])
    headers.sort(key=lambda header: header[0] == PT_LOAD and header[3])  # ld.so wants their order
    data += b"".join(row.pack(*header) for header in headers) + notes
    struct.pack_into(order + "Q", data, 32, at)
    struct.pack_into(order + "H", data, 56, len(headers))
    file.write_bytes(data)


@dataclass
class Loaded:
    """A file's segments in memory, where ld.so would put them from `start` on; a page at a time."""

    data: bytes
    start: int
    path: str = "/lib/libx.so"
    page: int = 4096
    pages: dict[int, bytes] = field(default_factory=dict)
    mappings: list[Mapping] = field(default_factory=list)

    def __post_init__(self):
        order, page = "<" if self.data[5] == 1 else ">", self.page
        (first,) = struct.unpack_from(order + "Q", self.data, 32)
        size, count = struct.unpack_from(order + "HH", self.data, 54)
        for at in range(first, first + size * count, size):
            kind, flags, offset, address, _, length = struct.unpack_from(
                order + "IIQQQQ", self.data, at
            )
            if kind == PT_LOAD:
                self._map(flags, offset // page, address // page, address % page + length)

    def _map(self, flags, first, where, length):
        number = -(-length // self.page)
        for i in range(number):
            data = self.data[(first + i) * self.page : (first + i + 1) * self.page]
            self.pages[self.start // self.page + where + i] = data.ljust(self.page, b"\0")
        start = self.start + where * self.page
        bits = "".join(c if flags & bit else "-" for bit, c in ((4, "r"), (2, "w"), (1, "x")))
        end = start + number * self.page
        self.mappings.append(Mapping(start, end, bits + "p", 5, self.path, first * self.page))

    def read(self, address, size):
        data = b""
        while len(data) < size:
            number, offset = divmod(address + len(data), self.page)
            if number not in self.pages:
                raise MemoryFault(address, size)
            data += self.pages[number][offset : offset + size - len(data)]
        return memoryview(data)
