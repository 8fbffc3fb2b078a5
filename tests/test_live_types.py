"""heapx types counts every object: running, in cores, and in programs without symbols."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from live import ROOT, look, running, table
from releases import need
from sets import classes_of, objects_of
from ways import ALL, in_use, seen

pytestmark = pytest.mark.live

OBJECTS = ROOT / "tests" / "inferiors" / "objects.py"

CASES = [
    ("types", "live"),
    ("types_stripped", "live"),
    *(
        pytest.param((name, way), marks=pytest.mark.slow)
        for name in ("types", "types_stripped")
        for way in ("gcore", "kernel")
    ),
]
INSIDE = ("zoo::Member",)  # whose chunks are counted as those of what has it as its first object

# How what is no object is called, by what the program calls it.
CONTAINERS = {
    "string": "string body",
    "shared_ptr": "control block of zoo::Counted",
    "stream": "stream buffer",
}
DATA = {
    "ascii": "text, ASCII",
    "utf8": "text, UTF-8",
    "utf16": "text, UTF-16",
    "zeros": "zeros",
    "pointers": "pointers only",
}


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def types(request, cxx_inferiors, tmp_path_factory):
    name, way = request.param
    options = {"directory": tmp_path_factory.mktemp(name), "counted": True}
    with seen(way, cxx_inferiors / name, commands=("types",), **options) as found:
        yield found


def rows_of(types) -> list[dict[str, Any]]:
    return table(types.reports["types"], "types")


def counted(types, *names: str) -> tuple[int, int]:
    """Return the instances and the chunks of what is called so, however that is known."""
    rows = [row for row in rows_of(types) if row["type"] in names]
    return sum(row["instances"] for row in rows), sum(row["chunks"] for row in rows)


def test_every_object_is_counted_once(types):
    known = classes_of(types.oracle)
    assert known
    found = {name: counted(types, name, f"make_shared's {name}") for name in known}
    assert {name: n for name, (n, _) in found.items()} == {n: k.instances for n, k in known.items()}
    for name, kind in known.items():
        if name not in INSIDE:
            assert (name, found[name][1]) == (name, kind.chunks)


def test_objects_that_are_dead_are_told_apart(types):
    for name, kind in classes_of(types.oracle, "dead").items():
        rows = [row for row in rows_of(types) if name in row["type"] and "(dead)" in row["type"]]
        assert sum(row["chunks"] for row in rows) == kind.chunks
        assert not counted(types, name, f"make_shared's {name}")[1]


def test_no_base_is_an_object_of_its_own(types):
    for name in ("zoo::Animal", "zoo::Swimmer", "zoo::Left", "zoo::Right"):
        assert counted(types, name) == (0, 0)


def test_what_containers_have_allocated_is_told(types):
    known = {words[1]: int(words[2]) for words in types.oracle.known if words[0] == "container"}
    for kind, name in CONTAINERS.items():
        assert (kind, counted(types, name)[1]) == (kind, known[kind])


def test_what_holds_no_object_is_told_by_its_contents(types):
    """Others have text and zeros, too: the program's chunks are those of one size."""
    known = {words[1]: int(words[2]) for words in types.oracle.known if words[0] == "data"}
    for kind, name in DATA.items():
        rows = [row for row in rows_of(types) if row["type"].endswith(name)]
        assert sum(row["chunks"] for row in rows) >= known[kind], kind


def test_functions_that_frames_and_std_function_lead_to_are_named(cxx_inferiors, start):
    rows = table(look(start("types").pid, "types", *ALL.split()), "types")
    frames = [row for row in rows if row["type"].startswith("coroutine frame of zoo::count_to(")]
    functions = [row for row in rows if row["type"].startswith("std::function")]
    assert sum(row["chunks"] for row in frames) == 16
    assert sum(row["chunks"] for row in functions) == 18  # none is the vector that has more


def test_what_std_functions_have_in_chunks_is_counted(types):
    known = {words[1]: int(words[2]) for words in types.oracle.known if words[0] == "container"}
    rows = [row for row in rows_of(types) if row["type"].startswith("functor of std::function: ")]
    assert sum(row["chunks"] for row in rows) == known["functor"] > 0
    where = {re.sub(r"0x[0-9a-f]+", "", row["type"].partition(": ")[2]) for row in rows}
    with_symbols = {f"functors()::{{lambda()#{number}}}" for number in (1, 2)}
    assert where in (with_symbols, {"types_stripped+"})


def test_the_types_add_up_to_in_use(types):
    rows = rows_of(types)
    total = (sum(row["chunks"] for row in rows), sum(row["bytes"] for row in rows))
    assert total == in_use(types.oracle)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "python", ["/usr/bin/python3", pytest.param(sys.executable, marks=pytest.mark.slow)]
)
def test_objects_of_python_are_named_and_counted(python, tmp_path):
    need(**{python: "python3"})
    command = (python, str(OBJECTS))
    env = {"PYTHONMALLOC": "malloc"}
    with running(OBJECTS, directory=tmp_path, env=env, command=command) as inferior:
        rows = table(look(inferior.pid, "types", *ALL.split()), "types")
        for how, name, number in objects_of(inferior.oracle):
            found = sum(
                row["instances"] for row in rows if row["type"] in (name, f"__main__.{name}")
            )
            assert (name, found) == (name, number) if how == "exact" else found >= number, name
        rows = table(look(inferior.pid, "types", "--by", "size", *ALL.split()), "types")
        tables = {row["size"]: row["chunks"] for row in rows if row["type"] == "dict table"}
        for _, size, number in (words for words in inferior.oracle.known if words[0] == "table"):
            assert tables.get(int(size) + 8 + 15 & ~15, 0) >= int(number), size
