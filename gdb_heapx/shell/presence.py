"""Whether a process is still there: its end is noticed while heapx waits."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

from ..target.leaders import process_of
from ..target.procfs import born, is_dead

SLICE = 0.2  # seconds from look to look at /proc, where the kernel doesn't tell of the end


class Presence:
    """One process, however often its id comes again."""

    def __init__(self, pid: int) -> None:
        self._pid = process_of(pid)
        self._born = born(self._pid)
        self._descriptor: int | None = None
        with suppress(OSError):  # before Linux 5.3
            self._descriptor = os.pidfd_open(self._pid)

    def wait(self, until: float) -> bool:
        """Wait until that time (monotonic), or until the process ends; tell whether it has."""
        while True:
            left = max(until - time.monotonic(), 0)
            if self._descriptor is not None:
                return bool(select.select([self._descriptor], [], [], left)[0])
            if self.gone:
                return True
            if not left:
                return False
            time.sleep(min(left, SLICE))

    @property
    def gone(self) -> bool:
        return is_dead(self._pid) or born(self._pid) != self._born

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
