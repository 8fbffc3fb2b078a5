"""Words told by their bytes, many at once: the same is said of them as of each by itself."""

from __future__ import annotations

import pytest
from heapbuilder import MACHINES, HeapBuilder
from hypothesis import given
from hypothesis import strategies as st
from properties import tried

from gdb_heapx.held.columns import Columns, top_byte, words_within
from gdb_heapx.recognise.glance import Glance
from gdb_heapx.recognise.recognisers import HEAP, NUMBER, OTHER, ZERO

SEEDS = st.randoms(use_true_random=True)
SPACES = {name: HeapBuilder(machine).target().space for name, machine in MACHINES.items()}
STARTS = (0x10000, 0x400000, 0x8048000, 0xF7000000, 0x555555554000, 0x7F0000000000, 0x7FFFF7FF0000)
SPAN = 6  # the kind that is told of words which lead to no heap, but where pointers do


def spans_in(seed, word):
    """Return some spans, which are apart from each other, in order."""
    wide, found = 1 << 8 * word, [(0x8000, 0x8000 + 8 * seed.randrange(1, 100))]
    del found[: seed.randrange(2) if word == 8 else 0]
    for start in sorted(seed.choices([s for s in STARTS if s < wide], k=seed.randrange(1, 5))):
        low = start + 16 * seed.randrange(1 << seed.randrange(1, 16))
        high = low + 8 * seed.randrange(1, 1 << seed.choice([1, 4, 12, 20, 24, 33]))
        if high < wide and (not found or found[-1][1] <= low):
            found.append((low, high))
    return found


def words_in(seed, word, spans):
    """Return words that lie in spans, at their ends, or anywhere."""
    wide = 1 << 8 * word
    edges = [0, 1, 1 << 16, 1 << 24, 1 << 31, 1 << 32, 1 << 40, wide - 1, *sum(spans, ())]
    words = [edge + step for edge in edges for step in (-256, -1, 0, 1, 255, 65536)]
    words += [seed.randrange(*span) for span in spans for _ in range(20)]
    words += [seed.getrandbits(seed.randrange(1, 8 * word + 1)) for _ in range(60)]
    words += [0] * 20
    seed.shuffle(words)
    return [each % wide for each in words]


def data_of(words, space):
    return b"".join(each.to_bytes(space.word, space.byteorder) for each in words)


@pytest.mark.parametrize("name", SPACES)
@tried(400)
@given(seed=SEEDS)
def test_bytes_of_words_are_told_as_of_each_word_by_itself(name, seed):
    space = SPACES[name]
    words = words_in(seed, space.word, spans_in(seed, space.word))
    columns = Columns(space, data_of(words, space))
    byte, some = seed.randrange(space.word), seed.choices(range(256), k=5)
    having = [(each >> 8 * byte & 0xFF) in some for each in words]
    assert columns.as_bytes(columns.having(byte, some)) == bytes(having)
    from_on = columns.from_on(byte)
    assert columns.as_bytes(from_on) == bytes(each >> 8 * byte != 0 for each in words)
    assert [*columns.flagged(from_on)] == [at for at, w in enumerate(words) if w >> 8 * byte]
    behind = [each >> 8 * byte != 0 for each in (*words[1:], 0)]
    assert columns.as_bytes(from_on >> 8) == bytes(behind)


@pytest.mark.parametrize("name", SPACES)
@tried(400)
@given(seed=SEEDS)
def test_the_words_within_bounds_are_found(name, seed):
    space = SPACES[name]
    spans = spans_in(seed, space.word)
    words = words_in(seed, space.word, spans)
    low, high = spans[0][0], spans[-1][1]
    within = [each for each in words if low <= each < high]
    assert words_within(space, data_of(words, space), low, high) == within
    assert words_within(space, data_of(words, space), 0, 0) == []


@pytest.mark.parametrize("name", SPACES)
@tried(800)
@given(seed=SEEDS)
def test_kinds_are_told_of_many_words_as_of_each(name, seed):
    space = SPACES[name]
    spans = spans_in(seed, space.word)
    words, (low, high) = words_in(seed, space.word, spans), seed.choice(spans)

    def other(word):
        inside = any(start <= word < end for start, end in spans)
        return SPAN if inside else NUMBER if word < 1 << 32 and space.word == 8 else OTHER

    data = data_of(words, space)
    glance = Glance(space.word, spans, other)
    kinds = glance.kinds(space.as_words(memoryview(data)), Columns(space, data), low, high)
    expected = [HEAP if low <= w < high else ZERO if not w else other(w) for w in words]
    assert [*kinds] == expected


def test_few_words_are_looked_at_by_themselves():
    """Of words as programs have them, those that lead to code, and a few at the heap's ends."""
    space, heap = SPACES["amd64"], (0x555555580000, 0x55559558A000)
    code = [(0x555555554000, 0x555555579000), (0x7FFFF7C00000, 0x7FFFF7E00000)]
    words = [0, 1, 1 << 31, 0x6F77206F6C6C6568, *range(0x555555590000, 0x555595570000, 1 << 16)]
    asked = []
    glance = Glance(8, [*code, heap], lambda word: asked.append(word) or SPAN)
    data = data_of([*words, code[0][0], code[1][0]], space)
    kinds = glance.kinds(space.as_words(memoryview(data)), Columns(space, data), *heap)
    assert [*kinds[:5], *kinds[-2:]] == [ZERO, NUMBER, NUMBER, OTHER, HEAP, SPAN, SPAN]
    assert asked == [code[0][0], code[1][0]]
    told, _ = glance.sure(Columns(space, data), *heap)
    assert Columns(space, data).as_bytes(told).count(0) == 2


def test_the_highest_byte_that_is_not_0_is_numbered():
    assert [top_byte(each) for each in (0, 1, 0xFF, 0x100, 1 << 40)] == [0, 0, 0, 1, 5]
