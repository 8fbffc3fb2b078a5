"""What it costs to hold what is in use: said before, where it is much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import HeapxError
from ..heap.states import State
from ..report.model import size_text
from ..target.space import Space
from .parts import HeldPart

if TYPE_CHECKING:
    from ..snapshots.take import Snapshot

AT_LEAST = 3  # times that all is read: once to know what it is, and twice to follow pointers
RATE = 2 << 30  # bytes a second, as slow machines read


PER_CHUNK = 1.5e-6, 12e-6  # seconds to tell types and holders: compiled, and in Python
PER_BYTE = 1 / (1 << 30)  # seconds


def is_quick(snapshot: Snapshot, compiled: bool, seconds: float) -> bool:
    """Tell whether it is known within so many seconds what is in use: types, holders, leaks."""
    arenas = snapshot.arenas()
    chunks = sum(arena.chunks.get(State.IN_USE, 0) for arena in arenas)
    chunks += sum(malloc.parameters["n_mmaps"] for malloc in snapshot.mallocs)
    size = snapshot.in_use
    if size is None or not snapshot.walked or not chunks:
        return False
    return chunks * PER_CHUNK[not compiled] + size * PER_BYTE <= seconds


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
