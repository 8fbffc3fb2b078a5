"""All commands say the same of a chunk: what `heapx types` counts it as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import session

pytestmark = pytest.mark.live

CASES = [
    "containers",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("types", "types_stripped")),
    pytest.param("containers_stripped", marks=pytest.mark.slow),
]
HEADER = 16


class Said(NamedTuple):
    """What was said; the type of each chunk by its header, and those by the program's oracle."""

    said: dict[str, Any]
    of: dict[int, str]
    known: list[list[str]]

    def of_memory(self, address: str) -> str | None:
        return self.of.get(int(address, 0) - HEADER)


@pytest.fixture(scope="module", params=CASES)
def agreeing(request, cxx_inferiors, start_once, tmp_path_factory) -> Said:
    inferior = start_once(request.param)
    out = tmp_path_factory.mktemp(request.param) / "said.json"
    lines = (
        f"python import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})",
        f"python import agreeing; agreeing.write({str(out)!r})",
    )
    result = session(*lines, target=("-p", inferior.pid))
    assert out.exists(), result.err
    said = json.loads(out.read_text())
    of = {at: name for name, places in said["chunks --type"].items() for at in places}
    return Said(said, of, inferior.oracle.known)


def test_chunks_of_a_type_are_as_many_as_types_counts(agreeing):
    counted: dict[str, int] = {}
    for row in agreeing.said["types"]:
        counted[row["type"]] = counted.get(row["type"], 0) + row["chunks"]
    listed = {name: len(places) for name, places in agreeing.said["chunks --type"].items()}
    assert len(listed) > 10
    assert listed == {name: number for name, number in counted.items() if number}


def test_chunk_says_what_types_says_and_how(agreeing):
    rows = {row["sample"]: row for row in agreeing.said["types"]}
    assert len(agreeing.said["chunk"]) > 30
    for at, row in agreeing.said["chunk"].items():
        assert row["type"] == agreeing.of_memory(at)
        told = rows.get(hex(int(at)))
        if told is not None:
            assert (row["how"], row["offset"]) == (told["how"], told["offset"])
            if told["chunks"] == 1:
                assert row["instances"] == told["instances"]


def test_refs_calls_chunks_what_types_does(agreeing):
    chunks = [row for row in agreeing.said["refs"] if row["kind"] == "chunk"]
    assert len(chunks) > 20
    for row in chunks:
        assert row["type"] == agreeing.of_memory(row["from"])


def test_leaks_and_holders_speak_of_the_types_that_types_has(agreeing):
    names = {row["type"] for row in agreeing.said["types"]}
    leaked = [row for row in agreeing.said["leaks"] if row["sample"] and row["type"]]
    for row in leaked:
        assert row["type"] == agreeing.of[int(row["sample"], 16)]
    held = {row["main_type"] for row in agreeing.said["holders"]} - {None}
    assert held
    assert held <= names


def test_a_pin_looks_like_its_type_but_where_the_first_word_tells_more(agreeing):
    by_type = {row["type"]: row["how"] for row in agreeing.said["types"]}
    compared = 0
    for at, seen in agreeing.said["looks"].items():
        name = agreeing.of_memory(at)
        if by_type[name] in (None, "first words") or "text, " in name:
            continue
        compared += 1
        assert seen == name
    assert compared > 20


def test_what_a_container_had_that_is_over_is_what_lies_there_now(agreeing):
    for words in agreeing.known:
        if words[0] == "chunk":
            assert agreeing.of_memory(words[1]) == " ".join(words[2:])
