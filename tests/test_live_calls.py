"""A call into the process can't break it: it is rehearsed, made where a thread waits, put right.

Where gdb can't write a CPU's registers this is the only file that knows it: all other tests that
need a call ask `calling_gdb`, and are skipped without one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess

import pytest
from live import (
    at_rest,
    contents,
    eventually,
    gdb,
    heapx,
    status,
    thread_states,
)

pytestmark = pytest.mark.live

# Makes gdb fail as gdb 13 does where the CPU's extended state is large, but only behind a MARK.
FAILING = """
import gdb
executed, called = gdb.execute, []
def execute(line, *more, **others):
    if line.startswith("set var $") and {condition}:
        raise gdb.error("Couldn't write extended state status: Bad address.")
    return executed(line, *more, **others)
gdb.execute = execute
"""
NEVER_WRITES = FAILING.format(condition="True")
# A gdb that leaves a register other than it was, as one does that fails when the function has run.
LEAVES_CHANGED = """
import gdb
evaluated = gdb.parse_and_eval
def parse_and_eval(line, *more):
    value = evaluated(line, *more)
    if "unsigned long" in line:
        value.fetch_lazy()
        gdb.execute("set var $rbx = 0x1234")
        called.append(line)
    return value
gdb.parse_and_eval = parse_and_eval
"""


def script(path, text):
    path.write_text(text)
    return f"source {path}"


def refused(result, *said):
    assert (result.status, result.out) == (3, ""), result.err
    assert "Traceback" not in result.err
    for words in said:
        assert words in result.err


def runs_on(inferior):
    """Check that a process is alive, and that malloc works in it."""
    eventually(lambda: at_rest(inferior.pid), "the process rests")
    os.kill(inferior.pid, signal.SIGUSR1)
    trimmed = inferior.oracle.directory / "trimmed"
    eventually(lambda: trimmed.exists() or inferior.process.poll() is not None, "malloc_trim")
    assert inferior.process.poll() is None


@pytest.fixture
def mixed(start):
    return start("mixed", env={"HEAPX_THEN": "1"})


def test_where_a_write_fails_nothing_is_called(start, tmp_path):
    mixed = start("mixed", env={"GLIBC_TUNABLES": "glibc.pthread.rseq=0"})
    before = contents(mixed.pid)
    line = script(tmp_path / "failing.py", NEVER_WRITES)
    result = heapx("-p", mixed.pid, "--gdb-args", f"-ex '{line}'", "trim", "--now")
    refused(result, "can't write", "extended state", "HEAPX_GDB", "malloc_trim(0) in the program")
    assert at_rest(mixed.pid)
    assert contents(mixed.pid) == before


def test_on_this_cpu_a_call_works_or_is_refused_and_never_breaks(mixed):
    """With the system's gdb, whatever it and the CPU can do together."""
    result = heapx("-p", mixed.pid, "trim", "--now")
    if result.status:
        refused(result, "can't write", "Nothing was called")
    else:
        assert "it returned 1" in result.out
    runs_on(mixed)


def test_an_architecture_without_a_known_register_is_refused(mixed, tmp_path):
    line = "python from gdb_heapx.gdbside import calls; calls.REHEARSED.clear()"
    result = gdb(line, "heapx trim --now", target=("-p", mixed.pid))
    assert "how to call safely on " in result.err
    runs_on(mixed)


@pytest.mark.slow
def test_over_a_remote_connection_a_call_is_refused(mixed):
    if shutil.which("gdbserver") is None:
        pytest.skip("gdbserver is not installed")
    words = ("gdbserver", "--once", "--attach", "127.0.0.1:0", str(mixed.pid))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = iter(server.stderr.readline, "")
            port = next(line.split()[-1] for line in said if line.startswith("Listening"))
            connect = f"target remote 127.0.0.1:{port}"
            result = gdb(connect, "heapx trim --now", "detach", target=(mixed.exe,))
        finally:
            server.kill()
    assert "over a remote connection" in result.err
    runs_on(mixed)


# Which thread.


def called_in(pid, program, *lines):
    """Return the thread, by gdb's number and as a LWP, that trim --now called in."""
    shown = ("echo #\\n", "info threads")
    result = gdb(*lines, "heapx trim --now", *shown, target=("-p", pid), program=program)
    (number,) = re.findall(r"^heapx: calling in thread (\d+)$", result.err, re.M) or [result.err]
    (lwp,) = re.findall(rf"^[* ] {number} .*\bLWP (\d+)", result.out.partition("#\n")[2], re.M)
    return int(number), int(lwp)


@pytest.mark.slow
def test_the_main_thread_is_taken_where_it_waits(start, calling_gdb):
    pid = start("arenas", "10").pid
    assert called_in(pid, calling_gdb) == (1, pid)


@pytest.mark.slow
def test_another_thread_is_taken_that_waits_where_the_main_one_works(start, calling_gdb):
    pid = start("spinning", "1").pid
    _, lwp = called_in(pid, calling_gdb)
    assert thread_states(pid)[lwp] == "S"
    assert thread_states(pid)[pid] == "R"


@pytest.mark.slow
def test_where_no_thread_waits_it_refuses(start):
    busy = start("spinning", "0")
    refused(heapx("-p", busy.pid, "trim", "--now"), "no thread waits in a system call")
    assert set(thread_states(busy.pid).values()) == {"R"}


# Afterwards.

REGISTERS = "info registers"


def test_the_registers_are_as_they_were(mixed, calling_gdb):
    lines = ("echo #\\n", REGISTERS, "echo #\\n", "heapx trim --now", "echo #\\n", REGISTERS)
    result = gdb(*lines, target=("-p", mixed.pid), program=calling_gdb)
    _, before, called, after = result.out.split("#\n")
    assert "it returned 1" in called
    assert "rsp" in before or "sp" in before
    assert after.partition("[Inferior")[0] == before


@pytest.mark.slow
def test_a_register_that_gdb_leaves_changed_is_put_back(mixed, calling_gdb, tmp_path):
    if os.uname().machine != "x86_64":
        pytest.skip("rbx is x86_64's")
    changes = script(tmp_path / "changes.py", "called = []\n" + LEAVES_CHANGED)
    lines = (changes, "print/x $rbx", "heapx trim --now", "python print(len(called))")
    result = gdb(*lines, "print/x $rbx", target=("-p", mixed.pid), program=calling_gdb)
    before, after = re.findall(r"^\$\d+ = (\S+)$", result.out, re.M)
    assert "it returned 1" in result.out
    assert re.search("^1$", result.out, re.M)
    assert before == after != "0x1234"
    runs_on(mixed)


@pytest.mark.slow
def test_a_register_that_cannot_be_put_back_is_told_first(mixed, calling_gdb, tmp_path):
    if os.uname().machine != "x86_64":
        pytest.skip("rbx is x86_64's")
    after_call = 'called and "heapx_register" in line'
    changes = FAILING.format(condition=after_call) + LEAVES_CHANGED
    line = script(tmp_path / "changes.py", changes)
    more = ("--gdb", calling_gdb, "--gdb-args", f"-ex '{line}'")
    result = heapx("-p", mixed.pid, *more, "trim", "--now")
    refused(result, "The process may fail when it goes on.")
    told = result.err.splitlines()[1]
    assert told.startswith("heapx: the call has broken thread 1: gdb can't put back its ")
    assert "rbx" in told


@pytest.mark.slow
def test_a_process_that_ends_during_the_call_is_told_first(start, calling_gdb):
    """A signal waits that ends it, and that it gets as soon as it runs."""
    victim = start("mixed")
    kill = f"-ex 'shell kill -TERM {victim.pid}'"
    attach = f"-p {victim.pid} {kill}"
    result = heapx("--gdb", calling_gdb, f"--gdb-args={attach}", "trim", "--now")
    refused(result)
    assert result.err.startswith(f"heapx: process {victim.pid} is gone: ")
    assert victim.process.wait(60) == -signal.SIGTERM


def test_a_breakpoint_in_malloc_trim_does_not_stop_the_call(mixed, calling_gdb):
    lines = ("break malloc_trim", "break free", "disable 2", "heapx trim --now")
    result = gdb(*lines, "info breakpoints", target=("-p", mixed.pid), program=calling_gdb)
    assert "it returned 1" in result.out, result.err
    assert re.findall(r"^([12]) .* keep ([yn]) ", result.out, re.M) == [("1", "y"), ("2", "n")]


@pytest.mark.slow
def test_the_thread_goes_on_with_its_system_call(mixed, calling_gdb):
    """It waits in sigwait: with a wrong result that would return."""
    assert heapx("-p", mixed.pid, "--gdb", calling_gdb, "trim", "--now").status == 0
    assert status(mixed.pid, "TracerPid") == "0"
    assert not (mixed.oracle.directory / "trimmed").exists()
    runs_on(mixed)
