"""heapx types knows what containers have allocated: as many chunks as the program knows of."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from live import look, table
from ways import in_passes, seen

pytestmark = pytest.mark.live

CASES = [
    ("containers", "live"),
    pytest.param(("containers_stripped", "live"), marks=pytest.mark.slow),
    pytest.param(("containers", "gcore"), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def containers(request, cxx_inferiors, tmp_path_factory):
    name, way = request.param
    directory = tmp_path_factory.mktemp(name)
    with seen(way, cxx_inferiors / name, directory=directory, commands=("types",)) as found:
        yield found


def known_of(oracle) -> dict[str, int]:
    """Return the chunks that the program knows of, by what heapx types calls them."""
    chunks = [words for words in oracle.known if words[0] == "chunks"]
    return {" ".join(words[2:]): int(words[1]) for words in chunks}


def counted(report) -> Counter[str]:
    found = Counter()
    for row in table(report, "types"):
        found[row["type"]] += row["chunks"]
    return found


def test_what_containers_have_allocated_is_known_to_the_chunk(containers):
    known, found = known_of(containers.oracle), counted(containers.reports["types"])
    assert len(known) > 10
    assert {name: found[name] for name in known} == known


def test_in_passes_containers_are_known_whose_memory_is_not_at_hand_with_them(cxx_inferiors, start):
    inferior = start("apart")
    report, _ = json.JSONDecoder().raw_decode(in_passes(inferior.pid, "types --format json"))
    known = known_of(inferior.oracle)
    for found in (counted(report), counted(look(inferior.pid, "types"))):
        assert {name: found[name] for name in known} == known
