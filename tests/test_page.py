"""The page of heapx report, as it is written: of recorded processes, read without a browser."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import pytest
from pages import HOSTILE, LINES, parts
from recorded import load

from gdb_heapx.cli.command import REGISTRY
from gdb_heapx.cli.execute import Terminal, execute
from gdb_heapx.commands._quoting import QUOTING
from gdb_heapx.errors import HeapxError, UsageError
from gdb_heapx.report import page as pages
from gdb_heapx.report.page import ASSETS
from gdb_heapx.saved.saved import read_saved
from gdb_heapx.saved.session import SavedSession

IMAGE = load("2.36-amd64")
ALL = 1 << 40  # rows


def written(image, tmp_path, options=f"--types --limit {ALL}"):
    """Return the text of a page, and the parts of it."""
    file = tmp_path / "page.html"
    said = image.answer(f"report {options} --output {file}")
    assert said.text == f"Written to {file}: open it in a browser.\n"
    text = file.read_text()
    return text, parts(text)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """Return a way to have the page of an image and its parts, which are made once."""
    return cache(lambda name: written(load(name), tmp_path_factory.mktemp("page")))


@pytest.fixture
def usual(page_of):
    return page_of(IMAGE.name)


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """Return the same where names of the process are HTML."""
    return written(hostile(IMAGE), tmp_path_factory.mktemp("unusual"))


def to_hand_on(tables):
    """Return tables of JSON without the columns that quote memory, and without single cells."""
    for table in tables:
        for row in table["rows"]:
            for name in QUOTING:
                row.pop(name, None)
    return [table for table in tables if table["name"] != "cells"]


I386 = pytest.param("2.41-i386", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["2.36-amd64", "2.36-amd64-damaged-tcache", I386])
def test_a_page_has_the_json_of_each_command(name, page_of):
    image = load(name)
    _, page = page_of(name)
    for line in LINES:
        mine, own = page.report(line), image.report(line.partition(" ")[2])
        assert to_hand_on(mine["tables"]) == to_hand_on(own["tables"]), line
        assert mine["notes"] == own["notes"], line
        assert mine["findings"] == own["findings"], line


def test_the_tables_to_read_have_the_cells_of_the_text(usual):
    _, page = usual
    shown = {cell.strip() for cell in page.texts}
    for line in ("arenas", "bins", "threads", "params"):
        for row in IMAGE.text(line, 400).splitlines()[2:-3]:
            assert set(re.split(r"  +", row.strip("- "))) <= shown | {""}, row


ONE_ARENA = load("2.36-amd64-why-small-blocks")


@pytest.mark.parametrize("image", [IMAGE, ONE_ARENA])
def test_a_page_shows_the_tables_and_totals_that_text_shows(image, page_of):
    html, _ = page_of(image.name)
    figures = re.findall(r'<figure class="sheet" data-table="(\w+)">(.*?)</figure>', html, re.S)
    shown = {name: "<tfoot>" in figure for name, figure in figures}
    several = image is IMAGE
    assert ("mmapped chunks of " in html) is several
    for line in ("arenas", "heaps", "threads"):
        assert len(image.report(line)["tables"][0]["rows"]) > 1 or not several
        assert shown[line] == ("total" in image.text(line)) == several, line


def test_every_sentence_of_the_diagnosis_is_there(usual):
    _, page = usual
    shown = " ".join(" ".join(page.texts).replace("\N{NO-BREAK SPACE}", " ").split())
    report = IMAGE.report("why")
    sentences = [s for f in report["findings"] for s in (f["statement"], f["remedy"]) if s]
    assert sentences
    for sentence in (*report["notes"], *sentences):
        assert sentence in shown


def hostile(image):
    """Return an image whose program, files and threads have names of HTML."""
    facts = json.dumps(image.facts)
    name = image.exe.name
    facts = json.loads(re.sub(rf"\b{name}\b(?=[\"\\ ])", f"{HOSTILE}\u202e", facts))
    for thread in facts["threads"]:
        thread["name"] = HOSTILE
    return replace(image, facts=facts)


def test_names_of_the_process_are_text(unusual):
    text, page = unusual
    assert HOSTILE in "".join(page.texts)
    assert "img" not in page.names()
    assert HOSTILE not in text
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert "\u202e" not in text  # turns the direction of what follows


def test_names_of_the_process_end_no_json(unusual):
    _, page = unusual
    names = {row["name"] for row in page.report("heapx threads")["tables"][0]["rows"]}
    assert names == {HOSTILE}


def test_only_what_is_our_own_is_not_escaped():
    template = (ASSETS / "page.html").read_text()
    assert re.findall(r"\{\{ ([\w.]+) \| safe \}\}", template) == ["css", "each.json", "script"]
    assert template.count("| safe") == 3


def test_a_page_needs_nothing_from_elsewhere(usual):
    text, page = usual
    loading = [(n, a) for n, a in page.elements if {"src", "srcset", "data", "poster"} & set(a)]
    assert loading == []
    links = [attrs["href"] for _, attrs in page.elements if attrs.get("href")]
    assert links
    assert [link for link in links if not link.startswith("#")] == []
    assert not re.search(r"url\(|@import", (ASSETS / "page.css").read_text())
    assert "sourceMappingURL" not in text


def test_a_page_allows_itself_its_own_scripts_only(usual):
    _, page = usual
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src ('sha256-[\w+/]{43}=' ){2};", policy)


def test_a_page_quotes_no_memory(usual):
    quoted = [row["contents"] for row in IMAGE.report("types")["tables"][0]["rows"]]
    assert any(quoted)
    text, page = usual
    assert not any(row["contents"] for row in page.report("heapx types")["tables"][0]["rows"])
    assert not [each for each in quoted if each and json.dumps(each)[1:-1] in text]


def test_a_page_has_some_rows_of_each_table_and_says_how_many_more(tmp_path):
    _, page = written(IMAGE, tmp_path, "--limit 2")
    report = page.report("heapx sizes --each")
    assert len(report["tables"][0]["rows"]) == 2
    rows = len(IMAGE.report("sizes --each")["tables"][0]["rows"])
    assert report["notes"][-1].startswith(f"{rows - 2:,} more rows")


def test_types_are_left_out_where_they_take_long(tmp_path, monkeypatch):
    monkeypatch.setattr("gdb_heapx.commands.report.LOOK", 0)
    _, page = written(IMAGE, tmp_path, "")
    report = page.report("heapx types")
    assert report["tables"] == []
    assert "heapx report --types" in report["notes"][0]


def test_problems_stand_first_and_in_the_last_chapter(tmp_path):
    image = load("2.36-amd64-damaged-tcache")
    _, page = written(image, tmp_path)
    problems = page.report("heapx check --all")["problems"]
    assert problems
    assert problems == image.report("check --all")["problems"]
    shown = "".join(page.texts)
    assert shown.index(problems[0]["statement"]) < shown.index("Where the memory is")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "heapx report needs a file"),
        ("--output x --format json", "it has no --format json"),
        ("--output x --sort size", "--sort can't be for all of them"),
        ("--output x --columns size", "--columns can't be for all of them"),
    ],
)
def test_what_a_page_has_not_is_refused(options, words):
    with pytest.raises(UsageError, match=words) as caught:
        IMAGE.answer(f"report {options}")
    assert caught.value.remedies


def test_without_jinja_one_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "is_there", lambda name: name != "jinja2")
    with pytest.raises(HeapxError, match="needs Jinja2") as caught:
        IMAGE.answer(f"report --output {tmp_path / 'page.html'}")
    assert caught.value.remedies == ("pip install jinja2",)
    assert not list(tmp_path.iterdir())


def test_every_line_of_a_page_is_a_command():
    assert all(" ".join(line.split()[:2]) in REGISTRY for line in LINES)


@pytest.mark.few(1)
@pytest.mark.parametrize("more", ["", "--no-types"])
def test_a_saved_snapshot_has_a_page(more, tmp_path):
    IMAGE.answer(f"save {tmp_path / 'saved.json'} {more}")
    file = tmp_path / "page.html"
    session = SavedSession(read_saved(str(tmp_path / "saved.json")))
    execute(
        f"report --limit {ALL} --output {file}".split(),
        lambda seconds, held: nullcontext(session),
        Terminal(80, False),
        print,
    )
    page = parts(file.read_text())
    for line in ("heapx", "heapx why", "heapx pins", "heapx bins", "heapx params"):
        own = IMAGE.report(line.partition(" ")[2])
        assert to_hand_on(page.report(line)["tables"]) == to_hand_on(own["tables"]), line
    types = page.report("heapx types")
    assert bool(types["tables"]) is not bool(more)
    assert bool(more) is any("saved without types" in note for note in types["notes"])
