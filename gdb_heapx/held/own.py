"""What is malloc's own: no word of it is a root."""

from __future__ import annotations

from collections.abc import Iterator

from ..heap.arenas import Arena
from ..heap.heaps import Walked
from ..report.model import counted
from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading
from .root import Missed, RootKind

COUNT = "count as other memory"
HINT = "aligned_heap_area"  # arena.c: where the next heap may be mapped, whatever lies there now


def own_memory(opened: Opened) -> Iterator[tuple[int, int]]:
    """Yield the heaps, without what others took of them by sbrk, what mmapped chunks have, and in
    libc's data its arena and parameters.
    """
    for reading in opened.mallocs:
        for arena in reading.arenas:
            for part in reading.walks.over(arena, arena.heaps).parts or ():
                yield from _of_heap(reading, arena, part)
        yield from reading.mmapped.found.chunks.spans if reading.mmapped.found.certain else ()
        libc = reading.libc
        yield libc.main_arena, libc.main_arena + libc.layout.state.size
        parameters = libc.parameters
        yield parameters.address, parameters.address + parameters.struct.size
        hint = libc.image.address(HINT)
        if hint is not None:
            yield hint, hint + libc.layout.word


def _of_heap(reading: MallocReading, arena: Arena, part: Walked) -> Iterator[tuple[int, int]]:
    """Yield a heap, or a part of one. Where another user of sbrk interrupted it, its chunks end
    with two fenceposts (malloc.c, sysmalloc), and what lies behind them is that user's.
    """
    heap, chunks_end = part.heap, part.tally.end
    reserved = heap.address + max(heap.reserved, heap.size)
    if not part.whole:
        yield heap.address, chunks_end
        yield _behind(arena, part), reserved
    elif arena.main and chunks_end != arena.top:
        yield heap.address, min(chunks_end + 2 * reading.libc.layout.header, heap.end)
    else:
        yield heap.address, reserved


def _behind(arena: Arena, part: Walked) -> int:
    """Return where a heap surely has no more chunks in use: at top, if that lies there."""
    inside = part.tally.end <= arena.top < part.heap.end
    return arena.top if inside else max(part.heap.end, part.tally.end)


def uncertain(opened: Opened) -> Iterator[Missed]:
    """Yield what may be malloc's, and is taken for other memory, because nobody tells."""
    for reading in opened.mallocs:
        name = reading.libc.path
        if not reading.mmapped.found.certain:
            why = f"the mmapped chunks of {name} aren't known: they {COUNT}"
            yield Missed(RootKind.MAPPING, why, None, True)
        lost = [arena for arena in reading.arenas if not arena.complete]
        if lost:
            why = f"heaps of {counted(len(lost), 'arena')} of {name} weren't found: they {COUNT}"
            yield Missed(RootKind.MAPPING, why, None, True)
        unseen = sum(_unseen(reading))
        if unseen:
            why = f"what of heaps of {name} can't be walked over: all of it counts"
            yield Missed(RootKind.MAPPING, why, unseen, True)
    if opened.lost:
        why = f"the malloc of another libc can't be read: its heaps {COUNT}"
        yield Missed(RootKind.MAPPING, why, None, True)


def _unseen(reading: MallocReading) -> Iterator[int]:
    """Yield the bytes of each heap behind where a walk ended too early."""
    for arena in reading.arenas:
        for part in reading.walks.over(arena, arena.heaps).parts or ():
            if not part.whole:
                yield max(_behind(arena, part) - part.tally.end, 0)
