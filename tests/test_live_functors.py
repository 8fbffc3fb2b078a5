"""What std::functions have in chunks of their own, as compilers at any optimization build them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from live import look, running, table

INFERIORS = Path(__file__).parent / "inferiors"
FLAGS = ("-std=c++17", "-D_GNU_SOURCE", "-pthread", "-Wno-missing-field-initializers")
pytestmark = pytest.mark.live

# How it is compiled: the first one by default.
BUILDS = (
    ("g++", "-O2"),
    *(("g++", flag) for flag in ("-O0", "-Og", "-O1", "-O3", "-Os")),
    *(("g++", "-O2", flag) for flag in ("-flto", "-fno-inline", "-fno-plt", "-no-pie")),
    *(("clang++", flag) for flag in ("-O0", "-O1", "-O2", "-O3", "-Os")),
    ("clang++", "-O2", "-fno-inline"),
)
MORE = [pytest.param(words, marks=pytest.mark.slow) for words in BUILDS[1:]]


def functors_of(program: Path, directory: Path) -> tuple[Mapping[str, int], list[int]]:
    """Return how many functors of each name heapx tells, and the program's numbers."""
    with running(program, directory=directory) as inferior:
        rows = table(look(inferior.pid, "types", "--limit", "10000"), "types")
        known = [int(words[1]) for words in inferior.oracle.known]
    called = (re.match(r"functor of std::function: (.*)", row["type"]) for row in rows)
    names = Counter[str]()
    for row, name in zip(rows, called):
        names.update({name[1]: row["chunks"]} if name else {})
    return names, known


@pytest.mark.slow
@pytest.mark.parametrize("words", [BUILDS[0], *MORE], ids="".join)
def test_functors_of_each_kind_are_counted_however_they_are_compiled(words, tmp_path):
    compiler, *flags = words
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    program, stripped = tmp_path / "functors", tmp_path / "functors_stripped"
    command = (compiler, *FLAGS, *flags, INFERIORS / "functors.cc", "-o", program, "-ldl")
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["strip", "-o", stripped, program], check=True)
    for each in (program, stripped):
        names, known = functors_of(each, tmp_path / f"ran_{each.name}")
        assert sorted(names.values()) == sorted(known)
        assert all(("functors_stripped+" in name) == (each is stripped) for name in names)
