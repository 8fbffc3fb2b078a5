"""What it costs to hold what is in use: said before, where it is much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import HeapxError
from ..heap.holes import missing
from ..heap.library import library
from ..heap.states import State
from ..report.model import size_text
from ..target.cgroups import available_beside
from ..target.space import Space
from .index import CELL, CELL_WORDS
from .parts import HeldPart, in_use_of

if TYPE_CHECKING:
    from ..snapshots.opened import Opened
    from ..snapshots.take import Snapshot

AT_LEAST = 3  # times that all is read: once to know what it is, and twice to follow pointers
RATE = 2 << 30  # bytes a second, as slow machines read
NOTED = 8  # bytes of a chunk: what it is, for containers and itself, and how it is reached


# Seconds for a chunk, compiled and in Python, and a byte: to walk, and to tell types and holders.
WALK_CHUNK, WALK_BYTE = (2e-8, 2.5e-7), 0.5 / (1 << 30)
LOOK_CHUNK, LOOK_BYTE = (1e-6, 8e-6), 0.5 / (1 << 30)
QUICK = 0.05  # seconds that are quick in any case
HOLD_CHUNK = (2e-7, 5e-6)  # seconds as above, to tell only what containers hold
SHORT = 0.5  # seconds that a command about single chunks may take more


def is_quick(snapshot: Snapshot, compiled: bool) -> bool:
    """Tell whether it is known within the time of a walk what is in use: types, holders, leaks.

    By estimates, so that the same process gets the same answer each time.
    """
    look = time_to_look(snapshot, compiled)
    return bool(look) and look <= max(time_to_walk(snapshot, compiled), QUICK)


def time_to_walk(snapshot: Snapshot, compiled: bool) -> float:
    """Return in how many seconds all arenas are walked over."""
    arenas = snapshot.arenas()
    whole = sum(sum(arena.chunks.values()) for arena in arenas)
    heaps = sum(arena.amount.bytes for arena in arenas)
    return whole * WALK_CHUNK[not compiled] + heaps * WALK_BYTE


def time_to_look(snapshot: Snapshot, compiled: bool) -> float:
    """Return in how many seconds it is known what is in use; 0 where nothing is, or that is not
    known.
    """
    size = snapshot.in_use
    used = sum(arena.chunks.get(State.IN_USE, 0) for arena in snapshot.arenas())
    used += sum(malloc.parameters["n_mmaps"] for malloc in snapshot.mallocs)
    if size is None or not snapshot.walked or not used:
        return 0
    return used * LOOK_CHUNK[not compiled] + size * LOOK_BYTE


def is_telling(snapshot: Snapshot) -> bool:
    """Tell whether what is in use is known within the time of a walk, and more than what is free:
    then the first screen says what it is.
    """
    if (snapshot.in_use or 0) <= (snapshot.free or 0):
        return False
    return is_quick(snapshot, snapshot.walker.name != "Python")


def is_short(opened: Opened) -> bool:
    """Tell whether a look at all that is in use is short, for what single chunks are.

    By estimates as above; where there is too much for that, it isn't walked over. What is in swap
    isn't brought back for it.
    """
    space, compiled = opened.target.space, library(opened.target.space).code is not None
    heaps = [heap for each in opened.mallocs for arena in each.arenas for heap in arena.heaps]
    mmapped = sum(each.libc.parameters["mmapped_mem"] for each in opened.mallocs)
    time = min(SHORT, space.pace.left / 2)
    if (sum(heap.size for heap in heaps) + mmapped) * LOOK_BYTE > time:
        return False
    if any(missing(space.residency, heap.address, heap.end)[1] for heap in heaps):
        return False
    chunks, size = in_use_of(opened)
    return chunks * HOLD_CHUNK[not compiled] + size * LOOK_BYTE <= time


def noted_bytes(parts: Sequence[HeldPart], chunks: int, grain: int, compiled: bool) -> int:
    """Return how many bytes heapx needs besides a copy, as long as it looks: for an index of heaps,
    in Python marks for each of their grains, and what is noted of each chunk.
    """
    grains = sum(part.end - part.start for part in parts if not part.single) // grain
    cells = grains // CELL + len(parts)
    return cells * (CELL_WORDS * 8 + (0 if compiled else CELL)) + chunks * NOTED


def refuse_noting(space: Space, parts: Sequence[HeldPart], chunks: int, grain: int) -> None:
    """HeapxError where heapx needs more than half of what is available besides a copy: it would be
    killed, or have others killed.
    """
    needed = noted_bytes(parts, chunks, grain, library(space).code is not None)
    left = available_beside(space.facts.pid if space.facts.live else None) // 2
    if needed > left:
        raise HeapxError(
            f"where {chunks:,} chunks in use lie, and what they are, would take "
            f"{size_text(needed)}, more than {size_text(left)}, half of the memory that is "
            "available",
            "Look at a core on a machine with more memory (gcore makes one).",
        )


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
