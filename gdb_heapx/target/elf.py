"""The symbols of an ELF file, as far as heapx needs them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from functools import cached_property

from .headers import LARGEST_TABLE, PT_DYNAMIC, PT_LOAD
from .mapped import Mapped
from .named import (
    PLACED,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    STT_TLS,
    Rows,
    Symbol,
    SymbolIndex,
    SymbolTable,
)
from .sections import SHT_DYNSYM, SHT_SYMTAB, Sections

DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SONAME = 1, 4, 5, 6, 10, 14
DT_GNU_HASH = 0x6FFFFEF5


class Elf(Sections):
    """An ELF file with its symbols: those of .symtab where the file has one, then of .dynsym."""

    def variable(self, name: str) -> int | None:
        """Return a variable's value, None without."""
        return self._symbol(name, (STT_OBJECT,), self._tables)

    def exported(self, name: str) -> int | None:
        """Return the value of a variable of .dynsym, None without."""
        return self._symbol(name, (STT_OBJECT,), [self._dynamic_table])

    def function(self, name: str) -> int | None:
        """Return a function's value, None without."""
        return self._symbol(name, (STT_FUNC, STT_GNU_IFUNC), self._tables)

    def imports(self, name: str) -> bool:
        """Tell whether the file uses a symbol of this name that another file has."""
        table = self._dynamic_table
        return table is not None and any(not section for *_, section in self._named(name, table))

    def thread_local(self, name: str) -> int | None:
        """Return a thread-local variable's offset in its block, None without."""
        return self._symbol(name, (STT_TLS,), self._tables)

    def symbol_at(self, address: int) -> Symbol | None:
        """Return the variable or function that has an address of the file, None without."""
        return self.symbols.at(address)

    def thread_local_at(self, offset: int) -> Symbol | None:
        """Return the thread-local variable that has an offset in its block, None without."""
        return self.thread_locals.at(offset)

    @cached_property
    def symbols(self) -> SymbolIndex:
        """What has an address; half a second is needed for half a million of them, once."""
        return SymbolIndex(self.rows(), PLACED)

    @cached_property
    def thread_locals(self) -> SymbolIndex:
        """What has an offset in the block of each thread."""
        return SymbolIndex(self.rows(), (STT_TLS,))

    @property
    def has_symbol_table(self) -> bool:
        """Whether it has .symtab, which has all symbols."""
        return self._tables[0] is not None

    def rows(self) -> Iterator[Rows]:
        """Yield its symbols, table by table."""
        tables = (table for table in self._tables if table)
        return (Rows(self.data, table, self.word, self.order) for table in tables)

    @cached_property
    def _tables(self) -> tuple[SymbolTable | None, ...]:
        return self._section(SHT_SYMTAB), self._dynamic_table

    def _symbol(
        self, name: str, kinds: tuple[int, ...], tables: Iterable[SymbolTable | None]
    ) -> int | None:
        for table in tables:
            for value, info, section in self._named(name, table) if table else ():
                if info & 15 in kinds and section:  # 0: defined elsewhere
                    return value
        return None

    def _named(self, name: str, table: SymbolTable) -> Iterator[tuple[int, int, int]]:
        """Yield value, info and section of the symbols that have this name."""
        text = self.data[table.strings : table.strings + table.strings_size]
        wanted, searched = set(), name.encode() + b"\0"
        at = text.find(searched)
        while at >= 0:  # names may share their tails, so only the symbols tell which one it is
            wanted.add(at)
            at = text.find(searched, at + 1)
        if not wanted:
            return
        rows = self.data[table.start : table.start + table.size]
        if self.word == 8:
            symbols = struct.iter_unpack(self.order + "IBBHQQ", rows[: len(rows) // 24 * 24])
            yield from ((s[4], s[1], s[3]) for s in symbols if s[0] in wanted)
        else:
            symbols = struct.iter_unpack(self.order + "IIIBBH", rows[: len(rows) // 16 * 16])
            yield from ((s[1], s[3], s[5]) for s in symbols if s[0] in wanted)

    def _section(self, wanted: int) -> SymbolTable | None:
        found = next((each for each in self.sections if each.kind == wanted), None)
        if found is None or found.link >= len(self.sections):
            return None
        strings = self.sections[found.link]
        return SymbolTable(found.offset, found.size, strings.offset, strings.size)

    @cached_property
    def _dynamic_table(self) -> SymbolTable | None:
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
        return SymbolTable(start, max(size, 0), strings, tags.get(DT_STRSZ, 0))

    @cached_property
    def _dynamic(self) -> tuple[tuple[int, int], ...]:
        """What PT_DYNAMIC has, DT_ tags with their values; () without."""
        dynamic = self.segment(PT_DYNAMIC)
        words = self.words(dynamic.offset, dynamic.file_size // self.word) if dynamic else ()
        return tuple(zip(words[::2], words[1::2]))

    @cached_property
    def _tags(self) -> dict[int, int]:
        return dict(self._dynamic)

    def _hashed(self, tags: dict[int, int]) -> int | None:
        """Return the number of symbols by a hash table of theirs, None without."""
        at = self._offset(tags.get(DT_HASH))
        numbers = self.unpack("II", at) if at is not None else None  # buckets, chains
        if numbers:
            return numbers[1]
        at = self._offset(tags.get(DT_GNU_HASH))
        head = self.unpack("IIII", at) if at is not None else None
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
        return struct.unpack(f"{self.order}{len(data) // 4}I", data[: len(data) & ~3])

    def _offset(self, address: int | None) -> int | None:
        """Return where in the file an address lies; it may be relocated already."""
        if address is None:
            return None
        if self.base and address >= self.base:
            address -= self.base
        for s in self.segments():
            if s.kind == PT_LOAD and s.address <= address < s.address + s.file_size:
                return address - s.address + s.offset
        return None

    def soname(self) -> str | None:
        """Return a library's own name (DT_SONAME), None without."""
        return next(self._names(DT_SONAME), None)

    def needed(self) -> tuple[str, ...]:
        """Return the names of the libraries that it asks for itself (DT_NEEDED)."""
        return tuple(self._names(DT_NEEDED))

    def _names(self, wanted: int) -> Iterator[str]:
        strings = self._offset(self._tags.get(DT_STRTAB))
        if strings is None:
            return
        for name in (value for tag, value in self._dynamic if tag == wanted):
            yield os.fsdecode(self.bytes_at(strings + name, 256).split(b"\0")[0])


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
