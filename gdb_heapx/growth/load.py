"""The bounds on the share of time for which a process stands still."""

from __future__ import annotations

WINDOW = 1.0  # seconds: so much of the share may be used up at once


class Load:
    """How long a process stood still, and whether that is more than a share of the time.

    In any stretch of time it may have stood still for `share` of that and of one second more.
    """

    def __init__(self, share: float, now: float) -> None:
        self.stood = 0.0
        self._share, self._last, self._level = share, now, 0.0

    def spent(self, seconds: float, now: float) -> bool:
        """Count seconds for which it stood still, up to now; tell whether that is too much."""
        self.stood += seconds
        passed, self._last = now - self._last, now
        self._level = max(self._level - passed * self._share, 0.0) + seconds
        return self._level > self._share * WINDOW


class Allowance:
    """When there is time to look at all arenas, which takes long: in a quarter of what `share`
    allows, and at the first stop of each backtrace, as long as that costs no second's part more.
    """

    def __init__(self, share: float) -> None:
        self._share, self._spent = share / 4, 0.0
        self._seen: set[object] = set()

    def allows(self, backtrace: object, passed: float) -> bool:
        """Tell whether there is, so many seconds after the beginning."""
        first = backtrace not in self._seen
        self._seen.add(backtrace)
        return self._spent <= self._share * (passed + (WINDOW if first else 0.0))

    def spend(self, seconds: float) -> None:
        """Count what it took."""
        self._spent += seconds
