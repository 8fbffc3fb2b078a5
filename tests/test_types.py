"""heapx types on recorded processes and filled heaps: it adds up, however it is cut."""

from __future__ import annotations

import json
import random
from typing import Any
from unittest import mock

import pytest
from live import table
from recorded import SOUND, load, target_of
from sessions import answer, catalogue_of
from test_classify import Filled

from gdb_heapx.errors import HeapxError
from gdb_heapx.held import costs
from gdb_heapx.inventory.looks import looks
from gdb_heapx.snapshots.take import take

JSON = "--format json"


@pytest.fixture(scope="module")
def filled():
    return Filled(random.Random(5)).target(True)


def asked(target, line: str) -> list[dict[str, Any]]:
    return table(json.loads(answer(line, take(target), target=target).text), line.split()[0])


def total(rows) -> tuple[int, int]:
    return sum(row["chunks"] for row in rows), sum(row["bytes"] for row in rows)


@pytest.mark.parametrize("name", [*SOUND, "2.36-amd64-two-libcs"])
@pytest.mark.few(2)
def test_the_bytes_of_all_types_are_those_in_use(name):
    """Of arenas that is glibc's own figure (test_recorded_figures.py)."""
    target = target_of(load(name))
    assert total(asked(target, f"types {JSON}"))[1] == take(target).in_use


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.few(2)
def test_what_is_resident_of_all_types_is_so_of_what_is_in_use(name):
    target = target_of(load(name))
    rows = asked(target, f"types {JSON}")
    arenas = asked(target, f"arenas {JSON}")
    mmapped = asked(target, f"mmapped {JSON}")
    expected = sum(a["in_use_resident"] for a in arenas) + sum(m["resident"] for m in mmapped)
    assert sum(row["resident"] for row in rows) == expected


@pytest.mark.parametrize(
    "cut", ["--by size", "--by module", "--min-bytes 500", "--by size --min-bytes 200"]
)
def test_however_it_is_cut_all_is_counted(filled, cut):
    whole = total(asked(filled, f"types {JSON}"))
    assert total(asked(filled, f"types {cut} {JSON}")) == whole


def test_by_size_a_row_is_of_chunks_of_one_size(filled):
    rows = asked(filled, f"types --by size {JSON}")
    counted = [row for row in rows if row["chunks"]]
    assert counted
    assert all(row["bytes"] == row["chunks"] * row["size"] for row in counted)


def test_the_arenas_add_up_to_all_but_the_mmapped_chunks(filled):
    chunks, size = total(asked(filled, f"types {JSON}"))
    arenas = [total(asked(filled, f"types --arena {arena} {JSON}")) for arena in (0, 1)]
    mmapped = asked(filled, f"mmapped {JSON}")
    assert sum(arena[0] for arena in arenas) == chunks - len(mmapped)
    assert all(arena[0] for arena in arenas)
    assert sum(arena[1] for arena in arenas) <= size


def test_the_chunks_of_a_type_are_listed(filled):
    rows = asked(filled, f"types {JSON}")
    assert len(rows) > 5
    for row in rows:
        if not row["chunks"] or " " in row["type"]:
            continue
        same = [each for each in rows if each["type"] == row["type"]]
        listed = asked(filled, f"chunks --type {row['type']} {JSON}")
        assert len(listed) == sum(each["chunks"] for each in same)
        headers = {int(each["address"], 16) for each in listed}
        assert {int(each["sample"], 16) - 16 for each in same if each["sample"]} <= headers


def test_a_star_stands_for_anything(filled):
    rows = asked(filled, f"types {JSON}")
    texts = [row["chunks"] for row in rows if "text" in row["type"]]
    assert sum(texts)
    assert len(asked(filled, f"chunks --type *text* {JSON}")) == sum(texts)


def test_a_type_that_there_is_none_of_is_an_error(filled):
    with pytest.raises(HeapxError, match="no chunk in use is of type 'nonesuch'"):
        asked(filled, f"chunks --type nonesuch {JSON}")


def test_what_a_chunk_is_stands_above_it(filled):
    row = next(row for row in asked(filled, f"types {JSON}") if row["type"] == "3Dog")
    said = answer(f"chunk {row['sample']}", take(filled), target=filled, width=200)
    assert f"by {row['how']}" in said.text
    assert "3Dog" in said.text.partition("chunk, sizes")[0]


def test_a_pin_looks_like_the_class_of_its_object(filled):
    row = next(row for row in asked(filled, f"types {JSON}") if row["type"] == "3Dog")
    header = int(row["sample"], 16) - 16
    assert looks(catalogue_of(filled), header) == "3Dog"


def samples(target) -> dict[str, str]:
    """Return the type of each chunk that types shows, by the address of its memory."""
    return {row["sample"]: row["type"] for row in asked(target, f"types {JSON}") if row["sample"]}


def test_chunk_has_the_type_that_types_has(filled):
    found = samples(filled)
    assert len(found) > 5
    for address, name in found.items():
        (row,) = asked(filled, f"chunk {address} {JSON}")
        assert row["type"] == name


@pytest.mark.slow
def test_where_a_look_at_all_chunks_is_long_chunk_claims_what_no_container_changes(filled):
    known = 0
    with mock.patch.object(costs, "SHORT", 0):
        for address, name in samples(filled).items():
            (row,) = asked(filled, f"chunk {address} {JSON}")
            said = answer(f"chunk {address}", take(filled), target=filled, width=200).text
            assert row["type"] in (name, None)
            assert (row["type"] is None) == (f"heapx refs {address} says so" in said)
            known += row["type"] is not None
    assert known
