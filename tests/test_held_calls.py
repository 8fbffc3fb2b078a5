"""The calls of compiled code about what is held, again: under sanitizers, and on aarch64.

They are recorded while built heaps, sound and damaged ones, are held, flooded and recognised. Under
sanitizers they are made with damaged memory, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from heapbuilder import AMD64, HeapBuilder
from heldcalls import ARGUMENTS, VOID, Recorded, recording
from properties import SHARE
from test_classify import Filled
from test_damage import damage
from test_held import held, lookups
from test_hidden import hide
from test_reach import degrees, pointer, with_pointers
from test_walk_calls import damaged
from walkcalls import ON_AARCH64, Program, made_by, native, on_aarch64, sanitized

from gdb_heapx.errors import HeapxError
from gdb_heapx.heap.library import Library
from gdb_heapx.held import held as holding
from gdb_heapx.held import pointers, spots
from gdb_heapx.held.held import Held, hold
from gdb_heapx.held.hidden import Way, seeker
from gdb_heapx.held.pointers import Finder, Pointers
from gdb_heapx.held.root import RootKind
from gdb_heapx.held.spots import SpotSeeker
from gdb_heapx.reach import compiled as flooding
from gdb_heapx.reach import labelled, nearest, referrers
from gdb_heapx.reach.compiled import flood_of
from gdb_heapx.reach.explain import explain
from gdb_heapx.reach.labelled import labels_of
from gdb_heapx.reach.nearest import nearest_of
from gdb_heapx.reach.referrers import referring_words
from gdb_heapx.reach.ways import way_to
from gdb_heapx.recognise import compiled as recognising
from gdb_heapx.recognise import finder as looking
from gdb_heapx.recognise.classify import classified_by
from gdb_heapx.recognise.compiled import CompiledRecognising
from gdb_heapx.recognise.counted import Kinds
from gdb_heapx.recognise.finder import CompiledBodies
from gdb_heapx.recognise.heaps import surroundings_of
from gdb_heapx.recognise.tables import mark_tables
from gdb_heapx.snapshots.opened import open_target

HEAPS = range(12)  # some of them are damaged
ALL_WAYS = (Way(unaligned=True), Way(True, 16, 1 << 20, 4))


@contextmanager
def little_room() -> Iterator[None]:
    """What compiled code is given has little room, in here: it is called again and again."""
    with (
        mock.patch.object(flooding, "ROOM", 3),
        mock.patch.object(flooding, "STEPS", 5),
        mock.patch.object(pointers, "ROOM", 8),
        mock.patch.object(spots, "AT_ONCE", 2),
        mock.patch.object(labelled, "ROOM", 3),
        mock.patch.object(labelled, "STEPS", 5),
        mock.patch.object(referrers, "ROOM", 2),
        mock.patch.object(nearest, "STEPS", 5),
        mock.patch.object(looking, "STEPS", 7),
        mock.patch.object(looking, "MOST_KEPT", 20),
        mock.patch.object(recognising, "STEPS", 7),
        mock.patch.object(recognising, "SLOTS", 256),
        mock.patch.object(recognising, "MOST_KNOWN", 128),
        mock.patch.object(recognising, "Kinds", partial(Kinds, most=24)),
    ):
        yield


def some(seed: random.Random, heap: HeapBuilder) -> int | None:
    """Return how many bytes are at hand at once, None for all."""
    return seed.choice([None, 3 * heap.page, 40 * heap.page])


def flood(seed: random.Random) -> None:
    """Do with a heap what leaks does, and look up what is in it."""
    heap = with_pointers(seed, AMD64, (2, 36))
    chunks = list(held(heap.target()).index.each())
    hide(seed, heap, chunks, ALL_WAYS[0])
    if seed.random() < 0.5:
        damage(seed, heap)
    found = hold(open_target(heap.target()), most=some(seed, heap), passes=True, ways=ALL_WAYS)
    place = (ctypes.c_uint64 * 4)()
    for address in seed.sample([*lookups(found)], 20):
        found.functions.heapx_find(found.table.reference, address, place)
    point_at(seed, found)
    chunks = list(found.index.each())
    kinds = array("I", [seed.randrange(3) for _ in chunks])
    flooded = flood_of(found, seed.choice([None, kinds]), 3)
    degrees(flooded, *(array("Q", [pointer(seed, chunks) for _ in range(3)]) for _ in range(2)))
    flooded.part()
    flooded.sums()
    list(explain(found, bytes(flooded.states), ()))


def point_at(seed: random.Random, found: Held) -> None:
    """Look for pointers in memory of a root."""
    chunks = list(found.index.each())
    words = array("Q", [pointer(seed, chunks) for _ in range(40)])
    looked = seeker(found.space, found.index, found.table, found.functions, ALL_WAYS)
    looked.add(0, 8 * len(words), 0, words)
    found.pointers.hidden = looked.close(())
    Finder(found.table, found.functions, Pointers()).look(0, words)


def hold_apart(seed: random.Random) -> None:
    """Do with a heap what holders and refs do."""
    heap = with_pointers(seed, AMD64, (2, 36))
    if seed.random() < 0.5:
        damage(seed, heap)
    found = held(heap.target(), some(seed, heap))
    chunks = list(found.index.each())
    words = [array("Q", [pointer(seed, chunks) for _ in range(3)]) for _ in range(3)]
    labels = labels_of(found, len(words))
    search = nearest_of(found)
    for number, each in enumerate(words, 1):
        labels.follow(number, number, each)
        search.take(number, each)
    search.follow()
    labels.nearest, labels.lead = search.reached, 1
    kinds = array("I", [seed.randrange(3) for _ in chunks])
    labels.totals(array("I", [0, 1, 0, 2, 0]), kinds, 3)
    for each in words:
        labels.shared(each, seed.choice([3, 1 << 30]))
    for chunk in seed.sample(chunks, 2):
        list(referring_words(found, chunk))
        way_to(found, chunk, words)


def recognise(seed: random.Random) -> None:
    """Do with a heap what types does, and find the chunks of each kind."""
    filled = Filled(seed)
    if seed.random() < 0.5:
        damage(seed, filled.heap)
    most = some(seed, filled.heap)
    found = hold(open_target(filled.target(True)), most=most, passes=True)
    bodies = CompiledBodies(found)
    bodies.look_into_chunks()
    bodies.look_into(found.index.starts[0], found.index.starts[0] + 0x100)
    for over in (False, True):
        bodies.look_at(spots_in(seed, filled, found), over)
    bodies.note_tables()
    bodies.look_at(spots_in(seed, filled, found), False)
    mark_tables(bodies, found)
    around = surroundings_of(found)
    way = CompiledRecognising(found, around)
    kinds = classified_by(way, found, around, sizes=seed.random() < 0.5)
    for number in range(min(len(kinds.groups), 3)):
        list(way.users(kinds, number))


def spots_in(seed: random.Random, filled: Filled, found: Held) -> array:
    """Return what is found of containers in memory of a root."""
    seeker = SpotSeeker(found.space, found.index, found.table, found.functions, found.blocks)
    for at in (0, 800, 4000):
        words = array("Q", [word for _ in range(9) for word in filled.container()])
        seeker.add(RootKind.STACK, 0, at, words)
    return seeker.close().get(RootKind.STACK, array("Q"))


@pytest.fixture(scope="module")
def record(shared):
    """Return what records the calls that are made for a heap, by its number."""
    code = native(shared)
    library = Library(code, "here", Path("walk.so"))

    def calls(number: int) -> list[Recorded]:
        with (
            little_room(),
            mock.patch.object(holding, "library", return_value=library),
            recording(code) as recorder,
        ):
            for make in (flood, hold_apart, recognise):
                with contextlib.suppress(HeapxError):
                    make(random.Random(number))
            return recorder.kept

    return calls


@pytest.fixture(scope="module")
def under_sanitizers(shared):
    return sanitized(shared)


def test_every_function_is_called(record):
    called = {calls.calls[0].name for number in HEAPS for calls, _, _ in record(number)}
    assert called == set(ARGUMENTS)


@pytest.mark.parametrize("number", HEAPS)
@pytest.mark.slow
def test_under_sanitizers_calls_return_and_leave_the_same(under_sanitizers, record, number):
    same(under_sanitizers, record(number))


@pytest.mark.parametrize("number", HEAPS)
@pytest.mark.slow
def test_under_sanitizers_no_word_of_the_process_is_trusted(under_sanitizers, record, number):
    chance = random.Random(number)
    made = record(number)
    made_by(under_sanitizers, [damaged(chance.choice(made), chance) for _ in range(120 // SHARE)])


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ON_AARCH64)
def test_on_aarch64_calls_return_and_leave_the_same(compiler, record, shared):
    same(on_aarch64(shared, compiler), [*record(0), *record(1)])


def same(program: Program, recorded: list[Recorded]) -> None:
    """Make calls again: they return and leave what they did; of some nobody looks at the former."""
    made, expected, _ = zip(*recorded)
    for calls, again, before in zip(made, made_by(program, made), expected):
        name = calls.calls[0].name
        places = [at for at, each in enumerate(again.buffers) if each != before.buffers[at]]
        assert (name, places) == (name, [])
        assert name in VOID or again.returned == before.returned
