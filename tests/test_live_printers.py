"""glibc malloc's structs as gdb prints them, against what the same gdb reads without heapx."""

from __future__ import annotations

import re

import pytest
from live import gdb, look, session, table

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def arenas(start_once):
    return start_once("arenas", "5")


@pytest.fixture(scope="module")
def printed(arenas):
    """Return what gdb prints of some expressions, by expression."""
    lines = (
        "p main_arena",
        "p *main_arena.next",
        "p *main_arena.top",
        "p mp_",
        "p *(struct _heap_info *) ((unsigned long) main_arena.next & ~0x3ffffffUL)",
        "p main_arena.system_mem",
        "p main_arena.next->system_mem",
        "p/x main_arena.top->mchunk_size",
    )
    result = session(*lines, target=("-p", arenas.pid))
    assert "Python Exception" not in result.err
    return dict(zip(lines, re.findall(r"^\$\d+ = (.*)$", result.out, re.M)))


def test_an_arena_has_its_bins_as_numbers_and_sizes_with_units(printed, arenas):
    first, second = printed["p main_arena"], printed["p *main_arena.next"]
    assert "bins in use = none" in first
    assert f"system_mem = {printed['p main_arena.system_mem']} (" in first
    filled = {
        row["bin"]
        for row in table(look(arenas.pid, "bins"))
        if row["arena"] == 1 and row["kind"] in ("unsorted", "small", "large")
    }
    said = re.search(r"bins in use = ([\d, ]+)", second)
    assert {int(number) for number in said[1].split(",")} == filled
    assert f"system_mem = {printed['p main_arena.next->system_mem']} (" in second


def test_a_chunk_has_its_size_and_its_flags_by_name(printed):
    raw = int(printed["p/x main_arena.top->mchunk_size"], 16)
    assert printed["p *main_arena.top"].startswith(f"chunk of {raw & ~7} (")
    assert "flags = PREV_INUSE" in printed["p *main_arena.top"]


def test_the_parameters_have_their_units(printed):
    assert "mmap_threshold = 131072 (128 KiB)" in printed["p mp_"]
    assert "n_mmaps_max = 65536," in printed["p mp_"]


def test_a_heap_has_its_size(printed):
    (heap,) = (text for line, text in printed.items() if "_heap_info" in line)
    assert re.match(r"heap of [\d.]+ [KM]iB = {ar_ptr = 0x", heap)


def test_they_can_be_switched_off(arenas):
    lines = ("disable pretty-printer global heapx", "p *main_arena.top")
    result = gdb(*lines, target=("-p", arenas.pid))
    assert "mchunk_prev_size = " in result.out
