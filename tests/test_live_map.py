"""heapx map of a live process: heaps that are empty but for a speck, where its program keeps it."""

from __future__ import annotations

import re

import pytest
from live import look, table, told

pytestmark = pytest.mark.live

HEAPS, TOUCHED = 40, 2
HEAP, BLOCK = 64 << 20, 64000


def kept_by(inferior):
    """Return the one block that the program has in each heap, by the heap's address."""
    return {int(heap, 16): int(block, 16) for heap, block in inferior.oracle.known}


def test_40_heaps_that_are_empty_but_for_a_speck_at_the_end_are_drawn_so(start):
    inferior = start("specks", str(HEAPS), str(TOUCHED))
    text = told("-p", inferior.pid, "map", "1", "--limit", "100").out
    found = re.findall(r"^ +1 +(0x[0-9a-f]+) .*\|(.*)\|$", text, re.M)
    rows = {int(address, 16): cells for address, cells in found}
    drawn = [rows[heap] for heap in kept_by(inferior)]
    assert len(drawn) == HEAPS
    assert all(re.fullmatch(r".(:+|_+)[;,P]", cells) for cells in drawn)
    assert sum(":" in cells for cells in drawn) == TOUCHED


def test_what_of_a_heap_s_free_memory_is_in_ram_is_what_the_program_touched(start):
    inferior = start("specks", "6", str(TOUCHED))
    rows = {heap["address"]: heap for heap in table(look(inferior.pid, "heaps", "1"))}
    free = [rows[f"{heap:#x}"] for heap in kept_by(inferior)]
    assert all(heap["free_resident"] + heap["free_absent"] == heap["free"] for heap in free)
    whole = [heap for heap in free if 10 * heap["free_resident"] > 9 * heap["free"]]
    assert len(whole) == TOUCHED
    assert all(10 * heap["free_absent"] > 9 * heap["free"] for heap in free if heap not in whole)


def test_what_is_in_use_of_a_heap_lies_where_the_program_keeps_its_block(start):
    inferior = start("specks", "4", "1")
    used = {
        int(cell["address"], 16): cell
        for cell in table(look(inferior.pid, "map", "1"), "cells")
        if cell["in_use"]
    }
    for heap, block in kept_by(inferior).items():
        own = {address: cell for address, cell in used.items() if heap <= address < heap + HEAP}
        assert any(address <= block < address + cell["size"] for address, cell in own.items())
        assert BLOCK <= sum(cell["in_use"] for cell in own.values()) < 2 * BLOCK
