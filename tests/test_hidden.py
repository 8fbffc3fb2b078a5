"""Pointers that are misaligned, tagged, compressed: as bytes tell them, one after the other."""

from __future__ import annotations

import json
from array import array

import pytest
from heapbuilder import AMD64, PAGE, S390X, HeapBuilder, changed
from hypothesis import given
from hypothesis import strategies as st
from properties import tried
from sessions import answer
from test_held import built, held, in_pieces
from test_reach import Naive, degrees, pointer, with_pointers

from gdb_heapx.commands import load_commands
from gdb_heapx.errors import UsageError
from gdb_heapx.held.hidden import SEEDED, Hidden, Way, hidden_in, seeker, ways_of
from gdb_heapx.held.root import Register
from gdb_heapx.reach.compiled import flood_of
from gdb_heapx.reach.explain import explain
from gdb_heapx.reach.states import DEGREE, Degree
from gdb_heapx.snapshots.take import take

KINDS = [(AMD64, (2, 36)), (AMD64, (2, 43)), (S390X, (2, 36))]
SEEDS = st.randoms(use_true_random=True)
LOST = (Degree.HEAD, Degree.HANGS)


def way_of(seed, base) -> Way:
    """Return one way, or several at once."""
    return seed.choice(
        [
            Way(unaligned=True),
            Way(bits=seed.randrange(1, 17)),
            Way(unaligned=True, bits=16),
            Way(base=base, shift=seed.randrange(5)),
            Way(True, seed.randrange(1, 17), base, 4),
        ]
    )


def stored(seed, way, to, order="little") -> bytes | None:
    """Return how memory has a pointer that is hidden in a way; None where it can't be so."""
    forms = []
    if way.bits:
        forms.append(to | seed.getrandbits(way.bits) << 64 - way.bits)
    if way.unaligned:
        forms.append(to)
    if way.base is not None and not (to - way.base) % (1 << way.shift):
        value = (to - way.base) >> way.shift
        if 0 < value < 1 << 32:
            return value.to_bytes(4, order)
    return seed.choice(forms).to_bytes(8, order) if forms else None


def words_in(way, data, order, begins) -> set[int]:
    """Return every word that some bytes have in a way, those that are aligned as they stand apart,
    and compressed ones where a chunk `begins`: looked for at each byte.
    """
    found, mask = set(), (1 << 64 - way.bits) - 1
    for at in range(len(data) - 7 if way.unaligned or way.bits else 0):
        word, aligned = int.from_bytes(data[at : at + 8], order), not at % 8
        if (way.unaligned or aligned) and not (aligned and word <= mask):
            found.add(word & mask)
    for at in range(0, len(data) - 3 if way.base is not None else 0, 4):
        half = int.from_bytes(data[at : at + 4], order)
        to = (way.base + (half << way.shift)) % (1 << 64)
        if half and to in begins:
            found.add(to)
    return found


def memory_of(heap, chunk) -> bytes:
    """Return the memory of a chunk."""
    return bytes(heap.memory.read(chunk.user, chunk.usable))


def hide(seed, heap, chunks, way) -> None:
    """Put pointers into chunks in a way."""
    order = heap.target().space.byteorder
    for chunk in chunks:
        for _ in range(seed.randrange(3)):
            data = stored(seed, way, pointer(seed, chunks), order)
            if data is not None:
                step = 1 if way.unaligned and len(data) == 8 else len(data)
                room = min(chunk.usable, 300) - len(data)
                heap.memory.write(chunk.user + seed.randrange(room // step + 1) * step, data)


@tried(75)
@given(SEEDS, st.sampled_from(KINDS), st.booleans())
def test_what_is_explained_is_what_sets_reach(seed, kind, by_c):
    heap = with_pointers(seed, *kind)
    chunks = list(held(heap.target()).index.each())
    way = way_of(seed, chunks[0].address & ~0xFFFF)
    hide(seed, heap, chunks, way)
    with in_pieces(seed):
        most = seed.choice([None, None, 3 * heap.page, 40 * heap.page])
        found = held(changed(heap.target(), compiled=by_c), most)
    chunks = list(found.index.each())
    naive, order = Naive(heap, found), found.space.byteorder
    flood = flood_of(found)
    degrees(flood, *(array("Q", [pointer(seed, chunks)]) for _ in range(2)))
    flood.part()
    before = bytes(flood.states)
    told = [Degree(state & DEGREE) for state in before]
    seeds = bytearray(seed.choice([0, 0, 0, SEEDED]) for _ in chunks)
    left = [c.rank for c in chunks if told[c.rank] not in LOST and seed.random() < 0.1]
    found.pointers.hidden = (Hidden(way, seeds),)
    (explained,) = explain(found, before, left)
    assert bytes(flood.states) == before
    begins = {c.user for c in chunks}
    more = {c.rank: naive.hits(words_in(way, memory_of(heap, c), order, begins)) for c in chunks}
    known = frozenset(c.rank for c in chunks if told[c.rank] not in LOST)
    first = {(rank, True) for rank, one in enumerate(seeds) if one and rank not in known}
    first |= {hit for rank in known.difference(left) for hit in more[rank]}
    naive.leads = {rank: hits | more[rank] for rank, hits in naive.leads.items()}
    reached = naive.reached(first, True, known)
    assert explained.way == way
    assert explained.sum.chunks == len(reached)
    assert explained.sum.bytes == sum(c.bytes for c in chunks if c.rank in reached)
    assert explained.heads == sum(told[rank] is Degree.HEAD for rank in reached)


def roots_of(seed, chunks, way, start) -> tuple[list[tuple[int, int]], dict[int, bytes]]:
    """Return roots, some of which border on each other, and what is there of their memory."""
    spans, pieces, at = [], {}, start
    for _ in range(seed.randrange(1, 5)):
        at += seed.choice([0, 8, 4096])
        end = at + 8 * seed.randrange(1, 60)
        spans.append((at, end))
        place = at
        while place < end:
            size = min(8 * seed.randrange(1, 20), end - place)
            data = bytearray(size)
            for _ in range(seed.randrange(4)):
                hidden = stored(seed, way, pointer(seed, chunks)) or b""
                first = seed.randrange(-7, size)
                part = hidden[max(-first, 0) :][: size - max(first, 0)]
                data[max(first, 0) : max(first, 0) + len(part)] = part
            if seed.random() < 0.8:
                pieces[place] = bytes(data)
            place += size
        at = end
    return spans, pieces


@tried(75)
@given(SEEDS, st.booleans())
def test_of_roots_each_byte_is_looked_at_whatever_pieces_they_are_read_in(seed, by_c):
    found = held(changed(built(seed, AMD64, (2, 36)).target(), compiled=by_c))
    chunks = list(found.index.each())
    way = way_of(seed, chunks[0].address & ~0xFFFF)
    spans, pieces = roots_of(seed, chunks, way, 0x10000)
    registers = [Register(1, "xmm0", tuple(seed.getrandbits(64) for _ in range(2)))]
    looked = seeker(found.space, found.index, found.table, found.functions, [way])
    memory = {at + i: byte for at, data in pieces.items() for i, byte in enumerate(data)}
    for start, end in spans:
        for at, data in sorted(pieces.items()):
            if start <= at < end:
                looked.add(start, end, at, found.space.as_words(memoryview(data)))
    (told,) = looked.close(registers)
    expected, begins = set(), {chunk.user for chunk in chunks}
    for start, end in joined(spans):
        data = bytes(memory.get(at, 0) for at in range(start, end))
        expected |= words_in(way, data, "little", begins)
    for register in registers:
        data = b"".join(word.to_bytes(8, "little") for word in register.words)
        expected |= words_in(way, data, "little", begins)
    ranks = {chunk.rank for word in expected if (chunk := found.index.at(word))}
    assert {rank for rank, one in enumerate(told.seeds) if one} == ranks


def joined(spans) -> list[tuple[int, int]]:
    """Return spans, those that border on each other as one."""
    whole: list[tuple[int, int]] = []
    for start, end in spans:
        if whole and whole[-1][1] == start:
            start = whole.pop()[0]
        whole.append((start, end))
    return whole


def test_words_that_are_pointers_as_they_stand_are_not_hidden_ones():
    heap = HeapBuilder()
    user = heap.main.add("used", 64) + 16
    found = held(heap.target())
    word = user.to_bytes(8, "little")
    for way in (Way(unaligned=True), Way(bits=16), Way(True, 16)):
        assert list(hidden_in(way, found.space, memoryview(word * 2), found.index)) == []


@pytest.mark.parametrize("compiled", [True, False])
def test_pages_that_are_not_copied_are_zeros(compiled):
    """A pointer may begin in such a page, and end in the next one."""
    heap = HeapBuilder()
    outer, inner = heap.mmapped(40 * PAGE), heap.main.add("used", 0x300)
    target = changed(heap.target(), compiled=compiled)
    inside, border = (inner + 0x1FF) & ~0xFF, (outer + 2 * PAGE) & -PAGE  # its lowest byte is 0
    heap.memory.write(border, inside.to_bytes(8, "little")[1:])
    found = held(target)
    found.store.pages[found.store.offset(border) // PAGE - 1] = 0
    rank = found.index.at(inside).rank
    states = bytes(Degree.HEAD if r == rank else Degree.REACHABLE for r in range(2))
    found.pointers.hidden = (Hidden(Way(unaligned=True), bytearray(2)),)
    (told,) = explain(found, states, ())
    assert told.heads == 1


def test_what_is_asked_for_is_told_apart_and_together():
    given = {"unaligned": True, "mask": 8, "compressed": 0, "shift": "3"}
    unaligned, masked, compressed = Way(True), Way(bits=8), Way(base=0, shift=3)
    together = Way(True, 8, 0, 3)
    assert ways_of(given) == (unaligned, masked, compressed, together)
    assert ways_of({**given, "mask": None, "compressed": None}) == (unaligned,)
    assert ways_of({}) == ()


def test_words_of_32_bits_have_no_tags():
    found = held(HeapBuilder().target())
    narrow = changed(found.target, word=4).space
    with pytest.raises(UsageError):
        seeker(narrow, found.index, None, None, [Way(bits=8)])


def leaks_of(line):
    """Return the rows of the table hidden, and the notes, of a heap that nobody refers to."""
    load_commands()
    heap = HeapBuilder()
    heap.main.add("used", 64)
    target = heap.target()
    report = json.loads(answer(f"{line} --format json", take(target), target=target).text)
    tables = {table["name"]: table["rows"] for table in report["tables"]}
    return [(row["how"], row["heads"]) for row in tables.get("hidden", [])], report["notes"]


def test_the_report_has_a_row_for_each_way_only_if_it_is_asked_for():
    none = "Followed so, too, no word leads to what seems lost."
    rows, notes = leaks_of("leaks --unaligned --mask 8")
    assert rows == [("unaligned", 0), ("masked", 0), ("together", 0)]
    assert none in notes
    rows, notes = leaks_of("leaks")
    assert not rows
    assert none not in notes


@pytest.mark.parametrize("bits", ["0", "33", "-1", "x"])
def test_from_1_to_32_bits_can_be_something_else(bits):
    with pytest.raises(UsageError):
        leaks_of(f"leaks --mask {bits}")
