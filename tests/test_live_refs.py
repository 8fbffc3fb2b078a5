"""heapx refs: every word that leads to a chunk, by the names that the program has for it."""

from __future__ import annotations

from typing import Any

import pytest
from live import gcore, heapx, look, session, table
from live import told as asked
from ways import ALL

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def inferior(start_once):
    return start_once("refers")


def chunk_of(inferior) -> str:
    (address,) = (words[1] for words in inferior.oracle.known if words[0] == "chunk")
    return address


def known(inferior, *kinds: str) -> set[tuple[Any, ...]]:
    """Return what refers to the chunk: its kind, the offset, and how it is called."""
    every = (words[1:] for words in inferior.oracle.known if words[0] == "refers")
    return {(k, int(offset), named(k, lwp, name)) for k, lwp, offset, name in every if k in kinds}


def named(kind: str, lwp: str, name: str) -> tuple[str, int | None]:
    return (f"{name} in wait_with()" if kind == "stack" else name), int(lwp) or None


def told(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    names = [row["from"] if row["kind"] == "chunk" else row["where"] for row in rows]
    return {(r["kind"], r["offset_in"], (name, r["thread"])) for r, name in zip(rows, names)}


def test_variables_and_chunks_that_refer_to_a_chunk_are_told_by_name(inferior):
    rows = table(look(inferior.pid, "refs", chunk_of(inferior), *ALL.split()), "refs")
    kinds = ("global", "tls", "chunk")
    assert told([row for row in rows if row["kind"] in kinds]) == known(inferior, *kinds)


def test_a_function_s_variable_is_told_by_debug_info_of_the_process_that_runs_on(inferior):
    said = heapx("-p", inferior.pid, "refs", chunk_of(inferior), "--limit", "1000")
    assert said.status == 0, said.err
    for _, _, (name, _) in known(inferior, "stack"):
        assert name in said.out


def test_a_function_s_variable_is_told_of_a_core(inferior, tmp_path):
    core = gcore(inferior.pid, tmp_path / "core")
    said = session(f"heapx refs {chunk_of(inferior)} --limit 1000", target=(inferior.exe, core))
    for _, _, (name, _) in known(inferior, "stack", "global"):
        assert name in said.out


def test_pointers_to_the_inside_say_how_far_inside(inferior):
    rows = table(look(inferior.pid, "refs", chunk_of(inferior), *ALL.split()), "refs")
    assert [row["into"] for row in rows if row["kind"] == "chunk"] == [100]


def test_the_way_begins_at_a_variable_before_a_stack(inferior):
    (row,) = table(look(inferior.pid, "refs", chunk_of(inferior), "--to-root"), "refs")
    assert (row["kind"], row["depth"], row["links"]) == ("global", 1, 1)


def test_what_is_no_chunk_in_use_is_refused(inferior):
    said = asked("-p", inferior.pid, "refs", "&variable")
    assert said.status == 3
    assert "no chunk in use" in said.err


def test_from_and_to_root_exclude_each_other(inferior):
    said = asked("-p", inferior.pid, "refs", chunk_of(inferior), "--from", "--to-root")
    assert said.status == 2
