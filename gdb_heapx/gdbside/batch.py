"""The other end of the shell command: one request, answered from gdb in batch mode."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gdb

from ..command import Terminal, execute
from ..errors import HeapxError
from ..procfs import tracer_of
from .inferior import core_program
from .parameters import preferred
from .session import GdbSession


def serve(path: str) -> None:
    """Answer the request that the shell command left in a file: the text in another file, which the
    request names, and the rest where the request was.
    """
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    terminal = Terminal(request["width"], request["colour"])
    text = Path(request["answer"])
    result: dict[str, Any]
    try:
        with text.open("w", encoding="utf-8", errors="surrogateescape") as file:
            for name, value in request["set"]:
                _try(f"set heapx {name} {value}", f"--set {name}={value}")
            words, settings = request["words"], preferred()
            answer = execute(words, lambda: _opened(request), terminal, file.write, settings)
        result = {"status": answer.status, "error": answer.warning or ""}
    except (HeapxError, KeyboardInterrupt) as error:
        text.unlink()  # what was written before it failed
        result = {"status": 130, "error": "heapx: interrupted"}
        if isinstance(error, HeapxError):
            result = {"status": error.status, "error": f"heapx: {error}"}
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(result, file)


@contextmanager
def _opened(request: dict[str, Any]) -> Iterator[GdbSession]:
    """Attach to the process or open the core that a request names; detach in any case."""
    pid, core = request["pid"], request["core"]
    program = core_program(core) if core else None
    gdb.execute("set auto-solib-add off", to_string=True)
    if request["exe"]:
        _try(f"file {_quoted(request['exe'])}", f"cannot open the program {request['exe']}")
    elif pid is not None:
        with suppress(gdb.error):  # not permitted: then the attach says so
            gdb.execute(f"file /proc/{pid}/exe", to_string=True)
    elif program:
        gdb.execute(f"file {_quoted(program)}", to_string=True)
    if core is not None:
        _try(f"core-file {core}", f"cannot open the core {core}")
    if pid is not None:
        _attach(pid)
    try:
        for library in ("libc", "libpthread", "ld"):
            gdb.execute(f"sharedlibrary /{library}[-.0-9][^/]*$", to_string=True)
        yield GdbSession()
    finally:
        if pid is not None:
            gdb.execute("detach", to_string=True)


def _attach(pid: int) -> None:
    try:
        # gdb would hand a Ctrl-C on to the process: it waits until gdb has attached.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        gdb.execute(f"attach {pid}", to_string=True)
    except gdb.error as error:
        if not os.path.exists(f"/proc/{pid}"):
            raise HeapxError(f"no process {pid}") from None
        if "not permitted" in str(error):
            raise HeapxError(f"not permitted to attach to process {pid}", *_whys(pid)) from None
        raise HeapxError(f"cannot attach to process {pid}: {error}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


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
        gdb.execute(line, to_string=True)
    except gdb.error as error:
        raise HeapxError(f"{failure}: {error}") from None


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
