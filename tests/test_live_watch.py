"""heapx watch: looks at fixed times, what they cost, and the comparison, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess

import pexpect
import pytest
from changing import changing, compared
from live import HEAPX, TIMEOUT, at_rest, environment, eventually, heapx, run, session

from gdb_heapx.saved.saved import read_saved
from gdb_heapx.shell.looks import BLOCKS, PLAIN, LookRow, heading, line, room, sparkline

pytestmark = pytest.mark.live

STEPS = ("grow,1,20000,2064", "free,1")
HELD = 20_000 * 2064 + 32


@contextlib.contextmanager
def watching(process, *options, **env):
    """Run heapx watch, and return it: its lines come through a pipe."""
    words = [str(HEAPX), "watch", "-p", str(process.pid), "--every", "0.2s", *map(str, options)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment(**env), text=True, **pipes) as watch:
        try:
            yield watch
        finally:
            watch.kill()


@pytest.fixture
def gate(tmp_path):
    """Return the file without which gdb, as its variable names it, doesn't look a second time."""
    gate, looked, program = (tmp_path / name for name in ("open", "looked", "gdb"))
    wait = f"[ ! -e {looked} ] || until [ -e {gate} ]; do sleep 0.02; done"
    program.write_text(f'#!/bin/sh\n{wait}\n: >{looked}\nexec gdb "$@"\n')
    program.chmod(0o755)
    return gate


def gated(gate):
    return {"HEAPX_GDB": str(gate.with_name("gdb"))}


def rest_of(watch):
    """Return the exit status, and what is still written to both streams."""
    out, err = watch.communicate(timeout=TIMEOUT)
    return watch.returncode, out, err


def let_go(process):
    """Wait until the process runs on, with no tracer."""
    eventually(lambda: at_rest(process.pid), "it runs on")


def test_a_line_comes_for_each_look_at_once_and_the_comparison_is_the_last(start, tmp_path, gate):
    process, kept = changing(start, *STEPS), tmp_path / "looks"
    options = ("--count", 2, "--format", "json", "--save", kept)
    with watching(process, *options, **gated(gate)) as watch:
        first = json.loads(watch.stdout.readline())
        process.step()
        gate.touch()
        status, out, err = rest_of(watch)
    assert status == 0, err
    second, last = map(json.loads, out.splitlines())
    assert second["in_use"] - first["in_use"] == HELD
    tables = {t["name"]: t for t in last["comparison"]["tables"]}
    assert tables["compare_arenas"]["total"]["in_use_change"] == HELD
    files = sorted(kept.iterdir())
    assert [row["file"] for row in (first, second)] == list(map(str, files))
    assert all(re.fullmatch(rf"[\dT.]+Z-{process.pid}\.json\.gz", f.name) for f in files)
    looks = [read_saved(f) for f in files]
    assert [look.snapshot.target.pid for look in looks] == [process.pid] * 2
    assert all(look.taken.brief for look in looks)
    assert compared(*files).equation.whole.change == second["rss"] - first["rss"]
    let_go(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_ends_it_with_the_comparison_and_the_process_runs_on(start, gate, number):
    process = changing(start, *STEPS)
    with watching(process, **gated(gate)) as watch:
        lines = [watch.stdout.readline() for _ in range(2)]  # the heading, and a look
        process.step()
        gate.touch()
        lines.append(watch.stdout.readline())
        watch.send_signal(number)
        status, out, err = rest_of(watch)
    assert status == 128 + number
    assert "time UTC" in lines[0]
    assert f"In use grew by {HELD / 1048576:.1f} MiB" in out
    assert "the process stood still for" in out
    assert {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}[number] in err
    let_go(process)


@pytest.mark.slow
def test_where_the_process_ends_it_says_when_and_compares_what_it_has(start, gate):
    process = changing(start, *STEPS)
    with watching(process, **gated(gate)) as watch:
        watch.stdout.readline(), watch.stdout.readline()
        process.step()
        gate.touch()
        watch.stdout.readline()
        process.inferior.process.kill()
        process.inferior.process.wait()
        status, out, err = rest_of(watch)
    assert status == 3
    assert re.search(rf"process {process.pid} was gone at \d\d:\d\d:\d\d UTC", err)
    assert f"In use grew by {HELD / 1048576:.1f} MiB" in out


@pytest.mark.slow
def test_csv_has_rows_only_and_the_end_is_told_beside_it(start):
    process = changing(start, *STEPS)
    with watching(process, "--count", 1, "--format", "csv") as watch:
        status, out, err = rest_of(watch)
    head, row = out.splitlines()
    assert (status, head.split(",")[:3]) == (0, ["time", "rss", "in_use"])
    assert len(row.split(",")) == len(head.split(","))
    assert "For 1 look the process stood still for" in err


def test_a_process_that_isn_t_there_is_an_error_and_so_is_no_process(start):
    assert heapx("watch", "-p", 1 << 30).status == 3
    result = heapx("watch", "--every", "1s")
    assert (result.status, result.out) == (2, "")
    assert "heapx watch needs a process: -p PID" in result.err
    result = heapx("watch", "-p", os.getpid(), "--every", "soon")
    assert "'soon' is no time, such as 30s, 5m or 1h" in result.err


def test_in_gdb_it_says_where_it_is():
    result = session("heapx watch")
    assert "heapx watch is for a shell" in result.err
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_full_looks_have_what_save_keeps_and_compare_types(start, tmp_path):
    process, kept = changing(start, *STEPS), tmp_path / "looks"
    with watching(process, "--count", 2, "--save", kept, "--full") as watch:
        watch.stdout.readline(), watch.stdout.readline()
        process.step()
        status, _, err = rest_of(watch)
    assert status == 0, err
    looks = [read_saved(file) for file in sorted(kept.iterdir())]
    assert all("types" in look.tables and not look.taken.brief for look in looks)
    assert all(a.strips for look in looks for a in look.snapshot.arenas())


@pytest.mark.slow
def test_a_look_that_fails_is_told_and_the_next_one_is_taken(start, tmp_path):
    """Meanwhile another debugger has the process."""
    process = changing(start, *STEPS)
    with watching(process, "--count", 3) as watch:
        watch.stdout.readline(), watch.stdout.readline()
        code = f"python import time; open({str(tmp_path / 'on')!r}, 'w'); time.sleep(2)"
        run(("gdb", "-nx", "-batch", "-p", process.pid, "-ex", code))
        status, out, err = rest_of(watch)
    assert status == 0
    assert ("no look at" in err) == ("1 look failed" in out or "looks failed" in out)
    let_go(process)


@pytest.mark.slow
def test_on_a_terminal_it_draws_how_rss_went(start):
    process = changing(start, *STEPS)
    words = ["watch", "-p", str(process.pid), "--every", "0.2s"]
    env = environment(TERM="xterm", COLUMNS="100", LC_ALL="C.UTF-8")
    child = pexpect.spawn(
        str(HEAPX), words, env=env, timeout=TIMEOUT, encoding="utf-8", dimensions=(50, 100)
    )
    with contextlib.closing(child):  # which ends it, whatever it does
        child.expect("RSS so far")
        child.expect(BLOCKS[0])
        process.step()  # between any two looks, or while one is taken
        child.expect(f"{BLOCKS[0]}[{BLOCKS}]*{BLOCKS[-1]}")
        child.sendintr()
        child.expect(pexpect.EOF)
    assert child.exitstatus == 130


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_look_is_as_wide_as_its_heading_and_the_terminal(width):
    cells, size = room(width), 1023 << 20
    row = LookRow("2026-11-27T13:06:00Z", size, size, size, size, size, size, 9999, None)
    shown = heading(cells), line(row, [size] * 200, cells, PLAIN)
    assert [len(each) for each in shown] == [width] * 2
    assert shown[1].count("1023 MiB") == 5


def test_a_sparkline_goes_from_the_lowest_to_the_highest():
    assert sparkline([0, 7, 14], BLOCKS) == "▁▄█"
    assert sparkline([5, 5], BLOCKS) == "▁▁"
    assert sparkline([], BLOCKS) == ""
    assert sparkline([1, 2], PLAIN) == "_#"
    assert PLAIN.isascii()
    assert len(PLAIN) == len(BLOCKS)
