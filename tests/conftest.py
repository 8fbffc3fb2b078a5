"""Fixtures: the inferiors, built once, and a way to start them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import warm
from live import ROOT, Anew, Inferior, gdb, run, running
from once import alone
from properties import IN_CI
from releases import need

from gdb_heapx.commands import load_commands

load_commands()  # as each edge does at first
ANEW = pytest.StashKey[bool]()
LONGEST = "test_walk_calls"  # of the last modules: begun last, it would let a worker wait


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write tests/goldens again")


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # of xdist, which has what is long and few go last


@pytest.hookimpl(tryfirst=True)  # before -m looks at marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem != LONGEST)
    variants: dict[str, list[pytest.Item]] = {}
    for item in items:
        variants.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for alike in variants.values():
        _thin(alike)
        by_default = (item for item in alike if item.get_closest_marker("slow") is None)
        next(by_default, alike[0]).stash[ANEW] = True


def _thin(variants: list[pytest.Item]) -> None:
    """Mark as slow all variants of a test but a few, evenly spread, where it asks for that."""
    few = variants[0].get_closest_marker("few")
    step = -(-len(variants) // few.args[0]) if few else 1
    for number, item in enumerate(variants):
        if number % step:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)  # before fixtures look at processes
def pytest_runtest_setup(item: pytest.Item) -> None:
    """With CI=true, a new gdb answers each time in one variant of each test: in the first of those
    that are run by default, if any is.
    """
    Anew.asked = IN_CI and item.stash.get(ANEW, False)


def pytest_sessionfinish() -> None:
    warm.end_all()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that is there as long as the tests run, the same for all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def inferiors(shared: Path) -> Path:
    """Return the directory of the inferiors, built once; $HEAPX_INFERIORS may name one."""
    if built := os.environ.get("HEAPX_INFERIORS"):
        return Path(built)
    for tool in ("gdb", "make", "cc"):
        if shutil.which(tool) is None:
            pytest.skip(f"live tests need {tool}")
    out = shared / "inferiors"
    out.mkdir(exist_ok=True)
    _make(out)
    return out


@pytest.fixture(scope="session")
def cxx_inferiors(inferiors: Path) -> Path:
    """Return the directory of the inferiors, with those in C++ in it."""
    need(**{"g++": "g++"})
    _make(inferiors, "cxx")
    return inferiors


def _make(out: Path, *targets: str) -> None:
    """Make of the inferiors what no other worker has made, on all processors."""
    at_once, sources = f"-j{os.cpu_count() or 1}", Path(__file__).parent / "inferiors"
    with alone(out):
        words = ["make", "-s", at_once, "-C", sources, f"OUT={out}", *targets]
        subprocess.run(words, check=True, timeout=240)


Start = Callable[..., Inferior]


@contextlib.contextmanager
def _starter(inferiors: Path, base: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        number = iter(range(1000))

        def start(program: str, *arguments: str, **options: Any) -> Inferior:
            directory = base / f"{program}-{next(number)}"
            return stack.enter_context(
                running(inferiors / program, *arguments, directory=directory, **options)
            )

        yield start


@pytest.fixture
def start(inferiors: Path, tmp_path: Path) -> Iterator[Start]:
    """Start inferiors that end with the test."""
    with _starter(inferiors, tmp_path) as starter:
        yield starter


@pytest.fixture(scope="module")
def start_once(inferiors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start inferiors that end with the module's tests."""
    base = tmp_path_factory.mktemp("module")
    with _starter(inferiors, base) as starter:
        yield starter
    shutil.rmtree(base, ignore_errors=True)


REHEARSAL = (
    "python import gdb; from gdb_heapx.gdbside import calls",
    "python calls.calling_thread(gdb.selected_inferior()).switch(); calls.rehearse()",
    "echo rehearsed\\n",
)


@pytest.fixture(scope="session")
def calling_gdb(inferiors: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a gdb that can call functions here: the system's, else with CI=true a newer one.

    gdb 13 can't where the CPU has a large extended state (AMX).
    """
    base = tmp_path_factory.mktemp("calling")
    with running(inferiors / "mixed", directory=base / "mixed") as inferior:
        said = gdb(*REHEARSAL, target=("-p", inferior.pid))
        if "can't write this CPU's registers" not in said.err:
            assert "rehearsed" in said.out, said.err
            return "gdb"
        if not IN_CI:
            pytest.skip(next(line for line in said.err.splitlines() if "can't write" in line))
        words = run((ROOT / "scripts" / "fetch_glibc", "trixie", "--gdb")).out.strip()
        program = base / "gdb"
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        newer = gdb(*REHEARSAL, target=("-p", inferior.pid), program=program)
        assert "rehearsed" in newer.out, newer.err
        return str(program)
