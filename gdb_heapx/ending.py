"""The signals that end heapx, and the moments in which they have to wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
HELD_BACK = (*ENDING, signal.SIGALRM)  # the clock's, by which a process stands still no longer
SOON = 0.005  # seconds


class EndedError(KeyboardInterrupt):
    """A signal asked heapx to end; `status` is the exit status, 128 and its number (bash(1))."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.status = 128 + number

    @property
    def statement(self) -> str | None:
        """What to say of it; None of SIGPIPE: the reader, such as head, has what it wants."""
        if self.number == signal.SIGPIPE:
            return None
        if self.number == signal.SIGINT:
            return "interrupted"
        return f"ended by {signal.Signals(self.number).name}"


def end(number: int, frame: FrameType | None) -> None:
    """Raise EndedError; where a module is imported, as soon as it is there.

    An exception may come between any two instructions, and importlib's own locks would stay held
    (Python 3.11, Lib/importlib/_bootstrap.py, _get_module_lock): another thread that imports would
    wait for them, and in the end this one for that.
    """
    if _imports(frame):
        with without_signals():
            again = Timer(SOON, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # the first one is enough
    raise EndedError(number)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def end_by_exception() -> None:
    """From now on such a signal raises EndedError where Python code runs."""
    for number in ENDING:
        signal.signal(number, end)


@contextmanager
def held_back() -> Iterator[None]:
    """In here none of them has an effect: it waits until this ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)  # may raise what came just before
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_signals() -> Iterator[None]:
    """A thread that is started in here gets no signal at all: all are the main thread's.

    SIGCHLD above all: gdb waits for it in sigsuspend (gdb/linux-nat.c, wait_for_signal), forever if
    another thread of its process took it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def let_through() -> Iterator[None]:
    """In here they have their effect, also where they are held back around it."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
