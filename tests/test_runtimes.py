"""Memory of runtimes, told by the headers that they put into it; and nobody else's."""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from heapbuilder import AMD64, I386, PAGE, USED, File, HeapBuilder, Pages, changed

from gdb_heapx.locate.own_heaps import (
    MOST_HEADERS,
    go_arenas,
    java_heap,
    pymalloc_arenas,
    ruby_pages,
    v8_pages,
    zend_chunks,
)
from gdb_heapx.locate.runtimes import RUNTIMES, claims, how_to_trim, runtimes_in, tools_for, whose
from gdb_heapx.snapshots.holders import UNNAMED, holders
from gdb_heapx.snapshots.ledger import account
from gdb_heapx.snapshots.regions import Owner
from gdb_heapx.snapshots.take import take
from gdb_heapx.snapshots.untouched import UNIT, zeros
from gdb_heapx.target.images import Image
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import SWAPPED, UNTOUCHED

KIB, MIB = 1 << 10, 1 << 20
AT = 0x7F1200000000


class Process:
    """A process with one more mapping, which bytes are put into; all of it is resident."""

    def __init__(self, size, start=AT, machine=AMD64, name=""):
        self.heap = HeapBuilder(machine)
        self.heap.main.add(USED, 640)
        self.heap.residency = Pages()
        self.heap.memory.regions[start] = bytearray(size)
        usage = Usage(size, size, 0, 0, 0, 0, False, None)
        self.mapping = Mapping(start, start + size, "rw-p", 0, name, 0, usage)
        self.heap.unreadable.append(self.mapping)

    def put(self, address, layout, *values):
        self.heap.memory.write(address, struct.pack(layout, *values))

    def words(self, address, *words):
        self.put(address, f"<{len(words)}Q", *words)

    def found(self, finder):
        space = self.heap.target().space
        return list(finder(space, None, [self.mapping]))


# CPython.


def pool(process, at, size, whole, count=3, used=5, layout="<I4xQQQIIII", room=48):
    """Write the header of a pool with blocks of one size, as Objects/obmalloc.c does."""
    alignment = 16 if room == 48 else 8
    free = at + room + size
    fields = (count, free, at, at, 0, size // alignment - 1, room + used * size, whole - size)
    process.put(at, layout, *fields)


@pytest.mark.parametrize("whole", [16 * KIB, 4 * KIB])
def test_pools_of_cpython_make_an_arena(whole):
    process = Process(1 * MIB)
    for number in range(MIB // whole):
        pool(process, AT + number * whole, 16 * (1 + number % 32), whole)
    assert process.found(pymalloc_arenas) == [(AT, AT + MIB)]


def test_an_arena_that_begins_between_two_pools_is_whole():
    start = AT + 4 * KIB
    process = Process(MIB, start)
    for at in range(AT + 16 * KIB, start + MIB - 16 * KIB, 16 * KIB):
        pool(process, at, 64, 16 * KIB)
    assert process.found(pymalloc_arenas) == [(start, start + MIB)]


def test_pools_of_32_bits_have_shorter_headers():
    process = Process(256 * KIB, 0x70000000, I386)
    for at in range(0x70000000, 0x70000000 + 256 * KIB, 4 * KIB):
        pool(process, at, 24, 4 * KIB, layout="<IIIIIIII", room=32)
    assert process.found(pymalloc_arenas) == [(0x70000000, 0x70000000 + 256 * KIB)]


def test_what_has_other_contents_between_pools_is_not_python_s():
    process = Process(64 * KIB)
    for at in (AT, AT + 48 * KIB):
        pool(process, at, 32, 16 * KIB)
    process.words(AT + 16 * KIB, 1, 2, 3, 4, 5, 6)
    spans = process.found(pymalloc_arenas)
    assert spans == [(AT, AT + 16 * KIB), (AT + 48 * KIB, AT + 64 * KIB)]


@pytest.mark.parametrize("wrong", ["count", "free", "offset", "last", "index"])
def test_a_header_that_contradicts_itself_is_no_pool(wrong):
    at, size, whole = AT, 32, 16 * KIB
    right = {"count": 3, "free": at + 80, "index": 1, "offset": 208, "last": whole - size}
    values = {"count": 511, "free": at + whole, "offset": 209, "last": whole, "index": 32}
    fields = {**right, wrong: values[wrong]}
    process = Process(64 * KIB)
    count, free, index, offset, last = (fields[n] for n in right)
    process.put(at, "<I4xQQQIIII", count, free, at, at, 0, index, offset, last)
    assert process.found(pymalloc_arenas) == []


@pytest.mark.parametrize("state", [UNTOUCHED, SWAPPED])
def test_headers_that_are_not_in_memory_are_not_read(state):
    process = Process(64 * KIB)
    pool(process, AT, 32, 16 * KIB)
    process.heap.residency.mark(AT + 16 * KIB, AT + 64 * KIB, state)
    assert process.found(pymalloc_arenas) == [(AT, AT + 16 * KIB)]
    assert all(at < AT + 16 * KIB for at, _ in process.heap.memory.reads if at >= AT)


# Others.


def test_chunks_of_php_are_a_ring():
    process, chunk, heap = Process(10 * MIB), 2 * MIB, AT + 64
    for number in range(4):
        at = AT + number * chunk
        following, before = (AT + (number + step) % 4 * chunk for step in (1, -1))
        process.words(at, heap, following, before)
    process.words(AT + 4 * chunk, heap, AT, AT)  # nobody leads to it
    assert process.found(zend_chunks) == [(AT, AT + 4 * chunk)]


def test_pages_of_ruby_lead_to_what_points_back():
    process = Process(4 * 64 * KIB)
    for number in range(2):
        at, described = AT + number * 64 * KIB, AT + 3 * 64 * KIB + 256 + 128 * number
        process.words(at, described)
        process.words(described, 0, 0, at + 16)
    process.words(AT + 2 * 64 * KIB, AT + 3 * 64 * KIB + 256)
    assert process.found(ruby_pages) == [(AT, AT + 2 * 64 * KIB)]


def test_pages_of_v8_say_where_their_objects_are():
    process, page = Process(4 * MIB), 256 * KIB
    process.words(AT, page, 4, AT + 9, AT + 0x1148, AT + page)
    large = AT + page  # one object of more than a page
    process.words(large, MIB, 4, AT + 9, large + 0x1148, large + MIB)
    newer, described = large + MIB, AT + 3 * MIB + 4096
    process.words(newer, 4, described)
    process.words(described, 1, page, newer + 0x1148, newer + page)
    assert process.found(v8_pages) == [
        (AT, AT + page),
        (large, large + MIB),
        (newer, newer + page),
    ]


ENTRY = "gHotSpotVMStructEntry"
VARIABLES = ("TypeNameOffset", "FieldNameOffset", "OffsetOffset", "AddressOffset", "ArrayStride")


class Jvm(NamedTuple):
    """A libjvm.so whose variables lie where the process begins."""

    start: int

    def address(self, name):
        return self.start + 8 * ["gHotSpotVMStructs", *(ENTRY + v for v in VARIABLES)].index(name)


def described(stride):
    """Return a process with a Java heap of 2 MiB, and the table that leads to it."""
    process, table, texts, heap = Process(MIB), AT + 4 * KIB, AT + 8 * KIB, AT + 16 * KIB
    process.words(AT, table, 0, 8, 16, 24, stride)
    for number, text in enumerate(("Universe", "_collectedHeap", "CollectedHeap", "_reserved")):
        process.put(texts + 32 * number, "32s", text.encode())
    process.words(table, texts, texts + 32, 0, heap)
    process.words(table + stride, texts + 64, texts + 96, 40, 0)
    process.words(heap, heap + 64)
    process.words(heap + 64 + 40, AT + MIB, 2 * MIB // 8)
    return process.heap.target().space


def test_the_java_heap_is_what_hotspot_describes():
    assert list(java_heap(described(32), Jvm(AT), [])) == [(AT + MIB, AT + 3 * MIB)]


def test_a_description_that_is_no_table_describes_nothing():
    assert list(java_heap(described(0), Jvm(AT), [])) == []


def test_go_has_addresses_of_its_own():
    arena = Mapping(0xC000000000, 0xC000400000, "rw-p", 0, "")
    other = Mapping(AT, AT + MIB, "rw-p", 0, "")
    assert list(go_arenas(None, None, [arena, other])) == [(arena.start, arena.end)]


@pytest.mark.parametrize("finder", [pymalloc_arenas, zend_chunks, ruby_pages, v8_pages])
def test_memory_of_zeros_and_of_anything_else_is_no_runtime_s(finder):
    process = Process(4 * MIB)
    assert process.found(finder) == []
    for at in range(AT, AT + 4 * MIB, 4 * KIB):
        process.words(at, *(at * 31 + i for i in range(8)))
    assert process.found(finder) == []


class Untouched:
    """The pages of an address space that nobody has used; `asked` is how often they were asked."""

    asked = 0

    def states(self, start, end):
        self.asked += 1
        return bytes([UNTOUCHED]) * (-(-end // PAGE) - start // PAGE)


@pytest.mark.parametrize("finder", [pymalloc_arenas, zend_chunks, ruby_pages, v8_pages])
def test_of_terabytes_only_so_many_places_are_looked_at(finder):
    space = SimpleNamespace(page=PAGE, residency=Untouched())
    reserved = Mapping(AT, AT + (4 << 40), "rw-p", 0, "")
    assert list(finder(space, None, [reserved])) == []
    assert 0 < space.residency.asked <= MOST_HEADERS


# Who is there.


def with_file(process, path, *functions, exe=None):
    row = Mapping(0x560000000000, 0x560000000000 + PAGE, "r-xp", 3, path)
    file = File(frozenset(functions))
    image = Image(path, (row,), process.heap.memory, lambda build_id: file)
    target = process.heap.target()
    target = changed(
        target, objects=(*target.objects, image), mappings=(*target.facts.mappings, row)
    )
    return changed(target, exe=exe) if exe else target


def names(target):
    return [present.runtime.name for present in runtimes_in(target)]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda each: each.name)
def test_a_program_has_a_runtime_if_it_has_its_symbol(runtime):
    process = Process(MIB)
    assert names(with_file(process, "/opt/app", runtime.symbol, exe="/opt/app")) == [runtime.name]
    assert names(with_file(process, "/opt/app", exe="/opt/app")) == []
    assert names(with_file(process, "/opt/plugin.so", runtime.symbol)) == []


def test_a_library_has_a_runtime_by_its_name_and_symbol():
    process = Process(MIB)
    assert names(with_file(process, "/lib/libpython3.9.so.1.0", "PyObject_Malloc")) == ["CPython"]
    assert names(with_file(process, "/lib/libpython3.9.so.1.0")) == []


def test_what_a_runtime_claims_is_its_memory_and_the_rest_likely_who_else_s_is_there():
    process = Process(4 * MIB)
    for at in range(AT, AT + MIB, 256 * KIB):
        process.words(at, 256 * KIB, 4, AT + 9, at + 0x1148, at + 256 * KIB)
    target = with_file(process, "/usr/bin/node", RUNTIMES[2].symbol, exe="/usr/bin/node")
    snapshot = take(target)
    found = {(h.owner, h.label): h.amount for h in holders(snapshot, account(snapshot))}
    assert snapshot.runtimes == ("V8",)
    assert found[Owner.RUNTIME, "V8's heap"].resident == MIB
    assert found[Owner.ANONYMOUS, "likely V8's"].resident == 3 * MIB


def test_what_one_runtime_has_claimed_no_other_does():
    process = Process(MIB)
    for at in range(AT, AT + MIB, 16 * KIB):
        pool(process, at, 64, 16 * KIB)
    target = with_file(process, "/opt/app", "PyObject_Malloc", exe="/opt/app")
    (python,) = runtimes_in(target)
    twice = claims(target, (python, python), [process.mapping])
    assert [(c.start, c.end) for c in twice] == [(AT, AT + MIB)]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda each: each.name)
def test_each_runtime_s_memory_has_tools_that_go_on_from_there(runtime):
    assert tools_for(runtime.memory) == runtime.tools
    if runtime.whose:
        assert tools_for(whose([runtime.name])) == runtime.tools


def test_where_a_runtime_can_call_malloc_trim_the_remedy_names_its_own_way():
    assert how_to_trim(()).call == how_to_trim(("PHP", "V8")).call == "malloc_trim(0)"
    assert how_to_trim(("V8", "the JVM")).call == "jcmd PID System.trim_native_heap"
    assert how_to_trim(("CPython",)).call == "ctypes.CDLL(None).malloc_trim(0)"


def test_likely_owners_are_all_that_there_are():
    assert whose(["CPython"]) is None
    assert whose(["CPython", "V8", "jemalloc"]) == "V8's or jemalloc's"


# Names.


def holder_of(process):
    snapshot = take(process.heap.target())
    found = holders(snapshot, account(snapshot))
    return next(h for h in found if h.largest == process.mapping.start)


@pytest.mark.parametrize(
    ("name", "called"), [("", UNNAMED), ("[anon:index cache]", "[anon:index cache]")]
)
def test_anonymous_memory_has_the_name_that_the_program_gave_it(name, called):
    found = holder_of(Process(MIB, name=name))
    assert (found.name, found.likely, found.clean) == (called, False, None)


def test_all_mappings_of_a_file_are_one_holder_and_what_is_clean_adds_up():
    process = Process(MIB)
    for number, dirty in enumerate((0, 3 * PAGE)):
        start = AT + (number + 4) * MIB
        usage = Usage(8 * PAGE, 8 * PAGE, 0, 0, 0, 0, False, None, dirty)
        row = Mapping(start, start + MIB, "rw-p", 9, "/srv/table.db", 0, usage)
        process.heap.unreadable.append(row)
    snapshot = take(process.heap.target())
    (found,) = (h for h in holders(snapshot, account(snapshot)) if h.owner is Owner.DATA)
    assert (found.name, found.short, found.mappings) == ("/srv/table.db", "table.db", 2)
    assert (found.amount.resident, found.clean) == (16 * PAGE, 13 * PAGE)


def test_mmapped_chunks_that_were_not_found_are_nobody_s_outside():
    """What glibc counts isn't said to be another's."""
    process = Process(MIB)
    target = process.heap.target()
    process.heap.field(process.heap.layout.par, process.heap.symbols["mp_"], "n_mmaps", 1)
    process.heap.field(
        process.heap.layout.par, process.heap.symbols["mp_"], "mmapped_mem", MIB - PAGE
    )
    snapshot = take(target)
    (found,) = (h for h in holders(snapshot, account(snapshot)) if h.name == UNNAMED)
    assert found.amount.resident == PAGE


# Cores.


def test_units_of_zeros_are_found_and_no_others():
    process = Process(4 * MIB)
    process.words(AT + MIB, 1)
    process.words(AT + 2 * MIB + 8, 1)
    space = replace(process.heap.target().space, residency=None)
    assert zeros(space, [process.mapping]) == [
        (AT, AT + MIB),
        (AT + MIB + UNIT, AT + 2 * MIB),
        (AT + 2 * MIB + UNIT, AT + 4 * MIB),
    ]


def test_what_is_zeros_in_a_core_has_an_owner_of_its_own_and_in_a_process_not():
    process = Process(4 * MIB)
    process.words(AT, 1)
    core = changed(
        process.heap.target(),
        live=False,
        no_residency="a core",
        residency=None,
        mappings=tuple(m._replace(usage=None) for m in process.heap.target().facts.mappings),
    )
    for target, empty in ((core, 4 * MIB - UNIT), (process.heap.target(), 0)):
        ledger = account(take(target))
        assert ledger.of(Owner.ABSENT).bytes == empty
        assert ledger.of(Owner.ANONYMOUS).bytes == 4 * MIB - empty
