"""Looking leaves no trace: in the process's memory, its page tables, its state."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live import (
    HEAPX,
    at_rest,
    contents,
    environment,
    eventually,
    gdb,
    heapx,
    look,
    present,
    regions,
    resident,
    status,
    table,
)

pytestmark = pytest.mark.live

NO_RSEQ = "glibc.pthread.rseq=0"  # the kernel writes to a thread's rseq area whenever it runs
PROGRAMS = (("untouched_top",), ("arenas", "5"))
COMMANDS = ("arenas", "bins", "heaps", "tcache", "top", "mmapped", "check")


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda words: words[0])
def inferior(request, start_once):
    return start_once(*request.param, env={"GLIBC_TUNABLES": NO_RSEQ})


@pytest.mark.few(1)
def test_the_writable_memory_is_the_same_byte_for_byte(inferior):
    before = contents(inferior.pid)
    for command in COMMANDS:
        look(inferior.pid, command)
    after = contents(inferior.pid)
    assert sum("w" in region.permissions for region in before) > 3
    assert after == before


def _pages(pid: int) -> dict[str, Any]:
    return {
        "rss": resident(pid),
        "page tables": status(pid, "VmPTE"),
        "present": {region: present(pid, region) for region in regions(pid)},
    }


def _looks_leave_no_page(pid: int, *more: str) -> None:
    """Check that nothing becomes resident that a bare attach has not made so."""
    assert gdb(target=("-p", pid), sourced=False).status == 0
    before = _pages(pid)
    for command in (*COMMANDS, "arenas --no-walk"):
        look(pid, *more, *command.split())
        after = _pages(pid)
        for what, pages in before.items():
            assert after[what] == pages, (command, what)
    assert "system" in gdb("heapx arenas", "heapx mmapped", target=("-p", pid)).out
    assert _pages(pid) == before


@pytest.mark.few(1)
@pytest.mark.parametrize("words", [*PROGRAMS, ("mmapped",)], ids=lambda words: words[0])
def test_residency_is_as_after_a_bare_attach(start, words):
    _looks_leave_no_page(start(*words, env={"GLIBC_TUNABLES": NO_RSEQ}).pid)


@pytest.mark.slow
def test_residency_is_so_without_debug_symbols_too(start):
    """libc is then read from its file, and searched in its data."""
    inferior = start("arenas", "5", env={"GLIBC_TUNABLES": NO_RSEQ})
    hidden = "-iex 'set debug-file-directory /nonexistent'"
    _looks_leave_no_page(inferior.pid, "--gdb-args", hidden)


@pytest.mark.slow
def test_pages_that_malloc_trim_gave_back_stay_given_back(start):
    inferior = start("mixed", env={"GLIBC_TUNABLES": NO_RSEQ, "HEAPX_THEN": "1"})
    untrimmed = int(status(inferior.pid, "VmRSS"))
    os.kill(inferior.pid, signal.SIGUSR1)
    trimmed = inferior.oracle.directory / "trimmed"
    eventually(lambda: trimmed.exists() and at_rest(inferior.pid), "malloc_trim")
    assert int(status(inferior.pid, "VmRSS")) < untrimmed
    _looks_leave_no_page(inferior.pid)
    assert all(row["ok"] for row in table(look(inferior.pid, "check")))


def test_the_untouched_top_stays_untouched(start):
    inferior = start("untouched_top")
    (top,) = table(look(inferior.pid, "top"))
    start_of_top = int(top["address"], 16)
    (heap,) = (r for r in regions(inferior.pid) if r.start <= start_of_top < r.end)
    assert top["size"] > 250 << 20
    assert len(present(inferior.pid, heap).replace(b"\0", b"")) < 1000


@pytest.mark.few(1)
def test_the_process_runs_on(inferior):
    assert heapx("-p", inferior.pid).status == 0
    assert at_rest(inferior.pid)


@pytest.fixture(scope="module")
def large(start_once):
    """Start a process that takes seconds to look at: it has fastbins, or else more chunks."""
    release = tuple(map(int, platform.libc_ver()[1].split(".")))
    number = 1000000 if release < (2, 43) else 8000000
    return start_once("fast", str(number), env={"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})


def _has_read(pid: int) -> int:
    """Return how many bytes the tracer of a process has read, of its memory and of files."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{status(pid, 'TracerPid')}/io").read_text().split()[1])
    return 0


class Interrupted(NamedTuple):
    """How heapx ended, and how many bytes its gdb was seen to have read by then."""

    status: int
    out: str
    err: str
    read: int


def _interrupt(pid: int, number: signal.Signals, everyone: bool, read: int = 0) -> Interrupted:
    """Send heapx, or all that it started too, a signal: once it has stopped the process, and has
    read so many bytes.
    """
    with subprocess.Popen(
        [HEAPX, "-p", str(pid), "arenas"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        try:
            eventually(
                lambda: (
                    process.poll() is not None
                    or (status(pid, "TracerPid") != "0" and _has_read(pid) >= read)
                ),
                "heapx attaches",
            )
            assert process.poll() is None, process.communicate()
            (os.killpg if everyone else os.kill)(process.pid, number)
            most = read
            while process.poll() is None:
                most = max(most, _has_read(pid))
                time.sleep(0.01)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return Interrupted(process.returncode, out, err, most)


@pytest.mark.parametrize("heaps", [0, 0.5], ids=["attaching", "walking"])
@pytest.mark.few(1)
def test_ctrl_c_ends_it_with_130_at_once_and_the_process_runs_on(large, heaps):
    """At once: else it would read 40 times the heap where it follows the lists."""
    heap = int(status(large.pid, "VmRSS")) << 10  # symbols and libraries are far less
    result = _interrupt(large.pid, signal.SIGINT, everyone=True, read=int(heaps * heap))
    told = "stopped by Ctrl-C" in result.out
    assert told or not result.out  # what was read, if it had begun to read
    assert result.status == 130
    assert result.err.endswith("heapx: interrupted\n")
    assert result.read < (heaps + 10) * heap
    assert at_rest(large.pid)


def test_a_sigint_to_heapx_alone_ends_it_with_130_or_lets_it_finish(large):
    code, out, *_ = _interrupt(large.pid, signal.SIGINT, everyone=False)
    assert (code, bool(out)) in ((130, False), (130, True), (0, True))
    assert at_rest(large.pid)


@pytest.mark.parametrize("everyone", [True, False], ids=["group", "alone"])
@pytest.mark.few(1)
def test_sigterm_lets_the_process_run_on(large, everyone):
    code, out, *_ = _interrupt(large.pid, signal.SIGTERM, everyone)
    assert code != 0
    assert out == ""
    eventually(lambda: at_rest(large.pid), "the process runs on")
