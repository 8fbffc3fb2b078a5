"""The symbols that a stripped file has elsewhere: in a file of its own, or packed in a section."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from zlib import crc32

from .elf import Elf

DIRECTORY = "/usr/lib/debug"
LINK, PACKED = ".gnu_debuglink", ".gnu_debugdata"
LONGEST_LINK = 4096  # bytes
MOST_UNPACKED = 256 << 20  # bytes
PIECE = 16 << 20


def symbol_files(elf: Elf, path: str, directory: str = DIRECTORY) -> Iterator[Elf]:
    """Yield the files that have a stripped file's symbols, the richest first; the file itself last.

    Nothing else is looked for where it has a symbol table of its own.
    """
    if not elf.has_symbol_table:
        found = next(_separate(elf, path, directory), None) or _unpacked(elf)
        if found is not None:
            yield found
    yield elf


def _separate(elf: Elf, path: str, directory: str) -> Iterator[Elf]:
    """Yield the debug files of a file as gdb finds them: by its build-id, then by the name that the
    file gives, which must be of the same build.
    """
    build_id, link = elf.build_id(), _link(elf)
    if build_id:
        yield from _opened(f"{directory}/.build-id/{build_id[:2]}/{build_id[2:]}.debug", elf, None)
    if link:
        name, checksum = link
        own = os.path.dirname(path)
        for place in (own, f"{own}/.debug", f"{directory}{own}"):
            yield from _opened(f"{place}/{name}", elf, checksum)


def _opened(path: str, elf: Elf, checksum: int | None) -> Iterator[Elf]:
    with suppress(OSError, ValueError):
        found = Elf.open(path)
        theirs, ours = found.build_id(), elf.build_id()
        same = theirs == ours if theirs and ours else _checksum(found) == checksum
        if same and found.has_symbol_table:
            yield found


def _link(elf: Elf) -> tuple[str, int] | None:
    """Return the name of a debug file, and the checksum of what is in it; None without."""
    section = elf.section(LINK)
    if section is None or not 8 <= section.size <= LONGEST_LINK:
        return None
    data = elf.bytes_at(section.offset, section.size)
    name = data.split(b"\0")[0]
    plain = name and b"/" not in name and len(data) == section.size
    return (os.fsdecode(name), int.from_bytes(data[-4:], elf.byteorder)) if plain else None


def _checksum(elf: Elf) -> int:
    total = 0
    for at in range(0, elf.size, PIECE):
        total = crc32(elf.bytes_at(at, PIECE), total)
    return total


def _unpacked(elf: Elf) -> Elf | None:
    """Return the small file of symbols that some distributions pack into each; None without."""
    section = elf.section(PACKED)
    if section is None:
        return None
    with suppress(ImportError, ValueError):
        from lzma import LZMADecompressor, LZMAError

        with suppress(LZMAError, EOFError):
            packed = elf.bytes_at(section.offset, section.size)
            return Elf(LZMADecompressor().decompress(packed, MOST_UNPACKED))
    return None
