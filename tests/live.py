"""Live processes to look at, and the ways to look: the heapx command, gdb, and /proc."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import indexed
import pytest
import warm
from oracle import Oracle
from properties import IN_CI

from gdb_heapx.errors import HeapxError
from gdb_heapx.shell import asking
from gdb_heapx.shell import main as shell

ROOT = Path(__file__).resolve().parent.parent
HEAPX = ROOT / "scripts" / "heapx"
LOADER = ROOT / "gdb_heapx.py"
PAGE = os.sysconf("SC_PAGESIZE")
TIMEOUT = 120
QUIET = ("-iex", "set debuginfod enabled off")
GONE = 1 << 30  # above any pid_max
IN_MEMORY = ("resident", "swapped", "shared", "private")  # the ends of columns

# What a user's environment may hold and would change what is tested.
FOREIGN = ("NO_COLOR", "COLUMNS", "LINES", "HEAPX_GDB", "GLIBC_TUNABLES", "LD_PRELOAD")

Report = dict[str, Any]


class Anew:
    """Whether a new gdb is asked each time, or one that stays."""

    asked = IN_CI


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN and not name.startswith(("DEBUGINFOD", "MALLOC_", "COV"))
    }
    found = {} if Anew.asked else {"PATH": indexed.path(kept["PATH"])}
    return {**kept, **found, "TERM": "xterm", "LC_ALL": "C.UTF-8", **more}


def scenes(names: Iterable[Any], live: Container[Any]) -> list[Any]:
    """Return names of scenes as parameters; slow are those that aren't to be seen live by default.

    By default they are seen on recorded images.
    """
    return [n if n in live else pytest.param(n, marks=pytest.mark.slow) for n in names]


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Return the condition's first true value; fail if there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} seconds")


@dataclass(frozen=True)
class Inferior:
    """A program of tests/inferiors that has reached its checkpoint."""

    pid: int
    exe: Path
    oracle: Oracle
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(
    exe: Path,
    *arguments: str,
    directory: Path,
    env: Mapping[str, str] | None = None,
    counted: bool = False,
    command: Sequence[str] = (),
) -> Iterator[Inferior]:
    """Start a program, wait until it is ready and rests, and kill it at the end.

    `command` starts it where it isn't started by its name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    more = {"HEAPX_ORACLE": str(directory), **(env or {})}
    if counted:
        more["LD_PRELOAD"] = str(exe.parent / "libcount.so")
    with subprocess.Popen(
        [*(command or [exe]), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=directory,
        env=environment(**more),
    ) as process:
        try:
            if exe.name == "not_glibc":
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
            else:
                ready = directory / "ready"
                eventually(lambda: ready.exists() or process.poll() is not None, exe.name)
                assert process.poll() is None, f"{exe.name} ended with {process.returncode}"
            if exe.name not in ("busy", "spinning"):
                eventually(lambda: at_rest(process.pid), f"{exe.name} rests")
            yield Inferior(process.pid, exe, Oracle(directory), process)
        finally:
            process.kill()


class Result(NamedTuple):
    """What a finished command left."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> Report:
        """The report that it printed as JSON."""
        return json.loads(self.out)


def run(command: Sequence[Any], **options: Any) -> Result:
    """Run a command with a time limit."""
    quiet = {} if "input" in options else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT,
        check=False,
        **{"env": environment(), **quiet, **options},
    )
    return Result(done.returncode, done.stdout, done.stderr)


def heapx(*words: Any, **options: Any) -> Result:
    """Run scripts/heapx."""
    return run((HEAPX, *words), **options)


def told(*words: Any) -> Result:
    """Return what heapx answers to these words: in this process, with a gdb that stays.

    Where a new gdb is to answer, run it. Where it would change something, or be changed, its gdb is
    one of its own.
    """
    if Anew.asked:
        return heapx(*words)
    out, err = io.TextIOWrapper(io.BytesIO()), list[str]()
    with (
        mock.patch.multiple(shell, ask=_ask, complain=err.append),
        mock.patch.object(sys, "stdout", out),
        mock.patch.dict(os.environ, environment(COLUMNS="80"), clear=True),
    ):
        try:
            status = shell._run([str(word) for word in words])
        except HeapxError as error:
            status = error.status
            err.append(f"heapx: {error}")
    out.seek(0)
    return Result(
        status, out.buffer.read().decode(errors="replace"), "".join(f"{e}\n" for e in err)
    )


def _ask(command, serve, request, take, show, tell) -> asking.Reply:
    """Ask a gdb that stays, unless it would have a line or a process of the user's."""
    usual = command[0] == "gdb" and command.count("-ex") == 1 and "-p" not in command
    if request["acts"] or not usual:
        return asking.ask(command, serve, request, take, show, tell)
    answer = warm.ask(command, environment(), request)
    take(answer.pop("text", ""))
    return asking.Reply(answer["result"], True, answer["err"], None)


def look(pid: int, *words: str) -> Report:
    """Return the report of a heapx command on a process, which must succeed without a word."""
    result = told("-p", pid, *words, "--format", "json")
    assert (result.status, result.err) == (0, "")
    return result.report


def gdb(
    *lines: str,
    target: Sequence[Any] = (),
    sourced: bool = True,
    program: str | Path = "gdb",
    **options: Any,
) -> Result:
    """Run gdb in batch mode on these lines."""
    load = (f"source {LOADER}",) if sourced else ()
    words = [word for line in (*load, *lines) for word in ("-ex", line)]
    return run((program, "-nx", "-q", "-batch", *QUIET, *target, *words), **options)


def session(*lines: str, target: Sequence[Any] = ()) -> Result:
    """Run lines in a gdb that stays; where a new gdb is to answer, in one of its own.

    They may leave nothing behind: no setting, no breakpoint.
    """
    if Anew.asked:
        return gdb(*lines, target=target)
    *options, first, second = target or ("", "")
    ways = {"-p": (f"attach {second}",), "-c": (f"core-file {second}",), "": ()}
    opened = ways.get(first, (f"file {first}", f"core-file {second}"))
    command = ("gdb", "-nx", "-q", "-batch", *QUIET, *options, "-ex", f"source {LOADER}")
    answer = warm.ask(command, environment(), {"lines": (*opened, *lines)})
    return Result(0, answer["out"], answer["err"])


def reports(
    commands: Sequence[str], directory: Path, target: Sequence[Any], program: str = "gdb"
) -> dict[str, Report]:
    """Return the reports of several commands in one session of gdb."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{number}.json" for number in range(len(commands))]
    lines = [f"{c} --format json --output {file}" for c, file in zip(commands, files)]
    if program == "gdb" and "-ex" not in target:
        result = session(*lines, target=target)
    else:
        result = gdb(*lines, target=target, program=program)
    missing = [c for c, file in zip(commands, files) if not file.exists()]
    assert not missing, result.err
    return {c: json.loads(file.read_text()) for c, file in zip(commands, files)}


def table(report: Report, name: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a report's table; of the first one without a name."""
    tables = {each["name"]: each["rows"] for each in report["tables"]}
    return tables[name] if name else report["tables"][0]["rows"]


def without_residency(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tables without what a core can't tell: which pages were in memory."""
    return [
        {
            "name": each["name"],
            "columns": each["columns"],
            "rows": list(map(_without_residency, each["rows"])),
            "total": _without_residency(each.get("total", {})),
        }
        for each in tables
    ]


def _without_residency(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.endswith(IN_MEMORY)}


# The rows about pages of files: who else has these mapped changes as processes come and go.
OF_FILES = ("program and library files", "data files", "the kernel's own", "outside", "data_files")


def without_others(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tables without what other processes decide: which pages of files they share."""
    return [
        {
            **each,
            "rows": [
                _unshared(row) if OF_FILES.count(row.get("owner", row.get("key"))) else row
                for row in each["rows"]
            ],
            **({"total": _unshared(each["total"])} if "total" in each else {}),
        }
        for each in tables
    ]


def _unshared(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("shared", "private")}


def gcore(pid: int, core: Path) -> Path:
    """Save a core of a process with gdb; the process runs on."""
    result = session(f"gcore {core}", target=("-p", pid))
    assert core.exists(), result.err
    return core


# What /proc tells.


def status(pid: int, name: str) -> str:
    """Return a field of /proc/PID/status, its unit taken off."""
    text = Path(f"/proc/{pid}/status").read_text(errors="surrogateescape")
    return next(line.split()[1] for line in text.splitlines() if line.startswith(name + ":"))


def thread_states(pid: int) -> dict[int, str]:
    """Return the state of every thread by LWP, a letter each."""
    files = Path(f"/proc/{pid}/task").glob("*/stat")
    texts = {int(file.parent.name): file.read_text(errors="surrogateescape") for file in files}
    return {lwp: text.rpartition(")")[2].split()[0] for lwp, text in texts.items()}


def at_rest(pid: int, traced: bool = False) -> bool:
    """Tell whether every thread sleeps that hasn't ended, and whether it is traced as expected."""
    asleep = set(thread_states(pid).values()) - {"Z"} == {"S"}
    return asleep and (status(pid, "TracerPid") != "0") == traced


class Region(NamedTuple):
    """One mapping of a process."""

    start: int
    end: int
    permissions: str
    name: str


def regions(pid: int) -> list[Region]:
    """Return the mappings of a process, but the kernel's own [vvar] and [vsyscall]."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, permissions, _offset, _device, _inode, *name = line.split(None, 5)
        start, end = (int(part, 16) for part in span.split("-"))
        found.append(Region(start, end, permissions, name[0] if name else ""))
    return [r for r in found if not r.name.startswith(("[vvar", "[vsyscall"))]


def present(pid: int, region: Region) -> bytes:
    """Return a byte for each page: 1 present, 2 swapped, 0 neither."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        data = os.pread(
            pagemap.fileno(), (region.end - region.start) // PAGE * 8, region.start // PAGE * 8
        )
    return bytes(entry >> 62 for entry in array("Q", data))


def resident(pid: int) -> dict[str, int]:
    """Return the Rss of each mapping in kB."""
    rss = [
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines()
        if line.startswith("Rss:")
    ]
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    assert len(rss) == len(lines)
    return dict(zip(lines, rss))


def contents(pid: int) -> dict[Region, str]:
    """Return a digest of each writable mapping; pages that aren't present are left alone."""
    digests = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for region in regions(pid):
            if "w" not in region.permissions:
                continue
            digest = sha256()
            for index, state in enumerate(present(pid, region)):
                if state:
                    address = region.start + index * PAGE
                    digest.update(address.to_bytes(8, "little"))
                    digest.update(_page(memory.fileno(), address))
            digests[region] = digest.hexdigest()
    return digests


def _page(memory: int, address: int) -> bytes:
    """Return the content of a page; glibc 2.42's guard pages have none."""
    try:
        return os.pread(memory, PAGE, address)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b"guard"


def kernel_core(inferior: Inferior) -> Path:
    """Make the kernel write a core of a process, which ends it; the core is in its directory."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(inferior.pid, resource.RLIMIT_CORE, unlimited)
    os.kill(inferior.pid, signal.SIGABRT)
    assert inferior.process.wait(TIMEOUT) == -signal.SIGABRT
    cores = list(inferior.oracle.directory.glob("core*"))
    assert len(cores) == 1
    return cores[0]
