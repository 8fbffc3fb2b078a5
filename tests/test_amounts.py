"""Amounts: what is unknown of a part is unknown of a sum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdb_heapx.target.amounts import NOTHING, Amount, sum_of


@st.composite
def amounts(draw):
    resident, swapped, rest = (draw(st.integers(0, 1 << 40)) for _ in range(3))
    shared = draw(st.integers(0, resident) | st.none())
    known = Amount(resident + swapped + rest, resident, swapped, shared)
    return draw(st.sampled_from([known, Amount(known.bytes, None, None)]))


@given(amounts(), amounts(), amounts())
def test_a_sum_does_not_depend_on_its_order(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert sum_of([a, b, c]) == a + b + c


@given(amounts(), amounts())
def test_a_part_taken_off_again_leaves_what_is_known_of_both(a, b):
    left = a + b - b
    assert left.bytes == a.bytes
    for name in ("resident", "swapped", "shared", "private"):
        unknown = None in (getattr(a, name), getattr(b, name))
        assert getattr(left, name) == (None if unknown else getattr(a, name))
    assert a + NOTHING == a


def test_where_residency_is_unknown_so_is_what_is_shared():
    assert Amount(4096, None, None).shared is None
    assert Amount(4096, None, None).private is None


def test_what_is_resident_is_private_or_shared():
    assert Amount(100, 70, 20, 30).private == 40


@pytest.mark.parametrize(
    ("amount", "possible"),
    [
        (Amount(100, 70, 30, 70), True),
        (Amount(100, 70, 30, None), True),
        (Amount(100, 70, 30, 71), False),
        (Amount(100, 70, 30, -1), False),
        (Amount(100, 70, 31, 0), False),
        (Amount(-1, None, None), False),
    ],
)
def test_no_more_is_shared_than_is_resident(amount, possible):
    assert amount.possible == possible
