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


# Seconds for a chunk, compiled and in Python, and a byte: to walk, and to tell types and holders.
WALK_CHUNK, WALK_BYTE = (2e-8, 2.5e-7), 0.5 / (1 << 30)
LOOK_CHUNK, LOOK_BYTE = (1e-6, 8e-6), 0.5 / (1 << 30)
QUICK = 0.05  # seconds that are quick in any case


def is_quick(snapshot: Snapshot, compiled: bool) -> bool:
    """Tell whether it is known within the time of a walk what is in use: types, holders, leaks.

    By estimates, so that the same process gets the same answer each time.
    """
    arenas, size = snapshot.arenas(), snapshot.in_use
    used = sum(arena.chunks.get(State.IN_USE, 0) for arena in arenas)
    used += sum(malloc.parameters["n_mmaps"] for malloc in snapshot.mallocs)
    if size is None or not snapshot.walked or not used:
        return False
    whole = sum(sum(arena.chunks.values()) for arena in arenas)
    heaps = sum(arena.amount.bytes for arena in arenas)
    walk = whole * WALK_CHUNK[not compiled] + heaps * WALK_BYTE
    return used * LOOK_CHUNK[not compiled] + size * LOOK_BYTE <= max(walk, QUICK)


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
