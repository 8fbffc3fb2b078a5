"""Which regions are at hand: all, or as many as memory allows, one lot after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .index import Index
from .store import Store
from .table import RegionTable


class Lots:
    """The regions in lots, of which one is at hand at a time: their memory is in the store.

    Where there is one lot, the target isn't needed any more. Else it must stand still.
    """

    def __init__(
        self,
        index: Index,
        store: Store,
        table: RegionTable | None,
        sizes: Sequence[int],
        most: int | None,
    ) -> None:
        self._index, self._store, self._table = index, store, table
        self._lots = list(_lots(sizes, most))
        self._of = {region: at for at, lot in enumerate(self._lots) for region in lot}
        self._at = 0
        for lot in self._lots[1:]:
            self._let_go(lot)
        if most is not None:  # something of it may have been let go
            self._load()

    def __len__(self) -> int:
        return len(self._lots)

    @property
    def regions(self) -> range:
        """The regions that are at hand."""
        return self._lots[self._at] if self._lots else range(0)

    def has(self, region: int) -> bool:
        """Tell whether a region is at hand."""
        return region in self.regions

    def bring(self, region: int) -> None:
        """Bring the lot that has a region, and let go the one before; StoppedError where no more
        is read.
        """
        if self._of[region] != self._at:
            self._bring(self._of[region])

    def each(self) -> Iterator[range]:
        """Yield the regions of each lot, which is then at hand, from the first one on."""
        for lot in self._lots:
            self.bring(lot.start)
            yield lot

    def bring_next(self) -> None:
        """Bring the next lot; the first one after the last."""
        self._bring((self._at + 1) % len(self._lots))

    def _bring(self, at: int) -> None:
        self._let_go(self.regions)
        self._at = at
        self._load()

    def _load(self) -> None:
        for region in self.regions:
            start, end = self._index.starts[region], self._index.ends[region]
            self._store.load(start, end)
            if self._table is not None:
                self._table.show(region, self._store)

    def _let_go(self, lot: range) -> None:
        for region in lot:
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
