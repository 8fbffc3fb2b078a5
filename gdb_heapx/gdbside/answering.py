"""A request of the shell command, answered: the target is opened, read, and let go."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import gdb

from ..cli.execute import Terminal, execute, has_unicode
from ..commands import load_commands, load_for
from ..ending import end, held_back, let_through
from ..errors import CutShortError, HeapxError
from ..target.access import core_program
from ..target.corefile import check_core
from ..target.leaders import others_held, to_attach
from ..target.pace import cut_short
from ..target.permission import root_to_name, why_not_permitted
from ..target.procfs import is_stopped, run_on
from . import parameters
from .guarding import Guarded
from .pacing import PACE
from .parameters import preferred
from .strings import nameable, quoted, said

if TYPE_CHECKING:
    from ..held.room import Room
    from .breakpoints import Keep
    from .session import GdbSession
    from .talk import Talk

MORE_TIME = "Give it more seconds, or none."
SPARE = 5, 0.1, 0.5  # what follows the reading gets that part of --max-pause, so many seconds,
LETS_GO = 0.03  # and of those so many are for the detach

GDBS_OWN = "target:"  # the sysroot of a gdb that wasn't told any

_settings_known = functools.cache(parameters.register)


def answer(request: dict[str, Any], talk: Talk) -> dict[str, Any]:
    """Run a command, and return its status with what to say on stderr, or which signal ended it."""
    signal.signal(signal.SIGINT, _ctrl_c)
    try:
        return _answer(request, talk)
    except KeyboardInterrupt:  # gdb's own, too, which it makes of ours
        if not _too_late:
            raise
    error = HeapxError("--max-pause was over before there was an answer", MORE_TIME)
    return {"status": error.status, "error": f"heapx: {error}", "whole": False}


_too_late: list[int] = []  # the signal by which the clock has ended what took too long


def _end_late(number: int, frame: FrameType | None) -> None:
    _too_late.append(number)
    end(number, frame)


def _ctrl_c(number: int, frame: FrameType | None) -> None:
    """Stop reading; where nothing is read yet, or one more comes, end."""
    if PACE.started and PACE.stopped is None:
        PACE.stop()
    else:
        end(number, frame)


def _answer(request: dict[str, Any], talk: Talk) -> dict[str, Any]:
    terminal = Terminal(request["width"], request["colour"], has_unicode(os.environ))
    _settings_known()
    try:
        for name, value in request["set"]:
            _try(f"set heapx {name} {value}", f"--set {name}={value}")
        words, settings = request["words"], preferred()
        if not load_for(words):
            load_commands()

        def opened(seconds: float | None, held: bool) -> AbstractContextManager[GdbSession]:
            return _opened(request, seconds, talk, held)

        answer = execute(words, opened, terminal, talk.write, settings)
        talk.flush()
    except CutShortError as error:
        if error.interrupted:
            return {"ended": signal.SIGINT}
        return {"status": error.status, "error": f"heapx: {error}", "whole": False}
    except HeapxError as error:
        return {"status": error.status, "error": f"heapx: {error}", "whole": False}
    return {"status": answer.status, "error": answer.warning or "", "whole": True}


@contextmanager
def _opened(
    request: dict[str, Any], seconds: float | None, talk: Talk, held: bool
) -> Iterator[GdbSession]:
    """Attach to the process or open the core that a request names; detach in any case, and before
    these seconds are over.
    """
    core = request["core"]
    pid = None if request["pid"] is None else to_attach(request["pid"])
    cut = check_core(core) if core else None
    program = core_program(core) if core else None
    root = None if pid is None else root_to_name(pid)
    if root is not None and gdb.parameter("sysroot") == GDBS_OWN:
        said(f"set sysroot {root}")
    said("set auto-solib-add off")
    if request["exe"]:
        _try(f"file {quoted(request['exe'])}", f"cannot open the program {request['exe']}")
    elif pid is not None:
        with suppress(gdb.error):  # not permitted: then the attach says so
            said(f"file /proc/{pid}/exe")
    elif program:
        said(f"file {quoted(program)}")
    if core is not None:
        _try(f"core-file {nameable(core)}", cut or f"cannot open the core {core}")
    room = _room(pid) if held and pid is not None else None
    lifeline = request.get("lifeline")
    keep = Guarded(talk, lifeline).keep if lifeline is not None else None
    if keep is not None:
        said("set auto-solib-add on")
    looked_into = _attached(pid, seconds) if pid is not None else nullcontext()
    begun = time.monotonic()
    PACE.start(_for_reading(seconds), show=_shown(request, talk))
    try:
        with looked_into, cut_short(PACE):
            session = _looked_into(room, keep, talk)
            yield session
    finally:
        PACE.end()
    if pid is not None:
        session.stood_still = time.monotonic() - begun


def _for_reading(seconds: float | None) -> float | None:
    """Return for how many of these seconds memory may be read; the rest is for what follows."""
    part, least, most = SPARE
    return None if seconds is None else seconds - min(max(seconds / part, least), most, seconds / 2)


def _shown(request: dict[str, Any], talk: Talk) -> Callable[[str], object]:
    """Return what hands a line about long work to the shell command, if that has a terminal."""
    wanted = request.get("progress") and preferred().progress != "off"
    return (lambda line: talk.say(progress=line)) if wanted else (lambda line: None)


def _room(pid: int) -> Room | None:
    """Return memory for a copy of a process's chunks, None where that is too much, or can't be."""
    from ..held.room import room_of

    with suppress(OSError):
        return room_of(pid)
    return None


def _looked_into(room: Room | None, keep: Keep | None, talk: Talk) -> GdbSession:
    """Read the symbols of glibc's own files, and no others: where the process is watched, gdb has
    all of them, since backtraces need each file's unwind tables.
    """
    from .session import GdbSession  # what of it isn't there yet (_import_meanwhile)

    if keep is not None:
        return GdbSession(room, keep, lambda text: talk.say(announced=text))
    for library in ("libc", "libpthread", "ld"):
        said(f"sharedlibrary /{library}[-.0-9][^/]*$")
    said("sharedlibrary /libc_malloc_debug[^/]*$")  # another malloc (locate/libcs.py)
    return GdbSession(room)


@contextmanager
def _attached(pid: int, seconds: float | None) -> Iterator[None]:
    """Attach to a process, and let it go in the end; signals are held back but while it is looked
    at.

    A process that no signal had stopped before isn't stopped afterwards.
    """
    with held_back():
        was_stopped = is_stopped(pid)
        try:
            with _no_longer(seconds):
                _attach(pid)
                with others_held(pid), let_through():
                    yield
        finally:
            with held_back(), suppress(gdb.error):  # it is gone, or never was attached
                said("detach")
            if not was_stopped:
                run_on(pid)


@contextmanager
def _no_longer(seconds: float | None) -> Iterator[None]:
    """End with EndedError what takes longer, whatever it does; what is read in here asks PACE, and
    ends before, with an answer.
    """
    if seconds is None:
        yield
        return
    signal.signal(signal.SIGALRM, _end_late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds - LETS_GO, seconds / 2))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # forgets one that is held back


def _attach(pid: int) -> None:
    try:
        said(f"attach {pid}")
    except gdb.error as error:
        if not os.path.exists(f"/proc/{pid}"):
            raise HeapxError(f"no process {pid}") from None
        if "not permitted" in str(error):
            whys = why_not_permitted(pid)
            raise HeapxError(f"not permitted to attach to process {pid}", *whys) from None
        raise HeapxError(f"cannot attach to process {pid}: {error}") from None


def _try(line: str, failure: str) -> None:
    try:
        said(line)
    except gdb.error as error:
        raise HeapxError(f"{failure}: {error}") from None
