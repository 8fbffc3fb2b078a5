"""The other end of the shell command: one request, answered from gdb in batch mode."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import gdb

from ..cli.execute import Terminal, execute
from ..commands import load_for
from ..ending import EndedError, end_by_exception, held_back, let_through
from ..errors import HeapxError
from ..target.access import core_program
from ..target.corefile import check_core
from ..target.leaders import others_held, to_attach
from ..target.procfs import is_stopped, run_on, tracer_of
from .parameters import preferred
from .session import GdbSession
from .strings import nameable, said

PIECE = 1 << 16  # characters of text that are sent at once


class _Talk:
    """The line to the shell command: lines of JSON, as asking.py reads them."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._pieces: list[str] = []
        self._size = 0

    def request(self) -> dict[str, Any]:
        """Return the request; EndedError if the shell command has ended before it said all."""
        with self._socket.makefile("rb") as file:
            line = file.readline()
        if not line.endswith(b"\n"):
            raise EndedError(signal.SIGTERM)
        request: dict[str, Any] = json.loads(line)
        return request

    def write(self, text: str) -> None:
        """Send a part of the answer, or keep it until there is more of it."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            self.say(text="".join(self._pieces))
            self._pieces, self._size = [], 0

    def say(self, **message: Any) -> None:
        """Send a message; EndedError if nobody is there to read it."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)
        except ConnectionError:
            raise EndedError(signal.SIGTERM) from None

    def watch(self) -> None:
        """End this gdb as SIGTERM does when the shell command hangs up, or is there no more."""

        def wait() -> None:
            with suppress(OSError):
                self._socket.recv(1)
            os.kill(os.getpid(), signal.SIGTERM)

        with held_back():  # signals are the main thread's
            Thread(target=wait, daemon=True).start()


def serve(descriptor: int) -> None:
    """Answer the request that the shell command sends through a socket.

    It has started gdb with ENDING held back: they come through now, and while the process is
    looked at, but not while gdb attaches to it or lets it go.
    """
    talk = _Talk(descriptor)
    try:
        talk.say(ready=True)
        request = talk.request()
        end_by_exception()
        talk.watch()
        with let_through():
            result = _answer(request, talk)
    except EndedError as ended:
        result = {"ended": ended.number}
    except KeyboardInterrupt:  # gdb's own, of a SIGINT
        result = {"ended": signal.SIGINT}
    with suppress(EndedError):
        talk.say(result=result)


def _answer(request: dict[str, Any], talk: _Talk) -> dict[str, Any]:
    """Run the command, and return its status with what to say on stderr."""
    terminal = Terminal(request["width"], request["colour"])
    try:
        for name, value in request["set"]:
            _try(f"set heapx {name} {value}", f"--set {name}={value}")
        words, settings = request["words"], preferred()
        load_for(words)
        answer = execute(words, lambda: _opened(request), terminal, talk.write, settings)
        talk.flush()
    except HeapxError as error:
        return {"status": error.status, "error": f"heapx: {error}", "whole": False}
    return {"status": answer.status, "error": answer.warning or "", "whole": True}


@contextmanager
def _opened(request: dict[str, Any]) -> Iterator[GdbSession]:
    """Attach to the process or open the core that a request names; detach in any case."""
    core = request["core"]
    pid = None if request["pid"] is None else to_attach(request["pid"])
    cut = check_core(core) if core else None
    program = core_program(core) if core else None
    said("set auto-solib-add off")
    if request["exe"]:
        _try(f"file {_quoted(request['exe'])}", f"cannot open the program {request['exe']}")
    elif pid is not None:
        with suppress(gdb.error):  # not permitted: then the attach says so
            said(f"file /proc/{pid}/exe")
    elif program:
        said(f"file {_quoted(program)}")
    if core is not None:
        _try(f"core-file {nameable(core)}", cut or f"cannot open the core {core}")
    if pid is None:
        yield _looked_into()
    else:
        with _attached(pid), let_through():
            yield _looked_into()


def _looked_into() -> GdbSession:
    """Read the symbols of glibc's own files, and no others."""
    for library in ("libc", "libpthread", "ld"):
        said(f"sharedlibrary /{library}[-.0-9][^/]*$")
    said("sharedlibrary /libc_malloc_debug[^/]*$")  # another malloc (locate/libcs.py)
    return GdbSession()


@contextmanager
def _attached(pid: int) -> Iterator[None]:
    """Attach to a process, and let it go in the end; signals are held back all the time.

    A process that no signal had stopped before isn't stopped afterwards.
    """
    with held_back():
        was_stopped = is_stopped(pid)
        try:
            _attach(pid)
            with others_held(pid):
                yield
        finally:
            with held_back(), suppress(gdb.error):  # it is gone, or never was attached
                said("detach")
            if not was_stopped:
                run_on(pid)


def _attach(pid: int) -> None:
    try:
        said(f"attach {pid}")
    except gdb.error as error:
        if not os.path.exists(f"/proc/{pid}"):
            raise HeapxError(f"no process {pid}") from None
        if "not permitted" in str(error):
            raise HeapxError(f"not permitted to attach to process {pid}", *_whys(pid)) from None
        raise HeapxError(f"cannot attach to process {pid}: {error}") from None


def _whys(pid: int) -> tuple[str, ...]:
    """Return what to do where attaching isn't permitted."""
    tracer = tracer_of(pid)
    if tracer is not None:
        whose = f"process {tracer[0]} ({tracer[1]})"
        return (f"It is traced by {whose}, and can have one tracer only.",)
    return (
        "Run heapx as root, or as the user of the process with",
        "  sysctl kernel.yama.ptrace_scope=0",
        "In a container: run it on the host, or start the container with --cap-add=SYS_PTRACE.",
    )


def _try(line: str, failure: str) -> None:
    try:
        said(line)
    except gdb.error as error:
        raise HeapxError(f"{failure}: {error}") from None


def _quoted(path: str) -> str:
    path = nameable(path)
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
