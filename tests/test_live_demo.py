"""The first case of docs/explaining-rss.md comes true: where the memory is, why a request isn't
served from it, who makes the heap grow, and what helps.

The kernel knows how large [heap] and RSS are; the server says what it has exported.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demos import FIRST, MB, Server, demo_program, serving, shown_in, words
from live import HEAPX, TIMEOUT, environment, eventually, look, status, table, told

pytestmark = pytest.mark.live

STORY = FIRST.split("\n## The cure")[0]
SHOWN = shown_in(STORY)
SOURCE = Path(__file__).parent.parent / "scripts" / "demo_server.c"
PAGE_OF_EXPORT = 96 << 10
OVERHEAD = 16  # of a chunk
REQUEST = f"fit {PAGE_OF_EXPORT} --thread"
ALONE = next(
    each.pid for each in SHOWN if each.line.startswith("growth") and "nothing" in each.said
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_program(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def server(program: Path) -> Iterator[Server]:
    with serving(program) as started:
        yield started


def heap_size(pid: int) -> int:
    """Return the size of [heap], in bytes."""
    (line,) = (
        x for x in Path(f"/proc/{pid}/maps").read_text().splitlines() if x.endswith("[heap]")
    )
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    return end - start


def rss(pid: int) -> int:
    return int(status(pid, "VmRSS")) << 10


def exported(server: Server) -> int:
    """Have the server export, and return by how many bytes."""
    os.kill(server.pid, signal.SIGUSR1)
    pages = re.fullmatch(r"exported (\d+) pages of (\d+) bytes\n", next(server.lines))
    assert pages
    return int(pages[1]) * int(pages[2])


def watched(server: Server, *form: str) -> subprocess.CompletedProcess[str]:
    """Return what heapx growth says while the server exports."""
    command = [HEAPX, "-p", str(server.pid), "growth", "--seconds", "3", "--max-load", "100", *form]
    env = environment(COLUMNS="80")
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: status(server.pid, "TracerPid") != "0", "heapx watches")
        eventually(lambda: status(server.pid, "State") != "t", "the server runs on")
        exported(server)
        out, err = process.communicate(timeout=TIMEOUT)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def fit(server: Server) -> dict[str, Any]:
    return look(server.pid, *REQUEST.split(), str(server.pid))


def test_most_of_it_is_free_in_the_arenas_of_others(server):
    """As malloc counts it: the next test has the kernel's word."""
    report = fit(server)
    unusable = {row["reason"]: row["bytes"] for row in table(report, "fit_unusable")}
    arenas = table(look(server.pid, "arenas"))
    others = sum(row["binned"] + row["fast"] + row["top"] for row in arenas if row["arena"])
    assert unusable["other arenas"] == others
    assert others > MB / 2 * (1 << 20)


@pytest.mark.slow
def test_an_export_grows_by_what_it_needs_although_that_much_is_free(server):
    before, free = rss(server.pid), look(server.pid, "arenas")
    size = exported(server)
    assert size * 0.9 < rss(server.pid) - before < size * 1.1
    assert [row for row in table(look(server.pid, "arenas")) if row["arena"]] == [
        row for row in table(free) if row["arena"]
    ]


@pytest.mark.slow
def test_growth_names_the_line_that_asks_and_counts_what_brk_gave(server):
    before = heap_size(server.pid)
    report = json.loads(watched(server, "--format", "json").stdout)
    (site,) = table(report)
    line = SOURCE.read_text().splitlines()[site["line"] - 1]
    assert (site["site"], line.strip()) == (
        "export_page",
        "struct block *page = malloc(EXPORT_PAGE);",
    )
    assert site["bytes"] == heap_size(server.pid) - before > 0
    assert (site["smallest"], site["largest"]) == (PAGE_OF_EXPORT + OVERHEAD,) * 2
    assert f"{site['site']}  {site['at']}" in STORY


@pytest.mark.slow
def test_with_one_arena_it_is_served_from_what_is_free_and_nothing_grows(program):
    with serving(program, MALLOC_ARENA_MAX="1") as one:
        (row,) = table(fit(one))
        assert row["source"] in ("large", "unsorted")  # which piece fits best is chance
        assert row["grows"] == 0
        before, heap = rss(one.pid), heap_size(one.pid)
        size = exported(one)
        assert rss(one.pid) - before < size / 10
        assert heap_size(one.pid) == heap
        assert table(json.loads(watched(one, "--format", "json").stdout)) == []


# What the page shows.


def beginning(text: str) -> str:
    """Return the first two lines: what it is about, the names of columns. Whether what serves a
    request leaves a remainder is chance.
    """
    return words("\n".join(text.splitlines()[:2])).strip().replace(" remainder ", " ")


def said(server: Server, line: str) -> str:
    if line.startswith("growth"):
        return watched(server).stdout
    given = re.sub(r"(?<=--thread )\d+", str(server.pid), line).split()
    answer = told("-p", server.pid, *given)
    assert answer.status == 0
    return answer.out


# Up to trim --now, which test_live_why calls.
OF_SERVER = SHOWN[: next(n for n, each in enumerate(SHOWN) if "--now" in each.line)]


@pytest.mark.few(2)
@pytest.mark.parametrize("shown", OF_SERVER, ids=[f"{each.pid} {each.line}" for each in OF_SERVER])
def test_the_page_shows_what_heapx_says(server, program, shown):
    if shown.pid == ALONE:
        with serving(program, MALLOC_ARENA_MAX="1") as one:
            assert beginning(said(one, shown.line)).startswith(beginning(shown.said.split("…")[0]))
        return
    assert beginning(said(server, shown.line)) == beginning(shown.said)


def test_the_page_goes_from_the_symptom_to_the_call_site():
    steps = [each.line.partition(" ")[0] for each in SHOWN]
    assert [step for step in ("", "why", "pins", "fit", "growth") if step in steps] == [
        step for step in dict.fromkeys(steps) if step in ("", "why", "pins", "fit", "growth")
    ]


def test_the_figures_on_the_page_agree():
    before, after = re.search(r"RSS was ([\d,]+) bytes and is ([\d,]+)\.", STORY).groups()
    returned = re.search(r"would return ([\d,]+) bytes of RAM", STORY)[1]
    assert number(before) - number(after) == number(returned)
    for table_of in re.findall(r"fit unusable,.*\n.*\n((?:.+\n)+?)-+\ntotal +([\d,]+)", STORY):
        chunks = [re.split(r"  +", row)[1] for row in table_of[0].splitlines()]
        assert sum(map(number, chunks)) == number(table_of[1])
    grown = re.search(r"malloc got ([\d.]+) MiB from the system, by (\d+) requests", STORY)
    site = re.search(r"^export_page +\S+ +(\d+) +([\d,.]+) ", STORY, re.M)
    assert (grown[2], grown[1]) == (site[1], f"{number(site[2]) / 1024:.1f}")


def number(text: str) -> float:
    return float(text.replace(",", ""))
