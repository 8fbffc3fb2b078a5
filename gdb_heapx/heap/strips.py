"""Heaps to draw: each from its beginning to its end, cell by cell, with what fills each cell."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..records import dataclass
from ..target.amounts import Amount
from .cells import FILLS, ROW, WORDS
from .states import UNWALKED, State

if TYPE_CHECKING:
    from .arenas import Arena
    from .heaps import Walked


class Cell(NamedTuple):
    """A stretch of a heap's addresses. `words` are four for each fill: bytes, and what of these is
    resident, swapped, and shared, where that is `known`.
    """

    start: int
    end: int
    known: bool
    words: Sequence[int]

    def amount(self, fill: int) -> Amount:
        """Return what of it is in a State of STATES, or UNWALKED."""
        size, *memory = self.words[fill * WORDS : (fill + 1) * WORDS]
        return Amount(size, *memory) if self.known else Amount(size, None, None)


@dataclass(frozen=True)
class Strip:
    """What fills a heap, or a part of the main arena's between gaps of a foreign sbrk.

    Each cell is 1 << bits bytes from a multiple of that on: the first and the last one are cut. The
    `table` has a row of ROW words for each. What is resident is `known` or isn't.
    """

    arena: int
    address: int
    end: int
    reserved: int
    bits: int
    known: bool
    table: array[int]

    def __len__(self) -> int:
        return len(self.table) // ROW

    def __iter__(self) -> Iterator[Cell]:
        first = self.address >> self.bits
        for number in range(len(self)):
            start, stop = first + number << self.bits, first + number + 1 << self.bits
            words = self.table[number * ROW : (number + 1) * ROW]
            yield Cell(max(start, self.address), min(stop, self.end), self.known, words)

    def amounts(self) -> dict[int, Amount]:
        """Return what fills all of it, by State and UNWALKED."""
        words = [sum(self.table[number::ROW]) for number in range(ROW)]
        whole = Cell(self.address, self.end, self.known, words)
        return {fill: whole.amount(fill) for fill in range(FILLS)}


def strip_of(part: Walked, arena: Arena, known: bool) -> Strip | None:
    """Return a heap that was walked, to draw; None where the walk wasn't asked what fills it."""
    if part.tally.cells is None:
        return None
    heap, cells = part.heap, part.tally.cells.within(part.heap)
    for fill, start, end in _rest(part, arena, cells.reached):
        cells.add_span(max(start, heap.address), min(end, heap.end), fill)
    return Strip(heap.arena, heap.address, heap.end, heap.reserved, cells.bits, known, cells.table)


def _rest(part: Walked, arena: Arena, reached: int) -> Iterator[tuple[int, int, int]]:
    """Yield what fills a heap besides the chunks that the walk took in, up to where it `reached`:
    the fill, and where that begins and ends.
    """
    heap, top = part.heap, arena.top
    stop, end = (top, top + arena.top_size) if top in heap else (heap.end, heap.end)
    lead, behind = part.overhead_spans(top)
    yield (State.OVERHEAD, *lead)
    if part.whole:
        yield (State.OVERHEAD, *behind)
    else:
        yield UNWALKED, max(reached, lead[1]), stop
    yield State.TOP, stop, end
    yield UNWALKED, end, heap.end
