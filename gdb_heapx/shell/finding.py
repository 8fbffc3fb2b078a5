"""Which process is meant: by its id, or by the name of its program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import HeapxError, UsageError
from ..target.procfs import number_of, status_of, text_of, thread_name

SHOWN = 20  # processes of one name that are listed
LONGEST_NAME = 15  # of what the kernel keeps of a thread's name (TASK_COMM_LEN)
COMMAND_WIDTH = 200  # columns where nothing says how wide the terminal is
HEADS = ("pid", "RSS", "user", "command")


class NotFoundError(HeapxError):
    """No process runs a program of this name."""


class Process(NamedTuple):
    """A process of this machine: RSS in bytes, and its command line."""

    pid: int
    rss: int
    user: str
    command: str


def process_id(text: str, width: int | None = None) -> int:
    """Return the id of the process that is meant by an id or a program's name; HeapxError if there
    is none, or several, which are listed.
    """
    if re.fullmatch(r"[0-9]{1,18}", text):
        if not os.path.exists(f"/proc/{int(text)}"):
            raise HeapxError(f"no process {int(text)}", "ps -e lists those that run here.")
        return int(text)
    if not text or text.startswith("-") or "/" in text:
        raise UsageError(f"{text!r} is neither a process id nor a program's name")
    found = sorted(processes_called(text), key=lambda each: each.rss, reverse=True)
    if not found:
        raise NotFoundError(f"no process runs a program called {text}")
    if len(found) > 1:
        said = f"{len(found)} processes run {text}: say which one, by -p PID"
        raise UsageError(said, *_listed(found, width or COMMAND_WIDTH))
    return found[0].pid


def process_before(words: list[str], width: int | None = None) -> int | None:
    """Take a process off the beginning of a command line, and return it; None where a command
    stands there, which wins, or help is asked for. HeapxError as above, and if it is neither.
    """
    from ..cli.asides import help_topic
    from ..commands import is_command

    if words[0] == "watch" or is_command(words[0]):
        return None
    first = words.pop(0)
    if help_topic(words) is not None:
        return None
    try:
        return process_id(first, width)
    except NotFoundError:
        from .manual import unknown

        raise unknown(first, "and no process runs a program of that name") from None


def processes_called(name: str) -> Iterator[Process]:
    """Yield the processes that run a program of this name; neither this one nor whose child it is,
    and none that has no memory of its own.
    """
    own = set(_own_line())
    for pid in (int(each) for each in os.listdir("/proc") if each.isdigit()):
        status = status_of(pid)
        rss = number_of(status.get("VmRSS", "").removesuffix(" kB"))
        if pid in own or rss is None:
            continue
        with suppress(OSError):  # it has ended
            words = text_of(f"/proc/{pid}/cmdline").split("\0")
            if name in _names(pid, words):
                yield Process(pid, rss << 10, _user(status), " ".join(words).strip())


def _own_line() -> Iterator[int]:
    """Yield this process, its parent, and so on."""
    pid: int | None = os.getpid()
    while pid:
        yield pid
        pid = number_of(status_of(pid).get("PPid"))


def _names(pid: int, words: list[str]) -> Iterator[str]:
    """Yield what a process's program is called: by itself, by its file, and as it was started.

    The kernel cuts names: a longer one is that of the program, or of the script that it runs.
    """
    comm = thread_name(pid, pid) or ""
    yield comm
    if len(comm) == LONGEST_NAME:
        yield from (base for base in map(os.path.basename, words[:2]) if base.startswith(comm))
    yield os.path.basename(words[0])
    with suppress(OSError):  # not permitted
        yield os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))


def _user(status: dict[str, str]) -> str:
    """Return the name of a process's user, or the number of one that has none here."""
    uid = number_of(status.get("Uid", "").partition("\t")[0]) or 0
    with suppress(ImportError, KeyError):
        import pwd

        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _listed(processes: list[Process], width: int) -> Iterator[str]:
    """Yield lines about processes, no wider than a terminal."""
    from ..report.model import shortened, size_text

    rows = [HEADS, *((str(p.pid), size_text(p.rss), p.user, p.command) for p in processes[:SHOWN])]
    pid, rss, user = (max(len(row[at]) for row in rows) for at in range(3))
    room = max(width - sum((pid, rss, user)) - 2 * len(HEADS) - 1, len(HEADS[-1]))
    for row in rows:
        told = f"{row[0]:>{pid}}  {row[1]:>{rss}}  {row[2]:{user}}"
        yield f"{told}  {shortened(row[3], room)}"
    if len(processes) > SHOWN:
        yield f"and {len(processes) - SHOWN} more, with less memory"
