"""An ELF file's headers and notes: what is loaded where, and which build it is.

What a file says of itself may be wrong: of what isn't there nothing is told, and nothing is read or
kept that is larger than such a table can be.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator
from functools import cached_property
from itertools import takewhile
from typing import BinaryIO, NamedTuple, TypeVar, Union

from ..glibc.architecture import Architecture
from .facts import ByteOrder
from .mapped import Mapped

ET_EXEC = 2
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PF_X, PF_W, PF_R = 1, 2, 4
PN_XNUM = 0xFFFF  # more program headers than 16 bits count: section 0 tells how many
NT_GNU_BUILD_ID = 3

MAGIC = b"\x7fELF"

MOST_SEGMENTS = MOST_NOTES = 1 << 20
LARGEST_TABLE = 1 << 20  # bytes of PT_DYNAMIC, and of the buckets of a hash table
LARGEST_BUILD_ID = 64
PIECE, OVERLAP = 16 << 20, 4096  # bytes that are searched at once, and that a match may have

Data = Union[bytes, mmap.mmap, Mapped]
E = TypeVar("E", bound="Headers")


class Segment(NamedTuple):
    """One program header: what the file holds of [address, address + memory_size)."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


def open_regular(path: str) -> BinaryIO:
    """Return the file at `path`, open; OSError where it is none: a pipe would wait for its writer,
    and to open a device can do something.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is no regular file")
    return open(path, "rb")


class Headers:
    """The bytes of an ELF file of either class and byte order; ValueError if they are none.

    `base` is where it was loaded, if the bytes are those in memory: ld.so adds it to pointers.
    """

    def __init__(self, data: Data, base: int = 0) -> None:
        self.data = data
        self.base = base
        head = data[:52]
        if head[:4] != MAGIC or len(head) < 52:
            raise ValueError("not an ELF file")
        self.word = 8 if head[4] == 2 else 4
        self.byteorder: ByteOrder = "little" if head[5] == 1 else "big"
        self.order = "<" if head[5] == 1 else ">"
        self.architecture = Architecture.of(int.from_bytes(head[18:20], self.byteorder), self.word)

    @classmethod
    def open(cls: type[E], path: str) -> E:
        """Return the ELF file at `path`; OSError or ValueError if it can't be read."""
        with open_regular(path) as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return what the file holds there, less if it is cut short."""
        return self.data[offset : offset + size]

    def unpack(self, layout: str, offset: int) -> tuple[int, ...] | None:
        """Return the fields that lie at an offset, None where the file is cut short."""
        layout = self.order + layout
        data = self.bytes_at(offset, struct.calcsize(layout))
        return struct.unpack(layout, data) if len(data) == struct.calcsize(layout) else None

    def words(self, offset: int, count: int) -> tuple[int, ...]:
        """Return so many words, fewer if the file is cut short."""
        data = self.bytes_at(offset, min(count * self.word, LARGEST_TABLE))
        whole = len(data) // self.word
        return struct.unpack(f"{self.order}{whole}{self.pointer}", data[: whole * self.word])

    @property
    def pointer(self) -> str:
        return "Q" if self.word == 8 else "I"

    def segments(self) -> tuple[Segment, ...]:
        """Return the program headers; none where they aren't all there."""
        return self._segments

    @cached_property
    def _segments(self) -> tuple[Segment, ...]:
        where = self.unpack(self.pointer, 32 if self.word == 8 else 28)
        numbers = self.unpack("HH", 54 if self.word == 8 else 42)
        if not where or not numbers:
            return ()
        (start,), (step, count) = where, numbers
        row = struct.Struct(self.order + ("IIQQQQQQ" if self.word == 8 else "IIIIIIII"))
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
        where = self.unpack(self.pointer, 40 if self.word == 8 else 32)
        info = self.unpack("I", where[0] + (44 if self.word == 8 else 28)) if where else None
        return info[0] if info else 0

    @property
    def relocatable(self) -> bool:
        """Whether it may be loaded anywhere: a library, or a position-independent program."""
        return self.unpack("H", 16) != (ET_EXEC,)

    def segment(self, kind: int) -> Segment | None:
        """Return the first program header of a kind, None without."""
        return next((s for s in self.segments() if s.kind == kind), None)

    @property
    def end(self) -> int:
        """Where the file ends, by its program headers and where its section headers lie."""
        where = self.unpack(self.pointer, 40 if self.word == 8 else 32) or (0,)
        size, count = self.unpack("HH", 58 if self.word == 8 else 46) or (0, 0)
        ends = (s.offset + s.file_size for s in self.segments() if s.file_size)
        return max(where[0] + size * count if where[0] else 0, *ends, 0)

    @property
    def size(self) -> int:
        """How many bytes the file has; 0 where it is only mapped."""
        return 0 if isinstance(self.data, Mapped) else len(self.data)

    @property
    def has_constants(self) -> bool:
        """Whether what the program can't write is there, to its end; cores often haven't it."""
        asked = self._constants
        asked += (s for s in self.segments() if s.kind == PT_DYNAMIC)
        return all(self.bytes_at(s.offset + s.file_size - 1, 1) for s in asked if s.file_size)

    # Notes.

    def _notes(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield kind, and the offsets where the name, the contents and what follows them begin."""
        left = MOST_NOTES
        for segment in self.segments():
            at, end = segment.offset, segment.offset + segment.file_size
            while segment.kind == PT_NOTE and at + 12 <= end and left:
                head = self.unpack("III", at)
                if not head or head == (0, 0, 0):
                    break
                name_size, size, kind = head
                body = at + 12 + (name_size + 3 & ~3)
                yield kind, at + 12, body, body + size
                at, left = body + (size + 3 & ~3), left - 1

    def note(self, owner: bytes, wanted: int, most: int) -> bytes | None:
        """Return a note's contents, None without; what is longer than `most` bytes isn't it."""
        for kind, name, body, end in self._notes():
            if kind == wanted and self.bytes_at(name, min(len(owner), body - name)) == owner:
                data = self.bytes_at(body, end - body) if end - body <= most else b""
                return data if len(data) == end - body else None
        return None

    def build_id(self) -> str | None:
        """Return the build-id in hexadecimal, None without."""
        note = self.note(b"GNU\0", NT_GNU_BUILD_ID, LARGEST_BUILD_ID)
        return note.hex() if note else None

    def has(self, words: bytes) -> bool:
        """Tell whether these words are among the file's constants."""
        return any(words in piece for s in self._constants for piece in self._pieces(s, len(words)))

    def _pieces(self, segment: Segment, overlap: int) -> Iterator[bytes]:
        """Yield what the file holds of a segment, piece by piece, up to where it is cut short."""
        end = segment.offset + segment.file_size
        pieces = (
            self.bytes_at(at, min(PIECE + overlap, end - at))
            for at in range(segment.offset, end, PIECE)
        )
        return takewhile(bool, pieces)

    @property
    def _constants(self) -> list[Segment]:
        """What is loaded of the file, and neither written nor executed; older linkers put that into
        the same segment as code.
        """
        constant = [s for s in self.segments() if s.kind == PT_LOAD and not s.flags & PF_W]
        return [s for s in constant if not s.flags & PF_X] or constant

    def search(self, pattern: bytes) -> re.Match[bytes] | None:
        """Return the first match of a regular expression in the file's bytes."""
        if isinstance(self.data, Mapped):
            pieces = self.data.pieces(PIECE, OVERLAP)
            return next((found for piece in pieces if (found := re.search(pattern, piece))), None)
        return re.search(pattern, self.data)
