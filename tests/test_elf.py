"""ELF files of both classes and byte orders, made by hand; and files that are none."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
from pathlib import Path

import pytest
from elffiles import Loaded, move_headers_to_the_end

from gdb_heapx.errors import MemoryFault
from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.target.core import NT_FILE, Core, CoreMemory
from gdb_heapx.target.elf import Elf, as_loaded
from gdb_heapx.target.headers import PT_LOAD, PT_NOTE
from gdb_heapx.target.mapped import Mapped
from gdb_heapx.target.maps import parse_maps

CLASSES = [(word, order) for word in (8, 4) for order in "<>"]
every_class = pytest.mark.parametrize(("word", "order"), CLASSES)


def header(word, order, phoff=0, phnum=0, shoff=0, shnum=0):
    """Return an ELF header with its table offsets."""
    ident = b"\x7fELF" + bytes([word // 4, 1 if order == "<" else 2, 1]) + bytes(9)
    pointers = "QQQ" if word == 8 else "III"
    sizes = (64, 56, phnum, 64, shnum, 0) if word == 8 else (52, 32, phnum, 40, shnum, 0)
    rest = struct.pack(order + "HHI" + pointers + "IHHHHHH", 4, 62, 1, 0, phoff, shoff, 0, *sizes)
    return ident + rest


def program_header(word, order, kind, flags, offset, address, filesz, memsz):
    if word == 8:
        fields = (kind, flags, offset, address, 0, filesz, memsz, 4096)
        return struct.pack(order + "IIQQQQQQ", *fields)
    return struct.pack(order + "8I", kind, offset, address, 0, filesz, memsz, flags, 4096)


def note(order, kind, body, name=b"CORE\0"):
    padded = name.ljust((len(name) + 3) & ~3, b"\0") + body.ljust((len(body) + 3) & ~3, b"\0")
    return struct.pack(order + "III", len(name), len(body), kind) + padded


def file_note(word, order, *files):
    pointer = order + ("Q" if word == 8 else "I")
    numbers = [len(files), 4096]
    for start, end, _ in files:
        numbers += [start, end, 0]
    packed = b"".join(struct.pack(pointer, number) for number in numbers)
    return note(order, NT_FILE, packed + b"".join(name.encode() + b"\0" for *_, name in files))


def core(word, order):
    """Return a core: two other notes around NT_FILE, and three segments."""
    notes = note(order, 1, b"12345") + file_note(
        word, order, (0x10000, 0x12000, "/lib/libc.so.6"), (0x30000, 0x31000, "/bin/a b")
    )
    notes += note(order, 6, b"")
    first = 64 if word == 8 else 52
    start = first + 4 * (56 if word == 8 else 32)
    headers = [
        program_header(word, order, PT_NOTE, 0, start, 0, len(notes), 0),
        program_header(word, order, PT_LOAD, 5, start, 0x10000, 0, 0x2000),
        program_header(word, order, PT_LOAD, 6, start, 0x20000, 0x1000, 0x1000),
        program_header(word, order, PT_LOAD, 4, start, 0x30000, 0x1000, 0x1000),
    ]
    return header(word, order, first, 4) + b"".join(headers) + notes + bytes(0x1000)


def with_symbols(word, order, *symbols):
    """Return a file whose .symtab has these (name, type, value); names may share their tails."""
    text = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in symbols)
    table = b""
    for name, kind, value in symbols:
        at = text.index(b"\0" + name.encode() + b"\0") + 1
        if word == 8:
            table += struct.pack(order + "IBBHQQ", at, kind, 0, 5, value, 8)
        else:
            table += struct.pack(order + "IIIBBH", at, value, 4, kind, 0, 5)
    first = 64 if word == 8 else 52
    layout = order + ("IIQQQQIIQQ" if word == 8 else "10I")
    shoff = first + len(text) + len(table)
    sections = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (0, 2, 0, 0, first + len(text), len(table), 2, 0, 8, 24),
        (0, 3, 0, 0, first, len(text), 0, 0, 1, 0),
    ]
    packed = b"".join(struct.pack(layout, *section) for section in sections)
    return header(word, order, 0, 0, shoff, 3) + text + table + packed


def elf(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    return Core.open(str(path))


@every_class
def test_class_and_byte_order_are_read(tmp_path, word, order):
    read = elf(tmp_path, core(word, order))
    assert (read.word, read.byteorder) == (word, "little" if order == "<" else "big")


@every_class
def test_a_cores_segments_are_mappings_named_from_its_notes(tmp_path, word, order):
    rows = elf(tmp_path, core(word, order)).mappings()
    assert [(m.start, m.end, m.permissions, m.name) for m in rows] == [
        (0x10000, 0x12000, "r-xp", "/lib/libc.so.6"),
        (0x20000, 0x21000, "rw-p", ""),
        (0x30000, 0x31000, "r--p", "/bin/a b"),
    ]


@every_class
@pytest.mark.parametrize("sections", [0, 1, 3])
def test_a_core_with_sections_is_of_a_debugger(word, order, sections):
    """The kernel writes one at most (PN_XNUM)."""
    start = 64 if word == 8 else 52
    core = Core(header(word, order, 0, 0, start, sections) + bytes(sections * start))
    assert core.by_debugger == (sections == 3)


@pytest.mark.parametrize("kept", [0, 4096, 3 * 4096 + 1])
def test_what_a_core_does_not_hold_is_a_mapping_that_cannot_be_read(kept):
    """However large it is said to be: nobody looks for chunks there."""
    data = with_notes(8, "<", loads=((0x10000, bytes(4 * 4096), 1 << 46),))
    rows = Core(data[: len(data) - 4 * 4096 + kept]).mappings()
    held = kept & -4096
    theirs = [(0x10000, 0x10000 + held, True)] if held else []
    assert [(m.start, m.end, m.anonymous) for m in rows] == [
        *theirs,
        (0x10000 + held, 0x10000 + (1 << 46), False),
    ]


@pytest.mark.parametrize("size", [9, 1 << 62])
def test_words_are_found_in_a_segment_as_far_as_the_file_goes(size):
    row = program_header(8, "<", PT_LOAD, 4, 64 + 56, 0, size, size)
    file = Core(header(8, "<", 64, 1) + row + b"a malloc ")
    assert file.has(b"malloc")
    assert not file.has(b"free")


def test_only_writable_memory_without_a_file_is_anonymous(tmp_path):
    rows = elf(tmp_path, core(8, "<")).mappings()
    assert [m.anonymous for m in rows] == [False, True, False]


@every_class
@pytest.mark.parametrize("words", range(6))
def test_a_list_of_files_that_ends_early_names_none(tmp_path, word, order, words):
    numbers = (1, 4096, 0x10000, 0x12000, 0)[:words]
    pointer = "Q" if word == 8 else "I"
    short = note(order, NT_FILE, struct.pack(f"{order}{len(numbers)}{pointer}", *numbers))
    first, size = (64, 56) if word == 8 else (52, 32)
    start = first + 2 * size
    headers = program_header(word, order, PT_NOTE, 0, start, 0, len(short), 0)
    headers += program_header(word, order, PT_LOAD, 5, start, 0x10000, 0, 0x2000)
    data = header(word, order, first, 2) + headers + short
    assert [mapping.name for mapping in elf(tmp_path, data).mappings()] == [""]


@every_class
def test_a_thread_local_symbol_is_found(tmp_path, word, order):
    data = with_symbols(word, order, ("main_arena", 1, 64), ("tcache", 6, 0x28))
    assert elf(tmp_path, data).thread_local("tcache") == 0x28


def test_a_symbol_of_another_type_is_not_taken(tmp_path):
    data = with_symbols(8, "<", ("tcache", 1, 64))
    assert elf(tmp_path, data).thread_local("tcache") is None


def test_a_symbol_whose_name_only_ends_so_is_not_taken(tmp_path):
    data = with_symbols(8, "<", ("my_tcache", 6, 64), ("tcache", 6, 0x28))
    assert elf(tmp_path, data).thread_local("tcache") == 0x28


def test_a_file_without_symbols_has_none(tmp_path):
    assert elf(tmp_path, core(8, "<")).thread_local("tcache") is None


def test_no_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Elf.open(str(tmp_path / "missing"))


@pytest.mark.parametrize("data", [b"", b"x", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\1" + bytes(4)])
def test_a_file_that_is_no_elf_is_a_value_error(tmp_path, data):
    with pytest.raises(ValueError):  # noqa: PT011
        elf(tmp_path, data).mappings()


def test_what_is_no_regular_file_is_an_os_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        Elf.open(str(tmp_path / "pipe"))


@every_class
def test_a_file_that_is_cut_short_is_a_value_error_or_still_read(word, order):
    whole = core(word, order)
    for length in range(16, len(whole)):
        try:
            Core(whole[:length]).mappings()
        except ValueError:
            continue


@every_class
def test_symbols_that_are_cut_short_are_a_value_error_or_none(word, order):
    whole = with_symbols(word, order, ("main_arena", 1, 64), ("tcache", 6, 0x28))
    for length in range(16, len(whole)):
        try:
            assert Elf(whole[:length]).thread_local("tcache") in (None, 0x28)
        except ValueError:
            continue


# Build-ids, auxiliary vectors, memory.


BUILD_ID = bytes(range(20))


def with_notes(word, order, *notes, loads=()):
    """Return a file with one note segment, and what it loads."""
    first = 64 if word == 8 else 52
    start = first + (1 + len(loads)) * (56 if word == 8 else 32)
    body = b"".join(notes)
    headers = [program_header(word, order, PT_NOTE, 4, start, start, len(body), len(body))]
    at = start + len(body)
    contents = b""
    for address, data, memory_size in loads:
        headers.append(program_header(word, order, PT_LOAD, 6, at, address, len(data), memory_size))
        contents += data
        at += len(data)
    return header(word, order, first, len(headers)) + b"".join(headers) + body + contents


@every_class
def test_the_build_id_is_gnus_note(word, order):
    others = (note(order, 3, b"no build-id"), note(order, 3, BUILD_ID, b"GNU\0"))
    assert Elf(with_notes(word, order, *others)).build_id() == BUILD_ID.hex()
    assert Elf(with_notes(word, order, others[0])).build_id() is None


@every_class
def test_the_auxiliary_vector_of_a_core(word, order):
    pointer = "Q" if word == 8 else "I"
    pairs = struct.pack(order + 6 * pointer, 3, 0x400040, 31, 0x7FFF0000, 0, 0)
    read = Core(with_notes(word, order, note(order, 6, pairs))).auxiliary()
    assert (read[3], read[31]) == (0x400040, 0x7FFF0000)


@every_class
def test_core_memory_is_what_was_dumped_and_nothing_else(word, order):
    loads = ((0x10000, b"a" * 100, 4096), (0x11000, b"b" * 4096, 4096), (0x12000, b"c" * 10, 10))
    memory = CoreMemory(Core(with_notes(word, order, loads=loads)))
    assert bytes(memory.read(0x10000, 100)) == b"a" * 100
    assert bytes(memory.read(0x11FFE, 4)) == b"bbcc"
    nowhere = ((-16, 8), (1 << 64, 8), (0x10000, 1 << 60), (0x10000, -8))
    outside = ((0xFFFF, 2), (0x10000, 101), (0x10FFF, 2), (0x12000, 11), (0, 1))
    for address, size in (*outside, *nowhere):
        with pytest.raises(MemoryFault):
            memory.read(address, size)


def test_a_buffer_is_filled_with_what_one_segment_of_a_core_has(tmp_path):
    loads = ((0x10000, b"a" * 100, 4096), (0x11000, b"b" * 4096, 4096), (0x12000, b"c" * 10, 10))
    data = with_notes(8, "<", loads=loads)
    (tmp_path / "core").write_bytes(data)
    memory = CoreMemory(Core(data))
    fill, room = memory.fill_from(str(tmp_path / "core")), bytearray(8)
    for address in (0x10000, 0x1005C, 0x11FF8, 0x12002):
        assert fill(address, memoryview(room))
        assert room == memory.read(address, 8)
    for address in (0x1005D, 0x11FF9, 0x12003, 0xFFFF, 0, 1 << 63):
        assert not fill(address, memoryview(room))
    (tmp_path / "core").write_bytes(data[:-1])
    assert not fill(0x12002, memoryview(room))


class OwnLibc:
    """The libc of this very process: its file, and what is mapped of it."""

    def __init__(self):
        lines = Path("/proc/self/maps").read_text()
        own = re.findall(r".*/libc(?:\.so\.6|-[\d.]+\.so)$", lines, re.M)
        self.mappings = parse_maps("\n".join(own))
        self.start, self.path = self.mappings[0].start, self.mappings[0].name

    @property
    def loaded(self):
        return as_loaded(Mapped(self, self.mappings))

    def read(self, address, size):
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            return memoryview(os.pread(memory.fileno(), size, address))


def test_a_library_is_read_from_memory_as_from_its_file():
    libc = OwnLibc()
    loaded, file = libc.loaded, Elf.open(libc.path)
    for name in ("malloc", "gnu_get_libc_version", "malloc_info", "no_such_function"):
        assert loaded.function(name) == file.function(name)
    assert loaded.exported("__curbrk") == file.exported("__curbrk")
    assert loaded.build_id() == file.build_id()
    assert loaded.search(rb"GNU C Library [^\n]*version")


def test_a_function_of_a_library_is_where_it_is_in_this_process():
    libc = OwnLibc()
    address = ctypes.cast(ctypes.CDLL(None).malloc_info, ctypes.c_void_p).value
    assert libc.start + libc.loaded.function("malloc_info") == address


def test_symbols_are_found_without_sections(tmp_path):
    """By PT_DYNAMIC, as ld.so finds them."""
    file, copy = Path(OwnLibc().path), tmp_path / "libc"
    data = bytearray(file.read_bytes())
    data[40:48] = bytes(8)  # e_shoff
    copy.write_bytes(data)
    whole, bare = Elf.open(str(file)), Elf.open(str(copy))
    assert bare.function("malloc") == whole.function("malloc")
    assert bare.exported("__curbrk") == whole.exported("__curbrk") is not None


@pytest.mark.parametrize("name", ["malloc", "__libc_start_main"])
def test_what_a_file_only_uses_it_does_not_define(name):
    assert Elf.open(os.path.realpath(sys.executable)).function(name) is None


# Tools that put headers elsewhere.


@pytest.fixture(params=["as linked", "headers at the end"])
def libc_file(request, tmp_path):
    copy = tmp_path / "libc.so.6"
    copy.write_bytes(Path(OwnLibc().path).read_bytes())
    if request.param != "as linked":
        move_headers_to_the_end(copy)
    return copy


def test_headers_notes_and_symbols_are_read_from_memory_wherever_they_lie(libc_file):
    data, theirs = libc_file.read_bytes(), Elf.open(OwnLibc().path)
    memory = Loaded(data, 0x7F0000000000)
    loaded = as_loaded(Mapped(memory, memory.mappings))
    assert loaded.build_id() == theirs.build_id() is not None
    assert loaded.segments() == Elf(data).segments()
    for name in ("malloc", "malloc_info", "__libc_start_main", "no_such_function"):
        assert loaded.function(name) == theirs.function(name)
    assert loaded.exported("__curbrk") == theirs.exported("__curbrk")


@pytest.mark.parametrize("listed", [True, False])
def test_of_a_file_whose_first_part_only_is_in_a_core_the_constants_are_missing(libc_file, listed):
    """Some cores list what they don't hold, others leave it out."""
    memory = Loaded(libc_file.read_bytes(), 0x7F0000000000)
    (at,) = struct.unpack_from("=Q", memory.data, 32)
    assert as_loaded(Mapped(memory, memory.mappings)).has_constants
    kept = [m for m in memory.mappings if not m.offset or m.offset <= at < m.offset + m.size]
    pages = {page for m in kept for page in range(m.start // 4096, m.end // 4096)}
    memory.pages = {number: data for number, data in memory.pages.items() if number in pages}
    loaded = as_loaded(Mapped(memory, memory.mappings if listed else kept))
    assert loaded.segments()
    assert not loaded.has_constants


def test_without_the_pages_of_its_headers_a_file_is_not_read_from_memory(libc_file):
    memory = Loaded(libc_file.read_bytes(), 0x7F0000000000)
    (at,) = struct.unpack_from("=Q", memory.data, 32)
    hidden = [m for m in memory.mappings if not m.offset <= at < m.offset + m.size]
    assert as_loaded(Mapped(memory, hidden)) is None


def test_the_symbols_are_as_many_as_the_hash_table_says(libc_file):
    """patchelf moves the names away from the symbols."""
    memory = Loaded(libc_file.read_bytes(), 0x7F0000000000)
    file, loaded = Elf(memory.data), as_loaded(Mapped(memory, memory.mappings))
    assert loaded._dynamic_table.size == file._dynamic_table.size


@pytest.mark.parametrize(
    ("machine", "word", "architecture"),
    [
        *((3, 4, "i386"), (62, 8, "x86-64"), (62, 4, "x32"), (40, 4, "arm"), (183, 8, "aarch64")),
        *((20, 4, "powerpc"), (21, 8, "powerpc"), (22, 8, "s390"), (22, 4, "s390")),
        *((243, 4, "riscv"), (2, 4, "sparc"), (43, 8, "sparc"), (8, 4, "other"), (258, 8, "other")),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_the_architecture_is_e_machine_and_the_class(machine, word, architecture, order):
    data = bytearray(header(word, order))
    struct.pack_into(order + "H", data, 18, machine)
    assert Elf(bytes(data)).architecture is Architecture(architecture)
