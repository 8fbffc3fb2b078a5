"""What symbols call a place: tables made by hand, and those of real files beside what nm says."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from elffiles import Loaded
from test_elf import OwnLibc, every_class, header

from gdb_heapx.target.elf import Elf, as_loaded
from gdb_heapx.target.mapped import Mapped

OBJECT, FUNC, SECTION, TLS = 1, 2, 3, 6
LOCAL, GLOBAL, WEAK = 0, 16, 32
UNDEFINED, DATA, ABSOLUTE = 0, 1, 0xFFF1


class Made(NamedTuple):
    """A symbol to write."""

    name: str
    value: int
    size: int
    info: int = OBJECT
    section: int = DATA


def with_sections(word, order, *symbols):
    """Return a file of one section, .data at 0x1000 of 0x100 bytes, with these symbols."""
    wide, first = word == 8, 64 if word == 8 else 52
    names = b"\0" + b"".join(symbol.name.encode() + b"\0" for symbol in symbols)
    table = b""
    for name, value, size, info, section in symbols:
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        if wide:
            table += struct.pack(order + "IBBHQQ", at, info, 0, section, value, size)
        else:
            table += struct.pack(order + "IIIBBH", at, value, size, info, 0, section)
    kinds = b"\0.data\0.symtab\0.strtab\0"
    text = first + len(table)
    where = text + len(names)
    sections = [
        (0,) * 10,
        (1, 1, 3, 0x1000, 0, 0x100, 0, 0, 8, 0),
        (7, 2, 0, 0, first, len(table), 3, 0, 8, 24),
        (15, 3, 0, 0, text, len(names), 0, 0, 1, 0),
        (0, 3, 0, 0, where, len(kinds), 0, 0, 1, 0),
    ]
    layout = order + ("IIQQQQIIQQ" if wide else "10I")
    packed = b"".join(struct.pack(layout, *section) for section in sections)
    head = bytearray(header(word, order, 0, 0, where + len(kinds), len(sections)))
    head[-2:] = struct.pack(order + "H", 4)
    return bytes(head) + table + names + kinds + packed


def made(*symbols):
    return Elf(with_sections(8, "<", *symbols))


@every_class
def test_a_place_is_named_by_the_symbol_that_it_lies_in(word, order):
    file = Elf(with_sections(word, order, Made("b", 0x1020, 16), Made("a", 0x1000, 32)))
    assert file.symbol_at(0x1000) == ("a", 0, 32)
    assert file.symbol_at(0x101F) == ("a", 31, 32)
    assert file.symbol_at(0x1028) == ("b", 8, 16)
    assert file.symbol_at(0xFFF) is None
    assert file.symbol_at(0x1030) is None


@every_class
def test_a_place_behind_a_thread_local_variables_begin_is_its(word, order):
    symbols = Made("x", 8, 8, TLS), Made("y", 8, 8, OBJECT)
    file = Elf(with_sections(word, order, *symbols))
    assert file.thread_local_at(12) == ("x", 4, 8)
    assert file.symbol_at(12) == ("y", 4, 8)
    assert file.thread_local_at(16) is None


@pytest.mark.parametrize(
    ("symbol", "named"),
    [
        (Made("sized", 0x1000, 8), "sized"),
        (Made("local", 0x1000, 0), None),
        (Made("elsewhere", 0x1000, 8, section=UNDEFINED), None),
        (Made("number", 0x1000, 8, section=ABSOLUTE), None),
        (Made("data", 0x1000, 8, SECTION), None),
        (Made("stdout@GLIBC_2.2.5", 0x1000, 8), "stdout"),
        (Made("f@@VERS_1", 0x1000, 8, FUNC), "f"),
    ],
)
def test_only_what_is_placed_in_the_file_names_a_place(symbol, named):
    found = made(symbol).symbol_at(0x1004)
    assert (found.name if found else None) == named


def test_a_symbol_without_a_size_names_its_first_byte_alone():
    file = made(Made("bare", 0x1000, 0), Made("whole", 0x1010, 16), Made("also", 0x1010, 0))
    assert file.symbol_at(0x1000) == ("bare", 0, 0)
    assert file.symbol_at(0x1001) is None
    assert file.symbol_at(0x1010).name == "whole"


def test_of_several_names_a_global_one_leads_then_a_weak_one():
    names = Made("a", 0x1000, 8, OBJECT | LOCAL), Made("b", 0x1000, 8, OBJECT | WEAK)
    assert made(*names).symbol_at(0x1000).name == "b"
    assert made(*names, Made("c", 0x1000, 8, OBJECT | GLOBAL)).symbol_at(0x1000).name == "c"


def test_of_a_symbol_inside_another_the_inner_one_is_named_and_behind_it_the_outer_one():
    file = made(Made("out", 0x1000, 0x80), Made("in", 0x1010, 8), Made("more", 0x1020, 8))
    names = {at: file.symbol_at(at).name for at in (0x1008, 0x1010, 0x1018, 0x1024, 0x1070)}
    assert names == {0x1008: "out", 0x1010: "in", 0x1018: "out", 0x1024: "more", 0x1070: "out"}
    assert file.symbol_at(0x1080) is None


@every_class
def test_a_place_without_a_symbol_is_named_by_its_section(word, order):
    file = Elf(with_sections(word, order))
    assert file.section_at(0x1010) == (".data", 0x10)
    assert file.section_at(0x1100) is None
    assert file.symbol_at(0x1010) is None


@every_class
def test_a_file_that_is_cut_short_names_what_is_left_or_nothing(word, order):
    whole = with_sections(word, order, Made("a", 0x1000, 32), Made("b", 0x1020, 16))
    for length in range(64, len(whole)):
        file = Elf(whole[:length])
        assert file.symbol_at(0x1028) is None
        assert file.section_at(0x1010) is None


@every_class
def test_a_file_that_is_damaged_names_nothing_that_lies_elsewhere(word, order):
    whole = with_sections(word, order, Made("a", 0x1000, 32), Made("b", 0x1020, 16))
    rest = bytearray(whole)
    for damage in range(0, len(whole) - 64, 7):
        rest[64 + damage] ^= 0xFF
        found = Elf(bytes(rest)).symbol_at(0x1028)
        assert found is None or found.offset < max(found.size, 1)


def nm(path, *options):
    """Return the names by address of symbols with a size, as nm says."""
    command = ["nm", "-P", *options, path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = defaultdict(set)
    for name, kind, *numbers in map(str.split, text.splitlines()):
        if len(numbers) == 2 and int(numbers[1], 16) and kind not in "UAw":
            names[int(numbers[0], 16)].add((name.partition("@")[0], int(numbers[1], 16)))
    return names


@pytest.mark.parametrize("path", [OwnLibc().path, os.path.realpath(sys.executable)])
def test_every_symbol_of_a_file_is_named_as_nm_does(path):
    """nm lists thread-local ones among the others, by their offset."""
    file, theirs = Elf.open(path), nm(path, "-D")
    assert len(theirs) > 1000
    for address, names in theirs.items():
        found = [file.symbol_at(address), file.thread_local_at(address)]
        assert {(each.name, each.size) for each in found if each and not each.offset} & names


def test_names_are_read_from_memory_as_from_the_file():
    libc = OwnLibc()
    memory = Loaded(Path(libc.path).read_bytes(), 0x7F0000000000)
    loaded, file = as_loaded(Mapped(memory, memory.mappings)), Elf.open(libc.path)
    addresses = random.Random(1).sample(sorted(nm(libc.path, "-D")), 100)
    named = {address: loaded.symbol_at(address) for address in addresses}
    assert len(set(named.values())) > 50
    memory.pages.clear()  # the process has gone on: what was read stays
    for address, symbol in named.items():
        assert loaded.symbol_at(address) == symbol
        assert symbol is None or symbol == file.symbol_at(address)


def test_half_a_million_symbols_take_a_few_words_each():
    names = [Made(f"s{i % 7}", 16 * i, 16) for i in range(20_000)]
    index = made(*names).symbols
    kept = sum(len(each) * each.itemsize for each in (index._starts, index._rows, index._reach))
    assert len(index) == 20_000
    assert kept <= 24 * len(index)
