"""ELF files and cores with any damage: nothing but ValueError where it is none, and HeapxError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from elffiles import Loaded
from fuzzed import bounded, damaged, fuzzed, numbers
from hypothesis import given
from hypothesis import strategies as st
from test_elf import BUILD_ID, CLASSES, core, file_note, note, with_notes, with_symbols

from gdb_heapx.errors import HeapxError, MemoryFault
from gdb_heapx.target.core import Core, CoreMemory
from gdb_heapx.target.corefile import check_core, cut_short
from gdb_heapx.target.elf import Elf, as_loaded
from gdb_heapx.target.files import find_images
from gdb_heapx.target.headers import PT_DYNAMIC, PT_INTERP, PT_LOAD
from gdb_heapx.target.mapped import Mapped

MIB = 1 << 20


def images(word, order):
    """Return small ELF files with all that is read of any."""
    files = file_note(word, order, (0x10000, 0x12000, "/lib/libc.so.6"), (0x20000, 0x21000, "/x"))
    notes = (note(order, 3, BUILD_ID, b"GNU\0"), files, note(order, 6, bytes(range(64))))
    loads = ((0x10000, b"GNU C Library (x) version 2.36" + bytes(500), 4096), (0x20000, b"y", 1))
    return (
        core(word, order),
        with_symbols(word, order, ("main_arena", 1, 64), ("tcache", 6, 0x28), ("malloc", 2, 9)),
        with_notes(word, order, *notes, loads=loads),
    )


WHOLE = [image for each in CLASSES for image in images(*each)]
anything = st.one_of(st.sampled_from(WHOLE).flatmap(damaged), st.binary(max_size=400))


def elf_of(data):
    """Return an ELF file, as a core; None if it is none."""
    with suppress(ValueError):
        return Core(data)
    return None


def ask_everything(elf):
    elf.segments(), elf.end, elf.size, elf.has_constants
    for kind in (PT_DYNAMIC, PT_INTERP, PT_LOAD):
        elf.segment(kind)
    for name in ("main_arena", "tcache", "malloc", ""):
        elf.variable(name), elf.exported(name), elf.function(name), elf.thread_local(name)
    elf.build_id()
    if isinstance(elf, Core):
        elf.auxiliary(), elf.mappings()
    elf.search(rb"GNU C Library [^\n]*version (\d+)")


@fuzzed
@given(anything)
def test_of_any_file_what_is_asked_for_is_told_or_not(data):
    with bounded(32 * MIB):
        elf = elf_of(data)
        if elf:
            ask_everything(elf)


@fuzzed
@given(anything)
def test_only_what_is_no_elf_file_is_a_value_error(data):
    if len(data) >= 52 and data[:4] == b"\x7fELF":
        Elf(data)
        return
    with pytest.raises(ValueError, match="not an ELF file"):
        Elf(data)


@fuzzed
@given(anything, numbers, numbers)
def test_of_any_core_memory_is_read_or_a_fault(data, address, size):
    elf = elf_of(data)
    if elf is None:
        return
    with bounded(32 * MIB), suppress(MemoryFault):
        cut_short(elf)
        memory = CoreMemory(elf)
        for mapping in elf.mappings():
            assert 0 <= mapping.start < mapping.end <= 1 << 64
            with suppress(MemoryFault):
                memory.read(mapping.start, min(mapping.size, 64))
        assert len(memory.read(address, size)) == size


@fuzzed
@given(anything)
def test_of_any_core_file_it_is_told_whether_it_is_whole(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "fuzzed core"
    file.write_bytes(data)
    with bounded(32 * MIB), suppress(HeapxError):
        check_core(str(file))


def tell(image):
    told = [image.build_id, image.base, image.static, image.tls_size, image.how]
    return [*told, 0x7F0000000000 in image, *image.spans(), *image.data()]


@fuzzed
@given(anything, anything)
def test_of_any_file_that_is_mapped_an_image_tells_what_it_can(data, file):
    """What memory holds and the file may contradict each other, and both may be nonsense."""
    memory = Loaded(WHOLE[2], 0x7F0000000000)
    memory.pages = {number: data[:4096].ljust(4096, b"\0") for number in memory.pages}

    with bounded(32 * MIB):
        loaded = as_loaded(Mapped(memory, memory.mappings))
        if loaded:
            ask_everything(loaded)
        for image in find_images(memory.mappings, memory, lambda *_: elf_of(file)):
            tell(image)
            for name in ("main_arena", "malloc"):
                image.address(name), image.function(name), image.tls_offset(name)
            image.exported("environ", None), image.text(rb"version (\d+)")
