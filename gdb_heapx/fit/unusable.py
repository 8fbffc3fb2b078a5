"""How many free bytes of a malloc can't serve a request, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..heap.states import State
from ..records import dataclass
from ..snapshots.figures import ArenaFigures
from ..snapshots.malloc import Malloc
from ..snapshots.reading import MallocReading
from .fits import Fit
from .largest import largest_binned
from .replay import Merging

if TYPE_CHECKING:
    from ..heap.bins import Bin

OTHERS, IDLE = "other arenas", "arenas without a thread"
TCACHES, OWN_TCACHE = "other threads' tcaches", "another bin of its tcache"
FAST, SMALL, BEHIND = "fast chunks, not merged", "too small", "behind 10,000 unsorted chunks"
GROWS = ("extend", "new_heap", "new_arena", "mmap")


@dataclass(frozen=True)
class Unusable:
    """Free chunks that can't serve a request, for one reason: how many there are, their bytes, and
    the largest one; None where that isn't known.
    """

    reason: str
    chunks: int | None
    bytes: int | None
    largest: int | None


@dataclass(frozen=True)
class _Free:
    """Free chunks by size; `sizes` are None where only their number and bytes are known."""

    chunks: int
    bytes: int
    sizes: Counter[int] | None

    @classmethod
    def of(cls, sizes: Counter[int]) -> _Free:
        chunks = sum(sizes.values())
        return cls(chunks, sum(size * count for size, count in sizes.items()), sizes)

    def __add__(self, other: _Free) -> _Free:
        known = self.sizes is not None and other.sizes is not None
        sizes = (self.sizes or Counter()) + (other.sizes or Counter()) if known else None
        return _Free(self.chunks + other.chunks, self.bytes + other.bytes, sizes)

    def unusable(self, reason: str) -> Unusable:
        largest = None if self.sizes is None else max(self.sizes, default=0)
        return Unusable(reason, self.chunks, self.bytes, largest)


NOTHING_FREE = _Free(0, 0, Counter())


def unusable(reading: MallocReading, malloc: Malloc, fit: Fit) -> tuple[Unusable, ...]:
    """Return what of a malloc's free chunks can't serve a request, by reason; () where it isn't
    known what does. With the free chunks that can they are all that is free.
    """
    if fit.source is None or fit.source == "fails":
        return ()
    found = (*_elsewhere(reading, malloc, fit), *_cached(malloc, fit))
    own = next((each for each in malloc.arenas if each.index == fit.arena), None)
    if own is not None:
        found += tuple(_in_arena(reading, own, fit))
    return tuple(each for each in found if each.bytes != 0)


def _elsewhere(reading: MallocReading, malloc: Malloc, fit: Fit) -> Iterator[Unusable]:
    """Yield what is in arenas that malloc doesn't look in."""
    others = [each for each in malloc.arenas if each.index != fit.arena]
    for reason, idle in ((OTHERS, False), (IDLE, True)):
        chosen = (each for each in others if (each.threads == 0) == idle)
        yield _sum(_free_in(reading, each) for each in chosen).unusable(reason)


def _sum(parts: Iterable[_Free]) -> _Free:
    return sum(parts, NOTHING_FREE)


def _free_in(reading: MallocReading, arena: ArenaFigures) -> _Free:
    """Return what is free in an arena, without what tcaches hold."""
    return _fast(arena) + _binned(reading, arena) + _top(arena)


def _fast(arena: ArenaFigures) -> _Free:
    bins = (each for each in arena.bins.bins if each.kind is State.FAST)
    return _Free.of(Counter({each.min_size: each.chunks for each in bins}))


def _top(arena: ArenaFigures) -> _Free:
    return _Free.of(Counter({arena.top: 1} if arena.top else {}))


def _binned(reading: MallocReading, arena: ArenaFigures) -> _Free:
    """Return the chunks of an arena's regular bins."""
    chunks, size = arena.chunks[State.BINNED], arena.binned
    if arena.census is None:
        return _Free(chunks, size, None)
    listed = reading.outline.caches.sizes_in(arena.index) + (_fast(arena).sizes or Counter())
    found = _Free.of(Counter(arena.census.free) - listed)
    same = (found.chunks, found.bytes) == (chunks, size)
    return found if same else _Free(chunks, size, None)


def _cached(malloc: Malloc, fit: Fit) -> Iterator[Unusable]:
    """Yield what is in tcaches, but in the bin that serves."""
    own, others = NOTHING_FREE, NOTHING_FREE
    for cache in malloc.caches:
        for each in cache.tcache.bins:
            mine = cache.tcache.lwp == fit.thread
            if not (mine and _serves(each, fit)):
                own, others = (
                    (own + _in_bin(each), others) if mine else (own, others + _in_bin(each))
                )
    yield others.unusable(TCACHES)
    yield own.unusable(OWN_TCACHE)


def _serves(bin_: Bin, fit: Fit) -> bool:
    """Tell whether a bin of the thread's tcache is the one that serves."""
    size = fit.chunk_size or 0
    return fit.source == "tcache" and bin_.min_size <= size <= (bin_.max_size or size)


def _in_bin(bin_: Bin) -> _Free:
    exact = bin_.min_size == bin_.max_size
    sizes = Counter({bin_.min_size: bin_.chunks}) if exact else None
    return _Free(bin_.chunks, bin_.amount.bytes, sizes)


def _in_arena(reading: MallocReading, arena: ArenaFigures, fit: Fit) -> Iterator[Unusable]:
    """Yield what is in the arena that malloc looks in: the chunks that are too small, or too far
    away; and fast ones, where these weren't merged.
    """
    layout, fast = reading.libc.layout, _fast(arena)
    nb, pieces, top = layout.chunk_size(fit.request), _binned(reading, arena), arena.top
    if fit.merging is None:
        sizes = fast.sizes or Counter()
        yield _Free.of(Counter({s: n for s, n in sizes.items() if s != nb})).unusable(FAST)
    else:
        pieces, top = _merged(pieces, fast, fit.merging), top + fit.merging.topped
    used_up = fit.source in (*GROWS, "top")
    small, large = _split(pieces, nb, used_up)
    if small is None:
        yield Unusable(SMALL, None, None, None)
        return
    if top < nb + layout.min_size:
        small += _Free.of(Counter({top: 1} if top else {}))
    found = small.unusable(SMALL)
    if found.largest is None:
        found = replace(found, largest=largest_binned(reading, arena.index, top))
    yield found
    if used_up:
        yield large.unusable(BEHIND)


def _merged(binned: _Free, fast: _Free, merging: Merging) -> _Free:
    """Return the chunks of the bins when the fast ones have merged with them."""
    chunks = binned.chunks - sum(merging.removed.values()) + sum(merging.made.values())
    size = binned.bytes + fast.bytes - merging.topped
    sizes = None if binned.sizes is None else Counter(binned.sizes)
    if sizes is not None:
        sizes.subtract(merging.removed)
        sizes.update(merging.made)
        found = _Free.of(+sizes)
        if (found.chunks, found.bytes) == (chunks, size):
            return found
    return _Free(chunks, size, None)


def _split(pieces: _Free, nb: int, used_up: bool) -> tuple[_Free | None, _Free]:
    """Return the chunks that are smaller than a size, None where these aren't known, and the
    others. Where malloc has found none that is large enough, all are smaller.
    """
    if pieces.sizes is None:
        return (pieces if used_up else None), NOTHING_FREE
    small = Counter({size: count for size, count in pieces.sizes.items() if size < nb})
    return _Free.of(small), _Free.of(pieces.sizes - small)
