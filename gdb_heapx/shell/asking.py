"""Asking a gdb of heapx's own: however that ends, the process runs on.

The two ends talk over a socket, in lines of JSON: first the request, then what gdb's side says.
Nothing is kept in a file. Where the socket ends, gdb's side lets go of the process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ..ending import ENDING, EndedError, held_back
from ..target.procfs import is_stopped, run_on

if TYPE_CHECKING:
    from .guard import Guard

PATIENCE = 3  # seconds that gdb has to end before one more signal kills it
SETTLED = 0.2  # seconds in which a process stops that a killed gdb leaves


class Reply(NamedTuple):
    """What gdb's side said at its end, None if it ended without; whether it began to answer at all,
    gdb's own messages, and the signal that ended gdb, None without; what was done then in lines;
    the signal by which an early answer was asked for, None without or for Ctrl-C.
    """

    result: dict[str, Any] | None
    began: bool
    messages: str
    killed_by: int | None
    mended: tuple[str, ...] = ()
    asked_by: int | None = None


def ask(
    command: Sequence[str],
    serve: str,
    request: dict[str, Any],
    take: Callable[[str], object],
    show: Callable[[str], object],
    tell: Callable[[str], object],
) -> Reply:
    """Run gdb on a request; hand each piece of the answer to `take`, each line about long work to
    `show`, and to `tell` what is about to be done.

    `serve` is the line of gdb's that answers, with the number of its socket in place of {}. A
    Ctrl-C makes gdb answer with what it has read. One more, or another signal, makes it let go of
    the process, and then raises EndedError; where it watches the process, the first SIGTERM or
    SIGHUP is as Ctrl-C, and the reply says which it was. A process that wasn't stopped before is
    not stopped afterwards.
    """
    pid = request["pid"]
    was_stopped = pid is not None and is_stopped(pid)
    ours, theirs = socket.socketpair()
    killable = not request["acts"]
    guard = _guard(was_stopped) if request.get("watches") else None
    request = {**request, "lifeline": guard and guard.descriptor}
    answers_at = {signal.SIGINT, *((signal.SIGTERM, signal.SIGHUP) if guard else ())}
    handed_on: list[int] = []
    with ours, theirs, _hanging_up(ours, killable, answers_at, handed_on) as children:
        line = serve.format(theirs.fileno())
        descriptors = [theirs.fileno(), *([guard.descriptor] if guard else ())]
        gdb = _started([*command, "-ex", line], descriptors)
        children.append(gdb)
        theirs.close()
        end = _thread(_end_with, gdb)
        try:
            reply = _talk(gdb, end, ours, request, take, show, tell, guard)
        finally:
            _hang_up(ours, socket.SHUT_RDWR)  # nobody reads what it still says
            end.join()
            if guard:
                guard.end(gdb.returncode != 0)
            if pid is not None and not was_stopped:
                _run_on(pid, gdb.returncode < 0)
    if guard:
        others = (number for number in handed_on if number != signal.SIGINT)
        reply = reply._replace(mended=guard.said(), asked_by=next(others, None))
    return reply


def _guard(was_stopped: bool) -> Guard:
    from .guard import Guard  # one command needs it

    return Guard(was_stopped)


def _started(command: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[str]:
    """Start gdb with signals held back, so that none ends it before it can let go of the process.

    Variables of Python's are the user's for another Python than gdb's.
    """
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
    with held_back():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=descriptors,
            start_new_session=True,  # a Ctrl-C comes here alone
        )


def _thread(target: Callable[..., object], *arguments: object) -> Thread:
    """Return a thread that has begun; signals are the main thread's."""
    thread = Thread(target=target, args=arguments, daemon=True)
    with held_back():
        thread.start()
    return thread


def _end_with(gdb: subprocess.Popen[str]) -> None:
    """Wait for gdb's end, and end what it leaves: that would keep its socket and its output open.

    A gdb that is killed while it tries ptrace leaves a stopped child (gdb/nat/linux-ptrace.c,
    linux_check_ptrace_features). Until gdb is reaped its group can't be another's.
    """
    os.waitid(os.P_PID, gdb.pid, os.WEXITED | os.WNOWAIT)
    with suppress(OSError):
        os.killpg(gdb.pid, signal.SIGKILL)
    gdb.wait()


def _talk(
    gdb: subprocess.Popen[str],
    end: Thread,
    ours: socket.socket,
    request: dict[str, Any],
    take: Callable[[str], object],
    show: Callable[[str], object],
    tell: Callable[[str], object],
    guard: Guard | None,
) -> Reply:
    messages: list[str] = []
    result, began = None, False
    reader = _thread(_read_all, gdb.stdout, messages)
    with suppress(OSError):  # gdb has ended already, or is told to
        ours.sendall(json.dumps(request).encode() + b"\n", socket.MSG_NOSIGNAL)
    for said in _lines(ours):
        began = True
        if "text" in said:
            take(said["text"])
        elif "progress" in said:
            show(said["progress"])
        elif "announced" in said:
            tell(said["announced"])
        elif "places" in said and guard:  # of the process's text, before gdb changes it
            kept = b"kept\n" if guard.keep(said["pid"], said["places"]) else b"refused\n"
            with suppress(OSError):
                ours.sendall(kept, socket.MSG_NOSIGNAL)
        elif "result" in said:
            result = said["result"]
            break
    _hang_up(ours)
    end.join()
    reader.join()
    killed_by = -gdb.returncode if gdb.returncode < 0 else None
    return Reply(result, began, "".join(messages), killed_by)


def _read_all(stream: IO[str] | None, into: list[str]) -> None:
    into.extend(stream or ())


def _lines(ours: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield what gdb's side says; a line that it didn't finish counts for nothing."""
    with ours.makefile("rb") as lines, suppress(ConnectionError):
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _hang_up(ours: socket.socket, how: int = socket.SHUT_WR) -> None:
    with suppress(OSError):
        ours.shutdown(how)


@contextmanager
def _hanging_up(
    ours: socket.socket, killable: bool, answers_at: Set[int], handed_on: list[int]
) -> Iterator[list[subprocess.Popen[str]]]:
    """In here the first signal of those that are answered is handed on. Any other hangs up, and
    afterwards raises EndedError. One more, after some time, kills the children that are noted, if
    they may be.
    """
    children: list[subprocess.Popen[str]] = []
    came: list[tuple[int, float]] = []

    def hang_up(number: int, _frame: FrameType | None) -> None:
        if number in answers_at and children and not (came or handed_on):
            handed_on.append(number)
            with suppress(OSError):
                ours.send(b"stop\n", socket.MSG_NOSIGNAL)
            return
        came.append((number, time.monotonic()))
        _hang_up(ours)
        if killable and came[-1][1] - came[0][1] > PATIENCE:
            for child in children:
                with suppress(OSError):  # it has ended by itself
                    os.killpg(child.pid, signal.SIGKILL)

    before = {number: signal.signal(number, hang_up) for number in ENDING}
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise EndedError(came[0][0])


def _run_on(pid: int, killed: bool) -> None:
    """Let a process run on; a gdb that was killed may leave a stop that has yet to come."""
    end = time.monotonic() + (SETTLED if killed else 0)
    run_on(pid)
    while time.monotonic() < end:
        time.sleep(SETTLED / 10)
        run_on(pid)
