"""What gdb knows of the files that the inferior maps: symbols, structs, thread-local variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import gdb

from ..glibc.layout import Member, Struct
from ..target.elf import Elf
from .strings import exact, said


def file_of(objfile: gdb.Objfile) -> str | None:
    """Return the path of a file of gdb's, None without."""
    return exact(lambda: objfile.filename)


class ObjectFile:
    """What gdb knows of one file, by the file itself and its separate debug file."""

    def __init__(self, objfile: gdb.Objfile, debug_files: list[str]) -> None:
        self._objfile = objfile
        self.debug_files: Sequence[str] = debug_files
        self.path = file_of(objfile) or ""
        self.build_id: str | None = objfile.build_id

    def _symbol(self, name: str) -> gdb.Symbol | None:
        return self._objfile.lookup_static_symbol(name) or self._objfile.lookup_global_symbol(name)

    def address(self, name: str) -> int | None:
        symbol = self._symbol(name)
        if symbol is None or symbol.addr_class not in (
            gdb.SYMBOL_LOC_STATIC,
            gdb.SYMBOL_LOC_UNRESOLVED,
        ):
            return None
        try:
            address = symbol.value().address
        except gdb.error:  # declared, but not defined here
            return None
        return None if address is None else int(address)

    def struct(self, name: str) -> Struct | None:
        symbol = self._objfile.lookup_static_symbol(name, gdb.SYMBOL_STRUCT_DOMAIN)
        if symbol is None or symbol.type is None:
            return None
        members = {
            field.name: Member(field.bitpos // 8, field.type.strip_typedefs().sizeof)
            for field in symbol.type.fields()
            if field.name and hasattr(field, "bitpos")
        }
        return Struct(name, symbol.type.sizeof, members)

    def tls_offset(self, name: str) -> int | None:
        for path in (*self.debug_files, self.path):
            try:
                offset = Elf.open(path).thread_local(name)
            except (OSError, ValueError):
                continue
            if offset is not None:
                return offset
        return None


def debug_info() -> Iterator[ObjectFile]:
    """Yield what gdb knows of each file, with its separate debug files."""
    files = [objfile for objfile in gdb.objfiles() if objfile.is_valid() and file_of(objfile)]
    for objfile in files:
        if objfile.owner is None:
            debug = [file_of(f) or "" for f in files if f.owner is not None and f.owner == objfile]
            yield ObjectFile(objfile, debug)


def first_sections() -> dict[str, int]:
    """Return where the first section of each file is in memory, by the file's path."""
    program = exact(lambda: gdb.current_progspace().filename)
    first: dict[str, int] = {}
    sections = re.findall(r"^\s+(0x\w+) - 0x\w+ is \.\S+(?: in (.+))?$", said("info files"), re.M)
    for start, path in sections:
        file = path or program or ""
        first[file] = min(first.get(file, int(start, 16)), int(start, 16))
    return first
