"""The largest free chunk of an arena, where its chunks were not counted by size."""

from __future__ import annotations

from ..errors import MemoryFault
from ..glibc.layout import FLAGS, SIZE, UNSORTED
from ..heap.bins import regular_heads
from ..snapshots.reading import MallocReading
from .unsorted import MAX_ITERS


def largest_binned(reading: MallocReading, index: int, top: int) -> int | None:
    """Return the size of the largest chunk of an arena's bins, or of top, which may be larger: by
    the first chunk of the last bin, and all unsorted ones; None where these are too many.
    """
    arena, layout, links = reading.arenas[index], reading.libc.layout, reading.outline.links
    heads = {head.index: head for head in regular_heads(reading.space, layout, arena)}
    largest, unsorted = top, heads.pop(UNSORTED, None)
    try:
        if heads:
            first = heads[max(heads)].fd
            largest = max(largest, links.word(first + SIZE * layout.word) & ~FLAGS)
        chunk = unsorted.fd if unsorted else 0
        for _ in range(MAX_ITERS if unsorted else 0):
            if unsorted is None or chunk == unsorted.pseudo:
                return largest
            size, chunk, _ = links.chunk(chunk)
            largest = max(largest, size & ~FLAGS)
    except MemoryFault:
        return None
    return None if unsorted else largest
