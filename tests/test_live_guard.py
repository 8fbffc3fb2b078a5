"""heapx growth does no harm: however it ends, the process runs on, with its own text and untraced.

The text is compared with libc's file; that malloc grows afterwards is what the program tells.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live import (
    HEAPX,
    ROOT,
    TIMEOUT,
    at_rest,
    environment,
    eventually,
    status,
    thread_states,
)
from test_live_growth import ALL, changed_text, in_text
from test_live_signals import SAID, gdb_of

from gdb_heapx.target.procfs import children_of
from gdb_heapx.target.putback import Survivor, set_right

pytestmark = pytest.mark.live

MOMENTS = 20
LONG = ("--seconds", str(TIMEOUT))
KILLED = "heapx: gdb was ended by SIGKILL\n"
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="it writes x86's instructions")


@pytest.fixture(scope="module")
def asked(start_once):
    """Start a process that grows when it is asked to."""
    return start_once("growing", "asked")


@contextlib.contextmanager
def watching(inferior, *words):
    """Start heapx growth on a process; go on when its breakpoints are set, and it runs."""
    command = [HEAPX, "-p", str(inferior.pid), "growth", *(words or LONG), *ALL]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment(), **pipes) as process:
        try:
            eventually(lambda: process.poll() is not None or in_text(inferior), "it is watched")
            yield process
        finally:
            process.kill()


def finished(process):
    """Return how heapx ended, what it printed, and what it said after its announcement."""
    out, err = process.communicate(timeout=TIMEOUT)
    announced = re.match(r"heapx: will set breakpoints in malloc's code.*\n(?:  .*\n)+", err)
    return process.returncode, out, err[announced.end() :]


def left_alone(inferior, gdb):
    """Check that a process is as nobody had ever looked at it, and that no gdb is left."""
    eventually(lambda: not Path(f"/proc/{gdb}").exists(), "gdb ends", 30)
    assert inferior.process.poll() is None
    eventually(lambda: at_rest(inferior.pid), "the process rests")
    assert status(inferior.pid, "TracerPid") == "0"
    assert changed_text(inferior.pid) == 0


def grown(inferior):
    """Return how often a process has told that it grew."""
    file = inferior.oracle.directory / "grown"
    return int(file.read_text()) if file.exists() else 0


def grows(inferior):
    """Check that a process grows when it is asked to: where a breakpoint is left, that ends it."""
    before = grown(inferior)
    os.kill(inferior.pid, signal.SIGUSR1)
    eventually(lambda: grown(inferior) > before or inferior.process.poll() is not None, "it grows")
    assert inferior.process.poll() is None


# gdb dies.


@pytest.mark.few(1)
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_when_gdb_is_killed_its_breakpoints_are_taken_out(asked, moment):
    """At some moment between two growths, and behind some of them."""
    with watching(asked) as process:
        gdb = gdb_of(process)
        for _ in range(moment % 3):
            grows(asked)
        time.sleep(moment / 100)
        os.kill(gdb, signal.SIGKILL)
        code, out, said = finished(process)
    done = f"  The breakpoints were taken out of process {asked.pid}. It runs on.\n"
    assert (code, out, said) == (3, "", KILLED + done)
    left_alone(asked, gdb)
    grows(asked)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_when_gdb_is_killed_while_malloc_grows_what_is_said_of_the_process_is_true(start, moment):
    """It ends if a thread has just come to a breakpoint: nobody can answer then."""
    ever = start("growing", "ever")
    with watching(ever) as process:
        gdb = gdb_of(process)
        time.sleep(moment / 100)
        os.kill(gdb, signal.SIGKILL)
        code, out, said = finished(process)
    assert (code, out, said.startswith(KILLED)) == (3, "", True)
    if ever.process.poll() is None:
        assert said.endswith(f"process {ever.pid}. It runs on.\n") or "stood still" in said
        left_alone(ever, gdb)
    else:
        assert ever.process.returncode == -signal.SIGTRAP
        assert f"process {ever.pid} has ended" in said


@pytest.mark.slow
def test_a_thread_at_a_breakpoint_that_gdb_has_not_seen_ends_the_process_and_that_is_said(start):
    """What remains, and is told before it begins."""
    asked = start("growing", "asked")
    with watching(asked) as process:
        gdb = gdb_of(process)
        os.kill(gdb, signal.SIGSTOP)
        os.kill(asked.pid, signal.SIGUSR1)
        eventually(lambda: set(thread_states(asked.pid).values()) == {"t"}, "it comes to one")
        os.kill(gdb, signal.SIGKILL)
        said = finished(process)[2]
    assert asked.process.wait(TIMEOUT) == -signal.SIGTRAP
    assert f"process {asked.pid} has ended" in said


@pytest.mark.slow
def test_a_child_that_gdb_has_not_let_go_yet_runs_on_too(start):
    """The kernel alone would leave it stopped, with breakpoints in its text."""
    forks = start("growing", "fork")
    with watching(forks) as process:
        gdb = gdb_of(process)
        os.kill(gdb, signal.SIGSTOP)
        os.kill(forks.pid, signal.SIGUSR1)
        eventually(lambda: children_of(forks.pid) and not at_rest(forks.pid, True), "it forks")
        eventually(lambda: set(thread_states(forks.pid).values()) == {"t"}, "both are stopped")
        os.kill(gdb, signal.SIGKILL)
        finished(process)
    eventually(lambda: grown(forks) or forks.process.poll() is not None, "the child ends")
    left_alone(forks, gdb)


# A tracer, to be killed when it has told what it has done to the main thread of a process.
TRACER = """
import ctypes, os, sys, time
sys.path.insert(0, sys.argv[1])
from gdb_heapx.target.leaders import tracing
pid, ptrace = int(sys.argv[2]), tracing()
ATTACH, STEP, POKE, CONT, PEEKUSER, RIP = 16, 9, 4, 7, 3, 16 * 8
def stopped():
    return os.waitpid(pid, 0)[1] >> 8
ptrace(ATTACH, pid, None, None)
stopped()
{}
print(end="", flush=True)
time.sleep(1000)
"""
STEPPED = """
for _ in range(3):
    ptrace(STEP, pid, None, None)
    stopped()
print("stepped")
"""
BROKEN = """
at = ptrace(PEEKUSER, pid, RIP, None)
with open(f"/proc/{pid}/mem", "r+b", 0) as memory:
    before = os.pread(memory.fileno(), 1, at)
    os.pwrite(memory.fileno(), b"\\xcc", at)
ptrace(CONT, pid, None, None)
stopped()
assert ptrace(PEEKUSER, pid, RIP, None) == at + 1
print(at, before.hex())
"""


@contextlib.contextmanager
def traced(pid, how):
    """Start a tracer of a process; return what it tells, and it."""
    words = [sys.executable, "-c", TRACER.format(how), ROOT, str(pid)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stdout is not None
            yield tracer, tracer.stdout.readline().split()
        finally:
            tracer.kill()


@pytest.fixture
def spin(start):
    """Start a process whose one thread executes the same instruction again and again."""
    inferior = start("growing", "spin")
    os.kill(inferior.pid, signal.SIGUSR1)
    eventually(lambda: set(thread_states(inferior.pid).values()) == {"R"}, "it spins")
    return inferior


def spins(inferior):
    """Check that a process executes its instruction again and again."""
    before = cpu_time(inferior.pid)
    eventually(
        lambda: inferior.process.poll() is not None or cpu_time(inferior.pid) > before + 5, "spins"
    )
    assert inferior.process.poll() is None


def cpu_time(pid):
    """Return for how many ticks of the clock a process has run."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    return 0


def test_a_thread_that_was_stepped_runs_on_without_a_trap(spin):
    """The kernel alone would let it go with the trap flag."""
    survivor = Survivor(spin.pid)
    with traced(spin.pid, STEPPED) as (tracer, _):
        survivor.stop()
        tracer.kill()
        assert set_right(spin.pid, {})
        survivor.let_run()
    survivor.close()
    spins(spin)


@on_x86
def test_a_thread_behind_a_breakpoint_is_led_back_to_what_was_there(spin):
    survivor = Survivor(spin.pid)
    with traced(spin.pid, BROKEN) as (tracer, (address, data)):
        places = {int(address): bytes.fromhex(data)}
        survivor.stop()
        tracer.kill()
        assert survivor.put_back(places) == set(places)
        assert set_right(spin.pid, places)
        survivor.let_run()
    survivor.close()
    spins(spin)


@on_x86
def test_only_breakpoints_are_written_over(start):
    """What somebody else has changed in the text stays."""
    rests = start("growing", "asked")
    survivor = Survivor(rests.pid)
    maps = Path(f"/proc/{rests.pid}/maps").read_text().splitlines()
    text = next(int(line.split("-")[0], 16) for line in maps if "r-xp" in line)
    with open(f"/proc/{rests.pid}/mem", "r+b", 0) as memory:
        os.pwrite(memory.fileno(), b"\x12\xcc", text)
        assert survivor.put_back({text: b"\x34", text + 1: b"\x56"}) == {text + 1}
        assert os.pread(memory.fileno(), 2, text) == b"\x12\x56"
    survivor.close()


# heapx ends.


@pytest.mark.slow
def test_when_heapx_is_killed_gdb_takes_its_breakpoints_out_and_ends(asked):
    with watching(asked) as process:
        gdb = gdb_of(process)
        process.kill()
        process.communicate(timeout=TIMEOUT)
    left_alone(asked, gdb)
    grows(asked)


@pytest.mark.few(1)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["heapx", "gdb"])
def test_a_signal_takes_the_breakpoints_out(asked, whom, number):
    """While the process runs, and gdb waits for it."""
    with watching(asked) as process:
        gdb = gdb_of(process)
        os.kill(gdb if whom == "gdb" else process.pid, number)
        code, out, said = finished(process)
    if number == signal.SIGINT:
        assert (code, bool(out), said) in ((0, True, ""), (130, True, ""))
    else:
        assert (code, said) == (128 + number, SAID[number])
        assert bool(out) == (whom == "heapx")  # gdb's own end leaves nobody to tell what was seen
    left_alone(asked, gdb)
    grows(asked)


# What a process may do meanwhile.


def test_children_threads_and_signals_of_the_process_are_as_without_it(start):
    """It aborts where a child fails, or a signal is lost or comes twice."""
    busy = start("growing", "busy")
    with watching(busy, *LONG, "--stop-after", "100") as process:  # those of a few rounds
        gdb, before = gdb_of(process), grown(busy)
        code, out, said = finished(process)
    assert (code, said) == (0, "")
    assert "grow" in out
    eventually(lambda: grown(busy) > before, "it grows again")
    after = grown(busy)
    eventually(lambda: grown(busy) > after or busy.process.poll() is not None, "one more round")
    assert busy.process.poll() is None
    eventually(lambda: not Path(f"/proc/{gdb}").exists(), "gdb ends", 30)
    assert status(busy.pid, "TracerPid") == "0"
    assert changed_text(busy.pid) == 0
