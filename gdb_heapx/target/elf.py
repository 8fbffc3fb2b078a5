"""The few tables of an ELF file that heapx needs: symbols, segments and notes.

What a file says of itself may be wrong: of what isn't there nothing is told, and nothing is read or
kept that is larger than such a table can be.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import BinaryIO, NamedTuple, Union

from ..errors import MemoryFault
from ..glibc.architecture import Architecture
from .facts import ByteOrder
from .mapped import Mapped
from .mappings import Mapping, check_range

SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC = 1, 2, 6, 10
ET_EXEC = 2
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PF_X, PF_W, PF_R = 1, 2, 4
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SONAME = 4, 5, 6, 10, 14
DT_GNU_HASH = 0x6FFFFEF5
PN_XNUM = 0xFFFF  # more program headers than 16 bits count: section 0 tells how many
NT_GNU_BUILD_ID, NT_AUXV, NT_FILE = 3, 6, 0x46494C45
AT_PHDR, AT_EXECFN = 3, 31

MAGIC = b"\x7fELF"

MOST_SEGMENTS = MOST_NOTES = 1 << 20
LARGEST_TABLE = 1 << 20  # bytes of PT_DYNAMIC, and of the buckets of a hash table
LARGEST_NOTE = 16 << 20  # the kernel writes 4 MiB (core_file_note_size_limit), or as much as that
LARGEST_BUILD_ID = 64
HELD_UNIT = 4096  # bytes: the smallest page
PIECE, OVERLAP = 16 << 20, 4096  # bytes that are searched at once, and that a match may have

Data = Union[bytes, mmap.mmap, Mapped]


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


def open_regular(path: str) -> BinaryIO:
    """Return the file at `path`, open; OSError where it is none: a pipe would wait for its writer,
    and to open a device can do something.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is no regular file")
    return open(path, "rb")


class Elf:
    """The bytes of an ELF file of either class and byte order; ValueError if they are none.

    `base` is where it was loaded, if the bytes are those in memory: ld.so adds it to pointers.
    """

    def __init__(self, data: Data, base: int = 0) -> None:
        self._data = data
        self._base = base
        head = data[:52]
        if head[:4] != MAGIC or len(head) < 52:
            raise ValueError("not an ELF file")
        self.word = 8 if head[4] == 2 else 4
        self.byteorder: ByteOrder = "little" if head[5] == 1 else "big"
        self._order = "<" if head[5] == 1 else ">"
        self.architecture = Architecture.of(int.from_bytes(head[18:20], self.byteorder), self.word)

    @classmethod
    def open(cls, path: str) -> Elf:
        """Return the ELF file at `path`; OSError or ValueError if it can't be read."""
        with open_regular(path) as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return what the file holds there, less if it is cut short."""
        return self._data[offset : offset + size]

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...] | None:
        """Return the fields that lie at an offset, None where the file is cut short."""
        layout = self._order + layout
        data = self.bytes_at(offset, struct.calcsize(layout))
        return struct.unpack(layout, data) if len(data) == struct.calcsize(layout) else None

    def _words(self, offset: int, count: int) -> tuple[int, ...]:
        """Return so many words, fewer if the file is cut short."""
        data = self.bytes_at(offset, min(count * self.word, LARGEST_TABLE))
        whole = len(data) // self.word
        return struct.unpack(f"{self._order}{whole}{self._pointer}", data[: whole * self.word])

    @property
    def _pointer(self) -> str:
        return "Q" if self.word == 8 else "I"

    def segments(self) -> tuple[Segment, ...]:
        """Return the program headers; none where they aren't all there."""
        return self._segments

    @cached_property
    def _segments(self) -> tuple[Segment, ...]:
        where = self._unpack(self._pointer, 32 if self.word == 8 else 28)
        numbers = self._unpack("HH", 54 if self.word == 8 else 42)
        if not where or not numbers:
            return ()
        (start,), (step, count) = where, numbers
        row = struct.Struct(self._order + ("IIQQQQQQ" if self.word == 8 else "IIIIIIII"))
        count = self._many_segments() if count == PN_XNUM else count
        if step < row.size or count > MOST_SEGMENTS:
            return ()
        data = self.bytes_at(start, step * count)
        if len(data) < step * count:
            return ()
        rows = (row.unpack_from(data, at) for at in range(0, len(data), step))
        if self.word == 8:
            return tuple(Segment(*fields[:4], *fields[5:7]) for fields in rows)
        return tuple(Segment(f[0], f[6], f[1], f[2], f[4], f[5]) for f in rows)

    def _many_segments(self) -> int:
        """Return sh_info of section 0, 0 without."""
        where = self._unpack(self._pointer, 40 if self.word == 8 else 32)
        info = self._unpack("I", where[0] + (44 if self.word == 8 else 28)) if where else None
        return info[0] if info else 0

    @property
    def relocatable(self) -> bool:
        """Whether it may be loaded anywhere: a library, or a position-independent program."""
        return self._unpack("H", 16) != (ET_EXEC,)

    def segment(self, kind: int) -> Segment | None:
        """Return the first program header of a kind, None without."""
        return next((s for s in self.segments() if s.kind == kind), None)

    @property
    def end(self) -> int:
        """Where the file ends, by its program headers and where its section headers lie."""
        where = self._unpack(self._pointer, 40 if self.word == 8 else 32) or (0,)
        size, count = self._unpack("HH", 58 if self.word == 8 else 46) or (0, 0)
        ends = (s.offset + s.file_size for s in self.segments() if s.file_size)
        return max(where[0] + size * count if where[0] else 0, *ends, 0)

    @property
    def size(self) -> int:
        """How many bytes the file has; 0 where it is only mapped."""
        return 0 if isinstance(self._data, Mapped) else len(self._data)

    @property
    def has_constants(self) -> bool:
        """Whether what the program can't write is there, to its end; cores often haven't it."""
        constant = [s for s in self.segments() if s.kind == PT_LOAD and not s.flags & PF_W]
        asked = [s for s in constant if not s.flags & PF_X] or constant
        asked += (s for s in self.segments() if s.kind == PT_DYNAMIC)
        return all(self.bytes_at(s.offset + s.file_size - 1, 1) for s in asked if s.file_size)

    # Symbols: .symtab where the file has one, then .dynsym.

    def variable(self, name: str) -> int | None:
        """Return a variable's value, None without."""
        return self._symbol(name, (STT_OBJECT,), self._tables)

    def exported(self, name: str) -> int | None:
        """Return the value of a variable of .dynsym, None without."""
        return self._symbol(name, (STT_OBJECT,), [self._dynamic_table])

    def function(self, name: str) -> int | None:
        """Return a function's value, None without."""
        return self._symbol(name, (STT_FUNC, STT_GNU_IFUNC), self._tables)

    def thread_local(self, name: str) -> int | None:
        """Return a thread-local variable's offset in its block, None without."""
        return self._symbol(name, (STT_TLS,), self._tables)

    @cached_property
    def _tables(self) -> tuple[_Table | None, ...]:
        return self._section(SHT_SYMTAB), self._dynamic_table

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
        if isinstance(self._data, Mapped):
            return None  # sections aren't loaded
        where = self._unpack(self._pointer, 40 if self.word == 8 else 32)
        numbers = self._unpack("HH", 58 if self.word == 8 else 46)
        if not where or not numbers:
            return None
        (start,), (step, count) = where, numbers
        row = struct.Struct(self._order + ("IIIIIIIIII" if self.word == 4 else "IIQQQQIIQQ"))
        data = self.bytes_at(start, step * count)
        if not start or step < row.size or len(data) < step * count:
            return None  # stripped of its sections
        sections = [row.unpack_from(data, at) for at in range(0, len(data), step)]
        for _, kind, _, _, offset, length, link, *_ in sections:
            if kind == wanted and link < count:
                strings, strings_size = sections[link][4:6]
                return _Table(offset, length, strings, strings_size)
        return None

    @cached_property
    def _dynamic_table(self) -> _Table | None:
        """.dynsym; without sections as ld.so finds it, by PT_DYNAMIC."""
        by_section, tags = self._section(SHT_DYNSYM), self._tags
        if by_section or not tags:
            return by_section
        start, strings = (self._offset(tags.get(tag)) for tag in (DT_SYMTAB, DT_STRTAB))
        if start is None or strings is None:
            return None
        count = self._hashed(tags)
        # Without a hash table: linkers put the names right behind the symbols.
        size = strings - start if count is None else count * (24 if self.word == 8 else 16)
        return _Table(start, max(size, 0), strings, tags.get(DT_STRSZ, 0))

    @cached_property
    def _tags(self) -> dict[int, int]:
        """The values of PT_DYNAMIC by DT_ tag, {} without."""
        dynamic = self.segment(PT_DYNAMIC)
        words = self._words(dynamic.offset, dynamic.file_size // self.word) if dynamic else ()
        return dict(zip(words[::2], words[1::2]))

    def _hashed(self, tags: dict[int, int]) -> int | None:
        """Return the number of symbols by a hash table of theirs, None without."""
        at = self._offset(tags.get(DT_HASH))
        numbers = self._unpack("II", at) if at is not None else None  # buckets, chains
        if numbers:
            return numbers[1]
        at = self._offset(tags.get(DT_GNU_HASH))
        head = self._unpack("IIII", at) if at is not None else None
        if at is None or not head:
            return None
        buckets, first, bloom, _shift = head
        at += 16 + bloom * self.word
        last = max(self._integers(at, buckets), default=0)
        if last < first:
            return first
        chain = self._integers(at + 4 * (buckets + last - first), LARGEST_TABLE // 4)
        return last + 1 + next((i for i, word in enumerate(chain) if word & 1), len(chain))

    def _integers(self, offset: int, count: int) -> tuple[int, ...]:
        data = self.bytes_at(offset, min(4 * count, LARGEST_TABLE))
        return struct.unpack(f"{self._order}{len(data) // 4}I", data[: len(data) & ~3])

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

    def soname(self) -> str | None:
        """Return a library's own name (DT_SONAME), None without."""
        strings, name = self._offset(self._tags.get(DT_STRTAB)), self._tags.get(DT_SONAME)
        if strings is None or name is None:
            return None
        return os.fsdecode(self.bytes_at(strings + name, 256).split(b"\0")[0])

    # Notes.

    def _notes(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield kind, and the offsets where the name, the contents and what follows them begin."""
        left = MOST_NOTES
        for segment in self.segments():
            at, end = segment.offset, segment.offset + segment.file_size
            while segment.kind == PT_NOTE and at + 12 <= end and left:
                head = self._unpack("III", at)
                if not head or head == (0, 0, 0):
                    break
                name_size, size, kind = head
                body = at + 12 + (name_size + 3 & ~3)
                yield kind, at + 12, body, body + size
                at, left = body + (size + 3 & ~3), left - 1

    def _note(self, owner: bytes, wanted: int, most: int) -> bytes | None:
        """Return a note's contents, None without; what is longer than `most` bytes isn't it."""
        for kind, name, body, end in self._notes():
            if kind == wanted and self.bytes_at(name, min(len(owner), body - name)) == owner:
                data = self.bytes_at(body, end - body) if end - body <= most else b""
                return data if len(data) == end - body else None
        return None

    def build_id(self) -> str | None:
        """Return the build-id in hexadecimal, None without."""
        note = self._note(b"GNU\0", NT_GNU_BUILD_ID, LARGEST_BUILD_ID)
        return note.hex() if note else None

    def search(self, pattern: bytes) -> re.Match[bytes] | None:
        """Return the first match of a regular expression in the file's bytes."""
        if isinstance(self._data, Mapped):
            pieces = self._data.pieces(PIECE, OVERLAP)
            return next((found for piece in pieces if (found := re.search(pattern, piece))), None)
        return re.search(pattern, self._data)

    # Cores.

    def core_mappings(self) -> tuple[Mapping, ...]:
        """Return a core's PT_LOAD segments as mappings, named from its NT_FILE note.

        The inode is unknown in a core; 1 stands for "has a file". What has none, and isn't in the
        core, is a mapping of its own that can't be read: it may be larger than any file.
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
            held = end if name else segment.address + self._held(segment)
            if segment.address < held:
                row = (permissions, int(bool(name)), name, offset)
                mappings.append(Mapping(segment.address, held, *row))
            if held < end:
                mappings.append(Mapping(held, end, "---p", 0, ""))
        return tuple(mappings)

    def _held(self, segment: Segment) -> int:
        """Return how many bytes of a segment the core has: all, or whole pages."""
        held = min(segment.file_size, segment.memory_size, max(self.size - segment.offset, 0))
        return held if held == segment.memory_size else held & -HELD_UNIT

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield start, offset in bytes and name of every file mapping that NT_FILE lists."""
        note = self._note(b"CORE\0", NT_FILE, LARGEST_NOTE) or b""
        words = len(note) // self.word
        numbers = struct.unpack_from(f"{self._order}{words}{self._pointer}", note)
        if words < 2:
            return
        count, unit = min(numbers[0], (words - 2) // 3), numbers[1]
        names = note[(2 + 3 * numbers[0]) * self.word :].split(b"\0", count)
        for at, name in zip(range(2, 2 + 3 * count, 3), names):
            yield numbers[at], numbers[at + 2] * unit, os.fsdecode(name)

    def auxiliary(self) -> dict[int, int]:
        """Return a core's auxiliary vector (NT_AUXV) by AT_ number, {} without."""
        note = self._note(b"CORE\0", NT_AUXV, LARGEST_TABLE) or b""
        words = struct.unpack_from(f"{self._order}{len(note) // self.word}{self._pointer}", note)
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
        check_range(address, size)
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


def as_loaded(data: Mapped) -> Elf | None:
    """Return the ELF file that is mapped, as far as memory holds it; None without its headers.

    What isn't loaded is missing: sections with .symtab. Variables are as they are now.
    """
    try:
        header = Elf(data)
    except ValueError:
        return None
    base = base_of(header, data.start)
    return None if base is None else Elf(data, base)


def base_of(elf: Elf, start: int) -> int | None:
    """Return what ld.so adds to a file's addresses if its first byte is at `start`; None if the
    file has nothing to load.
    """
    loads = [segment for segment in elf.segments() if segment.kind == PT_LOAD]
    first = min(loads, key=lambda segment: segment.offset, default=None)
    return start - first.address + first.offset if first else None
