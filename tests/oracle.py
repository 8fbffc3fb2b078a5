"""What glibc and the preloaded counter say of an inferior's heap; none of it is heapx's code."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

FLAGS = 7
PREV_INUSE = (
    1  # malloc_info adds a binned chunk's size word, which has this flag, as if it were size
)


class Sizes(NamedTuple):
    """One list of free chunks: the smallest and largest size in it, and its chunks and bytes."""

    smallest: int
    largest: int
    chunks: int
    bytes: int


class Count(NamedTuple):
    """Chunks and bytes."""

    chunks: int
    bytes: int


@dataclass(frozen=True)
class HeapInfo:
    """One arena as malloc_info shows it, with the flags taken off; `rest` is binned and top."""

    fast_lists: tuple[Sizes, ...]
    binned_lists: tuple[Sizes, ...]
    unsorted: tuple[Sizes, ...]
    fast: Count
    rest: Count
    system: int
    max_system: int


@dataclass(frozen=True)
class Oracle:
    """The directory that an inferior wrote its figures to (inferiors/checkpoint.h)."""

    directory: Path

    def _text(self, name: str) -> str:
        return (self.directory / name).read_text()

    @cached_property
    def arenas(self) -> tuple[HeapInfo, ...]:
        """The arenas of malloc_info, in ring order."""
        return tuple(map(_heap, ET.fromstring(self._text("malloc_info.xml")).iter("heap")))

    @cached_property
    def mallinfo(self) -> dict[str, int]:
        """mallinfo2 by field."""
        pairs = (line.split() for line in self._text("mallinfo").splitlines())
        return {name: int(value) for name, value in pairs}

    @cached_property
    def counts(self) -> dict[str, Count]:
        """What the counter saw in use, by arena: "main", an address, or "mmapped"."""
        lines = (line.split() for line in self._text("counts").splitlines())
        return {name: Count(int(chunks), int(size)) for name, chunks, size in lines}

    @cached_property
    def known(self) -> list[list[str]]:
        """What the program itself knows, line by line in words."""
        return [line.split() for line in self._text("known").splitlines()]


def _heap(heap: ET.Element) -> HeapInfo:
    lists = [_sizes(size) for size in heap.iter("size")]
    fast = [s for s in lists if not s.largest & FLAGS]
    binned = [_unflagged(s) for s in lists if s.largest & FLAGS]
    total = {e.get("type"): Count(_int(e, "count"), _int(e, "size")) for e in heap.iter("total")}
    system = {e.get("type"): _int(e, "size") for e in heap.iter("system")}
    unsorted = tuple(_unflagged(_sizes(size)) for size in heap.iter("unsorted"))
    flags = PREV_INUSE * sum(s.chunks for s in (*binned, *unsorted))
    return HeapInfo(
        fast_lists=tuple(fast),
        binned_lists=tuple(binned),
        unsorted=unsorted,
        fast=total.get("fast", Count(0, 0)),
        rest=Count(total["rest"].chunks, total["rest"].bytes - flags),
        system=system["current"],
        max_system=system["max"],
    )


def _int(element: ET.Element, name: str) -> int:
    return int(element.get(name, "0"))


def _sizes(size: ET.Element) -> Sizes:
    return Sizes(*(_int(size, name) for name in ("from", "to", "count", "total")))


def _unflagged(s: Sizes) -> Sizes:
    return Sizes(s.smallest & ~FLAGS, s.largest & ~FLAGS, s.chunks, s.bytes - PREV_INUSE * s.chunks)
