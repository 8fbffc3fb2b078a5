"""The words of roots that lead to chunks in use: read while the target stands still, and kept."""

from __future__ import annotations

import ctypes
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from ..errors import MemoryFault, StoppedError, SwappedOutError
from ..glibc.layout import align_down, align_up
from ..records import dataclass
from ..target.pages import RESIDENT, SHARED, SWAPPED
from ..target.space import Space, Words
from .declared import address_of
from .hidden import Hidden, Way, seeker
from .index import Index
from .root import Missed, Root, Roots
from .spots import Spots, SpotSeeker
from .table import WORD, RegionTable

AT_ONCE = 1 << 20  # bytes read
ROOM = 1 << 14  # pointers that are found at once
_MAY_LEAD = re.compile(b"[%c%c%c]+" % (RESIDENT, SHARED, SWAPPED))


def _column() -> array[int]:
    return array("Q")


@dataclass
class Pointers:
    """Words that lead to chunks: where each lies, in order, and where it leads.

    `missed` is memory of roots that could not be read; `spots` what of them may be containers;
    `hidden` what else leads to chunks, in ways that were asked for.
    """

    at: array[int] = field(default_factory=_column)
    to: array[int] = field(default_factory=_column)
    missed: list[Missed] = field(default_factory=list)
    spots: Spots = field(default_factory=dict)
    hidden: tuple[Hidden, ...] = ()


def pointers_in(
    space: Space,
    roots: Roots,
    index: Index,
    table: RegionTable | None,
    functions: Any,
    blocks: array[int],
    ways: Sequence[Way] = (),
) -> Pointers:
    """Return the pointers to chunks in use that roots have; `blocks` are those with code.
    StoppedError where no more is read.
    """
    found, hidden = Pointers(), seeker(space, index, table, functions, ways)
    spots = SpotSeeker(space, index, table, functions, blocks)
    look = Finder(table, functions, found).look if table else partial(_look, space, index, found)
    space.pace.begin("reading roots", sum(root.size for root in roots.spans))
    for root in roots.spans:
        for start, end in _touched(space, root.start, root.end):
            for address, words in _read(space, root, start, end, found.missed):
                look(address, words)
                spots.add(root.kind, root.start, address, words)
                hidden.add(root.start, root.end, address, words)
                space.pace.walked(len(words) * space.word)
    found.spots = spots.close()
    found.hidden = hidden.close(roots.registers)
    return found


def _touched(space: Space, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what of [start, end) may hold anything but zeros, whole words, in pieces."""
    word, page = space.word, space.page
    start, end = align_up(start, word), align_down(end, word)
    if space.residency is None or start >= end:
        parts = [(start, end)]
    else:
        first = align_down(start, page)
        states = space.residency.states(start, end)
        runs = (run.span() for run in _MAY_LEAD.finditer(states))
        parts = [(max(first + a * page, start), min(first + b * page, end)) for a, b in runs]
    for low, high in parts:
        for at in range(low, high, AT_ONCE):
            yield at, min(at + AT_ONCE, high)


def _read(
    space: Space, root: Root, start: int, end: int, missed: list[Missed]
) -> Iterator[tuple[int, Words]]:
    """Yield the words of a piece, page by page where not all of it can be read."""
    try:
        yield start, space.words(start, (end - start) // space.word)
    except StoppedError:
        raise
    except MemoryFault as fault:
        page = space.page
        if end - start > page:
            for at in range(align_down(start, page), end, page):
                yield from _read(space, root, max(at, start), min(at + page, end), missed)
            return
        why = "is in swap" if isinstance(fault, SwappedOutError) else "can't be read"
        before = missed[-1] if missed else None
        if before and (before.kind, before.why) == (root.kind, why):
            missed[-1] = before._replace(bytes=(before.bytes or 0) + end - start)
        else:
            missed.append(Missed(root.kind, why, end - start))


def _look(space: Space, index: Index, found: Pointers, address: int, words: Words) -> None:
    low, high = (index.starts[0], max(index.ends)) if index.starts else (0, 0)
    for number, to in enumerate(words):
        if low <= to < high and index.at(to):
            found.at.append(address + number * space.word)
            found.to.append(to)


class Finder:
    """Finds pointers by held.c, which is given the same room for them each time."""

    def __init__(self, table: RegionTable, functions: Any, found: Pointers) -> None:
        self._reference, self._functions, self._found = table.reference, functions, found
        self._pairs, self._room = array("Q", bytes(2 * ROOM * WORD)), ctypes.c_uint64()
        self._given = address_of(self._pairs), ctypes.byref(self._room)

    def look(self, address: int, words: Words) -> None:
        """Add the pointers that words at an address are."""
        part, done, find = array("Q"), 0, self._functions.heapx_pointers
        part.frombytes(memoryview(words).cast("B"))
        start, count = address_of(part), len(part)
        while done < count:
            self._room.value = ROOM
            place = start + done * WORD, count - done, address + done * WORD
            done += find(self._reference, *place, *self._given)
            number = 2 * (ROOM - self._room.value)
            if number:
                self._found.at.extend(self._pairs[0:number:2])
                self._found.to.extend(self._pairs[1:number:2])
