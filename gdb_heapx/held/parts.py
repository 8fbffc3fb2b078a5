"""What the index has regions for: heaps, long ones in pieces, and mmapped chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from ..heap.arenas import Heap
from ..heap.heaps import Walked
from ..heap.places import Overlay
from ..snapshots.opened import Opened
from ..snapshots.reading import MallocReading

PIECE = 256 << 20  # bytes: what may be brought and let go at once


class HeldPart(NamedTuple):
    """A region of the index: its libc by number, and the `single` chunk whose mapping it is, by its
    header; 0 for a heap, of which `heap` is what was walked over, and `overlay` tells which of its
    chunks are free though they look in use.
    """

    start: int
    end: int
    libc: int
    single: int = 0
    heap: Heap | None = None
    overlay: Overlay | None = None


def parts_of(opened: Opened) -> list[HeldPart]:
    """Return the heaps and mmapped chunks of all libcs by address; none that overlaps one before:
    damage may claim what isn't its own.
    """
    apart: list[HeldPart] = []
    for part in sorted(_parts(opened), key=attrgetter("start")):
        word = opened.mallocs[part.libc].libc.layout.word
        shared = word if part.heap else 0  # a piece ends with the first word of the next one
        if not apart or part.start >= apart[-1].end - shared:
            apart.append(part)
    return apart


def _parts(opened: Opened) -> Iterator[HeldPart]:
    for libc, reading in enumerate(opened.mallocs):
        tail = reading.libc.layout.word
        for arena in reading.arenas:
            overlay = reading.walks.overlay(arena)
            for walked in reading.walks.over(arena, arena.heaps).parts or ():
                for first, end in _pieces(walked):
                    heap = replace(walked.heap, first=first, end=end)
                    yield HeldPart(first, end + tail, libc, 0, heap, overlay)
        yield from _mmapped(reading, libc)


def _pieces(walked: Walked) -> Iterator[tuple[int, int]]:
    """Yield from which chunk up to which one each piece of a heap goes."""
    first, end = walked.heap.first, walked.tally.end
    while first < end:
        following = walked.tally.landmarks.behind(first + PIECE) or end
        following = following if following < end else end
        yield first, following
        first = following


def _mmapped(reading: MallocReading, libc: int) -> Iterator[HeldPart]:
    if reading.mmapped.found.certain:
        cached = reading.outline.caches.mmapped
        for chunk in reading.mmapped.headers:
            if chunk.address not in cached:
                yield HeldPart(chunk.start, chunk.end, libc, chunk.address)


def in_use_of(opened: Opened) -> tuple[int, int]:
    """Return how many chunks in use were walked over, and mmapped ones, and their bytes."""
    counts = [
        walked.tally.counts
        for reading in opened.mallocs
        for arena in reading.arenas
        for walked in reading.walks.over(arena, arena.heaps).parts or ()
    ]
    parameters = [reading.libc.parameters for reading in opened.mallocs]
    chunks = sum(each.used_chunks - each.overlaid_chunks for each in counts)
    size = sum(each.used_bytes - each.overlaid_bytes for each in counts)
    chunks += sum(each["n_mmaps"] for each in parameters)
    return chunks, size + sum(each["mmapped_mem"] for each in parameters)
