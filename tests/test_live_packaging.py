"""heapx as it is distributed: in a clean venv, without the checkout, in a home that is empty."""

from __future__ import annotations

import shutil
import sys

import pytest
from live import ROOT, environment, run

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Return the directory of a source distribution, and the wheel that was built from it.

    They are built in a copy: setuptools writes into the tree, where another worker builds, too.
    """
    directory = tmp_path_factory.mktemp("dist")
    tree = tmp_path_factory.mktemp("tree") / "checkout"
    beside = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=beside)
    done = run((sys.executable, "-m", "build", "-o", directory, tree))
    assert done.status == 0, done.err
    return directory


@pytest.fixture(scope="module", params=["*.whl", "*.tar.gz"])
def installed(request, distributions, tmp_path_factory):
    """Return the directory of a venv that has heapx and what it depends on."""
    directory = tmp_path_factory.mktemp("venv")
    assert run((sys.executable, "-m", "venv", directory)).status == 0
    (file,) = distributions.glob(request.param)
    done = run((directory / "bin" / "pip", "install", "-q", file))
    assert done.status == 0, done.err
    return directory


def test_it_works_without_the_checkout(installed, start, tmp_path):
    process = start("arenas", "3")
    alone = {"cwd": tmp_path, "env": environment(HOME=str(tmp_path))}
    shown = run((installed / "bin" / "heapx", "-p", process.pid, "arenas"), **alone)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("arenas, sizes in ")


def test_gdb_can_source_what_was_installed(installed, start, tmp_path):
    process = start("arenas", "3")
    alone = {"cwd": tmp_path, "env": environment(HOME=str(tmp_path))}
    loader = run((installed / "bin" / "heapx", "--loader"), **alone).out.strip()
    assert loader == str(installed.resolve() / "share" / "gdb_heapx" / "gdb_heapx.py")
    words = ("gdb", "-nx", "-q", "-batch", "-p", process.pid, "-ex", f"source {loader}")
    shown = run((*words, "-ex", "heapx top", "-ex", "print $_heapx_free() > 0"), **alone)
    assert "trim_threshold 128 KiB (default)" in shown.out
    assert "$1 = 1" in shown.out
    assert "not found" not in shown.err  # tabulate and pygments came along


def test_the_man_page_and_the_types_come_along(installed):
    assert (installed / "share" / "man" / "man1" / "heapx.1").exists()
    assert list(installed.glob("lib/python3*/site-packages/gdb_heapx/py.typed"))
