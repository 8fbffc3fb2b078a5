"""For how long a process stands still at breakpoints, and a clock that ticks meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

import gdb

from ..ending import without_signals
from ..growth.load import Load

TICK = 0.05  # seconds


class Standstill:
    """Counts for how long: from the end of a `continue` to the next, and before and behind that as
    long as gdb works, which has to see the stop and to let go. What it waits for the process isn't
    counted.
    """

    def __init__(self, load: Load) -> None:
        self.load = load
        self.until = time.monotonic()
        self.too_much = False
        self._worked = _worked()
        self._stands_since: float | None = None

    def begins(self) -> None:
        """The process stands still, and gdb has told so."""
        now, ran = time.monotonic(), time.monotonic() - self.until
        self.until = self._stands_since = now
        self.too_much |= self.load.spent(min(_worked() - self._worked, ran), now)

    def ends(self) -> None:
        """The process is about to be let go."""
        now = time.monotonic()
        self._worked = _worked()
        if self._stands_since is not None:
            self.too_much |= self.load.spent(now - self._stands_since, now)
        self.until = now


def _worked() -> float:
    """Return for how many seconds this thread has run, or waited for a processor."""
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
            ran, waited, *_ = file.read(128).split()
        return (int(ran) + int(waited)) / 1e9
    except (OSError, ValueError):
        return time.thread_time()


class Ticks:
    """In here gdb's main thread calls something again and again, also while a process runs."""

    def __init__(self, tick: Callable[[], object]) -> None:
        self._tick, self._over, self._seen = tick, Event(), Event()

    def __enter__(self) -> Ticks:
        with without_signals():
            self._thread = Thread(target=self._go, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _go(self) -> None:
        self._seen.set()
        while not self._over.wait(TICK):
            if self._seen.is_set():  # not one behind the other, where gdb is busy
                self._seen.clear()
                gdb.post_event(self._run)

    def _run(self) -> None:
        self._seen.set()
        if not self._over.is_set():
            self._tick()
