"""heapx as it is distributed: in a clean venv, without the checkout, in a home that is empty."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest
from live import ROOT, environment, run, table
from releases import need

MACHINE = os.uname().machine
COMPILED, PURE, SOURCE = f"*-linux_{MACHINE}.whl", "*-any.whl", "*.tar.gz"
NO_COMPILER = "there was no C compiler (cc, gcc, clang) when heapx was built"
# What pip and scripts/build_walk run, but for a compiler.
TOOLS = ("sh", "uname", "dirname", "mkdir", "mktemp", "rm", "mv", "chmod", "grep", "head", "env")

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of the checkout, in which nothing is built yet, with the same .venv.

    setuptools writes into the tree, where another worker builds, too.
    """
    tree = tmp_path_factory.mktemp("tree") / "checkout"
    beside = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info", "walk-*")
    shutil.copytree(ROOT, tree, ignore=beside)
    (tree / ".venv").symlink_to(sys.prefix)
    return tree


def succeeded(*command, **more):
    """Run a command that must not fail; return what it printed."""
    done = run(command, env=environment(**more))
    assert done.status == 0, done.err
    return done.out


def build(tree, directory, *kinds, **more):
    succeeded(sys.executable, "-m", "build", *kinds, "-o", directory, tree, **more)


@pytest.fixture(scope="module")
def distributions(tree, tmp_path_factory):
    """Return the directory of a source distribution, the wheel of it for this machine, and the one
    of pure Python.
    """
    directory = tmp_path_factory.mktemp("dist")
    build(tree, directory)
    build(tree, directory, "--wheel", HEAPX_MACHINE="none")
    return directory


def venv_with(directory, *words, **more):
    """Make a venv and let its pip install something; return the venv's directory."""
    succeeded(sys.executable, "-m", "venv", directory)
    succeeded(directory / "bin" / "pip", "install", "-q", *words, **more)
    return directory


@pytest.fixture(scope="module", params=[COMPILED, PURE, SOURCE])
def kind(request):
    """Return of what heapx is installed."""
    return request.param


@pytest.fixture(scope="module")
def installed(kind, distributions, tmp_path_factory):
    """Return the directory of a venv that has heapx and what it depends on."""
    (file,) = distributions.glob(kind)
    return venv_with(tmp_path_factory.mktemp("venv"), file)


def walker(heapx, process, home):
    """Return what a heapx says of its walk: compiled or Python, and how that is known."""
    words = (heapx, "-p", process.pid, "about", "--format", "json")
    done = run(words, cwd=home, env=environment(HOME=str(home)))
    assert (done.status, done.err) == (0, "")
    (row,) = (row for row in table(json.loads(done.out)) if row["what"] == "walk")
    return row["value"], row["how"]


def test_it_works_without_the_checkout(installed, start, tmp_path):
    process = start("arenas", "3")
    alone = {"cwd": tmp_path, "env": environment(HOME=str(tmp_path))}
    shown = run((installed / "bin" / "heapx", "-p", process.pid, "arenas"), **alone)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("arenas, sizes in ")
    page = tmp_path / "page.html"
    made = run(
        (installed / "bin" / "heapx", "-p", process.pid, "report", "--output", page), **alone
    )
    assert (made.status, made.err) == (0, "")
    assert made.out == f"Written to {page}: open it in a browser.\n"
    assert "Chartist" in page.read_text()


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


def test_gdb_finds_what_pip_has_installed_into_lib64(start, tmp_path):
    """As on Fedora: heapx has compiled code, so it is there, and its libraries are in lib."""
    sites = tmp_path / "lib64" / "python3.9" / "site-packages"
    shutil.copytree(ROOT / "gdb_heapx", sites / "gdb_heapx")
    loader = tmp_path / "share" / "gdb_heapx" / "gdb_heapx.py"
    loader.parent.mkdir(parents=True)
    shutil.copy(ROOT / "gdb_heapx.py", loader)
    process = start("arenas", "3")
    words = ("gdb", "-nx", "-q", "-batch", "-p", process.pid, "-ex", f"source {loader}")
    shown = run((*words, "-ex", "heapx top"), env=environment(HOME=str(tmp_path)))
    assert "trim_threshold 128 KiB (default)" in shown.out


def test_the_man_page_and_the_types_come_along(installed):
    assert (installed / "share" / "man" / "man1" / "heapx.1").exists()
    assert list(installed.glob("lib/python3*/site-packages/gdb_heapx/py.typed"))


def test_about_tells_what_walks_after_each_kind_of_installation(installed, kind, start, tmp_path):
    said = walker(installed / "bin" / "heapx", start("arenas", "3"), tmp_path)
    if kind == PURE:
        assert said == ("Python", f"heapx was installed without walk-{MACHINE}.so")
    else:
        (file,) = installed.resolve().glob(
            f"lib/python3*/site-packages/gdb_heapx/heap/walk-{MACHINE}.so"
        )
        assert said == (f"compiled ({MACHINE})", str(file))


def test_without_a_compiler_it_is_installed_and_says_so(distributions, start, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))
    (file,) = distributions.glob(SOURCE)
    venv = venv_with(tmp_path / "venv", "--no-cache-dir", file, PATH=str(tools), CC="")
    said = walker(venv / "bin" / "heapx", start("arenas", "3"), tmp_path)
    assert said == ("Python", NO_COMPILER)


def test_what_is_installed_editable_is_compiled_in_place(tree, start, tmp_path):
    venv = venv_with(tmp_path / "venv", "-e", tree)
    file = tree / "gdb_heapx" / "heap" / f"walk-{MACHINE}.so"
    said = walker(venv / "bin" / "heapx", start("arenas", "3"), tmp_path)
    assert said == (f"compiled ({MACHINE})", str(file))


@pytest.fixture(scope="module")
def published(tree, tmp_path_factory):
    """Return the directory that scripts/wheels fills."""
    need(gcc="gcc", aarch64_linux_gnu_gcc="gcc-aarch64-linux-gnu")
    directory = tmp_path_factory.mktemp("published")
    succeeded(tree / "scripts" / "wheels", directory)
    return directory


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        *((name, "x86_64") for name in ("manylinux1_x86_64", "manylinux_2_5_x86_64")),
        *((name, "aarch64") for name in ("manylinux2014_aarch64", "manylinux_2_17_aarch64")),
        *((f"musllinux_1_1_{machine}", machine) for machine in ("x86_64", "aarch64")),
        *((name, None) for name in ("linux_riscv64", "manylinux_2_31_armv7l", "linux_i686")),
    ],
)
def test_pip_takes_the_wheel_that_fits_the_machine(published, tmp_path, platform, machine):
    """Of those that scripts/wheels makes, whichever libc is there; else the one of pure Python."""
    words = ("--no-index", "--find-links", published, "--no-deps", "--only-binary", ":all:")
    where = ("--platform", platform, "--target", tmp_path)
    succeeded(sys.executable, "-m", "pip", "install", "-q", *words, *where, "gdb_heapx")
    found = [file.name for file in tmp_path.glob("gdb_heapx/heap/walk-*")]
    assert found == ([f"walk-{machine}.so"] if machine else [])


def test_the_wheel_with_the_walk_is_this_machine_s_own_choice(published, start, tmp_path):
    if MACHINE not in ("x86_64", "aarch64"):
        pytest.skip("scripts/wheels compiles for x86_64 and aarch64")
    venv = venv_with(tmp_path / "venv", "--find-links", published, "--pre", "gdb_heapx")
    name, _ = walker(venv / "bin" / "heapx", start("arenas", "3"), tmp_path)
    assert name == f"compiled ({MACHINE})"


def test_a_bundle_has_the_walk_for_this_machine_and_for_those_with_a_compiler(
    tree, start, tmp_path
):
    need(gcc="gcc")
    bundle = tmp_path / "bundle"
    said = succeeded(tree / "scripts" / "bundle", bundle)
    there = {file.stem.partition("-")[2] for file in bundle.glob("gdb_heapx/heap/walk-*.so")}
    cross = {each for each in ("x86_64", "aarch64") if shutil.which(f"{each}-linux-gnu-gcc")}
    assert there == {MACHINE, *cross}
    assert f"The walk is compiled for {' '.join(sorted(there))}; elsewhere it is Python." in said
    file = bundle / "gdb_heapx" / "heap" / f"walk-{MACHINE}.so"
    said = walker(bundle / "scripts" / "heapx", start("arenas", "3"), tmp_path)
    assert said == (f"compiled ({MACHINE})", str(file))
