"""heapx growth: who makes malloc grow, and by how much, as the program itself counts it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pexpect
import pytest
from live import (
    HEAPX,
    LOADER,
    QUIET,
    TIMEOUT,
    environment,
    eventually,
    gcore,
    heapx,
    running,
    status,
    table,
    thread_states,
    told,
)
from releases import glibc_of
from test_live_nosymbols import Elsewhere

INFERIORS = Path(__file__).parent / "inferiors"
pytestmark = pytest.mark.live

ALL = ("--max-load", "100%")  # the machine may be busy
LONG = ("--seconds", str(TIMEOUT))
SITES = ("grow_by_chunks", "grow_by_mappings", "grow_by_realloc", "use_again")


class Site(NamedTuple):
    """What a function has made malloc grow by: how often, and how many bytes in all."""

    requests: int
    bytes: int


def runs_traced(pid: int) -> bool:
    """Tell whether a process is traced, and has been let go since."""
    return status(pid, "TracerPid") != "0" and set(thread_states(pid).values()) == {"S"}


@contextlib.contextmanager
def watched(inferior, *command: Any) -> Iterator[subprocess.Popen[str]]:
    """Start what watches a process, wait until it does, and then let the process begin."""
    words = [str(word) for word in command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment(), **pipes) as process:
        try:
            inserted = f"{inferior.pid} is watched"
            eventually(lambda: process.poll() is not None or in_text(inferior), inserted)
            os.kill(inferior.pid, signal.SIGUSR1)
            yield process
        finally:
            process.kill()


def in_text(inferior) -> bool:
    """Tell whether the text of libc isn't as its file has it: breakpoints are in it."""
    return runs_traced(inferior.pid) and changed_text(inferior.pid) > 0


def changed_text(pid: int) -> int:
    """Return how many bytes of libc's text differ from its file."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    line = next(x.split() for x in lines if re.search(r" r-xp .*/libc[-.][^/]*$", x))
    start, end = (int(part, 16) for part in line[0].split("-"))
    with open(f"/proc/{pid}/mem", "rb") as memory, open(line[5], "rb") as file:
        memory.seek(start)
        file.seek(int(line[2], 16))
        ours, theirs = memory.read(end - start), file.read(end - start)
    return sum(a != b for a, b in zip(ours, theirs)) if ours != theirs else 0


def reported(inferior, *words: Any, before: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return the report of what was seen of a process until it ended, or until the words say."""
    command = (HEAPX, *before, "-p", inferior.pid, "growth", *words, "--format", "json")
    with watched(inferior, *command) as process:
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return json.loads(out)


def truth(inferior) -> dict[str, Site]:
    lines = (inferior.oracle.directory / "truth").read_text().splitlines()
    rows = (line.split() for line in lines)
    return {name: Site(int(requests), int(size)) for name, requests, size in rows}


def seen(report) -> dict[str, Site]:
    return {row["site"]: Site(row["requests"], row["bytes"]) for row in table(report)}


def that_grew(sites: dict[str, Site]) -> dict[str, Site]:
    return {name: site for name, site in sites.items() if site.bytes}


def the_same(report, inferior) -> None:
    ours = seen(report)
    assert {name: ours[name] for name in SITES if name in ours} == that_grew(truth(inferior))


@pytest.fixture(scope="module")
def sites(start_once):
    inferior = start_once("growth", "sites")
    return inferior, reported(inferior, *LONG, *ALL)


def test_requests_and_bytes_of_each_call_site_are_those_that_the_program_counts(sites):
    inferior, report = sites
    assert {*SITES[:3]} <= set(that_grew(truth(inferior)))
    the_same(report, inferior)


def test_each_request_says_what_it_needed_and_how_malloc_got_it(sites):
    _, report = sites
    rows = table(report, "growth_requests")
    assert sum(row["bytes"] for row in rows) == sum(row["bytes"] for row in table(report))
    assert len(rows) == sum(row["requests"] for row in table(report))
    sources = {row["source"] for row in rows}
    assert sources == {"extend", "new_heap", "new_arena", "mmap", "mremap"}
    sized = [row for row in rows if row["chunk_size"]]
    assert {row["source"] for row in sized} == {"extend", "new_heap", "mmap"}
    assert all(row["arena"] in (0, 1) for row in rows if row["source"] in ("extend", "new_heap"))
    assert len({row["thread"] for row in rows}) == 3


def test_what_was_free_is_less_than_the_request_needed(sites):
    rows = [row for row in table(sites[1], "growth_requests") if row["free_whole"]]
    assert rows
    assert all(row["largest_free"] < row["chunk_size"] for row in rows)
    assert all(row["largest_free"] <= row["free"] for row in rows)


def test_stacks_lead_from_main_or_a_thread_to_malloc(sites):
    stacks = table(sites[1], "growth_stacks")
    assert sum(row["bytes"] for row in stacks) == sum(row["bytes"] for row in table(sites[1]))
    ours = [row["stack"].split(";") for row in stacks if row["site"] in SITES]
    assert ours
    assert all("main" in frames or "in_an_arena" in frames for frames in ours)
    assert all(frames.index("called") < len(frames) - 2 for frames in ours)


def test_a_call_site_is_a_line_of_the_source(sites):
    text = (INFERIORS / "growth.c").read_text().splitlines()
    rows = [row for row in table(sites[1]) if row["site"] in SITES]
    assert {Path(row["source"]).name for row in rows} == {"growth.c"}
    assert all(re.search(r"= (malloc|realloc)\(", text[row["line"] - 1]) for row in rows)


def test_what_lay_free_in_each_arena_is_known(sites):
    rows = table(sites[1], "growth_free")
    assert 0 in {row["arena"] for row in rows}
    assert all(row["largest_free"] <= row["free"] for row in rows)


def test_why_what_was_free_could_not_serve_is_known_of_each_site(sites):
    rows = table(sites[1], "growth_unusable")
    asked = {row["site"]: row["requests"] for row in table(sites[1])}
    assert {row["site"] for row in rows} >= {"grow_by_chunks"}
    assert all(1 <= row["requests"] <= asked[row["site"]] for row in rows)
    needed = {row["site"]: row["largest"] for row in table(sites[1])}
    small = [row for row in rows if row["reason"] == "too small" and needed[row["site"]]]
    assert small
    assert all(row["largest"] <= row["bytes"] for row in rows)
    assert all(row["largest"] < needed[row["site"]] + 32 for row in small)  # MINSIZE is left of top


def test_it_ends_with_the_process_and_says_how_that_ended(sites):
    _, report = sites
    (row,) = table(report, "growth_run")
    assert row["ended"] == "exited"
    assert any("exit(7)" in note for note in report["notes"])
    assert row["stops"] >= 2 * len(table(report, "growth_requests"))
    assert 0 < row["stood_microseconds"] <= 1000 * row["milliseconds"]


@pytest.mark.slow
def test_no_request_is_lost_where_threads_grow_at_once(start):
    inferior = start("growth", "race", "8")
    report = reported(inferior, *LONG, *ALL)
    assert seen(report)["grow_by_chunks"].bytes == truth(inferior)["grow_by_chunks"].bytes


@pytest.mark.slow
def test_without_symbols_the_calls_for_memory_tell_the_bytes(inferiors, tmp_path):
    elsewhere = Elsewhere(tmp_path / "elsewhere", inferiors)
    exe = inferiors / "growth"
    command = (*elsewhere.command(exe), "race", "2")
    with running(exe, directory=tmp_path / "run", command=command) as inferior:
        report = reported(inferior, *LONG, *ALL)
        assert any("symbols are missing" in note for note in report["notes"])
        assert seen(report)["grow_by_chunks"].bytes == truth(inferior)["grow_by_chunks"].bytes
    assert all(row["smallest"] is None for row in table(report))


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["bullseye", "trixie", "sid", "experimental"])
def test_on_other_releases_requests_and_bytes_are_the_same(suite, tmp_path):
    glibc = glibc_of(suite)
    exe = glibc.build("growth", tmp_path)
    symbols = ("--gdb-args", " ".join(f"'{word}'" for word in glibc.symbols))
    with running(exe, "sites", directory=tmp_path / "run") as inferior:
        report = reported(inferior, *LONG, *ALL, before=symbols)
        the_same(report, inferior)


# How it ends, and what it leaves.


def as_before(pid: int) -> None:
    """Check that a process runs on, untraced, without a trace of what was done."""
    eventually(lambda: status(pid, "TracerPid") == "0", "it is let go")
    assert set(thread_states(pid).values()) == {"S"}
    assert int(status(pid, "ShdPnd"), 16) & ~(1 << signal.SIGUSR1 - 1) == 0
    assert changed_text(pid) == 0


@pytest.mark.slow
def test_it_ends_when_the_time_is_over_and_leaves_nothing_behind(start):
    inferior = start("growth", "rest")
    report = reported(inferior, "--seconds", "1", *ALL)
    assert table(report, "growth_run")[0]["ended"] == "time"
    as_before(inferior.pid)


@pytest.mark.slow
def test_it_ends_after_so_many_requests(start):
    inferior = start("growth", "race", "1")
    report = reported(inferior, *LONG, *ALL, "--stop-after", "3")
    assert table(report, "growth_run")[0]["ended"] == "count"
    assert len(table(report, "growth_requests")) == 3
    assert inferior.process.wait(TIMEOUT) == 7


@pytest.mark.slow
def test_it_ends_where_the_process_stands_still_too_often(start):
    inferior = start("growth", "sites")
    report = reported(inferior, *LONG, "--max-load", "1%")
    assert table(report, "growth_run")[0]["ended"] == "load"
    assert inferior.process.wait(TIMEOUT) == 7


def test_ctrl_c_ends_it_with_an_answer(start):
    inferior = start("growth", "rest")
    with watched(inferior, HEAPX, "-p", inferior.pid, "growth", *LONG, *ALL) as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "ended by Ctrl-C" in out
    as_before(inferior.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_signal_that_ends_heapx_has_an_answer_too(number, start):
    inferior = start("growth", "rest")
    with watched(inferior, HEAPX, "-p", inferior.pid, "growth", *LONG, *ALL) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + number
    assert "malloc got" in out
    assert "by a signal to heapx" in out
    assert f"ended by {number.name}" in err
    as_before(inferior.pid)


@pytest.mark.slow
def test_where_the_terminal_is_closed_the_process_runs_on(start):
    inferior = start("growth", "rest")
    with watched(inferior, HEAPX, "-p", inferior.pid, "growth", *LONG, *ALL) as process:
        process.stdout.close()
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(TIMEOUT) == 128 + signal.SIGHUP
    as_before(inferior.pid)


# What processes do, and may.


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["vfork", "filtered"])
def test_a_process_with_vforks_or_a_filter_is_watched_to_its_end(mode, start):
    inferior = start("growth", mode)
    report = reported(inferior, *LONG, *ALL)
    assert inferior.process.wait(TIMEOUT) == 7
    assert seen(report)["grow_by_chunks"] == truth(inferior)["grow_by_chunks"]


@pytest.mark.slow
def test_another_program_runs_as_if_nothing_had_been(start):
    inferior = start("growth", "exec")
    report = reported(inferior, *LONG, *ALL)
    assert table(report, "growth_run")[0]["ended"] == "exec"
    assert seen(report)["grow_by_chunks"].requests == 1
    as_before(inferior.pid)
    assert os.readlink(f"/proc/{inferior.pid}/exe").endswith("sleep")


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes root")
def test_who_may_not_trace_is_told_so_and_nothing_else(start):
    inferior = start("growth", "rest")
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    words = (*other, str(HEAPX), "-p", str(inferior.pid), "growth", "--seconds", "1")
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout) == (3, "")
    assert "not permitted" in done.stderr
    assert "will set" not in done.stderr


# In gdb.

SETTINGS = (
    *("info breakpoints", "info signals", "info display", "show scheduler-locking"),
    *("show detach-on-fork", "show auto-solib-add", "show confirm", "show print thread-events"),
)


@pytest.mark.slow
def test_in_gdb_the_settings_are_afterwards_as_before(start, tmp_path):
    inferior = start("growth", "rest")
    own = ("break mmap", "handle SIGUSR2 stop print nopass", "handle SIGPROF nostop noprint pass")
    lines = (*own, *(f"pipe {line} | cat >>{tmp_path}/before" for line in SETTINGS))
    lines += (f"heapx growth --seconds 1 --format json --output {tmp_path}/report",)
    lines += tuple(f"pipe {line} | cat >>{tmp_path}/after" for line in SETTINGS)
    words = [word for line in (f"source {LOADER}", *lines) for word in ("-ex", line)]
    command = ("gdb", "-nx", "-q", "-batch", *QUIET, "-p", inferior.pid, *words)
    with watched(inferior, *command) as process:
        out, err = process.communicate(timeout=TIMEOUT)
    assert "will set breakpoints" in err
    assert "SIGSTOP" not in out
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    report = json.loads((tmp_path / "report").read_text())
    assert table(report, "growth_run")[0]["ended"] == "time"
    as_before(inferior.pid)


# What is refused, before anything is touched.


def test_it_says_before_what_it_will_do(start):
    inferior = start("growth", "rest")
    result = heapx("-p", inferior.pid, "growth", "--seconds", "0.1")
    said = " ".join(result.err.split())
    assert f"will set breakpoints in malloc's code in process {inferior.pid}" in said
    assert "20 % of the time" in said
    assert "the system it stands still." in said
    assert max(map(len, result.err.splitlines())) < 80


@pytest.mark.slow
def test_what_it_says_before_is_as_wide_as_the_terminal(start):
    inferior = start("growth", "rest")
    words = ["-p", str(inferior.pid), "growth", "--seconds", "0.1"]
    options = {"env": environment(), "timeout": TIMEOUT, "encoding": "utf-8"}
    with pexpect.spawn(str(HEAPX), words, dimensions=(50, 60), **options) as typed:
        typed.expect(pexpect.EOF)
    said, *_ = typed.before.partition("growth: none")
    lines = [line.rpartition("\r")[2] for line in said.split("\r\n")]
    assert "heapx: will set breakpoints" in said
    assert 50 < max(map(len, lines)) <= 60


def test_a_core_is_refused(start, tmp_path):
    core = gcore(start("growth", "rest").pid, tmp_path / "core")
    result = told("--core", core, "growth", "--seconds", "1")
    assert (result.status, result.out) == (3, "")
    assert "a core doesn't grow" in result.err
    assert "will set" not in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("growth",), "--seconds"),
        (("growth", "--seconds", "1", "--max-load", "0"), "no share in percent"),
        (("growth", "--seconds", "1", "--max-pause", "1"), "--max-load"),
        (("arenas", "--format", "folded"), "no stacks"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_process_is_touched(words, said, start):
    result = told("-p", start("growth", "rest").pid, *words)
    assert (result.status, result.out) == (2, "")
    assert said in result.err


@pytest.mark.slow
@pytest.mark.parametrize("stripped", [False, True])
def test_a_static_program_is_watched_by_its_symbols_and_refused_without(stripped, tmp_path):
    source = Path(__file__).parent / "inferiors" / "growth.c"
    exe = tmp_path / "growth"
    flags = ("-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-fno-builtin", "-static")
    more = ("-s",) if stripped else ()
    if subprocess.run(["cc", *flags, *more, source, "-o", exe], capture_output=True).returncode:
        pytest.skip("no static libc here")
    with running(exe, "sites", directory=tmp_path / "run") as inferior:
        if stripped:
            result = heapx("-p", inferior.pid, "growth", "--seconds", "1")
            assert result.status == 3
            assert "static program" in result.err
            assert "will set" not in result.err
            return
        words = (HEAPX, "-p", inferior.pid, "growth", *LONG, *ALL, "--format", "json")
        with subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, text=True) as heap:
            eventually(lambda: runs_traced(inferior.pid), "it is watched", 20)
            out = _begun(inferior, heap)
        the_same(json.loads(out), inferior)


def _begun(inferior, process) -> str:
    os.kill(inferior.pid, signal.SIGUSR1)
    return process.communicate(timeout=TIMEOUT)[0]


@pytest.mark.slow
def test_folded_stacks_add_up_to_what_grew(start):
    inferior = start("growth", "race", "2")
    command = (HEAPX, "-p", inferior.pid, "growth", *LONG, *ALL, "--format", "folded")
    with watched(inferior, *command) as process:
        out, _ = process.communicate(timeout=TIMEOUT)
    rows = [line.rpartition(" ") for line in out.splitlines()]
    ours = sum(int(size) for stack, _, size in rows if ";grow_by_chunks;" in stack)
    assert ours == truth(inferior)["grow_by_chunks"].bytes
