"""What is said besides a report."""

from __future__ import annotations

from ..records import dataclass
from .schema import Value


@dataclass(frozen=True)
class Context:
    """The command, heapx's version, the target's facts, and for how many seconds that stood still;
    None where that isn't known.
    """

    command: str
    version: str
    target: dict[str, Value]
    stood_still: float | None = None
