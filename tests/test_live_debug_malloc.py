"""libc_malloc_debug.so: with MALLOC_CHECK_ its own malloc serves the program, and is read."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from live import (
    eventually,
    gcore,
    heapx,
    kernel_core,
    reports,
    resident,
    running,
    table,
    without_others,
)
from releases import HOST, glibc_of, missing

pytestmark = pytest.mark.live

NAME = "libc_malloc_debug.so.0"
OTHERS = ("trixie", "sid", "experimental")  # 2.41, 2.43, 2.44
COMMANDS = ("heapx", "heapx arenas", "heapx bins", "heapx ledger", "heapx check", "heapx mmapped")
HIDDEN = ("-iex", "set debug-file-directory /nonexistent")
CHECK = {"MALLOC_CHECK_": "3"}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def library(glibc) -> str:
    """Return the path of a release's libc_malloc_debug.so.0."""
    if not glibc.libc:
        return NAME
    found = glibc.libc[0].parent / NAME
    if not found.exists():
        missing(f"needs {found}")
    return str(found)


def started(glibc, name, directory, *arguments, env=CHECK):
    exe = glibc.build(name, directory)
    return running(
        exe, *arguments, directory=directory / "run", env={"LD_PRELOAD": library(glibc), **env}
    )


def looked_at(directory, *target):
    found = reports(COMMANDS, directory, target)
    assert not any(report["problems"] for report in found.values())
    assert all(row["ok"] for row in table(found["heapx check"]))
    return found


def glibc_s_own(inferior, found):
    """Check what is told of the malloc that serves against its malloc_info and mallinfo2."""
    libc_s, row = table(found["heapx arenas"])
    assert (Path(row["libc"]).name, libc_s["system"]) == (NAME, 0)
    (theirs,) = inferior.oracle.arenas
    info = inferior.oracle.mallinfo
    assert (row["system"], row["max_system"]) == (theirs.system, theirs.max_system)
    assert (row["binned_chunks"] + 1, row["binned"] + row["top"]) == theirs.rest
    assert (row["fast_chunks"], row["fast"]) == theirs.fast
    assert row["system"] - row["binned"] - row["top"] - row["fast"] == info["uordblks"]
    bins = table(found["heapx bins"])
    assert {Path(each["libc"]).name for each in bins} <= {NAME}
    assert sum(each["chunks"] for each in bins) == row["binned_chunks"] + row["fast_chunks"]
    mapped = table(found["heapx mmapped"])
    assert {Path(each["libc"]).name for each in mapped} <= {NAME}
    mappings = len(mapped), sum(each["mapping"] for each in mapped)
    assert mappings == (info["hblks"], info["hblkhd"])
    (in_use,) = (each for each in table(found["heapx"]) if each["key"] == "in_use")
    held = row["in_use"] + info["hblkhd"]
    assert (in_use["virtual"] or 0) in (0, held)
    heap = sum(e["virtual"] for e in table(found["heapx ledger"]) if e["arena"] == 0)
    assert heap == row["system"]


@pytest.mark.parametrize("name", ["mixed", "mmapped", "tcaches"])
@pytest.mark.parametrize("suite", [HOST, *map(slow, OTHERS)])
@pytest.mark.slow
def test_its_figures_are_glibc_s_own_by_symbols_and_without(suite, name, tmp_path):
    glibc = glibc_of(suite)
    with started(glibc, name, tmp_path) as inferior:
        pid, exe = inferior.pid, inferior.exe
        found = looked_at(tmp_path / "with", *glibc.symbols, "-p", pid)
        glibc_s_own(inferior, found)
        hidden = looked_at(tmp_path / "without", *HIDDEN, "-p", pid)
        glibc_s_own(inferior, hidden)
        tables, alike = (
            [without_others(x[c]["tables"]) for c in COMMANDS] for x in (found, hidden)
        )
        assert tables == alike
        assert any("add up to the kernel's RSS" in n for n in found["heapx ledger"]["notes"])
        core = gcore(pid, tmp_path / "core") if suite == HOST else kernel_core(inferior)
    glibc_s_own(inferior, looked_at(tmp_path / "core-with", *glibc.symbols, exe, core))
    glibc_s_own(inferior, looked_at(tmp_path / "core-without", *HIDDEN, "-c", core))
    core.unlink()


def in_heap(pid):
    """Return the Rss of [heap] in bytes."""
    return sum(kib for line, kib in resident(pid).items() if line.endswith("[heap]")) << 10


@pytest.mark.few(1)
@pytest.mark.parametrize("symbols", [(), HIDDEN], ids=["symbols", "none"])
def test_where_it_hands_on_to_libc_only_libc_s_malloc_is_told(symbols, tmp_path):
    with started(glibc_of(HOST), "mixed", tmp_path, env={}) as inferior:
        found = looked_at(tmp_path / "out", *symbols, "-p", inferior.pid)
    (row,) = table(found["heapx arenas"])
    (theirs,) = inferior.oracle.arenas
    assert row["libc"].endswith("libc.so.6")
    assert (row["system"], row["binned"] + row["top"]) == (theirs.system, theirs.rest.bytes)
    assert not any(NAME in told for told in found["heapx arenas"]["notes"])


def test_what_a_real_malloc_trim_returns_is_foretold(tmp_path):
    env = {**CHECK, "HEAPX_THEN": "0"}
    with started(glibc_of(HOST), "mixed", tmp_path, env=env) as inferior:
        (report,) = reports(["heapx trim"], tmp_path / "out", ("-p", inferior.pid)).values()
        told = [row["returned"] for row in table(report)]
        before = in_heap(inferior.pid)
        os.kill(inferior.pid, signal.SIGUSR1)
        eventually((tmp_path / "run" / "trimmed").exists, "the trim")
        fell = before - in_heap(inferior.pid)
    assert told == [0, fell]
    assert fell


@pytest.mark.parametrize(
    "name",
    [
        "arenas",
        "params",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("heaps", "bins", "threads", "check --all", "ledger --by-arena", "trim")
        ),
    ],
)
@pytest.mark.few(1)
def test_text_tells_the_two_apart_in_every_table(tmp_path, name):
    with started(glibc_of(HOST), "mixed", tmp_path) as inferior:
        text = heapx("-p", inferior.pid, *name.split(), env={**os.environ, "COLUMNS": "140"}).out
    assert "  libc\n" in text
    assert re.search(r"libc_malloc_debug( +[@:_]*)?\n", text)
    told = f"{NAME} serves malloc here" in " ".join(text.split())
    assert told == (name not in ("bins", "check --all"))
    if name == "params":
        assert "in force: libc_malloc_debug.so serves malloc" in text


def test_findings_name_the_malloc_of_an_arena(tmp_path):
    with started(glibc_of(HOST), "mixed", tmp_path) as inferior:
        (report,) = reports(["heapx why"], tmp_path / "out", ("-p", inferior.pid)).values()
    lines = [line for each in report["findings"] for line in each["evidence"]]
    of_arenas = [line for line in lines if line.startswith("arena 0")]
    assert of_arenas
    assert all(line.startswith(f"arena 0 of {NAME}: ") for line in of_arenas)
