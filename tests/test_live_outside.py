"""Who has what isn't malloc's, on real processes: the kernel and the program know."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live import at_rest, environment, eventually, gcore, look, regions, session, table, told

pytestmark = pytest.mark.live

MIB = 1 << 20


def smaps(pid, wanted):
    """Return Rss and what is dirty of the mappings whose head has these words."""
    text = Path(f"/proc/{pid}/smaps").read_text()
    rss = dirty = 0
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M)[1:]:
        if wanted in block.split("\n")[0]:
            sizes = {k: int(v) << 10 for k, v in re.findall(r"^(\w+): +(\d+) kB$", block, re.M)}
            rss += sizes["Rss"]
            dirty += sizes["Private_Dirty"] + sizes["Shared_Dirty"]
    return rss, dirty


def outside(pid):
    """Return the rows of ledger --outside by name."""
    return {row["name"]: row for row in table(look(pid, "ledger", "--outside"))}


def finding(pid):
    (found,) = (f for f in look(pid, "why")["findings"] if f["code"] == "outside")
    return found


def parts(report):
    return {row["key"]: row["resident"] for row in table(report, "overview")}


def test_a_data_file_is_one_with_all_its_mappings_and_its_clean_pages_are_told(start):
    inferior = start("outside", "data")
    path = str(inferior.oracle.directory / "table.db")
    row, (rss, dirty) = outside(inferior.pid)[path], smaps(inferior.pid, path)
    assert (row["owner"], row["mappings"]) == ("data files", 2)
    assert (row["resident"], row["clean"]) == (rss, rss - dirty)
    assert rss - dirty >= 16 * MIB
    assert dirty >= 4 * MIB
    found = finding(inferior.pid)
    assert "table.db" in found["statement"]
    assert any(path in line and "dirty: 4 MiB" in line for line in found["evidence"])
    assert "page cache" in found["remedy"]
    assert parts(look(inferior.pid))["data_files"] >= rss


def test_a_memfd_is_shared_memory_by_its_name(start):
    inferior = start("outside", "memfd")
    row = outside(inferior.pid)["memfd:frames"]
    assert (row["owner"], row["resident"]) == ("shared memory", 8 * MIB)
    assert row["resident"] == smaps(inferior.pid, "/memfd:frames")[0]
    assert parts(look(inferior.pid))["shared_memory"] == 8 * MIB


def test_a_name_that_the_program_gave_its_memory_is_used(start):
    inferior = start("outside", "named")
    if any(words[0] == "missing" for words in inferior.oracle.known):
        pytest.skip("this kernel has no PR_SET_VMA_ANON_NAME")
    row = outside(inferior.pid)["[anon:index cache]"]
    assert (row["resident"], row["likely"]) == (8 * MIB, False)
    assert "8 MiB [anon:index cache]" in finding(inferior.pid)["statement"]


def test_thread_stacks_are_told_with_the_number_of_threads(start):
    inferior = start("outside", "stacks")
    row = outside(inferior.pid)["stacks of 13 threads"]
    assert 12 * MIB < row["resident"] < 14 * MIB
    assert parts(look(inferior.pid))["stacks"] == row["resident"]
    assert "stacks of 13 threads" in finding(inferior.pid)["statement"]


def test_the_memory_of_an_allocator_that_serves_nobody_s_malloc_is_likely_its(start, inferiors):
    library = str(inferiors / "allocator.so")
    inferior = start("outside", "loaded", env={"HEAPX_LIBRARY": library})
    row = outside(inferior.pid)["jemalloc's"]
    assert row["likely"]
    assert row["resident"] >= 8 * MIB
    found = finding(inferior.pid)
    assert "likely jemalloc's" in found["statement"]
    assert "malloc_stats_print" in found["remedy"]
    assert not [f for f in look(inferior.pid, "why")["findings"] if f["code"] == "other_allocator"]


def test_the_rows_are_what_the_ledger_has_outside_malloc(start):
    inferior = start("outside", "data")
    rows = table(look(inferior.pid, "ledger", "--outside"))
    ledger = {row["owner"]: row for row in table(look(inferior.pid, "ledger"))}
    for owner in {row["owner"] for row in rows}:
        for column in ("virtual", "resident", "swapped"):
            found = sum(row[column] for row in rows if row["owner"] == owner)
            assert found == ledger[owner][column], (owner, column)


# Cores.


def headline(report):
    """Return what the first screen says that most of it is."""
    return next(note for note in report["notes"] if "it " in note and note.startswith("Most"))


@pytest.mark.slow
def test_reserved_address_space_leaves_a_core_the_headline_of_the_process(start, tmp_path):
    inferior = start("outside", "reserved")
    live = look(inferior.pid)
    core = gcore(inferior.pid, tmp_path / "core")
    try:
        words = ("--core", core, "--exe", inferior.exe)
        asked = ((), ("ledger",))
        said, rows = (told(*words, *each, "--format", "json").report for each in asked)
    finally:
        core.unlink()
    assert headline(said) == headline(live)
    assert "freed by the program" in headline(said)
    whole = sum(row["virtual"] for row in table(said, "overview"))
    assert whole < 64 * MIB
    empty = ("reserved address space", "not in the core, or zeros")
    owned = {row["owner"]: row["virtual"] for row in table(rows)}
    assert sum(owned.get(each, 0) for each in empty) >= 1023 * MIB
    assert MIB <= owned["other anonymous memory"] < 4 * MIB
    assert any("of address space isn't counted" in note for note in said["notes"])


def test_reserved_address_space_of_a_process_has_an_owner_of_its_own(start):
    inferior = start("outside", "reserved")
    rows = {row["owner"]: row for row in table(look(inferior.pid, "ledger"))}
    reserved = rows["reserved address space"]
    expected = sum(
        r.end - r.start for r in regions(inferior.pid) if r.permissions == "---p" and not r.name
    )
    assert (reserved["virtual"], reserved["resident"]) == (expected, 0)


# Runtimes.


PYTHON = """
import sys, time
kept = [{i: [str(i)]} for i in range(60000)]
sys._debugmallocstats()
sys.stderr.flush()
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def python(tmp_path):
    """Return a Python with many objects, and what it says of its arenas: number and bytes."""
    with (
        open(tmp_path / "stats", "wb") as stats,
        subprocess.Popen(
            [sys.executable, "-c", PYTHON],
            stdout=subprocess.PIPE,
            stderr=stats,
            env=environment(PYTHONMALLOC="pymalloc"),
        ) as process,
    ):
        try:
            assert process.stdout.readline() == b"ready\n"
            eventually(lambda: at_rest(process.pid), "python sleeps")
            time.sleep(0.1)
            said = (tmp_path / "stats").read_text()
            found = re.search(r"([\d,]+) arenas \* ([\d,]+) bytes/arena", said)
            yield process.pid, *(int(n.replace(",", "")) for n in found.groups())
        finally:
            process.kill()


def test_what_objects_of_python_hold_in_malloc_is_said_to_be_held_by_pymalloc(tmp_path):
    """Of all arenas at once: how many mappings that are is of no interest."""
    program = """
import sys, time
kept = {}
for i in range(3000):
    kept[i] = [bytes([i % 256]) * (3000 + i % 16)]
print(sum(sys.getsizeof(each[0]) for each in kept.values()), flush=True)
time.sleep(1000)
"""
    env = environment(PYTHONMALLOC="pymalloc")
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=env) as process:
        try:
            size = int(process.stdout.readline())
            eventually(lambda: at_rest(process.pid), "python sleeps")
            rows = table(look(process.pid, "holders", "--limit", "1000"), "holders")
        finally:
            process.kill()
    (row,) = (each for each in rows if each["holder"] == "CPython's pymalloc")
    assert (row["kind"], row["address"]) == ("mapping", None)
    assert row["held"] >= size


def test_the_arenas_of_pymalloc_are_those_that_python_counts(python):
    """But for what is left at the edges of an arena, less than a pool."""
    pid, number, size = python
    assert session(target=("-p", pid)).status == 0
    row = outside(pid)["CPython's pymalloc"]
    assert (row["owner"], row["likely"]) == ("runtime memory", False)
    assert number >= 4
    assert number * size * 9 // 10 <= row["virtual"] <= number * size
    report = look(pid)
    assert "CPython's pymalloc" in headline(report)
    assert parts(report)["runtimes"] == row["resident"]
    (found,) = (f for f in report["findings"] if f["code"] == "outside")
    assert "sys._debugmallocstats" in found["remedy"]
    assert "PYTHONMALLOC=malloc" in found["remedy"]


def test_with_the_remedy_python_s_memory_is_malloc_s():
    """What `PYTHONMALLOC=malloc` is said to do, in a second run."""
    with subprocess.Popen(
        [sys.executable, "-c", PYTHON],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(PYTHONMALLOC="malloc"),
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            eventually(lambda: at_rest(process.pid), "python sleeps")
            report = look(process.pid)
        finally:
            process.kill()
    assert "is in use" in headline(report)
    assert "runtimes" not in parts(report)
