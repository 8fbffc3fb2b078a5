"""Run a command, and say what it took: time, CPU, memory, and how long a process stood still."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

BLOCK = 256 << 10
# What gdb says where a command failed, and then ends with 0.
FAILED = re.compile(rb"Undefined command|Python Exception|^Traceback", re.MULTILINE)
# One buffer, filled again and again. /proc/PID/mem doesn't stop the process.
READ = f"""
import json, os, sys, time
pid, spans = json.load(sys.stdin)
memory, buffer = os.open(f"/proc/{{pid}}/mem", os.O_RDONLY), memoryview(bytearray({BLOCK}))
began, ran = time.perf_counter(), time.process_time()
for start, size in spans:
    end = start + size
    while start < end:
        start += os.preadv(memory, [buffer[: end - start]], start)
print(json.dumps([time.perf_counter() - began, time.process_time() - ran]))
"""


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds, seconds of CPU, KiB of RAM at its peak, and the seconds that the
    process stood still.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    still: float = 0.0


class FailedError(Exception):
    """A command did not do what it should."""


def run(words: Sequence[str], text: str = "", limit: float = 3600) -> Cost:
    """Run a command with a text as its input; FailedError if it fails, or takes too long."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(text.encode())
        given.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(
            words, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
        done = _ended(process, limit)
        seconds = time.perf_counter() - began
        if not done:
            raise FailedError(f"not within {limit:g} s")
        said.seek(0)
        message = said.read()
        if process.returncode or FAILED.search(message):
            why = message.decode(errors="replace").strip()[-500:]
            raise FailedError(f"{words[0]} ended with {process.returncode}: {why}")
    return Cost(seconds, done.ru_utime + done.ru_stime, done.ru_maxrss)


def _ended(process: subprocess.Popen[bytes], limit: float) -> Any:
    """Wait for a command; return what it and its children used, None if it had to be ended."""
    ended = False
    descriptor = os.pidfd_open(process.pid)
    try:
        ended = bool(select.select([descriptor], [], [], limit)[0])
    finally:
        os.close(descriptor)
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage if ended else None


def read_once(pid: int, spans: Iterable[tuple[int, int]]) -> Cost:
    """Read all bytes of these (address, size) once."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", READ],
        input=json.dumps([pid, list(spans)]),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise FailedError(f"process {pid} could not be read: {done.stderr.strip()[-500:]}")
    return Cost(*json.loads(done.stdout))


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each."""
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        round(statistics.median(cost.peak for cost in costs)),
        statistics.median(cost.still for cost in costs),
    )


class Others:
    """The CPUs that programs but this one and its children use, from now on."""

    def __init__(self) -> None:
        self._before = self._now()

    def used(self) -> float:
        """Return how many CPUs they used, on average."""
        seconds, busy, ours = (a - b for a, b in zip(self._now(), self._before))
        return max(0.0, busy - ours) / seconds if seconds else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        with open("/proc/stat") as lines:
            user, nice, system, _idle, _iowait, *others = lines.readline().split()[1:9]
        busy = sum(map(int, (user, nice, system, *others))) / os.sysconf("SC_CLK_TCK")
        known = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return time.monotonic(), busy, sum(each.ru_utime + each.ru_stime for each in known)
