"""An ELF file's sections, which are not loaded: only the file itself has them."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import NamedTuple

from .headers import Headers
from .mapped import Mapped

SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHF_ALLOC, SHF_TLS, SHF_COMPRESSED = 2, 0x400, 0x800
LONGEST_NAME = 256  # bytes


class Section(NamedTuple):
    """One section header; `name` is an offset in the section of names, `link` another's number."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int

    def has(self, address: int) -> bool:
        """Tell whether an address of the file lies in it; .tbss takes no address space."""
        takes = self.flags & SHF_ALLOC and not (self.flags & SHF_TLS and self.kind == SHT_NOBITS)
        return bool(takes) and self.address <= address < self.address + self.size


class Sections(Headers):
    """An ELF file with its sections; none where it was stripped of them."""

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        if isinstance(self.data, Mapped):
            return ()  # sections aren't loaded
        wide = self.word == 8
        where = self.unpack(self.pointer, 40 if wide else 32)
        numbers = self.unpack("HH", 58 if wide else 46)
        if not where or not numbers:
            return ()
        (start,), (step, count) = where, numbers
        row = struct.Struct(self.order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"))
        data = self.bytes_at(start, step * count)
        if not start or step < row.size or len(data) < step * count:
            return ()
        rows = (row.unpack_from(data, at) for at in range(0, len(data), step))
        return tuple(Section(*fields[:7]) for fields in rows)

    def section_name(self, section: Section) -> str | None:
        """Return a section's name, None without."""
        numbers = self.unpack("H", 62 if self.word == 8 else 50)
        if not numbers or not 0 < numbers[0] < len(self.sections):
            return None
        names = self.sections[numbers[0]]
        if section.name >= names.size:
            return None
        most = min(LONGEST_NAME, names.size - section.name)
        name = self.bytes_at(names.offset + section.name, most).split(b"\0")[0]
        return name.decode(errors="replace") or None

    def section(self, name: str) -> Section | None:
        """Return the section of this name, None without."""
        return next((each for each in self.sections if self.section_name(each) == name), None)

    def section_at(self, address: int) -> tuple[str, int] | None:
        """Return the name of the section that an address of the file lies in, and the offset there;
        None without.
        """
        found = next((each for each in self.sections if each.has(address)), None)
        name = self.section_name(found) if found else None
        return (name, address - found.address) if found and name else None
