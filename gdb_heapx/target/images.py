"""The ELF files that are mapped into a target: which they are, and their symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Optional, Protocol

from ..glibc.architecture import Architecture
from ..glibc.layout import Struct
from .debugfiles import symbol_files
from .elf import Elf, as_loaded, base_of
from .headers import PF_W, PT_INTERP, PT_LOAD, PT_TLS
from .mapped import Mapped
from .mappings import Mapping, Memory
from .named import (
    PLACED,
    SHN_UNDEF,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_TLS,
    Function,
    Rows,
    Symbol,
    SymbolIndex,
)

MOST_NUMBERED = 64  # variables of functions that are named alike in one file
# Returns the file that an image is of, None where it can't be opened or is another one by now; it
# is given the build-id that memory shows, None where memory doesn't tell.
Opener = Callable[[Optional[str]], Optional[Elf]]


class DebugInfo(Protocol):
    """What a debugger knows of one file: its variables and types."""

    path: str
    build_id: str | None
    debug_files: Sequence[str]  # separate ones, which a debugger has found

    def address(self, name: str) -> int | None:
        """Return the address of a variable of this file, None if it has none so named."""

    def struct(self, name: str) -> Struct | None:
        """Return a struct's layout from debug info, None without."""

    def tls_offset(self, name: str) -> int | None:
        """Return a thread-local variable's offset in its module's block, None if unknown."""


class Image:
    """One ELF file of the target, as it is mapped; it has no mappings where they aren't known.

    `debug` is what a debugger knows of it. `memory` holds only what certainly is the target's: what
    a debugger fills in from a file of the same name could be another file's.
    """

    def __init__(
        self,
        path: str,
        mappings: tuple[Mapping, ...],
        memory: Memory,
        opener: Opener,
        debug: DebugInfo | None = None,
    ) -> None:
        self.path = path
        self.mappings = mappings
        self.debug = debug
        self._memory = memory
        self._opener = opener

    @property
    def start(self) -> int:
        """Return where the file's first byte is mapped, 0 if unknown."""
        return self.mappings[0].start if self.mappings else 0

    @cached_property
    def _loaded(self) -> Elf | None:
        """The file as memory holds it, None without its headers."""
        return as_loaded(Mapped(self._memory, self.mappings)) if self.mappings else None

    @cached_property
    def file(self) -> Elf | None:
        """The file itself, None where it can't be had or has other headers than memory."""
        loaded = self._loaded
        found = self._opener(loaded.build_id() if loaded else None)
        if found and loaded and found.segments() != loaded.segments():
            return None
        return found

    @cached_property
    def elf(self) -> Elf | None:
        """The file, else what memory holds of it, else None."""
        loaded = self._loaded
        return self.file or (loaded if loaded and loaded.has_constants else None)

    @property
    def _header(self) -> Elf | None:
        """What has its headers: memory, else the file."""
        return self._loaded or self.file

    @property
    def architecture(self) -> Architecture | None:
        elf = self._header
        return elf.architecture if elf else None

    @cached_property
    def build_id(self) -> str | None:
        for elf in (self._loaded, self.file):
            found = elf.build_id() if elf else None
            if found:
                return found
        return self.debug.build_id if self.debug else None

    @property
    def how(self) -> str:
        """Say where its symbols come from, without debug info."""
        return "the file" if self.file else "memory" if self.elf else "nowhere"

    @cached_property
    def base(self) -> int | None:
        """What ld.so adds to the file's addresses, None if unknown."""
        elf = self._header
        if elf is None:
            return None
        if not self.mappings:
            return None if elf.relocatable else 0
        return base_of(elf, self.start)

    def __contains__(self, address: int) -> bool:
        return any(start <= address < end for start, end in self.spans())

    def spans(self, flags: int = 0) -> Iterator[tuple[int, int]]:
        """Yield start and end of the parts in memory that have these PF_ flags."""
        elf = self._header
        if elf is not None and self.base is not None:
            for s in elf.segments():
                if s.kind == PT_LOAD and s.flags & flags == flags:
                    start = self.base + s.address
                    yield start, start + s.memory_size
            return
        for mapping in self.mappings:
            if not flags & PF_W or "w" in mapping.permissions:
                yield mapping.start, mapping.end

    def data(self) -> Iterator[tuple[int, int]]:
        """Yield start and end of its initialized variables."""
        elf = self._header
        if elf is None or self.base is None:
            yield from self.spans(PF_W)
            return
        for s in elf.segments():
            if s.kind == PT_LOAD and s.flags & PF_W:
                yield self.base + s.address, self.base + s.address + s.file_size

    @property
    def static(self) -> bool:
        """Whether it is a program that needs no ld.so."""
        elf = self._header
        return elf is not None and not elf.segment(PT_INTERP)

    @property
    def tls_size(self) -> int | None:
        """Bytes of its thread-local variables, None if unknown."""
        elf = self._header
        segment = elf.segment(PT_TLS) if elf else None
        return segment.memory_size if segment else None

    # Symbols: as the debugger knows them, else as the file has them.

    def address(self, name: str) -> int | None:
        found = self.debug.address(name) if self.debug else None
        if found is not None or self.elf is None:
            return found
        return self._placed(self.elf.variable(name))

    def numbered(self, name: str) -> int | None:
        """Return the address of a variable that a function keeps: a compiler has numbered it."""
        names = [f"{name}.{number}" for number in range(MOST_NUMBERED)]
        found = (file.variable(each) for file in self._symbol_files() for each in names)
        return self._placed(next((value for value in found if value is not None), None))

    def _symbol_files(self) -> Iterator[Elf]:
        """Yield the files that have its symbols: those that a debugger has found, else those that
        are where debuggers look; itself last.
        """
        found = 0
        for path in self.debug.debug_files if self.debug else ():
            with suppress(OSError, ValueError):
                yield Elf.open(path)
                found += 1
        if self.elf:
            yield from (self.elf,) if found else symbol_files(self.elf, self.path)

    def exported(self, name: str, base: int | None) -> int | None:
        """Return a variable's address by .dynsym alone; `base` is for a file without mappings."""
        value = self.elf.exported(name) if self.elf else None
        base = base if self.base is None else self.base
        return None if value is None or base is None else base + value

    def function(self, name: str) -> int | None:
        """Return a function's address, None if the file has none so named."""
        return self._placed(self.elf.function(name)) if self.elf else None

    def imports(self, name: str) -> bool:
        """Tell whether it uses a symbol of another file's that has this name."""
        return self.elf is not None and self.elf.imports(name)

    def symbol_at(self, address: int) -> Symbol | None:
        """Return the variable or function that has an address, None if unnamed; by the debug file,
        too, where this machine has it.
        """
        return None if self.base is None else self._symbols.at(address - self.base)

    def functions(self) -> list[Function]:
        """Return its functions by address, under each of their names; by the debug file, too."""
        base, kinds = self.base, (STT_FUNC, STT_GNU_IFUNC)
        if base is None:
            return []
        found = {
            Function(base + row.value, base + row.value + row.size, rows.name(row))
            for rows in self._rows()
            for row in rows
            if row.info & 15 in kinds and row.section != SHN_UNDEF
        }
        return sorted(found)

    def thread_local_at(self, offset: int) -> Symbol | None:
        """Return the thread-local variable that has an offset in its block, None if unnamed."""
        return self._thread_locals.at(offset)

    def section_at(self, address: int) -> tuple[str, int] | None:
        """Return the name of the section that has an address, and the offset there; None without
        the file.
        """
        known = self.elf if self.base is not None else None
        return known.section_at(address - (self.base or 0)) if known else None

    def keep_symbols(self) -> None:
        """Have its symbols after the target has run on: open the file, or read what memory has."""
        if self.elf is not None and self.file is None:
            self._symbols.at(0)
            self._thread_locals.at(0)

    @cached_property
    def _symbols(self) -> SymbolIndex:
        return SymbolIndex(self._rows(), PLACED)

    @cached_property
    def _thread_locals(self) -> SymbolIndex:
        return SymbolIndex(self._rows(), (STT_TLS,))

    def _rows(self) -> Iterator[Rows]:
        for file in self._symbol_files():
            yield from file.rows()

    def _placed(self, value: int | None) -> int | None:
        return None if value is None or self.base is None else self.base + value

    def struct(self, name: str) -> Struct | None:
        return self.debug.struct(name) if self.debug else None

    def tls_offset(self, name: str) -> int | None:
        found = self.debug.tls_offset(name) if self.debug else None
        return found if found is not None or not self.elf else self.elf.thread_local(name)

    def has(self, words: bytes) -> bool:
        """Tell whether these words are in the file's bytes."""
        return self.elf is not None and self.elf.has(words)

    def text(self, pattern: bytes) -> str | None:
        """Return the first group of a regular expression in the file's bytes, None without."""
        found = self.elf.search(pattern) if self.elf else None
        return found[1].decode(errors="replace") if found else None


def base_name(path: str) -> str:
    """Return a file's name without its directories."""
    return path.rpartition("/")[2]
