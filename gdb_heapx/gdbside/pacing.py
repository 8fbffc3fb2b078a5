"""The pace of what this gdb reads: Ctrl-C and the clock stop it, and long work shows itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import gdb

from ..target.mappings import Memory
from ..target.pace import Pace, cut_short
from .parameters import preferred
from .strings import said

PACE = Pace()  # of all readings, since one command runs at a time
ERASE = "\r\033[K"


@contextmanager
def at_the_prompt(seconds: float | None) -> Iterator[None]:
    """In here the first Ctrl-C stops reading, and nothing else. The next one is gdb's again.

    It is held back, and looked for: an exception may come anywhere, and gdb's handler of the signal
    can't be put back from Python once it is replaced.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    PACE.start(seconds, _ctrl_c, shown() or _unseen)
    try:
        with cut_short(PACE):
            yield
    finally:
        PACE.end()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ctrl_c() -> bool:
    """Tell whether there was a Ctrl-C that was held back; that one is forgotten."""
    if signal.SIGINT not in signal.sigpending():
        return False
    signal.sigtimedwait([signal.SIGINT], 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return True


@contextmanager
def ctrl_c_let_through() -> Iterator[None]:
    """In here a Ctrl-C has its effect in gdb, also where it is held back around it."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def write(text: str) -> None:
    """Write to gdb's stdout; KeyboardInterrupt where the user ends its pager."""
    if _ctrl_c():
        PACE.stop()
    PACE.erase()
    with ctrl_c_let_through():
        gdb.write(text)


class InterruptibleMemory:
    """Memory that gdb may wait for: a Ctrl-C ends that with KeyboardInterrupt."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def read(self, address: int, size: int) -> memoryview:
        with ctrl_c_let_through():
            return self._memory.read(address, size)


def _unseen(_line: str) -> None:
    """Show nothing."""


def shown() -> Callable[[str], object] | None:
    """Return what shows a line about long work on gdb's terminal; None where it has none for that.

    gdb's Python has no terminal of its own, and gdb.write would count its lines for the pager.
    """
    fit = preferred().progress != "off" and os.isatty(2) and os.environ.get("TERM") != "dumb"
    if not fit or not at_a_terminal() or "not active" not in _window():
        return None

    def show(line: str) -> None:
        with suppress(OSError):
            os.write(2, f"{ERASE}{line[: os.get_terminal_size(2).columns - 1]}".encode())

    return show


def _window() -> str:
    """Return what gdb says of its text user interface."""
    try:
        return said("info win")
    except gdb.error:  # it was built without
        return "not active"


def at_a_terminal() -> bool:
    """Tell whether lines are typed and shown on a terminal, and not passed on by a front end.

    Under MI, on a terminal too, lines aren't edited. gdb.parameter("editing") is False everywhere.
    """
    editing = gdb.execute("show editing", to_string=True)
    return os.isatty(1) and editing.rstrip().endswith("on.")
