"""heapx holders and heapx refs: what variables hold is known to the byte, and who holds a chunk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from live import look, table, told
from sets import Holder, holders_of, overlaps_of, places_of
from ways import ALL, in_passes, in_use, seen

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
    said = told("-p", inferior.pid, "refs", address, "--to-root")
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


@pytest.fixture(scope="module", params=["live", pytest.param("gcore", marks=pytest.mark.slow)])
def overlaps(request, inferiors, tmp_path_factory):
    options = {"directory": tmp_path_factory.mktemp("overlaps"), "counted": True}
    with seen(request.param, inferiors / "overlaps", commands=("holders",), **options) as found:
        yield found


def row_of(held, kind: str, name: str, tid: int) -> dict[str, Any]:
    found = (r for r in rows_of(held) if (r["kind"], r["holder"]) == (kind, name))
    (row,) = (row for row in found if row["thread"] in (tid or None, str(tid)))
    return row


def test_what_several_lead_to_is_held_by_who_is_nearest_variables_before_stacks(overlaps):
    for each in overlaps_of(overlaps.oracle):
        row = row_of(overlaps, each.kind, each.name, each.tid)
        told = [row[name] for name in ("exclusive", "nearest", "shared")]
        assert told == [each.alone, each.nearest, each.shared], each.name
        assert row["held"] == each.alone + each.nearest


def test_what_each_holds_and_what_nobody_does_add_up_to_in_use(overlaps):
    sums = {row["holds"]: row for row in table(overlaps.reports["holders"], "sums")}
    rows = rows_of(overlaps)
    for chunks, size in (("chunks", "bytes"),):
        assert sum(row["nearest"] for row in rows) == sums["shared"][size]
        assert sum(row["nearest_chunks"] for row in rows) == sums["shared"][chunks]
    held = sum(row["held"] for row in rows)
    assert held + sums["unreachable"]["bytes"] == in_use(overlaps.oracle)[1]


def test_the_first_line_names_the_variable_to_which_stale_words_lead_too(inferiors, start):
    inferior = start("overlaps")
    said = " ".join(told("-p", inferior.pid, "holders").out.split())
    (tid, *_) = (
        each.tid
        for each in overlaps_of(inferior.oracle)
        if each.kind == "stack" and each.shared > each.alone + each.nearest * 2
    )
    assert said.startswith("large holds ")
    assert f"thread {tid}'s stack" in said.partition(" holders, sizes")[0]


@pytest.mark.slow
def test_in_passes_the_way_to_a_chunk_is_as_long_and_begins_at_the_same_variable(
    cxx_inferiors, start
):
    inferior = start("holders")
    links, address, variable = node_of(inferior.oracle)
    said = in_passes(inferior.pid, f"refs {address} --to-root")
    assert said.startswith(f"{variable} leads to {address} by {links:,} pointers:"), said


@pytest.mark.slow
def test_in_passes_holders_hold_the_same_and_a_note_says_what_is_not_recognised(inferiors, start):
    inferior = start("overlaps")
    told, _ = json.JSONDecoder().raw_decode(in_passes(inferior.pid, f"holders {ALL} --format json"))
    whole = look(inferior.pid, "holders", *ALL.split())
    names = ("holder", "kind", "thread", "held", "exclusive", "nearest", "shared")
    rows, expected = (
        [[row[name] for name in names] for row in table(report, "holders")]
        for report in (told, whole)
    )
    assert rows == expected
    assert any(said.startswith("Read in ") for said in told["notes"])
    assert not any(said.startswith("Read in ") for said in whole["notes"])
