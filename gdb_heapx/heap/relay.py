"""Two threads walk over a heap in turn: while one walks over a window, the other reads the next.

Each has a buffer of its own: what a processor has read is walked over out of its cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ctypes import addressof, c_char
from queue import SimpleQueue
from threading import Thread

from ..ending import without_signals
from ..target.mappings import Fill
from ..target.pages import IN_RAM
from ..target.space import Space

WINDOW = 512 << 10  # bytes: what stays in a processor's cache
LEAST = 4 << 20  # bytes for which a thread is worth its start
MOST = 1 << 30  # bytes whose pages are looked at before

# Walks over so many bytes at a pointer, which are those at an address; returns how far it came.
Take = Callable[[int, int, int], int]


class Relay:
    """The windows of [start, end), which can be read in any thread.

    `goes_on` is asked in this thread only, `take` is called by one at a time.
    """

    def __init__(
        self, fill: Fill, start: int, end: int, take: Take, goes_on: Callable[[], bool]
    ) -> None:
        self._fill, self._take, self._goes_on = fill, take, goes_on
        self._start, self._end = start, end
        self._reached = start
        self._tail = bytearray()  # what was read from there on
        self._over = False
        self._turns: tuple[SimpleQueue[None], SimpleQueue[None]] = SimpleQueue(), SimpleQueue()

    def run(self) -> int:
        """Walk over the windows as far as that works; return where that ends."""
        other = Thread(target=self._lane, args=(1,), daemon=True)
        with without_signals():
            other.start()
        try:
            self._turns[0].put(None)
            self._lane(0)
            other.join()
        finally:
            self._over = True
            self._turns[1].put(None)
            other.join()
        return self._reached

    def _lane(self, number: int) -> None:
        """Walk over every other window."""
        buffer = bytearray(2 * WINDOW)
        room, place = memoryview(buffer), addressof(c_char.from_buffer(buffer)) + WINDOW
        turn, next_turn = self._turns[number], self._turns[1 - number]
        for start in range(self._start + number * WINDOW, self._end, 2 * WINDOW):
            size = min(WINDOW, self._end - start)
            was_read = self._fill(start, room[WINDOW : WINDOW + size])
            turn.get()
            over = self._over or not was_read or not (number or self._goes_on())
            if not over:
                before = len(self._tail)
                room[WINDOW - before : WINDOW] = self._tail
                self._reached = self._take(place - before, before + size, start - before)
                self._tail = buffer[WINDOW + self._reached - start : WINDOW + size]
                over = self._reached < start  # more windows wouldn't help
            if over:
                self._over = True
            next_turn.put(None)
            if over:
                break


def span(space: Space, start: int, end: int) -> int:
    """Return up to where from `start` on two threads may walk: as far as all is in RAM, so that
    reading leaves no trace. `start` where it isn't worth it, or nothing but gdb can read.
    """
    end = min(end, start + MOST)
    if space.fill is None or end - start < LEAST or len(os.sched_getaffinity(0)) < 2:
        return start
    if space.residency is not None:
        states = space.residency.states(start, end)
        in_ram = len(states) - len(states.lstrip(bytes(IN_RAM)))
        end = min(end, start - start % space.page + in_ram * space.page)
    return end if end - start >= LEAST else start
