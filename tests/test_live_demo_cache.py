"""The second case of docs/explaining-rss.md comes true: what is in use, who holds it, what is lost.

The server itself knows how many requests it has answered, and how many it has lost; the kernel
knows RSS, with the cure and without.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from demos import SECOND, shown_in, words
from live import ROOT, look, status, table, told

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler"),
]

SOURCE = ROOT / "scripts" / "demo_cache.cc"
MB = 128
FOUND = 0.98  # of what is lost: words that weren't overwritten may still lead to the others
FAULT, CURE = "page_cache[request->path]", "page_cache[product]"


class Server(NamedTuple):
    pid: int
    answered: int
    timed_out: int


@contextmanager
def serving(program: Path) -> Iterator[Server]:
    with subprocess.Popen([program, str(MB)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert process.stdout.readline() == f"ready {process.pid}\n"
            answered, timed_out = map(int, re.findall(r"\d+", said))
            yield Server(process.pid, answered, timed_out)
        finally:
            process.kill()


def built(directory: Path, source: str) -> Path:
    """Return the server, built as the page says."""
    (directory / "demo_cache.cc").write_text(source)
    command = re.search(r"^    (g\+\+ .*) -o \S+ \S+ && .*$", SECOND, re.M)
    assert command
    words = [*shlex.split(command[1]), "-o", directory / "demo_cache", directory / "demo_cache.cc"]
    subprocess.run(words, check=True)
    return directory / "demo_cache"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = built(tmp_path_factory.mktemp("demo"), SOURCE.read_text())
    with serving(program) as started:
        yield started


def test_one_variable_holds_nearly_all(server):
    report = look(server.pid, "holders")
    first, sums = table(report)[0], table(report, "sums")
    assert (first["holder"], first["kind"]) == ("web::page_cache", "global")
    assert first["held"] > 0.99 * sum(row["bytes"] for row in sums)


@pytest.mark.slow
def test_there_are_as_many_pages_as_answers(server):
    pages = [r for r in table(look(server.pid, "types")) if r["type"] == "web::Page"]
    assert [(row["instances"], row["chunks"]) for row in pages] == [(server.answered,) * 2]


def test_the_variable_leads_to_a_page_by_the_nodes_of_its_table(server, a_page):
    way = table(look(server.pid, "refs", a_page, "--to-root"))
    assert (way[0]["kind"], way[0]["where"]) == ("global", "web::page_cache")
    assert way[-1]["type"] == "hash node"


@pytest.mark.slow
def test_what_is_leaked_are_the_requests_that_timed_out(server):
    (row,) = (r for r in table(look(server.pid, "leaks")) if r["degree"] != "interior")
    assert row["type"] == "web::Request"
    assert FOUND * server.timed_out <= row["heads"] <= server.timed_out
    assert FOUND * 2 * server.timed_out <= row["indirect_chunks"] <= 2 * server.timed_out


@pytest.mark.slow
def test_with_the_cure_rss_is_a_tenth(server, tmp_path):
    assert SOURCE.read_text().count(FAULT) == 1
    before = rss(server)
    with serving(built(tmp_path, SOURCE.read_text().replace(FAULT, CURE))) as cured:
        assert 10 * rss(cured) < before


def rss(server: Server) -> int:
    return int(status(server.pid, "VmRSS").split()[0])


@pytest.fixture(scope="module", name="a_page")
def its_page(server: Server) -> str:
    return page_of(server)


def page_of(server: Server) -> str:
    """Return the address of one of the server's pages."""
    chunks = look(server.pid, "chunks", "--type", "web::Page", "--limit", "1")
    return str(table(chunks)[0]["address"])


@pytest.fixture(scope="module")
def lost(server: Server) -> str:
    leaks = table(look(server.pid, "leaks"))
    return str(next(row["sample"] for row in leaks if row["heads"]))


SHOWN = shown_in(SECOND)


@pytest.mark.slow
@pytest.mark.parametrize(("_pid", "line", "shown"), SHOWN, ids=[each.line for each in SHOWN])
def test_the_page_shows_what_heapx_says_first(server, a_page, lost, _pid, line, shown):
    of = {"chunk": lost, "refs": a_page, "chunks": a_page}
    given = [of[line.split()[0]] if w.startswith("0x") else w for w in line.split()]
    said = told("-p", server.pid, *given)
    assert said.status == 0
    first = re.match(r"(?:.+\n)+", said.out)
    assert first
    begins = claims(re.split(r"…|;|\n\n", shown)[0])  # types of the same size in any order
    assert claims(first[0])[: len(begins)].strip() == begins.strip()


def claims(text: str) -> str:
    """Return a text's words; whether stale words lead to a few of the chunks, too, is chance."""
    return words(text).replace(" # all but # of it alone", " alone")


def test_the_page_shows_each_step():
    assert {each.line.partition(" ")[0] for each in SHOWN} == {
        *("", "holders", "types", "chunks", "refs", "leaks", "chunk")
    }
