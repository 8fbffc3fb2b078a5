"""What fills a heap, cell by cell: a cell is a stretch of addresses, a power of two large."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from ..glibc.layout import FLAGS
from ..target.pages import IN_RAM, SHARED, SWAPPED
from .holes import missing
from .states import UNWALKED, State

if TYPE_CHECKING:
    from ..target.space import Residency
    from .arenas import Heap
    from .runs import Run

FILLS = UNWALKED + 1
WORDS = 4  # of an amount: bytes, and those resident, swapped, and shared
ROW = FILLS * WORDS
IN_A_HEAP, IN_MAIN = 128, 1024  # cells, at most: of a whole heap, and of the main arena's
MOST = 1 << 16  # cells of all other arenas together, and one more for each heap


class Cells:
    """What fills [start, end): amounts by fill, cell by cell, where each is 1 << bits bytes.

    `table` has a row for each cell: WORDS for each fill, which is a State of STATES or UNWALKED.
    What is resident is 0 where that isn't known. As a fold it takes in chunks, up to `reached`;
    `own` are those that hold a tcache itself.
    """

    def __init__(
        self, start: int, end: int, bits: int, residency: Residency | None, own: frozenset[int]
    ) -> None:
        self.bits, self.first = bits, start >> bits
        self.reached = start
        self._residency, self._own = residency, own
        number = (max(end - 1, start) >> bits) - self.first + 1
        self.table = array("Q", bytes(8 * ROW * number))

    def add(self, run: Run) -> None:
        self.reached = run.end
        if run.start >> self.bits == run.end - 1 >> self.bits and self._is_alike(run):
            self._add_whole(run)
            return
        chunks = reversed([*run.backwards()])
        for fill, same in groupby(chunks, lambda chunk: self._fill(chunk[0], chunk[2])):
            spans = [*same]
            self.add_span(spans[0][0], spans[-1][0] + spans[-1][1], fill)

    def close(self, end: int) -> None:
        pass

    def add_span(self, start: int, end: int, fill: int, sign: int = 1) -> None:
        """Add what fills [start, end); with sign -1 take it away again."""
        while start < end:
            stop = min((start >> self.bits) + 1 << self.bits, end)
            absent, swapped, shared = missing(self._residency, start, stop)
            resident = stop - start - absent if self._residency else 0
            self._add(start, fill, (stop - start, resident, swapped, shared), sign)
            start = stop

    def take_back(self, start: int) -> None:
        """Take away the last chunk, which is in use, and begins here: it is none."""
        self.add_span(start, self.reached, State.IN_USE, -1)
        self.reached = start

    def within(self, heap: Heap) -> Cells:
        """Return the same for the whole of a heap."""
        whole = Cells(heap.address, heap.end, self.bits, self._residency, self._own)
        at = (self.first - whole.first) * ROW
        number = min(len(self.table), len(whole.table) - at)
        if number > 0:  # a damaged heap may end before its first chunk begins
            whole.table[at : at + number] = self.table[:number]
        whole.reached = self.reached
        return whole

    def _fill(self, chunk: int, state: State) -> State:
        return State.OVERHEAD if chunk in self._own and state is State.TCACHE else state

    def _is_alike(self, run: Run) -> bool:
        """Tell whether all pages of a run are in one state."""
        if self._residency is None:
            return True
        states = self._residency.states(run.start, run.end)
        return states.count(states[0]) == len(states)

    def _add_whole(self, run: Run) -> None:
        """Add a run that lies in one cell, in pages of one state: as most do."""
        state = self._residency.states(run.start, run.start + 1)[0] if self._residency else 0
        own = sum(run.size_at(chunk) for chunk in run.cached & self._own)
        cached = sum(map(run.size_at, run.cached)) - own
        free = sum((word & ~FLAGS) * len(chunks) for word, chunks in run.free_by.items())
        fast = run.overlaid_bytes - cached - own
        sizes = {State.OVERHEAD: own, State.TCACHE: cached, State.FAST: fast, State.BINNED: free}
        sizes[State.IN_USE] = run.end - run.start - sum(sizes.values())
        for fill, size in sizes.items():
            told = (state in IN_RAM, state == SWAPPED, state == SHARED)
            self._add(run.start, fill, (size, *(size if is_so else 0 for is_so in told)))

    def _add(self, address: int, fill: int, amount: Iterable[int], sign: int = 1) -> None:
        at = ((address >> self.bits) - self.first) * ROW + fill * WORDS
        for number, size in enumerate(amount, at):
            self.table[number] += sign * size


def bits_for(size: int, number: int, page: int) -> int:
    """Return how many bits the addresses in a cell have, of which so many make this size, or fewer;
    a cell is a page at least.
    """
    return max(page.bit_length() - 1, (max(size, 1) - 1).bit_length() - number.bit_length() + 1)


def cell_bits(arenas: Iterable[Iterable[Heap]], page: int) -> tuple[int, int]:
    """Return this for the main arena, and for all others, by the heaps of each."""
    main, *others = [[*heaps] for heaps in arenas] or [[]]
    heaps = [heap for each in others for heap in each]
    whole = bits_for(max((heap.reserved for heap in heaps), default=0), IN_A_HEAP, page)
    size = sum(heap.size for heap in heaps)
    return (
        bits_for(sum(heap.size for heap in main), IN_MAIN, page),
        max(whole, bits_for(size, MOST, page)),
    )
