"""The walk over the chunks of a heap: streamed run by run, folded, nothing kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import MemoryFault, Problem, UnreadError
from ..glibc.layout import Layout
from ..target.space import Space
from .arenas import Heap
from .cells import Cells
from .folds import Fold
from .holes import Holes
from .library import library
from .places import Overlay
from .scan import BadChunkError, Scanner
from .tally import Tally, new_tally

if TYPE_CHECKING:
    from .compiled import CompiledWalk
    from .declared import Tables

FREE = 0  # what the table of all free chunks goes by; one of chunks that look fast, by their size
NO_TABLES: Tables = {}


def walk(
    space: Space,
    layout: Layout,
    heap: Heap,
    overlay: Overlay,
    folds: Sequence[Fold],
    advance: Callable[[int], int] | None = None,
) -> tuple[int, list[Problem]]:
    """Fold the chunks of a heap from its first one up to its end, which may be top.

    Return where that ended, and why where it is not the heap's end: at damage, or at memory that
    can't be read. A word smaller than MINSIZE ends the walk quietly: the caller knows fenceposts.
    `advance` may go on over chunks, and see to it that the folds have them (Scanner.runs).
    """
    scanner = Scanner(space, layout, heap, overlay)
    problems: list[Problem] = []
    try:
        for run in scanner.runs(advance):
            for fold in folds:
                fold.add(run)
            space.pace.walked(run.end - run.start)
            del run  # before the next one is read
        for fold in folds:
            fold.close(heap.end)
    except UnreadError as fault:
        problems.append(fault.problem("the heap"))
    except MemoryFault as fault:
        statement = f"chunk header {fault.address:#x} cannot be read"
        problems.append(Problem("unreadable", statement, fault.address))
    except BadChunkError as bad:
        problems.append(bad.problem)
    return scanner.end, [*map(_misplaced, sorted(scanner.misplaced)), *problems]


def _misplaced(chunk: int) -> Problem:
    statement = f"cached chunk {chunk:#x} does not lie where the walk finds chunks"
    return Problem("cached_misplaced", statement, chunk)


def take_tally(
    space: Space,
    layout: Layout,
    heap: Heap,
    overlay: Overlay,
    holes: Holes | None,
    tables: Tables = NO_TABLES,
    cell_bits: int | None = None,
) -> Tally:
    """Walk over a heap with all folds; without `holes` pages are not looked at. Only a compiled
    walk fills `tables`. With `holes` and `cell_bits` it is told what fills cells of that size.
    """
    cells = None
    if holes is not None and cell_bits is not None:
        cells = Cells(heap.first, heap.end, cell_bits, holes.residency, holes.own)
    tally = new_tally(layout, overlay, holes, cells)
    fast_lane: CompiledWalk | None = None
    if code := library(space).code:
        from .compiled import compiled  # by ctypes, which some Pythons lack

        fast_lane = compiled(code, space, layout, heap, overlay, holes, tables, cells)
    if fast_lane is None:
        tally.end, tally.problems = walk(space, layout, heap, overlay, tally.folds)
    else:
        rest = Overlay.empty()._replace(told=overlay.told)
        walked = walk(space, layout, heap, rest, [fast_lane], fast_lane.advance)
        tally.end, problems = walked
        fast_lane.settle(tally)
        tally.problems = [*map(_misplaced, sorted(fast_lane.misplaced)), *problems]
    tally.flaws = tally.feet.flaws
    return tally
