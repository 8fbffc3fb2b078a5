"""heapx save and what answers from its file: a process, a core, a remote target, gdb's prompt."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from live import HEAPX, gcore, gdb, heapx, run, table, told
from releases import need
from test_live_remote import served

from gdb_heapx.target import maps

pytestmark = pytest.mark.live

# What the kernel changes between two looks at a process that stands still isn't in these.
SAME = ("arenas", "heaps", "bins", "tcache", "threads", "sizes", "top", "trim", "params", "check")


@pytest.fixture(scope="module")
def scene(start_once):
    return start_once("scene")


def without_gdb(*words, tmp_path):
    """Run scripts/heapx where there is no gdb."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "env", "dirname", "readlink", "python3"):
        if not (tools / name).exists():
            (tools / name).symlink_to(next(p for p in places(name) if os.path.exists(p)))
    return run((HEAPX, *words), env={"PATH": str(tools), "COLUMNS": "80"})


def places(name):
    return (f"{place}/{name}" for place in os.environ["PATH"].split(":"))


@pytest.mark.slow
def test_a_shell_answers_from_a_file_without_gdb(scene, tmp_path):
    file = tmp_path / "now.json.gz"
    saved = told("-p", scene.pid, "save", file)
    assert (saved.status, saved.err) == (0, "")
    size = os.path.getsize(file)
    said = " ".join(saved.out.split())
    assert said.startswith(f"Saved: {file}, ")
    assert f"of process {scene.pid}, which stood still for " in said
    assert size < 40 << 10
    for command in SAME:
        live = told("-p", scene.pid, command, "--format", "json")
        kept = without_gdb("--snapshot", file, command, "--format", "json", tmp_path=tmp_path)
        assert (kept.status, kept.out) == (live.status, live.out), command


MANY = """
import ctypes, mmap, sys
pages = 6000
memory = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
protect = ctypes.CDLL(None).mprotect
for page in range(0, pages, 2):
    memory[page * 4096] = 1
    protect(ctypes.c_void_p(base + page * 4096), ctypes.c_size_t(4096), mmap.PROT_READ)
blocks = [bytes(n % 3000) for n in range(20000)]
del blocks[::2]
print(flush=True)
sys.stdin.read()
"""


def test_without_figures_of_thousands_of_mappings_malloc_s_own_are_the_same(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        try:
            with open(f"/proc/{process.pid}/maps") as mappings:
                assert len([*mappings]) > maps.MANY
            file = tmp_path / "now.json.gz"
            assert told("-p", process.pid, "save", "--no-types", "--no-pins", file).status == 0
            for command in (
                "arenas",
                "heaps",
                "bins",
                "tcache",
                "threads",
                "top",
                "trim",
                "params",
            ):
                live = told("-p", process.pid, command, "--format", "json")
                kept = heapx("--snapshot", file, command, "--format", "json")
                assert (kept.status, kept.out) == (live.status, live.out), command
            (row,) = table(live := told("-p", process.pid, "arenas", "--format", "json").report)
            assert row["resident"] > 10 << 20, live
        finally:
            process.kill()


def test_the_time_that_a_process_stood_still_is_told(scene, tmp_path):
    file = tmp_path / "now.json"
    report = told("-p", scene.pid, "save", file, "--format", "json").report
    (row,) = table(report)
    taken = json.loads(file.read_text())["taken"]
    assert row["milliseconds"] == round(1000 * taken["stood_still"]) > 0
    assert taken["host"] == os.uname().nodename
    assert row["bytes"] == os.path.getsize(file)


@pytest.mark.slow
def test_a_core_is_saved(scene, tmp_path):
    core, file = gcore(scene.pid, tmp_path / "core"), tmp_path / "core.json.zst"
    saved = told("--core", core, "save", file)
    assert (saved.status, saved.err) == (0, "")
    assert "stood still" not in saved.out
    live = told("--core", core, "why", "--format", "json")
    kept = told("--snapshot", file, "why", "--format", "json")
    assert (kept.status, kept.out) == (live.status, live.out)


@pytest.mark.slow
def test_a_remote_process_is_saved(scene, tmp_path):
    file = tmp_path / "remote.json.gz"
    need(gdbserver="gdbserver")
    with served(scene.pid) as port:
        target = f"target remote 127.0.0.1:{port}"
        result = gdb(target, f"heapx save {file}", "heapx arenas --format json", "detach")
    assert result.status == 0, result.err
    arenas = result.out[result.out.index("{") : result.out.rindex("}") + 1]
    kept = heapx("--snapshot", file, "arenas", "--format", "json")
    assert json.loads(kept.out)["tables"] == json.loads(arenas)["tables"]


def test_gdb_answers_from_a_file_until_it_is_to_no_more(scene, tmp_path):
    file = tmp_path / "now.json.gz"
    result = gdb(
        f"heapx save {file}",
        "heapx arenas",
        f"heapx load {file}",
        "heapx arenas",
        "heapx chunks",
        "heapx load /none",
        "heapx load",
        "heapx load",
        target=("-p", scene.pid),
    )
    first, kept = result.out.split("Commands are about process")
    arenas = first[first.index("arenas, sizes") :].strip()
    assert arenas
    assert arenas in kept
    assert f"heapx: from {file}, saved 20" in result.err
    assert "heapx chunks needs single chunks: this is a saved snapshot" in result.err
    assert "cannot read /none: No such file or directory" in result.err
    assert "No more of process" in kept
    assert "no saved snapshot is loaded" in result.err


WRONG = {
    ("--snapshot", "/none"): "heapx: cannot read /none: No such file or directory",
    (
        "--snapshot",
        "/dev/null",
        "arenas",
    ): "heapx: /dev/null is empty",
    ("--snapshot", "x", "-p", "1"): "heapx: a saved snapshot is all that is looked at",
    ("load", "x"): "heapx: heapx load is for gdb",
    ("-p", "1", "save"): "heapx: heapx save needs FILE",
    ("-p", "1", "save", "/none/x.json"): "heapx: cannot write /none/x.json: there is no directory",
}


@pytest.mark.few(3)
@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_on_the_command_line_is_one_message(words):
    result = told(*words)
    assert result.status in (2, 3)
    assert result.out == ""
    assert result.err.startswith(WRONG[words])
