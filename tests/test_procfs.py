"""/proc: the mappings, and reading memory without touching pages that nobody has touched."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from heapbuilder import PAGE, Pages, changed, usual
from sessions import answer

from gdb_heapx.errors import MemoryFault, SwappedOutError
from gdb_heapx.snapshots.take import take
from gdb_heapx.target import maps, pages, pieces, procfs
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.maps import parse_maps, parse_smaps, read_maps
from gdb_heapx.target.pages import RESIDENT, SWAPPED, UNTOUCHED, ZERO, PageStates
from gdb_heapx.target.process import ProcessMemory, QuietMemory
from gdb_heapx.target.procfs import (
    malloc_variables,
    number_of,
    parse_state,
    stands_still,
    thread_name,
)

BASE = 0x10000

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
    assert parse_maps("") == parse_smaps("") == ()


SMAPS = """\
55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  72 kB
Pss:                  40 kB
Pss_Dirty:            40 kB
Shared_Clean:          8 kB
Shared_Dirty:         24 kB
Private_Clean:         0 kB
Private_Dirty:        40 kB
Referenced:           72 kB
Anonymous:            72 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                 20 kB
SwapPss:              12 kB
Locked:               72 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac lo
7f0000000000-7f0000400000 rw-p 00000000 00:0f 77                         /anon_hugepage (deleted)
Size:               4096 kB
Rss:                   0 kB
Pss:                   0 kB
Shared_Hugetlb:     2048 kB
Private_Hugetlb:    2048 kB
Swap:                  0 kB
THPeligible:           0
ProtectionKey:         0
VmFlags: rd wr mr mw me de ht sd
7f0000600000-7f0000604000 r--p 00000000 00:00 0                          [vvar]
Rss:                   0 kB
Pss:                   0 kB
VmFlags: rd mr pf io de dd
7f0000800000-7f0000a00000 rw-p 00000000 00:00 0
Rss:                2048 kB
Pss:                2048 kB
AnonHugePages:      2048 kB
7f0000c00000-7f0000c01000 r--p 00001000 fe:01 12                         /tmp/a-b: c d
Rss:                   4 kB
Pss:                   0 kB
"""


def test_smaps_tell_of_each_mapping_what_the_kernel_counts():
    heap, hugetlb, device, huge, file = (m.usage for m in parse_smaps(SMAPS))
    assert heap == Usage(72 << 10, 40 << 10, 20 << 10, 32 << 10, 0, 0, True, None, 64 << 10)
    assert hugetlb == Usage(0, 0, 0, 2 << 20, 0, 4 << 20, False, "hugetlb")
    assert device == Usage(0, 0, 0, 0, 0, 0, False, "device")
    assert huge == Usage(2 << 20, 2 << 20, 0, 0, 2 << 20, 0, False, None)
    assert file == Usage(4 << 10, 0, 0, 0, 0, 0, False, None)


def test_smaps_give_the_mappings_of_maps():
    heads = [line for line in SMAPS.splitlines() if "-" in line.split()[0]]
    mappings = parse_smaps(SMAPS)
    assert tuple(m._replace(usage=None) for m in mappings) == parse_maps("\n".join(heads))
    assert mappings[-1].name == "/tmp/a-b: c d"


def test_mappings_with_other_fields_beside_them_have_the_same_figures_as_alone():
    lines = SMAPS.splitlines(keepends=True)
    at = [i for i, line in enumerate(lines) if "-" in line.split()[0]]
    records = [lines[i:j] for i, j in zip(at, [*at[1:], len(lines)])]
    backwards = [records[0][0], *reversed(records[0][1:])]
    many = [*records, *reversed(records), backwards, *records[:2] * 3, backwards]
    together = parse_smaps("".join(line for record in many for line in record))
    assert together == tuple(parse_smaps("".join(record))[0] for record in many)
    assert parse_smaps("".join(backwards)) == parse_smaps("".join(records[0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record,
        lambda record: record.replace("         72 kB", " 1234567890 kB"),
        lambda record: record.partition("VmFlags:")[0],
        lambda record: record.replace("Size:", "Length:"),
        lambda record: record.partition("Pss:")[0],
        lambda record: record.replace("55d0c0021000", "55d0c0000000"),
    ],
)
def test_a_mapping_unlike_the_others_changes_none_of_them(change):
    heap = SMAPS[: SMAPS.index("VmFlags:")] + "VmFlags: rd wr mr\n"
    beside = heap.replace("72 kB", "68 kB").replace("rd wr mr", "rd wr mr mw me ac lo")
    records = [heap, beside, heap, change(heap), heap, beside, change(beside), beside]
    alone = [parse_smaps(record) for record in records]
    assert parse_smaps("".join(records)) == tuple(found for each in alone for found in each)


@pytest.mark.parametrize("separator", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_files_name_may_hold_what_unicode_calls_a_line_end(separator):
    line = f"1000-2000 r--p 00000000 fe:01 12    /tmp/a{separator}b\n"
    assert parse_smaps(f"{line}Rss:     4 kB\n")[0].name == f"/tmp/a{separator}b"


@pytest.mark.parametrize("name", ["/tmp/\\012Rss: 99 kB", "/tmp/7f00-7f01 rw-p", "/tmp/Rss: 5 kB"])
def test_a_files_name_is_not_taken_for_a_figure(name):
    (mapping,) = parse_smaps(f"1000-2000 r--p 00000000 fe:01 12    {name}\nRss:     4 kB\n")
    assert (mapping.name, mapping.usage.resident) == (name, 4 << 10)


def test_the_maps_of_a_living_process_are_read():
    assert any("python" in m.name or m.name == "[stack]" for m in read_maps(os.getpid()))


@pytest.mark.parametrize("part", [100, 1000, 1 << 20])
def test_a_long_list_of_mappings_is_read_in_pieces(part, tmp_path, monkeypatch):
    path = tmp_path / "smaps"
    path.write_text(SMAPS * 9)
    monkeypatch.setattr(pieces, "PART", part)
    monkeypatch.setattr(pieces, "PARTS", 1)
    monkeypatch.setattr(pieces, "open", lambda *_, **__: path.open("rb"), raising=False)
    longest = max(map(len, pieces.pieces_of(str(path), re.compile(rb"[0-9a-f]+-"))))
    assert longest < part + len(SMAPS)
    assert read_maps(1) == parse_smaps(SMAPS * 9)


@pytest.mark.parametrize("size", [0, 1, 999, 4096, 10000])
def test_a_long_file_is_read_whole_by_few_calls(size, tmp_path, monkeypatch):
    path, data, read, calls = tmp_path / "maps", os.urandom(size), os.readv, []
    path.write_bytes(data)
    monkeypatch.setattr(pieces, "PART", 100)
    monkeypatch.setattr(pieces, "PARTS", 20)
    monkeypatch.setattr(os, "readv", lambda *args: calls.append(args) or read(*args))
    assert pieces.whole(str(path)) == data
    assert len(calls) <= size // 2000 + 2


def test_a_file_that_is_left_half_read_leaves_no_thread(tmp_path, monkeypatch):
    path, before = tmp_path / "smaps", (threading.active_count(), sys.getswitchinterval())
    path.write_text(SMAPS * 99)
    monkeypatch.setattr(pieces, "PART", 100)
    monkeypatch.setattr(pieces, "PARTS", 1)
    found = pieces.pieces_of(str(path), re.compile(rb"[0-9a-f]+-"))
    next(found)
    assert threading.active_count() > before[0]
    found.close()
    assert (threading.active_count(), sys.getswitchinterval()) == before


def test_what_can_t_be_read_further_is_an_error(tmp_path, monkeypatch):
    """As of a process that ends meanwhile (proc(5): ESRCH)."""
    path, read = tmp_path / "smaps", os.readv
    path.write_text(SMAPS * 99)
    left = iter(range(3))

    def readv(descriptor, parts):
        if next(left, None) is None:
            raise ProcessLookupError(errno.ESRCH, "gone")
        return read(descriptor, parts)

    monkeypatch.setattr(pieces, "PART", 1000)
    monkeypatch.setattr(pieces, "PARTS", 1)
    monkeypatch.setattr(os, "readv", readv)
    with pytest.raises(ProcessLookupError):
        list(pieces.pieces_of(str(path), re.compile(rb"[0-9a-f]+-")))


def test_the_kernel_has_the_same_sum_of_all_mappings():
    mappings = read_maps(os.getpid())
    with open("/proc/self/smaps_rollup") as rollup:
        fields = dict(line.split(":", 1) for line in rollup if line[0].isalpha())
    rss = int(fields["Rss"].split()[0]) << 10
    assert sum(m.usage.resident for m in mappings) == pytest.approx(rss, rel=0.02)


def test_a_kernel_without_smaps_gives_mappings_without_usage(monkeypatch):
    def without(path, *rest, **more):
        if path.endswith("smaps"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return open(path, *rest, **more)

    monkeypatch.setattr(pieces, "open", without, raising=False)
    assert {m.usage for m in read_maps(os.getpid())} == {None}


SWAP = re.compile("^Swap: +0 kB$", re.M)
STATUS = dict.fromkeys(("VmSwap", "HugetlbPages", "VmLck"), "0 kB")


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("more", [{}, *({name: "4 kB"} for name in STATUS), {"VmSwap": None}])
def test_thousands_of_mappings_need_no_figures_where_no_page_s_state_follows_from_these(
    monkeypatch, few, more
):
    monkeypatch.setattr(maps, "MANY", 1 << 20 if few else 1)
    monkeypatch.setattr(maps, "status_of", lambda pid: {**STATUS, **more})
    rollup = Path("/proc/self/smaps_rollup").read_text()
    for scans in (False, True):
        monkeypatch.setattr(maps, "tells_zero_pages", lambda scans=scans: scans)
        found, whole = maps.read_places(os.getpid()), read_maps(os.getpid())
        without = scans and not few and not more and SWAP.search(rollup)
        assert (found is not None) == bool(without)
        for each in () if found is None else [found]:
            assert {m.usage for m in each} == {None}
            places = [(m.name, m.permissions) for m in each if m.name]
            assert places == [(m.name, m.permissions) for m in whole if m.name]


@pytest.mark.parametrize("rollup", ["Rss: 8 kB\nSwap:       4 kB\n", "Rss: 8 kB\n", None])
def test_the_status_may_say_that_nothing_is_in_swap_where_little_is(monkeypatch, rollup):
    def text_of(path):
        if rollup is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return rollup

    monkeypatch.setattr(maps, "MANY", 1)
    monkeypatch.setattr(maps, "status_of", lambda pid: STATUS)
    monkeypatch.setattr(maps, "text_of", text_of)
    assert maps.read_places(os.getpid()) is None


def test_a_line_that_is_none_of_maps_gives_no_places():
    for text in (b"", b"\n", MAPS.encode() + b"more\n"):
        assert not maps._Found().add_places(text)


def test_places_are_the_mappings_that_maps_lists():
    found = maps._Found()
    found.add_places(MAPS.encode())
    assert found.mappings == parse_maps(MAPS)


def test_the_maps_of_no_process_are_an_os_error():
    with pytest.raises(OSError, match="No such"):
        read_maps(1 << 30)


def test_a_thread_has_the_kernels_name():
    with open("/proc/self/comm") as comm:
        assert thread_name(os.getpid(), os.getpid()) == comm.read().strip()


def test_a_process_stands_still_if_all_of_its_threads_are_stopped():
    assert not stands_still(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not stands_still(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert stands_still(process.pid)
        process.kill()


def test_a_thread_that_is_gone_has_no_name():
    assert thread_name(os.getpid(), 1 << 30) is None


class Recorder:
    """Memory of ones that notes which bytes are read."""

    def __init__(self):
        self.reads = []

    def read(self, address, size):
        self.reads.append((address, size))
        return memoryview(b"\1" * size)


def quiet(*states, permissions="rw-p", inode=0, name="", offset=0, swap_in=64 << 20):
    """Return a QuietMemory of eight pages from BASE on, and what is read below it."""
    memory, residency = Recorder(), Pages()
    for number, state in enumerate((*states, *[UNTOUCHED] * (100 - len(states)))):
        residency.mark(BASE + number * PAGE, BASE + (number + 1) * PAGE, state)
    mappings = (Mapping(BASE, BASE + 8 * PAGE, permissions, inode, name, offset),)
    return QuietMemory(memory, residency, os.getpid(), mappings, swap_in), memory


@pytest.mark.parametrize(("address", "size"), [(-16, 8), (BASE, -1), (BASE + PAGE, 1 << 62)])
def test_what_is_not_mapped_is_not_asked_for(address, size):
    reader, memory = quiet(RESIDENT, SWAPPED)
    with pytest.raises(MemoryFault):
        reader.read(address, size)
    assert memory.reads == []


def test_pages_in_memory_and_in_swap_are_read_at_once():
    reader, memory = quiet(RESIDENT, ZERO, SWAPPED)
    assert bytes(reader.read(BASE, 3 * PAGE)) == b"\1" * 3 * PAGE
    assert memory.reads == [(BASE, 3 * PAGE)]


def test_a_page_that_was_never_touched_is_zeros_and_not_read():
    reader, memory = quiet(UNTOUCHED)
    assert bytes(reader.read(BASE + 8, 64)) == bytes(64)
    assert memory.reads == []


def test_a_zero_page_is_mapped_already_so_reading_it_leaves_no_trace():
    reader, memory = quiet(ZERO)
    reader.read(BASE + 8, 64)
    assert memory.reads == [(BASE + 8, 64)]


def test_only_touched_pages_of_a_range_are_read():
    reader, memory = quiet(RESIDENT, UNTOUCHED, UNTOUCHED, RESIDENT, SWAPPED, UNTOUCHED)
    data = bytes(reader.read(BASE + 100, 5 * PAGE))
    expected = b"\1" * PAGE + bytes(2 * PAGE) + b"\1" * 2 * PAGE + bytes(PAGE)
    assert data == expected[100 : 100 + 5 * PAGE]
    assert memory.reads == [(BASE + 100, PAGE - 100), (BASE + 3 * PAGE, 2 * PAGE)]


@pytest.mark.parametrize("permissions", ["---p", "-w-p"])
def test_an_untouched_page_without_permission_cannot_be_read(permissions):
    reader, memory = quiet(UNTOUCHED, permissions=permissions)
    with pytest.raises(MemoryFault):
        reader.read(BASE, 8)
    assert memory.reads == []


def test_an_untouched_address_outside_of_every_mapping_cannot_be_read():
    reader, _ = quiet(UNTOUCHED)
    with pytest.raises(MemoryFault) as caught:
        reader.read(BASE + 7 * PAGE, 2 * PAGE)
    assert caught.value.address == BASE + 8 * PAGE


NOWHERE = [(-16, 8), (-PAGE, PAGE), (1 << 64, 8), ((1 << 64) - 4, 8), (BASE, -8), (BASE, 1 << 40)]


@pytest.mark.parametrize(("address", "size"), NOWHERE)
def test_where_no_memory_can_be_the_kernel_is_not_asked(monkeypatch, address, size):
    own, mappings = ProcessMemory(os.getpid()), (Mapping(BASE, BASE + PAGE, "rw-p", 0, ""),)
    asked = []
    monkeypatch.setattr(procfs.os, "pread", lambda *args: asked.append(args))
    for reader in (own, QuietMemory(own, Pages(), os.getpid(), mappings)):
        with pytest.raises(MemoryFault) as caught:
            reader.read(address, size)
        assert caught.value.address >= 0
    assert asked == []


def test_pages_are_asked_for_only_where_all_of_a_read_is_mapped(monkeypatch):
    reader, memory = quiet(*[RESIDENT] * 8)
    asked = []
    monkeypatch.setattr(Pages, "states", lambda _, start, end: asked.append((start, end)))
    with pytest.raises(MemoryFault) as caught:
        reader.read(BASE + PAGE, 1 << 30)
    assert caught.value.address == BASE + 8 * PAGE
    assert asked == memory.reads == []


def test_an_untouched_page_of_a_file_is_read_from_the_file(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"a" * PAGE + b"b" * PAGE)
    inode = path.stat().st_ino
    reader, memory = quiet(UNTOUCHED, inode=inode, name=str(path), permissions="r--p", offset=PAGE)
    assert bytes(reader.read(BASE, 16)) == b"b" * 16
    assert memory.reads == []


def test_what_is_behind_a_files_end_is_zeros(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"a" * 100)
    reader, _ = quiet(UNTOUCHED, inode=path.stat().st_ino, name=str(path), permissions="r--p")
    assert bytes(reader.read(BASE + 96, 8)) == b"aaaa" + bytes(4)


def test_a_file_that_was_replaced_is_not_taken(tmp_path):
    path = tmp_path / "library"
    path.write_bytes(b"new")
    reader, memory = quiet(
        UNTOUCHED, inode=path.stat().st_ino + 1, name=str(path), permissions="r--p"
    )
    assert bytes(reader.read(BASE, 4)) == b"\1" * 4
    assert memory.reads == [(BASE, 4)]


def test_a_huge_page_of_a_pool_is_read_though_no_rss_counts_it(tmp_path, monkeypatch):
    (tmp_path / "pagemap").write_bytes((5 << 61).to_bytes(8, "little") * (BASE // PAGE + 1))
    pool = tmp_path / "pool"
    pool.write_bytes(bytes(PAGE))  # what a private mapping wrote isn't in its file
    usage = Usage(0, 0, 0, 0, 0, PAGE, False, "hugetlb")
    mapping = Mapping(BASE, BASE + PAGE, "rw-p", pool.stat().st_ino, str(pool), 0, usage)
    opened = (tmp_path / "pagemap").open("rb", buffering=0)
    monkeypatch.setattr(pages, "open", lambda *_, **__: opened, raising=False)
    states, memory = PageStates(0, PAGE, (mapping,)), Recorder()
    assert bytes(QuietMemory(memory, states, os.getpid(), (mapping,), 0).read(BASE, 8)) == b"\1" * 8
    assert memory.reads == [(BASE, 8)]


# What may be brought back from swap.


def test_swapped_pages_are_read_up_to_the_allowance():
    reader, memory = quiet(*[SWAPPED] * 4, swap_in=3 * PAGE)
    reader.read(BASE, 3 * PAGE)
    with pytest.raises(SwappedOutError) as caught:
        reader.read(BASE + 3 * PAGE + 8, 8)
    assert caught.value.address == BASE + 3 * PAGE
    assert memory.reads == [(BASE, 3 * PAGE)]


def test_a_page_counts_once_however_often_it_is_read():
    reader, _ = quiet(SWAPPED, SWAPPED, swap_in=PAGE)
    for offset in (0, 8, PAGE - 8):
        reader.read(BASE + offset, 8)


def test_a_read_that_is_refused_costs_nothing():
    reader, _ = quiet(*[SWAPPED] * 3, swap_in=PAGE)
    with pytest.raises(SwappedOutError):
        reader.read(BASE, 3 * PAGE)
    reader.read(BASE + 2 * PAGE, 8)


@pytest.mark.parametrize("state", [RESIDENT, UNTOUCHED, ZERO])
def test_without_an_allowance_all_that_is_not_swapped_is_read(state):
    reader, _ = quiet(state, SWAPPED, swap_in=0)
    reader.read(BASE, PAGE)
    with pytest.raises(SwappedOutError):
        reader.read(BASE + PAGE - 8, 16)


@pytest.mark.parametrize(
    ("available", "allowance"),
    [
        ("MemAvailable:   24105000 kB\n", 64 << 20),
        ("MemAvailable:     102400 kB\n", 10 << 20),
        ("", 0),
    ],
)
def test_the_allowance_is_64_mib_but_a_tenth_of_what_is_available(
    tmp_path, monkeypatch, available, allowance
):
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal: 99999999 kB\n{available}SwapTotal: 0 kB\n")
    monkeypatch.setattr(procfs, "open", lambda _: path.open(), raising=False)
    assert procfs.swap_allowance() == allowance


# A whole heap, of which a part is swapped out.


def swapped_heap(start, end, swap_in=0):
    """Return the target of a heap with a range swapped out, and `swap_in` bytes of allowance."""
    heap = usual()
    heap.residency = Pages()
    target = heap.target()
    heap.residency.mark(start(heap), end(heap), SWAPPED)
    return heap, bounded(target, swap_in)


def bounded(target, swap_in):
    """Return the target whose memory is read as a process's, with so much of its swap at most."""
    space = target.space
    memory = QuietMemory(space.memory, space.residency, 0, space.mappings, swap_in)
    return changed(target, memory=memory)


def middle(arena):
    return lambda heap: heap.arenas[arena].heaps[0][0] + 16 * PAGE


def test_a_heap_that_is_swapped_out_is_a_problem_and_no_damage():
    heap, target = swapped_heap(middle(0), lambda heap: heap.main.top - PAGE)
    snapshot = take(target)
    (problem,) = snapshot.problems
    assert (problem.code, problem.damage) == ("swapped_out", False)
    assert middle(0)(heap) <= problem.address < heap.main.top
    assert "--swap-in" in problem.statement
    main, *others = snapshot.arenas()
    assert main.in_use is None
    assert all(arena.in_use for arena in others)
    assert answer("check", snapshot).status == 0


def test_with_an_allowance_a_swapped_heap_is_read_whole():
    heap, target = swapped_heap(middle(0), lambda heap: heap.main.top - PAGE, 1 << 20)
    snapshot = take(target)
    assert not snapshot.problems
    assert snapshot.arenas()[0].in_use == heap.main.book["used", "bytes"]


LISTS = {
    "bin": lambda heap: heap.arenas[1].bins[1][0],
    "fastbin": lambda heap: heap.arenas[1].fast[0][0],
    "tcache": lambda heap: heap.caches[1].entries[2][0],
}


@pytest.mark.parametrize("place", LISTS.values(), ids=LISTS)
def test_nothing_that_is_swapped_out_is_damage(place):
    _, target = swapped_heap(lambda heap: place(heap) & -PAGE, lambda heap: place(heap) + 8)
    problems = take(target).problems
    assert problems
    assert [p for p in problems if p.damage] == []


# Texts that the process controls.


def test_a_state_is_what_follows_the_name_whatever_that_is():
    assert parse_state("12 (a) S (b\udcff) R 1 2 3\n") == "R"
    assert parse_state("") == ""


def test_a_number_of_the_kernels_has_a_few_digits():
    assert number_of("123") == 123
    assert [number_of(text) for text in (None, "", "x", "9" * 5000)] == [None] * 4


def test_what_is_no_line_of_maps_is_left_out():
    line = "1000-2000 rw-p 00000000 00:00 0 "
    assert [m.start for m in parse_maps(f"{line}\nx\n2000-1000 rw-p 0 00:00 0\n")] == [0x1000]


def test_malloc_reads_the_last_tunables_and_all_that_seem_to_follow():
    data = b"GLIBC_TUNABLES=a=1\0glibc.malloc.x=2\0XMALLOC_ARENA_MAX=3\0MALLOC_ARENA_MAX=\xff\0"
    assert malloc_variables(data) == {
        "GLIBC_TUNABLES": "a=1:glibc.malloc.x=2",
        "MALLOC_ARENA_MAX": "\udcff",
    }
