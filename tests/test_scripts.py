"""What the scripts say where something is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from live import ROOT, environment, run

NOBODY = {"user": 65534, "group": 65534, "extra_groups": ()} if os.geteuid() == 0 else {}
TOOLS = ("bash", "dirname")  # and no sudo


@pytest.fixture
def installing():
    """Return what a script says that misses gdb and make, to a user who isn't root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's are for its user alone
        directory = Path(name)
        directory.chmod(0o755)
        yield _installing(directory)


def _installing(directory):
    (directory / "scripts").mkdir(mode=0o755)
    shutil.copy(ROOT / "scripts" / "setup.sh", directory / "scripts")

    def says(*tools):
        for tool in (*TOOLS, *tools):
            (directory / tool).symlink_to(shutil.which(tool) or "/bin/true")
        line = f"source {directory}/scripts/setup.sh; missing=(gdb make); install_missing"
        return run(("bash", "-c", line), env=environment(PATH=str(directory)), cwd="/", **NOBODY)

    return says


def test_a_user_without_sudo_is_told_what_root_has_to_type(installing):
    done = installing("apt-get")
    assert (done.status, done.out) == (1, "")
    assert "only root may install packages, and there is no sudo" in done.err
    assert "As root: apt-get update && apt-get install gdb make. Then run this again." in done.err
    assert len(done.err.splitlines()) == 1


def test_where_there_is_no_apt_get_the_packages_are_named_as_debian_s(installing):
    done = installing()
    assert (done.status, done.out) == (1, "")
    assert "gdb make (this system has no apt-get)" in done.err
    assert "Debian's names; yours may differ" in done.err


@pytest.fixture
def testing(tmp_path):
    """Return what runs a copy of scripts/test whose pytest does nothing, and ends with a status."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "test", tmp_path / "scripts")
    ready = "need_gdb_and_gcc() { :; }; need() { :; }; need_python() { :; }"
    more = "install_missing() { :; }; venv() { :; }; set -euo pipefail"
    setup = tmp_path / "scripts" / "setup.sh"
    setup.write_text(f"{ready}\n{more}\ncd {tmp_path}\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)

    def tests(*words, ends=0):
        python.write_text(f"#!/bin/sh\nexit {ends}\n")
        python.chmod(0o755)
        done = run((tmp_path / "scripts" / "test", *words), env=environment(CI=""))
        assert done.status == ends
        return done.err

    return tests


def test_the_tests_say_about_how_long_they_take(testing):
    assert testing() == "The default tests take 2 to 5 minutes on two cores.\n"
    assert testing() == "These tests took 1 min here last time.\n"
    assert "all of them, which weren't timed here yet" in testing("-m", "")
    assert testing("-m", "") == "These tests took 1 min here last time.\n"
    assert testing("-k", "bins") == ""


def test_a_run_of_the_tests_that_was_interrupted_tells_nothing_about_the_next(testing):
    testing(ends=2)
    assert "2 to 5 minutes" in testing(ends=1)
    assert "last time" in testing()


@pytest.fixture
def compiling(tmp_path):
    """Return a copy of what compiles the walk in place, as every script with a .venv does."""
    walk = [path.relative_to(ROOT) for path in (ROOT / "gdb_heapx" / "heap").glob("*.[ch]")]
    for name in ("scripts/setup.sh", "scripts/build_walk", *walk):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def compiles(**more):
        """Run it; return what it said, and which file there is then."""
        line = f"source {tmp_path}/scripts/setup.sh; compile_walk; echo went on"
        done = run(("bash", "-c", line), env=environment(**more))
        assert (done.status, done.out) == (0, "went on\n")
        return done.err, file.stat() if file.exists() else None

    folder = tmp_path / "gdb_heapx" / "heap"
    file = folder / f"walk-{os.uname().machine}.so"
    return compiles, folder / "walk.c"


@pytest.mark.slow
def test_the_walk_is_compiled_where_it_is_new_or_changed_and_else_left_alone(compiling):
    compiles, source = compiling
    said, first = compiles()
    assert (said, first is None) == ("", False)
    assert compiles(CC="nonesuch") == ("", first)  # which would fail
    os.utime(source, (first.st_mtime + 1, first.st_mtime + 1))
    said, second = compiles()
    assert (said, second.st_ino != first.st_ino) == ("", True)


def test_a_walk_that_cant_be_compiled_stops_no_script(compiling):
    compiles, source = compiling
    source.write_text("nonsense")
    said, file = compiles()
    assert file is None
    assert "heapx walks in Python" in said
