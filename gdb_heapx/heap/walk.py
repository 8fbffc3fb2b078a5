"""The walk over the chunks of a heap: streamed run by run, folded, nothing kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import MemoryFault, Problem, UnreadError
from ..glibc.layout import Layout
from ..target.space import Space
from .arenas import Heap
from .folds import Counts, Feet, Fold, FreeSpace, Landmarks, Linkage
from .holes import Holes
from .places import Overlay
from .scan import BadChunkError, Scanner
from .stale import LargeFree
from .tails import Tails


def walk(
    space: Space, layout: Layout, heap: Heap, overlay: Overlay, folds: Sequence[Fold]
) -> tuple[int, list[Problem]]:
    """Fold the chunks of a heap from its first one up to its end, which may be top.

    Return where that ended, and why where it is not the heap's end: at damage, or at memory that
    can't be read. A word smaller than MINSIZE ends the walk quietly: the caller knows fenceposts.
    """
    scanner = Scanner(space, layout, heap, overlay)
    problems: list[Problem] = []
    try:
        for run in scanner.runs():
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
    return scanner.end, [*map(_misplaced, scanner.misplaced), *problems]


def _misplaced(chunk: int) -> Problem:
    statement = f"cached chunk {chunk:#x} does not lie where the walk finds chunks"
    return Problem("cached_misplaced", statement, chunk)


@dataclass
class Tally:
    """What a walk found, by fold.

    `end` is where it ended: at the heap's end, or at what is no chunk. `problems` ended it, or make
    its figures doubtful; `flaws` don't.
    """

    counts: Counts
    linkage: Linkage
    feet: Feet
    pages: FreeSpace | None
    tails: Tails
    landmarks: Landmarks
    large: LargeFree
    end: int = 0
    problems: list[Problem] = field(default_factory=list)
    flaws: list[Problem] = field(default_factory=list)


def take_tally(
    space: Space,
    layout: Layout,
    heap: Heap,
    overlay: Overlay,
    holes: Holes | None,
    more: Sequence[Fold] = (),
) -> Tally:
    """Walk over a heap with all folds, and `more`; without `holes` pages are not looked at."""
    pages = FreeSpace(holes) if holes else None
    linkage = Linkage(layout.smallest_large)
    tally = Tally(Counts(), linkage, Feet(), pages, Tails(), Landmarks(), LargeFree())
    folds: list[Fold] = [tally.counts, linkage, tally.feet, tally.tails, tally.landmarks]
    folds += [tally.large, *more]
    tally.end, tally.problems = walk(
        space, layout, heap, overlay, [*folds, pages] if pages else folds
    )
    tally.flaws = tally.feet.flaws
    return tally
