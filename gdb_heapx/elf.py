"""The few tables of an ELF file that heapx needs: symbols, segments and notes."""

from __future__ import annotations

import mmap
import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Union

from .errors import MemoryFault
from .space import Mapping

SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 1, 2, 6, 10
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PF_X, PF_W, PF_R = 1, 2, 4
DT_STRTAB, DT_SYMTAB, DT_STRSZ = 5, 6, 10
NT_GNU_BUILD_ID, NT_AUXV, NT_FILE = 3, 6, 0x46494C45
AT_PHDR, AT_EXECFN = 3, 31

Data = Union[bytes, mmap.mmap]


class Segment(NamedTuple):
    """One program header: what the file holds of [address, address + memory_size)."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class _Table(NamedTuple):
    """A symbol table and its strings, as offsets in the file."""

    start: int
    size: int
    strings: int
    strings_size: int


class Elf:
    """The bytes of an ELF file of either class and byte order; ValueError if they are none.

    `base` is where it was loaded, if the bytes were read from memory: ld.so adds it to pointers.
    """

    def __init__(self, data: Data, base: int = 0) -> None:
        self._data = data
        self._base = base
        if data[:4] != b"\x7fELF" or len(data) < 52:
            raise ValueError("not an ELF file")
        self.word = 8 if data[4] == 2 else 4
        self.byteorder = "little" if data[5] == 1 else "big"
        self._order = "<" if data[5] == 1 else ">"

    @classmethod
    def open(cls, path: str) -> Elf:
        """Return the ELF file at `path`; OSError or ValueError if it can't be read."""
        with open(path, "rb") as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return what the file holds there, less if it is cut short."""
        return self._data[offset : offset + size]

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, self._data, offset)
        except struct.error:
            raise ValueError("the ELF file is cut short") from None

    def _words(self, offset: int, count: int) -> tuple[int, ...]:
        return self._unpack(f"{count}{'Q' if self.word == 8 else 'I'}", offset)

    def segments(self) -> Iterator[Segment]:
        """Yield the program headers; ValueError where the file is cut short."""
        (start,) = self._words(32 if self.word == 8 else 28, 1)
        size, count = self._unpack("HH", 54 if self.word == 8 else 42)
        for at in range(start, start + size * count, size):
            if self.word == 8:
                kind, flags, offset, address, _, filesz, memsz = self._unpack("IIQQQQQ", at)
            else:
                kind, offset, address, _, filesz, memsz, flags = self._unpack("IIIIIII", at)
            yield Segment(kind, flags, offset, address, filesz, memsz)

    def segment(self, kind: int) -> Segment | None:
        """Return the first program header of a kind, None without."""
        return next((s for s in self.segments() if s.kind == kind), None)

    # Symbols: .symtab where the file has one, then .dynsym.

    def variable(self, name: str) -> int | None:
        """Return a variable's value, None without."""
        return self._symbol(name, (STT_OBJECT,), self._tables())

    def exported(self, name: str) -> int | None:
        """Return the value of a variable of .dynsym, None without."""
        return self._symbol(name, (STT_OBJECT,), [self._dynamic_table()])

    def function(self, name: str) -> int | None:
        """Return a function's value, None without."""
        return self._symbol(name, (STT_FUNC, STT_GNU_IFUNC), self._tables())

    def thread_local(self, name: str) -> int | None:
        """Return a thread-local variable's offset in its block, None without."""
        return self._symbol(name, (STT_TLS,), self._tables())

    def _tables(self) -> Iterator[_Table | None]:
        yield self._section(SHT_SYMTAB)
        yield self._dynamic_table()

    def _symbol(
        self, name: str, kinds: tuple[int, ...], tables: Iterable[_Table | None]
    ) -> int | None:
        for table in tables:
            for value, info, section in self._named(name, table) if table else ():
                if info & 15 in kinds and section:  # 0: defined elsewhere
                    return value
        return None

    def _named(self, name: str, table: _Table) -> Iterator[tuple[int, int, int]]:
        """Yield value, info and section of the symbols that have this name."""
        text = self._data[table.strings : table.strings + table.strings_size]
        wanted, searched = set(), name.encode() + b"\0"
        at = text.find(searched)
        while at >= 0:  # names may share their tails, so only the symbols tell which one it is
            wanted.add(at)
            at = text.find(searched, at + 1)
        if not wanted:
            return
        rows = self._data[table.start : table.start + table.size]
        if self.word == 8:
            symbols = struct.iter_unpack(self._order + "IBBHQQ", rows[: len(rows) // 24 * 24])
            yield from ((s[4], s[1], s[3]) for s in symbols if s[0] in wanted)
        else:
            symbols = struct.iter_unpack(self._order + "IIIBBH", rows[: len(rows) // 16 * 16])
            yield from ((s[1], s[3], s[5]) for s in symbols if s[0] in wanted)

    def _section(self, wanted: int) -> _Table | None:
        layout = "IIIIIIIIII" if self.word == 4 else "IIQQQQIIQQ"
        (start,) = self._words(40 if self.word == 8 else 32, 1)
        size, count = self._unpack("HH", 58 if self.word == 8 else 46)
        if not start or start + size * count > len(self._data):
            return None  # stripped of its sections, or as loaded in memory
        sections = [self._unpack(layout, start + i * size) for i in range(count)]
        for _, kind, _, _, offset, length, link, *_ in sections:
            if kind == wanted and link < count:
                strings, strings_size = sections[link][4:6]
                return _Table(offset, length, strings, strings_size)
        return None

    def _dynamic_table(self) -> _Table | None:
        """Return .dynsym; without sections as ld.so finds it, by PT_DYNAMIC."""
        by_section = self._section(SHT_DYNSYM)
        dynamic = self.segment(PT_DYNAMIC)
        if by_section or dynamic is None:
            return by_section
        words = self._words(dynamic.offset, dynamic.file_size // self.word)
        tags = dict(zip(words[::2], words[1::2]))
        start, strings = (self._offset(tags.get(tag)) for tag in (DT_SYMTAB, DT_STRTAB))
        if start is None or strings is None or strings < start:
            return None
        # The number of symbols is written nowhere; linkers put their names right behind them.
        return _Table(start, strings - start, strings, tags.get(DT_STRSZ, 0))

    def _offset(self, address: int | None) -> int | None:
        """Return where in the file an address lies; it may be relocated already."""
        if address is None:
            return None
        if self._base and address >= self._base:
            address -= self._base
        for s in self.segments():
            if s.kind == PT_LOAD and s.address <= address < s.address + s.file_size:
                return address - s.address + s.offset
        return None

    # Notes.

    def _note(self, owner: bytes, wanted: int) -> tuple[int, int] | None:
        """Return offset and size of a note's contents, None without."""
        for segment in self.segments():
            at, end = segment.offset, segment.offset + segment.file_size
            while segment.kind == PT_NOTE and at + 12 <= end:
                name_size, size, kind = self._unpack("III", at)
                body = at + 12 + (name_size + 3 & ~3)
                if kind == wanted and self._data[at + 12 : body].startswith(owner):
                    return body, size
                at = body + (size + 3 & ~3)
        return None

    def build_id(self) -> str | None:
        """Return the build-id in hexadecimal, None without."""
        note = self._note(b"GNU\0", NT_GNU_BUILD_ID)
        return self._data[note[0] : sum(note)].hex() if note else None

    def search(self, pattern: bytes) -> re.Match[bytes] | None:
        """Return the first match of a regular expression in the file's bytes."""
        return re.search(pattern, self._data)

    # Cores.

    def core_mappings(self) -> tuple[Mapping, ...]:
        """Return a core's PT_LOAD segments as mappings, named from its NT_FILE note.

        The inode is unknown in a core; 1 stands for "has a file".
        """
        files = {start: (offset, name) for start, offset, name in self._files()}
        mappings = []
        for segment in self.segments():
            if segment.kind != PT_LOAD:
                continue
            offset, name = files.get(segment.address, (0, ""))
            bits = ((PF_R, "r"), (PF_W, "w"), (PF_X, "x"))
            permissions = "".join(c if segment.flags & bit else "-" for bit, c in bits) + "p"
            end = segment.address + segment.memory_size
            inode = int(bool(name))
            mappings.append(Mapping(segment.address, end, permissions, inode, name, offset))
        return tuple(mappings)

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield start, offset in bytes and name of every file mapping that NT_FILE lists."""
        note = self._note(b"CORE\0", NT_FILE)
        if note is None:
            return
        body, size = note
        count, unit = self._words(body, 2)
        rows = body + 2 * self.word
        names = self._data[rows + count * 3 * self.word : body + size].split(b"\0")
        for i, name in zip(range(count), names):
            start, _end, offset = self._words(rows + i * 3 * self.word, 3)
            yield start, offset * unit, name.decode(errors="surrogateescape")

    def auxiliary(self) -> dict[int, int]:
        """Return a core's auxiliary vector (NT_AUXV) by AT_ number, {} without."""
        note = self._note(b"CORE\0", NT_AUXV)
        if note is None:
            return {}
        words = self._words(note[0], note[1] // self.word)
        return dict(zip(words[::2], words[1::2]))


class CoreMemory:
    """What a core holds of the process's memory; pages that weren't dumped can't be read."""

    def __init__(self, core: Elf) -> None:
        self._core = core
        loads = sorted(
            (s for s in core.segments() if s.kind == PT_LOAD), key=lambda segment: segment.address
        )
        self._segments = loads
        self._starts = [segment.address for segment in loads]

    def read(self, address: int, size: int) -> memoryview:
        parts = []
        at, end = address, address + size
        while at < end:
            index = bisect_right(self._starts, at) - 1
            segment = self._segments[index] if index >= 0 else None
            held = segment.address + segment.file_size - at if segment else 0
            if segment is None or held <= 0:
                raise MemoryFault(at, end - at)
            length = min(held, end - at)
            part = self._core.bytes_at(segment.offset + at - segment.address, length)
            if len(part) < length:
                raise MemoryFault(at + len(part), end - at)
            parts.append(part)
            at += length
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


def as_loaded(read: Callable[[int, int], memoryview], start: int) -> Elf:
    """Return the ELF file that is mapped at `start`, as far as memory holds it.

    Code and data aren't read: what is left are headers, notes, .dynsym and constants. MemoryFault
    or ValueError where there is none.
    """
    header = Elf(bytes(read(start, 4096)))
    loads = [s for s in header.segments() if s.kind == PT_LOAD]
    base = start - loads[0].address + loads[0].offset if loads else start
    data = bytearray(max((s.offset + s.file_size for s in loads), default=0))
    data[:4096] = bytes(read(start, 4096))
    for segment in header.segments():
        constant = segment.kind == PT_LOAD and not segment.flags & (PF_X | PF_W)
        if constant or segment.kind == PT_DYNAMIC:
            part = read(base + segment.address, segment.file_size)
            data[segment.offset : segment.offset + segment.file_size] = part
    return Elf(bytes(data), base)
