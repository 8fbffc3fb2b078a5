"""Every statement of docs/fleet.md, asked by DuckDB of made-up hosts and of saved processes."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
from collections import defaultdict
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from statistics import median

import duckdb
import pytest
from live import ROOT, run, status, told
from recorded import load

from gdb_heapx.saved.saved import read_saved
from gdb_heapx.saved.summary import summary_of

HOSTS = 24
TEMPLATES = ("2.31-amd64", "2.36-amd64", "2.43-amd64")
DEPLOYMENT = "2026-05-04T12:00:00Z"
GROWN = 6 << 20  # bytes by which scripts/made_up_fleet lets Session grow


def sections():
    """Return the statements of the page by the titles above them."""
    page = (ROOT / "docs" / "fleet.md").read_text()
    for section in re.split(r"^## ", page, flags=re.M):
        title, _, text = section.partition("\n")
        yield title, re.findall(r"^```sql\n(.*?)^```$", text, re.M | re.S)


BLOCKS = {title: blocks for title, blocks in sections() if blocks}
TABLE, *QUESTIONS, PARQUET = BLOCKS
MOST, BY_RELEASE, BY_LIMIT, BY_TYPE = QUESTIONS


def asked(connection, title):
    """Run the statements below a title; return the rows of the last one, by their columns."""
    for statement in BLOCKS[title]:
        found = connection.execute(statement)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def made_up(*words):
    done = run((sys.executable, ROOT / "scripts" / "made_up_fleet", *words))
    assert (done.status, done.err) == (0, "")


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Return what `heapx save` writes of recorded processes."""
    directory = tmp_path_factory.mktemp("templates")
    for name in TEMPLATES:
        load(name).text(f"save {directory / name}.json")
    return sorted(directory.iterdir())


@pytest.fixture(scope="module")
def hosts(templates, tmp_path_factory):
    """Return a directory with the files of made-up hosts in `fleet`."""
    directory = tmp_path_factory.mktemp("hosts")
    made_up(directory / "fleet", HOSTS, *templates)
    return directory


@pytest.fixture
def fleet(hosts, monkeypatch):
    """Return a connection that knows the page's table, of made-up hosts."""
    monkeypatch.chdir(hosts)
    with duckdb.connect() as connection:
        asked(connection, TABLE)
        yield connection


@pytest.fixture(scope="module")
def files(hosts):
    """Return what the files have, without DuckDB."""
    return [json.loads(gzip.decompress(path.read_bytes())) for path in hosts.glob("fleet/*")]


@pytest.fixture(scope="module")
def last(files):
    """Return the last look at each host."""
    return [each for each in files if each["taken"]["time"] > DEPLOYMENT]


def in_units(size):
    """Return bytes as DuckDB writes them."""
    ((text,),) = duckdb.execute("SELECT format_bytes(?::BIGINT)", [int(size)]).fetchall()
    return text


def grouped(looks, *names):
    groups = defaultdict(list)
    for look in looks:
        groups[tuple(look["summary"][name] for name in names)].append(look["summary"])
    return groups


def test_every_section_has_its_statements():
    assert len(QUESTIONS) == 4
    assert all(title.endswith("?") for title in QUESTIONS)


def test_what_the_table_names_is_in_every_file(files):
    """DuckDB takes what isn't there for NULL."""
    (structure,) = re.findall(r"json_transform\(json, '(.*?)'\)", BLOCKS[TABLE][0], re.S)
    named = json.loads(structure)
    assert [*named] == ["taken", "process", "summary", "types"]
    for name, columns in named.items():
        wanted = columns[0] if name == "types" else columns
        for found in files:
            each = found[name] if name == "types" else [found[name]]
            assert all(wanted.keys() <= row.keys() for row in each)


def test_a_made_up_file_is_one_that_heapx_writes_and_reads(hosts):
    for path in sorted(hosts.glob("fleet/*"))[::5]:
        found = json.loads(gzip.decompress(path.read_bytes()))
        assert summary_of(read_saved(str(path)).snapshot) == found["summary"]


def test_what_heapx_saves_is_one_line(templates):
    for path in templates:
        text = path.read_text()
        assert text.index("\n") == len(text) - 1


def test_the_hosts_that_retain_most_come_first(fleet, last):
    rows = asked(fleet, MOST)
    sizes = {each["taken"]["host"]: each["summary"]["free_resident"] for each in last}
    assert len(rows) == 10
    assert rows[0]["host"] == f"host{HOSTS - 1:05}"
    assert all(row["retained"] == in_units(sizes[row["host"]]) for row in rows)
    assert all(sizes[a["host"]] >= sizes[b["host"]] for a, b in pairwise(rows))
    assert sizes[rows[-1]["host"]] >= sorted(sizes.values())[-10]


def test_releases_are_compared_by_their_medians(fleet, last):
    wanted = [
        {
            "release": release,
            "hosts": len(group),
            "median": in_units(median(each["free_resident"] for each in group)),
            "most": in_units(max(each["free_resident"] for each in group)),
            "together": in_units(sum(each["free_resident"] for each in group)),
        }
        for (release,), group in sorted(grouped(last, "release").items())
    ]
    rows = asked(fleet, BY_RELEASE)
    assert [{name: row[name] for name in wanted[0]} for row in rows] == wanted
    assert [row["release"] for row in rows] == ["2.31", "2.36", "2.43"]


def test_a_limit_of_arenas_is_compared_with_none(fleet, last):
    rows = asked(fleet, BY_LIMIT)
    found = {(row["release"], row["setting"]): row for row in rows}
    assert len(found) == len(rows) == 2 * len(TEMPLATES)
    for (release, limit), group in grouped(last, "release", "arena_max").items():
        row = found[release, f"MALLOC_ARENA_MAX={limit}" if limit else "no limit"]
        assert row["hosts"] == len(group)
        assert row["arenas"] == median(each["arenas"] for each in group)
        assert row["retained"] == in_units(median(each["free_resident"] for each in group))
        assert row["rss"] == in_units(median(each["rss"] for each in group))


def test_only_the_type_that_grew_on_every_host_is_told(fleet):
    (row,) = asked(fleet, BY_TYPE)
    assert (row["type"], row["hosts"]) == ("Session", HOSTS)
    assert (row["least"], row["together"]) == (in_units(GROWN), in_units(HOSTS * GROWN))


def test_a_host_that_was_not_looked_at_twice_counts_nowhere(hosts, fleet):
    """Nor one whose types aren't known."""
    alone = hosts / "fleet" / "alone.json.gz"
    first, *_ = sorted(hosts.glob("fleet/*"))
    found = json.loads(gzip.decompress(first.read_bytes()))
    found["taken"]["host"] = "alone"
    after = {**found, "taken": {**found["taken"], "time": "2026-05-06T06:00:00Z"}}
    without = {name: value for name, value in after.items() if name != "types"}
    text = "".join(f"{json.dumps(each)}\n" for each in (found, without))
    alone.write_bytes(gzip.compress(text.encode()))
    try:
        (row,) = asked(fleet, BY_TYPE)
    finally:
        alone.unlink()
    assert (row["type"], row["hosts"]) == ("Session", HOSTS)


def test_columns_in_one_file_answer_the_same(fleet):
    before = [asked(fleet, title) for title in QUESTIONS]
    asked(fleet, PARQUET)
    for path in Path("fleet").iterdir():  # they are no longer needed
        path.rename(path.with_suffix(".away"))
    try:
        assert [asked(fleet, title) for title in QUESTIONS] == before
    finally:
        for path in Path("fleet").iterdir():
            path.rename(path.with_suffix(".gz"))


@pytest.mark.parametrize("kind", ["json.gz", "json"])
@pytest.mark.slow
def test_files_may_be_joined_as_they_are(kind, templates, tmp_path, fleet):
    words = () if kind == "json.gz" else ("--plain",)
    made_up(tmp_path / "parts", HOSTS, *templates, *words)
    before = asked(fleet, MOST)
    with open(tmp_path / f"all.{kind}", "wb") as joined:
        for path in (tmp_path / "parts").iterdir():
            joined.write(path.read_bytes())
    statement = BLOCKS[TABLE][0].replace("fleet/*.json.gz", str(tmp_path / f"all.{kind}"))
    fleet.execute(statement)
    assert fleet.execute("SELECT count(*) FROM snapshots").fetchall() == [(2 * HOSTS,)]
    assert asked(fleet, MOST) == before


def resident_of(pid):
    """Return the bytes that the kernel counts as RSS."""
    return 1024 * int(status(pid, "VmRSS").split()[0])


@pytest.mark.live
def test_saved_processes_answer_every_question(start, tmp_path, monkeypatch):
    """Of two one has MALLOC_ARENA_MAX. Nobody looked at them before the deployment."""
    (tmp_path / "fleet").mkdir()
    limited = start("names", *"abc", env={"MALLOC_ARENA_MAX": "1"})
    program = tmp_path / "without_limit"
    shutil.copy(limited.exe, program)
    free = start(str(program), *"abc")
    rss = {}
    for number, inferior in enumerate((limited, free)):
        path = tmp_path / "fleet" / f"{number}.json.gz"
        assert told("-p", inferior.pid, "save", path).status == 0
        rss[inferior.pid] = resident_of(inferior.pid)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        asked(connection, TABLE)
        rows = connection.execute("SELECT host, time, pid, arenas, arena_max, rss FROM snapshots")
        found = {row[2]: row for row in rows.fetchall()}
        answers = {title: asked(connection, title) for title in QUESTIONS}
    assert {row[0] for row in found.values()} == {os.uname().nodename}
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    assert abs((now - found[free.pid][1]).total_seconds()) < 600
    assert found[limited.pid][3:5] == (1, 1)
    assert found[free.pid][3] == 3
    assert found[free.pid][4] == 0
    assert {pid: row[5] for pid, row in found.items()} == pytest.approx(rss, rel=0.05)
    assert [len(answers[title]) for title in QUESTIONS] == [2, 1, 2, 0]
