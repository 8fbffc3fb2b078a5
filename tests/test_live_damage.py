"""Damage costs only itself, and motion isn't damage."""

from __future__ import annotations

import os
import sys

import pytest
from live import gcore, reports, table, told, without_residency

pytestmark = pytest.mark.live

KINDS = ("size", "tcache", "low", "bin", "top")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def damaged(kind, start_once):
    return start_once("damaged", kind, counted=True)


@pytest.fixture(scope="module")
def result(damaged):
    return told("-p", damaged.pid, "arenas", "--format", "json")


def test_a_damaged_heap_is_a_problem_at_its_place_and_status_1(damaged, result):
    ((_, place),) = damaged.oracle.known
    damage = [p for p in result.report["problems"] if not p["in_motion"]]
    assert result.status == 1
    assert result.err == ""
    assert damage
    near = [p for p in damage if p["address"] and abs(int(p["address"], 16) - int(place, 16)) <= 16]
    assert near or any(p["arena"] == 1 for p in damage)


def test_a_broken_list_is_named_with_the_chunk_that_holds_the_bad_link(kind, damaged, result):
    ((_, place),) = damaged.oracle.known
    at = int(place, 16)
    with open(f"/proc/{damaged.pid}/mem", "rb", buffering=0) as memory:
        stored = int.from_bytes(os.pread(memory.fileno(), 8, at), sys.byteorder)
    broken = [p for p in result.report["problems"] if p["code"] == "bad_link"]
    for problem in broken:
        assert int(problem["address"], 16) == at - 16  # glibc: its memory begins with the link
        assert f"{stored:#x}" in problem["statement"]
        assert problem["arena"] == 1
    lists = {p["statement"].split()[0] for p in broken}
    expected = {"tcache": {"tcache"}, "low": {"tcache"}, "bin": {"unsorted"}}
    assert lists == expected.get(kind, set())


def test_no_problem_is_in_the_sound_arena(result):
    assert all(problem["arena"] != 0 for problem in result.report["problems"])


def test_beside_damage_the_main_arena_is_exact(damaged, result):
    row = table(result.report)[0]
    theirs = damaged.oracle.arenas[0]
    assert (row["in_use_chunks"], row["in_use"]) == damaged.oracle.counts["main"]
    assert (row["fast_chunks"], row["fast"]) == theirs.fast
    assert (row["binned_chunks"] + 1, row["binned"] + row["top"]) == theirs.rest
    assert row["system"] == theirs.system


def test_the_damaged_arena_is_still_listed(damaged, result):
    rows = table(result.report)
    assert len(rows) == len(damaged.oracle.arenas) == 2
    assert rows[1]["system"] == damaged.oracle.arenas[1].system
    assert rows[1]["heaps"] >= 1


def test_in_use_is_right_or_null_but_for_chunks_that_a_broken_tcache_lost(damaged, result):
    row = table(result.report)[1]
    counted = damaged.oracle.counts[row["address"]]
    held = (row["in_use_chunks"], row["in_use"])
    if held not in ((None, None), counted):
        assert (held[0] + row["tcache_chunks"], held[1] + row["tcache"]) == (
            counted.chunks + 3,
            counted.bytes + 3 * 112,
        )


@pytest.mark.few(1)
def test_every_command_answers_on_a_damaged_heap(damaged):
    single = ("", "heaps", "bins", "tcache", "top", "mmapped", "check", "about")
    for command in (*single, "types", "leaks", "holders"):
        result = told("-p", damaged.pid, *command.split())
        assert (result.status, result.err) == (1, ""), command
        assert result.out.startswith("problem"), command


def test_a_core_of_a_damaged_heap_gives_the_same(damaged, result, tmp_path):
    core = gcore(damaged.pid, tmp_path / "core")
    report = reports(["heapx arenas"], tmp_path, (damaged.exe, core))["heapx arenas"]
    core.unlink()
    seen, theirs = (without_residency(r["tables"]) for r in (report, result.report))
    assert seen == theirs
    assert report["problems"] == result.report["problems"]


MAIN_KINDS = ("huge", "system", "main-top", "small-top")
ARENAS = "heapx arenas"


def main_kinds(*further):
    """Return the kinds as parameters: those are slow."""
    slow = pytest.mark.slow
    return [pytest.param(kind, marks=slow) if kind in further else kind for kind in MAIN_KINDS]


@pytest.fixture(scope="module", params=main_kinds("system", "small-top"))
def main_damaged(request, start_once):
    """Return a process whose main arena's top or system_mem is wrong, and reports of it."""
    process = start_once("damaged", request.param, counted=True)
    result = told("-p", process.pid, "arenas", "--format", "json")
    assert (result.status, result.err) == (1, "")
    return process, result.report


def test_no_heap_reaches_beyond_its_mapping_and_all_figures_stay_exact(main_damaged):
    process, report = main_damaged
    oracle = process.oracle
    names = {"main" if row["main"] else row["address"]: row for row in table(report)}
    for name, row in names.items():
        assert (row["in_use_chunks"], row["in_use"]) == oracle.counts[name]
    for row, theirs in zip(table(report), oracle.arenas):
        assert (row["binned_chunks"] + 1, row["binned"] + row["top"]) == theirs.rest
        assert row["system"] in (theirs.system, None)


def test_a_wrong_top_and_system_mem_are_named_where_they_are(main_damaged):
    process, report = main_damaged
    places = {int(place, 16) for _, place in process.oracle.known}
    named = {int(p["address"], 16) for p in report["problems"]}
    assert {p["code"] for p in report["problems"]} <= {"bad_top", "bad_system"}
    assert {min(places, key=lambda place: abs(place - at)) for at in named} == places
    assert all(min(abs(place - at) for place in places) <= 8 for at in named)


def test_a_core_of_a_damaged_main_arena_gives_the_same(main_damaged, tmp_path):
    process, report = main_damaged
    core = gcore(process.pid, tmp_path / "core")
    of_core = reports([ARENAS], tmp_path, (process.exe, core))[ARENAS]
    core.unlink()
    seen, theirs = (without_residency(r["tables"]) for r in (of_core, report))
    assert seen == theirs


# One wrong word that no walk and no list trips over; what says it.
QUIET = {"footer": "bad_prev_size", "nextsize": "bad_nextsize", "mmapped": "bad_mmapped"}


@pytest.mark.parametrize("kind", QUIET)
def test_a_wrong_word_that_stops_nothing_is_named_and_changes_no_figure(start, kind):
    process = start("damaged", kind, counted=True)
    result = told("-p", process.pid, "ledger", "--format", "json")
    assert (result.status, result.err) == (1, "")
    (problem,) = result.report["problems"]
    ((_, place),) = process.oracle.known
    assert problem["code"] == QUIET[kind]
    named = int(problem["address"], 16)
    # A footer lies at its chunk's end: of 5,024 bytes with the header.
    assert 0 <= int(place, 16) - named <= (5024 if kind == "footer" else 32)
    mallinfo, rows = process.oracle.mallinfo, table(result.report)
    virtual = {(row["owner"], row["arena"]): row["virtual"] for row in rows}
    assert virtual["mmapped chunks", None] == mallinfo["hblkhd"]
    assert virtual["in use", 0] == process.oracle.counts["main"].bytes


@pytest.mark.parametrize("threads", ["4", pytest.param("0", marks=pytest.mark.slow)])
def test_a_busy_heap_is_at_most_in_motion_with_one_line_an_arena(start, threads):
    busy = start("busy", threads)
    for _ in range(5):
        result = told("-p", busy.pid, "arenas", "--format", "json")
        assert (result.status, result.err) == (0, "")
        problems = result.report["problems"]
        assert all(problem["in_motion"] for problem in problems)
        arenas = [problem["arena"] for problem in problems]
        assert len(arenas) == len(set(arenas)) <= len(table(result.report))
        assert all("Look again." in problem["statement"] for problem in problems)
