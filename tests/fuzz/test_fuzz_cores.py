"""Whole cores with damaged headers, or cut anywhere: a report, or one message."""

from __future__ import annotations

from contextlib import suppress

from fuzzed import bounded, damaged, fuzzed
from heapbuilder import HeapBuilder, changed, fill
from hypothesis import given
from sessions import catalogue_of
from test_elf import header, program_header

from gdb_heapx.errors import HeapxError
from gdb_heapx.snapshots.ledger import account
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.core import Core, CoreMemory
from gdb_heapx.target.corefile import cut_short
from gdb_heapx.target.headers import PT_LOAD
from gdb_heapx.target.images import Image

MIB = 1 << 20


def small():
    """Return a heap of two arenas and an mmapped chunk."""
    heap = HeapBuilder()
    for number, arena in enumerate((heap.main, heap.arena())):
        fill(arena, heap.thread(arena, 100 + number))
        arena.close()
    heap.mmapped(1 << 16)
    return heap


def as_core(target, regions):
    """Return the core of a built heap: a segment for each mapping, with what was written there."""
    start = 64 + 56 * len(regions)
    headers, contents = [], b""
    for address, data in regions:
        at = start + len(contents)
        row = (PT_LOAD, 6, at, address, len(data), len(data))
        headers.append(program_header(8, "<", *row))
        contents += data
    return header(8, "<", 64, len(regions)) + b"".join(headers) + contents


TARGET = small().target()
REGIONS = sorted((address, bytes(data)) for address, data in TARGET.space.memory.regions.items())
CORE = as_core(TARGET, REGIONS)
HEADERS = 64 + 56 * len(REGIONS)


def opened(data):
    """Return the target that a core is, with the symbols of its libc; None if it is no ELF file."""
    try:
        elf = Core(data)
    except ValueError:
        return None
    memory, debug = CoreMemory(elf), TARGET.objects[0].debug
    return changed(
        TARGET,
        memory=memory,
        mappings=elf.mappings(),
        objects=(Image(debug.path, (), memory, lambda _: None, debug),),
        residency=None,
        live=False,
        cut=cut_short(elf),
    )


def read(target):
    snapshot, catalogue = take(target), catalogue_of(target)
    return snapshot, catalogue, sum(chunk.size for chunk in catalogue.chunks())


SIZE = read(TARGET)[2]


def test_a_whole_core_has_what_the_heap_has():
    snapshot, _, size = read(opened(CORE))
    assert not snapshot.problems
    assert size == SIZE


@fuzzed
@given(damaged(CORE, 0, HEADERS))
def test_of_any_core_there_is_a_report_or_one_message(data):
    target = opened(data)
    if target is None:
        return
    with bounded(64 * MIB), suppress(HeapxError):
        snapshot, catalogue, size = read(target)
        account(snapshot)
        notes = [note for malloc in snapshot.mallocs for note in malloc.notes]
        told = (*snapshot.problems, *notes, *catalogue.problems, *catalogue.uncertain_mmapped)
        assert told or size == SIZE
