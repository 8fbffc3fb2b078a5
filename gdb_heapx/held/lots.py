"""Which regions are at hand: all, or as many as memory allows, one lot after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .index import Index
from .store import Store
from .table import RegionTable

PIECES = 4  # that have together as much as may be copied: of a large chunk one is at hand


class Lots:
    """The regions in lots, of which one is at hand at a time: their memory is in the store.

    A chunk with more than may be copied is `large`, by its region: it is never at hand but for a
    piece. Where there is one lot, and no such chunk, the target isn't needed any more. Else it must
    stand still, for `passes`.
    """

    def __init__(
        self,
        index: Index,
        store: Store,
        table: RegionTable | None,
        sizes: Sequence[int],
        most: int | None,
        large: Iterable[int] = (),
    ) -> None:
        self._index, self._store, self._table = index, store, table
        self.large, self._piece = tuple(large), (most or 0) // PIECES & -store.page
        self._begun: int | None = None  # of which large one the beginning is at hand
        let_go = most is not None and sum(sizes) > most  # some of the first lot, when it was copied
        if self.large and most is not None:
            most -= self._piece
        self._lots = list(_lots(sizes, most))
        self._of = {region: at for at, lot in enumerate(self._lots) for region in lot}
        self._at = 0
        for lot in self._lots[1:]:
            self._let_go(lot)
        if let_go:
            self._load()

    def __len__(self) -> int:
        return len(self._lots)

    @property
    def regions(self) -> range:
        """The regions that are at hand."""
        return self._lots[self._at] if self._lots else range(0)

    def has(self, region: int) -> bool:
        """Tell whether a region is at hand."""
        return region in self.regions and region not in self.large

    @property
    def passes(self) -> bool:
        """Whether the target is read again and again."""
        return len(self) > 1 or bool(self.large)

    def bring(self, region: int) -> None:
        """Bring the lot that has a region, or the beginning of a large one, and let go the one
        before; StoppedError where no more is read.
        """
        if region in self.large:
            self._begin(region)
        elif self._of[region] != self._at:
            self._bring(self._of[region])

    def each(self) -> Iterator[range]:
        """Yield the regions of each lot, which is then at hand, from the first one on."""
        for lot in self._lots:
            self.bring(lot.start)
            yield lot

    def pieces(self, region: int) -> Iterator[None]:
        """Bring one piece of a large region after the other; they overlap by a page: a pointer
        may lie across its end.
        """
        start, end, page = self._index.starts[region], self._index.ends[region], self._store.page
        for low in range(start, end, max(self._piece, page)):
            first, last = max(low - page, start), min(low + max(self._piece, page), end)
            self._store.load(first, last)
            yield
            self._store.let_go(first, last)
        self._begun = None

    def _begin(self, region: int) -> None:
        if self._begun != region:
            for large, go in ((self._begun, self._store.let_go), (region, self._store.load)):
                if large is not None:
                    start = self._index.starts[large]
                    go(start, min(start + self._piece, self._index.ends[large]))
            self._begun = region

    def bring_next(self) -> None:
        """Bring the next lot; the first one after the last."""
        self._bring((self._at + 1) % len(self._lots))

    def _bring(self, at: int) -> None:
        self._let_go(self.regions)
        self._at = at
        self._load()

    def _load(self) -> None:
        for region in self.regions:
            if region in self.large:
                continue
            start, end = self._index.starts[region], self._index.ends[region]
            self._store.load(start, end)
            if self._table is not None:
                self._table.show(region, self._store)

    def _let_go(self, lot: range) -> None:
        for region in lot:
            if region in self.large:
                continue
            self._store.let_go(self._index.starts[region], self._index.ends[region])
            if self._table is not None:
                self._table.hide(region)


def _lots(sizes: Sequence[int], most: int | None) -> Iterator[range]:
    """Yield consecutive regions that have so many bytes together at most, or one that has more."""
    first, sum_ = 0, 0
    for region, size in enumerate(sizes):
        if most is not None and region > first and sum_ + size > most:
            yield range(first, region)
            first, sum_ = region, 0
        sum_ += size
    if len(sizes) > first:
        yield range(first, len(sizes))
