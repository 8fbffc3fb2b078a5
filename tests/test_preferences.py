"""What is set once for all commands: set heapx in gdb, --set in a shell."""

from __future__ import annotations

import re

import pytest
import tabulate
from heapbuilder import usual
from live import gdb, session, told
from sessions import Taken, said

from gdb_heapx.cli.execute import Terminal
from gdb_heapx.cli.preferences import PREFERENCES, Preferred, by_name
from gdb_heapx.errors import UsageError
from gdb_heapx.report.style import styles, table_formats
from gdb_heapx.snapshots.take import take

HEAP = usual()
HEAP.mmapped(1 << 20)
SNAPSHOT = take(HEAP.target())
ESCAPE = "\x1b["


def run(line, width=80, colour=False, **values):
    session = Taken(SNAPSHOT)
    return said(line, session, Terminal(width, colour), Preferred(**values)), session


def text(line, **values):
    return run(line, **values)[0].text


def test_they_are_those_of_the_issue():
    wanted = "color units table-format style progress limit swap-in compiled main-arena mp release"
    assert list(by_name()) == wanted.split()


def test_colour_is_what_is_set_whatever_the_terminal():
    assert ESCAPE in text("arenas", color="on")
    assert ESCAPE not in text("arenas", color="off", colour=True)
    assert ESCAPE in text("arenas", colour=True)


@pytest.mark.parametrize("unit", ["bytes", "KiB", "MiB", "GiB"])
def test_the_unit_of_every_table_is_the_one_that_is_set(unit):
    titles = [line for line in text("pins", units=unit).splitlines() if "sizes in" in line]
    starts = [f"{name}, sizes in {unit}" for name in ("pins", "pin groups")]
    assert [title[: len(start)] for title, start in zip(titles, starts)] == starts
    assert len(titles) == len(starts)


def test_bytes_goes_before_the_unit():
    assert "sizes in bytes" in text("arenas --bytes", units="GiB")


def test_the_formats_are_those_of_every_tabulate():
    assert set(table_formats()) <= set(tabulate.tabulate_formats)
    newer = {"colon_grid"}  # not in 0.9
    assert set(table_formats()) | newer >= set(tabulate.tabulate_formats)


@pytest.mark.parametrize("name", table_formats())
def test_a_table_can_be_drawn_in_every_format_of_tabulate(name):
    drawn = text("bins --arena 1", table_format=name)
    for word in ("arena", "small", "total"):
        assert word in drawn


def test_a_table_with_lines_fits_a_wide_terminal():
    for name in ("grid", "github", "fancy_grid", "pipe"):
        widest = max(map(len, text("arenas", table_format=name, width=120).splitlines()))
        assert 80 < widest <= 120


@pytest.mark.parametrize("name", styles())
@pytest.mark.few(5)
def test_every_style_of_pygments_colours_the_same_text(name):
    drawn = text("why", colour=True, style=name)
    assert re.sub(r"\x1b\[[0-9;]*m", "", drawn).split() == text("why").split()


def test_a_limit_holds_for_text_alone_and_the_option_goes_before_it():
    assert "more rows" in text("bins", limit=2)
    assert len(text("bins --limit 5", limit=2).splitlines()) > len(
        text("bins", limit=2).splitlines()
    )
    assert len(text("bins --format csv", limit=2).splitlines()) > 3


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("color", "auto", None),
        ("color", "off", "off"),
        ("units", "MiB", "MiB"),
        ("limit", "12", 12),
        ("compiled", "on", None),
        ("compiled", "off", "off"),
        ("limit", "", None),
        ("swap-in", "2M", 2 << 20),
        ("release", "2.36", (2, 36)),
        ("mp", "&mp_ + 1", "&mp_ + 1"),
    ],
)
def test_values(name, typed, value):
    assert by_name()[name].parsed(typed) == value


@pytest.mark.parametrize(
    ("name", "typed"),
    [("units", "XB"), ("limit", "-1"), ("swap-in", "much"), ("release", "2"), ("style", "none!")],
)
def test_what_makes_no_sense_is_refused(name, typed):
    with pytest.raises(UsageError, match=f"^{name}: "):
        by_name()[name].parsed(typed)


# In gdb, and in a shell.


@pytest.mark.live
def test_gdb_sets_shows_and_completes_them():
    lines = ("set heapx units MiB", "show heapx units", "set heapx limit x", "show heapx limit")
    complete = ("set heapx ", "set heapx color o", "set heapx table-format git")
    result = gdb(*lines, *(f"complete {line}" for line in complete))
    shown = result.out.splitlines()
    assert shown[:2] == [
        "units is MiB: the unit of sizes in text.",
        "limit is not set: how many rows of a table text shows.",
    ]
    assert set(shown[2:-3]) == {f"set heapx {preference.name}" for preference in PREFERENCES}
    assert shown[-3:] == [
        "set heapx color off",
        "set heapx color on",
        "set heapx table-format github",
    ]
    assert result.err == "limit: 'x' is not a number, such as 20.\n"


@pytest.mark.live
def test_gdb_unsets_them_and_knows_no_others():
    lines = ("set heapx limit 3", "set heapx limit", "show heapx limit", "set heapx nonsense 3")
    result = session(*lines)
    assert result.out == "limit is not set: how many rows of a table text shows.\n"
    assert result.err == "heapx has no setting 'nonsense'. All of them: show heapx\n"


@pytest.mark.live
def test_every_preference_has_its_help():
    lines = [f"help set heapx {preference.name}" for preference in PREFERENCES]
    shown = " ".join(session(*lines).out.split())
    for preference in PREFERENCES:
        assert f"Set {preference.help}. {preference.documentation}" in shown


@pytest.mark.live
def test_the_shell_sets_them_too(start):
    process = start("arenas", "3")
    drawn = told("-p", process.pid, "--set", "units=KiB", "--set", "color=on", "arenas").out
    assert "arenas, sizes in KiB" in drawn
    assert ESCAPE in drawn
    wrong = told("-p", process.pid, "--set", "units=XB", "arenas")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("heapx: units: 'XB' is none of auto, bytes, KiB")
