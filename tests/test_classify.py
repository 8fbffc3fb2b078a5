"""All chunks in use by what they are: compiled code and Python agree, and nothing is left out."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from dataclasses import replace
from unittest import mock

import pytest
from heapbuilder import AMD64, FREE, PAGE, USED, HeapBuilder, Pages, changed
from hypothesis import assume, given
from hypothesis import strategies as st
from kindscene import DATA, Program
from properties import tried
from test_damage import damage

from gdb_heapx.errors import HeapxError
from gdb_heapx.held import pointers, spots
from gdb_heapx.held.held import hold
from gdb_heapx.recognise import tables
from gdb_heapx.recognise.by_python import Recognising
from gdb_heapx.recognise.classify import classified_by, classify
from gdb_heapx.recognise.counted import Kinds
from gdb_heapx.recognise.heaps import surroundings_of
from gdb_heapx.recognise.kinds import Code, Key
from gdb_heapx.snapshots.opened import open_target
from gdb_heapx.target.mappings import Mapping

SEEDS = st.randoms(use_true_random=True)
CONTROL = "St23_Sp_counted_ptr_inplaceI3DogSaIvELN9__gnu_cxx12_Lock_policyE2EE"
LIBCXX = "NSt3__120__shared_ptr_emplaceI3DogNS_9allocatorIS1_EEEE"


ONES = (1 << 64) - 1
WAYS = ["words", "words", "text", "wide", "tree", "list", "array", "bytes", "holder", "holder"]

OTHER = Mapping(0x7F9000000000, 0x7F9000002000, "rw-p", 0, "")  # as fibers' stacks are


class Filled:
    """A heap with chunks in use, in which lie words that mean something, and others."""

    def __init__(self, seed, release=(2, 36)):
        self.seed, self.heap, self.program = seed, HeapBuilder(AMD64, release), Program()
        program, heap = self.program, self.heap
        kind = program.a_type("type", tracked=True, meta=True)
        self.words = [
            *(program.a_class("3Dog"), program.a_class("3Cat", symbol=True)),
            *(program.a_class("3Dog", to_top=-16), program.a_class("3Cow", rtti=False)),
            *(program.a_class(CONTROL), program.a_class(LIBCXX), kind),
            *(program.a_type("str", kind), program.a_type("dict", kind, tracked=True)),
            *(program.function("run"), program.function(), program.data(1, symbol="table")),
            *(program.data(2), 0, 0, 0, 1, 1, 2, 3, (1 << 64) - 1, 1 << 32, 0x0101, 0xFFFFFFFF),
        ]
        self.handlers = []
        self.chunks = []
        arenas = [heap.main, heap.arena()]
        for _ in range(seed.randrange(5, 60)):
            arena = seed.choice(arenas)
            size = 16 * seed.choice([2, 2, 3, 4, 5, 6, 8, 8, 11, seed.randrange(2, 40)])
            if seed.random() < 0.1:
                arena.add(FREE, 64)
            self.chunks.append((arena.add(USED, size), size))
        for _ in range(seed.randrange(3)):
            size = PAGE * seed.randrange(34, 37)
            self.chunks.append((heap.mmapped(size, apart=True), seed.randrange(32, size, 16)))
        if seed.random() < 0.7:
            heap.residency = Pages()
        heap.target()
        for chunk in self.chunks:
            self.fill(*chunk)
        places = seed.sample(range(OTHER.size // 8 - 10), seed.randrange(6))
        self.others = [(OTHER.start + 8 * place, self.container()) for place in places]

    def fill(self, chunk, size):
        seed, user = self.seed, chunk + 16
        way = seed.choice(
            ["words", "text", "wide", "tree", "list", "array", "bytes", "holder", "calls", "dict"]
        )
        words = [self.word() for _ in range(min((size - 8) // 8, 64))]
        if way == "text":
            text = seed.choice(["plain text ", "naïve\t", "\x7fno", "x\x01", "日本語"]) * 40
            data = text.encode()[seed.randrange(3) :][: seed.choice([size - 8, size // 2, 9])]
            self.heap.memory.write(user, data.ljust(size - 8, b"\0")[: size - 8])
            return
        if way in ("wide", "bytes"):
            data = seed.choice(["Größe ", "Ω", "()", "a1!"]).encode("utf-16-le") * 200
            data = seed.randbytes(size - 8) if way == "bytes" else data
            data = data[: seed.choice([size - 8, size // 2, 10]) & ~1]
            self.heap.memory.write(user, data.ljust(size - 8, b"\0")[: size - 8])
            return
        if way == "array" and len(words) > 4:
            number = seed.randrange(2, len(words))
            step = max((len(words) - 1) // number, 1)
            number = min(number, (len(words) - 1) // step)
            words = [number, *([self.words[0], *[7] * (step - 1)] * number)]
        if way == "dict" and len(words) > 8:
            words = [*self.table(size - 8), *[7] * (len(words) - 4)]
        if way == "calls":  # one behind the other, or nearly
            words = [w for _ in words[3::4] for w in (1, 2, *self.handler(16))] or words
        for at, word in enumerate(words):
            self.heap.poke(user + 8 * at, word)
        other = seed.choice(self.chunks)[0] + 16
        if way == "holder" and len(words) > 10:
            self.hold(user, size)
        if way == "list":
            self.link(user, 0, other, 8)
            self.link(other, 0, user, 8)
        if way == "tree" and size >= 48:
            self.heap.poke(user, seed.choice([0, 1, 2]))
            self.link(user, 8, other, seed.choice([8, 16, 24]))
            child = seed.choice(self.chunks)[0] + 16
            self.link(user, 16, child, 8)
            self.heap.poke(user + 24, 0)

    def table(self, size):
        """Return the first words of a dict's table, or nearly: the largest of a chunk's size."""
        seed, old = self.seed, self.seed.random() < 0.3
        sizes = {
            (40 if old else 32) + (1 << log2) + (2 << log2) // 3 * (16 if kind else 24): (
                log2,
                kind,
            )
            for log2 in range(3, 8)
            for kind in ((0,) if old else (0, 1))
        }
        largest = max((each for each in sizes if each <= size), default=min(sizes))
        log2, kind = sizes[largest]
        room = (2 << log2) // 3
        taken = seed.choice([0, room, seed.randrange(room + 2)])
        free = max(room - taken, 0)
        if old:
            return [1, 1 << log2, seed.choice(self.words), free]
        second = log2 | log2 << 8 | kind * seed.randrange(1, 4) << 16 | seed.randrange(256) << 24
        return [seed.choice([0, 1, 9]), second, free, taken]

    def hold(self, user, size):
        """Let a chunk have a container, or nearly one, that leads to another chunk."""
        for at, word in enumerate(self.container()[: (size - 8) // 8]):
            self.heap.poke(user + 8 * at, word)

    def container(self):
        """Return the words of a container, or nearly one, that leads to a chunk."""
        seed = self.seed
        chunk, room = seed.choice(self.chunks)
        body, usable = chunk + 16, room - 8
        near = max(usable - seed.choice([0, 8, 16, 24, 40]), 16)
        way = seed.choice(["vector", "string", "deque", "hashed", "function"])
        words = [body, body + seed.choice([0, 8, near]), body + near, seed.choice([0, 0, body])]
        words += [seed.choice([0, body]), 0]
        if way == "string":
            words = [body, seed.choice([0, 16, near]), near - 1, 7]
            self.heap.memory.write(body + min(words[1], usable - 1), b"\0")
            if seed.random() < 0.5:
                self.heap.memory.write(body, b"x" * min(words[1], usable - 1))
        if way == "deque":
            blocks = [block + 16 for block, _ in seed.sample(self.chunks, 2)]
            places = body, body + 8
            for place, block in zip(places, blocks):
                self.heap.poke(place, block)
            ends = ((b, b, b + seed.choice([0, 512]), at) for b, at in zip(blocks, places))
            words = [body, near // 8, *(word for end in ends for word in end)]
        if way == "hashed":
            nodes = [node + 16 for node, _ in seed.sample(self.chunks, seed.randrange(1, 4))]
            for node, after in zip(nodes, (*nodes[1:], 0)):
                self.heap.poke(node, after)
            count = len(nodes) + seed.choice([0, 0, 1])
            words = [body, near // 8, nodes[0], count, seed.choice([0x3F800000, 7])]
        if way == "function":
            words = [body, self.word(), *self.handler(near), self.word()]
        return words

    def handler(self, size):
        """Return the functions of a std::function which calls so many bytes, or of nearly one."""
        seed = self.seed
        if not self.handlers or seed.random() < 0.5:
            size = seed.choice([size, size, 0, 16])
            self.handlers.append(self.program.of_std_function("1A", size))
        manager, invoker = seed.choice(self.handlers[-3:])
        return seed.choice([(manager, invoker)] * 4 + [(invoker, manager), (manager, manager)])

    def link(self, one, at, other, back):
        self.heap.poke(one + at, other)
        self.heap.poke(other + back, one)

    def word(self):
        if self.seed.random() < 0.2:
            return self.seed.choice(self.chunks)[0] + self.seed.choice([0, 16, 16, 16, 20, 24, 32])
        return self.seed.choice(self.words)

    def target(self, compiled):
        target = self.heap.target()
        mappings = sorted((*target.space.mappings, OTHER), key=lambda mapping: mapping.start)
        target = changed(target, compiled=compiled, mappings=tuple(mappings))
        program, other = self.program, self.heap.memory.regions
        other[OTHER.start] = bytearray(OTHER.size)
        for place, words in self.others:
            for at, word in enumerate(words):
                self.heap.poke(place + 8 * at, word)
        self.heap.memory.regions[DATA] = program.memory.regions[DATA]
        return replace(target, objects=(*target.objects, program.image()))


def classified(target, sizes=False):
    held = hold(open_target(target))
    return held, classify(held, surroundings_of(held), sizes=sizes)


def bodies_of(target, most):
    """Return what chunks are for what leads to them, if so many bytes are at hand at once."""
    held = hold(open_target(target), most=most, passes=True)
    assume(not held.lots.large)  # what lies in these is not looked for
    found = surroundings_of(held).heaps.bodies
    return [found.key(rank) for rank in range(held.index.chunks)]


def one_by_one(held, sizes=False):
    """Return what the recognisers say, which are the definition."""
    around = surroundings_of(held)
    return classified_by(Recognising(held, around, quick=False), held, around, sizes=sizes)


def shown(found):
    """Return what was found, whatever numbers groups have."""
    return dict(zip(found.groups, found.sums)), found.inside


@tried(300)
@given(SEEDS, st.booleans(), st.booleans())
def test_compiled_code_recognises_the_same(seed, sizes, damaged):
    filled = Filled(seed)
    if damaged:
        damage(seed, filled.heap)
    try:
        held, by_c = classified(filled.target(True), sizes)
        _, by_python = classified(filled.target(False), sizes)
    except HeapxError:
        return
    assert held.table is not None
    known = one_by_one(held, sizes)
    for found in (by_c, by_python):
        assert shown(found) == shown(known)
        assert [found.groups[n] for n in found.kinds] == [known.groups[n] for n in known.kinds]


@tried(100)
@given(SEEDS, st.sampled_from([24, 64, 200, 4096]))
def test_it_makes_no_difference_how_memory_is_read_in_pieces(seed, size):
    filled = Filled(seed)
    _, whole = classified(filled.target(True))
    for compiled in (True, False):
        with mock.patch.object(pointers, "AT_ONCE", size), mock.patch.object(spots, "AT_ONCE", 2):
            _, found = classified(filled.target(compiled))
        assert shown(found) == shown(whole)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("less", "is_functor"), [(0, True), (24, True), (40, False), (None, False)]
)
def test_what_a_std_function_got_memory_for_is_its_functor(compiled, less, is_functor):
    """What is small lies in the function itself: a pointer there may lead to anything."""
    filled = Filled(random.Random(1))
    large = [chunk for chunk in filled.chunks if 64 < chunk[1] < 1024]
    (holder, _), (body, size) = large[:2]
    manager, invoker = filled.program.of_std_function("1A", 0 if less is None else size - 8 - less)
    for at in range(0, size - 8, 8):
        filled.heap.poke(body + 16 + at, ONES - at)
    for at, word in enumerate((body + 16, ONES, manager, invoker)):
        filled.heap.poke(holder + 24 + 8 * at, word)
    held, found = classified(filled.target(compiled))
    key = found.groups[found.kinds[held.index.begin_at(body + 16).rank]].key
    assert (key == Key(Code.FUNCTOR, invoker)) == is_functor


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("begins", ["number", "function", "two functions"])
def test_what_a_std_function_calls_may_begin_with_a_function(compiled, begins):
    """std::bind begins with one. Two are a coroutine's frame, whatever leads there."""
    filled, (holder, _), (body, size) = with_large_ones()
    manager, invoker = filled.program.of_std_function("1A", size - 8)
    first = {"number": (7, 7), "function": (invoker, 7), "two functions": (invoker, manager)}
    for at, word in enumerate((*first[begins], *[7] * (size // 8 - 3))):
        filled.heap.poke(body + 16 + 8 * at, word)
    for at, word in enumerate((body + 16, ONES, manager, invoker)):
        filled.heap.poke(holder + 24 + 8 * at, word)
    code = Code.FRAME if begins == "two functions" else Code.FUNCTOR
    assert code_of(body, filled.target(compiled)) is code


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("in_chunk", [True, False])
@pytest.mark.parametrize(("number", "led_to"), [(3, True), (3, False), (1, True), (1, False)])
def test_std_functions_that_a_vector_leads_to_are_its_body(compiled, in_chunk, number, led_to):
    """Where the vector may be over, several of them must be seen."""
    filled, (holder, _), (body, size) = with_large_ones()
    manager, invoker = filled.program.of_std_function("1A", 0)
    words = (1, 2, manager, invoker) * number
    for at, word in enumerate((*words, *[7] * (size // 8 - 1 - len(words)))):
        filled.heap.poke(body + 16 + 8 * at, word)
    begin, end = body + 16, body + 16 + size - 8
    vector = (begin, end, end) if led_to else (0, 0, 0)
    filled.others = [] if in_chunk else [(OTHER.start, vector)]
    for at, word in enumerate(vector if in_chunk else ()):
        filled.heap.poke(holder + 24 + 8 * at, word)
    is_body = led_to and (in_chunk or number > 1)
    expected = Code.VECTOR if is_body else Code.FUNCTION
    assert code_of(body, filled.target(compiled)) is expected


def with_large_ones():
    """Return a heap, and two chunks of it that have room for several std::functions."""
    for filled in map(Filled, map(random.Random, range(100))):
        large = [chunk for chunk in filled.chunks if 128 < chunk[1] < 1024]
        if len(large) > 1:
            return filled, *large[:2]
    raise AssertionError("no heap has two of them")


def code_of(chunk, target):
    """Return what a chunk is recognised as."""
    held, found = classified(target)
    return found.groups[found.kinds[held.index.begin_at(chunk + 16).rank]].key.code


@tried(100)
@given(SEEDS)
def test_what_containers_have_is_known_whatever_is_at_hand(seed):
    filled = Filled(seed)
    whole = bodies_of(filled.target(True), None)
    for compiled in (True, False):
        assert bodies_of(filled.target(compiled), 2 * PAGE) == whole


@tried(100)
@given(SEEDS, st.integers(0, 4))
def test_a_table_is_known_as_a_whole_or_not_at_all_where_few_reads_are_left(seed, most):
    filled = Filled(seed)
    whole, nodes = bodies_of(filled.target(True), None), (Code.BUCKETS, Code.HASH_NODE)
    with mock.patch.object(tables, "MOST_READ", most):
        found, by_python = (bodies_of(filled.target(how), 2 * PAGE) for how in (True, False))
    assert found == by_python
    for known, body in zip(whole, found):
        assert body == known or (known is not None and known.code in nodes)
    every, some = (Counter(body and body.code for body in bodies) for bodies in (whole, found))
    assert some[Code.BUCKETS] or not some[Code.HASH_NODE]
    assert some[Code.BUCKETS] < every[Code.BUCKETS] or some == every


@pytest.mark.parametrize("windows", [1 << 16, 7, 6, 2, 1])
def test_nodes_are_marked_where_as_many_reads_are_left_as_it_took_to_look_at_them(windows):
    """Each of six nodes lies in a window of its own, and comes up once."""
    finder, held = Scattered(6), mock.Mock()
    held.index.begin_at.side_effect = lambda at: mock.Mock(rank=at // tables.WINDOW, region=0)
    held.index.starts, held.index.ends = [0], [1 << 30]
    held.lots.has.return_value, held.target.space.residency = False, None
    held.target.space.memory.read.side_effect = lambda start, size: bytes(size)
    with mock.patch.object(tables, "MOST_READ", 2 * windows):
        tables.mark_tables(finder, held)
    known = windows > 5
    assert (
        list(finder.marks) == [Code.BUCKETS, *[Code.HASH_NODE] * 6]
        if known
        else not any(finder.marks)
    )


class Scattered:
    """A table of nodes one window from each other."""

    def __init__(self, nodes):
        self.marks = array("H", bytes(2 * (nodes + 1)))
        self.tables = [tables.HashTable(0, tables.WINDOW, nodes)]

    def along(self, at, left, mark, window):
        while left and window.has(at):
            if mark:
                self.marks[at // tables.WINDOW] = mark
            at, left = at + tables.WINDOW if left > 1 else 0, left - 1
        return at, left


@tried(100)
@given(SEEDS, st.booleans())
def test_every_chunk_in_use_is_counted_once(seed, compiled):
    held, found = classified(Filled(seed).target(compiled))
    chunks = [*held.index.each()]
    assert sum(each.chunks for each in found.sums) == len(chunks)
    assert sum(each.bytes for each in found.sums) == sum(chunk.bytes for chunk in chunks)
    assert Counter(found.kinds) == {at: each.chunks for at, each in enumerate(found.sums)}


@tried(60)
@given(SEEDS, st.booleans(), st.integers(0, 4))
def test_what_finds_no_room_counts_with_what_is_of_its_kind(seed, sizes, most):
    filled = Filled(seed)
    complete = Kinds.__post_init__
    with mock.patch.object(Kinds, "__post_init__", lambda kinds: complete(full(kinds, most))):
        held, by_c = classified(filled.target(True), sizes)
        _, by_python = classified(filled.target(False), sizes)
        known = one_by_one(held, sizes)
    assert shown(by_c) == shown(by_python) == shown(known)
    assert sum(each.chunks for each in by_c.sums) == held.index.chunks
    specific = [each for each in by_c.groups if each != each.coarse]
    assert len(specific) <= most


def full(kinds, most):
    kinds.most = most
    return kinds
