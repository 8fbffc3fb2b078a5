"""The compiled walk as scripts/build_walk makes it: what it needs, and what is said without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from live import environment
from walkcalls import BUILD, COMPILERS, HEADERS, SOURCES, build, have, walk_by


@pytest.fixture(scope="module", params=COMPILERS)
def compiled(request, shared):
    """Return a walk that one of the compilers has made, without a warning."""
    return walk_by(request.param, shared)


def said(*command):
    return subprocess.check_output([os.fspath(word) for word in command], text=True, timeout=60)


@pytest.mark.slow
def test_it_needs_no_symbol_of_any_library(compiled):
    assert said("nm", "-D", "--undefined-only", compiled) == ""
    assert "(NEEDED)" not in said("readelf", "-dW", compiled)


@pytest.mark.few(1)
def test_it_shows_only_its_own_functions(compiled):
    shown = said("nm", "-D", "--defined-only", compiled).split()[2::3]
    exported = [
        name
        for source in SOURCES
        for name in re.findall(r"^EXPORT\b.*?(\w+)\(", source.read_text(), re.M)
    ]
    assert "heapx_abi" in exported
    assert sorted(shown) == sorted(exported)
    assert all(name.startswith("heapx_") for name in exported)


@pytest.mark.few(1)
def test_nothing_in_it_may_be_written_and_run(compiled):
    """The flags are between five numbers and the alignment."""
    lines = [line.split() for line in said("readelf", "-lW", compiled).splitlines()]
    flags = ["".join(line[6:-1]) for line in lines if line[:1] in (["LOAD"], ["GNU_STACK"])]
    assert {"RE", "RW"} <= set(flags)
    assert [each for each in flags if "W" in each and "E" in each] == []


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.slow
def test_what_needs_libc_is_not_built(compiler, tmp_path):
    """So that a compiler with calls of its own costs time where heapx runs, and no crash."""
    have(compiler)
    more, file = tmp_path / "more.c", tmp_path / "walk-x.so"
    more.write_text('int puts (const char *); int more (void) { return puts (""); }')
    status, text = build(file, compiler, "-O0", more)
    assert (status, file.exists()) == (1, False)
    assert re.search("undefined .*puts", text)


def test_where_there_is_no_compiler_a_text_says_so_in_place_of_the_file(tmp_path):
    file = tmp_path / "walk-x.so"
    file.write_text("of an older source")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "uname", "dirname", "mkdir", "mktemp", "rm", "mv", "chmod", "grep", "head"):
        (tools / tool).symlink_to(shutil.which(tool))
    environ = environment(PATH=str(tools))
    environ.pop("CC", None)
    done = subprocess.run((BUILD, file), env=environ, capture_output=True, text=True, timeout=60)
    why = "there was no C compiler (cc, gcc, clang) when heapx was built"
    assert (done.returncode, done.stderr) == (1, f"build_walk: {why}: heapx walks in Python\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "walk-x.txt"]
    assert (tmp_path / "walk-x.txt").read_text() == f"{why}\n"


@pytest.mark.slow
def test_a_compiler_that_is_there_again_takes_the_text_away(tmp_path):
    have("gcc")
    file, text = tmp_path / "walk-x.so", tmp_path / "walk-x.txt"
    assert build(file, "nonesuch")[0] == 1
    assert text.read_text().startswith("nonesuch failed: ")
    assert build(file, "gcc", "-O0") == (0, "")
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("source", [*SOURCES, *HEADERS], ids=lambda source: source.name)
def test_each_source_is_freestanding_and_can_be_read_at_a_sitting(source):
    lines = source.read_text().split("\n")
    own = {f'#include "{os.path.relpath(header, source.parent)}"' for header in HEADERS}
    included = {line for line in lines if line.startswith("#include")}
    assert included <= {"#include <stdint.h>", *own}
    assert len(lines) - 1 <= 400
