"""What of a core's memory is zeros: likely address space that nobody has ever touched.

The kernel writes zeros for pages that were never touched, and gdb's gcore for whatever it can't
read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import MemoryFault
from ..glibc.layout import align_up
from ..target.mappings import Mapping, merged
from ..target.space import Space

UNIT = 64 << 10  # bytes; what is less isn't worth a span of its own
AT_ONCE = 4 << 20
MOST = 8 << 30  # bytes that are read; beyond it memory counts as touched
_ZEROS = bytes(AT_ONCE)


def zeros(space: Space, mappings: Iterable[Mapping]) -> list[tuple[int, int]]:
    """Return the ranges that a core has zeros for."""
    return merged(_zeros(space, mappings))


def _zeros(space: Space, mappings: Iterable[Mapping]) -> Iterator[tuple[int, int]]:
    left = MOST
    for mapping in sorted(mappings, key=lambda mapping: -mapping.size):
        for at in range(align_up(mapping.start, UNIT), mapping.end - UNIT + 1, AT_ONCE):
            size = min(AT_ONCE, (mapping.end - at) // UNIT * UNIT)
            left -= size
            if left < 0:
                return
            try:
                data = bytes(space.memory.read(at, size))
            except MemoryFault:
                continue
            yield from ((at + first, at + end) for first, end in _within(data, 0, size))


def _within(data: bytes, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the units of zeros in a part of the data, halved until it is all zeros or a unit."""
    if data[first:end] == _ZEROS[: end - first]:
        yield first, end
    elif end - first > UNIT:
        middle = first + (end - first) // 2 // UNIT * UNIT
        yield from _within(data, first, middle)
        yield from _within(data, middle, end)
