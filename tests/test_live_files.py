"""Files, names and threads of any kind: what can't be read costs only what it alone tells."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from elffiles import move_headers_to_the_end
from live import (
    at_rest,
    environment,
    eventually,
    gcore,
    heapx,
    kernel_core,
    look,
    running,
    session,
    status,
    table,
    told,
)
from test_live_nosymbols import Elsewhere, equal_to_the_oracle, slow

pytestmark = pytest.mark.live


@pytest.fixture
def moved(inferiors, tmp_path):
    """Run `mixed` on a libc, stripped, whose headers lie at the end of the file."""
    elsewhere = Elsewhere(tmp_path / "elsewhere", inferiors)
    move_headers_to_the_end(elsewhere.libraries / "libc.so.6")
    program = elsewhere.root / "mixed"
    shutil.copy(inferiors / "mixed", program)
    command = elsewhere.command(program)
    with running(inferiors / "mixed", directory=tmp_path / "run", command=command) as inferior:
        yield inferior, elsewhere


BUILD_ID = bytes(range(20)).hex()


def names_its_libc(elsewhere, *target):
    """Check that the build-id of libc is known, wherever the note lies."""
    result = told(*target, "about", "--format", "json")
    assert (result.status, result.err) == (0, "")
    found = {row["what"]: row["value"] for row in table(result.report)}
    assert found["libc"] == str(elsewhere.libraries / "libc.so.6")
    assert found["build-id"] == BUILD_ID


def test_headers_may_lie_at_the_end_of_a_file(moved):
    inferior, elsewhere = moved
    equal_to_the_oracle(inferior, "-p", inferior.pid)
    names_its_libc(elsewhere, "-p", inferior.pid)


def test_a_file_that_is_gone_costs_only_what_it_alone_tells(moved, tmp_path):
    """The core holds neither its program headers nor its build-id, but all data."""
    inferior, elsewhere = moved
    core = gcore(inferior.pid, tmp_path / "core")
    (elsewhere.libraries / "libc.so.6").unlink()
    names_its_libc(elsewhere, "-p", inferior.pid)
    equal_to_the_oracle(inferior, "--core", core)


def test_headers_that_a_core_does_not_hold_are_read_from_the_file(moved):
    inferior, elsewhere = moved
    core = kernel_core(inferior)
    equal_to_the_oracle(inferior, "--core", core)
    names_its_libc(elsewhere, "--core", core)


# Names.

CUT = "Bücher-Zähleé".encode()[:15]  # as the kernel cuts it: in the middle of a character
BAD = (b"\xff\xfe\x80", b"\x1b[31mred", b'a"b,c\\', b"line\nend")
FORMATS = ("text", "json", "csv")
COMMANDS = ("", "why", "ledger", "trim", "arenas", "threads", "tcache", "chunks --count", "about")


@pytest.fixture(scope="module")
def named(start_once, inferiors, tmp_path_factory):
    """A program of such a name, in a directory of such a name, whose threads have such names."""
    place = os.fsencode(tmp_path_factory.mktemp("names")) + b"/d\xe9j\xe0 \x1b[31m"
    os.mkdir(place)
    exe = os.path.join(place, b"pr\xf6g")
    shutil.copy(os.fsencode(inferiors / "names"), exe)
    command = (exe, CUT, *BAD)
    digits = {"MALLOC_TOP_PAD_": "9" * 10_000, "MALLOC_TRIM_THRESHOLD_": "\x1b[31m"}
    return start_once("names", command=command, env=digits)


def sound(result, format_):
    """Check that a report came, and that it holds no control character."""
    assert (result.status, result.err) == (0, "")
    assert result.out.replace("\n", "").isprintable()
    if format_ == "json":
        json.loads(result.out).keys()
    return result.out


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("command", ["threads", *(slow(c) for c in COMMANDS if c != "threads")])
def test_names_may_be_any_bytes(named, command, format_):
    sound(told("-p", named.pid, *command.split(), "--format", format_), format_)


def test_what_is_no_text_in_a_name_is_shown_by_its_bytes(named):
    rows = table(told("-p", named.pid, "threads", "--format", "json").report)
    names = {row["name"] for row in rows}
    assert names == {"Bücher-Zähle\\xc3", "\\xff\\xfe\\x80", "\x1b[31mred", 'a"b,c\\', "line\nend"}


def test_names_may_be_any_bytes_in_any_locale(named):
    sound(heapx("-p", named.pid, "threads", env=environment(LC_ALL="C")), "text")


def test_names_may_be_any_bytes_in_gdb(named, tmp_path):
    core = gcore(named.pid, tmp_path / "core")
    for target in (("-p", named.pid), ("-c", core)):
        result = session("heapx about", "heapx threads", target=target)
        assert not [line for line in result.err.splitlines() if "rror" in line]
        assert "release" in result.out


def test_a_core_of_a_program_with_any_name(named, tmp_path):
    place = os.fsencode(tmp_path) + b"/c\xf6re"
    os.rename(gcore(named.pid, tmp_path / "core"), place)
    sound(told("--core", os.fsdecode(place), "about"), "text")


def test_a_name_does_not_make_a_core_a_process(inferiors, tmp_path):
    """Its process lives on, and could be looked at instead."""
    exe = tmp_path / "x process 1 1 (native)"
    shutil.copy(inferiors / "names", exe)
    with running(inferiors / "names", directory=tmp_path / "run", command=(exe,)) as inferior:
        core = gcore(inferior.pid, tmp_path / "core")
        report = told("--core", core, "about", "--format", "json").report
    assert report["target"]["live"] is False
    how = {row["what"]: row["value"] for row in table(report)}
    assert how["residency"] == "unknown"


def test_what_came_of_a_number_of_thousands_of_digits_is_told(named):
    """glibc 2.36 takes it for the largest one, 2.41 for none; malloc_par has what it took."""
    report = told("-p", named.pid, "params", "--format", "json").report
    (pad,) = [row for row in table(report, "params") if row["name"] == "top_pad"]
    rows = table(report, "environment")
    (row,) = [row for row in rows if row["variable"] == "MALLOC_TOP_PAD_"]
    assert (row["outcome"] == "in force") is (pad["value"] != pad["default"])
    assert pad["value"] in (pad["default"], 2 ** (8 * report["target"]["word"]) - 1)


# Cores.


@pytest.fixture(scope="module", params=["kernel", slow("gcore")])
def core(request, start_once, tmp_path_factory):
    inferior = start_once("mixed")
    if request.param == "kernel":
        return kernel_core(inferior)
    return gcore(inferior.pid, tmp_path_factory.mktemp("core") / "core")


@pytest.mark.parametrize("tenths", [1, slow(5), 9])
def test_of_a_core_that_is_cut_short_it_is_told_how_much_is_there(core, tmp_path, tenths):
    whole = core.stat().st_size
    kept = whole * tenths // 10
    with open(core, "rb") as file:
        (tmp_path / "cut").write_bytes(file.read(kept))
    result = told("--core", tmp_path / "cut", "arenas")
    assert f"the core is cut short: {kept:,} of {whole:,} bytes" in result.out + result.err
    assert "debug symbols" not in result.out + result.err
    assert result.status in (1, 3)  # damage, or nothing to tell


def test_of_a_whole_core_nothing_is_missing(core):
    assert "cut short" not in told("--core", core).out


@pytest.mark.parametrize("kept", [52, 64, 200])
def test_a_core_without_its_headers(core, tmp_path, kept):
    with open(core, "rb") as file:
        (tmp_path / "cut").write_bytes(file.read(kept))
    result = told("--core", tmp_path / "cut")
    assert (result.status, result.out) == (3, "")
    assert "is cut short" in result.err


@pytest.mark.parametrize("packer", ["xz", "gzip", "bzip2", "zstd", "lz4"])
@pytest.mark.slow
def test_of_a_packed_core_it_is_told_how_to_unpack_it(core, tmp_path, packer):
    """The command that it names makes the core."""
    if not shutil.which(packer):
        pytest.skip(f"{packer} is not installed")
    packed = tmp_path / "a core"
    with open(core, "rb") as file, open(packed, "wb") as out:
        subprocess.run([packer, "-1c"], stdin=file, stdout=out, check=True)
    result = told("--core", packed)
    assert (result.status, result.out) == (3, "")
    assert f"is packed with {packer}" in result.err
    command = next(line for line in result.err.splitlines() if "Unpack it" in line)
    subprocess.run(command.partition(": ")[2], shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "core").read_bytes() == core.read_bytes()


# Threads.


@pytest.fixture
def headless(start):
    """A process whose main thread has ended, while three others live."""
    inferior = start("names", "main", "one", "two", "main_ends")
    assert status(inferior.pid, "State") == "Z"
    return inferior


def threads_of(pid):
    return {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}


def test_a_process_whose_main_thread_has_ended_is_looked_at_by_its_others(headless):
    report = look(headless.pid, "arenas")
    theirs = headless.oracle.arenas
    assert [row["system"] for row in table(report)] == [arena.system for arena in theirs]
    assert report["target"]["pid"] == headless.pid
    rows = table(look(headless.pid, "threads"))
    assert {row["thread"] for row in rows} == threads_of(headless.pid) - {headless.pid}
    assert {row["name"] for row in rows} >= {"one", "two"}
    assert table(look(headless.pid, "check"))
    eventually(lambda: at_rest(headless.pid), "all threads are let go")


def test_any_thread_stands_for_its_process(headless, start):
    for inferior in (headless, start("arenas", "5")):
        whole = look(inferior.pid, "arenas")
        for thread in sorted(threads_of(inferior.pid))[-2:]:
            assert look(thread, "arenas") == whole
        eventually(lambda pid=inferior.pid: at_rest(pid), "all threads are let go")


@pytest.mark.slow
def test_nothing_is_called_where_gdb_does_not_see_every_thread(headless):
    result = heapx("-p", headless.pid, "trim", "--now")
    assert (result.status, result.out) == (3, "")
    assert "gdb does not see" in result.err


def test_a_zombie_is_called_so():
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        result = told("-p", process.pid)
        assert (result.status, result.out) == (3, "")
        assert f"process {process.pid} has ended: it is a zombie" in result.err
        assert f"process {os.getpid()} (" in result.err


def test_a_kernel_thread_is_called_so():
    kernel = [int(p.name) for p in Path("/proc").glob("[0-9]*") if is_kernel_thread(p)]
    if not kernel:
        pytest.skip("no kernel thread is seen here: a container")
    result = told("-p", kernel[0])
    assert (result.status, result.out) == (3, "")
    assert "is a kernel thread" in result.err


def is_kernel_thread(place):
    """PF_KTHREAD of /proc/PID/stat's flags (include/linux/sched.h)."""
    try:
        return int((place / "stat").read_bytes().rpartition(b")")[2].split()[6]) & 0x00200000
    except OSError:
        return False
