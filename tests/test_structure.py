"""Built heaps whose libc has no debug symbols: main_arena, mp_ and tcaches by structure alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from heapbuilder import (
    AMD64,
    I386,
    MACHINES,
    TCACHE,
    USED,
    HeapBuilder,
    Symbols,
    at_random,
    changed,
    usual,
)
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.errors import HeapxError
from gdb_heapx.glibc import releases
from gdb_heapx.locate.by_structure import find_main_arena, find_mp, is_mp_at
from gdb_heapx.locate.libcs import find_libcs
from gdb_heapx.locate.release import Given
from gdb_heapx.report.notes import sentence
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.images import Image

RELEASES = [(2, minor) for minor in (23, 25, 27, 31, 33, 35, 41, 42, 43, 44)]
DESCRIBED = ("_thread_db_", "_rtld_global", "_link_map", "stack_used", "__stack_user", "__curbrk")
every_kind = pytest.mark.parametrize(
    ("machine", "release"), [(m, r) for m in MACHINES.values() for r in RELEASES]
)


def stripped(heap, told=True):
    """Return the target as without debug info: with libc's .dynsym, its release told or not."""
    target, layout = heap.target(), heap.layout
    mp = {"n_mmaps_max": 65536, "arena_test": 8 if heap.word == 8 else 2}
    if layout.tcache:
        small = "tcache_bins" if "tcache_bins" in layout.par else "tcache_small_bins"
        largest = layout.min_size + 63 * layout.alignment - layout.word
        mp.update({small: 64, "tcache_max_bytes": largest})
    for name, value in mp.items():
        heap.field(layout.par, heap.symbols["mp_"], name, value)
    names = (*DESCRIBED, *(("__libc_version",) if told else ()))
    known = {n: a for n, a in heap.symbols.items() if n.startswith(names)}
    libc = next(m for m in target.space.mappings if m.name == "/lib/libc.so.6")
    exported = Symbols(libc.name, known, {}, {})
    image = Image(libc.name, (libc,), target.space.memory, lambda build_id: None, exported)
    return changed(target, objects=(image,))


def figures(snapshot):
    """Return what doesn't tell how it was found."""
    return [replace(arena, libc="") for arena in snapshot.arenas()]


@every_kind
def test_main_arena_and_mp_are_found_in_every_layout(machine, release):
    heap = usual(machine, release)
    target = stripped(heap)
    (image,) = target.objects
    arena = find_main_arena(target.space, image, heap.layout)
    assert arena == heap.symbols["main_arena"]
    assert find_mp(target.space, image, heap.layout, arena) == heap.symbols["mp_"]


@every_kind
@pytest.mark.few(20)
def test_figures_are_those_with_symbols(machine, release):
    heap = usual(machine, release)
    found = take(stripped(heap))
    known = take(heap.target())
    assert figures(found) == figures(known)
    assert found.mallocs[0].caches == known.mallocs[0].caches
    how = {each.what: each.how for each in found.mallocs[0].found}
    assert (how["main_arena"], how["mp_"]) == ("structure", "structure")


@tried(60, deadline=2000)
@given(
    st.randoms(use_true_random=True), st.sampled_from(sorted(MACHINES)), st.sampled_from(RELEASES)
)
def test_figures_of_any_heap_are_those_with_symbols(seed, machine, release):
    heap = at_random(seed, MACHINES[machine], release)
    assert figures(take(stripped(heap))) == figures(take(heap.target()))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.few(3)
def test_a_release_that_nothing_tells_is_found_by_what_adds_up(release):
    heap = usual(AMD64, release)
    found = take(stripped(heap, told=False))
    assert figures(found) == figures(take(heap.target()))
    oldest, _, newest = found.mallocs[0].release.partition(" to ")
    low, high = (tuple(map(int, text.split("."))) for text in (oldest, newest or oldest))
    assert low <= release <= high


def test_releases_of_one_layout_are_told_together():
    oldest, newest = (2, 35), (2, 41)
    assert releases.same_layout(8, "i386:x86-64", oldest, newest)
    assert take(stripped(usual(), told=False)).mallocs[0].release == "2.35 to 2.41"


def test_where_no_tcache_is_found_releases_that_differ_in_it_alone_are_told_together():
    """As of a static program behind an emulator's stub."""
    heap = usual()
    target = stripped(heap, told=False)
    target.objects[0].debug = Symbols("/lib/libc.so.6", {}, {}, {})
    malloc = take(target).mallocs[0]
    assert malloc.caches == ()
    assert malloc.release == "2.35 to 2.42"
    assert {each.what: each.value for each in malloc.found}["release"] == "2.35 to 2.42"


@pytest.mark.parametrize("release", [(2, 23), (2, 31), (2, 43), (2, 44)])
def test_a_wrong_release_set_by_hand_is_refused(release):
    target = stripped(usual())
    with pytest.raises(HeapxError, match=r"nothing .* looks like|its chunks don't add up"):
        take(target, given=Given(release=release))


def test_addresses_set_by_hand_are_used():
    heap = usual()
    target = stripped(heap)
    given_ = Given(heap.symbols["main_arena"], heap.symbols["mp_"], (2, 36))
    found = take(target, given=given_)
    assert figures(found) == figures(take(heap.target()))
    how = {each.what: each.how for each in found.mallocs[0].found}
    assert {how[what] for what in ("main_arena", "mp_", "release")} == {"set by hand"}


@pytest.mark.parametrize("name", ["main_arena", "mp"])
def test_a_wrong_address_set_by_hand_is_refused(name):
    heap = usual()
    target = stripped(heap)
    for address, said in ((heap.libc, "can't be it"), (0x1000, "not in the data of any libc")):
        with pytest.raises(HeapxError, match=said):
            take(target, given=Given(**{name: address}))


def test_two_structs_that_could_be_main_arena_are_refused():
    heap = usual()
    twin = heap.variable("twin", heap.layout.state.size)
    target = stripped(heap)
    source, size = heap.symbols["main_arena"], heap.layout.state.size
    words = [
        int.from_bytes(target.space.memory.read(source + i, 8), "little") for i in range(0, size, 8)
    ]
    inside = range(source, source + size)
    for i, word in enumerate(words):
        heap.poke(twin + 8 * i, word - source + twin if word in inside else word)
    (image,) = target.objects
    assert find_main_arena(target.space, image, heap.layout) is None


def test_nothing_is_found_in_zeros_or_noise():
    heap = usual()
    target = stripped(heap)
    (libc,) = target.objects[0].mappings
    noise = random.Random(1)
    for make in (lambda: 0, lambda: noise.getrandbits(64)):
        for address in range(libc.start, libc.end, 8):
            heap.poke(address, make())
        assert find_main_arena(target.space, target.objects[0], heap.layout) is None


def test_an_mp_whose_values_are_impossible_is_none():
    heap = usual()
    target = stripped(heap)
    place = (target.space, heap.layout, heap.symbols["main_arena"], heap.symbols["mp_"])
    assert is_mp_at(*place)
    for name, value in (
        *(("no_dyn_threshold", 7), ("mmapped_mem", 12345), ("arena_test", 0)),
        *(("sbrk_base", 1 << 60), ("thp_pagesize", 4097), ("tcache_bins", 63)),
    ):
        before = target.space.read_struct(heap.layout.par, heap.symbols["mp_"])[name]
        heap.field(heap.layout.par, heap.symbols["mp_"], name, value)
        assert not is_mp_at(*place), name
        heap.field(heap.layout.par, heap.symbols["mp_"], name, before)
    assert is_mp_at(*place)


def test_a_guess_whose_chunks_do_not_add_up_is_refused():
    """With one arena, a damaged chunk can't be told from a wrong guess."""
    heap = usual()
    target = stripped(heap)
    for arena in heap.arenas:
        heap.poke(arena.chunks[5][0] + 8, 0)
    assert find_libcs(target)
    with pytest.raises(HeapxError, match="chunks don't add up"):
        take(target)


def test_without_symbols_damage_in_one_arena_costs_that_arena():
    heap = usual()
    target = stripped(heap)
    heap.poke(heap.arenas[1].chunks[5][0] + 8, 0)
    snapshot = take(target)
    assert {problem.arena for problem in snapshot.problems} == {1}
    assert [arena.in_use is None for arena in snapshot.arenas()] == [False, True, False]


def test_before_its_first_use_malloc_is_found_too():
    """main_arena is all zero then, but for next and attached_threads."""
    heap = usual()
    target = stripped(heap)
    state, main = heap.layout.state, heap.symbols["main_arena"]
    for at in range(main, main + state.size, 8):
        heap.poke(at, 0)
    heap.field(state, main, "next", main)
    heap.field(state, main, "attached_threads", 1)
    heap.field(heap.layout.par, heap.symbols["mp_"], "sbrk_base", 0)
    (image,) = target.objects
    assert find_main_arena(target.space, image, heap.layout) == main
    assert find_mp(target.space, image, heap.layout, main) == heap.symbols["mp_"]


# Threads.


def test_tcaches_beside_thread_pointers():
    """As in a stripped static program: no list of threads, but a register."""
    heap = usual()
    target = stripped(heap)
    known = {n: a for n, a in heap.symbols.items() if n in ("__libc_version", "__curbrk")}
    target.objects[0].debug = Symbols("/lib/libc.so.6", known, {}, {})
    pointers = {cache.lwp: cache.pthread + 256 + 64 for cache in heap.caches}
    found = take(changed(target, thread_pointers=lambda: pointers))
    assert found.mallocs[0].caches == take(heap.target()).mallocs[0].caches
    assert found.mallocs[0].notes[1:] == ()


def test_tcaches_that_cannot_be_found_are_counted_and_their_chunks_count_as_in_use():
    heap = usual()
    target = stripped(heap)
    known = {n: a for n, a in heap.symbols.items() if n in ("__libc_version", "__curbrk")}
    target.objects[0].debug = Symbols("/lib/libc.so.6", known, {}, {})
    found = take(target)
    (note,) = (note for note in found.mallocs[0].notes if note.code == "tcaches_missing")
    assert (note.values["lost"], note.values["threads"]) == (3, 3)
    assert sentence(note).startswith("The tcaches of 3 of 3 threads are missing: ")
    assert sentence(note).endswith("Their chunks count as in use.")
    for ours, theirs in zip(found.arenas(), take(heap.target()).arenas()):
        assert ours.tcache == 0
        structs = ours.in_use - theirs.in_use - theirs.tcache
        assert structs == theirs.overhead - ours.overhead  # the tcaches' own chunks


# Of live processes of Debian's 2.43 and 2.44; malloc(sizeof) pads once, tcache_init once before it.
TCACHE_CHUNKS = [(I386, 0x1D0), (I386, 0x1E0), (AMD64, 0x300), (AMD64, 0x310), (AMD64, 0x320)]


@pytest.mark.parametrize(("machine", "size"), TCACHE_CHUNKS)
@pytest.mark.parametrize("symbols", [True, False])
def test_from_2_43_the_chunk_of_a_tcache_may_be_padded_twice(machine, size, symbols):
    heap = HeapBuilder(machine, (2, 43))
    cache = heap.thread(heap.main, 100, size=size)
    heap.main.add(TCACHE, 64, cache)
    heap.main.add(USED, 640)
    (malloc,) = take(heap.target() if symbols else stripped(heap)).mallocs
    assert not malloc.problems
    assert [each.tcache.chunks for each in malloc.caches] == [1]


def test_a_chunk_of_another_size_is_no_tcaches():
    heap = HeapBuilder(AMD64, (2, 43))
    heap.thread(heap.main, 100, size=0x330)
    heap.main.add(USED, 640)
    codes = [problem.code for problem in take(heap.target()).problems]
    assert codes == ["bad_tcache"]


def test_where_no_thread_has_a_possible_tcache_a_note_says_so():
    """It may be libc's dummy, or a place that nothing tells: the chunks would count as in use."""
    heap = HeapBuilder()
    heap.thread(heap.main, 100, size=0x400)
    heap.main.add(USED, 640)
    (malloc,) = take(stripped(heap)).mallocs
    assert not malloc.caches
    assert "no_tcache" in [note.code for note in malloc.notes]


def test_a_thread_is_known_by_the_lwp_that_it_has_outside():
    heap = usual()
    target = stripped(heap)
    threads = tuple(replace(t, lwp=t.lwp + 5000, inner=t.lwp) for t in target.facts.threads)
    caches = take(changed(target, threads=threads)).mallocs[0].caches
    assert [cache.tcache.lwp for cache in caches] == [thread.lwp for thread in threads]
    assert [cache.name for cache in caches] == [thread.name for thread in threads]


def test_of_two_libcs_the_one_whose_malloc_is_not_found_is_named():
    heap = usual()
    target = stripped(heap)
    zeros = target.objects[0].mappings[0]._replace(start=1 << 40, end=(1 << 40) + 4096)
    known = {"__libc_version": heap.symbols["__libc_version"]}
    other = Symbols("/other/libc.so.6", known, {}, {})
    twin = Image(other.path, (zeros,), target.space.memory, lambda build_id: None, other)
    (malloc,) = take(changed(target, objects=(*target.objects, twin))).mallocs
    assert sentence(malloc.notes[0]).startswith("The malloc of /other/libc.so.6 was not found")
