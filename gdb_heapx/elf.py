"""The few tables of an ELF file that heapx needs: symbols, segments and a core's file notes."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .target import Mapping

SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_OBJECT, STT_FUNC, STT_TLS = 1, 2, 6
PT_LOAD, PT_NOTE = 1, 4
PF_X, PF_W, PF_R = 1, 2, 4
NT_FILE = 0x46494C45


class Segment(NamedTuple):
    """One program header: what the file holds of [address, address + memory_size)."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class Elf:
    """An ELF file of either class and byte order; OSError or ValueError if it can't be read."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._data[:4] != b"\x7fELF" or len(self._data) < 52:
            raise ValueError(f"{path} is not an ELF file")
        self.word = 8 if self._data[4] == 2 else 4
        self.byteorder = "little" if self._data[5] == 1 else "big"
        self._order = "<" if self._data[5] == 1 else ">"

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, self._data, offset)
        except struct.error:
            raise ValueError("the ELF file is cut short") from None

    def segments(self) -> Iterator[Segment]:
        """Yield the program headers; ValueError where the file is cut short."""
        if self.word == 8:
            (start,), (size, count) = self._unpack("Q", 32), self._unpack("HH", 54)
        else:
            (start,), (size, count) = self._unpack("I", 28), self._unpack("HH", 42)
        for at in range(start, start + size * count, size):
            if self.word == 8:
                kind, flags, offset, address, _, filesz, memsz = self._unpack("IIQQQQQ", at)
            else:
                kind, offset, address, _, filesz, memsz, flags = self._unpack("IIIIIII", at)
            yield Segment(kind, flags, offset, address, filesz, memsz)

    def tls_symbol(self, name: str) -> int | None:
        """Return the value of a thread-local symbol of .symtab, None without."""
        return self._symbol(name, SHT_SYMTAB, STT_TLS)

    def dynamic_symbol(self, name: str) -> int | None:
        """Return the value of a variable of .dynsym, None without."""
        return self._symbol(name, SHT_DYNSYM, STT_OBJECT)

    def has_function(self, name: str) -> bool:
        """Tell whether .symtab or .dynsym defines a function."""
        tables = (SHT_SYMTAB, SHT_DYNSYM)
        return any(self._symbol(name, section, STT_FUNC) for section in tables)

    def _symbol(self, name: str, section: int, wanted: int) -> int | None:
        layout = "IIIIIIIIII" if self.word == 4 else "IIQQQQIIQQ"
        (start,) = self._unpack("Q", 40) if self.word == 8 else self._unpack("I", 32)
        size, count = self._unpack("HH", 58 if self.word == 8 else 46)
        sections = [self._unpack(layout, start + i * size) for i in range(count)]
        for _, kind, _, _, offset, length, link, *_ in sections:
            if kind == section:
                strings, size = sections[link][4:6]
                for value, info in self._named(name, offset, length, strings, size):
                    if info & 15 == wanted:
                        return value
        return None

    def _named(
        self, name: str, start: int, length: int, strings: int, size: int
    ) -> Iterator[tuple[int, int]]:
        """Yield value and info of the symbols of one table that have this name."""
        text, wanted = self._data[strings : strings + size], set()
        at = text.find(name.encode() + b"\0")
        while at >= 0:  # names may share their tails, so only the symbols tell which one it is
            wanted.add(at)
            at = text.find(name.encode() + b"\0", at + 1)
        table = self._data[start : start + length]
        if self.word == 8:
            symbols = struct.iter_unpack(self._order + "IBBHQQ", table)
            yield from ((s[4], s[1]) for s in symbols if s[0] in wanted)
        else:
            symbols = struct.iter_unpack(self._order + "IIIBBH", table)
            yield from ((s[1], s[3]) for s in symbols if s[0] in wanted)

    def core_mappings(self) -> tuple[Mapping, ...]:
        """Return a core's PT_LOAD segments as mappings, named from its NT_FILE note.

        The inode is unknown in a core; 1 stands for "has a file".
        """
        segments = list(self.segments())
        names = dict(name for s in segments if s.kind == PT_NOTE for name in self._files(s))
        mappings = []
        for segment in segments:
            if segment.kind != PT_LOAD:
                continue
            name = names.get(segment.address, "")
            bits = ((PF_R, "r"), (PF_W, "w"), (PF_X, "x"))
            permissions = "".join(c if segment.flags & bit else "-" for bit, c in bits) + "p"
            end = segment.address + segment.memory_size
            mappings.append(Mapping(segment.address, end, permissions, int(bool(name)), name))
        return tuple(mappings)

    def _files(self, note: Segment) -> Iterator[tuple[int, str]]:
        """Yield the start and name of every file mapping that NT_FILE lists."""
        at, end = note.offset, note.offset + note.file_size
        while at + 12 <= end:
            name_size, size, kind = self._unpack("III", at)
            body = at + 12 + (name_size + 3 & ~3)
            if kind == NT_FILE:
                word = "Q" if self.word == 8 else "I"
                count, _page = self._unpack(word * 2, body)
                rows = body + 2 * self.word
                starts = [self._unpack(word, rows + i * 3 * self.word)[0] for i in range(count)]
                names = self._data[rows + count * 3 * self.word : body + size].split(b"\0")
                yield from zip(starts, (name.decode(errors="replace") for name in names))
            at = body + (size + 3 & ~3)
