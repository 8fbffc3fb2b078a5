"""heapx types knows what containers have allocated: as many chunks as the program knows of."""

from __future__ import annotations

from collections import Counter

import pytest
from live import table
from ways import seen

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


def test_what_containers_have_allocated_is_known_to_the_chunk(containers):
    known = {
        " ".join(words[2:]): int(words[1])
        for words in containers.oracle.known
        if words[0] == "chunks"
    }
    found = Counter()
    for row in table(containers.reports["types"], "types"):
        found[row["type"]] += row["chunks"]
    assert len(known) > 10
    assert {name: found[name] for name in known} == known
