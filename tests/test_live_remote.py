"""Remote targets, other architectures, and cores that list no files; malloc_info is the oracle."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import subprocess

import pytest
from live import environment, gdb, kernel_core, reports, running, table
from oracle import Oracle
from releases import Glibc, glibc_of, need

pytestmark = pytest.mark.live

COMMANDS = ("heapx", "heapx arenas", "heapx check", "heapx why")
THREADS = 9
NO_SYMBOLS = ("-iex", "set debug-file-directory /nonexistent")
FILES_HERE = ("-iex", "set sysroot /")
KINDS = {"dynamic": (), "static": ("-static",), "static-pie": ("-static-pie",)}
ARCHES = {"aarch64": "arm64", "s390x": "s390x"}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def is_exact(found, oracle, tcaches):
    """Check the arenas against malloc_info; None of `tcaches`: their chunks count as in use."""
    assert not any(report["problems"] for report in found.values())
    assert all(row["ok"] for row in table(found["heapx check"]))
    assert "foreign_brk" not in {row["code"] for row in table(found["heapx why"])}
    rows = table(found["heapx arenas"])
    ours = sorted((r["system"], r["binned_chunks"] + 1, r["binned"] + r["top"]) for r in rows)
    assert ours == sorted((arena.system, *arena.rest) for arena in oracle.arenas)
    checked = [row["check"] for row in table(found["heapx check"])]
    assert sum(check.startswith("tcache counts of thread") for check in checked) == tcaches


# gdbserver, here.


@contextlib.contextmanager
def served(pid):
    """Yield the port at which gdbserver serves a process."""
    command = ["gdbserver", "--once", "--attach", "127.0.0.1:0", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            lines = iter(server.stderr.readline, "")
            yield next(match[1] for match in (re.search(r"port (\d+)", s) for s in lines) if match)
        finally:
            server.kill()


@pytest.mark.slow
def test_over_gdbserver_growth_is_refused_and_fit_answers(start):
    need(gdbserver="gdbserver")
    inferior = start("growth", "rest")
    with served(inferior.pid) as port:
        target = (*FILES_HERE, "-ex", f"target remote :{port}")
        said = gdb("heapx growth --seconds 1", "heapx fit 100000", target=target)
    assert "a process can't be watched over a remote connection" in said.err
    assert "will set" not in said.err
    assert "fit, sizes in bytes" in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "strip", "gdb_words"),
    [
        ("dynamic", False, (*FILES_HERE, *NO_SYMBOLS)),
        slow("dynamic", False, FILES_HERE),
        slow("dynamic", False, NO_SYMBOLS),  # the files come from gdbserver
        *(slow(kind, strip, ()) for kind in ("static", "static-pie") for strip in (False, True)),
    ],
)
def test_over_gdbserver_figures_are_exact(kind, strip, gdb_words, tmp_path):
    need(gdbserver="gdbserver")
    flags = (*KINDS[kind], *(("-s",) if strip else ()))
    exe = glibc_of("host").build("arenas", tmp_path, *flags)
    with running(exe, "3", directory=tmp_path / "run") as inferior, served(inferior.pid) as port:
        target = (*gdb_words, exe, "-ex", f"target remote 127.0.0.1:{port}")
        is_exact(reports(COMMANDS, tmp_path / "out", target), inferior.oracle, THREADS)


# Other architectures, by qemu's user emulation.


def cross(arch):
    """Return a cross compiler, and the words for gdb; skip with what is missing."""
    package = f"gcc-{arch}-linux-gnu libc6-dev-{ARCHES[arch]}-cross"
    commands = {f"{arch}-linux-gnu-gcc": package, f"qemu-{arch}-static": "qemu-user-static"}
    need(gdb_multiarch="gdb-multiarch", **commands)
    return Glibc(arch, (f"{arch}-linux-gnu-gcc",)), ("-iex", f"set sysroot /usr/{arch}-linux-gnu")


def emulated(arch, exe, *words):
    return (f"qemu-{arch}-static", "-L", f"/usr/{arch}-linux-gnu", *words, exe, "3")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_through_an_emulators_stub_figures_are_exact(arch, kind, tmp_path):
    """Of a static program the stub tells no thread pointers, so its tcaches are missing."""
    compiler, words = cross(arch)
    exe = compiler.build("arenas", tmp_path, *KINDS[kind])
    env = environment(HEAPX_ORACLE=str(tmp_path), HEAPX_ABORT="1")
    port = free_port()
    stopped = ("-ex", f"target remote 127.0.0.1:{port}", "-ex", "continue")
    command = emulated(arch, exe, "-g", str(port))
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            found = reports(COMMANDS, tmp_path / "out", (*words, exe, *stopped), "gdb-multiarch")
        finally:
            process.kill()
    is_exact(found, Oracle(tmp_path), THREADS if kind == "dynamic" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHES)
def test_in_a_core_that_lists_no_files_figures_are_exact(arch, tmp_path):
    """The emulator's core; gdb knows the files of a program that isn't relocated."""
    compiler, words = cross(arch)
    exe = compiler.build("arenas", tmp_path, "-no-pie")
    run = tmp_path / "run"
    run.mkdir()
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    subprocess.run(
        emulated(arch, exe),
        cwd=run,
        env=environment(HEAPX_ORACLE=str(run), HEAPX_ABORT="1"),
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited),
    )
    (core,) = run.glob("qemu_*.core")
    found = reports(COMMANDS, tmp_path / "out", (*words, exe, core), "gdb-multiarch")
    for file in run.glob("*core*"):  # the emulator's own is huge
        file.unlink()
    is_exact(found, Oracle(run), THREADS)


def without_nt_file(core):
    """Take the list of files out of a core."""
    with open(core, "r+b") as file:
        head = file.read(1 << 20)
        file.seek(head.index(b"ELIFCORE\0"))  # the note's type, and its owner
        file.write(b"none")


def test_in_the_kernels_core_without_its_list_of_files_figures_are_exact(start, tmp_path):
    """As of a process with too many mappings: the kernel leaves out a list that is too long."""
    inferior = start("arenas", "3")
    core = kernel_core(inferior)
    without_nt_file(core)
    found = reports(COMMANDS, tmp_path / "out", (inferior.exe, core))
    core.unlink()
    is_exact(found, inferior.oracle, THREADS)
