"""The compiled walk is found beside the package and nowhere else, or it is told why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from heapbuilder import usual
from live import environment, session, table, told
from walkcalls import BUILD

from gdb_heapx.heap import library as finding
from gdb_heapx.heap.library import ABI, library, load

MACHINE = os.uname().machine
NAME = f"walk-{MACHINE}.so"
EXPORT = '__attribute__ ((visibility ("default"))) '


def compiled(file, source=None):
    """Compile the walk, or another source with its flags, to a file."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    tree = file.parent / f"tree-{file.name}"
    script = tree / "scripts" / BUILD.name
    script.parent.mkdir(parents=True)
    shutil.copy(BUILD, script)
    place = tree / "gdb_heapx" / "heap" / "walk.c"
    own = BUILD.parents[1] / "gdb_heapx" / "heap"
    place.parent.mkdir(parents=True)
    for header in own.glob("*.h"):
        shutil.copy(header, place.parent)
    place.write_text((own / "walk.c").read_text() if source is None else source)
    subprocess.run((script, file), check=True, timeout=120)
    return file


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("walk") / NAME)


@pytest.fixture
def here(walk, tmp_path):
    """Return a directory with the compiled walk."""
    shutil.copy2(walk, tmp_path)
    return tmp_path


def why(directory):
    """Return why there is no compiled walk in a directory."""
    found = load(directory)
    assert found.code is None
    assert found.walker == ("Python", found.why)
    return found.why


def test_what_was_built_is_loaded_and_named(here):
    found = load(here)
    assert found.code.heapx_abi() == ABI
    assert found.walker == (f"compiled ({MACHINE})", str(here / NAME))


def test_a_library_of_another_interface_is_refused(tmp_path):
    compiled(tmp_path / NAME, f"{EXPORT}int heapx_abi (void) {{ return {ABI + 1}; }}")
    assert why(tmp_path) == f"{NAME} is of another heapx: {ABI + 1} where {ABI} is needed"


def test_a_library_that_is_none_of_heapx_is_refused(tmp_path):
    file = compiled(tmp_path / NAME, f"{EXPORT}int other (void) {{ return 1; }}")
    assert why(tmp_path).startswith(f"{file}: undefined symbol: heapx_abi")


def test_a_file_that_is_no_library_is_refused(tmp_path):
    (tmp_path / NAME).write_text("nothing")
    assert why(tmp_path) == f"{tmp_path / NAME}: file too short"


def test_where_nothing_was_built_the_builder_s_own_words_say_why(tmp_path):
    assert why(tmp_path) == f"heapx was installed without {NAME}"
    (tmp_path / "walk.c").touch()
    assert why(tmp_path) == f"{NAME} isn't built: run scripts/build_walk"
    (tmp_path / f"walk-{MACHINE}.txt").write_text("there was no C compiler\n")
    assert why(tmp_path) == "there was no C compiler"


def test_what_is_older_than_its_source_is_not_loaded(here):
    source = here / "walk.c"
    source.touch()
    built = (here / NAME).stat().st_mtime
    os.utime(source, (built + 1, built + 1))
    assert "is older than walk.c" in why(here)
    os.utime(source, (built, built))
    assert load(here).code is not None


def test_a_python_without_ctypes_walks_by_itself(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert why(here) == "this Python has no ctypes"


def test_a_python_of_32_bits_does_not_try(here, monkeypatch):
    monkeypatch.setattr(sys, "maxsize", (1 << 31) - 1)
    assert why(here) == "this Python has 32 bits"


def test_neither_the_working_directory_nor_the_environment_says_what_is_loaded(here):
    """Python's own directory is another one, where nothing is."""
    empty = here / "empty"
    empty.mkdir()
    lines = (
        "from pathlib import Path",
        "from gdb_heapx.heap.library import load",
        f"print(load(Path({str(empty)!r})).why)",
    )
    environ = environment(LD_LIBRARY_PATH=str(here), PYTHONPATH=str(BUILD.parents[1]))
    command = (sys.executable, "-c", "\n".join(lines))
    said = subprocess.check_output(command, cwd=here, env=environ, text=True, timeout=60)
    assert said == f"heapx was installed without {NAME}\n"


# Which targets it is for.


@pytest.fixture
def built(here, monkeypatch):
    """Let the package's own directory be one that has the compiled walk."""
    monkeypatch.setattr(finding, "_loaded", lambda: load(here))


def space(**changes):
    target = usual().target()
    return replace(target.space, facts=replace(target.space.facts, **changes))


def test_a_target_with_words_of_8_bytes_is_walked_by_it(built):
    assert library(space()).code is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"word": 4}, "the target's words have 4 bytes"),
        ({"byteorder": "big"}, "the target is big-endian"),
    ],
)
def test_other_targets_are_walked_by_python(built, changes, why):
    found = library(space(**changes))
    assert (found.code, found.walker) == (None, ("Python", why))


def test_switched_off_it_is_not_used(built):
    found = library(replace(space(), compiled=False))
    assert (found.code, found.why) == (None, "set heapx compiled off")


# What users see.


def walker(report):
    """Return what `heapx about` says of the walk."""
    (row,) = (row for row in table(report) if row["what"] == "walk")
    return row["value"], row["how"]


@pytest.mark.live
def test_about_names_it_and_a_setting_turns_it_off(start):
    process = start("arenas", "3")
    target = ("-p", process.pid)
    own = load(finding.HERE)
    assert walker(told(*target, "about", "--format", "json").report) == own.walker
    off = told(*target, "--set", "compiled=off", "about", "--format", "json").report
    assert walker(off) == ("Python", "set heapx compiled off")
    assert told(*target, "--set", "compiled=perhaps", "about").status == 2


@pytest.mark.live
def test_what_is_set_at_one_stop_holds_for_the_next_command(start):
    about = "heapx about --format json"
    lines = (about, "set heapx compiled off", about, "set heapx compiled on", about)
    target = ("-p", start("arenas", "3").pid)
    said = session(*lines, "set heapx compiled", target=target).out
    decoder, reports = json.JSONDecoder(), []
    while "{" in said:
        report, end = decoder.raw_decode(said[said.index("{") :])
        reports.append(report)
        said = said[said.index("{") + end :]
    own, off = load(finding.HERE).walker, ("Python", "set heapx compiled off")
    assert [walker(report) for report in reports] == [own, off, own]
