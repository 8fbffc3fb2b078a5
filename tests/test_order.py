"""Which finding is said first, and which ones are told as one: on findings that are made up."""

from __future__ import annotations

import pytest

from gdb_heapx.report.blocks import how_much
from gdb_heapx.report.model import Finding, Findings, Report, Worth
from gdb_heapx.report.style import Style
from gdb_heapx.report.text import tokens
from gdb_heapx.why.order import Part, first_screen, in_order

MIB = 1 << 20
WHOLE = 1000 * MIB


def found(code, size, worth=None, **more):
    """Return a finding of so many MiB; its worth: exact, (at most,), or (at most, likely)."""
    if isinstance(worth, int):
        worth = Worth(worth * MIB, exact=True)
    elif worth is not None:
        most, likely = (*worth, None)[:2]
        worth = Worth(most * MIB, likely=None if likely is None else likely * MIB)
    about = {part: n * MIB for part, n in more.pop("about", {}).items()}
    return Finding(code, size * MIB, f"{code} stays.", (), "Free it.", worth, about=about, **more)


def order(*findings, needed=()):
    return "".join(each.code for each in in_order(needed, findings, WHOLE))


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([found("a", 500, (500,)), found("b", 20, 20)], "ba"),
        ([found("a", 500), found("b", 20, (20,))], "ba"),
        ([found("a", 20, 20), found("b", 500, 500)], "ba"),
        ([found("a", 500, (500, 13)), found("b", 200, (200,))], "ba"),
        ([found("a", 500, (500, 13)), found("b", 200, (200, 20))], "ba"),
        ([found("a", 500, 500), found("b", 20, (20,), in_force=True)], "ba"),
        ([found("a", 500, 500), found("b", 20, in_force=True)], "ba"),
        ([found("a", 500, 500), found("b", 20, (20, 1), in_force=True)], "ab"),
        ([found("a", 9, 9), found("b", 11)], "ba"),
        ([found("a", 9, 9), found("b", 11, (11, 9))], "ab"),
    ],
    ids=[
        "proven before bounded",
        "bounded before what can't be computed",
        "the most proven bytes first",
        "what is likely counts where it is known",
        "the most likely first",
        "a setting in force before all",
        "a setting in force before all, though its worth is unknown",
        "a setting that is likely worth nothing is last",
        "less than a hundredth of the whole is last",
        "and what is likely less, too",
    ],
)
def test_what_is_said_first(findings, expected):
    assert order(*findings) == expected


def test_what_is_needed_stands_behind_settings_and_before_all_others():
    others = [found("a", 500, 500), found("b", 20, (20,), in_force=True)]
    assert order(*others, needed=[found("n", 300)]) == "bna"


HOLES, TOPS = (Part.BELOW, 1), (Part.TOP, 1)


def grouped(*findings, needed=()):
    return [(each.code, each.reason_of) for each in in_order(needed, findings, WHOLE)]


def test_of_findings_about_the_same_bytes_one_leads_and_the_others_follow_it():
    same = [found(code, 100, about={HOLES: 100}) for code in "ab"]
    apart = found("c", 90, about={TOPS: 90})
    assert grouped(*same, apart) == [("a", None), ("b", "a"), ("c", None)]
    assert grouped(apart, *same) == [("c", None), ("a", None), ("b", "a")]


def test_bytes_of_another_arena_are_others():
    here, there = ({(Part.BELOW, arena): 100} for arena in (1, 2))
    assert grouped(found("a", 100, about=here), found("b", 100, about=there)) == [
        ("a", None),
        ("b", None),
    ]


@pytest.mark.parametrize(("shared", "leader"), [(51, "a"), (50, None)])
def test_it_is_about_the_same_bytes_if_most_of_its_own_are(shared, leader):
    both = {HOLES: shared, TOPS: 100 - shared}
    findings = found("a", 500, 500, about={HOLES: 500}), found("b", 100, about=both)
    assert grouped(*findings) == [("a", None), ("b", leader)]


def test_what_is_not_said_to_be_about_any_bytes_is_about_its_own():
    assert grouped(found("a", 100, about={HOLES: 100}), found("b", 100)) == [
        ("a", None),
        ("b", None),
    ]


def test_among_reasons_what_is_only_bounded_comes_last():
    same = [("a", 100), ("b", (100, 90)), ("c", None)]
    findings = [found(code, 100, worth, about={HOLES: 100}) for code, worth in same]
    assert grouped(*findings) == [("a", None), ("c", "a"), ("b", "a")]


def screen(*findings):
    return "".join(each.code for each in first_screen(in_order((), findings, WHOLE), WHOLE))


def test_the_first_screen_has_the_first_finding_its_reason_and_what_leads_next():
    first = [found(code, 500, about={HOLES: 500}) for code in "abc"]
    assert screen(*first, found("d", 100), found("e", 90)) == "abd"
    assert screen(*first) == "abc"
    assert screen(*first[:1], found("d", 100), found("e", 90), found("f", 80)) == "ade"


def test_less_than_a_hundredth_of_the_whole_is_not_on_the_first_screen():
    assert screen(found("a", 500), found("b", 10), found("c", 9), found("d", 300, (9,))) == "ab"


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (None, "500 MiB: "),
        (20, "20 MiB: "),
        ((210,), "at most 210 MiB: "),
        ((210, 13), "at most 210 MiB, likely 13 MiB: "),
    ],
)
def test_a_bound_and_an_estimate_are_said_to_be_that(worth, said):
    assert how_much(found("a", 500, worth)) == said


def text(*findings, brief):
    style = Style(80, "bytes", None, "simple", "default")
    report = Report((Findings(in_order((), findings, WHOLE), brief),))
    return "".join(piece for _, piece in tokens(report, style))


def test_at_most_stands_on_the_first_screen_and_reasons_have_no_number_there():
    same = [found("a", 500, (210,), about={HOLES: 500}), found("b", 500, about={HOLES: 500})]
    lines = text(*same, found("c", 100), brief=True).splitlines()
    assert lines == [
        "1. At most 210 MiB: a stays.",
        "   > Free it.",
        "   The same, 500 MiB: b stays.",
        "2. 100 MiB: c stays.",
        "   > Free it.",
    ]
