"""Saved snapshots that somebody has changed: a snapshot, or one clear error; and then answers."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fuzzed import EXTREMES, bounded, damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from recorded import load
from sessions import said
from test_saved_answers import LINES, Kept

from gdb_heapx.cli.execute import Terminal
from gdb_heapx.errors import HeapxError
from gdb_heapx.saved.saved import read_saved

MIB = 1 << 20
IMAGES = ("2.36-amd64-trim-cached", "2.36-amd64-foreign-sbrk", "2.36-amd64-two-libcs")
PLACE = Path(mkdtemp())


@cache
def document(name):
    path = PLACE / f"{name}.json"
    load(name).answer(f"save {path}")
    return path.read_text()


@cache
def places(name):
    """Return the ways to all values of a document."""
    found = []

    def go(value, way):
        found.append(way)
        if isinstance(value, dict):
            inner = [*value.items()]
        else:
            inner = [*enumerate(value)] if isinstance(value, list) else []
        for key, each in inner:
            go(each, (*way, key))

    go(json.loads(document(name)), ())
    return [way for way in found if way]


values = st.one_of(
    st.sampled_from((*EXTREMES, -1, -(1 << 63), None, True, False, "", "x", [], {}, 0.5, "HEAP")),
    st.integers(0, 4096),
    st.text(max_size=3),
)


@st.composite
def changed(draw):
    """Return a document in which values are others, or missing, or are there twice."""
    name = draw(st.sampled_from(IMAGES))
    whole = json.loads(document(name))
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(name)))
        holder = whole
        for key in way[:-1]:
            inside = isinstance(holder, dict) and key in holder
            if not inside and not (isinstance(holder, list) and key < len(holder)):
                break
            holder = holder[key]
        else:
            change(draw, holder, way[-1])
    return whole


def change(draw, holder, key):
    if isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        if draw(st.booleans()):
            holder[key] = draw(values)
        else:
            draw(st.sampled_from((holder.pop, lambda at: holder.insert(at, holder[at]))))(key)
    elif isinstance(holder, dict) and key in holder:
        if draw(st.integers(0, 3)):
            holder[key] = draw(values)
        else:
            del holder[key]


def read(path):
    """Return what a file has, None where it is refused."""
    with bounded(256 * MIB), suppress(HeapxError):
        return read_saved(str(path))
    return None


@fuzzed
@given(changed(), st.lists(st.sampled_from((*LINES, "types", "pins")), min_size=2, max_size=2))
def test_a_changed_file_is_refused_or_answers(whole, lines):
    path = PLACE / "changed.json"
    path.write_text(json.dumps(whole))
    saved = read(path)
    for line in lines if saved else ():
        for form in ("text", "json"):
            with suppress(HeapxError):
                said(f"{line} --format {form}", Kept(saved), Terminal(80, False))


@fuzzed
@given(st.data())
def test_damaged_bytes_are_refused_or_a_snapshot(data):
    packed = PLACE / "packed.json.gz"
    if not packed.exists():
        load(IMAGES[0]).answer(f"save {packed}")
    path = PLACE / "damaged.json.gz"
    path.write_bytes(data.draw(damaged(packed.read_bytes(), last=64)))
    read(path)


@fuzzed
@given(st.data())
def test_damaged_text_is_refused_or_a_snapshot(data):
    path = PLACE / "damaged.json"
    path.write_bytes(data.draw(damaged(document(IMAGES[0]).encode())))
    read(path)
