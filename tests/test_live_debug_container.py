"""From a debug container that shares its pid namespace a process is read as from the host.

As `kubectl debug --target` and `docker run --pid=container:` make one: what unshare(1) makes here
has the namespaces and capabilities of such a container, and a root of its own.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from live import LOADER, ROOT, at_rest, eventually, look, run, running, table

pytestmark = [pytest.mark.live, pytest.mark.slow]

CONTAINED = Path(__file__).parent / "contained.py"
UNSHARED = ("unshare", "--mount", "--net", "--ipc", "--uts")
# What Docker and containerd give by default, and that with CAP_SYS_PTRACE.
USUAL, TRACING = "a80425fb", "a80c25fb"
USER = "1000"
SYSTEM = ("bin", "sbin", "lib", "lib64")


@pytest.fixture(scope="module", autouse=True)
def permitted():
    if os.geteuid() or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("needs root, on x86_64 or aarch64")
    for tool in ("unshare", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if subprocess.run([*UNSHARED, "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("not permitted to make namespaces here")


def contained(root, binds, capabilities, user, *command):
    return sys.executable, CONTAINED, root, binds, capabilities, user, *command


@pytest.fixture
def image(inferiors, tmp_path):
    """Return the root of a container that has a program, its libraries, and nothing else."""
    root = tmp_path / "image"
    for name in ("proc", "run", "app"):
        (root / name).mkdir(parents=True)
    shutil.copy(inferiors / "arenas", root / "app")
    libraries = run(("ldd", inferiors / "arenas")).out
    for library in re.findall(r"(/\S+) \(0x", libraries):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    return root


@contextmanager
def container(image, inferiors, user="0", more=()):
    """Start the program as the first one of a container; yield it with the PID it has outside."""
    run_in = image / "run"
    os.chown(run_in, int(user), int(user))
    prefix = (*UNSHARED, *more, "--pid", "--fork", "--kill-child")
    command = (*prefix, *contained(image, "", USUAL, user, "/app/arenas"))
    env = {"HEAPX_ORACLE": "/run"}
    with running(
        inferiors / "arenas", "5", directory=run_in, env=env, command=tuple(map(str, command))
    ) as inferior:
        children = Path(f"/proc/{inferior.pid}/task/{inferior.pid}/children").read_text()
        pid = int(children.split()[0])
        try:
            eventually(lambda: at_rest(pid), "it rests")
            yield replace(inferior, pid=pid)
        finally:
            os.kill(pid, signal.SIGKILL)  # --kill-child does not, where the user has changed


@pytest.fixture
def debugging(tmp_path):
    """Return what runs heapx in a debug container beside a process: as its image has it a copy of
    heapx, gdb and the system's Python.
    """
    root, binds = tmp_path / "debug", ["/usr:/usr", "/etc:/etc", "/dev:/dev"]
    for name in ("usr", "etc", "dev", "proc", "tmp", "heapx/scripts"):
        (root / name).mkdir(parents=True)
    for name in SYSTEM:
        if os.path.islink(f"/{name}"):
            (root / name).symlink_to(os.readlink(f"/{name}"))
        elif os.path.isdir(f"/{name}"):
            (root / name).mkdir()
            binds.append(f"/{name}:/{name}")
    shutil.copytree(ROOT / "gdb_heapx", root / "heapx" / "gdb_heapx")
    shutil.copy(LOADER, root / "heapx")
    shutil.copy(ROOT / "scripts" / "heapx", root / "heapx" / "scripts")

    def heapx(process, capabilities, user, *words, more=()):
        beside = ("nsenter", "--target", process.pid, *more, "--pid")
        shell = ("/bin/sh", "/heapx/scripts/heapx", *words)
        env = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
        inside = contained(root, ",".join(binds), capabilities, user, *shell)
        return run((*beside, *UNSHARED, *inside), env=env)

    return heapx


def how(report):
    return {row["what"]: (row["value"], row["how"]) for row in table(report)}


USERS = ("--user", "--map-root-user")


@pytest.mark.parametrize(
    ("user", "capabilities", "by", "more"),
    [
        ("0", USUAL, "0", ()),
        ("0", TRACING, "0", ()),
        (USER, TRACING, "0", ()),
        (USER, USUAL, USER, ()),
        ("0", USUAL, "0", USERS),
    ],
    ids=["root", "root that may trace", "another user's", "as that user", "user namespace"],
)
def test_a_process_is_read_as_from_the_host(
    image, inferiors, debugging, user, capabilities, by, more
):
    with container(image, inferiors, user, more) as process:
        outside = look(process.pid, "arenas")

        def seen_by(*words):
            options = ("--format", "json")
            return debugging(process, capabilities, by, "1", *words, *options, more=more[:1])

        seen, about = seen_by("arenas"), seen_by("about")
        assert (seen.status, seen.err) == (0, "")
        assert seen.report["tables"] == outside["tables"]
        assert seen.report["target"]["pid"] == 1
        assert how(about.report)["main_arena"] == how(look(process.pid, "about"))["main_arena"]
        assert how(about.report)["libc"][1] == "its symbols: from the file"


def test_without_the_capability_another_users_process_is_refused_with_what_helps(
    image, inferiors, debugging
):
    with container(image, inferiors, USER) as process:
        refused = debugging(process, USUAL, "0", "1", "arenas")
        assert (refused.status, refused.out) == (3, "")
        assert "without the capability CAP_SYS_PTRACE" in refused.err
        assert "--cap-add=SYS_PTRACE" in refused.err
        assert f"setpriv --reuid={USER} --regid={USER} --clear-groups heapx -p 1" in refused.err
        other = debugging(process, USUAL, "2000", "1", "arenas")
        assert "It is another user's" in other.err


def test_a_libc_that_the_debug_container_lacks_is_read_too(image, inferiors, debugging):
    """One with another build-id, stripped: gdb has no symbols for it."""
    for libc in image.rglob("libc.so.6"):
        run(("strip", "--strip-all", libc))
        data = bytearray(libc.read_bytes())
        at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
        data[at : at + 20] = bytes(range(20))
        libc.write_bytes(data)
    with container(image, inferiors) as process:
        seen = debugging(process, USUAL, "0", "1", "arenas", "--format", "json")
        assert (seen.status, seen.err) == (0, "")
        assert seen.report["tables"] == look(process.pid, "arenas")["tables"]
        about = how(debugging(process, USUAL, "0", "1", "about", "--format", "json").report)
        assert about["build-id"][0] == bytes(range(20)).hex()
        assert about["main_arena"][1] == "structure"
