"""The same answers on every glibc release of Debian; its own mallinfo is the oracle."""

from __future__ import annotations

import errno
import os

import pytest
from live import ROOT, gcore, kernel_core, regions, reports, run, running, table
from releases import HOST, glibc_of, missing

from gdb_heapx.errors import MemoryFault
from gdb_heapx.target.process import ProcessMemory

pytestmark = pytest.mark.live

OTHERS = ("bullseye", "trixie", "sid", "experimental")  # 2.31, 2.41, 2.43, 2.44
COMMANDS = ("heapx", "heapx mmapped", "heapx ledger", "heapx check")
CHECK_LAYOUTS = ROOT / "scripts/check_layouts"
STACK = 8 << 20  # bytes
CHECKED = ("heapx check", "heapx arenas")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def looked_at(glibc, directory, *target):
    """Return the reports of a process or a core; nothing may be wrong."""
    found = reports(COMMANDS, directory, (*glibc.symbols, *target))
    assert not any(report["problems"] for report in found.values())
    assert all(row["ok"] for row in table(found["heapx check"]))
    return found


# Chunks with a mapping of their own, beside the heaps of 8 arenas: to the kernel both may be one.


def all_mapped_are_found(found, theirs):
    listed = table(found["heapx mmapped"])
    assert len(listed) == theirs["hblks"]
    assert sum(row["mapping"] for row in listed) == theirs["hblkhd"]
    rows = table(found["heapx ledger"])
    assert sum(r["virtual"] for r in rows if r["owner"] == "mmapped chunks") == theirs["hblkhd"]
    (in_use,) = (row for row in table(found["heapx"]) if row["key"] == "in_use")
    assert (in_use["resident"] or in_use["virtual"]) >= theirs["hblkhd"]


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "chunks"), [(HOST, 3), *(slow(s, 25) for s in OTHERS)])
def test_mmapped_chunks_beside_heaps_are_in_use(suite, chunks, tmp_path):
    glibc = glibc_of(suite)
    exe = glibc.build("neighbours", tmp_path)
    with running(exe, str(chunks), directory=tmp_path / "run") as inferior:
        theirs = inferior.oracle.mallinfo
        assert theirs["hblks"] == 8 * chunks
        all_mapped_are_found(looked_at(glibc, tmp_path / "live", "-p", inferior.pid), theirs)
        core = kernel_core(inferior)
    all_mapped_are_found(looked_at(glibc, tmp_path / "dead", exe, core), theirs)
    core.unlink()


# 2.43 may pad the chunk of a tcache twice: on i386 nothing else fits it (0x1d0 and 0x1e0).


@pytest.mark.slow
@pytest.mark.parametrize("symbols", [True, False])
@pytest.mark.parametrize("arch", ["i386", "amd64"])
def test_tcaches_of_2_43_are_found(arch, symbols, tmp_path):
    glibc = glibc_of("sid", arch)
    exe = glibc.build("arenas", tmp_path)
    with running(exe, "3", directory=tmp_path / "run") as inferior:
        words = glibc.symbols if symbols else ("-iex", "set debug-file-directory /nonexistent")
        found = reports(CHECKED, tmp_path / "out", (*words, "-p", inferior.pid))
    assert not found["heapx check"]["problems"]
    checks = table(found["heapx check"])
    assert all(row["ok"] for row in checks)
    assert sum(row["check"].startswith("tcache counts") for row in checks) == 9
    ours = [
        (r["system"], r["binned_chunks"] + 1, r["binned"] + r["top"])
        for r in table(found["heapx arenas"])
    ]
    assert ours == [(arena.system, *arena.rest) for arena in inferior.oracle.arenas]


# scripts/check_layouts: releases.py against debug info.


@pytest.mark.parametrize("suite", [HOST, *map(slow, OTHERS)])
def test_the_structs_of_releases_py_are_those_of_debug_info(suite):
    result = run((CHECK_LAYOUTS, *glibc_of(suite).libc))
    if "no debug info there" in result.err:
        missing("needs Debian's package libc6-dbg")
    assert (result.status, result.err) == (0, "")
    assert result.out.endswith("no difference\n")
    assert "struct malloc_state" in result.out


def test_a_struct_that_differs_is_told():
    result = run((CHECK_LAYOUTS, "--release", "2.23"))
    if "no debug info there" in result.err:
        missing("needs Debian's package libc6-dbg")
    assert result.status == 1
    assert "! struct malloc_state" in result.out


# From 2.42 a stack's guard is a part of its mapping (MADV_GUARD_INSTALL).


@pytest.fixture
def guarded(tmp_path):
    """Return a process with such stacks, which the kernel may show as one mapping."""
    glibc = glibc_of("sid")
    exe = glibc.build("arenas", tmp_path)
    with running(exe, "3", directory=tmp_path / "run") as inferior:
        yield glibc, inferior


@pytest.mark.slow
def test_a_guard_inside_a_mapping_is_memory_that_cannot_be_read(guarded):
    _, inferior = guarded
    guards = [at for at in stack_starts(inferior.pid) if error_at(inferior.pid, at) == errno.EIO]
    if not guards:
        pytest.skip("this kernel (before 6.13) has no guards inside a mapping")
    for guard in guards:
        with pytest.raises(MemoryFault):
            ProcessMemory(inferior.pid).read(guard, 8)


def stack_starts(pid):
    unnamed = (r for r in regions(pid) if not r.name and r.permissions.startswith("rw"))
    return [region.start for region in unnamed if region.end - region.start >= STACK]


def error_at(pid, address):
    """Return the kernel's error of reading there, None if it can be read."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        try:
            os.pread(memory.fileno(), 8, address)
        except OSError as error:
            return error.errno
    return None


@pytest.mark.slow
def test_stacks_that_gcore_left_out_are_no_damage(guarded, tmp_path):
    """gcore of gdb 18 has them; this gdb may be older."""
    glibc, inferior = guarded
    core = gcore(inferior.pid, tmp_path / "core")
    found = reports(CHECKED, tmp_path / "out", (*glibc.symbols, inferior.exe, core))
    core.unlink()
    assert not found["heapx check"]["problems"]
    tcaches = sum(row["check"].startswith("tcache") for row in table(found["heapx check"]))
    notes = " ".join(found["heapx arenas"]["notes"])
    assert tcaches == 9 or ("8 of 9 threads are missing" in notes and "gcore of gdb 18" in notes)
