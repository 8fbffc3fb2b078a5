"""Roots of built processes: what is one and what isn't, byte for byte."""

from __future__ import annotations

import pytest
from heapbuilder import AMD64, I386, PAGE, PTHREAD, USED, File, HeapBuilder, changed, usual
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.held.root import Root, RootKind, Roots, arranged
from gdb_heapx.held.roots import find_roots
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.target.images import Image
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.target import Registers

SPAN = st.tuples(st.integers(0, 200), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1]))
KINDS = (RootKind.TLS, RootKind.STACK, RootKind.MAPPING)


@tried(300)
@given(st.lists(st.lists(SPAN, max_size=6), min_size=3, max_size=3), st.lists(SPAN, max_size=5))
def test_each_byte_belongs_to_the_first_layer_that_has_it_and_to_none_in_a_hole(layers, holes):
    kinds = [[Root(kind, *span) for span in layer] for kind, layer in zip(KINDS, layers)]
    found = arranged(kinds, holes)
    owners = {}
    for root in found:
        assert root.start < root.end
        for byte in range(root.start, root.end):
            assert byte not in owners
            owners[byte] = root.kind
    for byte in range(250):
        first = [
            kind
            for kind, layer in zip(KINDS, layers)
            if any(start <= byte < end for start, end in layer)
        ]
        hole = any(start <= byte < end for start, end in holes)
        assert owners.get(byte) == (None if hole or not first else first[0])
    assert found == sorted(found, key=lambda root: root.start)


def roots_of(target, shared=False):
    return find_roots(open_target(target), shared)


def kind_at(roots: Roots, address):
    found = roots.at(address)
    return found.kind if found else None


def with_memory(heap, *mappings, **changes):
    """Return the process with more mappings."""
    target = heap.target()
    every = sorted((*target.space.mappings, *mappings), key=lambda mapping: mapping.start)
    return changed(target, mappings=tuple(every), **changes)


def pointers(**threads):
    """Return what registers say: stack pointers by LWP."""
    return lambda: {
        int(lwp[1:]): Registers(sp, {"sp": (sp,), "v0": (1, 2)}) for lwp, sp in threads.items()
    }


@pytest.mark.parametrize("machine", [AMD64, I386])
def test_no_byte_of_a_heap_or_an_mmapped_chunk_is_a_root(machine):
    heap = usual(machine)
    chunk = heap.mmapped(64 * PAGE)
    apart = heap.mmapped(64 * PAGE, apart=True)
    roots = roots_of(heap.target())
    for arena in heap.arenas:
        for start, end in arena.heaps:
            assert not any(root.start < end and start < root.end for root in roots.spans)
    for address in (chunk, apart):
        assert kind_at(roots, address) is None
        assert kind_at(roots, address + 32 * PAGE) is None


def test_malloc_s_own_variables_are_no_roots_and_those_beside_them_are():
    heap = usual()
    beside = heap.variable("beside", 64)
    roots = roots_of(heap.target())
    for name, size in (("main_arena", heap.layout.state.size), ("mp_", heap.layout.par.size)):
        start = heap.symbols[name]
        assert [kind_at(roots, at) for at in (start, start + size - 1)] == [None, None]
        assert kind_at(roots, start + size) is not None
    assert kind_at(roots, beside) is not None


def test_what_another_user_of_sbrk_has_between_the_chunks_is_a_root():
    heap = HeapBuilder()
    heap.main.add(USED, 1024)
    gap = heap.main.foreign_sbrk(3 * PAGE)
    first = heap.main.add(USED, 256)
    heap.main.close()
    roots = roots_of(heap.target())
    assert kind_at(roots, gap) is RootKind.MAPPING
    assert kind_at(roots, gap + 3 * PAGE - 1) is RootKind.MAPPING
    assert kind_at(roots, gap - 64) is None
    assert kind_at(roots, first) is None


def test_what_of_a_heap_lies_behind_damage_may_hold_anything_and_that_is_told():
    heap = HeapBuilder()
    first, damaged = heap.main.add(USED, 1024), heap.main.add(USED, 256)
    behind = heap.main.add(USED, 4096)
    heap.main.close()
    heap.poke(damaged + heap.word, 0x7FFF0001)
    roots = roots_of(heap.target())
    assert kind_at(roots, first + 64) is None
    assert kind_at(roots, behind + 64) is RootKind.MAPPING
    assert kind_at(roots, heap.main.top + 64) is None
    (told,) = (missed for missed in roots.missed if "walked" in missed.why)
    assert (told.bytes, told.taken_whole) == (heap.main.top - damaged, True)


def test_mmapped_chunks_that_are_not_those_that_libc_counts_are_other_memory():
    heap = usual()
    chunk = heap.mmapped(64 * PAGE)
    target = heap.target()
    heap.field(heap.layout.par, heap.symbols["mp_"], "n_mmaps", 2)
    roots = roots_of(target)
    assert kind_at(roots, chunk) is RootKind.MAPPING
    (told,) = (missed for missed in roots.missed if "mmapped" in missed.why)
    assert told.taken_whole


def test_a_stack_is_a_root_from_its_stack_pointer_on():
    heap = usual()
    start, end = heap.stack(heap.caches[1], 64 * PAGE, inside=True)
    pointer = start + 20 * PAGE + 8
    roots = roots_of(changed(heap.target(), registers=pointers(_101=pointer)))
    assert roots.at(pointer) == Root(RootKind.STACK, pointer, heap.caches[1].pthread, 101)
    assert roots.at(end - PTHREAD).kind is RootKind.TLS
    zone = roots.at(pointer - 1)
    assert zone[:4] == (RootKind.RED_ZONE, pointer - 128, pointer, 101)
    assert kind_at(roots, pointer - 129) is None
    assert kind_at(roots, start + PAGE) is None


@pytest.mark.parametrize(
    ("machine", "size"),
    [(Architecture.X86_64, 128), (Architecture.AARCH64, 0), (Architecture.POWERPC, 288)],
)
def test_what_a_function_may_use_below_its_stack_pointer_is_as_the_abi_says(machine, size):
    heap = usual()
    mapping = Mapping(0x7FFF00000000, 0x7FFF00100000, "rw-p", 0, "[stack]")
    pointer = mapping.start + 0x80000
    target = with_memory(heap, mapping, registers=pointers(_100=pointer), machine=machine)
    zones = [root for root in roots_of(target).spans if root.kind is RootKind.RED_ZONE]
    assert [(zone.start, zone.end) for zone in zones] == ([(pointer - size, pointer)] * bool(size))


def test_a_thread_on_memory_of_the_program_s_own_has_its_stack_there_and_the_rest_stays():
    heap = usual()
    mapping = Mapping(0x7F8000000000, 0x7F8000100000, "rw-p", 0, "")
    pointer = mapping.start + 0x80000
    roots = roots_of(with_memory(heap, mapping, registers=pointers(_102=pointer)))
    assert roots.at(pointer) == Root(RootKind.STACK, pointer, mapping.end, 102)
    assert roots.at(mapping.start).kind is RootKind.MAPPING


def test_a_thread_whose_stack_is_a_chunk_adds_no_root():
    heap = usual()
    chunk = heap.mmapped(64 * PAGE)
    roots = roots_of(changed(heap.target(), registers=pointers(_102=chunk + 32 * PAGE)))
    assert kind_at(roots, chunk + 33 * PAGE) is None
    assert [r.words for r in roots.registers if r.name == "sp"] == [(chunk + 32 * PAGE,)]


def test_where_nobody_tells_registers_stacks_count_whole_and_that_is_told():
    heap = usual()
    start, _ = heap.stack(heap.caches[1], 64 * PAGE, inside=True)
    roots = roots_of(heap.target())
    assert roots.at(start + PAGE).kind is RootKind.STACK
    assert not [r for r in roots.registers if r.kind is RootKind.REGISTER]
    told = {(missed.kind, missed.taken_whole) for missed in roots.missed}
    assert {(RootKind.REGISTER, False), (RootKind.STACK, True)} <= told


def test_of_a_thread_that_gdb_does_not_see_the_registers_are_missed():
    heap = usual()
    (told,) = (
        missed
        for missed in roots_of(changed(heap.target(), registers=pointers(_100=0x1000))).missed
        if missed.kind is RootKind.REGISTER
    )
    assert "2 threads (101, 102)" in told.why


@pytest.mark.parametrize(
    ("permissions", "inode", "name", "kind"),
    [
        ("rw-p", 0, "", RootKind.MAPPING),
        ("r--p", 0, "", RootKind.MAPPING),
        ("rwxp", 0, "[anon: pool]", RootKind.MAPPING),
        ("rw-p", 7, "/data", RootKind.MAPPING),
        ("r--p", 7, "/data", None),
        ("---p", 0, "", None),
        ("r--p", 0, "[vvar]", None),
        ("r--s", 7, "/data", None),
        ("rw-s", 7, "/data", RootKind.SHARED),
        ("rw-s", 9, "/dev/zero (deleted)", RootKind.SHARED),
        ("rw-s", 9, "anon_inode:[perf_event]", None),
    ],
)
def test_memory_is_a_root_where_pointers_may_have_been_written(permissions, inode, name, kind):
    mapping = Mapping(0x7F8000000000, 0x7F8000010000, permissions, inode, name)
    target = with_memory(usual(), mapping)
    assert kind_at(roots_of(target, shared=True), mapping.start) is kind
    asked = roots_of(target)
    if kind is RootKind.SHARED:
        assert kind_at(asked, mapping.start) is None
        (told,) = (missed for missed in asked.missed if missed.kind is kind)
        assert (told.bytes, told.taken_whole) == (mapping.size, False)
    else:
        assert kind_at(asked, mapping.start) is kind
        assert RootKind.SHARED not in {missed.kind for missed in asked.missed}


def test_each_dtv_is_held_by_its_thread():
    heap = usual()
    held = [r for r in roots_of(heap.target()).registers if r.kind is RootKind.TLS]
    dtvs = {cache.lwp: (cache.pthread + 128 - 16,) for cache in heap.caches}
    assert {register.lwp: register.words for register in held} == dtvs


def test_of_a_stack_that_nptl_keeps_only_the_dtv_is_left():
    heap = usual()
    start, end = heap.stack(heap.caches[1], 64 * PAGE, inside=True)
    target = heap.target()
    (used, user), node = heap._heads()[0], heap.caches[1].pthread + 64
    kept = 2 * user - used
    before, behind = heap.caches[0].pthread + 64, heap.caches[2].pthread + 64
    for at, value in ((before, behind), (kept, node), (node, kept)):
        heap.poke(at, value)
    roots = roots_of(target)
    assert not [root for root in roots.spans if root.start < end and start < root.end]
    left = heap.caches[1].pthread + 112
    assert left in roots.left
    assert [r for r in roots.registers if left in r.words] == []


def test_a_core_that_is_cut_short_is_told():
    target = changed(usual().target(), live=False, cut="the core is cut short")
    (told,) = (m for m in roots_of(target).missed if m.kind is RootKind.MAPPING)
    assert "cut short" in told.why


def test_memory_that_nobody_may_read_now_but_that_is_in_use_is_missed():
    usage = Usage(5 * PAGE, 0, 0, 0, 0, 0, False, None)
    hidden = Mapping(0x7F8000000000, 0x7F8000010000, "---p", 0, "", 0, usage)
    (told,) = (
        m for m in roots_of(with_memory(usual(), hidden)).missed if m.kind is RootKind.MAPPING
    )
    assert told.bytes == 5 * PAGE


def test_of_a_thread_that_nobody_has_joined_what_it_returned_is_a_root_and_its_variables_are_not():
    heap = usual()
    heap.stack(heap.caches[1], 64 * PAGE, inside=True)
    target, pthread = heap.target(), heap.caches[1].pthread
    heap.poke(pthread + 32, 0)
    roots = roots_of(target)
    assert roots.at(pthread)[3:] == (None, None, "struct pthread")
    assert kind_at(roots, pthread + 8) is None  # the DTV, which nobody uses any more
    assert kind_at(roots, pthread + 16) is RootKind.TLS
    assert kind_at(roots, pthread - 8) is None
    assert pthread + 128 - 16 in roots.left


def test_what_the_kernel_keeps_and_does_not_tell_is_missed():
    kept = {"epoll 5": (0x1234, 0x5678), "io_uring 7": None, "epoll 8": ()}
    roots = roots_of(changed(usual().target(), kept_by_kernel=lambda: kept))
    held = [r for r in roots.registers if r.kind is RootKind.KERNEL]
    assert [(r.lwp, r.name, r.words) for r in held] == [(4711, "epoll 5", (0x1234, 0x5678))]
    (told,) = (missed for missed in roots.missed if missed.kind is RootKind.KERNEL)
    assert "(io_uring 7)" in told.why


@pytest.mark.parametrize(
    ("name", "what"), [("epoll_ctl", "epoll"), ("timer_create", "timers"), ("malloc", "")]
)
def test_where_nobody_asks_the_kernel_what_it_keeps_is_missed_of_programs_that_use_it(name, what):
    target = usual().target()
    file = File(imported=frozenset([name]))
    user = Image("/bin/x", (), target.space.memory, lambda _: file)
    roots = roots_of(changed(target, objects=(*target.objects, user)))
    told = [each.why for each in roots.missed if each.kind is RootKind.KERNEL]
    assert told == [f"what the kernel keeps ({what})"] * bool(what)


@pytest.mark.parametrize(
    ("name", "by_debugger"), [("madvise", True), ("madvise", False), ("malloc", True)]
)
def test_memory_may_be_missing_from_a_debuggers_core_of_programs_that_use_madvise(
    name, by_debugger
):
    target = usual().target()
    file = File(imported=frozenset([name]))
    user = Image("/bin/x", (), target.space.memory, lambda _: file)
    objects = (*target.objects, user)
    roots = roots_of(changed(target, objects=objects, live=False, by_debugger=by_debugger))
    told = [each for each in roots.missed if "MADV_DONTDUMP" in each.why]
    assert len(told) == (name == "madvise" and by_debugger)


@pytest.mark.parametrize("name", ["timer_create", "malloc"])
def test_timers_of_which_the_kernel_does_not_tell_are_missed_of_programs_that_use_them(name):
    target = usual().target()
    file = File(imported=frozenset([name]))
    user = Image("/bin/x", (), target.space.memory, lambda _: file)
    objects = (*target.objects, user)
    roots = roots_of(changed(target, objects=objects, kept_by_kernel=lambda: {"timers": None}))
    missed = [each.kind for each in roots.missed]
    assert (RootKind.KERNEL in missed) == (name == "timer_create")


@pytest.mark.parametrize("permissions", ["rw-s", "r--s"])
def test_memory_of_devices_is_not_looked_at_and_missed_where_it_can_be_written(permissions):
    usage = Usage(0, 0, 0, 0, 0, 0, False, "device")
    device = Mapping(0x7F8000000000, 0x7F8000010000, permissions, 0, "/dev/dri/card0", 0, usage)
    roots = roots_of(with_memory(usual(), device))
    told = [m.bytes for m in roots.missed if "devices" in m.why]
    assert told == ([device.size] if "w" in permissions else [])
    assert kind_at(roots, device.start) is None


@pytest.mark.parametrize("live", [True, False])
def test_memory_that_a_core_lacks_is_missed_since_it_may_have_been_left_out(live):
    absent = Mapping(0x7F8000000000, 0x7F8000010000, "-w-p", 0, "")
    target = changed(with_memory(usual(), absent), live=live)
    told = [m.bytes for m in roots_of(target).missed if "isn't in the core" in m.why]
    assert told == ([] if live else [absent.size])


def test_where_the_main_thread_has_ended_its_stack_counts_whole_as_that_of_no_other_thread():
    stack = Mapping(0x7FFF00000000, 0x7FFF00100000, "rw-p", 0, "[stack]")
    roots = roots_of(with_memory(usual(), stack, registers=pointers(_101=0x1000)))
    assert roots.at(stack.start)[:4] == (RootKind.STACK, stack.start, stack.end, 4711)
    (told,) = (m for m in roots.missed if m.kind is RootKind.STACK and "4711" in m.why)
    assert (told.bytes, told.taken_whole) == (stack.size, True)
