"""Bars beside a table: as long as the rows are large, where there is room for them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from gdb_heapx.report.context import Context
from gdb_heapx.report.model import Report
from gdb_heapx.report.render import FORMATS
from gdb_heapx.report.schema import Column, Kind, Schema
from gdb_heapx.report.style import Style

MIB = 1 << 20


class Thing(NamedTuple):
    in_use: int | None
    free: int | None


def things(*rows, bars=("in_use", "free")):
    columns = (Column("in_use", Kind.BYTES), Column("free", Kind.BYTES))
    return Report((Schema("things", columns, bars=bars).of([Thing(*row) for row in rows]),))


def text_of(shown, format_="text", **style):
    return "".join(FORMATS[format_](shown, Context("heapx things", "1.0", {}), Style(**style)))


def bars(shown, **style):
    """Return the bars of a table, from behind its cells on."""
    _title, headings, *rows = text_of(shown, width=40, **style).splitlines()
    return [row[len(headings) + 2 :] for row in rows]


def test_the_largest_row_takes_the_room_and_the_others_their_share_of_it():
    found = bars(things((512 * MIB, 512 * MIB), (256 * MIB, 0), (0, 512 * MIB)))
    longest = len(found[0])
    assert found[0] == "@" * (longest // 2) + ":" * (longest - longest // 2)
    assert found[1:] == ["@" * -(-longest // 4), ":" * -(-longest // 2)]


@pytest.mark.parametrize("width", [30, 40, 80, 140])
def test_a_table_with_bars_fits_the_terminal(width):
    text = text_of(things((512 * MIB, 3), (1, 900 * MIB), (0, 0)), width=width)
    assert max(map(len, text.splitlines()[1:])) <= width


def test_without_room_for_a_bar_there_is_none():
    text = text_of(things((512 * MIB, 512 * MIB)), width=20)
    assert "@" not in text
    assert ":" not in text


def test_what_is_small_beside_the_largest_has_one_cell_of_what_it_mostly_is():
    _, small = bars(things((900 * MIB, 0), (1000, 3000)))
    assert small == ":"


def test_a_part_that_is_small_in_a_large_row_is_seen():
    (bar,) = bars(things((1, 900 * MIB)))
    assert bar[0] == "@"
    assert set(bar[1:]) == {":"}


def test_a_row_with_something_unknown_has_no_bar():
    known, unknown = bars(things((900 * MIB, 0), (900 * MIB, None)))
    assert known
    assert not unknown


def test_blocks_are_cut_to_eighths():
    found = bars(things((800 * MIB, 0), (10 * MIB, 0)), unicode=True)
    assert set(found[0]) == {"█"}
    assert found[1] in "▏▎▍▌▋▊▉"


@pytest.mark.parametrize("unicode", [False, True])
def test_the_title_tells_what_the_signs_mean(unicode):
    title = text_of(things((900 * MIB, 9 * MIB)), width=80, unicode=unicode).splitlines()[0]
    used, free = "█░" if unicode else "@:"
    assert title == f"things, sizes in MiB; bars: {used} in use, {free} free"


@pytest.mark.parametrize("chosen", [{"columns": ("in_use", "free")}, {"table_format": "grid"}])
def test_with_columns_or_a_format_of_the_users_there_are_none(chosen):
    assert "@" not in text_of(things((900 * MIB, 9 * MIB)), width=80, **chosen)


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_scripts_get_no_bars(format_):
    rows = (900 * MIB, 9 * MIB), (1, 2)
    assert text_of(things(*rows), format_) == text_of(things(*rows, bars=()), format_)


def test_bars_are_of_columns_that_are_there():
    with pytest.raises(ValueError, match="things has no column none"):
        things(bars=("none",))


def test_what_is_free_is_drawn_by_whether_it_is_in_ram():
    class Freed(NamedTuple):
        in_use: int
        free_resident: int
        free_absent: int

    columns = tuple(Column(name, Kind.BYTES) for name in Freed._fields)
    shown = Report((Schema("heaps", columns, bars=Freed._fields).of([Freed(MIB, MIB, 2 * MIB)]),))
    title, _, row = text_of(shown, width=80).splitlines()
    assert title.endswith("bars: @ in use, : free in RAM, _ free not in RAM")
    bar = row.split()[-1]
    parts = [(sign, bar.count(sign)) for sign in "@:_"]
    assert bar == "".join(sign * cells for sign, cells in parts)
    expected = zip(parts, (1, 1, 2))
    assert all(abs(cells - share * len(bar) / 4) <= 1 for (_, cells), share in expected)
