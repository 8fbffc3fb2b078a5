"""What the walk over a heap finds, by fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from ..errors import Problem
from ..glibc.layout import Layout
from ..records import dataclass
from ..target.mappings import merged
from .cells import Cells
from .fast import LooksFast
from .folds import Counts, Feet, Fold, FreeSpace, Landmarks, Linkage
from .holes import Holes
from .places import BUCKET, Overlay
from .stale import LargeFree
from .tails import Tails


@dataclass
class Tally:
    """What a walk found, by fold.

    `end` is where it ended: at the heap's end, or at what is no chunk. `problems` ended it, or make
    its figures doubtful; `flaws` don't. `mostly_free` are the MiB, each by its start, in which a
    page is that touches chunks: of them half is free, or more; None if that wasn't looked at.
    `cells` are None where they weren't asked for.
    """

    counts: Counts
    linkage: Linkage
    feet: Feet
    pages: FreeSpace | None
    tails: Tails
    landmarks: Landmarks
    large: LargeFree
    fast: LooksFast
    cells: Cells | None = None
    end: int = 0
    problems: list[Problem] = field(default_factory=list)
    flaws: list[Problem] = field(default_factory=list)
    mostly_free: list[int] | None = None

    @property
    def folds(self) -> Sequence[Fold]:
        every = (self.counts, self.linkage, self.feet, self.tails, self.landmarks, self.large)
        more: tuple[Fold | None, ...] = (self.pages, self.cells)
        return (*every, self.fast, *(fold for fold in more if fold is not None))

    def spans_mostly_free(self, first: int) -> Iterator[tuple[int, int]]:
        """Yield where pages are that touch chunks, and are free by half, each span with a MiB
        before and behind it; all from `first` on where that wasn't looked at.
        """
        if self.mostly_free is None:
            yield first, self.end
            return
        size = 1 << BUCKET
        wide = ((start - size, start + 2 * size) for start in self.mostly_free)
        for start, end in merged(wide):
            low, high = self.landmarks.before(start), self.landmarks.behind(end)
            yield max(low or 0, first), min(high or self.end, self.end)


def new_tally(
    layout: Layout, overlay: Overlay, holes: Holes | None, cells: Cells | None = None
) -> Tally:
    """Return the folds before a walk; without `holes` pages are not looked at."""
    if holes:
        holes.begin()
    return Tally(
        Counts(),
        Linkage(layout.smallest_large),
        Feet(),
        FreeSpace(holes) if holes else None,
        Tails(),
        Landmarks(),
        LargeFree(),
        LooksFast(overlay.told, holes.residency if holes else None),
        cells,
    )
