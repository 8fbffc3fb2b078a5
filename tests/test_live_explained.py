"""The rest of docs/explaining-rss.md comes true: what the first server says itself, what settings
and cures do, and each figure of the second case as its commands run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from alike import differences
from demos import FIRST, SECOND, serving
from live import ROOT, environment, heapx, look, run, status, table
from telling import as_on_the_page, said_by, steps_of
from test_live_demo_cache import CURE, FAULT, SOURCE, built, page_of
from test_live_demo_cache import Server as Cache
from test_live_explaining import MB, pytestmark

__all__ = ["pytestmark"]

DEMO = (ROOT / "scripts" / "demo_server.c").read_text()
ALL_ANSWERED = "    while (atomic_load(&backlog))\n        usleep(10000);\n"
SESSION = "allocate(48 + draw(self, 153));"
FREED = "            free(session);\n"


class Ran(NamedTuple):
    """What the first server has said of itself when all was answered: the table of mallinfo, and
    the RSS at the peak and then, in MiB.
    """

    told: str
    peak: float
    after: float


def ran(program: Path, *words: str, **env: str) -> Ran:
    with subprocess.Popen(
        [*words, program, str(MB)], stdout=subprocess.PIPE, text=True, env=environment(**env)
    ) as process:
        try:
            assert process.stdout is not None
            lines = list(iter(process.stdout.readline, f"ready {process.pid}\n"))
        finally:
            process.kill()
    peak, after = (int(kib) / 1024 for kib in re.findall(r"\d+", lines[-1]))
    return Ran("".join(lines[1:]), peak, after)


def compiled(directory: Path, source: str) -> Path:
    (directory / "server.c").write_text(source)
    words = ("cc", "-std=c11", "-O1", "-g", "-pthread", "-o", directory / "server")
    subprocess.run([*words, directory / "server.c"], check=True)
    return directory / "server"


@pytest.fixture(scope="module")
def as_it_is(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("as_it_is"), DEMO)


@pytest.fixture(scope="module")
def trimming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server with the page's cure."""
    assert "malloc_trim(0); /* <malloc.h> */" in FIRST
    return compiled(tmp_path_factory.mktemp("trimming"), changed(ALL_ANSWERED, "malloc_trim(0);"))


def changed(behind: str, more: str) -> str:
    """Return the server's source with a line more behind some text."""
    assert DEMO.count(behind) == 1
    return DEMO.replace(behind, f"{behind}    {more}\n")


def test_the_server_s_own_table_is_seen_again(as_it_is):
    (shown,) = re.findall(r"^```text\n( +at the peak.*?)^```", FIRST, re.M | re.S)
    assert differences(unwrapped(shown), unwrapped(ran(as_it_is).told)) == []


def unwrapped(text: str) -> str:
    """Return a text with what its negative figures were before they wrapped."""
    return re.sub(r"-\d+", lambda m: str(int(m[0]) % 2**32), text)


def test_the_kernel_s_limit_of_an_int_explains_the_table_s_negative_figures():
    figures = re.findall(r"^(arena|uordblks|fordblks) .*?(-?\d+) +(-?\d+)$", FIRST, re.M)
    of = {name: (int(peak), int(now)) for name, peak, now in figures}
    for when in (0, 1):
        whole, used, free = (of[name][when] % 2**32 for name in ("arena", "uordblks", "fordblks"))
        assert whole == used + free


def test_valgrind_finds_nothing_with_less_load(as_it_is):
    if not shutil.which("valgrind"):
        pytest.skip("needs valgrind")
    command = ["valgrind", "--leak-check=full", as_it_is, "8"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("ready ") for line in process.stdout)
        process.terminate()
        said = process.communicate()[1]
    (shown,) = re.findall(r"^==\d+== (All .*)$", FIRST, re.M)
    assert shown in said


# What settings do.

SETTINGS = re.findall(r"^\| (.+?) \| ([\d,]+) \| ([\d,]+) \| [\d.]+ s \|$", FIRST, re.M)


@pytest.mark.parametrize(("setting", "peak", "after"), SETTINGS, ids=[s for s, _, _ in SETTINGS])
def test_what_a_setting_does_is_seen_again(setting, peak, after, as_it_is, trimming):
    cured = "malloc_trim" in setting or setting.startswith("the same")
    env = dict(pair.split("=", 1) for pair in re.findall(r"[A-Z_]{9,}=[^ `]+", setting))
    if not env and "tcache_count" in setting:
        env = {"GLIBC_TUNABLES": re.findall(r"glibc\.\S+=\d+", setting)[0]}
    found = ran(trimming if cured else as_it_is, **env)
    shown = f"peak {peak} MiB, after {after} MiB"
    assert differences(shown, f"peak {found.peak:,.0f} MiB, after {found.after:,.0f} MiB") == []


def test_with_the_sessions_elsewhere_less_stays(tmp_path):
    pool = "(void *)(pool + 256 * atomic_fetch_add(&opened, 1));"
    source = DEMO.replace(SESSION, pool).replace(FREED, "")
    static = "static char pool[64 << 20];\nstatic atomic_size_t opened;\n\nstatic size_t peak;"
    (most,) = re.findall(r"RSS was [\d,]+ to ([\d,]+) MiB in\s+six runs", FIRST)
    after = ran(compiled(tmp_path, source.replace("static size_t peak;", static))).after
    assert after < 1.2 * number(most)  # how much less is chance: how the threads take turns


def number(text: str) -> float:
    return float(text.replace(",", ""))


# The second case.

STEPS = steps_of(SECOND)
(PID,) = set(re.findall(r"(?<=-p )\d+", " ".join(step.command for step in STEPS)))
(SENT,) = re.findall(r"&& /tmp/demo_cache (\d+)$", SECOND, re.M)


@contextmanager
def sending(program: Path) -> Iterator[tuple[Cache, str]]:
    """Start the server, and return it with what it says."""
    with subprocess.Popen([program, SENT], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert process.stdout.readline() == f"ready {process.pid}\n"
            answered, timed_out = map(int, re.findall(r"\d+", said))
            yield Cache(process.pid, answered, timed_out), said
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cache, str]]:
    program = built(tmp_path_factory.mktemp("cache"), SOURCE.read_text())
    with sending(program) as started:
        yield started


def test_each_figure_of_the_second_case_is_seen_again(cache):
    server, said = cache
    lost = next(r["sample"] for r in table(look(server.pid, "leaks")) if r["heads"])
    page, live = page_of(server), {PID: str(server.pid)}
    found = differences(re.search(r"^\d+ requests .*$", SECOND, re.M)[0], said)
    for command, shown in STEPS:
        addresses = re.findall("0x[0-9a-f]+", command)
        live.update(dict.fromkeys(addresses, lost if " chunk " in command else page))
        answer = as_on_the_page(said_by(command, live), PID, server.pid)
        found += [f"{command}: {each}" for each in differences(shown, answer)]
    assert not found, "\n".join(found)


def test_gdb_counts_as_on_the_page(cache):
    server, _ = cache
    (block,) = re.findall(r"^```text\n(\(gdb\) .*?)^```", SECOND, re.M | re.S)
    for line, shown in re.findall(r"^\(gdb\) (.*)\n\$\d+ = (\d+)$", block, re.M):
        said = run(["gdb", "-nx", "-p", server.pid, "-batch", "-ex", line]).out
        assert differences(shown, re.findall(r"^\$1 = (\d+)$", said, re.M)[0]) == []


def test_valgrind_finds_what_is_lost_and_not_the_cache(cache, tmp_path):
    if not shutil.which("valgrind"):
        pytest.skip("needs valgrind")
    program = built(tmp_path, SOURCE.read_text())
    with subprocess.Popen(
        ["valgrind", "--leak-check=full", program, "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        timed_out = int(re.findall(r"(\d+) timed out", process.stdout.readline())[0])
        process.stdout.readline()
        process.terminate()
        said = process.communicate()[1]
    summary = r"^==\d+== +((?:definitely|indirectly|possibly) lost|still reachable): (.*)$"
    shown, found = (dict(re.findall(summary, text, re.M)) for text in (SECOND, said))
    lost = [some.pop("definitely lost") for some in (shown, found)]
    (all_shown, shown_blocks), (all_lost, lost_blocks) = (
        map(number, re.findall(r"[\d,]+", text)) for text in lost
    )
    assert lost_blocks == timed_out  # how many do is chance
    assert all_lost / lost_blocks == all_shown / shown_blocks
    below = [
        number(re.findall(r"[\d,]+", some.pop("indirectly lost"))[1]) for some in (shown, found)
    ]
    assert below[1] / lost_blocks == below[0] / shown_blocks
    assert found == shown


OWNED = "auto request = std::make_unique<Request>();"
WITH_OWNERS = {
    "auto request = new Request;": OWNED,
    "if (draw(state, 100))\n        delete request;\n    else\n": "if (!draw(state, 100))\n",
}
ROW = r"^\| ([a`].*?) \| ([\d,]+) \| ([\d.]+ MiB) \| (\S+(?: KiB)?) \|$"
CURES = re.findall(ROW, SECOND, re.M)


@pytest.mark.parametrize(("cure", "rss", "in_use", "leaked"), CURES, ids=[c for c, *_ in CURES])
def test_what_a_cure_gives_is_seen_again(cure, rss, in_use, leaked, tmp_path):
    source = SOURCE.read_text()
    if cure != "as it was":
        source = source.replace(FAULT, CURE)
    if "unique_ptr" in cure:
        for old, new in WITH_OWNERS.items():
            assert source.count(old) == 1
            source = source.replace(old, new)
    with sending(built(tmp_path, source)) as (server, _):
        report = look(server.pid, "leaks")
        degrees = {row["degree"]: row["bytes"] for row in table(report, "degrees")}
        lost = (degrees["leaked"] + degrees["indirect"]) / 1024
        used = sum(degrees.values()) / (1 << 20)
        said = f"{status(server.pid, 'VmRSS').split()[0]} and {used:.1f} MiB and {lost:.1f} KiB"
    shown_lost = leaked if "KiB" in leaked else f"{leaked} KiB"
    assert differences(f"{rss.replace(',', '')} and {in_use} and {shown_lost}", said) == []


# When the answer is another: what the page says of these programs, each of a few lines.

OTHER = FIRST.split("\n## When the answer is another")[1]
PROGRAM = """#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
%s
    printf("ready %%d\\n", getpid());
    fflush(stdout);
    pause();
}
"""
LOW = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=2048"}
BLOCKS = "for (int i = 0; i < 60000; i++) memset(malloc(2100), 1, 2100);"
MAPPED = "mmap(NULL, 400 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)"
# By the beginning of the page's sum: what the program does, and in which environment.
OTHERS = {
    "RSS 417.5 MiB": ("for (int i = 0; i < 1 << 20; i++) memset(malloc(400), 1, 400);", {}),
    "RSS 235.8 MiB": (BLOCKS, LOW),
    "RSS 401.5 MiB": (f"memset({MAPPED}, 1, 400 << 20);", {}),
    "RSS 41.2 MiB": ("memset(sbrk(40 << 20), 1, 40 << 20); malloc(1);", {}),
}
SUM = re.compile(r"^RSS [\d.]+ [KMG]iB = .*?\nMost [^:.]*", re.M | re.S)


@contextmanager
def pausing(directory: Path, body: str, **env: str) -> Iterator[int]:
    """Start a program that does this, and return its id when it has."""
    (directory / "other.c").write_text(PROGRAM % body)
    words = ("cc", "-O1", "-fno-builtin", "-o", directory / "other", directory / "other.c")
    subprocess.run(words, check=True)
    with subprocess.Popen(
        [directory / "other"], stdout=subprocess.PIPE, text=True, env=environment(**env)
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"ready {process.pid}\n"
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("begin", OTHERS)
def test_the_sum_of_another_answer_is_seen_again(begin, tmp_path):
    body, env = OTHERS[begin]
    shown = next(found[0] for found in SUM.finditer(OTHER) if found[0].startswith(begin))
    with pausing(tmp_path, body, **env) as pid:
        said = SUM.search(heapx("-p", pid, env=environment(COLUMNS="80")).out)
    assert said
    assert differences(coarse(shown), coarse(said[0])) == []


def coarse(text: str) -> str:
    """Return a text without parts of KiB: what a program's first printf and its libraries take."""
    return re.sub(r"\s+", " ", re.sub(r"[\d.]+ (KiB|B)\b|\b\d\.\d MiB\b", "little", text))


def mib(pid: int) -> float:
    return int(status(pid, "VmRSS")) / 1024


def test_without_the_low_threshold_it_has_less(tmp_path):
    (shown,) = re.findall(r"Without it RSS was ([\d.]+) MiB", OTHER)
    with pausing(tmp_path, BLOCKS) as pid:
        assert differences(f"{shown} MiB", f"{mib(pid):.1f} MiB") == []


def test_one_chunk_in_a_tcache_keeps_all_below_it(tmp_path):
    (body,) = re.findall(r"^```c\n(mallopt.*?)^```", FIRST, re.M | re.S)
    shown = re.search(r"Its RSS is ([\d.]+) MiB: .* With\s+`tcache_count=0` it is ([\d.]+)", FIRST)
    assert shown
    for figure, count in zip(shown.groups(), (7, 0)):
        env = {"GLIBC_TUNABLES": f"glibc.malloc.tcache_count={count}"}
        with pausing(tmp_path, body, **env) as pid:
            assert differences(f"{figure} MiB", f"{mib(pid):.1f} MiB") == []


def test_with_one_arena_an_export_takes_nothing(as_it_is):
    before, after = re.findall(r"was ([\d,]+) KiB before the export, and ([\d,]+) after", FIRST)[0]
    with serving(as_it_is, MB, MALLOC_ARENA_MAX="1") as server:
        said = [f"{status(server.pid, 'VmRSS')} KiB"]
        os.kill(server.pid, signal.SIGUSR1)
        assert next(server.lines).startswith("exported ")
        said.append(f"{status(server.pid, 'VmRSS')} KiB")
    assert differences(f"{before} KiB {after} KiB", " ".join(said)) == []
    assert abs(number(after) - number(before)) < 0.001 * number(before)
