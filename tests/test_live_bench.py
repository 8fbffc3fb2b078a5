"""scripts/bench from end to end, on heaps that are as small as they can be."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live import ROOT, run

sys.path.insert(0, str(ROOT / "scripts"))

from benchwork.heaps import HEAPS
from benchwork.table import HEADS

pytestmark = [pytest.mark.live, pytest.mark.slow]
BENCH = ROOT / "scripts" / "bench"
SMALL = {"T": 3, "arenas": 2, "mappings": 50}  # else 4,000
STAND_IN = """
class Heap(gdb.Command):
    def __init__(self):
        super().__init__("heap", gdb.COMMAND_DATA)

    def invoke(self, words, from_tty):
        open({path!r}, "a").write(words + "\\n")


Heap()
"""


def rows_of(*arguments, **environment):
    """Return the rows that bench measures in one round."""
    done = run(
        (sys.executable, BENCH, *arguments, "--runs", "1", "--markdown"),
        env={**os.environ, **environment},
    )
    assert done.status == 0, done.err
    lines = [line for line in done.out.splitlines() if line.startswith("|")]
    return [dict(zip(HEADS, re.findall(r"\| ([^|]*) ", line))) for line in lines[2:]]


def test_every_heap_is_measured_and_has_the_chunks_that_were_asked_for():
    sizes = {name: SMALL.get(name, 4000) for name in HEAPS if name != "big"}  # that is 1 GiB
    rows = rows_of(*(f"{name}={size}" for name, size in sizes.items()), "--commands", "top")
    assert [row["heap"] for row in rows] == [f"{name}={size}" for name, size in sizes.items()]
    assert {row["command"] for row in rows} == {"heapx top"}
    chunks = {row["heap"].split("=")[0]: int(row["chunks"].replace(",", "")) for row in rows}
    for name in ("M", "D", "L", "P", "Ls", "stale", "mmapped"):
        assert 0.6 * 4000 < chunks[name] < 4020  # neighbours that are free have merged
    for name in ("F", "Fs"):
        assert 8000 <= chunks[name] < 8020
    for name in ("T", "arenas"):
        assert 250 * sizes[name] < chunks[name] < 500 * sizes[name] + 20


def test_another_tool_is_measured_beside_heapx_live_and_on_the_core_and_no_file_stays(tmp_path):
    script, said = tmp_path / "gef.py", tmp_path / "said"
    script.write_text(STAND_IN.format(path=str(said)))
    arguments = ("T=3", "--core", "--commands", ",top")
    rows = rows_of(*arguments, HEAPX_GEF=str(script), TMPDIR=str(tmp_path))
    names = ("heapx", "heapx top", "GEF")
    assert [row["command"] for row in rows] == [*names, *(f"{name}, core" for name in names)]
    assert said.read_text().splitlines() == ["arenas", "chunks --all --summary"] * 2
    assert sorted(tmp_path.iterdir()) == [script, said]
    for row in rows:
        assert row["seconds"] not in ("", "failed")
        assert bool(row["stands still"]) == bool(row["bare"]) == ("core" not in row["command"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_bench_that_is_ended_leaves_no_process_and_no_file(tmp_path, number):
    bench = subprocess.Popen(
        (sys.executable, BENCH, "T=100", "--runs", "1000"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # A shell's background jobs, such as these tests may be, have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    heap = None
    while not heap or not [line for line in command_lines() if heap in line]:  # a gdb looks at it
        assert bench.poll() is None
        heap = heap or heap_of(bench)
        time.sleep(0.01)
    bench.send_signal(number)
    assert bench.wait(60) == 128 + number
    assert not list(tmp_path.iterdir())
    assert not os.path.exists(f"/proc/{heap}")
    while [line for line in command_lines() if heap in line]:
        time.sleep(0.1)  # a gdb lets go of it


def heap_of(bench):
    """Return the PID of the process that a bench looks at, as text; None where none is yet."""
    for child in Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "bench_heaps\n":
                return child
    return None


def command_lines():
    """Yield the words of every process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text().split("\0")
