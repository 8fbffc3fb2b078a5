"""The compiled walk as scripts/build_walk makes it: its symbols, its machines, its accesses."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess

import pytest
from live import environment
from releases import missing, need
from walkcalls import BUILD, HARNESS, SOURCE, At, Call, Calls, made_by, made_here

STRICT = ("-Wall", "-Wextra", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
CROSS = "aarch64-linux-gnu-gcc"
COMPILERS = ("gcc", "clang", CROSS, "clang --target=aarch64-linux-gnu")
WORDS = bytes(range(64))
CALLS = Calls(
    (WORDS, b""),
    (
        Call("heapx_abi"),
        Call("heapx_sum", (At(0, 16), 6)),
        Call("heapx_sum", (At(0), 8)),
        Call("heapx_sum", (At(1), 0)),
    ),
)


def have(compiler):
    """Skip where a compiler is missing, or what it needs to link for another machine."""
    for command in {compiler.split()[0], *([CROSS] if "aarch64" in compiler else [])}:
        package = "gcc-aarch64-linux-gnu" if command == CROSS else command
        if shutil.which(command) is None:
            missing(f"needs Debian's package {package}")


def build(file, compiler, *flags):
    """Compile the walk; return what the script ended with and said."""
    environ = environment(CC=compiler)
    words = (BUILD, file, *flags)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", params=COMPILERS)
def compiled(request, tmp_path_factory):
    """Return a walk that one of the compilers has made, without a warning."""
    have(request.param)
    file = tmp_path_factory.mktemp("walk") / "libwalk.so"
    assert build(file, request.param, *STRICT) == (0, "")
    return file


def said(*command):
    return subprocess.check_output([os.fspath(word) for word in command], text=True, timeout=60)


def test_it_needs_no_symbol_of_any_library(compiled):
    assert said("nm", "-D", "--undefined-only", compiled) == ""
    assert "(NEEDED)" not in said("readelf", "-dW", compiled)


def test_it_shows_only_its_own_functions(compiled):
    shown = said("nm", "-D", "--defined-only", compiled).split()[2::3]
    exported = re.findall(r"^EXPORT\b.*?(\w+) \(", SOURCE.read_text(), re.M)
    assert "heapx_abi" in exported
    assert sorted(shown) == sorted(exported)
    assert all(name.startswith("heapx_") for name in exported)


def test_nothing_in_it_may_be_written_and_run(compiled):
    flags = re.findall(
        r"^ +(?:LOAD|GNU_STACK) .* (R?)(W?) ?(E?) +0x", said("readelf", "-lW", compiled), re.M
    )
    assert flags
    assert [each for each in flags if each[1] and each[2]] == []


@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_needs_libc_is_not_built(compiler, tmp_path):
    """So that a compiler with calls of its own costs time where heapx runs, and no crash."""
    have(compiler)
    more, file = tmp_path / "more.c", tmp_path / "walk-x.so"
    more.write_text('int puts (const char *); int more (void) { return puts (""); }')
    status, text = build(file, compiler, more)
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


def test_a_compiler_that_is_there_again_takes_the_text_away(tmp_path):
    have("gcc")
    file, text = tmp_path / "walk-x.so", tmp_path / "walk-x.txt"
    assert build(file, "nonesuch")[0] == 1
    assert text.read_text().startswith("nonesuch failed: ")
    assert build(file, "gcc") == (0, "")
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """Return the walk for this machine, loaded."""
    have("gcc")
    file = tmp_path_factory.mktemp("native") / "walk.so"
    assert build(file, "gcc") == (0, "")
    return ctypes.CDLL(str(file))


def harness(file, compiler, *words):
    """Build the harness; what it calls is in `words`, a source or a library."""
    command = (*shlex.split(compiler), "-std=gnu11", "-g", "-O1", *STRICT)
    subprocess.run(
        (*command, "-rdynamic", "-o", file, HARNESS, *words, "-ldl"), check=True, timeout=120
    )
    return file


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Return the harness with the source of the walk in it, under AddressSanitizer and UBSan.

    Both come with gcc. Debian's clang needs a package of its release's name for them.
    """
    have("gcc")
    file = tmp_path_factory.mktemp("sanitized") / "harness"
    return harness(file, "gcc", *SANITIZED, SOURCE)


def test_under_sanitizers_it_returns_and_leaves_the_same(sanitized, native):
    here = made_here(native, CALLS)
    assert made_by((sanitized,), [CALLS, CALLS]) == [here, here]


def test_a_sanitizer_sees_a_word_too_many(sanitized):
    beyond = Calls((WORDS,), (Call("heapx_sum", (At(0), len(WORDS) // 8 + 1)),))
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        made_by((sanitized,), [beyond])


@pytest.mark.parametrize("compiler", [each for each in COMPILERS if "aarch64" in each])
def test_on_aarch64_it_returns_and_leaves_the_same(compiler, native, tmp_path):
    have(compiler)
    need(**{"qemu_aarch64_static": "qemu-user-static"})
    file = tmp_path / "libwalk.so"
    assert build(file, compiler) == (0, "")
    program = harness(tmp_path / "harness", CROSS, "-Wl,--no-as-needed", file)
    machine = ("qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu")
    assert made_by((*machine, program), [CALLS]) == [made_here(native, CALLS)]


def test_it_is_one_freestanding_file_that_can_be_read_at_a_sitting():
    lines = SOURCE.read_text().split("\n")
    assert [line for line in lines if line.startswith("#include")] == ["#include <stdint.h>"]
    assert len(lines) - 1 <= 400
