"""What others than malloc took with sbrk is told as theirs, live and in cores."""

from __future__ import annotations

import ctypes.util
import shutil

import pytest
from live import gcore, kernel_core, reports, table
from releases import missing

pytestmark = pytest.mark.live

COMMANDS = ("heapx", "heapx why", "heapx ledger", "heapx arenas", "heapx check")
HIDDEN = ("-iex", "set debug-file-directory /nonexistent")
SLACK = 2 * 4096  # bytes: malloc's and the break's own alignment, and that of a page's ends


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def told_as_theirs(inferior, found, resident):
    """Check that all that the program took is in the ledger and the finding, and no malloc's."""
    taken = sum(int(words[3]) for words in inferior.oracle.known)
    rows = table(found["heapx ledger"])
    column = "resident" if resident else "virtual"
    owned = sum(row[column] for row in rows if row["owner"] == "sbrk of others")
    assert taken <= owned <= taken + SLACK * len(inferior.oracle.known)
    (part,) = (row for row in table(found["heapx"]) if row["key"] == "sbrk")
    assert part[column] == owned
    findings = {row["code"]: row for row in found["heapx why"]["findings"]}
    assert findings["foreign_sbrk"]["bytes"] == (owned if resident else None)
    assert inferior.exe.name in findings["foreign_sbrk"]["evidence"][-1]
    assert "Most of it was taken with sbrk" in " ".join(found["heapx"]["notes"])
    assert not any(report["problems"] for report in found.values())
    (arena,) = table(found["heapx arenas"])
    assert arena["system"] == inferior.oracle.arenas[0].system
    if resident:
        assert any("add up to the kernel's RSS" in note for note in found["heapx ledger"]["notes"])


@pytest.mark.parametrize("places", ["fba", "f", "b", slow("a"), slow("fa")])
@pytest.mark.slow
def test_what_the_program_took_with_sbrk_is_not_malloc_s_nor_other(start, places, tmp_path):
    inferior = start("sbrked", places)
    live = ("-p", inferior.pid)
    told_as_theirs(inferior, reports(COMMANDS, tmp_path / "live", live), True)
    told_as_theirs(inferior, reports(COMMANDS, tmp_path / "bare", (*HIDDEN, *live)), True)
    core = gcore(inferior.pid, tmp_path / "core")
    told_as_theirs(inferior, reports(COMMANDS, tmp_path / "by-gdb", (inferior.exe, core)), False)
    core.unlink()
    core = kernel_core(inferior)
    told_as_theirs(inferior, reports(COMMANDS, tmp_path / "by-kernel", (inferior.exe, core)), False)
    core.unlink()


def test_bss_beside_the_break_is_not_taken_for_sbrk(start, inferiors, tmp_path):
    """Without randomization the break begins where the program's bss ends."""
    if shutil.which("setarch") is None:
        missing("needs Debian's package util-linux")
    inferior = start("mixed", command=("setarch", "-R", inferiors / "mixed"))
    found = reports(COMMANDS, tmp_path, ("-p", inferior.pid))
    owners = {row["owner"] for row in table(found["heapx ledger"])}
    assert "sbrk of others" not in owners


def test_of_jemalloc_s_sbrk_jemalloc_is_named(start, tmp_path):
    library = ctypes.util.find_library("jemalloc")
    if library is None:
        missing("needs Debian's package libjemalloc2")
    env = {"LD_PRELOAD": library, "MALLOC_CONF": "dss:primary"}
    inferior = start("mixed", env=env)
    found = reports(("heapx", "heapx why"), tmp_path, ("-p", inferior.pid))
    codes = {row["code"]: row for row in found["heapx why"]["findings"]}
    assert "foreign_sbrk" not in codes
    assert any("of [heap]" in line for line in codes["other_allocator"]["evidence"])
