"""Long work shows itself, and can be stopped: by Ctrl-C, at gdb's prompt and in a shell, or by the
clock.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time

import pexpect
import pytest
from live import (
    HEAPX,
    LOADER,
    QUIET,
    TIMEOUT,
    at_rest,
    environment,
    eventually,
    gcore,
    heapx,
    status,
    told,
)

pytestmark = pytest.mark.live

# Each read takes a while, so that reading is long on any machine.
SLOW = (
    "python import os, time; real_read = os.pread; "
    "os.pread = lambda *words: (time.sleep(0.0007), real_read(*words))[1]"
)
SLOWLY = ("--gdb-args", f"-ex '{SLOW}'")
COPIES_SLOWLY = (
    "--gdb-args",
    f"-ex '{SLOW.replace('pread', 'preadv').replace('0.0007', '0.02')}'",
)


def telling(slow, file):
    """Return options by which slow reads are told in a file, a byte each."""
    option, line = slow
    opened = line.replace("real_read = ", f'told = open("{file}", "ab", 0); real_read = ')
    return option, opened.replace("(time.sleep", '(told.write(b".") and time.sleep')


def reads(file, count):
    """Return what waits until so many reads were told."""
    return lambda: eventually(lambda: file.exists() and file.stat().st_size >= count, "it reads")


LONG = re.compile(r"(following lists|reading heaps)")
ERASED = "\r\x1b[K"


@pytest.fixture(scope="module")
def arenas(start_once):
    """Start a process of nine arenas."""
    return start_once("arenas", "7")


@contextlib.contextmanager
def at_the_prompt(inferior):
    """Yield a gdb on a terminal that is attached, and reads slowly."""
    settings = ("set pagination off", "set width 200", SLOW, f"source {LOADER}")
    words = [word for line in settings for word in ("-ex", line)]
    command = ["-nx", "-q", *QUIET, *words, "-p", str(inferior.pid)]
    options = {"env": environment(), "timeout": TIMEOUT, "encoding": "utf8"}
    with pexpect.spawn("gdb", command, **options) as typed:
        typed.expect_exact("(gdb) ")
        yield typed
        typed.sendline("detach")
        typed.sendline("quit")
        typed.expect(pexpect.EOF)
    eventually(lambda: at_rest(inferior.pid), "it runs on")


def answer(typed, line, then=lambda: None):
    """Return what a line prints, after something else was done meanwhile."""
    typed.sendline(line)
    then()
    typed.expect_exact("(gdb) ")
    return typed.before


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", [0.1, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.7, 1.5))]
)
def test_a_ctrl_c_at_the_prompt_prints_what_was_read_and_the_next_command_reads_all(arenas, moment):
    with at_the_prompt(arenas) as typed:

        def ctrl_c():
            typed.expect_exact("heapx arenas")  # its echo
            time.sleep(moment)
            typed.sendintr()

        partial = answer(typed, "heapx arenas", ctrl_c)
        assert "stopped by Ctrl-C after" in partial
        assert "Traceback" not in partial
        assert "$1 = 2" in answer(typed, "print 1 + 1")
        whole = answer(typed, "heapx arenas")
        assert "stopped" not in whole
        typed.sendintr()  # at the prompt it is gdb's
        typed.expect_exact("Quit")
        typed.expect_exact("(gdb) ")


@pytest.mark.slow
def test_the_line_about_long_work_shows_what_and_how_far_and_goes(arenas):
    with at_the_prompt(arenas) as typed:
        text = answer(typed, "heapx arenas")
        lines = [each for each in text.split(ERASED) if LONG.match(each)]
        assert re.match(r"reading heaps, \d+ %: \d+ of \d+ MiB, \d+ MiB/s, \d+ s left", lines[-1])
        assert text.rpartition(ERASED)[2].lstrip().startswith(("arenas, sizes", "\x1b"))
        answer(typed, "set heapx progress off")
        answer(typed, "set heapx swap-in 1M")  # another reading
        assert not LONG.search(answer(typed, "heapx arenas"))


def on_a_terminal(*words):
    """Return what the shell command prints there."""
    options = {"env": environment(), "timeout": TIMEOUT, "encoding": "utf8"}
    with pexpect.spawn(str(HEAPX), [str(word) for word in words], **options) as typed:
        typed.expect(pexpect.EOF)
        return typed.before


@pytest.mark.slow
def test_in_a_shell_long_work_shows_itself_on_a_terminal_only(arenas):
    words = ("-p", arenas.pid, *SLOWLY)
    shown = on_a_terminal(*words, "arenas")
    assert LONG.search(shown)
    assert not LONG.search(shown.rpartition(ERASED)[2])
    assert not LONG.search(on_a_terminal(*words, "--set", "progress=off", "arenas"))
    result = heapx(*words, "arenas")
    assert (result.status, result.err) == (0, "")
    assert not LONG.search(result.out)


def interrupted(inferior, *words, wait):
    """Return what the shell command prints where a Ctrl-C comes after it attached, and a wait."""
    command = [str(word) for word in (HEAPX, "-p", inferior.pid, *words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        eventually(lambda: status(inferior.pid, "TracerPid") != "0", "heapx attaches")
        wait()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert at_rest(inferior.pid)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "moment", [0, 0.3, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.05, 1))]
)
@pytest.mark.few(1)
def test_after_a_ctrl_c_in_a_shell_the_process_runs_and_what_was_read_is_printed(arenas, moment):
    words = (*SLOWLY, "arenas", "--format", "json")
    code, out, err = interrupted(arenas, *words, wait=lambda: time.sleep(moment))
    assert (code, err) == (130, "heapx: interrupted\n")
    codes = {problem["code"] for problem in json.loads(out)["problems"]} if out else set()
    assert "interrupted" in codes or not out
    assert out or moment < 1


@pytest.mark.slow
def test_a_ctrl_c_ends_a_stream_of_chunks_which_is_json_still(arenas, tmp_path):
    """It comes where some memory is read, and long before the last chunk."""
    file = tmp_path / "reads"
    words = (*telling(SLOWLY, file), "chunks", "--format", "json")
    code, out, err = interrupted(arenas, *words, wait=reads(file, 1000))
    assert (code, err) == (130, "heapx: interrupted\n")
    assert "interrupted" in {problem["code"] for problem in json.loads(out)["problems"]}


def test_max_pause_ends_the_reading_and_the_status_says_so(arenas):
    words = (*SLOWLY, "arenas", "--format", "json")
    for seconds in ("1.5", "3", "6", "12"):  # a machine that has more to do gets less far
        partial = heapx("-p", arenas.pid, *words, "--max-pause", seconds)
        if partial.status != 3:  # it got as far as to an answer
            break
    assert (partial.status, partial.err) == (1, "")
    assert [problem["code"] for problem in partial.report["problems"]] == ["time_is_up"]
    rows = partial.report["tables"][0]["rows"]
    assert any(row["in_use"] is None for row in rows)
    whole = heapx("-p", arenas.pid, *words, "--max-pause", "100")
    assert whole.status == 0
    for row, right in zip(rows, whole.report["tables"][0]["rows"]):
        assert row["in_use"] in (None, right["in_use"])
    assert at_rest(arenas.pid)


@pytest.mark.slow
def test_a_pause_that_is_too_short_for_anything_is_one_message(arenas):
    result = heapx("-p", arenas.pid, *SLOWLY, "arenas", "--max-pause", "0.02")
    assert (result.status, result.out) == (3, "")
    assert "--max-pause" in result.err
    assert at_rest(arenas.pid)


@pytest.mark.parametrize("line", ["leaks", "holders", "types"])
@pytest.mark.slow
def test_a_pause_that_ends_while_chunks_are_copied_tells_how_much_is_in_use(arenas, line):
    for seconds in ("2", "2.5", "3", "4"):
        partial = heapx("-p", arenas.pid, *COPIES_SLOWLY, line, "--max-pause", seconds)
        said = " ".join(partial.out.split())
        if "while copying chunks in use" in said:
            break
    assert (partial.status, partial.err) == (1, "")
    assert said.startswith("problem: stopped by --max-pause after ")
    assert re.search(r" is in use, in [0-9,]+ chunks: not looked through\.", said)
    assert "none" not in partial.out
    assert at_rest(arenas.pid)


@pytest.mark.parametrize("line", ["leaks", "holders"])
@pytest.mark.slow
def test_a_ctrl_c_while_chunks_are_copied_tells_how_much_is_in_use(arenas, line, tmp_path):
    file = tmp_path / "reads"
    words = (*telling(COPIES_SLOWLY, file), line, "--format", "json")
    code, out, err = interrupted(arenas, *words, wait=reads(file, 20))
    assert (code, err) == (130, "heapx: interrupted\n")
    report = json.loads(out)
    assert [problem["code"] for problem in report["problems"]] == ["interrupted"]
    assert "copying chunks in use" in report["problems"][0]["statement"]
    assert " is in use, in " in report["notes"][0]


@pytest.mark.parametrize("word", ["0", "-1", "1e3", "soon", "0.0"])
@pytest.mark.few(1)
def test_a_pause_is_a_time(arenas, word):
    result = told("-p", arenas.pid, "arenas", f"--max-pause={word}")
    assert (result.status, result.out) == (2, "")
    assert "in seconds" in result.err


@pytest.mark.slow
def test_of_a_core_reading_ends_by_the_clock_too(arenas, tmp_path):
    core = gcore(arenas.pid, tmp_path / "core")
    result = heapx("--core", core, "arenas", "--max-pause", "0.000001")
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith("heapx: stopped by --max-pause after ")
    assert heapx("--core", core, "arenas", "--max-pause", "100").status == 0
