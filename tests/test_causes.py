"""Why memory stays: each cause on a heap that has it, with its bytes added up by hand."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from dataclasses import replace

import pytest
from heapbuilder import (
    AMD64,
    FAST,
    FREE,
    PAGE,
    TCACHE,
    USED,
    File,
    HeapBuilder,
    Pages,
    at_random,
    changed,
    up,
    usual,
    with_pages_at_random,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from sessions import answer

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.states import State
from gdb_heapx.locate.stacks import Stack
from gdb_heapx.report.model import Finding, size_text
from gdb_heapx.snapshots.malloc import Scope
from gdb_heapx.snapshots.regions import VARIABLES, Owner
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.files import find_images
from gdb_heapx.target.mappings import Mapping, Usage
from gdb_heapx.target.pages import SWAPPED, UNTOUCHED
from gdb_heapx.why import arenas, breaks, causes, outside, paging, pins, settings
from gdb_heapx.why import limits as settings_of_malloc
from gdb_heapx.why.causes import find_causes
from gdb_heapx.why.groups import last_alike, leading
from gdb_heapx.why.sums import Case

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = 20 * MIB + PAGE  # what malloc(20 MiB) maps
FAR = 1 << 40  # nothing is there
STRUCT = 656  # the chunk of a tcache's counters and list heads
EVERYTHING = Scope()
KIND = (AMD64, (2, 36))
WHOLE = MIB - PAGE  # whole pages in a chunk of 1 MiB that begins a page: the first has its header
CACHED = 7 * sum(range(32, 1041, 16))  # seven chunks of every size that a tcache takes


class Scene:
    """A built heap that is all resident, and what is set in mp_; `more` are other mappings."""

    def __init__(
        self, resident: bool = True, release: tuple[int, int] = (2, 36), **parameters: int
    ) -> None:
        self.heap = HeapBuilder(AMD64, release)
        self.parameters = {"n_mmaps_max": 65536, **parameters}
        self.heap.residency = Pages() if resident else None
        self.main, self.arenas = self.heap.main, [self.heap.main]
        self.cache = self.heap.thread(self.main, 4712, "reader")
        self.idle, self.moved, self.huge = False, 0, 0
        self.environment: dict[str, str] | None = None
        self.files: dict[str, File] = {}  # by path
        self.before_libc: list[int] = []  # where libraries are, as ld.so searches them
        self.after_libc: list[int] = []

    def more(self, size: int, name: str = "", inode: int = 0) -> Scene:
        """Map what isn't malloc's."""
        start = FAR + GIB * len(self.heap.unreadable)
        usage = Usage(size, size, 0, 0, 0, 0, False, None) if self.heap.residency else None
        self.heap.unreadable.append(Mapping(start, start + size, "rw-p", inode, name, 0, usage))
        return self

    def preloaded(self, name: str) -> Scene:
        """Map a library that ld.so searches before libc."""
        self.more(512 * KIB, f"/usr/lib/{name}", inode=9)
        self.before_libc.append(self.heap.unreadable[-1].start)
        return self

    def linked(self, *functions: str, words: bytes = b"") -> Scene:
        """Map the program's own file, with functions and constants."""
        self.files["/usr/lib/server"] = File(frozenset(functions), words)
        return self.preloaded("server")

    def opened(self, name: str) -> Scene:
        """Map a library that the program loaded by itself, with dlopen."""
        self.more(512 * KIB, f"/usr/lib/{name}", inode=9)
        self.after_libc.append(self.heap.unreadable[-1].start)
        return self

    def threads(self, count: int) -> Scene:
        """Add arenas."""
        self.arenas += (self.heap.arena() for _ in range(count))
        return self

    def holes(self, size: int = MIB) -> Scene:
        """Give each thread arena a free chunk that begins a page, or the main one if alone."""
        for arena in self.arenas[1:] or self.arenas:
            arena.used_up_to(up(arena.cursor + 32, PAGE))
            arena.add(FREE, size)
            arena.add(USED, 64)
        return self

    def tops(self, size: int) -> Scene:
        """Give each thread arena a top of this size, or the main one if alone."""
        for arena in self.arenas[1:] or self.arenas:
            self._end(arena, size)
        return self

    def _end(self, arena, size: int) -> None:
        arena.used_up_to(up(arena.cursor + 32, PAGE))
        arena.close(size)
        assert arena.top_size == size

    def target(self):
        heap = self.heap
        for arena in self.arenas:
            if not arena.top:
                self._end(arena, PAGE)
        target = heap.target()
        for name, value in self.parameters.items():
            heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
        if self.moved:
            heap.poke(heap.symbols["__curbrk"], self.main.top + self.main.top_size + self.moved)
        for arena in self.arenas[1:] if self.idle else ():
            heap.field(heap.layout.state, arena.address, "attached_threads", 0)
        self._link_maps()
        return changed(
            target,
            environment=self.environment,
            mappings=tuple(map(self._mapping, target.space.mappings)),
            objects=(*target.objects, *self._images(target)),
        )

    def _images(self, target):
        def opened(mapping, build_id):
            return self.files.get(mapping.name, File())

        libraries = [m for m in target.space.mappings if m.name.startswith("/usr/lib/")]
        return find_images(libraries, target.space.memory, opened)

    def _link_maps(self) -> None:
        """Put the libraries into ld.so's list, in front of libc's struct link_map and behind it."""
        heap, word = self.heap, self.heap.word
        libc = heap.symbols["_link_map"]
        nodes, free = [libc], libc + 128  # the builder's is shorter
        for base in (*self.before_libc, *self.after_libc):
            heap.poke(free, base)  # l_addr
            nodes.insert(len(nodes) - 1 if base in self.before_libc else len(nodes), free)
            free += 5 * word
        heap.poke(heap.symbols["_rtld_global"], nodes[0])
        for node, following in zip(nodes, [*nodes[1:], 0]):
            heap.poke(node + 3 * word, following)  # l_next

    def _mapping(self, mapping: Mapping) -> Mapping:
        if mapping.usage is None or mapping.name != "[heap]":
            return mapping
        return mapping._replace(usage=mapping.usage._replace(huge=self.huge))

    def snapshot(self, scope: Scope = EVERYTHING):
        snapshot = take(self.target(), scope)
        assert not snapshot.problems
        return snapshot


LIBC = sum(m.size for m in Scene().target().space.mappings if m.name == "/lib/libc.so.6")


def raised(**more):
    """Return a scene in which a free of 20 MiB raised the thresholds."""
    return Scene(mmap_threshold=BLOCK, trim_threshold=2 * BLOCK, **more)


def fixed(**parameters):
    """Return a scene in which the user set something."""
    return Scene(no_dyn_threshold=1, **parameters)


def live(size=MIB):
    scene = Scene()
    scene.main.used_up_to(scene.heap.brk + size)
    scene.main.close(PAGE)
    return scene


def mmapped():
    scene = live(16 * KIB)
    scene.heap.mmapped(2 * MIB)
    return scene


def small_pieces(largest=32):
    """Free chunks of 2 KiB, 80 KiB of them, each below a live one; and one as large as asked."""
    scene = Scene()
    scene.main.add(USED, largest)
    for _ in range(40):
        scene.main.add(FREE, 2 * KIB)
        scene.main.add(USED, 32)
    return scene


def edges():
    """Holes of 6 KiB that hold one whole page each, and 2 KiB around it."""
    scene = Scene()
    for _ in range(40):
        scene.main.used_up_to(up(scene.main.cursor + 32, PAGE) - KIB)
        scene.main.add(FREE, 6 * KIB)
        scene.main.add(USED, 32)
    return scene


def fast():
    scene = Scene()
    for _ in range(600):
        scene.main.add(FAST, 128)
        scene.main.add(USED, 32)
    return scene


def tcache():
    scene = Scene()
    for size in range(32, 1041, 16):
        for _ in range(7):
            scene.main.add(TCACHE, size, scene.cache)
    return scene


def cached_pins():
    """A hole that begins a page, and below top only what a tcache holds."""
    scene = Scene()
    scene.main.used_up_to(up(scene.main.cursor + 32, PAGE))
    scene.main.add(FREE, MIB)
    scene.main.add(TCACHE, 1024, scene.cache)
    scene.main.close(PAGE - 1024)
    return scene


def cached_among(number):
    """End with chunks in use, below each a hole, and below that a cached chunk and a hole."""
    scene = Scene()
    scene.main.used_up_to(up(scene.main.cursor + 32, PAGE))
    for _ in range(number):
        scene.main.add(FREE, MIB)
        scene.main.add(TCACHE, 1024, scene.cache)
        scene.main.add(FREE, MIB)
        scene.main.add(USED, 64)
    scene.main.close(up(scene.main.cursor, PAGE) - scene.main.cursor)
    return scene


def moved():
    scene = Scene().tops(MIB)
    scene.moved = PAGE
    return scene


def sbrked(gap=0, beside=0):
    """Let another one than malloc take memory by sbrk: between chunks, or beside them."""
    scene = Scene()
    if gap:
        scene.main.foreign_sbrk(gap, 64)
        scene.main.add(USED, 64)
    return scene.more(beside, "[heap]") if beside else scene


def sbrked_above(above=0):
    """Let others take memory above a hole, with these bytes in use above that, or none."""
    scene = Scene().holes()
    start = scene.main.cursor
    scene.main.foreign_sbrk(2 * MIB, up(start + 64, PAGE) - start)
    if above:
        scene.main.add(USED, above)
    scene.main.close(PAGE - above)
    return scene


def crowded():
    """Two arenas beside the main one; of four free bytes more than three are in the first."""
    scene = Scene().threads(1).holes(4 * MIB)
    scene.arenas.append(scene.heap.arena())
    return scene


def idle():
    scene = Scene().threads(1).holes()
    scene.idle = True
    return scene


def huge():
    scene = Scene().holes()
    scene.huge = 2 * MIB
    return scene


def locked():
    scene = Scene().holes()
    (start,) = scene.main.bins[bin_ := next(iter(scene.main.bins))]
    assert bin_ >= 64
    scene.heap.locked.append((start, start + MIB))
    return scene


def swapped():
    scene = live()
    scene.heap.residency.mark(scene.heap.brk, scene.heap.brk + MIB, SWAPPED)
    return scene


def jemalloc():
    return Scene().preloaded("libjemalloc.so.2").more(4 * MIB)


def whole_pages():
    """Forty blocks, each with a page of its own."""
    scene = fixed(mmap_threshold=2 * KIB)
    for _ in range(40):
        scene.heap.mmapped(PAGE)
    return scene


def in_huge_pages():
    scene = huge()
    scene.parameters["thp_pagesize"] = 2 * MIB
    return scene


def many_cached():
    scene = fixed(tcache_count=100)
    for _ in range(100):
        scene.main.add(TCACHE, 1024, scene.cache)
    return scene


def crowd():
    """More arenas than there would be for sure, and as many as were allowed."""
    return Scene(arena_max=12).threads(9).holes()


def all_locked():
    scene = Scene().holes()
    scene.heap.locked.append((0, 1 << 60))
    return scene


def checked(release=(2, 31)):
    scene = Scene(release=release)
    for _ in range(5000):
        scene.main.add(USED, 32)
    return in_environment(scene, MALLOC_CHECK_="3")


def in_environment(scene, **environment):
    scene.environment = environment
    return scene


# By scene: each code that must be found there, in this order, with its bytes. No other may be.
SCENES = {
    "nothing": (Scene, {}),
    "a hole": (lambda: Scene().holes(), {"returnable": WHOLE, "pinned": WHOLE}),
    "a top": (lambda: Scene().tops(MIB), {"returnable": WHOLE}),
    "live": (live, {"live": MIB - STRUCT}),
    "mmapped": (mmapped, {"live": 2 * MIB + 16 * KIB - STRUCT, "mmapped": 2 * MIB}),
    "jemalloc": (jemalloc, {"other_allocator": 4 * MIB}),
    "outside": (lambda: Scene().more(MIB), {"outside": MIB + LIBC}),
    "raised, a top": (
        lambda: raised().tops(MIB),
        {"returnable": WHOLE, "mmap_threshold_raised": MIB},
    ),
    "raised, a thread's top": (
        lambda: raised().threads(1).tops(MIB),
        {"mmap_threshold_raised": MIB, "other_tops": MIB},
    ),
    "raised, a hole": (
        lambda: raised().holes(),
        {"returnable": WHOLE, "pinned": WHOLE, "mmap_threshold_raised": MIB},
    ),
    "raised, a hole of several blocks": (
        lambda: raised().holes(64 * MIB),
        {
            "returnable": 64 * MIB - PAGE,
            "pinned": 64 * MIB - PAGE,
            "mmap_threshold_raised": 64 * MIB,
        },
    ),
    "raised, a hole that was no mapping": (
        lambda: raised().holes(127 * KIB),
        {"returnable": 124 * KIB - PAGE, "pinned": 124 * KIB - PAGE},
    ),
    "trim_threshold set": (
        lambda: fixed(trim_threshold=64 * MIB).tops(MIB),
        {"trim_threshold": MIB, "returnable": WHOLE},
    ),
    "mmap_threshold set": (
        lambda: fixed(mmap_threshold=32 * MIB).holes(),
        {"mmap_threshold_set": MIB, "returnable": WHOLE, "pinned": WHOLE},
    ),
    "mmap_threshold set low": (
        lambda: fixed(mmap_threshold=0).holes(),
        {"returnable": WHOLE, "pinned": WHOLE},
    ),
    "no mmap": (
        lambda: fixed(n_mmaps_max=0).holes(),
        {"mmap_disabled": MIB, "returnable": WHOLE, "pinned": WHOLE},
    ),
    "top_pad set": (
        lambda: fixed(top_pad=MIB).tops(2 * MIB),
        {"top_pad_set": MIB, "returnable": 2 * MIB - PAGE},
    ),
    "top_pad set, a small top": (
        lambda: fixed(top_pad=64 * MIB).tops(MIB),
        {"top_pad_set": MIB, "returnable": WHOLE},
    ),
    "one thread's arena": (
        lambda: Scene().threads(1).holes(),
        {"returnable": WHOLE, "pinned": WHOLE},
    ),
    "arenas": (
        lambda: Scene().threads(2).holes(),
        {"returnable": 2 * WHOLE, "pinned": 2 * WHOLE, "many_arenas": 2 * (WHOLE + PAGE)},
    ),
    "arenas, all in one": (
        crowded,
        {"returnable": 4 * MIB - PAGE, "pinned": 4 * MIB - PAGE},
    ),
    "as many mappings as may be": (
        lambda: Scene(max_n_mmaps=65536).holes(),
        {"returnable": WHOLE, "pinned": WHOLE, "mmaps_exhausted": MIB},
    ),
    "as many mappings as may be, a hole that was no mapping": (
        lambda: Scene(max_n_mmaps=65536).holes(127 * KIB),
        {"returnable": 124 * KIB - PAGE, "pinned": 124 * KIB - PAGE},
    ),
    "an idle arena": (
        idle,
        {"returnable": WHOLE, "pinned": WHOLE, "idle_arenas": MIB + PAGE},
    ),
    "a thread's top": (lambda: Scene().threads(1).tops(MIB), {"other_tops": MIB}),
    "small pieces": (small_pieces, {"fragmented": 80 * KIB}),
    "small pieces, large requests": (
        lambda: small_pieces(64 * KIB),
        {"fragmented": 80 * KIB, "too_small": 80 * KIB},
    ),
    "edges": (edges, {"returnable": 40 * PAGE, "pinned": 40 * PAGE, "fragmented": 80 * KIB}),
    "tcache": (tcache, {"tcaches": CACHED}),
    # systrim: a top of a page more than the hole, less MINSIZE + 1 and top_pad, in whole pages
    "cached pins": (cached_pins, {"cached_pins": 896 * KIB, "returnable": WHOLE}),
    "fast": (fast, {"fragmented": 600 * 128, "fast": 600 * 128}),
    "others' sbrk": (lambda: sbrked(beside=MIB), {"foreign_sbrk": MIB}),
    "others' sbrk between": (lambda: sbrked(2 * MIB), {"foreign_sbrk": 2 * MIB}),
    "others' sbrk twice": (lambda: sbrked(2 * MIB, MIB), {"foreign_sbrk": 3 * MIB}),
    "others' sbrk above a hole": (
        sbrked_above,
        {"returnable": WHOLE, "sbrk_pins": WHOLE, "foreign_sbrk": 2 * MIB},
    ),
    "others' sbrk above a hole, and chunks in use": (
        lambda: sbrked_above(64),
        {"returnable": WHOLE, "pinned": WHOLE, "foreign_sbrk": 2 * MIB},
    ),
    "the break moved": (moved, {"foreign_brk": MIB}),
    "huge pages": (huge, {"returnable": WHOLE, "pinned": WHOLE, "huge_pages": 2 * MIB}),
    "locked": (locked, {"locked": WHOLE}),
    "all locked": (all_locked, {"mlockall": MIB + 3 * PAGE + LIBC, "locked": WHOLE}),
    "whole pages": (
        whole_pages,
        {
            "mmap_threshold_low": 40 * PAGE,
            "live": 40 * PAGE + PAGE - STRUCT,
            "mmapped": 40 * PAGE,
        },
    ),
    "hugetlb": (in_huge_pages, {"hugetlb": 2 * MIB, "returnable": WHOLE, "pinned": WHOLE}),
    "tcache_count set": (many_cached, {"tcache_count_set": 93 * KIB, "tcaches": 100 * KIB}),
    "arena_max set": (
        crowd,
        {"many_arenas": 9 * (WHOLE + PAGE), "returnable": 9 * WHOLE, "pinned": 9 * WHOLE},
    ),
    "MALLOC_CHECK_": (
        checked,
        {"malloc_check": 5001 * 16, "live": up(5000 * 32 + STRUCT, PAGE) - STRUCT},
    ),
    "MALLOC_PERTURB_": (
        lambda: in_environment(live(), MALLOC_PERTURB_="165"),
        {"malloc_perturb": MIB - STRUCT, "live": MIB - STRUCT},
    ),
    "swapped": (swapped, {"swapped": MIB}),
}
every_scene = pytest.mark.parametrize("name", SCENES)


FIRST = ("other_allocator", "live")


def findings_of(scene, scope=EVERYTHING):
    return find_causes(scene.snapshot(scope))


def finding(name, code):
    """Return what is found in a scene under a code."""
    (found,) = (each for each in findings_of(SCENES[name][0]()) if each.code == code)
    return found


def codes_in_source():
    """Return the codes of all findings that the rooms of causes make."""
    sources = map(
        inspect.getsource,
        (breaks, causes, outside, settings_of_malloc, arenas, pins, paging, settings),
    )
    calls = (node for source in sources for node in ast.walk(ast.parse(source)))
    found = [
        call.args[0].value
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Finding"
    ]
    assert len(found) == len(set(found))
    return found


@every_scene
@pytest.mark.few(15)
def test_a_cause_is_found_where_it_is_and_nowhere_else(name):
    build, expected = SCENES[name]
    found = findings_of(build())
    assert [(each.code, each.bytes) for each in found] == list(expected.items())


def test_every_code_has_a_scene():
    """But for the one that is of a damaged heap."""
    found = {code for _, expected in SCENES.values() for code in expected}
    assert {*found, "unexplained_heap"} == {*codes_in_source()}


def test_malloc_check_is_of_the_chunks_in_libc_malloc_debug_alone():
    snapshot = checked((2, 36)).snapshot()
    assert "malloc_check" not in [each.code for each in find_causes(snapshot)]
    (serves,) = snapshot.mallocs
    (libc_s,) = Scene().snapshot().mallocs
    mallocs = libc_s, replace(serves, libc="libc_malloc_debug.so.0", debugging=True)
    first, *_ = find_causes(replace(snapshot, mallocs=mallocs))
    assert (first.code, first.bytes) == ("malloc_check", 5001 * 16)


def test_what_lies_beside_a_main_arena_that_is_damaged_is_not_called_others():
    scene = sbrked(beside=MIB)
    scene.main.add(USED, 64)
    chunk = scene.main.cursor
    scene.main.add(USED, 64)
    target = scene.target()
    scene.heap.poke(chunk + 8, 3)
    snapshot = take(target)
    assert snapshot.problems
    found = [(each.code, each.bytes) for each in find_causes(snapshot)]
    assert ("unexplained_heap", MIB) in found
    assert "foreign_sbrk" not in dict(found)
    assert Case(snapshot).foreign == 0
    text = answer("", snapshot).text
    assert "could not be read: the problems and notes tell why." in text


@pytest.mark.parametrize("preloaded", [False, True])
def test_the_headline_names_sbrk_unless_another_allocator_is_known(preloaded):
    scene = sbrked(beside=8 * MIB)
    scene = scene.preloaded("libjemalloc.so.2") if preloaded else scene
    found = {each.code: each.bytes for each in findings_of(scene)}
    text = answer("", scene.snapshot()).text
    assert "isn't malloc's." not in text.partition("\n\n")[0]
    assert ("Most of it was taken with sbrk" in text) != preloaded
    assert found.get("other_allocator", 0) == (8 * MIB if preloaded else 0)


@pytest.mark.parametrize(("size", "codes"), [(64 * KIB, ["tcaches"]), (64 * KIB - 16, [])])
def test_what_is_less_than_64_kib_is_not_worth_a_sentence(size, codes):
    scene = Scene()
    for _ in range(63):
        scene.main.add(TCACHE, 1024, scene.cache)
    scene.main.add(TCACHE, size - 63 * 1024, scene.cache)
    assert [each.code for each in findings_of(scene)] == codes


# What is said first.


def test_live_memory_is_no_finding_where_malloc_retains_more():
    scene = live().threads(1).tops(MIB)
    assert scene.snapshot().arenas()[0].in_use == MIB - STRUCT
    assert [each.code for each in findings_of(scene)] == ["other_tops"]


def test_live_memory_is_no_finding_where_more_is_outside():
    assert [each.code for each in findings_of(live().more(2 * MIB))] == ["outside"]


def test_another_allocator_comes_before_live_memory_and_both_before_all_others():
    scene = live(8 * MIB).preloaded("libtcmalloc.so.4").more(4 * MIB)
    found = [(each.code, each.bytes) for each in findings_of(scene)]
    assert found == [("other_allocator", 4 * MIB), ("live", 8 * MIB - STRUCT)]


@pytest.mark.parametrize(
    ("sizes", "order"),
    [
        ({"a": 1, "b": 2, "c": 3}, "cba"),
        ({"a": 100, "b": 100, "c": 100}, "abc"),
        ({"a": 80, "b": 100}, "ab"),
        ({"a": 79, "b": 100}, "ba"),
        ({"a": 70, "b": 80, "c": 100}, "bca"),  # a is nearly b's, and not nearly c's
        ({"a": 70, "b": 60, "c": 100}, "cab"),
        ({"a": 0, "b": 5, "c": 4}, "bc"),
    ],
)
def test_most_bytes_come_first_and_of_nearly_equal_ones_the_first_cause(sizes, order, monkeypatch):
    def cause(code, size):
        return lambda case: iter([Finding(code, size * 64 * KIB, "It stays.")])

    monkeypatch.setattr(causes, "CAUSES", tuple(cause(*each) for each in sizes.items()))
    assert "".join(each.code for each in findings_of(Scene())) == order


@tried(60)
@given(st.randoms(use_true_random=False))
def test_a_proven_worth_comes_first_and_none_before_one_of_a_quarter_more_bytes(seed):
    snapshot = take(with_pages_at_random(seed, at_random(seed, *KIND)).target())
    whole, found = Case(snapshot).whole, find_causes(snapshot)
    leaders = [each for each in found if each.reason_of is None]
    needed = [each.code for each in leaders if each.code in FIRST]
    assert [each.code for each in leaders[: len(needed)]] == needed
    rest = [(rank(each, whole), size_of(each)) for each in leaders[len(needed) :]]
    for at, (place, size) in enumerate(rest):
        for later, more in rest[at + 1 :]:
            assert place <= later
            assert place < later or 4 * more <= 5 * size


def size_of(finding):
    """Return the bytes that it is ordered by."""
    worth = finding.worth
    return finding.bytes if worth is None else worth.bytes if worth.likely is None else worth.likely


def rank(finding, whole):
    """Return where a finding stands: what is small last, then by what is known of its worth."""
    known = 2 if finding.worth is None else 0 if finding.worth.exact else 1
    return 100 * size_of(finding) < whole, known


# Sums.


def amounts(case):
    own = case.amount(State.OVERHEAD, Owner.RESERVED)
    return case.live, case.retained, own, case.outside, case.foreign


@tried(60)
@given(st.randoms(use_true_random=False))
def test_live_retained_malloc_s_own_and_the_rest_are_the_rss(seed):
    heap = with_pages_at_random(seed, at_random(seed, *KIND))
    case = Case(take(heap.target()))
    rss = sum(m.usage.resident for m in heap.target().space.mappings if m.usage)
    assert sum(amounts(case)) == case.whole == rss
    found = [each for each in find_causes(case.snapshot) if each.code != "swapped"]
    assert all(64 * KIB <= each.bytes <= rss for each in found)
    assert sum(each.bytes - each.told_before for each in found if each.reason_of is None) <= rss


@tried(60)
@given(st.randoms(use_true_random=False))
def test_where_residency_is_unknown_they_are_the_address_space(seed):
    heap = at_random(seed, *KIND)
    case = Case(take(heap.target()))
    mapped = [m.size for m in heap.target().space.mappings if m.permissions != "---p"]
    assert case.whole == sum(mapped)
    assert sum(amounts(case)) == case.whole + case.amount(Owner.RESERVED)
    assert case.returnable is None
    retained = (a.tcache + a.fast + a.binned + a.top for a in case.snapshot.arenas())
    assert case.retained == sum(retained)


UNKNOWABLE = {"returnable", "fragmented"}  # without knowing which pages are there


@pytest.mark.parametrize("name", ["fast", "tcache", "arenas", "a thread's top", "raised, a hole"])
def test_where_residency_is_unknown_sizes_are_of_address_space_and_say_so(name):
    build, expected = SCENES[name]
    scene = build()
    scene.heap.residency = None
    found = {each.code: each for each in findings_of(scene) if each.code not in UNKNOWABLE}
    assert found.keys() == expected.keys() - UNKNOWABLE
    assert {each.bytes for each in found.values()} == {None}
    for code, each in found.items():
        assert each.statement.startswith(f"{size_text(expected[code])} of address space: ")


# What only pages tell.
RAM_ONLY = {"returnable", "locked", "swapped", "huge_pages"}


@every_scene
def test_where_residency_is_unknown_nothing_is_said_of_ram(name):
    scene = SCENES[name][0]()
    scene.heap.residency = None
    assert not RAM_ONLY & {each.code for each in findings_of(scene)}


@pytest.mark.parametrize(
    "name",
    ["arenas", "raised, a hole", "mmap_threshold set", "no mmap", "as many mappings as may be"],
)
def test_free_chunks_that_were_given_back_are_no_bytes_at_stake(name):
    """The holes are free and nobody's RAM: as after a malloc_trim(0)."""
    scene = SCENES[name][0]()
    scene.main.used_up_to(up(scene.main.cursor + 32, PAGE))
    scene.main.close(2 * MIB)  # so that malloc does retain something
    for arena in scene.arenas:
        for start, size, state in arena.chunks:
            if state == FREE:
                scene.heap.residency.mark(start + PAGE, start + size, UNTOUCHED)
    found = {each.code: each.bytes for each in findings_of(scene)}
    assert found.pop("returnable") == 2 * MIB - PAGE
    assert (
        found.pop("mmap_threshold_raised", 2 * MIB + PAGE) == 2 * MIB + PAGE
    )  # a hole's first page
    assert found == {}


# What can't be known is not guessed.


def texts(found):
    return [text for each in found for text in (each.statement, *each.evidence, each.remedy)]


def test_without_a_walk_the_number_of_chunks_is_not_said_to_be_0():
    (found,) = findings_of(live(), Scope(walk=False))
    assert found.code == "live"
    assert not [text for text in texts([found]) if re.search(r"\b0 chunks", text)]


def test_the_memory_of_a_damaged_arena_is_not_said_to_be_outside_malloc():
    heap = damaged()
    case = Case(take(heap.target()))
    sound = sum(m.size for m in heap.target().space.mappings if m.name == "/lib/libc.so.6")
    assert case.snapshot.problems
    assert case.outside == sound


# Texts.


@every_scene
@pytest.mark.few(15)
def test_a_finding_has_a_sentence_that_stands_alone_and_a_remedy(name):
    for each in findings_of(SCENES[name][0]()):
        first = sentence(each.statement)
        assert each.statement.endswith(".")
        assert len(first.split()) > 3
        assert each.remedy
        assert each.remedy.endswith(".")
        assert first.count("(") == first.count(")")
        assert not [text for text in texts([each]) if re.search("None|null|nan|\n|  ", text)]


def sentence(text):
    """Return the first sentence, which is all that the overview shows."""
    return text.partition(". ")[0].rstrip(".") + "."


def brief(each):
    """Return the lines that a finding takes in the overview."""
    size = f"1. {size_text(each.bytes)}: "
    parts = (size + sentence(each.statement), f"   > {sentence(each.remedy)}")
    return [line for text in parts for line in textwrap.wrap(text, 77)]


@every_scene
@pytest.mark.parametrize("scope", [Scope(), Scope(walk=False)], ids=["walk", "no walk"])
@pytest.mark.few(31)
def test_the_overview_is_a_screen_of_24_lines_at_80_columns(name, scope):
    lines = answer("", SCENES[name][0]().snapshot(scope)).text.splitlines()
    assert len(lines) <= 24, "\n".join(lines)
    assert max(map(len, lines)) <= 80


def test_any_three_findings_fit_on_that_screen(monkeypatch):
    found = {each.code: each for build, _ in SCENES.values() for each in findings_of(build())}
    longest = sorted(found.values(), key=lambda each: -len(brief(each)))[:3]
    monkeypatch.setattr(causes, "CAUSES", (lambda case: iter(longest),))
    lines = answer("", Scene().snapshot()).text.splitlines()
    assert len(lines) <= 24, "\n".join(lines)


EVIDENCE = [
    ("a hole", "returnable", "arena 0: 1020 KiB of RAM"),
    ("a top", "returnable", "arena 0: 1020 KiB of RAM"),
    ("live", "live", "arena 0: 1023.4 KiB in use in "),
    ("live", "live", "in 1 chunk,"),
    ("live", "live", "most in chunks of 512 KiB to 1 MiB"),
    ("raised, a hole", "mmap_threshold_raised", "1 MiB"),
    ("mmap_threshold set", "mmap_threshold_set", "1 MiB"),
    ("small pieces", "fragmented", "in chunks too small for a page: 80 KiB"),
    ("edges", "fragmented", "at the edges of larger free chunks: 80 KiB"),
    ("tcache", "tcaches", "thread 4712 (reader): 234.5 KiB in 448 chunks"),
    ("arenas", "many_arenas", "arena 1: 1 MiB free, 1 thread attached"),
    ("arenas", "many_arenas", "arena 2: 1 MiB free, 1 thread attached"),
    ("outside", "outside", f"unnamed anonymous memory: 1 MiB in 1 mapping, most at {FAR:#x}"),
    (
        "jemalloc",
        "other_allocator",
        f"likely jemalloc's: 4 MiB in 1 mapping, most at {FAR + GIB:#x}",
    ),
]


@pytest.mark.parametrize(("touched", "filled"), [(2 * PAGE, False), (132 * KIB, True)])
def test_that_locked_memory_was_filled_is_said_only_if_stacks_were(touched, filled):
    scene = all_locked().holes(64 * MIB).more(132 * KIB, "[stack]")
    stack = scene.heap.unreadable[-1]
    usage = stack.usage._replace(resident=touched, locked=True)
    scene.heap.unreadable[-1] = stack._replace(usage=usage)
    (found,) = (each for each in findings_of(scene) if each.code == "mlockall")
    assert ("Stacks too, touched or not" in found.statement) is filled
    assert ("MCL_ONFAULT" in found.remedy) is filled


def test_no_evidence_is_of_nothing():
    for name in ("small pieces", "edges"):
        assert len(finding(name, "fragmented").evidence) == 1


@pytest.mark.parametrize(("name", "code", "line"), EVIDENCE)
def test_the_evidence_names_figures_and_addresses(name, code, line):
    assert [each for each in finding(name, code).evidence if line in each]


def test_pinned_names_the_live_chunks_below_top_and_what_they_alone_hold():
    scene = Scene().holes()
    last = [chunk for chunk, _, state in scene.main.chunks if state == USED][-1]
    (found,) = (each for each in findings_of(scene) if each.code == "pinned")
    told = f"last below top: 2 chunks of 4,096 bytes from {last:#x}, in use, hold 900 KiB"
    assert told in found.evidence[0]


def test_pinned_claims_of_the_last_chunk_no_more_than_down_to_the_next():
    scene = Scene().holes(4 * MIB).holes()
    (found,) = (each for each in findings_of(scene) if each.code == "pinned")
    assert found.bytes == 5 * MIB - 2 * PAGE
    assert "hold 900 KiB" in found.evidence[0]


def test_the_group_that_is_named_is_of_all_arenas_whose_last_chunks_have_its_size():
    one, both = Scene().threads(1), Scene().threads(2)
    for arena in (*one.arenas[1:], *both.arenas[1:]):
        arena.used_up_to(up(arena.cursor + 32, PAGE))
        arena.add(FREE, 2 * MIB)
        arena.add(USED, 64)
        arena.close(PAGE - 64)
    each, all_ = (leading(Case(scene.snapshot())) for scene in (one, both))
    assert each.told.startswith("1 chunk of 64 bytes at the end of arena 1 holds ")
    assert all_.told.startswith("2 chunks of 64 bytes at the ends of 2 arenas hold ")
    assert all_.held == 2 * each.held > 2 * MIB


def test_a_group_below_what_a_tcache_pins_is_not_said_to_hold_it():
    """There is one chunk in use; what a thread keeps at the end of the arena holds all above it."""
    assert not last_alike(Case(cached_pins().snapshot())).held


def test_a_last_chunk_alone_holds_no_more_than_down_to_what_a_tcache_keeps():
    snapshot = cached_among(1).snapshot()
    (arena,) = snapshot.arenas()
    assert leading(Case(snapshot)).held == arena.whatif.last.held.in_ram
    assert 0 < leading(Case(snapshot)).held < MIB


def test_of_several_chunks_it_is_said_that_tcaches_hold_something_among_them():
    snapshot = cached_among(3).snapshot()
    group = leading(Case(snapshot))
    assert group.held > 3 * WHOLE
    assert group.told.startswith("3 chunks of 64 bytes and those in tcaches at the end of arena 0")


def test_a_tcache_count_that_is_set_comes_before_what_only_tcaches_pin():
    scene = fixed(tcache_count=100)
    scene.main.used_up_to(up(scene.main.cursor + 32, PAGE))
    scene.main.add(FREE, 4 * MIB)
    for _ in range(100):
        scene.main.add(TCACHE, 1024, scene.cache)
    scene.main.close(PAGE)
    codes = [each.code for each in findings_of(scene)]
    assert codes[0] == "tcache_count_set"
    assert "cached_pins" in codes


def test_memory_that_only_tcaches_pin_is_not_said_to_be_pinned_by_chunks_in_use():
    scene = cached_pins()
    found = {each.code: each for each in findings_of(scene)}
    assert "pinned" not in found
    cached = scene.cache.entries[62][0] - scene.heap.layout.header
    told = f"chunk {cached:#x} of 1,024 bytes, in the tcache of thread 4712 (reader), holds 896 KiB"
    assert told in found["cached_pins"].evidence[0]
    assert "tcache_count=0" in found["cached_pins"].remedy


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("raised, a top", "mmap_threshold_raised", ("the free of a 20 MiB block", "to 40 MiB")),
        ("raised, a hole", "mmap_threshold_raised", ("the free of a 20 MiB block",)),
        ("trim_threshold set", "trim_threshold", ("64 MiB", "set by mallopt or environment")),
        ("mmap_threshold set", "mmap_threshold_set", ("32 MiB", "wrong way round")),
        ("top_pad set", "top_pad_set", ("1 MiB",)),
        ("jemalloc", "other_allocator", ("jemalloc serves malloc", "says nothing about it")),
        ("arenas", "many_arenas", ("3 arenas",)),
        ("fast", "fast", ("600 chunks",)),
        ("mmapped", "mmapped", ("1 block with a mapping of its own",)),
        ("tcache", "tcaches", ("1 thread",)),
        ("an idle arena", "idle_arenas", ("1 arena",)),
    ],
)
def test_the_statement_says_the_figures(name, code, words):
    statement = finding(name, code).statement
    assert [word for word in words if word not in statement] == []


def test_a_top_pad_of_the_user_s_does_not_make_raised_thresholds_the_user_s():
    """mallopt(M_TOP_PAD) after a free of 20 MiB: trim_threshold is still twice the block."""
    found = findings_of(raised(no_dyn_threshold=1, top_pad=0, max_mmapped_mem=BLOCK).tops(MIB))
    (kept,) = (each for each in found if each.code == "trim_threshold")
    assert "set by free, mallopt or environment" in kept.statement


@pytest.mark.parametrize("code", ["trim_threshold", "mmap_threshold_raised"])
def test_thresholds_that_the_user_set_to_2_and_4_mib_are_not_said_to_be_raised_by_a_free(code):
    """Which of both it was can't be known: no_dyn_threshold is set, and may have been before."""
    scene = fixed(mmap_threshold=2 * MIB, trim_threshold=4 * MIB).threads(1).holes()
    found = [each.statement for each in findings_of(scene.tops(MIB)) if each.code == code]
    assert not [statement for statement in found if "the free of" in statement]


def test_an_mmap_threshold_that_a_free_raised_is_not_the_user_s_where_trim_threshold_is():
    """The remedy of heapx itself, once the thresholds were raised."""
    found = findings_of(fixed(mmap_threshold=BLOCK, trim_threshold=128 * KIB).holes())
    assert not [each.statement for each in found if "is set to" in each.statement]


def test_for_live_memory_in_swap_malloc_trim_is_no_remedy():
    assert "malloc_trim" not in finding("swapped", "swapped").remedy


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("libjvm.so", "jcmd PID System.trim_native_heap at"),
        ("libpython3.11.so.1.0", "ctypes.CDLL(None).malloc_trim(0) in it at"),
        ("libruby-3.3.so.3.3", "Process.warmup in it at"),
        ("libserver.so", "malloc_trim(0) in the program at"),
    ],
)
def test_what_malloc_trim_would_return_the_runtime_s_own_call_returns(file, how):
    scene = Scene().holes()
    scene.files[f"/usr/lib/{file}"] = File(
        frozenset(("gHotSpotVMStructs", "PyObject_Malloc", "rb_gc_start"))
    )
    found = findings_of(scene.opened(file))
    remedy = next(each.remedy for each in found if each.code == "returnable")
    assert remedy.startswith(f"heapx trim --now, or {how} a quiet moment.")


def test_the_size_of_a_huge_page_is_not_guessed():
    assert "2 MiB" not in finding("huge pages", "huge_pages").statement


# The overview.


def overview_of(scene, scope=EVERYTHING):
    return json.loads(answer("--format json", scene.snapshot(scope)).text)


@every_scene
@pytest.mark.few(15)
def test_the_parts_of_the_overview_are_the_rss(name):
    scene = SCENES[name][0]()
    report = overview_of(scene)
    (table,) = report["tables"]
    rss = sum(m.usage.resident for m in scene.heap.target().space.mappings if m.usage)
    assert sum(row["resident"] for row in table["rows"]) == rss
    assert [each["code"] for each in report["findings"]] == list(SCENES[name][1])[:3]


PACK = "/srv/repo.git/objects/pack/pack-" + 5 * "8d3f09ac" + ".pack"


@pytest.mark.parametrize("command", ["", "why", "ledger --outside"])
def test_long_names_of_files_fit_in_80_columns(command):
    scene = Scene().more(64 * MIB, PACK, inode=9).more(48 * MIB, f"/dev/shm/{PACK[-80:]}", inode=8)
    lines = answer(command, scene.snapshot()).text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "f09ac.pack" in re.sub(r"\n +", "", "\n".join(lines))


def test_of_a_long_path_json_has_all_and_text_the_end():
    snapshot = Scene().more(64 * MIB, PACK.replace("/srv", 9 * "/srv"), inode=9).snapshot()
    text = answer("why", snapshot).text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" in text
    found = json.loads(answer("why --format json", snapshot).text)["findings"]
    assert any(9 * "/srv" + "/repo.git" in line for line in found[0]["evidence"])


def test_for_static_variables_the_remedy_is_no_search_for_mmap():
    snapshot = Scene().more(4 * MIB).snapshot()
    named = [
        r._replace(span=r.span._replace(name=VARIABLES)) if r.mapping.start == FAR else r
        for r in snapshot.regions
    ]
    (found,) = find_causes(replace(snapshot, regions=tuple(named)))
    assert "static variables (.bss)" in found.statement
    assert "nm -S" in found.remedy
    assert "mmap" not in found.remedy


@pytest.mark.parametrize(("number", "remedy"), [(5, "Fewer threads."), (6, "pthread_join or ")])
def test_stacks_of_ended_threads_that_nptl_would_not_keep_are_of_threads_nobody_joined(
    number, remedy
):
    """It keeps 40 MiB for new threads."""
    snapshot = Scene().more(4 * MIB).snapshot()
    spans = [
        r._replace(span=r.span._replace(owner=Owner.STACKS)) if r.mapping.start == FAR else r
        for r in snapshot.regions
    ]
    ended = tuple(Stack(FAR, FAR + 8 * MIB, 0) for _ in range(number))
    (found,) = find_causes(replace(snapshot, regions=tuple(spans), stacks=ended))
    assert "and ended ones" in found.statement
    assert found.remedy.startswith(remedy)


def test_a_part_with_more_holders_than_one_says_so():
    scene = Scene().more(64 * MIB).more(64 * KIB).more(MIB, "[anon:index]")
    text = answer("", scene.snapshot()).text
    assert "64.1 MiB unnamed anonymous memory" in text
    part = next(line for line in text.splitlines() if line.startswith("a "))
    assert "unnamed anonymous memory, 1 more" in part


def test_where_residency_is_unknown_the_overview_calls_nothing_resident():
    scene = Scene().holes()
    scene.heap.residency = None
    rows = overview_of(scene)["tables"][0]["rows"]
    assert {row.get("resident") for row in rows} == {None}


def test_where_another_allocator_serves_malloc_what_glibc_malloc_holds_is_not_the_answer():
    text = answer("", jemalloc().snapshot()).text
    assert "jemalloc, not glibc, serves malloc here" in text
    assert "in use" not in text
    assert "malloc_trim(0)" not in text


def without_glibc(words):
    """Return a process of one program, which has these words among its constants, and no libc."""
    target = Scene().linked(words=words).more(4 * MIB, "[anon:arena]").target()
    program = tuple(image for image in target.objects if image.path == "/usr/lib/server")
    return changed(target, objects=program, exe=program[0].path)


@pytest.mark.parametrize(("words", "name"), [(b"Go buildinf:", "Go"), (b"musl libc", "musl")])
def test_without_any_glibc_malloc_commands_about_the_whole_say_who_has_the_memory(words, name):
    target = without_glibc(words)
    with pytest.raises(HeapxError, match="malloc is not glibc's") as refused:
        take(target)
    assert "heapx ledger shows the whole address space." in refused.value.remedies
    snapshot = take(target, Scope(whole=True))
    for command in ("", "why", "ledger", "ledger --outside"):
        told = answer(command, snapshot)
        assert told.status == 3
        assert f"{name}, not glibc, serves malloc here" in told.warning
        rows = json.loads(answer(f"{command} --format json", snapshot).text)["tables"][0]["rows"]
        known = [row.get("resident") or row.get("bytes") or 0 for row in rows]
        assert sum(known) >= 4 * MIB
    assert f"{name}, not glibc, serves malloc here" in answer("", snapshot).text
    assert "[anon:arena]: 4 MiB in 1 mapping" in answer("why", snapshot).text


def test_a_program_of_which_nothing_is_known_is_not_said_to_have_another_malloc():
    with pytest.raises(HeapxError, match="no glibc malloc found"):
        take(without_glibc(b"glibc malloc(): "), Scope(whole=True))


def test_what_another_allocator_holds_is_not_said_to_be_no_malloc_s():
    found = findings_of(jemalloc())
    assert not [each.statement for each in found if "isn't malloc's" in each.statement]


# Which allocator serves malloc.


def allocators(scene):
    return scene.snapshot().allocators


@pytest.mark.parametrize(
    ("name", "allocator"),
    [
        ("libjemalloc.so.2", "jemalloc"),
        ("libtcmalloc_minimal.so.4", "tcmalloc"),
        ("libmimalloc.so.2.0", "mimalloc"),
    ],
)
def test_what_ld_so_searches_before_libc_serves_malloc_and_nothing_behind_it(name, allocator):
    assert allocators(Scene().preloaded("libz.so.1").preloaded(name)) == (allocator,)
    assert allocators(Scene().preloaded("libz.so.1").opened(name)) == ()


@pytest.mark.parametrize(
    ("function", "allocator"),
    [("mallctl", "jemalloc"), ("tc_malloc", "tcmalloc"), ("mi_malloc", "mimalloc")],
)
def test_what_is_linked_into_the_program_with_its_malloc_serves_malloc(function, allocator):
    scene = Scene().linked(function, "malloc")
    assert allocators(scene) == (allocator,)


def test_what_is_linked_into_the_program_beside_glibc_malloc_does_not_serve_malloc():
    """mi_malloc by its own name, as in a Rust program: malloc is glibc's."""
    scene = Scene().linked("mi_malloc")
    assert allocators(scene) == ()


# Damage.


def damaged():
    heap = usual()
    heap.residency = Pages()
    heap.poke(heap.arenas[1].chunks[5][0] + 8, 0)
    return heap


def test_the_overview_of_a_damaged_heap_has_a_part_that_is_unknown_and_is_the_rss():
    target = damaged().target()
    report = json.loads(answer("--format json", take(target)).text)
    rows = {row["key"]: row["resident"] for row in report["tables"][0]["rows"]}
    assert rows["unknown"] > 0
    assert sum(rows.values()) == sum(m.usage.resident for m in target.space.mappings if m.usage)


def test_no_more_of_a_damaged_heap_is_pinned_than_is_known_to_be_free():
    snapshot = take(damaged().target())
    (pinned,) = (each for each in find_causes(snapshot) if each.code == "pinned")
    assert pinned.bytes <= Case(snapshot).amount(State.BINNED)


@every_scene
@pytest.mark.few(15)
def test_the_overview_of_a_sound_heap_has_no_part_that_is_unknown(name):
    rows = overview_of(SCENES[name][0]())["tables"][0]["rows"]
    assert "unknown" not in {row["key"] for row in rows}


def test_of_two_libcs_each_finding_is_shown():
    snapshot = fixed(n_mmaps_max=0).threads(1).holes().snapshot()
    (malloc,) = snapshot.mallocs
    more = tuple(replace(arena, free_by_size={MIB // 2: MIB // 2}) for arena in malloc.arenas)
    two = replace(snapshot, mallocs=(malloc, replace(malloc, arenas=more)))
    report = json.loads(answer("why --format json", two).text)
    rows = [(row["code"], row["bytes"]) for row in report["tables"][0]["rows"]]
    assert [(each["code"], each["bytes"]) for each in report["findings"]] == rows
    assert len({size for code, size in rows if code == "mmap_disabled"}) == 2


def test_heapx_top_tells_the_limits_of_two_libcs_once_and_fits_80_columns():
    snapshot = Scene().holes(64 * MIB).snapshot()
    (malloc,) = snapshot.mallocs
    own = tuple(replace(arena, libc="libc (2)") for arena in malloc.arenas)
    second = replace(malloc, libc="libc (2)", arenas=own)
    lines = answer("top", replace(snapshot, mallocs=(malloc, second))).text.splitlines()
    assert len([line for line in lines if line.startswith("trim_threshold ")]) == 1
    assert max(map(len, lines)) <= 80


def test_heapx_top_says_that_nothing_is_held_where_nothing_lies_below_top():
    scene = sbrked_above()
    text = answer("top", scene.snapshot()).text
    assert "none" in text
    assert "?" not in text


def test_in_short_an_arena_is_named_without_its_libc_where_only_one_holds_something():
    snapshot = Scene().holes(64 * MIB).snapshot()
    (malloc,) = snapshot.mallocs
    (nothing,) = Scene().snapshot().mallocs
    none = replace(nothing.arenas[0], heaps=(), whatif=None, trim=None)
    empty = replace(nothing, libc="/lib/other.so.6", arenas=(none,))
    one = leading(Case(replace(snapshot, mallocs=(malloc, empty))))
    two = leading(Case(replace(snapshot, mallocs=(malloc, malloc))))
    assert " of libc.so.6" in one.told
    assert " of libc.so.6" not in one.brief
    assert " of libc.so.6" in two.brief or "2 arenas" in two.brief


@pytest.mark.parametrize(("number", "told"), [(1, False), (2, True)])
def test_what_pins_hold_together_is_told_of_several(number, told):
    scene = Scene().threads(number).holes()
    target = scene.target()
    text = answer("pins", take(target), target=target).text
    assert ("of tops and heaps free() would return" in text) is told


def test_limit_and_sort_are_of_the_findings_too():
    snapshot = SCENES["arenas"][0]().snapshot()
    whole = json.loads(answer("why --format json", snapshot).text)["findings"]
    assert len(whole) > 2
    cut = json.loads(answer("why --format json --limit 2", snapshot).text)["findings"]
    assert cut == whole[:2]
    ordered = json.loads(answer("why --format json --sort code", snapshot).text)["findings"]
    assert [each["code"] for each in ordered] == sorted(each["code"] for each in whole)
    text = answer("why --limit 1", snapshot).text
    assert "\n1. " in text
    assert "\n2. " not in text
    assert f"{len(whole) - 1} more findings (--limit)." in text


@pytest.mark.parametrize(
    ("environment", "parameters", "code", "remedy"),
    [
        ({}, {}, "other_tops", "MALLOC_TOP_PAD_=0 and MALLOC_TRIM_THRESHOLD_=4096 when it starts."),
        ({}, {"top_pad": 0}, "other_tops", "MALLOC_TRIM_THRESHOLD_=4096 when it starts."),
        (
            {},
            {"top_pad": 0, "trim_threshold": 4096},
            "other_tops",
            "To bound their number: MALLOC_ARENA_MAX=1 when",
        ),
        ({}, {"arena_max": 8}, "other_tops", "mallopt(M_ARENA_MAX, 1) in the program"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"},
            {"arena_max": 8},
            "other_tops",
            "glibc.malloc.arena_max=1 in GLIBC_TUNABLES when it starts (it is 8 now, by",
        ),
        ({}, {"arena_max": 1}, "other_tops", "MALLOC_ARENA_MAX=1 when it starts (mallopt set that"),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.top_pad=131072"},
            {"trim_threshold": 4096},
            "other_tops",
            "glibc.malloc.top_pad=0 in GLIBC_TUNABLES when it starts. A free",
        ),
        (
            {},
            {"trim_threshold": 4 * MIB, "no_dyn_threshold": 1, "max_mmapped_mem": 4 * MIB},
            "trim_threshold",
            "Remove M_TRIM_THRESHOLD, or set it to 131072.",
        ),
        (
            {"MALLOC_TRIM_THRESHOLD_": "67108864"},
            {"trim_threshold": 64 * MIB, "no_dyn_threshold": 1},
            "trim_threshold",
            "Remove MALLOC_TRIM_THRESHOLD_ from its environment.",
        ),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=67108864"},
            {"trim_threshold": 64 * MIB, "no_dyn_threshold": 1},
            "trim_threshold",
            "Remove glibc.malloc.trim_threshold from GLIBC_TUNABLES.",
        ),
        (
            {},
            {"trim_threshold": 64 * MIB, "no_dyn_threshold": 1},
            "trim_threshold",
            "Remove mallopt(M_TRIM_THRESHOLD) from the program.",
        ),
    ],
)
def test_remedies_change_what_is_in_force(environment, parameters, code, remedy):
    snapshot = Scene(**{"top_pad": 128 * KIB, **parameters}).threads(1).tops(MIB).snapshot()
    target = replace(snapshot.target, environment=environment)
    found = {each.code: each for each in find_causes(replace(snapshot, target=target))}
    assert remedy in found[code].remedy


@pytest.mark.parametrize("code", ["trim_threshold", "mmap_threshold_set"])
def test_a_setting_that_a_free_may_have_made_is_not_said_to_be_in_force(code):
    """The thresholds are fixed, and a block of that size was mapped before."""
    parameters = {"mmap_threshold": BLOCK, "trim_threshold": 2 * BLOCK, "max_mmapped_mem": BLOCK}
    found = {
        each.code: each for each in findings_of(fixed(**parameters).threads(1).holes().tops(MIB))
    }
    assert not found[code].in_force
