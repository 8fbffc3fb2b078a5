"""When and where a snapshot was taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Taken:
    """When it was taken, in UTC (ISO 8601, with seconds and Z), on which host, None where that
    isn't known, and by which heapx. `stood_still` is for how many seconds the process did so, None
    where nobody measured that, as of a core.
    """

    time: str
    host: str | None
    heapx: str
    stood_still: float | None = None
