"""heapx holders and heapx refs: what variables hold is known to the byte, and who holds a chunk."""

from __future__ import annotations

from typing import Any

import pytest
from live import heapx, look, table
from sets import Holder, holders_of, places_of
from ways import ALL, in_use, seen

pytestmark = pytest.mark.live

CASES = [
    ("holders", "live"),
    ("holders_stripped", "live"),
    *(
        pytest.param((name, way), marks=pytest.mark.slow)
        for name in ("holders", "holders_stripped")
        for way in ("gcore", "kernel")
    ),
]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def held(request, cxx_inferiors, tmp_path_factory):
    name, way = request.param
    options = {"directory": tmp_path_factory.mktemp(name), "counted": True}
    with seen(way, cxx_inferiors / name, commands=("holders",), **options) as found:
        yield found


def rows_of(held) -> list[dict[str, Any]]:
    return table(held.reports["holders"], "holders")


def figures(row: dict[str, Any]) -> tuple[int, ...]:
    names = ("exclusive_chunks", "exclusive", "shared_chunks", "shared")
    return tuple(row[name] for name in names)


def known(holder: Holder) -> tuple[int, ...]:
    return (*holder.alone, *holder.shared)


def test_each_variable_holds_what_is_known(held):
    """Without symbols nothing tells where one ends: then what is between its ends is added up."""
    told, places = rows_of(held), places_of(held.oracle)
    for holder in holders_of(held.oracle):
        rows = [row for row in told if within(row["address"], places.get(holder.name))]
        if holder.name in places:
            assert {row["kind"] for row in rows} == {"global"}
            alone = [figures(row)[:2] for row in rows]
            assert tuple(map(sum, zip(*alone))) == holder.alone, holder.name
            assert max(figures(row)[2:] for row in rows) == holder.shared, holder.name
        else:
            assert (holder.kind, known(holder)) in [(row["kind"], figures(row)) for row in told]


def within(address: str | None, place: range | None) -> bool:
    return address is not None and place is not None and int(address, 16) in place


def test_a_variable_with_a_symbol_is_one_holder(cxx_inferiors, start):
    inferior = start("holders")
    rows = table(look(inferior.pid, "holders", *ALL.split()), "holders")
    for name, place in places_of(inferior.oracle).items():
        assert [row["holder"] for row in rows if within(row["address"], place)] == [name]


def test_what_holds_most_comes_first(held):
    most = max(holders_of(held.oracle), key=lambda holder: holder.alone.bytes)
    assert figures(rows_of(held)[0]) == known(most)


def test_statics_come_before_threads(held):
    kinds = [row["kind"] for row in rows_of(held)]
    last = max(at for at, kind in enumerate(kinds) if kind == "global")
    assert not {"stack", "tls", "register"} & set(kinds[:last])


def test_globals_are_named_by_symbol(cxx_inferiors, start):
    inferior = start("holders")
    rows = table(look(inferior.pid, "holders", *ALL.split()), "holders")
    by_figures = {(row["kind"], figures(row)): row["holder"] for row in rows}
    for holder in holders_of(inferior.oracle):
        assert holder.name in by_figures[holder.kind, known(holder)] or holder.kind == "stack"


def test_alone_together_and_unreachable_add_up_to_in_use(held):
    rows = table(held.reports["holders"], "sums")
    total = (sum(row["chunks"] for row in rows), sum(row["bytes"] for row in rows))
    assert total == in_use(held.oracle)
    (lost,) = (
        [int(n) for n in words[1:]] for words in held.oracle.known if words[0] == "unreachable"
    )
    (row,) = (row for row in rows if row["holds"] == "unreachable")
    assert [row["chunks"], row["bytes"]] == lost


def node_of(oracle) -> tuple[int, str, str]:
    """Return how far from its variable a chunk is, where, and the variable."""
    (words,) = (words for words in oracle.known if words[0] == "node")
    return int(words[1]), words[2], words[3]


def test_the_chain_to_a_node_2000_pointers_away_takes_six_lines_at_most(cxx_inferiors, start):
    inferior = start("holders")
    links, address, variable = node_of(inferior.oracle)
    said = heapx("-p", inferior.pid, "refs", address, "--to-root")
    lines = said.out.splitlines()
    assert said.status == 0, said.err
    assert len(lines) <= 6
    assert variable in said.out
    assert (
        f"{links - 1:,}" in said.out.replace(str(links), f"{links:,}") or f"{links:,}" in said.out
    )


def test_who_refers_to_a_node_is_the_one_before_it(cxx_inferiors, start):
    inferior = start("holders")
    _, address, _ = node_of(inferior.oracle)
    rows = table(look(inferior.pid, "refs", address, *ALL.split()), "refs")
    assert [(row["kind"], row["depth"]) for row in rows] == [("chunk", 1)]
    before = table(look(inferior.pid, "refs", address, "--from", *ALL.split()), "refs")
    assert [row["kind"] for row in before] == ["chunk"]
