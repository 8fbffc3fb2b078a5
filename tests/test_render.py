"""Reports as text, colour, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import pytest
from heapbuilder import usual, with_pages_at_random
from hypothesis import given
from hypothesis import strategies as st
from sessions import report_of

from gdb_heapx.commands import load_commands
from gdb_heapx.errors import Problem, escape
from gdb_heapx.heap.states import STATES
from gdb_heapx.heap.trim import Trim
from gdb_heapx.report import render
from gdb_heapx.report.arrange import arrange, for_reader, told_apart
from gdb_heapx.report.blocks import BLOCKS, Shown, how_much
from gdb_heapx.report.context import Context
from gdb_heapx.report.metrics import Metrics
from gdb_heapx.report.model import Bar, Finding, Notes, Report, Steps, Worth, shortened
from gdb_heapx.report.notes import note, sentence
from gdb_heapx.report.render import FORMATS
from gdb_heapx.report.schema import DATA_ONLY, Column, Kind, Many, Schema, Table, total
from gdb_heapx.report.style import Style, library
from gdb_heapx.report.tables import format_bytes
from gdb_heapx.report.text import tokens
from gdb_heapx.snapshots.regions import Owner, Region, Span
from gdb_heapx.snapshots.take import take
from gdb_heapx.target.amounts import Amount, sum_of

SNAPSHOT = take(usual().target())
KNOWN = take(with_pages_at_random(random.Random(1), usual()).target())
CONTEXT = Context("heapx arenas", "1.0", {"pid": 4711, "release": "2.36"})
EVIL = "evil\x1b[31m\x07\nname\x9b31m\u202e\udcff"
COLUMNS = (
    Column("thread", Kind.INDEX),
    Column("name", Kind.TEXT),
    Column("address", Kind.ADDRESS),
    Column("chunks", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("locked", Kind.BOOL),
)


EVIL_NOTE = note("residency_unknown", why=EVIL)


def row(thread, name="worker", address=0x7F1000000000, chunks=1, size=32, locked=False):
    return (thread, name, address, chunks, size, locked)


def report(*rows, problems=(), lead=(), more=()):
    things = Table("things", COLUMNS, rows, total(COLUMNS, rows, "chunks"))
    return Report((Notes(lead, leads=True), things, *more), problems)


FULL = report(
    row(1, size=5 << 20, chunks=1234567),
    row(22, "x", None, 3, None),
    problems=(Problem("bad_size", "chunk 0x10 is bad", 0x10, 0), Problem("x", "y", in_motion=True)),
    lead=(note("looked_at", target="process 1", program="p", releases=["2.36"]),),
    more=(
        Notes((note("residency_unknown", why="a core"),)),
        Steps((("heapx bins", "which lists"), ("heapx top", "what of top"))),
    ),
)


def text_of(shown, format_="text", **style):
    return "".join(FORMATS[format_](shown, CONTEXT, Style(**style)))


COMMANDS = {name: c for name, c in sorted(load_commands().items()) if not c.page}
REPORTS = (*COMMANDS, *(f"{name}, known" for name in COMMANDS), "made up")
every = pytest.mark.parametrize("shown", REPORTS, indirect=True)


@cache
def report_named(name):
    """Return one of REPORTS."""
    command, _, known = name.partition(", ")
    return FULL if name == "made up" else report_of(COMMANDS[command], KNOWN if known else SNAPSHOT)


@pytest.fixture
def shown(request):
    return report_named(request.param)


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@every
def test_text_is_the_concatenation_of_the_tokens(shown):
    style = Style()
    assert "".join(text for _, text in tokens(shown, style)) == text_of(shown)


@every
def test_colour_without_its_escapes_is_the_text(shown):
    assert plain(text_of(shown, "ansi")) == text_of(shown)


def test_colour_has_escapes():
    assert "\x1b[" in text_of(FULL, "ansi")


def without(monkeypatch, *names):
    """Make libraries, with all of their modules, impossible to import, as where they aren't."""
    modules = [name for name in sys.modules if name.split(".")[0] in names]
    for name in {*names, *modules}:
        monkeypatch.setitem(sys.modules, name, None)
    library.cache_clear()


@pytest.fixture(autouse=True)
def libraries_come_back():
    """Forget after each test that a library was missing."""
    yield
    library.cache_clear()


@every
def test_text_is_the_same_without_the_libraries(shown, monkeypatch):
    with_libraries = text_of(shown)
    without(monkeypatch, "tabulate", "pygments")
    assert text_of(shown) == with_libraries
    assert text_of(shown, "ansi") == with_libraries


@pytest.mark.parametrize(
    "name", ["", " ", " left", "right ", "1e5", "0x10", "a|b", EVIL, "\t", "日本"]
)
def test_any_name_is_the_same_without_the_libraries(name, monkeypatch):
    shown = report(row(1, name), row(2, "other"))
    with_libraries = text_of(shown)
    without(monkeypatch, "tabulate")
    assert text_of(shown) == with_libraries


def test_missing_libraries_are_named(monkeypatch):
    assert render.missing_libraries() is None
    without(monkeypatch, "tabulate")
    assert library("tabulate") is None
    assert "pip install tabulate" in render.missing_libraries()
    without(monkeypatch, "tabulate", "pygments")
    assert "pip install tabulate pygments" in render.missing_libraries()


def sixteen_arenas(snapshot):
    """Return the snapshot of a process with 16 arenas of 2 GiB."""
    (malloc,) = snapshot.mallocs
    sizes = (1000 << 20, 1999 << 10, 1999 << 10, 1000 << 20, 43 << 20, 1999 << 10)
    known = snapshot.target.no_residency is None
    amounts = [Amount(size, size, 0) if known else Amount(size, None, None) for size in sizes]
    whole = sum_of(amounts)
    big = replace(
        malloc.arenas[0],
        system=whole.bytes,
        amounts=dict(zip(STATES, amounts)),
        threads=12,
        max_system=whole.bytes,
        chunks=dict.fromkeys(STATES, 12345678),
        heaps=malloc.arenas[0].heaps * 32,
        trim=Trim(*[amounts[0]] * len(Trim._fields)),
    )
    arenas = tuple(replace(big, index=index, address=index) for index in range(16))
    regions = tuple(
        Region(Span(0, whole.bytes, Owner.HEAP, n, arena.libc, n), row, whole)
        for n, (row, arena) in enumerate(zip([snapshot.regions[0].mapping] * 16, arenas))
    )
    return replace(snapshot, mallocs=(replace(malloc, arenas=arenas),), regions=regions)


WIDE = ("heapx", *(f"heapx {n}" for n in ("arenas", "heaps", "top", "bins", "trim", "ledger")))


@pytest.mark.parametrize("name", [*WIDE, "heapx why"])
@pytest.mark.parametrize("snapshot", [SNAPSHOT, KNOWN], ids=["unknown", "known"])
def test_sixteen_arenas_of_two_gibibytes_fit_in_80_columns(name, snapshot):
    text = text_of(report_of(COMMANDS[name], sixteen_arenas(snapshot)))
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name in REPORTS if "about" not in name])  # paths
def test_text_fits_in_80_columns(name):
    shown = report_named(name)
    assert max(map(len, text_of(shown).splitlines())) <= 80


NAMES = Schema(
    "names",
    (Column("mark", Kind.TEXT), Column("part", Kind.TEXT, shrinks=True), Column("n", Kind.COUNT)),
)


MORE = Column("more", Kind.TEXT, shrinks=True, rank=1)


def named(*parts):
    return Report((NAMES.of([SimpleNamespace(mark="#", part=each, n=7) for each in parts]),))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_middle_of_a_long_name_is_left_out_so_that_the_table_fits(width):
    name = "the data file pack-" + "0123456789abcdef" * 16 + ".pack"
    lines = text_of(named("short", name), width=width).splitlines()
    assert max(map(len, lines)) == width
    start, end = re.split(" +", lines[2], maxsplit=1)[1].rpartition("  7")[0].rstrip().split("…")
    assert name.startswith(start)
    assert name.endswith(end)
    assert lines[1].split() == ["#", "short", "7"]


@pytest.mark.parametrize(("width", "shown"), [(72, True), (53, False)])
def test_text_that_may_be_left_out_is_shortened_before_it_is_and_before_other_text(width, shown):
    schema = replace(NAMES, columns=(*NAMES.columns, MORE))
    row = SimpleNamespace(mark="#", part="p" * 40, n=7, more="m" * 60)
    heading, line, *_ = text_of(Report((schema.of([row]),)), width=width).splitlines()
    assert ("more" in heading, "m" in line) == (shown, shown)
    assert "p" * 40 in line
    assert len(line) <= width


@given(st.text("ab", max_size=90), st.integers(12, 90), st.integers(12, 90))
def test_what_is_shortened_twice_lacks_one_piece(text, first, second):
    once = shortened(text, first)
    twice = shortened(once, second)
    assert len(twice) == min(len(text), first, second)
    start, cut, end = twice.partition("…")
    assert text.startswith(start)
    assert text.endswith(end)
    assert "…" not in end
    assert bool(cut) == (len(text) > min(first, second))


def test_a_name_that_fits_is_shown_whole_and_json_has_it_in_any_case():
    name = "x" * 70
    assert name in text_of(named(name), width=80)
    assert name in text_of(named(name), "json", width=40)


# Their rows are of the whole process, or of the libc of the chunk in the table before them.
WITHOUT_LIBC = {"overview", "why", "owners", "outside", "neighbours", "list", "words"}
WITHOUT_LIBC |= {
    "refs",
    "holders",
    "sums",
    "degrees",
    "hidden",
    "save",
    "load",
    "growth_stacks",
    "growth_run",
    *("compare", "compare_sizes", "compare_types"),
    "map_chunks",  # around one address
}  # chunks of all libcs refer to each other


def two_mallocs():
    """Return a snapshot with the same malloc in two libcs of the same file."""
    (malloc,) = KNOWN.mallocs
    name = f"{malloc.libc} (2)"
    arenas = tuple(replace(arena, libc=name) for arena in malloc.arenas)
    return replace(KNOWN, mallocs=(malloc, replace(malloc, libc=name, arenas=arenas)))


def test_of_a_row_of_one_libc_s_malloc_each_table_tells_whose_it_is():
    tables = [schema for declared in COMMANDS.values() for schema in declared.tables]
    assert {t.name for t in tables if "libc" not in [c.name for c in t.columns]} == WITHOUT_LIBC


# about has paths; pins reads the chunks again, and there is one malloc to read.
ONE_LIBC = ("heapx about", "heapx pins", "heapx save", "heapx compare")  # or what tells of it


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ONE_LIBC])
def test_with_two_mallocs_text_fits_in_80_columns_and_names_them(name):
    declared, two = COMMANDS[name], two_mallocs()
    shown = for_reader(report_of(declared, two), True, ())
    text = text_of(told_apart(shown, two.libcs))
    assert max(map(len, text.splitlines())) <= 80
    named = [libc for t in shown.tables if t.column("libc") for libc in t.values("libc")]
    assert ("libc (2)" in text) == (two.libcs[1] in named)


def test_a_wider_terminal_shows_more_columns():
    shown = report_named("heapx arenas")
    narrow, wide = text_of(shown, width=80), text_of(shown, width=200)
    assert "address" not in narrow.splitlines()[1]
    assert "address" in wide.splitlines()[1]


def lines_of(shown, **style):
    return text_of(shown, **style).splitlines()


def test_numbers_are_aligned_to_the_right():
    table = lines_of(report(row(1, chunks=5, size=32), row(22, chunks=1234567, size=1 << 16)))
    _, heading, first, second, _, sums = table
    for column in ("chunks", "bytes"):
        end = heading.index(column) + len(column)
        for line in (first, second, sums):
            assert line[end - 1].isdigit()
            assert line[end : end + 1] in ("", " ")


def test_text_is_aligned_to_the_left():
    _, heading, first, second, *_ = lines_of(report(row(1, "a"), row(2, "long name")))
    at = heading.index("name")
    assert first[at:].startswith("a ")
    assert second[at:].startswith("long name")


def test_an_address_is_hexadecimal_without_padding():
    assert " 0x7f1000000000 " in text_of(report(row(1)))


def test_unknown_is_a_question_mark():
    lines = lines_of(report(row(1, size=None)))
    assert "?" in lines[2]


def test_a_total_of_unknown_parts_is_unknown():
    assert total(COLUMNS, [row(1, size=None), row(2)]) == {"bytes": None}


THINGS = [SimpleNamespace(number=n, size=(n * 37 % 11) << 20 or None) for n in range(30)]
NUMBERS = Schema(
    "numbers",
    (Column("number", Kind.INDEX), Column("size", Kind.BYTES)),
    adds=(),
    metrics=Metrics("heapx_number", {"number": "number"}, {"size": "How large."}),
)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("sort", [None, "number", "size"])
@pytest.mark.parametrize("limit", [None, 0, 7, 29, 30, 31])
def test_rows_that_are_made_when_they_are_asked_for_are_as_those_that_are_kept(
    format_, sort, limit
):
    made = Many(len(THINGS), lambda: iter(THINGS))
    texts = [
        text_of(arrange(Report((NUMBERS.of(things),)), sort, limit, None, True), format_)
        for things in (THINGS, made)
    ]
    assert texts[0] == texts[1]


def test_one_unit_holds_for_a_whole_table():
    lines = lines_of(report(row(1, size=5 << 30), row(2, size=200 << 30)))
    assert lines[0].endswith("sizes in GiB")
    assert lines[2].split()[4] == "5.0"
    assert lines[3].split()[4] == "200.0"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, 1 << 20, "0"),
        (1, 1 << 20, "<0.1"),
        (1 << 20, 1 << 20, "1.0"),
        (1234 << 20, 1 << 20, "1,234.0"),
        (1234567, 1, "1,234,567"),
    ],
)
def test_bytes_in_a_unit(value, unit, text):
    assert format_bytes(value, unit) == text


def test_totals_add_up_with_exact_bytes():
    lines = lines_of(
        report_named("heapx arenas"), units="bytes", columns=("arena", "system", "in_use", "top")
    )
    cells = [[int(c.replace(",", "")) for c in line.split()[1:]] for line in lines[2:5]]
    sums = [int(cell.replace(",", "")) for cell in lines[6].split()[1:]]
    assert lines[6].startswith("total")
    assert [sum(column) for column in zip(*cells)] == sums


def test_chosen_columns_come_in_the_order_asked_for():
    heading = lines_of(FULL, columns=("bytes", "thread"))[6]
    assert heading.split() == ["bytes", "thread"]


def test_an_empty_table_says_none():
    assert text_of(report()) == "things: none\n"


def test_problems_come_first():
    assert text_of(FULL).splitlines()[0] == "problem in arena 0: chunk 0x10 is bad"
    assert text_of(FULL).splitlines()[1] == "in motion: y"


# What the target says can't reach the terminal.


def evil_report():
    return report(
        row(1, EVIL), problems=(Problem("c", EVIL),), lead=(EVIL_NOTE,), more=(Notes((EVIL_NOTE,)),)
    )


@pytest.mark.parametrize("format_", ["text", "ansi"])
def test_control_characters_from_the_target_are_escaped(format_):
    text = plain(text_of(evil_report(), format_)).replace("\n", "")
    assert text.isprintable()
    assert "\\x1b[31m" in text


def test_escape_keeps_what_is_printable():
    assert escape("Zürich 日本") == "Zürich 日本"
    assert escape("\x1b\n\udcff") == "\\x1b\\n\\xff"


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_data_formats_can_be_encoded_whatever_the_names(format_):
    text_of(evil_report(), format_).encode()


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_data_formats_hold_no_escape_sequences(format_):
    assert not {"\x1b", "\x9b", "\x07"} & set(text_of(evil_report(), format_))


# JSON and CSV.


@every
def test_json_has_the_documented_shape(shown):
    data = json.loads(text_of(shown, "json"))
    assert set(data) >= {"heapx", "command", "target", "tables", "findings", "problems"}
    assert data["heapx"] == "1.0"
    for table in data["tables"]:
        names = [column["name"] for column in table["columns"]]
        for values in table["rows"]:
            assert list(values) == names
        assert set(table.get("total", ())) <= set(names)


@every
def test_json_values_are_of_their_columns_kind(shown):
    types = {"bytes": int, "count": int, "index": int, "address": str, "text": str, "bool": bool}
    for table in json.loads(text_of(shown, "json"))["tables"]:
        for column in table["columns"]:
            for values in table["rows"]:
                value = values[column["name"]]
                assert value is None or type(value) is types[column["kind"]]
                if value is not None and column["kind"] == "address":
                    assert re.fullmatch(r"0x[0-9a-f]+", value)


def test_json_has_all_columns_whatever_was_chosen():
    narrow = text_of(FULL, "json", columns=("name",), units="bytes")
    assert narrow == text_of(FULL, "json")


def test_json_problems_name_code_address_and_motion():
    assert json.loads(text_of(FULL, "json"))["problems"] == [
        {
            "code": "bad_size",
            "address": "0x10",
            "arena": 0,
            "thread": None,
            "statement": "chunk 0x10 is bad",
            "in_motion": False,
        },
        {
            "code": "x",
            "address": None,
            "arena": None,
            "thread": None,
            "statement": "y",
            "in_motion": True,
        },
    ]


def test_json_unknown_is_null():
    rows = json.loads(text_of(FULL, "json"))["tables"][0]["rows"]
    assert rows[1]["address"] is None
    assert rows[1]["bytes"] is None


@every
def test_blocks_may_come_in_any_order(shown):
    turned = replace(shown, blocks=shown.blocks[::-1])
    first, last = text_of(turned), text_of(shown)
    assert sorted(filter(None, first.splitlines())) == sorted(filter(None, last.splitlines()))
    data, other = (json.loads(text_of(each, "json")) for each in (shown, turned))
    assert sorted(data["notes"]) == sorted(other["notes"])
    assert data["tables"] == other["tables"][::-1]
    assert {**other, "notes": 0, "tables": 0} == {**data, "notes": 0, "tables": 0}


@dataclass(frozen=True)
class Map:
    """A kind of block that heapx doesn't have."""

    rows: tuple[str, ...]


def test_a_kind_of_block_is_shown_everywhere_once_it_is_registered(monkeypatch):
    shown = Shown(lambda block, style: [("", f"{row}\n") for row in block.rows], vars)
    monkeypatch.setitem(BLOCKS, Map, shown)
    mapped = report(row(1), more=(Map(("..##", "#...")),))
    assert text_of(mapped).endswith("\n\n..##\n#...\n")
    assert json.loads(text_of(mapped, "json"))["rows"] == ["..##", "#..."]


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"heapx"}))
def test_a_commands_first_table_bears_its_name(name):
    assert report_named(name).tables[0].name == name.partition(" ")[2]


@every
def test_every_row_with_an_arena_has_its_libc(shown):
    for table in shown.tables:
        if table.name != "things" and table.column("arena"):
            named = [table.named(row) for row in table.rows]
            assert all(row["libc"] or row["arena"] is None for row in named)


def read_csv(text):
    return list(csv.reader(io.StringIO(text)))


def test_csv_is_the_first_table_without_its_total():
    rows = read_csv(text_of(FULL, "csv"))
    assert rows[0] == [column.name for column in COLUMNS]
    assert rows[1] == ["1", "worker", "0x7f1000000000", "1234567", str(5 << 20), "false"]
    assert rows[2][2] == rows[2][4] == ""
    assert len(rows) == 3


def test_csv_has_the_columns_asked_for():
    assert read_csv(text_of(FULL, "csv", columns=("bytes", "thread")))[0] == ["bytes", "thread"]


def test_csv_quotes_what_needs_it():
    assert read_csv(text_of(report(row(1, 'a,"b"')), "csv"))[1][1] == 'a,"b"'


def test_a_last_column_of_text_is_broken_into_lines_that_fit():
    columns = (Column("what", Kind.TEXT), Column("how", Kind.TEXT))
    words = "the chunks add up to the byte, " * 5
    shown = Report((Table("about", columns, [("main_arena", words)]),))
    lines = text_of(shown, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()) == "what how main_arena " + words.strip()


def test_a_path_is_broken_behind_slashes_where_it_does_not_fit():
    columns = (Column("what", Kind.TEXT), Column("file", Kind.TEXT))
    path = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    shown = Report((Table("about", columns, [("libc", path)]),))
    for width in range(24, 50):
        lines = text_of(shown, width=width).splitlines()[1:]
        pieces = [line[len("libc") + 2 :] for line in lines]
        assert "".join(pieces) == path
        assert max(map(len, lines)) <= width
        assert all(piece.endswith("/") for piece in pieces[:-1]) or width < 6 + 17


def test_a_table_fits_whose_total_is_wider_than_its_rows():
    columns = (Column("what", Kind.TEXT, shrinks=True), Column("chunks", Kind.COUNT))
    rows = [("a type with a name that is long", 999_999_999)] * 2
    shown = Report((Table("types", columns, rows, {"chunks": 1_999_999_998}),))
    assert max(map(len, text_of(shown, width=40).splitlines())) == 40


def test_what_is_not_shown_does_not_decide_the_unit():
    columns = (Column("top", Kind.BYTES), Column("system", Kind.BYTES, DATA_ONLY))
    shown = Report((Table("arenas", columns, [(200 << 10, 5 << 30)]),))
    assert text_of(shown).startswith("arenas, sizes in KiB\n")
    assert text_of(shown, columns=("top", "system")).startswith("arenas, sizes in MiB\n")


def test_a_number_stays_beside_its_unit():
    said = note("in_use_is", arenas=131 << 20, mmapped=10 << 20)
    for width in range(40, 70):
        lines = text_of(Report((Notes((said,)),)), width=width).splitlines()
        assert not any(line.endswith(("131", "10")) for line in lines)
        assert " ".join(lines) == sentence(said)


def test_many_problems_are_bounded_in_text_and_not_in_json():
    many = tuple(Problem("bad_size", f"chunk {n:#x} is bad", n, 0) for n in range(16, 166))
    shown = report(row(1), problems=many)
    lines = text_of(shown).splitlines()
    assert sum(line.startswith("problem in arena 0: ") for line in lines) == 20
    assert "130 more problems: --format json has them all" in lines
    assert len(json.loads(text_of(shown, "json"))["problems"]) == 150


def test_what_a_next_step_is_for_goes_below_it_where_it_does_not_fit():
    shown = report(row(1), more=(Steps((("heapx " + "x" * 60, "an answer to the question"),)),))
    assert text_of(shown).endswith("x\n  an answer to the question\n")
    assert text_of(shown, width=140).endswith("x  an answer to the question\n")


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (Worth(3 << 20), "at most 3 MiB: "),
        (Worth(3 << 20, exact=True), "3 MiB: "),
        (Worth(3 << 20, likely=2 << 20), "at most 3 MiB, likely 2 MiB: "),
        (Worth(3 << 20, likely=3 << 20), "at most 3 MiB, likely all of it: "),
        (Worth(100 << 20, likely=1 << 20), "at most 100 MiB, likely 1 MiB: "),
        (Worth(101 << 20, likely=1 << 20), "likely 1 MiB: "),
        (Worth(101 << 20, likely=0), "at most 101 MiB, likely 0 B: "),
    ],
)
def test_a_bound_that_says_little_is_not_said(worth, said):
    assert how_much(Finding("code", 1, "statement", worth=worth)) == said


def test_a_letter_in_a_table_has_the_colour_that_it_has_in_the_bar():
    columns = (Column("mark", Kind.TEXT, title="", marks=True), Column("size", Kind.BYTES))
    parts = ((".", 10), ("#", 80), ("-", 10))
    report = Report((Table("parts", columns, list(parts)), Bar(parts)))
    told = [(kind, text.strip()) for kind, text in tokens(report, Style())]
    for letter, size in parts:
        of_table = {kind for kind, text in told if text == letter}
        of_bar = {kind for kind, text in told if text and set(text) == {letter} and text != letter}
        assert of_table == of_bar, (letter, size)
