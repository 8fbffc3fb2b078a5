"""/proc: the mappings, and reading memory without touching pages that nobody has touched."""

from __future__ import annotations

import os
from array import array

import pytest

from gdb_heapx.errors import MemoryFault
from gdb_heapx.procfs import PageMap, QuietMemory, parse_maps, read_maps, thread_name
from gdb_heapx.target import Mapping

PAGE = 4096
BASE = 0x10000
PRESENT, SWAPPED, SHARED = 1 << 63, 1 << 62, 1 << 61

MAPS = """\
55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000200000 r-xp 00001000 fe:01 1234                       /usr/lib/libc.so.6
7f0000400000-7f0000401000 rw-p 00000000 00:00 0 
7f0000500000-7f0000501000 rw-s 00000000 00:01 99                         /dev/zero (deleted)
7f0000600000-7f0000601000 ---p 00000000 00:00 0                          [anon: glibc: malloc]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291


def test_maps_are_parsed():
    rows = parse_maps(MAPS)
    assert [(m.start, m.size, m.permissions) for m in rows[:3]] == [
        (0x55D0C0000000, 0x21000, "rw-p"),
        (0x7F0000000000, 0x200000, "r-xp"),
        (0x7F0000400000, 0x1000, "rw-p"),
    ]
    assert (rows[1].inode, rows[1].offset) == (1234, 0x1000)
    names = [m.name for m in rows]
    assert names[0] == "[heap]"
    assert names[2:5] == ["", "/dev/zero (deleted)", "[anon: glibc: malloc]"]


def test_only_private_writable_memory_without_a_file_is_anonymous():
    assert [m.anonymous for m in parse_maps(MAPS)] == [True, False, True, False, False, False]


def test_no_maps_are_no_mappings():
    assert parse_maps("") == ()


def test_the_maps_of_a_living_process_are_read():
    assert any("python" in m.name or m.name == "[stack]" for m in read_maps(os.getpid()))


def test_the_maps_of_no_process_are_an_os_error():
    with pytest.raises(OSError, match="No such"):
        read_maps(1 << 30)


def test_a_thread_has_the_kernels_name():
    with open("/proc/self/comm") as comm:
        assert thread_name(os.getpid(), os.getpid()) == comm.read().strip()


def test_a_thread_that_is_gone_has_no_name():
    assert thread_name(os.getpid(), 1 << 30) is None


class Entries:
    """A page map of given entries, one a page from BASE on."""

    def __init__(self, *entries):
        self._entries = entries

    def entries(self, address, size):
        first, last = (address - BASE) // PAGE, (address + size - 1 - BASE) // PAGE
        return array("Q", [*self._entries, *[0] * 100][first : last + 1])

    def touched(self, address):
        return self.entries(address, 1)[0] >= 1 << 62


class Recorder:
    """Memory of ones that notes which bytes are read."""

    def __init__(self):
        self.reads = []

    def read(self, address, size):
        self.reads.append((address, size))
        return memoryview(b"\1" * size)


def quiet(*entries, permissions="rw-p", inode=0, name="", offset=0):
    memory = Recorder()
    mappings = (Mapping(BASE, BASE + 8 * PAGE, permissions, inode, name, offset),)
    return QuietMemory(memory, Entries(*entries), os.getpid(), mappings, PAGE), memory


def test_touched_pages_are_read_at_once():
    reader, memory = quiet(PRESENT, PRESENT, SWAPPED)
    assert bytes(reader.read(BASE, 3 * PAGE)) == b"\1" * 3 * PAGE
    assert memory.reads == [(BASE, 3 * PAGE)]


@pytest.mark.parametrize("entry", [0, SHARED, 1 << 55, 1 << 56])
def test_a_page_that_was_never_touched_is_zeros_and_not_read(entry):
    reader, memory = quiet(entry)
    assert bytes(reader.read(BASE + 8, 64)) == bytes(64)
    assert memory.reads == []


def test_only_touched_pages_of_a_range_are_read():
    reader, memory = quiet(PRESENT, 0, 0, PRESENT, SWAPPED, 0)
    data = bytes(reader.read(BASE + 100, 5 * PAGE))
    expected = b"\1" * PAGE + bytes(2 * PAGE) + b"\1" * 2 * PAGE + bytes(PAGE)
    assert data == expected[100 : 100 + 5 * PAGE]
    assert memory.reads == [(BASE + 100, PAGE - 100), (BASE + 3 * PAGE, 2 * PAGE)]


@pytest.mark.parametrize("permissions", ["---p", "-w-p"])
def test_an_untouched_page_without_permission_cannot_be_read(permissions):
    reader, memory = quiet(0, permissions=permissions)
    with pytest.raises(MemoryFault):
        reader.read(BASE, 8)
    assert memory.reads == []


def test_an_untouched_address_outside_of_every_mapping_cannot_be_read():
    reader, _ = quiet(0)
    with pytest.raises(MemoryFault) as caught:
        reader.read(BASE + 7 * PAGE, 2 * PAGE)
    assert caught.value.address == BASE + 8 * PAGE


def test_an_untouched_page_of_a_file_is_read_from_the_file(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"a" * PAGE + b"b" * PAGE)
    inode = path.stat().st_ino
    reader, memory = quiet(0, inode=inode, name=str(path), permissions="r--p", offset=PAGE)
    assert bytes(reader.read(BASE, 16)) == b"b" * 16
    assert memory.reads == []


def test_what_is_behind_a_files_end_is_zeros(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"a" * 100)
    reader, _ = quiet(0, inode=path.stat().st_ino, name=str(path), permissions="r--p")
    assert bytes(reader.read(BASE + 96, 8)) == b"aaaa" + bytes(4)


def test_a_file_that_was_replaced_is_not_taken(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"new")
    reader, memory = quiet(0, inode=path.stat().st_ino + 1, name=str(path), permissions="r--p")
    assert bytes(reader.read(BASE, 4)) == b"\1" * 4
    assert memory.reads == [(BASE, 4)]


def test_the_page_map_of_this_process_has_an_entry_a_page():
    mapping = next(m for m in read_maps(os.getpid()) if m.name == "[stack]")
    try:
        pages = PageMap(os.getpid(), PAGE)
    except OSError as error:
        pytest.skip(f"/proc/PID/pagemap: {error.strerror}")
    entries = pages.entries(mapping.end - 2 * PAGE + 8, PAGE)
    assert len(entries) == 2
    assert max(entries) >= SWAPPED


def test_entries_that_the_kernel_does_not_give_are_untouched():
    try:
        pages = PageMap(os.getpid(), PAGE)
    except OSError as error:
        pytest.skip(f"/proc/PID/pagemap: {error.strerror}")
    assert list(pages.entries((1 << 47) - PAGE, 3 * PAGE))[1:] == [0, 0]
