"""What is malloc's own: no word of it is a root."""

from __future__ import annotations

from collections.abc import Iterator

from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading
from .root import Missed, RootKind

HINT = "aligned_heap_area"  # arena.c: where the next heap may be mapped, whatever lies there now


def own_memory(opened: Opened) -> Iterator[tuple[int, int]]:
    """Yield the heaps, without what others took of them by sbrk, what mmapped chunks have, and
    in libc's data its arena and parameters.
    """
    for reading in opened.mallocs:
        yield from _heaps(reading)
        yield from reading.mmapped.chunks.spans
        libc = reading.libc
        yield libc.main_arena, libc.main_arena + libc.layout.state.size
        parameters = libc.parameters
        yield parameters.address, parameters.address + parameters.struct.size
        hint = libc.image.address(HINT)
        if hint is not None:
            yield hint, hint + libc.layout.word


def _heaps(reading: MallocReading) -> Iterator[tuple[int, int]]:
    """Yield where an arena's heaps lie. Where another user of sbrk interrupted one, its chunks end
    with two fenceposts (malloc.c, sysmalloc), and go on behind what is that user's.
    """
    for arena in reading.arenas:
        if not arena.main:
            yield from ((h.address, h.address + max(h.reserved, h.size)) for h in arena.heaps)
            continue
        parts = reading.walks.over(arena, arena.heaps).parts or ()
        for part in parts:
            first, fences = part.heap.address, part.tally.end + 2 * reading.libc.layout.header
            last = part.heap.end if part.tally.end == arena.top or not part.whole else fences
            yield first, min(last, part.heap.end)
        if not parts:
            yield from ((heap.address, heap.end) for heap in arena.heaps)


def uncertain(opened: Opened) -> Iterator[Missed]:
    """Yield what may be malloc's, and is taken for other memory, because nobody tells."""
    for reading in opened.mallocs:
        name = reading.libc.path
        if not reading.mmapped.certain:
            why = f"not all mmapped chunks of {name} were found: those count as other memory"
            yield Missed(RootKind.MAPPING, why, None, True)
        lost = [arena for arena in reading.arenas if not arena.complete]
        if lost:
            why = f"heaps of {len(lost)} arenas of {name} were not found: those count so, too"
            yield Missed(RootKind.MAPPING, why, None, True)
    if opened.lost:
        why = "the malloc of another libc can't be read: its heaps count as other memory"
        yield Missed(RootKind.MAPPING, why, None, True)
