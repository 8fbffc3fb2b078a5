"""The ELF files of a target, from its mappings: which file is which, and whose symbols count."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from elffiles import Loaded
from heapbuilder import PAGE, File
from test_elf import OwnLibc

from gdb_heapx.errors import MemoryFault
from gdb_heapx.glibc.layout import Member, Struct
from gdb_heapx.target.elf import Elf
from gdb_heapx.target.files import find_images
from gdb_heapx.target.headers import PF_W
from gdb_heapx.target.images import Image
from gdb_heapx.target.mappings import Mapping


class Nothing:
    """Memory that can't be read."""

    def read(self, address, size):
        raise MemoryFault(address, size)


@dataclass
class Info:
    """Debug info that knows some addresses."""

    path: str = "/usr/lib/libc.so.6"
    build_id: str | None = None
    addresses: dict = field(default_factory=dict)
    debug_files: list = field(default_factory=list)

    def address(self, name):
        return self.addresses.get(name)

    def struct(self, name):
        return Struct(name, 8, {"a": Member(0, 8)})

    def tls_offset(self, name):
        return 16


def mapped(name, start, *parts, inode=5):
    """Return the mappings of one file: (permissions, pages) in a row."""
    rows, offset = [], 0
    for permissions, pages in parts:
        end = start + pages * PAGE
        rows.append(Mapping(start, end, permissions, inode, name, offset))
        start, offset = end, offset + pages * PAGE
    return rows


LIBC = (("r--p", 2), ("r-xp", 4), ("r--p", 2), ("rw-p", 1))


def images(rows, debug=(), files=None):
    def opened(mapping, build_id):
        return (files or {}).get(mapping.name)

    return find_images(rows, Nothing(), opened, debug)


def test_a_file_is_all_of_its_mappings():
    rows = [
        *mapped("/bin/a", 0x400000, ("r--p", 1), ("rw-p", 1)),
        Mapping(0x402000, 0x404000, "rw-p", 0, ""),
        *mapped("/lib/b", 0x500000, *LIBC),
        Mapping(0x600000, 0x601000, "rw-p", 0, "[stack]"),
    ]
    found = images(rows)
    assert [(i.path, i.start, len(i.mappings)) for i in found] == [
        ("/bin/a", 0x400000, 2),
        ("/lib/b", 0x500000, 4),
    ]


def test_a_file_that_is_loaded_twice_is_two_images():
    rows = mapped("/lib/b", 0x500000, *LIBC) + mapped("/lib/b", 0x700000, *LIBC)
    assert [image.start for image in images(rows)] == [0x500000, 0x700000]


def test_a_file_that_was_replaced_keeps_its_name():
    (image,) = images(mapped("/lib/libc.so.6 (deleted)", 0x500000, *LIBC))
    assert image.path == "/lib/libc.so.6"


def test_a_mapping_from_the_middle_of_a_file_is_no_image():
    assert images([Mapping(0x1000, 0x2000, "r--p", 5, "/data", PAGE)]) == ()


def test_without_its_headers_an_image_is_what_its_mappings_are():
    (image,) = images(mapped("/lib/b", 0x500000, *LIBC))
    assert 0x500000 in image
    assert 0x500000 + 9 * PAGE not in image
    assert list(image.spans(PF_W)) == [(0x508000, 0x509000)]
    assert (image.base, image.build_id, image.elf) == (None, None, None)
    assert image.address("malloc") is None


def test_symbols_of_a_file_are_moved_to_where_it_is_loaded():
    files = {"/lib/b": File(frozenset({"malloc"}))}
    (image,) = images(mapped("/lib/b", 0x500000, *LIBC), files=files)
    assert image.base == 0x500000
    assert image.function("malloc") == 0x500000 + 64
    assert image.function("free") is None


def test_debug_info_comes_before_the_file():
    info = Info("/lib/b", addresses={"main_arena": 0x508010})
    (image,) = images(mapped("/lib/b", 0x500000, *LIBC), [info])
    assert image.address("main_arena") == 0x508010
    assert image.struct("malloc_state") is not None
    assert image.tls_offset("tcache") == 16


def test_debug_info_of_another_file_is_not_used():
    (image,) = images(mapped("/lib/b", 0x500000, *LIBC), [Info("/lib/c")])
    assert image.debug is None


def test_debug_info_is_that_of_the_copy_that_it_lies_in():
    rows = mapped("/lib/b", 0x500000, *LIBC) + mapped("/lib/b", 0x700000, *LIBC)
    infos = [Info("/lib/b", addresses={"main_arena": at + 0x8010}) for at in (0x700000, 0x500000)]
    found = images(rows, infos)
    assert [image.address("main_arena") for image in found] == [0x508010, 0x708010]


@pytest.mark.parametrize(("theirs", "used"), [("aa", True), ("bb", False)])
def test_debug_info_with_another_build_id_is_not_used(theirs, used):
    class Named(File):
        def build_id(self):
            return "aa"

    rows = mapped("/chroot/lib/b", 0x500000, *LIBC)
    (image,) = images(rows, [Info("/lib/b", theirs)], {"/chroot/lib/b": Named()})
    assert (image.debug is not None) == used


@pytest.mark.parametrize("same", [True, False])
def test_a_file_with_other_headers_than_memory_is_not_the_images(same):
    """Where neither tells a build-id, such as a core that doesn't hold the note."""
    data = Path(sys.executable).resolve().read_bytes()
    memory = Loaded(data, 0x500000)
    other = bytearray(data)
    other[64 + 40] ^= 1  # p_memsz of the first program header
    file = Elf(data if same else bytes(other))
    (image,) = find_images(memory.mappings, memory, lambda *_: file)
    assert image.file is (file if same else None)
    assert image.how == ("the file" if same else "memory")


def test_an_image_without_mappings_has_its_debug_info_only():
    image = Image("/lib/b", (), Nothing(), lambda build_id: None, Info(addresses={"mp_": 8}))
    assert image.address("mp_") == 8
    assert 8 not in image
    assert list(image.data()) == []


@pytest.mark.parametrize(("relocatable", "base"), [(True, None), (False, 0)])
def test_where_an_image_without_mappings_lies_is_unknown_unless_it_is_not_relocated(
    relocatable, base
):
    image = Image("/lib/b", (), Nothing(), lambda build_id: File(relocatable=relocatable))
    assert image.base == base
    assert (PAGE // 2 in image) == (base is not None)


@pytest.mark.parametrize("there", [True, False], ids=["file", "memory"])
def test_kept_symbols_are_there_when_the_target_has_run_on(there):
    """Of a file that is gone by then, too, or that only memory had."""
    path = OwnLibc().path
    file, memory = Elf.open(path), Loaded(Path(path).read_bytes(), 0x7F0000000000)
    opened = iter([file if there else None])
    image = Image(path, tuple(memory.mappings), memory, lambda _: next(opened))
    image.keep_symbols()
    memory.pages.clear()
    address = 0x7F0000000000 + file.function("malloc_info")
    assert image.symbol_at(address + 1)[:2] == ("malloc_info", 1)
    assert image.symbol_at(0x1000) is None
