"""scripts/field: its arguments, its rules, its page, and one program from end to end."""

from __future__ import annotations

import re
import sys

import pytest
from live import ROOT, run

sys.path.insert(0, str(ROOT / "scripts"))

from fieldwork.asking import remedy_of
from fieldwork.page import BEGIN, END, failed_rows, rows_for, rows_of, with_rows
from fieldwork.programs import PROGRAMS
from fieldwork.trial import Measured, Result, Tools, Trial, run_trials
from fieldwork.verdict import RIGHT, UNDECIDED, WITHIN, WRONG, Said, judge, said_of

FIELD = ROOT / "scripts" / "field"
PAGE = (ROOT / "docs" / "field.md").read_text()
MIB = 1 << 20


@pytest.mark.parametrize(
    ("said", "fall", "verdict"),
    [
        (Said("exact", 100 * MIB), 100, RIGHT),
        (Said("exact", 100 * MIB), 96, WRONG),
        (Said("exact", 100 * MIB), 104, WRONG),
        (Said("at most", 100 * MIB), 100, RIGHT),
        (Said("at most", 100 * MIB), 50, RIGHT),
        (Said("at most", 100 * MIB), 10, WITHIN),
        (Said("at most", 100 * MIB), 110, WRONG),
        (Said("at most", 200 * MIB, 40 * MIB), 75, RIGHT),
        (Said("at most", 200 * MIB, 40 * MIB), 100, WITHIN),
        (Said("at most", 200 * MIB, 40 * MIB), 5, WITHIN),
        (Said("at most", 100 * MIB, 90 * MIB), 110, WRONG),
        (Said("nothing"), 10, RIGHT),
        (Said("nothing"), 0, UNDECIDED),
        (Said("nothing"), -10, WRONG),
        (Said("in malloc", 10 * MIB), 0, RIGHT),
        (Said("in malloc", 10 * MIB), 20, WRONG),
    ],
)
def test_what_was_said_is_judged_by_how_far_rss_fell(said, fall, verdict):
    assert judge(said, 300 * MIB, (300 - fall) * MIB) == verdict


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        ((5, "exact", None), Said("exact", 5)),
        ((5, "at most", 3), Said("at most", 5, 3)),
        ((None, None, None), Said("nothing")),
    ],
)
def test_what_is_said_is_the_worth_of_the_finding(worth, said):
    finding = dict(zip(("worth", "worth_is", "likely"), worth))
    assert said_of({"code": "pinned", "remedy": "Worth at most.", **finding}) == said


@pytest.mark.parametrize("noise", [0, 40 * MIB])
def test_what_two_runs_differ_by_decides_nothing(noise):
    said = Said("at most", 100 * MIB)
    assert judge(said, 300 * MIB, 170 * MIB, noise) == (RIGHT if noise else WRONG)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("heapx trim --now, or malloc_trim(0) in the program at a quiet moment.", "malloc_trim(0)"),
        ("MALLOC_ARENA_MAX=2 when it starts. The price is contention.", "MALLOC_ARENA_MAX=2"),
        (
            "MALLOC_TOP_PAD_=0 and MALLOC_TRIM_THRESHOLD_=4096 when it starts. To bound their "
            "number: MALLOC_ARENA_MAX=2 when it starts.",
            "MALLOC_TOP_PAD_=0 MALLOC_TRIM_THRESHOLD_=4096",
        ),
        (
            "GLIBC_TUNABLES=glibc.malloc.tcache_count=0 when it starts.",
            "GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
        ),
        ("Free the long-lived chunks. malloc_trim(0) reaches the whole pages.", None),
        ("Ask jemalloc: MALLOC_CONF=stats_print:true.", None),
        ("prctl(PR_SET_THP_DISABLE) when it starts.", "prctl(PR_SET_THP_DISABLE)"),
        ("jcmd PID System.trim_native_heap gives it back.", "System.trim_native_heap"),
        (None, None),
    ],
)
def test_a_machine_applies_settings_and_malloc_trim_and_tools(text, words):
    remedy = remedy_of({"remedy": text}, ["System.trim_native_heap"])
    assert (remedy and remedy.words) == words


def _rows(name):
    measured = Measured(300 * MIB, 200 * MIB, Said("at most", 150 * MIB), 0)
    trials = (Trial("a | cause", "`SETTING=1`", measured), Trial("another", ""))
    return {name: rows_for(PROGRAMS[name], Result("1.2", "2.36", 300 * MIB, 100 * MIB, trials))}


def test_rows_of_the_page_stay_where_other_programs_are_tried_again():
    page = with_rows(f"before\n{BEGIN}\n{END}\nafter", _rows("perl"), PROGRAMS)
    again = with_rows(page, {**rows_of(page), **_rows("nginx")}, PROGRAMS)
    assert rows_of(again) == {**_rows("nginx"), **_rows("perl")}
    assert list(rows_of(again)) == ["nginx", "perl"]
    assert again.startswith("before\n")
    assert again.endswith("\nafter")


def test_a_row_says_what_was_promised_and_what_came_of_it():
    (first, second), _ = _rows("perl")["perl"]
    assert (
        first
        == "| perl | 300.0 | a \\| cause | `SETTING=1` | at most 150.0 | 200.0 | right: -100.0 |"
    )
    assert second.endswith("| another |  |  |  | undecided |")


def test_a_program_that_could_not_be_tried_is_undecided():
    assert "undecided: it ended" in failed_rows(PROGRAMS["perl"], "it ended")[0][0]


def test_every_program_of_the_page_is_one_that_the_script_knows_and_has_a_verdict():
    rows = rows_of(PAGE)
    assert len(rows) >= 12
    assert set(rows) <= set(PROGRAMS)
    verdicts = "|".join((RIGHT, WITHIN, WRONG, UNDECIDED))
    for found, what in rows.values():
        assert len(what) == 1
        assert all(re.search(rf"\| ({verdicts})[^|]*\|$", row) for row in found)


def test_the_programs_are_listed_with_their_packages():
    done = run((FIELD, "--list"))
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == len(PROGRAMS)
    assert any(line.startswith("mariadbd ") and "mariadb-server" in line for line in lines)


@pytest.mark.parametrize("wrong", ["nonsense", "--nonsense"])
def test_a_name_that_is_none_is_refused(wrong):
    done = run((FIELD, wrong))
    assert (done.status, done.out) == (2, "")
    assert f"there is no {wrong}" in done.err


@pytest.mark.live
@pytest.mark.slow
def test_a_program_is_tried_from_end_to_end(tmp_path):
    library = tmp_path / "hold.so"
    source = ROOT / "scripts" / "fieldwork" / "hold.c"
    run(("gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source))
    result, answer = run_trials(PROGRAMS["python3"], Tools(sys.executable, str(library)))
    assert "glibc 2." in answer.screen
    trimmed = [each for each in result.trials if each.remedy == "`malloc_trim(0)`"]
    assert [each.measured.verdict for each in trimmed] == [RIGHT]
    assert trimmed[0].measured.before - trimmed[0].measured.after > 10 * MIB
