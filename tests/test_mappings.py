"""Mappings by their kinds: what they say together is what each of them says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.target.extents import Extents
from gdb_heapx.target.mappings import Mapping, Mappings, Usage, merged

PAGE = 4096
USED = Usage(PAGE, PAGE, 0, 0, 0, 0, False, None)
KINDS = (
    ("rw-p", 0, "", 0, USED),
    ("rw-p", 0, "", 0, None),
    ("r--p", 0, "", 0, USED),
    ("rw-p", 7, "/a", 0, USED),
    ("rw-p", 7, "/a", PAGE, USED),
    ("r--p", 7, "/a", 0, USED, PAGE),
)


@st.composite
def many(draw):
    """Return mappings in order, some side by side, of few kinds and sizes."""
    end, found = 0, []
    for gap, size, kind in draw(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 2), st.sampled_from(KINDS)))
    ):
        start, end = end + gap * PAGE, end + (gap + size) * PAGE
        found.append(Mapping(start, end, *kind))
    return found


def is_written(mapping):
    return "w" in mapping.permissions


@given(many(), st.randoms())
def test_mappings_by_kind_are_the_same_one_by_one(found, seed):
    seed.shuffle(found)
    mappings = Mappings.of(found)
    assert [*mappings] == found == [mappings[at] for at in range(len(mappings))]
    assert mappings == tuple(found) == Mappings.of(iter(found))
    assert [*mappings.in_order] == sorted(found)
    assert Mappings.of(mappings) is mappings
    assert len(mappings.kinds) == len({(m.size, *m[2:]) for m in found})
    assert sum(mappings.counts) == len(found)


@given(many())
def test_what_is_asked_of_kinds_is_what_each_mapping_says(found):
    mappings, written = Mappings.of(found), [m for m in found if is_written(m)]
    assert [*mappings.where(is_written)] == written
    assert mappings.runs(is_written) == merged((m.start, m.end) for m in written)
    assert mappings.sum(lambda kind: kind.size) == sum(m.size for m in found)
    assert not [*mappings.where(lambda kind: kind.size > 2 * PAGE)]
    assert mappings.runs(lambda kind: kind.size > 2 * PAGE) == []


def test_mappings_of_one_kind_have_one_object_for_it():
    rows = [Mapping(PAGE * at, PAGE * (at + 1), "rw-p", 0, "", 0, USED) for at in range(9)]
    mappings = Mappings.of(rows)
    assert (mappings.kinds, mappings.counts) == (rows[:1], [9])
    assert mappings != rows[:8]


class Space:
    word = 8

    def __init__(self, mappings):
        self.mappings = mappings


@given(many(), st.lists(st.integers(-1, 200)))
def test_memory_goes_on_as_far_as_it_can_be_written(found, pages):
    extents = Extents(Space(Mappings.of(found)))
    runs = merged((m.start, m.end) for m in found if is_written(m))
    for address in (page * PAGE // 2 for page in pages if found):
        ends = [end for start, end in runs if start <= address < end]
        assert extents.end(address) == (ends[0] if ends else address)
    if runs:
        assert extents.total == sum(end - start for start, end in runs)


@pytest.mark.parametrize("at", [-1, 0, PAGE, 3 * PAGE])
def test_an_address_that_no_mapping_has_is_in_none(at):
    assert Mappings.of([Mapping(2 * PAGE, 3 * PAGE, "rw-p", 0, "")]).at(at) is None
    assert Mappings.of(()).at(at) is None
