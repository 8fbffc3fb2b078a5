"""The manual pages that follow from the declarations are fresh and complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from heapbuilder import usual
from sessions import answer, catalogue_of, report_of, saved_file

import gdb_heapx
from gdb_heapx import __version__
from gdb_heapx.commands import load_commands
from gdb_heapx.snapshots.take import take

ROOT = Path(__file__).parent.parent
COMMANDS_PAGE, JSON_PAGE = ROOT / "docs" / "commands.md", ROOT / "docs" / "json.md"


TARGET = usual().target()
TABLED = {name: declared for name, declared in load_commands().items() if declared.tables}
SCHEMAS = {table.name: table for declared in TABLED.values() for table in declared.tables}


@cache
def tables():
    """Return every table that is shown, by its name."""
    snapshot = take(TARGET)
    reports = (report_of(declared, snapshot) for declared in TABLED.values())
    return {table.name: table for report in reports for table in report.tables}


def make_docs(root, *arguments):
    command = [sys.executable, str(root / "scripts" / "make_docs"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_of_commands_is_fresh():
    done = make_docs(ROOT, "--check")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path):
    """Return a tree with the package and make_docs, to write in."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "make_docs").write_bytes((ROOT / "scripts" / "make_docs").read_bytes())
    (tmp_path / "gdb_heapx").symlink_to(ROOT / "gdb_heapx")
    return tmp_path


@pytest.mark.slow
def test_a_stale_page_is_told_with_what_to_run(copy):
    assert make_docs(copy).returncode == 0
    assert make_docs(copy, "--check").returncode == 0
    with (copy / "docs" / "commands.md").open("a") as page:
        page.write("more\n")
    done = make_docs(copy, "--check")
    assert done.returncode == 1
    assert "scripts/make_docs" in done.stderr


def test_a_missing_page_is_stale(copy):
    assert make_docs(copy, "--check").returncode == 1


@pytest.mark.parametrize("name", load_commands())
def test_the_page_has_every_command_with_its_arguments(name):
    section = COMMANDS_PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    declared = load_commands()[name]
    assert declared.summary in section
    for arg in declared.args:
        assert arg.name in section


@pytest.mark.parametrize("name", TABLED)
def test_the_page_has_the_columns_of_every_table(name):
    section = COMMANDS_PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    table = tables()[name.partition(" ")[2] or "overview"]
    for column in table.columns:
        assert f"`{column.name}`" in section


def columns_shown(line):
    """Return the columns of each table that a command line gives, as the page has them."""
    report = json.loads(answer(f"{line} --format json", take(TARGET)).text)
    for table in report["tables"]:
        yield ", ".join(f"`{c['name']}` ({c['kind']})" for c in table["columns"])


@pytest.mark.few(8)
@pytest.mark.parametrize("name", TABLED)
def test_the_page_has_no_columns_but_those_of_the_command_s_tables(name):
    """Whichever Python has made the page."""
    section = COMMANDS_PAGE.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^(?:Columns|Its total .*): (.*)\.$", section, re.M)
    every = list(catalogue_of(TARGET).chunks())
    free, used = (next(c for c in every if c.state == state) for state in ("binned", "in use"))
    lines = {
        "heapx bins": ("bins", "bins --chunks"),
        "heapx chunks": ("chunks", "chunks --count"),
        "heapx chunk": (f"chunk {free.address:#x}",),
        "heapx fit": ("fit", "fit 100"),
        "heapx leaks": ("leaks", "leaks --unaligned"),
        "heapx growth": ("growth --seconds 1",),
        "heapx map": ("map", f"map --zoom {used.address:#x}"),
        "heapx save": ("save /dev/null",),
        "heapx compare": (f"compare {saved_file()}",),
        "heapx refs": (f"refs {used.address + 16:#x}",),
        "heapx ledger": ("ledger", "ledger --outside"),
    }.get(name, (name.partition(" ")[2],))
    assert listed
    assert set(listed) <= {columns for line in lines for columns in columns_shown(line)}


def test_the_tables_are_those_of_the_issue():
    names = "arenas heaps bins tcache tcache_sizes top mmapped check about overview mmapped_total"
    more = "save load ledger owners trim why threads sizes types params environment pins pin_groups"
    drawn = "map cells"
    held = "leaks degrees refs holders sums"
    asked = "fit fit_ranges fit_unusable"  # without a request
    single = "chunks chunk neighbours words"  # without a free chunk, or an option
    grown = "growth growth_stacks growth_requests growth_free growth_unusable growth_run"
    changed = " ".join(f"compare_{what}" for what in ("arenas", "heaps", "bins", "sizes", "types"))
    known = (names, more, drawn, held, single, asked, grown, "compare", changed)
    assert set(tables()) == {name for each in known for name in each.split()}


@pytest.mark.few(8)
@pytest.mark.parametrize("declared", TABLED.values(), ids=TABLED)
def test_a_command_has_no_tables_but_those_that_it_declares(declared):
    declares = {table.name: [c.name for c in table.columns] for table in declared.tables}
    shown = report_of(declared, take(TARGET)).tables
    assert shown[0].name == declared.tables[0].name
    for table in shown:
        assert declares[table.name] == [column.name for column in table.columns]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_json_page_names_every_column(name):
    sections = re.split(r"\n#{2,4} ", JSON_PAGE.read_text())
    mine = [s for s in sections if name in re.findall(r"\w+", s.partition("\n")[0])]
    words = set(re.findall(r"`([a-z_]+)`", "\n".join(mine)))
    assert not {column.name for column in SCHEMAS[name].columns} - words - {"libc"}


def test_the_json_page_says_that_every_table_names_the_libc():
    assert "`libc`" in JSON_PAGE.read_text()


def test_the_news_begin_with_the_version_at_hand():
    heading = re.search(r"^## (\S+)( \(unreleased\))?$", (ROOT / "NEWS.md").read_text(), re.M)
    assert heading[1] == __version__


def test_the_python_page_names_the_whole_api():
    page = (ROOT / "docs" / "python.md").read_text()
    for name in gdb_heapx.__all__:
        assert f"`{name}" in page, name
    for name in ("arena", "chunk", "size", "state", "in_use", "free"):
        assert f"`$_heapx_{name}(" in page
