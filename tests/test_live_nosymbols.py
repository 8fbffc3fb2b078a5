"""Without debug symbols every figure is the same, on processes and cores, wherever libc lies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from live import (
    HEAPX,
    LOADER,
    ROOT,
    gcore,
    kernel_core,
    look,
    reports,
    run,
    running,
    table,
    told,
    without_others,
    without_residency,
)

pytestmark = pytest.mark.live

NO_TCACHE = "glibc.malloc.tcache_count=0"
HUGE = "glibc.malloc.hugetlb=2"
HIDDEN = ("-iex", "set debug-file-directory /nonexistent")
BARE = ("--gdb-args", "-iex 'set debug-file-directory /nonexistent'")
NAMES = ("arenas", "heaps", "top", "bins", "tcache", "mmapped", "ledger", "trim", "why", "check")
COMMANDS = ("heapx", *(f"heapx {name}" for name in NAMES))
PROGRAMS = ("mixed", "arenas 5", "mmapped", "foreign_sbrk", "two_libcs", "damaged bin")
MORE_PROGRAMS = (
    *("tcaches", "untouched_top", "damaged size", "damaged tcache", "damaged top"),
    *("trim large_top", "memory stacks", "memory forked", "why leak", "why raised"),
    f"GLIBC_TUNABLES={NO_TCACHE} fast 50000",
    f"GLIBC_TUNABLES={HUGE} mixed",
)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[*PROGRAMS, *map(slow, MORE_PROGRAMS)])
def program(request, start_once):
    words = request.param.split()
    env = dict([words.pop(0).split("=", 1)]) if "=" in words[0] else {}
    return start_once(words[0], *words[1:], env=env)


def figures(found):
    """Return reports without the sentences that tell how things were found."""
    told = {c: {k: v for k, v in report.items() if k != "notes"} for c, report in found.items()}
    return {c: {**report, "tables": without_others(report["tables"])} for c, report in told.items()}


@pytest.fixture(scope="module")
def with_symbols(program, tmp_path_factory):
    return figures(reports(COMMANDS, tmp_path_factory.mktemp("with"), ("-p", program.pid)))


@pytest.mark.few(4)
def test_figures_are_the_same_without_symbols(program, with_symbols, tmp_path):
    hidden = reports((*COMMANDS, "heapx about"), tmp_path, (*HIDDEN, "-p", program.pid))
    how = {row["what"]: row["how"] for row in table(hidden.pop("heapx about"))}
    assert (how["main_arena"], how["mp_"]) == ("structure", "structure")
    assert figures(hidden) == with_symbols


@pytest.mark.few(3)
def test_figures_are_the_same_in_a_core_without_symbols_and_without_a_program(program, tmp_path):
    core = gcore(program.pid, tmp_path / "core")
    named = figures(reports(COMMANDS, tmp_path / "with", (program.exe, core)))
    alone = figures(reports(COMMANDS, tmp_path / "without", (*HIDDEN, "-c", core)))
    core.unlink()
    assert alone == named


# Stripped files, of another place.


class Elsewhere:
    """A directory with a libc of its own, stripped, and another build-id than the host's."""

    def __init__(self, directory: Path, inferiors: Path) -> None:
        self.root = directory
        self.libraries = directory / "lib"
        self.libraries.mkdir(parents=True)
        for file in sorted(_libraries(inferiors / "mixed")):
            subprocess.run(
                ["strip", "--strip-all", "-o", self.libraries / file.name, file], check=True
            )
        self.loader = next(self.libraries.glob("ld-*"))
        self._change_build_id(self.libraries / "libc.so.6")

    @staticmethod
    def _change_build_id(file: Path) -> None:
        data = bytearray(file.read_bytes())
        at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
        data[at : at + 20] = bytes(range(20))
        file.write_bytes(data)

    def command(self, program: Path) -> tuple[str, ...]:
        return str(self.loader), "--library-path", str(self.libraries), str(program)


def _libraries(program: Path) -> set[Path]:
    """Return the libraries of a program, and its loader."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", text)}


@pytest.fixture
def elsewhere(tmp_path, inferiors):
    return Elsewhere(tmp_path / "elsewhere", inferiors)


def launched(elsewhere, inferiors, name, directory, prefix=(), root=None):
    """Start a program on the libc of another place."""
    program = elsewhere.root / name
    shutil.copy(inferiors / name, program)
    command = elsewhere.command(program) if root is None else (f"/{name}",)
    env = {"HEAPX_ORACLE": "/run"} if root else {}
    command = (*prefix, *command, "5")  # MiB for each thread of arenas
    return running(inferiors / name, directory=directory, env=env, command=command)


def equal_to_the_oracle(inferior, *target):
    """Check the arenas of a process or a core against its own malloc_info."""
    result = told(*target, "arenas", "--format", "json")
    assert (result.status, result.err) == (0, "")
    rows = table(result.report)
    theirs = inferior.oracle.arenas
    assert [row["system"] for row in rows] == [arena.system for arena in theirs]
    ours = [(row["binned_chunks"] + 1, row["binned"] + row["top"]) for row in rows]
    assert ours == [arena.rest for arena in theirs]
    assert sum(row["tcache"] for row in rows) > 0
    return result.report


def how_found(*target):
    rows = table(told(*target, "about", "--format", "json").report)
    return {row["what"]: (row["value"], row["how"]) for row in rows}


@pytest.mark.parametrize("name", ["mixed", "arenas"])
def test_a_stripped_libc_of_another_place(elsewhere, inferiors, tmp_path, name):
    with launched(elsewhere, inferiors, name, tmp_path / "run") as inferior:
        equal_to_the_oracle(inferior, "-p", inferior.pid)
        found = how_found("-p", inferior.pid)
    assert found["build-id"][0] == bytes(range(20)).hex()
    assert found["main_arena"][1] == "structure"
    assert found["release"] == (os.confstr("CS_GNU_LIBC_VERSION").split()[1], found["release"][1])


def test_a_libc_that_was_deleted_or_replaced(elsewhere, inferiors, tmp_path):
    """As after an upgrade: at its path is another file, which must not be used."""
    with launched(elsewhere, inferiors, "arenas", tmp_path / "run") as inferior:
        before = equal_to_the_oracle(inferior, "-p", inferior.pid)
        (elsewhere.libraries / "libc.so.6").unlink()
        assert equal_to_the_oracle(inferior, "-p", inferior.pid)["tables"] == before["tables"]
        host = next(file for file in _libraries(inferiors / "mixed") if file.name == "libc.so.6")
        shutil.copy(host, elsewhere.libraries / "libc.so.6")
        assert equal_to_the_oracle(inferior, "-p", inferior.pid)["tables"] == before["tables"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("replaced", "kind"),
    [
        (False, "kernel"),
        slow(True, "gcore"),
        slow(False, "gcore"),
        slow(True, "kernel"),
    ],
)
def test_a_core_whose_files_are_not_on_this_host(elsewhere, inferiors, tmp_path, kind, replaced):
    with launched(elsewhere, inferiors, "arenas", tmp_path / "run") as inferior:
        report = equal_to_the_oracle(inferior, "-p", inferior.pid)
        by_gdb = kind == "gcore"
        core = gcore(inferior.pid, tmp_path / "core") if by_gdb else kernel_core(inferior)
        host = next(file for file in _libraries(inferiors / "mixed") if file.name == "libc.so.6")
        shutil.rmtree(elsewhere.root)
        if replaced:
            elsewhere.libraries.mkdir(parents=True)
            shutil.copy(host, elsewhere.libraries / "libc.so.6")
        again = equal_to_the_oracle(inferior, "--core", core)
        core.unlink()
    assert without_residency(again["tables"]) == without_residency(report["tables"])


# Static programs.


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """Return programs that are linked with libc.a, and stripped copies of them."""
    out = tmp_path_factory.mktemp("static")
    sources = Path(__file__).parent / "inferiors"
    for name in ("mixed", "arenas", "tcaches"):
        flags = ("-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-fno-builtin", "-static")
        built = subprocess.run(
            ["cc", *flags, sources / f"{name}.c", "-o", out / name], stderr=subprocess.PIPE
        )
        if built.returncode:
            pytest.skip("no static libc here")
        subprocess.run(
            ["strip", "--strip-all", "-o", out / f"{name}-stripped", out / name], check=True
        )
    return out


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mixed", ""),
        ("mixed", "-stripped"),
        *(slow(name, kind) for name in ("arenas", "tcaches") for kind in ("", "-stripped")),
    ],
)
def test_a_static_program(static, tmp_path, name, kind):
    exe = static / f"{name}{kind}"
    with running(exe, "5", directory=tmp_path) as inferior:
        report = equal_to_the_oracle(inferior, "-p", inferior.pid)
        tcaches = how_found("-p", inferior.pid)["tcaches"][0]
        core = gcore(inferior.pid, tmp_path / "core")
        again = told("--core", core, "arenas", "--format", "json").report
    core.unlink()
    assert without_residency(again["tables"]) == without_residency(report["tables"])
    assert tcaches == {"mixed": "1", "arenas": "9", "tcaches": "17"}[name]


# Roots and namespaces.


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_a_chroot_with_another_libc(elsewhere, inferiors, tmp_path):
    """gdb takes the host's libc for the process's: the names are the same."""
    root = elsewhere.root
    for file in _libraries(inferiors / "mixed"):
        place = root / str(file).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(elsewhere.libraries / file.name, place)
    run = root / "run"
    run.mkdir()
    prefix = ("chroot", str(root))
    with launched(elsewhere, inferiors, "arenas", run, prefix, root) as inferior:
        equal_to_the_oracle(inferior, "-p", inferior.pid)
        found = how_found("-p", inferior.pid)
    assert found["build-id"][0] == bytes(range(20)).hex()


NAMESPACES = {
    "pid": ("--pid", "--fork", "--mount-proc", "--kill-child"),
    "user": ("--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"),
    "mount": ("--mount",),
}


@pytest.fixture(params=NAMESPACES)
def unshared(request, inferiors, tmp_path):
    """Return a program in other namespaces, and the PID that it has outside."""
    prefix = ("unshare", *NAMESPACES[request.param])
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("not permitted to make namespaces here")
    exe = inferiors / "arenas"
    command = (*prefix, str(exe))
    with running(exe, "5", directory=tmp_path, command=command) as inferior:
        children = Path(f"/proc/{inferior.pid}/task/{inferior.pid}/children").read_text().split()
        yield replace(inferior, pid=int(children[0]) if children else inferior.pid)


@pytest.mark.parametrize("hidden", [(), BARE], ids=["symbols", "none"])
@pytest.mark.slow
def test_from_outside_of_its_namespaces_a_process_has_the_outer_threads(unshared, hidden):
    equal_to_the_oracle(unshared, *hidden, "-p", unshared.pid)
    rows = table(told(*hidden, "-p", unshared.pid, "tcache", "--format", "json").report)
    threads = {int(task.name) for task in Path(f"/proc/{unshared.pid}/task").iterdir()}
    assert {row["thread"] for row in rows} <= threads
    assert {row["name"] for row in rows} == {"arenas"}
    assert not told(*hidden, "-p", unshared.pid, "check").status


@pytest.mark.slow
def test_inside_of_its_namespaces(unshared, tmp_path):
    namespaces = ("nsenter", "--target", str(unshared.pid), "--all", "--wd=.")
    inner = Path(f"/proc/{unshared.pid}/status").read_text()
    pid = re.search(r"NSpid:.*\s(\d+)", inner)[1]
    result = run((*namespaces, HEAPX, "-p", pid, "arenas", "--format", "json"))
    assert (result.status, result.err) == (0, "")
    outside = told("-p", unshared.pid, "arenas", "--format", "json").report
    assert result.report["tables"] == outside["tables"]


# Not root.


NOBODY = 65534


@pytest.fixture
def as_nobody(tmp_path_factory, inferiors):
    """Return what starts a command as another user, with a copy of heapx that it may read."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    place = Path(tempfile.mkdtemp(prefix="heapx-"))
    place.chmod(0o755)
    shutil.copytree(ROOT / "gdb_heapx", place / "gdb_heapx")
    shutil.copytree(ROOT / "scripts", place / "scripts")
    shutil.copy(LOADER, place)
    shutil.copy(inferiors / "mixed", place)
    (place / "run").mkdir()
    os.chown(place / "run", NOBODY, NOBODY)
    yield place, ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    shutil.rmtree(place)


def only_root_may_attach():
    """Tell whether yama forbids it to others; at 1 it permits it, as the inferiors ask for it."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return scope.exists() and int(scope.read_text()) > 1


def test_as_the_same_user_who_is_not_root(as_nobody):
    place, prefix = as_nobody
    command = (*prefix, str(place / "mixed"))
    with running(place / "mixed", directory=place / "run", command=command) as inferior:
        look_at = (*prefix, place / "scripts/heapx", *BARE, "-p", inferior.pid, "arenas")
        result = run((*look_at, "--format", "json"))
        if only_root_may_attach():
            assert "not permitted to attach" in result.err
            assert "ptrace_scope" in result.err
        else:
            assert table(result.report) == table(look(inferior.pid, "arenas"))


@pytest.mark.slow
def test_a_deleted_libc_is_read_from_memory_where_map_files_is_not_permitted(as_nobody, inferiors):
    place, prefix = as_nobody
    elsewhere = Elsewhere(place / "elsewhere", inferiors)
    command = (*prefix, *elsewhere.command(place / "mixed"))
    with running(place / "mixed", directory=place / "run", command=command) as inferior:
        (elsewhere.libraries / "libc.so.6").unlink()
        look_at = (*prefix, place / "scripts/heapx", "-p", inferior.pid)
        if only_root_may_attach():
            pytest.skip("ptrace_scope permits it to root only")
        about = run((*look_at, "about", "--format", "json"))
        how = {row["what"]: row["how"] for row in table(about.report)}
        assert how["libc"] == "its symbols: from memory"
        seen = run((*look_at, "arenas", "--format", "json"))
        assert table(seen.report) == table(look(inferior.pid, "arenas"))


@pytest.mark.slow
def test_another_users_process_is_refused_with_what_to_do(as_nobody, start):
    place, prefix = as_nobody
    inferior = start("mixed")
    result = run((*prefix, place / "scripts/heapx", "-p", inferior.pid, "arenas"))
    assert (result.status, result.out) == (3, "")
    assert "not permitted to attach" in result.err
    assert "run heapx as root" in result.err


# What the user gives.


def test_right_values_by_hand_give_the_same_figures(start):
    inferior = start("mixed")
    found = how_found("-p", inferior.pid)
    given = (f"main-arena={found['main_arena'][0]}", f"mp={found['mp_'][0]}")
    settings = [word for text in given for word in ("--set", text)]
    seen = told("-p", inferior.pid, *BARE, *settings, "arenas", "--format", "json")
    assert seen.report["tables"] == look(inferior.pid, "arenas")["tables"]
    about = told("-p", inferior.pid, *BARE, *settings, "about", "--format", "json")
    how = {row["what"]: row["how"] for row in table(about.report)}
    assert (how["main_arena"], how["mp_"]) == ("set by hand", "set by hand")


def test_a_wrong_release_is_refused_by_the_chunks(start):
    inferior = start("arenas", "5")
    own = look(inferior.pid, "arenas")["target"]["release"]
    for release in {"2.23", "2.31", "2.43"} - {own}:
        result = told(*BARE, "-p", inferior.pid, "--set", f"release={release}", "arenas")
        assert (result.status, result.out) == (3, ""), release
        assert "Traceback" not in result.err
