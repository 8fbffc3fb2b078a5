"""A process that glibc has aborted: its last words come first, and its damage is no motion."""

from __future__ import annotations

import pytest
from live import gcore, reports, table, told

pytestmark = pytest.mark.live

# What malloc.c and assert.c say.
WORDS = {
    "top": "malloc(): corrupted top size",
    "next": "double free or corruption (out)",
    "twice": "double free or corruption (!prev)",
    "assert": "Assertion `argc > 9' failed.",
}
BARE = ("--gdb-args", "-iex 'set debug-file-directory /nonexistent'")
HIDDEN = ("-iex", "set debug-file-directory /nonexistent")
COMMANDS = ("heapx", "heapx why", "heapx check", "heapx trim", "heapx chunks --limit 3")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["top", "next", slow("twice"), slow("assert")])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def dead(kind, start_once):
    return start_once("aborted", kind, "handler")


def assert_last_words_first(report, kind):
    first, *others = report["problems"]
    assert first["code"] == ("aborted" if kind == "assert" else "malloc_aborted")
    assert WORDS[kind] in first["statement"]
    assert not any(problem["in_motion"] for problem in report["problems"])
    assert bool(others) == (kind in ("top", "next"))


@pytest.mark.parametrize("words", [(), BARE], ids=["symbols", "bare"])
def test_what_glibc_said_comes_first_and_it_is_damage(dead, kind, words):
    result = told("-p", dead.pid, *words, "check", "--format", "json")
    assert (result.status, result.err) == (0 if kind == "assert" else 1, "")
    assert_last_words_first(result.report, kind)
    for _, place in dead.oracle.known if kind in ("top", "next") else ():
        assert place in {problem["address"] for problem in result.report["problems"]}


@pytest.mark.few(2)
@pytest.mark.parametrize("hidden", [(), HIDDEN], ids=["symbols", "bare"])
def test_every_command_says_it_first_of_a_core_too(dead, kind, hidden, tmp_path):
    core = gcore(dead.pid, tmp_path / "core")
    for report in reports(COMMANDS, tmp_path, (*hidden, dead.exe, core)).values():
        assert_last_words_first(report, kind)
    core.unlink()


def test_the_damaged_chunk_is_shown_with_its_neighbours_and_what_was_written_there(dead, kind):
    if kind not in ("top", "next"):
        pytest.skip("no header was overwritten")
    ((_, place),) = dead.oracle.known
    result = told("-p", dead.pid, "chunk", place, "--format", "json")
    report = result.report
    assert (result.status, result.err) == (1, "")
    (row,) = table(report)
    assert (row["address"], row["state"]) == (place, {"top": "top", "next": "unknown"}[kind])
    assert [r["place"] for r in table(report, "neighbours")][:4] == ["before"] * 3 + ["this"]
    assert report["dump"]["hex"].startswith("41" * 16)
    assert any("its size word is 0x4141414141414141" in note for note in report["notes"])


def test_text_begins_with_it(dead, kind):
    line = told("-p", dead.pid).out.partition("\n")[0]
    assert line.startswith("problem: glibc has aborted the process")


def test_a_process_that_was_not_aborted_has_no_last_words(start):
    result = told("-p", start("mixed").pid, "check", "--format", "json")
    assert (result.status, result.report["problems"]) == (0, [])
    assert table(result.report)
