"""heapx leaks tells which leaks hidden pointers explain: the sets that programs have hidden so."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from live import Report, at_rest, eventually, gcore, reports, running, table
from sets import Set, sets_of

pytestmark = pytest.mark.live

ASKED = "--unaligned --mask 16 --compressed {base:#x}"
FAR = 0x234570000  # from the heap to what compressed pointers count from (inferiors/leaks.c)
HOW = {"unaligned": "unaligned", "mask": "masked", "compressed": "compressed"}


class Case(NamedTuple):
    """How the program is seen, and words for gdb."""

    way: str
    words: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What the program knows of its sets; what heapx says of them, asked for hidden pointers and
    not.
    """

    sets: dict[str, Set]
    hidden: Report
    plain: Report


@pytest.fixture(
    scope="module", params=[Case("live"), pytest.param(Case("gcore"), marks=pytest.mark.slow)]
)
def leaks(request, inferiors, tmp_path_factory):
    directory = tmp_path_factory.mktemp("hidden")
    exe = inferiors / "leaks"
    with running(exe, directory=directory) as inferior:
        eventually(lambda: at_rest(inferior.pid), "it rests")
        sets = sets_of(inferior.oracle)
        base = (sets["by_compressed"].address & ~0xFFFF) - FAR
        target = ("-p", inferior.pid)
        if request.param.way == "gcore":
            target = (exe, gcore(inferior.pid, directory / "core"))
        lines = [f"heapx leaks --limit 100000 {ASKED.format(base=base)}", "heapx leaks"]
        found = reports(lines, directory / "reports", target)
        yield Seen(sets, *found.values())


def known(sets, how) -> tuple[int, int, int]:
    """Return how many heads, chunks and bytes are hidden in a way, or in any."""
    own = [s for s in sets.values() if (HOW.get(s.hidden) == how or how == "together")]
    own = [s for s in own if s.hidden in HOW]
    chunks = sum(s.chunks["leaked"] for s in own)
    return chunks, chunks, sum(s.chunks["leaked"] * s.size for s in own)


def test_each_way_explains_what_is_hidden_so_and_nothing_else(leaks):
    rows = {row["how"]: row for row in table(leaks.hidden, "hidden")}
    told = {how: (row["heads"], row["chunks"], row["bytes"]) for how, row in rows.items()}
    ways = (*HOW.values(), "together")
    assert told == {how: known(leaks.sets, how) for how in ways}
    assert all(chunks for chunks, *_ in told.values())


def test_degrees_are_the_same_whether_that_is_asked_for_or_not(leaks):
    assert table(leaks.hidden, "degrees") == table(leaks.plain, "degrees")
    assert not any(each["name"] == "hidden" for each in leaks.plain["tables"])
