"""Run a program with its load until it is quiet, and end it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .clients import listening
from .program import Place, Program, eventually

FOREIGN = re.compile(r"MALLOC|GLIBC_TUNABLES|LD_|PYTHON|RUBY|NODE|JAVA|PERL|R_|GIT_|HEAPX")
TRIM_SIGNAL = signal.SIGRTMIN + 14
LONGEST = 60  # seconds that a load may take
REST, TIRED = 1.0, 20.0  # seconds of rest that make it quiet, and until it is taken as it is


@dataclass(frozen=True)
class Running:
    """A program after its load."""

    pid: int
    place: Place
    program: Program

    def rss(self) -> int:
        return rss(self.pid)

    def trim(self) -> None:
        """Let it call malloc_trim(0); it was started with hold.c's library."""
        os.kill(self.pid, TRIM_SIGNAL)
        self.place.wait_for("trimmed", 20)


def rss(pid: int) -> int:
    """Return what the kernel says is in RAM, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))


@contextlib.contextmanager
def running(
    program: Program, python: str, settings: Mapping[str, str], library: str, trims: bool = False
) -> Iterator[Running]:
    """Start a program, put its load on it, wait until it is quiet, and end it at last.

    `settings` are for its environment. With `trims` it has what can call malloc_trim.
    """
    user = program.user if os.geteuid() == 0 else ""
    with tempfile.TemporaryDirectory(prefix="field-", dir="/tmp") as name:  # short, for sockets
        place = Place(Path(name), python, user)
        shutil.chown(name, **({"user": user} if user else {"user": os.getuid()}))
        if program.prepare:
            program.prepare(place)
        environment = _environment(program, place, settings)
        if trims or program.hold or "FIELD_NO_HUGE_PAGES" in settings:
            environment["LD_PRELOAD"] = shutil.copy(library, place.path("hold.so"))
        if trims:
            environment["FIELD_TRIMMED"] = place.path("trimmed")
        if program.hold:
            environment["FIELD_HOLD"] = place.path("ready")
        process = _start(program, place, environment)
        try:
            with _loaded(program, place, process) as pid:
                _wait_until_quiet(pid)
                yield Running(pid, place, program)
        finally:
            _end(process)


def _environment(program: Program, place: Place, settings: Mapping[str, str]) -> dict[str, str]:
    usual = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    home = {"HOME": str(place.directory), "LC_ALL": "C.UTF-8"}
    return {**usual, **home, **program.environment, **settings}


def _start(
    program: Program, place: Place, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with open(place.path("said"), "wb") as said:
        return subprocess.Popen(
            program.command(place),
            stdin=subprocess.DEVNULL if program.hold else subprocess.PIPE,
            stdout=said,
            stderr=said,
            cwd=place.directory,
            env=environment,
            start_new_session=True,
            **place.identity(),
        )


@contextlib.contextmanager
def _loaded(program: Program, place: Place, process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Put the load on a program; give the process to look at. What the load keeps lives so long."""

    def gone() -> None:
        if process.poll() is not None:
            said = (place.directory / "said").read_text(errors="replace")
            raise RuntimeError(f"it ended with {process.returncode}: {said[-2000:]}")

    def ready() -> bool:
        gone()
        if program.serves is None:
            return (place.directory / "ready").exists()
        return listening(program.serves(place))

    if program.serves or not program.load:
        eventually(ready, "it is ready", LONGEST)
    kept = program.load(place, process) if program.load else None
    gone()
    try:
        yield program.pick(place, process.pid) if program.pick else process.pid
    finally:
        for each in kept if isinstance(kept, list) else [kept]:
            if each is not None:
                each.close()


def _wait_until_quiet(pid: int) -> None:
    """Wait until a process neither runs nor grows for a while."""
    end = time.monotonic() + TIRED
    before = _state(pid)
    while time.monotonic() < end:
        time.sleep(REST)
        now = _state(pid)
        if now[0] - before[0] <= 1 and abs(now[1] - before[1]) <= 64 << 10:
            return
        before = now


def _state(pid: int) -> tuple[int, int]:
    """Return the clock ticks that a process has run, and its RSS."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), rss(pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and what it has started."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
