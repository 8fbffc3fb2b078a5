"""heapx map: what is drawn is what was built, at every width, in ASCII and in blocks."""

from __future__ import annotations

import json
import re

import pytest
from heapbuilder import FREE, I386, PAGE, USED, HeapBuilder, Pages, usual
from sessions import Taken, said
from test_render import plain

from gdb_heapx.cli.execute import Terminal, has_unicode
from gdb_heapx.commands import load_commands
from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.report.signs import (
    CACHED,
    FREE_ABSENT,
    PARTLY,
    SIGNS,
    SPECK,
    SPECK_ABSENT,
    TOP,
    UNKNOWN,
    USED_ABSENT,
    Fills,
    sign_of,
)
from gdb_heapx.report.signs import FREE as FREE_SIGN
from gdb_heapx.report.signs import USED as USED_SIGN
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.pages import UNTOUCHED

LARGE = 960 << 10
load_commands()


def specks(heaps=40):
    """Return arenas whose heaps are free, but for a chunk in use at the end of each."""
    heap = HeapBuilder(I386)  # whose heaps have a MiB
    heap.residency = Pages()
    for _ in range(heaps):
        arena = heap.arena()
        arena.add(USED, 64)
        arena.add(FREE, LARGE)
        arena.add(USED, 64)
        arena.close(PAGE)
    heap.main.close(PAGE)
    return heap


def shown(heap, line="map", width=80, colour=False, unicode=False):
    target = heap.target()
    session = Taken(take(target), target=target)
    return said(line, session, Terminal(width, colour, unicode)).text


def rows(text):
    return re.findall(r"\|(.*)\|$", text, re.M)


@pytest.mark.parametrize(("width", "cells"), [(80, 32), (140, 64), (40, 16), (300, 128)])
@pytest.mark.few(1)
def test_heaps_line_up_and_their_specks_are_seen(width, cells):
    drawn = rows(shown(specks(), "map --limit 100", width))[:40]
    assert {len(row) for row in drawn} == {cells}
    last = 960 * cells // 1024
    assert {re.sub(r"[;P]", ".", row[: last + 1]) for row in drawn} == {
        "." + ":" * (last - 1) + "."
    }


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("unicode", [False, True])
def test_a_picture_fits_the_terminal(width, unicode):
    text = plain(shown(usual(), "map", width, colour=True, unicode=unicode))
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii() != unicode


def test_without_colour_a_picture_is_ascii():
    assert shown(usual(), unicode=True).isascii()


def test_each_sign_that_is_drawn_is_in_the_legend_and_no_other():
    text = shown(specks(2))
    drawn = set("".join(rows(text))) - {" "}
    assert {s.plain for s in SIGNS if f"{s.plain} {s.meaning}" in text} == drawn


def test_no_two_signs_look_alike():
    for looks in ([s.plain for s in SIGNS], [s.block for s in SIGNS]):
        assert len({*looks}) == len(looks)


@pytest.mark.parametrize(
    ("fills", "sign"),
    [
        (Fills(), None),
        (Fills(used=50, free=50), USED_SIGN),
        (Fills(used=10, used_absent=50, free=40), USED_ABSENT),
        (Fills(used=49, free=51), PARTLY),
        (Fills(used=1, free=99), SPECK),
        (Fills(used=1, free_absent=99), SPECK_ABSENT),
        (Fills(free=60, free_absent=40), FREE_SIGN),
        (Fills(free=40, free_absent=60), FREE_ABSENT),
        (Fills(cached=60, top=40), CACHED),
        (Fills(top=60, own=40), TOP),
        (Fills(used=40, unknown=60), UNKNOWN),
    ],
)
def test_a_cell_is_drawn_as_what_fills_it(fills, sign):
    assert sign_of(fills) is sign


@pytest.mark.slow
def test_of_many_heaps_those_with_most_free_memory_are_drawn_and_the_others_counted():
    heap = specks(50)
    first = heap.arenas[1].heaps[0][0]
    heap.residency.mark(first, first + LARGE, UNTOUCHED)
    text = shown(heap)
    assert len(rows(text)) == 40
    assert f"{first:#x}" not in text
    assert "11 more rows of map (--limit); the total is of all rows." in text


def test_what_is_damaged_is_drawn_as_unknown():
    heap = HeapBuilder()
    chunks = [heap.main.add(USED, 64 * PAGE) for _ in range(4)]
    heap.main.close(PAGE)
    heap.target()
    heap.poke(chunks[2] + 8, 0x48)
    assert "?" * 8 in shown(heap)


def test_the_cells_of_json_are_all_of_the_heaps():
    found = {
        t["name"]: t["rows"] for t in json.loads(shown(usual(), "map --format json"))["tables"]
    }
    states = ("in_use", "tcache", "fast", "binned", "top", "overhead", "unknown")
    for table in found.values():
        assert all(sum(row[state] for state in states) == row["size"] for row in table)
    assert sum(row["size"] for row in found["cells"]) == sum(row["size"] for row in found["map"])


def test_a_zoom_shows_the_heap_the_pages_and_the_chunk():
    heap = specks(2)
    (_, _, last), *_ = [arena.chunks for arena in heap.arenas[1:]]
    text = shown(heap, f"map --zoom {last[0] + 16}")
    assert text.count("X") >= 2
    assert re.search(rf"^>  *{last[0]:#x} +64  in use", text, re.M)
    assert re.search(rf"^  +{last[0] - LARGE:#x} +{LARGE:,}  binned", text, re.M)


def test_a_zoom_marks_the_page_and_the_chunks_that_a_pin_keeps_it_by():
    heap = HeapBuilder()
    heap.residency = Pages()
    heap.main.add(FREE, 64 * PAGE)
    pinning = heap.main.add(USED, 64)
    heap.main.add(FREE, 64 * PAGE)
    heap.main.add(USED, 65 * PAGE)  # more than is free before it: no pin of top
    heap.main.close(PAGE)
    rows = json.loads(shown(heap, "pins --format json"))["tables"][0]["rows"]
    (listed,) = [row for row in rows if row["kind"] == "page"]
    assert int(listed["address"], 16) == pinning
    text = shown(heap, f"map --zoom {pinning + PAGE}")  # beside it, so that this page shows
    page = pinning // PAGE - (pinning + PAGE) // PAGE
    _, pages = text.split("pages around it")
    drawn = "".join(rows_of for rows_of in re.findall(r"\|(.*)\|$", pages, re.M))
    assert drawn[drawn.index("X") + page] == "p"
    assert drawn.count("p") == 1
    assert re.search(rf"^ +{pinning:#x} .* page$", text, re.M)
    assert len(re.findall(r" (page|top|heap)$", text, re.M)) == 1


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.slow
def test_a_zoom_fits_on_a_terminal_of_50_lines_however_large_the_heap_is(width):
    heap = HeapBuilder()
    heap.residency = Pages()
    chunks = [heap.main.add(state, 48) for state in (FREE, USED) * 40_000]
    heap.main.close(PAGE)
    assert shown(heap, f"map --zoom {chunks[40_000]}", width).count("\n") < 48


def test_a_zoom_to_what_is_no_heap_says_so():
    with pytest.raises(HeapxError, match="0x10 lies in no heap"):
        shown(usual(), "map --zoom 0x10")
    with pytest.raises(UsageError, match="exclude each other"):
        shown(usual(), "map 0 --zoom 0x10")


@pytest.mark.parametrize(
    ("environ", "is_so"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "C.UTF-8"}, True),
        ({}, False),
    ],
)
def test_the_locale_says_whether_blocks_can_be_shown(environ, is_so):
    assert has_unicode(environ) == is_so
