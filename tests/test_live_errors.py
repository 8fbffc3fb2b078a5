"""What can't be done is said in one message on stderr, with what to do; stdout stays empty."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from live import (
    GONE,
    HEAPX,
    at_rest,
    environment,
    gcore,
    heapx,
    run,
    running,
    session,
    status,
    told,
)

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def mixed(start_once):
    return start_once("mixed")


@pytest.fixture(scope="module")
def not_glibc(start_once):
    return start_once("not_glibc")


@pytest.fixture(scope="module")
def core(mixed, tmp_path_factory):
    file = gcore(mixed.pid, tmp_path_factory.mktemp("core") / "core")
    yield file
    file.unlink()


def refused(result, number, *said):
    """Check an error: nothing on stdout, one message, no traceback, and what it must say."""
    assert (result.status, result.out) == (number, ""), result.err
    lines = result.err.splitlines()
    assert lines[0].startswith("heapx: ")
    assert all(line.startswith("  ") for line in lines[1:]), result.err
    assert "Traceback" not in result.err
    for words in said:
        assert words in result.err


# Which process, which core.


def test_no_such_process():
    refused(heapx("-p", GONE, "arenas"), 3, f"no process {GONE}", "ps -e lists")


def test_a_process_that_has_ended():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    refused(told("-p", process.pid), 3, f"no process {process.pid}")


def test_a_process_that_nobody_has_waited_for():
    """A zombie still has a directory in /proc, and can't be attached to."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        refused(told("-p", process.pid), 3, str(process.pid))


def test_a_process_that_is_killed_while_heapx_looks(start):
    victim = start("fast", "400000", env={"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})
    with subprocess.Popen(
        [HEAPX, "-p", str(victim.pid), "arenas"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        while at_rest(victim.pid) and process.poll() is None:
            pass
        victim.process.kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("heapx: ")


def test_neither_process_nor_core():
    refused(heapx("arenas"), 2, "-p PID or --core CORE")


def test_both_process_and_core(mixed, core):
    refused(told("-p", mixed.pid, "--core", core, "arenas"), 2, "-p PID or --core CORE")


@pytest.mark.parametrize(("pid", "number"), [("-1", 2), ("a/b", 2), ("", 2), ("no-such", 3)])
def test_a_pid_that_is_none(pid, number):
    assert told("-p", pid, "arenas")[:2] == (number, "")


def test_no_such_core(tmp_path):
    refused(told("--core", tmp_path / "none"), 3, "no file")


def test_a_text_file_is_no_core(tmp_path, mixed):
    file = tmp_path / "notes"
    file.write_text("not a core\n" * 100)
    refused(told("--core", file, "--exe", mixed.exe), 3, str(file))


def test_an_executable_is_no_core(mixed):
    refused(told("--core", mixed.exe, "--exe", mixed.exe), 3, str(mixed.exe))


@pytest.mark.parametrize("kept", ["100", "50000", "half", "all but a page"])
def test_a_truncated_core_is_an_error_or_damage_never_a_guess(core, mixed, tmp_path, kept):
    size = core.stat().st_size
    keep = {"half": size // 2, "all but a page": size - 4096}.get(kept) or int(kept)
    file = tmp_path / "core"
    with open(core, "rb") as whole:
        file.write_bytes(whole.read(keep))
    result = told("--core", file, "--exe", mixed.exe, "arenas", "--format", "json")
    assert "Traceback" not in result.err
    if result.status == 3:
        refused(result, 3)
    elif result.status == 1:
        assert [p for p in result.report["problems"] if not p["in_motion"]]
    else:
        assert result.status == 0
        whole = told("--core", core, "--exe", mixed.exe, "arenas", "--format", "json")
        assert result.report["tables"] == whole.report["tables"]


def test_the_program_of_another_core(core, inferiors, not_glibc):
    result = told("--core", core, "--exe", not_glibc.exe, "arenas")
    assert result.status in (0, 3)
    assert "Traceback" not in result.err


def test_a_process_may_be_told_by_its_program_alone(inferiors, tmp_path):
    program = shutil.copy(inferiors / "mixed", tmp_path / "heapx-mixed")
    with running(Path(program), directory=tmp_path / "run") as inferior:
        asked = (("-p", inferior.pid), (inferior.pid,), ("heapx-mixed",), ("-p", "heapx-mixed"))
        reports = [told(*words, "arenas", "--format", "json").report["tables"] for words in asked]
    assert reports == [reports[0]] * len(asked)


def test_a_command_wins_over_a_program_of_its_name(inferiors, tmp_path):
    program = shutil.copy(inferiors / "mixed", tmp_path / "arenas")
    with running(Path(program), directory=tmp_path / "run") as inferior:
        refused(told("arenas"), 2, "-p PID or --core CORE")
        assert told("-p", inferior.pid, "about").status == 0
        named = told("-p", "arenas", "about")
    assert named.status == 0 or "processes run arenas" in named.err


def test_what_is_neither_a_command_nor_a_program():
    said = "no command 'no-such', and no process runs a program of that name"
    refused(told("no-such"), 2, said, "Commands: about, arenas")


# Which malloc.


def test_a_program_without_glibc(not_glibc):
    refused(heapx("-p", not_glibc.pid, "arenas"), 3, "malloc is not glibc's")
    assert at_rest(not_glibc.pid)


def test_a_core_without_glibc(not_glibc, tmp_path):
    core = gcore(not_glibc.pid, tmp_path / "core")
    refused(told("--core", core, "--exe", not_glibc.exe, "arenas"), 3, "malloc is not glibc's")
    core.unlink()


@pytest.mark.parametrize("command", [(), ("why",), ("ledger",)])
def test_of_a_program_without_glibc_the_whole_is_told_and_what_serves_it(not_glibc, command):
    result = told("-p", not_glibc.pid, *command, "--format", "json")
    assert result.status == 3
    assert "the program itself, not glibc, serves malloc here" in result.err
    if command != ("why",):
        rows = result.report["tables"][0]["rows"]
        apart = ("devices (not in RSS)", "huge pages (not in RSS)")
        rss = sum(row["resident"] for row in rows if row.get("owner") not in apart)
        rollup = Path(f"/proc/{not_glibc.pid}/smaps_rollup").read_text()
        assert f"Rss: {rss // 1024} kB" in " ".join(rollup.split())


def test_a_program_in_a_language_that_has_no_long(mixed):
    lines = ("set language go", "heapx check", "p $_heapx_in_use()", "show language")
    result = session(*lines, "set language auto", target=("-p", mixed.pid))
    assert "Traceback" not in result.err
    assert "checks hold" in result.out
    assert re.search(r"^\$\d+ = [1-9]\d+$", result.out, re.M)
    assert 'is "go"' in result.out


def test_a_program_without_glibc_in_an_own_gdb(not_glibc):
    result = session("heapx arenas", target=("-p", not_glibc.pid))
    assert "malloc is not glibc's" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("name", ["main-arena", "mp"])
def test_an_address_set_by_hand_that_is_in_no_libc(mixed, name):
    result = told("-p", mixed.pid, "--set", f"{name}=0x1000", "arenas")
    refused(result, 3, "0x1000, set by hand, is not in the data of any libc")


def test_an_address_set_by_hand_where_main_arena_is_not(mixed):
    """libc's first page: readable, in libc, and no arena."""
    result = told("-p", mixed.pid, "--set", f"main-arena={_libc(mixed.pid):#x}", "arenas")
    refused(result, 3, "main_arena was set to", "what is there can't be it")


def _libc(pid):
    """Return where a process's libc begins."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return int(next(line for line in maps if "/libc.so.6" in line).partition("-")[0], 16)


@pytest.mark.parametrize("setting", ["nosuch=1", "main-arena", "=1"])
def test_a_setting_that_heapx_has_not(mixed, setting):
    refused(told("-p", mixed.pid, "--set", setting, "arenas"), 2, "main-arena, mp, release")


def test_a_release_that_is_none(mixed):
    result = told("-p", mixed.pid, "--set", "release=new", "arenas")
    refused(result, 2, "'new' is not a release of glibc")


# Which command.


def switches(process):
    """Return how often its main thread was run, as the kernel counts: more often if it is stopped
    and goes on.
    """
    kinds = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return sum(int(status(process.pid, kind)) for kind in kinds)


def test_it_shows_that_a_process_was_stopped(mixed):
    before = switches(mixed)
    assert told("-p", mixed.pid, "arenas").status == 0
    assert switches(mixed) > before


@pytest.mark.parametrize(
    "words",
    [
        ("arenas", "--format", "nosuch"),
        ("arenas", "--limit", "x"),
        ("arenas", "x"),
        ("nosuch",),
        ("arenas", "--output", "/nonexistent/file"),
    ],
)
@pytest.mark.few(2)
def test_a_wrong_command_line_does_not_stop_the_process(mixed, words):
    before = switches(mixed)
    refused(told("-p", mixed.pid, *words), 2, words[-1].replace("/file", ""))
    assert switches(mixed) == before


def test_an_unknown_option_or_command(mixed):
    refused(told("--nosuch"), 2, "--nosuch")
    refused(told("-p", mixed.pid, "nosuch"), 2, "no command 'nosuch'", "arenas")


def test_a_gdb_that_is_not_there(mixed):
    refused(heapx("--gdb", "/nonexistent/gdb", "-p", mixed.pid), 3, "/nonexistent/gdb, which --gdb")
    named = heapx("-p", mixed.pid, env=environment(HEAPX_GDB="/nonexistent/gdb"))
    refused(named, 3, "/nonexistent/gdb, which HEAPX_GDB names, was not found")


# Output to a file.


def test_output_is_written_whole_and_stdout_stays_empty(mixed, tmp_path):
    file = tmp_path / "report.json"
    file.write_text("old")
    result = told("-p", mixed.pid, "arenas", "--format", "json", "--output", file)
    assert result == (0, "", "")
    shown = told("-p", mixed.pid, "arenas", "--format", "json")
    assert file.read_text() == shown.out
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_output_is_relative_to_where_the_user_is(mixed, tmp_path):
    assert heapx("-p", mixed.pid, "arenas", "--output", "here", cwd=tmp_path).status == 0
    assert (tmp_path / "here").read_text().startswith("arenas")


def test_output_into_a_missing_directory_is_refused(mixed, tmp_path):
    file = tmp_path / "none" / "report"
    refused(told("-p", mixed.pid, "arenas", "--output", file), 2, str(file.parent))
    assert not file.parent.exists()


def test_output_onto_a_directory_leaves_nothing(mixed, tmp_path):
    directory = tmp_path / "directory"
    directory.mkdir()
    result = told("-p", mixed.pid, "arenas", "--output", directory)
    assert result.status in (2, 3)
    refused(result, result.status, str(directory))
    assert list(tmp_path.iterdir()) == [directory]
    assert list(directory.iterdir()) == []


def test_after_an_error_the_old_file_is_still_there(not_glibc, tmp_path):
    file = tmp_path / "report"
    file.write_text("old")
    assert told("-p", not_glibc.pid, "arenas", "--output", file).status == 3
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_a_full_pipe_s_reader_may_leave(mixed):
    line = f"'{HEAPX}' -p {mixed.pid} bins --format json | head -1"
    assert run(("sh", "-c", line)) == (0, "{\n", "")


# Permission.


def test_a_process_of_another_user_says_what_to_do(mixed):
    """Looked at by an unprivileged user, from a copy that this user can read."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to look as another user")
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chmod(home, 0o755)
        package = Path(home) / "heapx"
        root = HEAPX.parent.parent
        shutil.copytree(root / "gdb_heapx", package / "gdb_heapx")
        shutil.copy(root / "gdb_heapx.py", package)
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        env = environment(PYTHONPATH=str(package), HOME=home, TMPDIR="/tmp")
        words = (python, "-m", "gdb_heapx", "-p", mixed.pid, "arenas")
        result = run(words, env=env, cwd="/", user=nobody, group=nobody, extra_groups=())
    refused(result, 3, "not permitted", "another user's: run heapx as root, or as that user")
    assert at_rest(mixed.pid)


@pytest.mark.slow
def test_root_without_the_capability_is_not_told_to_be_root(mixed):
    """Where the process has capabilities that heapx lacks, as one outside of a container may."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    result = run(("setpriv", "--bounding-set=-sys_ptrace", HEAPX, "-p", mixed.pid, "arenas"))
    refused(result, 3, "as root, but without the capability CAP_SYS_PTRACE", "--cap-add=SYS_PTRACE")
    assert "run heapx as root" not in result.err.lower()


def test_a_traced_process_says_so(mixed):
    tracer = ("gdb", "-nx", "-q", "-p", str(mixed.pid))
    with subprocess.Popen(
        tracer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        process.stdin.write(b"echo >>>\\n\n")
        process.stdin.flush()
        while b">>>" not in process.stdout.readline():
            pass
        result = told("-p", mixed.pid, "arenas")
        process.communicate(b"detach\nquit\n", timeout=60)
    refused(result, 3, str(mixed.pid), f"traced by process {process.pid} (gdb)")
    assert at_rest(mixed.pid)
