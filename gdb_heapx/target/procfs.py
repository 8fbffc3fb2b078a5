"""What /proc tells about a living process, and of the machine's memory."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

AT_ONCE = 1 << 16  # bytes of a file that are read at once


def text_of(path: str, most: int = -1) -> str:
    """Return a file of /proc, whatever bytes the names in it have; OSError where it can't be read.

    No more than `most` bytes, if that isn't -1.
    """
    parts: list[bytes] = []
    descriptor = os.open(path, os.O_RDONLY)  # with open() a small file takes thrice as long
    try:
        while part := os.read(descriptor, AT_ONCE if most < 0 else most):
            parts.append(part)
            most -= len(part) if most > 0 else 0
    finally:
        os.close(descriptor)
    return os.fsdecode(b"".join(parts))


_RUN = re.compile(r"\S+ ..x. \S+ \S+ (\d+) +(/.+)")  # a line of maps: a file that is run


def mapped_files(pid: int) -> dict[str, int]:
    """Return the inode of each file that a living process maps to run it, by its name; {} if /proc
    doesn't tell.
    """
    from .pieces import whole  # the shell command has no use for what that imports

    with suppress(OSError):
        lines = os.fsdecode(whole(f"/proc/{pid}/maps")).split("\n")
        named = (_RUN.fullmatch(line) for line in lines if "/" in line)  # of thousands few are
        return {found[2]: int(found[1]) for found in named if found}
    return {}


def swap_allowance() -> int:
    """Return how many bytes may be swapped in: 64 MiB, but at most a tenth of MemAvailable."""
    return min(64 << 20, available() // 10)


def available() -> int:
    """Return how many bytes of this machine's memory are available, as the kernel estimates it."""
    with open("/proc/meminfo") as meminfo:
        found = re.search(r"^MemAvailable:\s+(\d+)", meminfo.read(), re.M)
    return int(found[1]) << 10 if found else 0


TUNABLES = "GLIBC_TUNABLES"
_VARIABLE = rb"(?:\A|(?<=\0))(GLIBC_TUNABLES|MALLOC_[A-Z_]+|glibc\.[^=\0]*)=([^\0]*)\0"
# The kernel takes 6 MiB at exec (fs/exec.c); a process may say that more is its environment.
LARGEST_ENVIRONMENT = 8 << 20
LARGEST_AUXILIARY = 1 << 16
STANDING = "tTZX"


def cpus(pid: int) -> int | None:
    """Return how many CPUs are online; None where a process may not use all of them, since then
    releases of glibc count differently (get_nprocs).
    """
    with suppress(OSError, ValueError):
        ranges = text_of("/sys/devices/system/cpu/online").strip().split(",")
        ends = [[int(end) for end in each.split("-")] for each in ranges]
        online = sum(each[-1] - each[0] + 1 for each in ends)
        return online if len(os.sched_getaffinity(pid)) == online else None
    return None


def malloc_variables(data: bytes) -> dict[str, str]:
    """Return the variables that malloc reads, from an environment as the kernel lays it out.

    glibc to 2.38 replaces the colons in GLIBC_TUNABLES by zeros (elf/dl-tunables.c): the tunables
    behind them look like variables.
    """
    found: dict[str, str] = {}
    tunables: list[str] = []
    for match in re.finditer(_VARIABLE, data):
        name, value = (os.fsdecode(part) for part in match.groups())
        if name == TUNABLES:
            tunables = [value]
        elif name.startswith("MALLOC_"):
            found[name] = value
        elif tunables:
            tunables.append(f"{name}={value}")
    return {**found, TUNABLES: ":".join(tunables)} if tunables else found


def read_environment(pid: int) -> dict[str, str] | None:
    """Return malloc's variables of a process as it was started, None if /proc doesn't tell."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return malloc_variables(environ.read(LARGEST_ENVIRONMENT))
    except OSError:
        return None


def read_auxiliary(pid: int, word: int) -> dict[int, int]:
    """Return the auxiliary vector of a process by AT_ number, {} if /proc doesn't tell."""
    try:
        with open(f"/proc/{pid}/auxv", "rb") as file:
            data = file.read(LARGEST_AUXILIARY)
    except OSError:
        return {}
    words = memoryview(data[: len(data) // word * word]).cast("Q" if word == 8 else "I")
    return dict(zip(words[::2], words[1::2]))


def status_of(pid: int, lwp: int | None = None) -> dict[str, str]:
    """Return the fields of /proc/PID/status, of a thread if one is given; {} where it is gone."""
    place = f"/proc/{pid}/status" if lwp is None else f"/proc/{pid}/task/{lwp}/status"
    with suppress(OSError):
        return parse_status(text_of(place))
    return {}


def parse_status(text: str) -> dict[str, str]:
    """Return the fields of a status by name; the kernel escapes the end of a line in a name."""
    lines = (line.partition(":") for line in text.split("\n"))
    return {name: value.strip() for name, _, value in lines}


def number_of(text: str | None) -> int | None:
    """Return a number that the kernel wrote, None where there is none."""
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def tracer_of(pid: int) -> tuple[int, str] | None:
    """Return who traces a process, its id and name; None if nobody does, or /proc doesn't tell."""
    tracer = number_of(status_of(pid).get("TracerPid"))
    if not tracer:
        return None
    return tracer, thread_name(tracer, tracer) or "of another namespace"


def parse_state(text: str) -> str:
    """Return the state that a stat tells, "" if none (proc(5)); the name before it may be any."""
    return text.rpartition(")")[2].strip()[:1]


def parse_flags(text: str) -> int:
    """Return the kernel's flags of a process that a stat tells, 0 if none (proc(5), field 9)."""
    fields = text.rpartition(")")[2].split()
    return (number_of(fields[6]) or 0) if len(fields) > 6 else 0


def parse_start(text: str) -> int | None:
    """Return when a process began by its stat, in clock ticks since the machine did; None if it
    doesn't tell (proc(5), field 22).
    """
    fields = text.rpartition(")")[2].split()
    return number_of(fields[19]) if len(fields) > 19 else None


def born(pid: int) -> str | None:
    """Return when a process began, and in which run of the machine: no other has both with this id;
    None where /proc doesn't tell.
    """
    with suppress(OSError):
        start = parse_start(text_of(f"/proc/{pid}/stat"))
        boot = text_of("/proc/sys/kernel/random/boot_id").strip()
        return f"{boot} {start}" if boot and start is not None else None
    return None


def _thread_states(pid: int) -> Iterator[str]:
    """Yield the state of every thread of a process, a letter each (proc(5), stat)."""
    for stat in of_threads(pid, "stat"):
        yield parse_state(stat)


def of_threads(pid: int, name: str) -> Iterator[str]:
    """Yield this file of each thread of a process that can be read; nothing if it is gone."""
    folder = f"/proc/{pid}/task"
    try:
        threads = os.listdir(folder)
    except OSError:
        return
    for thread in threads:
        with suppress(OSError):
            yield text_of(f"{folder}/{thread}/{name}")


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process; none if the kernel doesn't tell."""
    found: list[int] = []
    for text in of_threads(pid, "children"):
        found += map(int, text.split())
    return found


def stands_still(pid: int) -> bool:
    """Tell whether no thread of a process can run: all are stopped, by a tracer or a signal, or
    have ended.
    """
    return all(state in STANDING for state in _thread_states(pid))


def is_dead(pid: int) -> bool:
    """Tell whether a process has ended, or all of its threads have."""
    return all(state in "ZX" for state in _thread_states(pid))


def is_stopped(pid: int) -> bool:
    """Tell whether a signal, and no tracer, has stopped a process."""
    return "T" in _thread_states(pid)


def run_on(pid: int) -> None:
    """Continue a process if it is stopped. Only for a stop that is heapx's own: a debugger that
    dies while it attaches leaves one.
    """
    if is_stopped(pid):
        with suppress(OSError):  # it is gone, or was never permitted
            os.kill(pid, signal.SIGCONT)


def in_system_call(pid: int, lwp: int) -> bool:
    """Tell whether a thread that stands still waits in a system call; False if /proc doesn't tell
    (proc(5), syscall: its number, -1 outside of any).
    """
    try:
        with open(f"/proc/{pid}/task/{lwp}/syscall") as syscall:
            return syscall.read().split()[0].isdigit()
    except OSError:
        return False


def inner_lwps(pid: int) -> Callable[[int], int | None]:
    """Return what tells the LWP of a process's thread in its own pid namespace (NSpid); None if the
    kernel doesn't tell.
    """

    def asked(lwp: int) -> int | None:
        return number_of(status_of(pid, lwp).get("NSpid", "").rpartition("\t")[2])

    # A process's threads are all in one namespace (clone(2), CLONE_THREAD): in this one?
    same = status_of(pid).get("NSpid") == f"{pid}"
    return (lambda lwp: lwp) if same else asked


def thread_name(pid: int, lwp: int) -> str | None:
    """Return a thread's name as the kernel knows it, None if it is gone."""
    with suppress(OSError):
        return text_of(f"/proc/{pid}/task/{lwp}/comm").removesuffix("\n")
    return None


_EPOLL_DATA = re.compile(r"^tfd:.*?\bdata:\s*([0-9a-f]+)", re.M)
_TIMER = re.compile(r"^ID: (\d+)\nsignal: \d+/([0-9a-f]+)$", re.M)
TIMERS = "timers"


def kept_by_kernel(pid: int) -> dict[str, tuple[int, ...] | None]:
    """Return what a process has given to the kernel that it gets back later, as words, by the file
    that has it: epoll's data (proc(5), fdinfo), and what a POSIX timer tells with its signal, or to
    a function (timer_create(2), sigev_value). None where the kernel doesn't tell: io_uring; timers
    where it was built without CONFIG_CHECKPOINT_RESTORE.
    """
    kept: dict[str, tuple[int, ...] | None] = {TIMERS: None}
    with suppress(OSError):
        timers = _TIMER.findall(text_of(f"/proc/{pid}/timers"))
        kept = {f"timer {number}": (int(value, 16),) for number, value in timers}
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                kind = os.readlink(f"/proc/{pid}/fd/{number}")
                if kind == "anon_inode:[eventpoll]":
                    told = text_of(f"/proc/{pid}/fdinfo/{number}")
                    kept[f"epoll {number}"] = tuple(int(d, 16) for d in _EPOLL_DATA.findall(told))
                elif kind == "anon_inode:[io_uring]":
                    kept[f"io_uring {number}"] = None
    return kept
