"""What it costs where the chunks in use can't all be copied: said before."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import HeapxError
from ..report.model import size_text
from ..target.space import Space
from .parts import HeldPart

AT_LEAST = 3  # times that all is read: once to know what it is, and twice to follow pointers
RATE = 2 << 30  # bytes a second, as slow machines read


def refuse_passes(space: Space, parts: Sequence[HeldPart], in_use: int, most: int) -> None:
    """HeapxError where what is in use, and in memory, has more than `most` bytes."""
    needed = in_use
    if space.residency is not None:
        missing = (space.residency.missing(part.start, part.end)[0] for part in parts)
        needed = min(in_use, sum(part.end - part.start for part in parts) - sum(missing))
    if needed <= most:
        return
    whole = AT_LEAST * needed
    raise HeapxError(
        f"a copy of the {size_text(needed)} in use would take more than {size_text(most)}, a "
        "quarter of the memory that is available",
        "--passes reads it part by part: the process stands still all the while, for "
        f"{size_text(whole)} at least ({whole // RATE + 1} s at {size_text(RATE)} a second).",
        "Or make a core with gcore, and look at that on another machine.",
    )
