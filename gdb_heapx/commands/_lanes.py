"""Heaps as they are drawn: which strips are in one lane, and what fills its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ..heap.states import UNWALKED, State
from ..records import dataclass
from ..report.pictures import Lane
from ..report.schema import Many
from ..report.signs import PIN, Fills

if TYPE_CHECKING:
    from ..heap.pins import Pin
    from ..heap.strips import Strip
    from ..snapshots.figures import ArenaFigures
    from ..target.amounts import Amount

ROWS = 8  # that the main arena is drawn in
FREE = (State.TCACHE, State.FAST, State.BINNED, State.TOP)


@dataclass(frozen=True)
class Drawn:
    """What is drawn in one lane: a heap, or strips of the main arena's that lie near each other;
    and the pins in it.
    """

    arena: ArenaFigures
    strips: tuple[Strip, ...]
    pins: tuple[Pin, ...]

    @property
    def address(self) -> int:
        return self.strips[0].address

    @property
    def end(self) -> int:
        return self.strips[-1].end

    @property
    def size(self) -> int:
        """Bytes that malloc has of it: without gaps between strips."""
        return sum(strip.end - strip.address for strip in self.strips)

    @property
    def cell(self) -> int:
        """Bytes of a cell."""
        return 1 << self.strips[0].bits

    @cached_property
    def amounts(self) -> Mapping[int, Amount]:
        """What fills it, by State and UNWALKED."""
        from ..heap.cells import FILLS
        from ..target.amounts import sum_of

        parts = [strip.amounts() for strip in self.strips]
        return {fill: sum_of(part[fill] for part in parts) for fill in range(FILLS)}

    def amount(self, fill: int) -> Amount:
        return self.amounts[fill]

    @property
    def free(self) -> Amount:
        """What malloc can give out again."""
        from ..target.amounts import sum_of

        return sum_of(map(self.amount, FREE))

    def lane(self, libc: str | None = None) -> Lane:
        """Return it to draw, with its pins: a heap as large as it may grow, in one row."""
        marks = [(pin.address, PIN) for pin in self.pins]
        span = self.end - self.address if self.arena.main else self.strips[0].reserved
        cells = Many(sum(map(len, self.strips)), self._cells)
        rows = ROWS if self.arena.main else 1
        return Lane(self.arena.index, self.address, span, self.cell, cells, marks, rows, libc)

    def _cells(self) -> Iterator[tuple[int, Fills]]:
        for strip in self.strips:
            for cell in strip:
                yield cell.start, fills_of(cell.amount)


def drawn(arenas: Iterable[ArenaFigures]) -> Iterator[Drawn]:
    """Yield the lanes of arenas that were walked over, in the order of their addresses in each."""
    for arena in arenas:
        pins: dict[int, list[Pin]] = {}
        for pin in arena.pins:
            pins.setdefault(pin.heap, []).append(pin)
        for near in _near(arena):
            own = (pin for strip in near for pin in pins.get(strip.address, ()))
            yield Drawn(arena, tuple(near), tuple(own))


def _near(arena: ArenaFigures) -> Iterator[list[Strip]]:
    """Yield the strips of an arena that are drawn in one lane: of one that isn't the main one, each
    by itself.
    """
    from ..heap.cells import IN_A_HEAP

    near: list[Strip] = []
    for strip in sorted(arena.strips or (), key=lambda strip: strip.address):
        gap = strip.address - near[-1].end if near else 0
        if near and (not arena.main or gap > IN_A_HEAP << strip.bits):
            yield near
            near = []
        near.append(strip)
    if near:
        yield near


def fills_of(amount: Callable[[int], Amount]) -> Fills:
    """Return what fills something, as it is drawn, of its amounts by fill."""

    def parts(*fills: int) -> tuple[int, int]:
        found = [amount(fill) for fill in fills]
        resident = sum(each.in_ram for each in found)
        return resident, sum(each.bytes for each in found) - resident

    return Fills(
        *parts(State.IN_USE),
        *parts(State.TCACHE, State.FAST),
        *parts(State.BINNED),
        *parts(State.TOP),
        amount(State.OVERHEAD).bytes,
        amount(UNWALKED).bytes,
    )
