"""How far reading has come, and whether it goes on: Ctrl-C or the clock may stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

from ..errors import INTERRUPTED, TIME_IS_UP, CutShortError, HeapxError, Problem, StoppedError
from ..records import dataclass
from .mappings import Memory

LOOK = 0.01  # seconds between two looks at the clock and for Ctrl-C
PATIENCE = 0.5  # seconds after which long work shows itself
REDRAWN = 0.2  # seconds between two lines about it
MIB = 1 << 20


class Stop(NamedTuple):
    """What stopped reading, INTERRUPTED or TIME_IS_UP, and after how many seconds."""

    code: str
    after: float


@dataclass
class Work:
    """What is being done: `done` of `whole` bytes, since `began`; where `whole` is 0 nobody knows
    how much there is. It `lists` chunks, or walks over them.
    """

    what: str
    whole: int
    began: float
    lists: bool = False
    done: int = 0

    def line(self, now: float) -> str:
        """Return what to show of it: what, how far, rate and time left."""
        passed = now - self.began
        if not (self.whole and self.done and passed):
            return f"{self.what}, {passed:.0f} s"
        done, rate = min(self.done, self.whole), self.done / passed
        share, left = 100 * done // self.whole, (self.whole - done) / rate
        return f"{self.what}, {share} %: {self.told}, {rate / MIB:,.0f} MiB/s, {left:.0f} s left"

    @property
    def told(self) -> str:
        return f"{min(self.done, self.whole) / MIB:,.0f} of {self.whole / MIB:,.0f} MiB"


class Pace:
    """Whether reading goes on, and how far it is; every read of memory asks.

    Once it was stopped, nothing more is read: what asks for memory gets StoppedError. `missed` then
    tells whether anything did. `asked` tells whether the user wants it to end, `show` gets a line
    about long work, and "" when there is no more to show. Before it is started nothing stops it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drawn = -inf
        self._asked: Callable[[], bool] = lambda: False
        self._show: Callable[[str], object] = lambda line: None
        self.end()

    def start(
        self,
        seconds: float | None = None,
        asked: Callable[[], bool] = lambda: False,
        show: Callable[[str], object] = lambda line: None,
    ) -> None:
        """Begin: reading may take so many seconds from now on, any if None."""
        self.end()
        self._asked, self._show = asked, show
        self._began = self._clock()
        self._until = inf if seconds is None else self._began + seconds
        self._look_at = self._began

    def resume(self) -> None:
        """Begin again, with no clock, for work that needs the target no longer."""
        self.start(None, self._asked, self._show)

    def end(self) -> None:
        """Stop nothing any more, and forget what was stopped; what is shown goes."""
        self.erase()
        self.stopped: Stop | None = None
        self.missed = False
        self._work: Work | None = None
        self._began, self._until, self._look_at = 0.0, inf, inf

    def erase(self) -> None:
        """Let go what is shown."""
        if self._drawn > -inf:
            self._show("")
        self._drawn = -inf

    @property
    def started(self) -> bool:
        return self._look_at < inf

    @property
    def left(self) -> float:
        """Seconds that reading may still take."""
        return self._until - self._clock() if self.started else inf

    def stop(self, code: str = INTERRUPTED) -> None:
        """Read no more; what has stopped it first is what counts."""
        if self.started and self.stopped is None:
            self.stopped = Stop(code, self._clock() - self._began)

    def goes_on(self) -> bool:
        """Tell whether to go on; now and then look at the clock, and show how far it is."""
        if self.stopped is None:
            now = self._clock()
            if now < self._look_at:
                return True
            self._look(now)
        self.missed = self.missed or self.stopped is not None
        return self.stopped is None

    def _look(self, now: float) -> None:
        self._look_at = now + LOOK
        if now >= self._until:
            self.stop(TIME_IS_UP)
        elif self._asked():
            self.stop(INTERRUPTED)
        elif self._work and now - self._began >= PATIENCE and now - self._drawn >= REDRAWN:
            self._drawn = now
            self._show(self._work.line(now))

    def check(self, address: int) -> None:
        """StoppedError where memory at an address would be read, and no more is."""
        if not self.goes_on():
            raise StoppedError(address)

    def begin(self, what: str, whole: int = 0, lists: bool = False) -> None:
        """Say what is being done from now on, of so many bytes if that is known: what is walked
        over counts, or what `lists` chunks.
        """
        if self.stopped is None and not (self._work and self._work.lists and not lists):
            self._work = Work(what, whole, self._clock(), lists)

    def walked(self, size: int) -> None:
        """Count bytes that were walked over."""
        if self._work and not self._work.lists:
            self._work.done += size

    def listed(self, size: int) -> None:
        """Count bytes whose chunks were listed."""
        if self._work and self._work.lists:
            self._work.done += size

    def rest(self) -> tuple[str, float] | None:
        """Return what was being done when reading was stopped, and after how many seconds that is
        done at the rate until then; None where nobody knows.
        """
        stopped, work = self.stopped, self._work
        if stopped is None or work is None or not (work.whole and work.done):
            return None
        before = work.began - self._began
        return work.what, before + (stopped.after - before) * max(work.whole / work.done, 1)

    def problem(self, arenas: Iterable[int] = ()) -> Problem | None:
        """Return the one problem for all that was missed, None where nothing was."""
        if self.stopped is None or not self.missed:
            return None
        code, after = self.stopped
        by = "by Ctrl-C" if code == INTERRUPTED else "by --max-pause"
        statement = f"stopped {by} after {after:.1f} s"
        if self._work:
            far = f" ({self._work.told})" if self._work.whole else ""
            statement = f"{statement}, while {self._work.what}{far}"
        lost = _ranges(sorted(set(arenas)))
        which = f"figures of arena{'s' if ' ' in lost else ''} {lost} are missing" if lost else ""
        return Problem(code, f"{statement}: {which or 'what was not read is unknown'}")


@contextmanager
def cut_short(pace: Pace) -> Iterator[None]:
    """In here what fails because reading was stopped fails with CutShortError, which says so."""
    try:
        yield
    except HeapxError:
        problem = pace.problem()
        if problem is None:
            raise
        raise CutShortError(problem, pace.rest()) from None


def _ranges(numbers: list[int]) -> str:
    """Return numbers in words, those in a row as a range; "" for none."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [f"{r[0]} to {r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs]
    return ", ".join(told)


class PacedMemory:
    """Memory that is read as long as the pace goes on."""

    def __init__(self, memory: Memory, pace: Pace) -> None:
        self._memory = memory
        self._pace = pace

    def read(self, address: int, size: int) -> memoryview:
        self._pace.check(address)
        try:
            return self._memory.read(address, size)
        except KeyboardInterrupt as ended:
            by_gdb = type(ended) is KeyboardInterrupt  # of a Ctrl-C; else a signal's (ending.py)
            if not by_gdb or not self._pace.started:
                raise
            self._pace.stop(INTERRUPTED)
            self._pace.check(address)
            raise
