"""However heapx ends, the process runs on, untraced, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from live import HEAPX, TIMEOUT, environment, eventually, heapx, run, status, thread_states

pytestmark = pytest.mark.live

SAID = {  # by signal: what heapx says of it
    signal.SIGHUP: "heapx: ended by SIGHUP\n",
    signal.SIGINT: "heapx: interrupted\n",
    signal.SIGPIPE: "",
    signal.SIGTERM: "heapx: ended by SIGTERM\n",
}
MOMENTS = 28  # each of four signals comes at seven of them
USUAL = 13  # the moment at which one comes by default: while gdb reads


@pytest.fixture(scope="module")
def arenas(start_once):
    """Start a process of nine threads, which takes a while to attach to."""
    return start_once("arenas", "20")


@pytest.fixture
def looking(arenas, tmp_path):
    """Return a way to start heapx on the process, with a TMPDIR of its own."""

    @contextlib.contextmanager
    def look(*words):
        with subprocess.Popen(
            [HEAPX, "-p", str(arenas.pid), *(words or ("arenas",))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(TMPDIR=str(tmp_path)),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return look


def _moment(number, *more, slow):
    at = f"moment {number}"
    marks = pytest.mark.slow if slow else ()
    return pytest.param(
        number / MOMENTS, *more, marks=marks, id="-".join([at, *(m.name for m in more)])
    )


def _is_slow(number):
    return number != USUAL


# Fractions of the time that heapx takes; one of them by default.
at_many_moments = pytest.mark.parametrize(
    "moment", [_moment(number, slow=_is_slow(number)) for number in range(MOMENTS)]
)
# The signals by turns, since all go the same way; at the usual moment each of them.
by_signals_at_many_moments = pytest.mark.parametrize(
    ("moment", "number"),
    [
        _moment(number, each, slow=_is_slow(number))
        for number in range(MOMENTS)
        for turn, each in enumerate(SAID)
        if turn == number % len(SAID) or not _is_slow(number)
    ],
)


@pytest.fixture(scope="module")
def duration(arenas):
    begin = time.monotonic()
    assert heapx("-p", arenas.pid, "arenas").status == 0
    return time.monotonic() - begin


def gdb_of(process):
    """Return the gdb that heapx has started, 0 where it has ended before that."""

    def child():
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            for pid in map(int, children.split()):
                if b"-batch" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return process.poll() is not None and -1

    return max(eventually(child, "gdb starts"), 0)


def left_alone(arenas, gdb, directory):
    """Check that a process runs on, and that neither a gdb nor a file is left."""
    eventually(lambda: not gdb or not Path(f"/proc/{gdb}").exists(), "gdb ends", 30)
    assert status(arenas.pid, "TracerPid") == "0"
    assert set(thread_states(arenas.pid).values()) <= {"S", "R"}
    assert list(directory.iterdir()) == []
    assert arenas.process.poll() is None


def ended_by(number, code, out, err):
    """Check that heapx was ended by a signal, or had nothing left to do when that came; a Ctrl-C
    ends it with what was read.

    A signal that comes before heapx's own code runs ends it as it ends any program; SIGPIPE is lost
    while Python starts, which ignores it.
    """
    if code == 0:
        assert out.startswith("arenas, sizes in ")
        assert err == ""
    elif number == signal.SIGINT and out:
        assert out.startswith("problem: stopped by Ctrl-C ")
        assert (code, err) == (130, SAID[number])
    else:
        assert (code, out, err) in ((128 + number, "", SAID[number]), (-number, "", ""))


@pytest.mark.few(4)
@by_signals_at_many_moments
def test_a_signal_to_heapx_lets_the_process_run_on(
    arenas, looking, duration, moment, number, tmp_path
):
    with looking() as process:
        time.sleep(moment * duration)
        gdb = gdb_of(process) if moment * duration > 0.2 else 0
        process.send_signal(number)
        ended_by(number, *finished(process))
    left_alone(arenas, gdb, tmp_path)


@pytest.mark.few(4)
@by_signals_at_many_moments
def test_a_signal_to_gdb_lets_the_process_run_on(
    arenas, looking, duration, moment, number, tmp_path
):
    with looking() as process:
        gdb = gdb_of(process)
        time.sleep(moment * duration)
        with contextlib.suppress(ProcessLookupError):
            os.kill(gdb or process.pid, number)
        ended_by(number, *finished(process))
    left_alone(arenas, gdb, tmp_path)


def finished(process):
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


@pytest.mark.slow
@at_many_moments
def test_when_heapx_is_killed_gdb_lets_the_process_run_on_and_ends(
    arenas, looking, duration, moment, tmp_path
):
    with looking() as process:
        gdb = gdb_of(process)
        time.sleep(moment * duration)
        process.kill()
        process.communicate(timeout=TIMEOUT)
    left_alone(arenas, gdb, tmp_path)


@pytest.mark.slow
@at_many_moments
def test_when_gdb_is_killed_heapx_lets_the_process_run_on(
    arenas, looking, duration, moment, tmp_path
):
    with looking() as process:
        gdb = gdb_of(process)
        time.sleep(moment * duration)
        with contextlib.suppress(ProcessLookupError):
            os.kill(gdb or process.pid, signal.SIGKILL)
        code, out, err = finished(process)
    assert (code, bool(out), err) in (
        (0, True, ""),
        (3, False, "heapx: gdb was ended by SIGKILL\n"),
    )
    left_alone(arenas, gdb, tmp_path)


@at_many_moments
def test_a_signal_leaves_the_output_file_whole_or_not_at_all(
    arenas, looking, duration, moment, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("output")
    with looking("chunks", "--format", "csv", "--output", str(directory / "chunks")) as process:
        time.sleep(duration / 2 + moment * duration)
        process.terminate()
        code, out, err = finished(process)
    assert (code, out, err) in ((0, "", ""), (143, "", SAID[signal.SIGTERM]))
    written = {file.name: file.read_text()[-1] for file in directory.iterdir()}
    assert written in ({}, {"chunks": "\n"})
    assert written or code


def test_a_signal_that_comes_while_gdb_is_attached_ends_heapx(arenas, looking):
    """Each of the others may come too late to have an effect; this one can't."""
    with looking("chunks", "--format", "csv") as process:
        eventually(lambda: status(arenas.pid, "TracerPid") != "0", "heapx attaches")
        process.terminate()
        assert finished(process) == (143, "", SAID[signal.SIGTERM])
    assert status(arenas.pid, "TracerPid") == "0"


def test_a_process_that_was_stopped_before_stays_so(start):
    stopped = start("mixed")
    os.kill(stopped.pid, signal.SIGSTOP)
    eventually(lambda: thread_states(stopped.pid)[stopped.pid] == "T", "it stops")
    assert heapx("-p", stopped.pid, "arenas").status == 0
    assert thread_states(stopped.pid)[stopped.pid] == "T"
    os.kill(stopped.pid, signal.SIGCONT)
    eventually(lambda: thread_states(stopped.pid)[stopped.pid] == "S", "it goes on")


@pytest.mark.slow
def test_a_gdb_that_hangs_is_killed_by_one_more_signal(looking, tmp_path_factory):
    """As one does that attaches to a process in an uninterruptible sleep."""
    hanging = tmp_path_factory.mktemp("gdb") / "gdb"
    hanging.write_text("#!/bin/sh\nsleep 1000\n")
    hanging.chmod(0o755)
    with looking("--gdb", hanging) as process:
        eventually(lambda: "sleep" in comms(process.pid), "gdb hangs")
        process.terminate()
        time.sleep(3.5)
        assert process.poll() is None
        process.terminate()
        assert finished(process) == (143, "", SAID[signal.SIGTERM])


def test_what_a_killed_gdb_leaves_is_ended(arenas, tmp_path):
    """Such a child has gdb's output and socket open: heapx would wait for it."""
    killed, left = tmp_path / "gdb", tmp_path / "left"
    killed.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {left}\nkill -KILL $$\n")
    killed.chmod(0o755)
    result = heapx("--gdb", killed, "-p", arenas.pid, "arenas")
    assert result == (3, "", f"heapx: {killed} was ended by SIGKILL\n")
    child = Path(f"/proc/{int(left.read_text())}")
    eventually(
        lambda: not child.exists() or "State:\tZ" in (child / "status").read_text(), "it ends"
    )


def comms(pid):
    """Return the names of a process's descendants."""
    names = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        names += [Path(f"/proc/{child}/comm").read_text().strip(), *comms(child)]
    return names


# Where the answer goes.


@pytest.mark.slow
def test_a_closed_standard_output_is_one_line(arenas):
    line = f"exec '{HEAPX}' -p {arenas.pid} arenas >&-"
    said = "heapx: standard output is closed\n  Redirect it, or use --output FILE.\n"
    assert run(("sh", "-c", line)) == (3, "", said)


@pytest.mark.slow
def test_a_closed_standard_output_is_no_matter_where_a_file_is_written(arenas, tmp_path):
    file = tmp_path / "report"
    line = f"exec '{HEAPX}' -p {arenas.pid} arenas --output {file} >&- <&-"
    assert run(("sh", "-c", line)) == (0, "", "")
    assert file.read_text().startswith("arenas, sizes in ")


@pytest.mark.parametrize("words", ["-p {} arenas", "--help", "--version", "--completion bash"])
@pytest.mark.slow
def test_a_full_standard_output_is_one_line(arenas, words):
    line = f"exec '{HEAPX}' {words.format(arenas.pid)} >/dev/full"
    said = "heapx: cannot write to standard output: No space left on device\n"
    assert run(("sh", "-c", line)) == (3, "", said)


def test_a_standard_error_that_is_closed_or_full_changes_no_status():
    for where in ("2>&-", "2>/dev/full", "2>&- >&- <&-"):
        assert run(("sh", "-c", f"exec '{HEAPX}' -p {1 << 30} {where}")) == (3, "", "")


@pytest.fixture(scope="module")
def large(start_once):
    """Start a process whose chunks as CSV are over 20 MiB."""
    return start_once("fast", "400000", env={"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})


def test_a_reader_that_has_left_ends_heapx_in_silence(arenas):
    """The chunks as CSV are far more than a pipe holds."""
    line = f"'{HEAPX}' -p {arenas.pid} chunks --limit 20000 --format csv; echo $? >&2"
    result = run(("sh", "-c", f"{{ {line}; }} | head -1"))
    assert result.out.startswith("address,")
    assert result.err == "141\n"


@pytest.mark.slow
def test_where_no_file_can_be_written_a_small_answer_needs_none(arenas):
    line = f"ulimit -f 0; exec '{HEAPX}' -p {arenas.pid} arenas --format json"
    result = run(("sh", "-c", line))
    assert (result.status, result.err) == (0, "")
    assert result.report["problems"] == []


@pytest.mark.slow
def test_where_a_large_answer_finds_no_room_that_is_one_message(large):
    heapx("-p", large.pid, "chunks", "--count")  # Python compiles now: with the limit it would cut
    line = f"ulimit -f 1; exec '{HEAPX}' -p {large.pid} chunks --format csv"
    result = run(("sh", "-c", line), env=environment(TMPDIR="/tmp"))
    assert (result.status, result.out) == (3, "")
    statement, remedy = result.err.splitlines()
    assert statement == "heapx: there is no room for the answer in /tmp: File too large"
    assert remedy.startswith("  TMPDIR=DIRECTORY ")
    assert status(large.pid, "TracerPid") == "0"
    assert set(thread_states(large.pid).values()) == {"S"}
