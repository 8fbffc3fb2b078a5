"""Where the symbols of a stripped file are found: each way, and what is not its own."""

from __future__ import annotations

import lzma
import struct
from zlib import crc32

import pytest
from test_elf import every_class, header, note, program_header
from test_named import Made, with_sections

from gdb_heapx.target.debugfiles import symbol_files
from gdb_heapx.target.elf import Elf
from gdb_heapx.target.headers import PT_NOTE

BUILD_ID = bytes(range(20))
OWN = Made("own", 0x1000, 16)


def stripped(word, order, build_id=b"", **sections):
    """Return a file without symbols: with a build-id, if given, and these sections of bytes."""
    wide = word == 8
    first = 64 if wide else 52
    notes = note(order, 3, build_id, b"GNU\0") if build_id else b""
    at = first + (56 if wide else 32)
    body, rows, names = notes, [(0,) * 10], b"\0"
    for name, data in sections.items():
        rows.append((len(names), 1, 0, 0, at + len(body), len(data), 0, 0, 1, 0))
        names += b".gnu_" + name.encode() + b"\0"
        body += data
    rows.append((0, 3, 0, 0, at + len(body), len(names), 0, 0, 1, 0))
    layout = order + ("IIQQQQIIQQ" if wide else "10I")
    head = bytearray(header(word, order, first, 1, at + len(body) + len(names), len(rows)))
    head[-2:] = struct.pack(order + "H", len(rows) - 1)
    segment = program_header(word, order, PT_NOTE, 4, at, at, len(notes), len(notes))
    packed = b"".join(struct.pack(layout, *row) for row in rows)
    return bytes(head) + segment + body + names + packed


def linked(order, data, name=b"x.debug"):
    """Return .gnu_debuglink for a file with this in it."""
    return (name + b"\0").ljust((len(name) + 4) & ~3, b"\0") + struct.pack(order + "I", crc32(data))


def names(elf, path, directory):
    """Return what the first address of .data is called."""
    found = (file.symbol_at(0x1000) for file in symbol_files(elf, str(path), str(directory)))
    return [symbol.name for symbol in found if symbol]


@every_class
@pytest.mark.parametrize("place", ["", ".debug", "/usr/bin"])
def test_a_debug_file_is_found_by_its_link_where_the_checksum_is_its_own(
    tmp_path, word, order, place
):
    debug, home = with_sections(word, order, OWN), tmp_path / "usr" / "bin"
    where = tmp_path / "debug" / str(home)[1:] if place.startswith("/") else home / place
    where.mkdir(parents=True)
    (where / "x.debug").write_bytes(debug)
    file = Elf(stripped(word, order, debuglink=linked(order, debug)))
    assert names(file, home / "x", tmp_path / "debug") == ["own"]
    (where / "x.debug").write_bytes(debug + b"\0")
    assert names(file, home / "x", tmp_path / "debug") == []


@pytest.mark.parametrize("name", [b"../x.debug", b"/x.debug", b""])
def test_a_link_that_leads_out_of_the_directory_is_not_followed(tmp_path, name):
    debug = with_sections(8, "<", OWN)
    (tmp_path / "x.debug").write_bytes(debug)
    file = Elf(stripped(8, "<", debuglink=linked("<", debug, name)))
    assert names(file, tmp_path / "in" / "x", tmp_path) == []


def test_a_debug_file_is_found_by_the_build_id_which_it_must_have(tmp_path):
    file = Elf(stripped(8, "<", BUILD_ID))
    at = tmp_path / ".build-id" / BUILD_ID.hex()[:2]
    at.mkdir(parents=True)
    path = at / f"{BUILD_ID.hex()[2:]}.debug"
    path.write_bytes(with_sections(8, "<", OWN))  # it has none
    assert names(file, "/bin/x", tmp_path) == []


@every_class
def test_symbols_that_are_packed_into_the_file_are_unpacked(tmp_path, word, order):
    packed = lzma.compress(with_sections(word, order, OWN))
    file = Elf(stripped(word, order, debugdata=packed))
    assert names(file, "/bin/x", tmp_path) == ["own"]
    broken = Elf(stripped(word, order, debugdata=packed[:-20] + bytes(20)))
    assert names(broken, "/bin/x", tmp_path) in ([], ["own"])
    cut = Elf(stripped(word, order, debugdata=packed[: len(packed) // 2]))
    assert names(cut, "/bin/x", tmp_path) == []


def test_a_file_with_symbols_of_its_own_needs_no_other(tmp_path):
    file = Elf(with_sections(8, "<", OWN))
    assert list(symbol_files(file, "/bin/x", str(tmp_path))) == [file]
