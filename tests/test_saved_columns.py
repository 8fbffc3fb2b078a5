"""Many values in a saved snapshot: they come back, take little, and are read strictly."""

from __future__ import annotations

import gzip
import json
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_growth import with_arenas
from test_saved import TAKEN, WIDEST

from gdb_heapx.heap.cells import ROW
from gdb_heapx.heap.strips import Strip
from gdb_heapx.saved.codec import decoded, encoded
from gdb_heapx.saved.columns import column
from gdb_heapx.saved.lists import names_for, names_from, numbers_for, numbers_from
from gdb_heapx.saved.saved import Saved, read_saved, write_saved
from gdb_heapx.saved.schema import parsed
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.amounts import Amount

WORDS = st.integers(0, (1 << 64) - 1)
NUMBERS = st.one_of(st.integers(-5, 5), st.integers())
AMOUNTS = st.builds(Amount, WORDS, st.none() | WORDS, st.none() | WORDS, st.none() | WORDS)


def through_json(value):
    return json.loads(json.dumps(value))


@given(st.lists(NUMBERS))
def test_numbers_come_back_and_are_never_longer(values):
    found = numbers_for(values)
    assert numbers_from(through_json(found)) == values
    assert len(json.dumps(found)) <= len(json.dumps(values)) + len('{"steps": }')


@given(st.lists(st.sampled_from(["IN_USE", "TOP", None])))
def test_names_come_back(values):
    assert names_from(through_json(names_for(values)), lambda name: name) == values


COLUMNS = (
    ("int | None", st.lists(st.none() | NUMBERS)),
    ("str | None", st.lists(st.none() | st.text(st.characters(exclude_categories=["C"])))),
    ("array[int]", st.lists(st.lists(WORDS).map(lambda words: array("Q", words)))),
    ("Mapping[int, int] | None", st.lists(st.none() | st.dictionaries(NUMBERS, NUMBERS))),
    (
        "tuple[tuple[int, ...] | None, ...]",
        st.lists(st.lists(st.none() | st.just((1, 2))).map(tuple)),
    ),
    ("Amount | None", st.lists(st.none() | AMOUNTS)),
)


@pytest.mark.few(2)
@pytest.mark.parametrize(("declared", "strategy"), COLUMNS, ids=[name for name, _ in COLUMNS])
@given(st.data())
def test_a_column_comes_back(declared, strategy, data):
    values, coder = data.draw(strategy), column(parsed(declared))
    assert [*coder.decode(through_json(coder.encode(values)))] == values


@pytest.mark.parametrize("known", [True, False])
def test_a_strip_comes_back(known):
    words = array("Q", [4096, 1024, 512, 0] * (ROW // 4) if known else [4096, 0, 0, 0] * (ROW // 4))
    strip = Strip(1, 4096, 8192, 0, 12, known, words)
    assert decoded("Strip", through_json(encoded("Strip", strip))) == strip


WRONG = (
    ("int", {"steps": [1, True]}, "True instead of int"),
    ("int", {"steps": [1], "more": []}, "['steps', 'more'] instead of steps"),
    ("int", [1, None], "None instead of int"),
    ("str", {"distinct": ["a"], "at": [0, 1]}, "a value that is none of 1"),
    ("str", {"distinct": ["a"], "at": [-1]}, "a value that is none of 1"),
    ("array[int]", {"lengths": [1], "joined": [-1]}, "a list of words has something else"),
    (
        "array[int]",
        {"lengths": [1], "joined": {"steps": [1, 1]}},
        "2 values, and their lengths are",
    ),
    ("array[int]", {"lengths": [3, -1], "joined": [1, 2]}, "2 values, and their lengths are"),
    ("int | None", {"nulls": [2], "others": [7]}, "[2] aren't of 2"),
    (
        "Check",
        {"rows": 1, "name": ["x"], "arena": [0], "expected": "none", "found": [1]},
        "expected: ",
    ),
    ("Bin", {"rows": -1}, "-1 rows"),
    (
        "Check",
        {"rows": 1, "name": ["x"], "arena": {"nulls": [0], "others": []}, "expected": "arena"},
        "Check lacks found",
    ),
    (
        "Check",
        {"rows": 1, "name": ["x"], "arena": [None], "expected": "arena", "found": [1]},
        "arena: None instead of int",
    ),
    (
        "Check",
        {
            "rows": 1,
            "name": ["x"],
            "arena": {"nulls": [0], "others": []},
            "expected": "arena",
            "found": [1],
        },
        "expected: 'arena' is no such column before it",
    ),
)


@pytest.mark.parametrize(("declared", "data", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_column_is_refused(declared, data, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        column(parsed(declared)).decode(data)


def sizes_of(tmp_path, arenas):
    """Return the bytes of a file of so many arenas, and those packed; it comes back as it was."""
    saved = Saved(TAKEN, take(with_arenas(arenas).target(), WIDEST))
    file = tmp_path / "saved.json"
    write_saved(str(file), saved)
    assert read_saved(str(file)) == saved
    plain = file.read_bytes()
    return len(plain), len(gzip.compress(plain, 6))


def test_an_arena_more_takes_little(tmp_path):
    few, many = sizes_of(tmp_path, 40), sizes_of(tmp_path, 80)
    assert many[0] - few[0] < 40 * 700
    assert many[1] - few[1] < 40 * 20
