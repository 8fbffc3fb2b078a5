"""Growth without a process: which calls are watched, what they mean, and who is said to ask."""

from __future__ import annotations

import struct
import time

import pytest
from heapbuilder import FAST, FREE, UNSORTED, USED, HeapBuilder, usual

from gdb_heapx.cli.command import REGISTRY, parse
from gdb_heapx.commands.growth import GROWTH, STACKS
from gdb_heapx.errors import UsageError
from gdb_heapx.fit.unusable import BEHIND, OWN_TCACHE, SMALL, TCACHES
from gdb_heapx.fit.unusable import FAST as NOT_MERGED
from gdb_heapx.glibc.architecture import Architecture
from gdb_heapx.growth.calls import Call, _text, calls_in
from gdb_heapx.growth.free import Free, free_at_once, free_in, total
from gdb_heapx.growth.load import Allowance, Load
from gdb_heapx.growth.noting import Before, Grower, Notebook
from gdb_heapx.growth.sites import Frame, Names, is_wrapper, site_of, sites_of
from gdb_heapx.growth.tried import try_looking
from gdb_heapx.growth.unusable import NONE_KNOWN, KnownCaches, Requested, far, near
from gdb_heapx.growth.watched import Growth, SourceLine, Tried, Wishes, announced
from gdb_heapx.report.model import Report
from gdb_heapx.report.stacks import folded
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.named import Function

START, TARGET = 0x1000, 0x5000
RELEASES = [(2, 31), (2, 36), (2, 42), (2, 43), (2, 44)]


# Which calls are watched.


def test_a_call_of_x86_is_found_wherever_it_lies():
    call = b"\xe8" + struct.pack("<i", TARGET - (START + 3 + 5))
    other = b"\xe8" + struct.pack("<i", 0x7777)
    text = b"\x90\xe8\x90" + call + other + b"\xe8"
    found = calls_in(text, START, {TARGET: "sysmalloc"}, Architecture.X86_64)
    assert list(found) == [Call(START + 3, START + 8, "sysmalloc")]


@pytest.mark.parametrize("target", [0x0, TARGET], ids=["backwards", "forwards"])
def test_a_call_of_aarch64_is_found(target):
    away = (target - (START + 8)) // 4 & (1 << 26) - 1
    words = struct.pack("<III", 0xD503201F, 0x14000000 | away, 0x94000000 | away)
    found = calls_in(words, START, {target: "mmap"}, Architecture.AARCH64)
    assert list(found) == [Call(START + 8, START + 12, "mmap")]


def test_without_symbols_malloc_reaches_to_the_functions_of_others():
    names = {10: "qsort", 100: "free", 150: "malloc", 160: "__libc_malloc", 300: "mtrace"}
    functions = [Function(at, at + 8, name) for at, name in names.items()]
    assert _text(functions) == Function(18, 300, "malloc")
    assert _text([f for f in functions if "malloc" not in f.name]) is None


# What was free.


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_what_is_free_in_an_arena_is_what_its_lists_have(release):
    heap = HeapBuilder(release=release)
    free = [(FREE, 4096), (FREE, 64), (UNSORTED, 2048), (FREE, 4096), (UNSORTED, 100_000)]
    free += [(FAST, 48), (FAST, 48)] if release < (2, 43) else []
    for state, size in free:
        heap.main.add(USED, 64)
        heap.main.add(state, size)
    heap.main.add(USED, 64)
    heap.target()
    found = free_in(heap.memory.read, heap.layout, heap.main.address)
    sizes = [size for _, size in free]
    assert found == Free(sum(sizes), len(sizes), max(sizes))
    part = free_in(heap.memory.read, heap.layout, heap.main.address, 2)
    assert part == Free(8192, 2, 4096, whole=False)


def test_of_a_broken_list_only_what_can_be_reached_counts():
    heap = HeapBuilder()
    heap.main.add(USED, 64)
    chunk = heap.main.add(FREE, 4096)
    heap.main.add(USED, 64)
    heap.poke(chunk + heap.layout.header + heap.word, 0x1234)  # bk
    found = free_in(heap.memory.read, heap.layout, heap.main.address)
    assert found == Free(0, 0, 0, whole=False)


# What is said before.


def test_what_is_tried_before_is_what_the_first_stop_reads(monkeypatch):
    heap = HeapBuilder()
    for arena, number in ((heap.main, 3), (heap.arena(), 70), (heap.arena(), 20)):
        for _ in range(number):
            arena.add(USED, 64)
            arena.add(FREE, 4096)
        arena.add(USED, 64)
    heap.target()
    reads = []

    def read(address: int, size: int) -> bytes:
        reads.append(address)
        return heap.memory.read(address, size)

    monkeypatch.setattr(time, "perf_counter", lambda: float(len(reads)))
    malloc, asked = Grower(heap.layout, heap.main.address, read), heap.arenas[1].address
    told = try_looking(malloc, NONE_KNOWN, by_request=True)
    reads.clear()
    arenas = malloc.ring()
    free_at_once(read, heap.layout, arenas, 1000)
    before = Before("sysmalloc", 0.5, 1, (), (1 << 20, asked))
    Notebook(malloc).enter(before, arenas)
    read_of_arena = 2  # its system_mem and its top
    assert told.everywhere == len(reads) - read_of_arena
    reads.clear()
    Notebook(malloc).enter(before, None)
    assert told.own == len(reads) - read_of_arena > 70
    assert try_looking(malloc, NONE_KNOWN, by_request=False).own is None


@pytest.mark.parametrize(
    ("threads", "tried", "said"),
    [
        (1, Tried(0.0, 0.0), "Each time malloc gets memory from the system it stands still."),
        (20, Tried(0.0, 0.0), "all 20 threads stand still"),
        (1, Tried(0.0042, 0.0555), "up to 4.2 ms just now, and"),
        (1, Tried(0.0042, 0.0555), "which took 55.5 ms."),
        (1, Tried(None, 0.0555), "At the first, heapx looks at what is free: that took 55.5 ms"),
    ],
)
def test_the_announcement_says_what_is_known_before(threads, tried, said):
    assert said in announced(Wishes(30, 100, 20), 4711, threads, tried, guarded=True)


def test_a_load_of_all_the_time_is_no_bound():
    known = (4711, 1, Tried(0.0, 0.0), True)
    assert "20 % of the time" in announced(Wishes(30, 100, 20), *known)
    assert "% of the time" not in announced(Wishes(30, 100, 100), *known)


# What calls mean.


class Noted:
    """A heap, and the notes of one thread's calls."""

    def __init__(self) -> None:
        self.heap = HeapBuilder()
        self.arena = self.heap.arena()
        self.chunk = self.arena.add(USED, 4096)
        self.mapped = self.heap.mmapped(1 << 20)
        self.heap.target()
        grower = Grower(self.heap.layout, self.heap.main.address, self.heap.memory.read)
        self.book = Notebook(grower)

    def call(self, callee: str, *arguments: int, result: int, meanwhile: int = 0) -> Growth | None:
        four = (*arguments, 0, 0, 0, 0)[:4]
        if self.book.wanted(callee, four):
            self.book.enter(Before(callee, 0.5, 1, (), four), None)
        if meanwhile:
            state, arena = self.heap.layout.state, self.arena.address
            at = arena + state["system_mem"].offset
            self.heap.poke(at, self.heap.peek(at) + meanwhile)
        return self.book.leave(1, result)


def test_sysmalloc_grows_an_arena_by_what_system_mem_says():
    noted = Noted()
    user = noted.chunk + noted.heap.layout.header
    grown = noted.call("sysmalloc", 4096, noted.arena.address, result=user, meanwhile=8192)
    assert (grown.source, grown.arena, grown.chunk_size) == ("extend", noted.arena.address, 4096)
    assert grown.bytes == 8192


def test_sysmalloc_maps_a_chunk_by_what_its_header_says():
    noted = Noted()
    user = noted.mapped + noted.heap.layout.header
    grown = noted.call("sysmalloc", 1_000_016, noted.arena.address, result=user)
    assert (grown.source, grown.arena, grown.chunk_size) == ("mmap", None, 1_000_016)
    assert grown.bytes == 1 << 20


FAILED = (1 << 64) - 1


@pytest.mark.parametrize(
    ("callee", "arguments", "result"),
    [
        ("sysmalloc", (4096, 0x1234), 0),
        ("new_heap", (4096,), 0),
        ("sbrk", (4096,), FAILED),
        ("mmap", (0, 4096, 3, 0), FAILED),
        ("mremap", (0, 4096, 8192, 0), FAILED),
        ("mprotect", (0, 4096, 3), FAILED),
    ],
)
def test_what_fails_is_counted_and_grows_nothing(callee, arguments, result):
    noted = Noted()
    assert noted.call(callee, *arguments, result=result) is None
    assert (noted.book.failed, noted.book.growths, noted.book.unfinished) == (1, [], 0)


@pytest.mark.parametrize(
    ("callee", "arguments"),
    [
        ("sbrk", (-4096 % (1 << 64),)),
        ("sbrk", (0,)),
        ("mmap", (0, 1 << 26, 0, 0)),
        ("mprotect", (0, 4096, 0)),
        ("mremap", (0, 8192, 4096, 0)),
    ],
)
def test_what_gives_memory_back_or_only_reserves_it_is_no_growth(callee, arguments):
    noted = Noted()
    assert noted.call(callee, *arguments, result=0x7000) is None
    assert (noted.book.failed, noted.book.growths) == (0, [])


def test_calls_for_memory_tell_the_arena_by_the_heap():
    noted = Noted()
    assert noted.call("sbrk", 4096, result=0x7000).arena == noted.heap.main.address
    inside = noted.arena.address + 8192
    grown = noted.call("mprotect", inside, 4096, 3, result=0)
    assert (grown.source, grown.arena, grown.bytes) == ("extend", noted.arena.address, 4096)


# How long a process may stand still.


def test_no_stretch_of_time_has_more_than_its_share_and_that_of_a_second():
    load = Load(0.2, 0.0)
    assert not load.spent(0.1, 10.0)  # quiet time before is no credit
    assert not load.spent(0.1, 10.001)
    assert load.spent(0.01, 10.002)
    assert load.stood == pytest.approx(0.21)


def test_a_share_that_is_kept_goes_on_for_good():
    load = Load(0.2, 0.0)
    assert not any(load.spent(0.019, second / 10) for second in range(1, 10_000))
    load = Load(0.2, 0.0)
    assert any(load.spent(0.021, second / 10) for second in range(1, 10_000))


# Who asked.

MALLOC, NEW = (
    Frame("malloc", "/lib/libc.so.6", True),
    Frame("operator new(unsigned long)", "x", True),
)
ASKS, MAIN = Frame("ask", "/bin/program", False), Frame("main", "/bin/program", False)


def test_who_asked_is_the_innermost_function_that_allocates_for_nobody():
    assert site_of((MALLOC, NEW, ASKS, MAIN)) == ASKS
    assert site_of((MALLOC, Frame("0x1234", None, False), MAIN)) == MAIN
    assert site_of((MALLOC, NEW)) == NEW
    assert site_of(()) is None


@pytest.mark.parametrize(
    ("name", "allocates"),
    [
        ("operator new(unsigned long)", True),
        ("std::allocator<char>::allocate(unsigned long)", True),
        ("void std::vector<int>::_M_realloc_insert<int const&>(int const&)", True),
        ("std::pair<int, bool> std::set<int>::emplace<int>(int&&)", True),
        ("_PyObject_Malloc", True),
        ("std::string app::name<int>(int)", False),
        ("void app::fill<int, std::string>(std::vector<int>&)", False),
        ("main", False),
    ],
)
def test_what_only_allocates_for_others_is_told_by_its_own_name(name, allocates):
    assert is_wrapper(name) == allocates


class Named:
    """Names by number: the innermost frame has the first."""

    def of(self, stack):
        return tuple((MALLOC, ASKS, MAIN)[number] for number in stack)


def grown(size: int, stack=(0, 1, 2), **more) -> Growth:
    known = {"at": 0.0, "thread": 1, "source": "extend", "arena": 7, "chunk_size": 48, "free": None}
    return Growth(**{**known, **more, "bytes": size, "stack": stack})


def test_call_sites_add_up_and_that_with_most_bytes_is_first():
    growths = [grown(1), grown(2, (0, 2)), grown(4, thread=2, chunk_size=64), grown(8, arena=None)]
    first, second = sites_of(growths, Named(), {7: 3})
    assert (first.frame.name, first.requests, first.bytes) == ("ask", 3, 13)
    assert (first.smallest, first.largest, first.arenas, first.threads) == (48, 64, (3,), (1, 2))
    assert (second.frame.name, second.bytes) == ("main", 2)
    assert [stack.frames for stack in second.stacks] == [(MALLOC, MAIN)]


def test_functions_that_were_inlined_have_frames_of_their_own_and_the_innermost_is_asked():
    code = {
        20: (
            SourceLine("allocator<int>::allocate", "new.h", 1),
            SourceLine("fill", "/src/a.cc", 7),
        ),
        30: (SourceLine("main", "/src/a.cc", 9),),
    }
    names = Names((), (), lambda _: None, code)
    frames = names.of((10, 20, 30))
    assert [(f.name, f.at) for f in frames[1:]] == [
        *(("allocator<int>::allocate", "new.h:1"), ("fill", "a.cc:7"), ("main", "a.cc:9")),
    ]
    assert frames[0] == Frame("0xa", None, False)


def test_a_function_has_a_site_for_each_line_that_asks():
    class Lines:
        def of(self, stack):
            return (MALLOC, ASKS._replace(source="/src/a.c", line=stack[0]), MAIN)

    found = sites_of([grown(1, (7,)), grown(2, (8,)), grown(4, (7,))], Lines(), {})
    assert [(site.frame.at, site.bytes) for site in found] == [("a.c:7", 5), ("a.c:8", 2)]


def test_what_is_free_in_all_arenas_is_looked_at_up_to_a_bound():
    heap = HeapBuilder()
    for arena in (heap.main, heap.arena(), heap.arena()):
        for _ in range(4):
            arena.add(UNSORTED, 1024)
            arena.add(USED, 32)
        arena.close(64 << 10)
    heap.target()
    read, arenas = heap.memory.read, [arena.address for arena in heap.arenas]
    whole = free_at_once(read, heap.layout, arenas, 100)
    assert [(free.chunks, free.whole) for free in whole.values()] == [(4, True)] * 3
    part = free_at_once(read, heap.layout, arenas, 6)
    assert [(free.chunks, free.whole) for free in part.values()] == [
        *((4, True), (2, False), (0, False)),
    ]
    assert total(part.values()) == Free(6 * 1024, 6, 1024, False)


def test_why_what_is_free_cannot_serve_is_told_as_it_was_built():
    heap = usual()
    heap.target()
    read, layout, asked = heap.memory.read, heap.layout, heap.arenas[1]
    free = [size for _, size, state in asked.chunks if state in (FREE, UNSORTED)]
    fast = [size for _, size, state in asked.chunks if state == FAST]
    who = Requested(101, asked.address, max(free))
    parts = dict(near(read, layout, who, NONE_KNOWN))
    assert parts[BEHIND].bytes == sum(size for size in free if size == max(free))
    assert parts[SMALL].bytes == sum(free) - parts[BEHIND].bytes + asked.top_size
    assert parts[NOT_MERGED] == Free(sum(fast), len(fast), max(fast))
    elsewhere = dict(far(read, layout, who, [each.address for each in heap.arenas]))
    others = [each for each in heap.arenas if each is not asked]
    states = (FREE, UNSORTED, FAST)
    built = [size for each in others for _, size, state in each.chunks if state in states]
    assert sum(part.bytes for part in elsewhere.values()) == (
        sum(built) + sum(each.top_size for each in others)
    )


def test_a_tcache_counts_by_its_bins():
    heap = usual()
    (cache, *_) = take(heap.target()).mallocs[0].caches
    held = sum(bin_.amount.bytes for bin_ in cache.tcache.bins)
    lwp, address = cache.tcache.lwp, cache.tcache.address
    caches = KnownCaches({lwp: address}, 7)
    for thread, why in ((lwp, OWN_TCACHE), (lwp + 1, TCACHES)):
        asked = Requested(thread, heap.main.address, 64)
        parts = dict(near(heap.memory.read, heap.layout, asked, caches))
        assert held
        assert parts[why].bytes == held


def test_all_arenas_are_looked_at_where_there_is_time():
    allowance = Allowance(0.2)
    assert allowance.allows("a", 0.0)
    allowance.spend(0.04)
    assert not allowance.allows("a", 0.1)
    assert allowance.allows("b", 0.1)
    allowance.spend(0.06)
    assert not allowance.allows("c", 0.1)
    assert allowance.allows("c", 2.1)


def test_the_request_with_most_free_is_told():
    growths = [grown(1, free=Free(10, 1, 10)), grown(1, free=Free(90, 3, 40)), grown(1)]
    (site,) = sites_of(growths, Named(), {})
    assert site.most_free == growths[1]


def test_a_folded_stack_is_a_line_with_its_bytes():
    rows = [("ask", 1, 4096, "main;ask;malloc"), ("ask\n", 2, 8, "main;a\nb;malloc")]
    report = Report((GROWTH.of([]), STACKS.of([])))
    stacks = STACKS.of([]).__class__("growth_stacks", STACKS.columns, rows)
    lines = list(folded(Report((report.tables[0], stacks))))
    assert lines == ["main;ask;malloc 4096\n", "main;a\\nb;malloc 8\n"]


@pytest.mark.parametrize(("text", "share"), [("20%", 20), ("1", 1), ("100%", 100)])
def test_a_load_is_a_share_in_percent(text, share):
    words = ["--seconds", "1", "--max-load", text]
    assert parse(REGISTRY["heapx growth"], words)["max_load"] == share


@pytest.mark.parametrize("text", ["0", "101%", "0.2", "%", "-1"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError):
        parse(REGISTRY["heapx growth"], ["--seconds", "1", "--max-load", text])
